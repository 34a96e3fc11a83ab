//! Fuzzes the reader of snapshots.
#![cfg_attr(fuzzing, no_main)]

quiesce_fuzz::target!(snapshot);
