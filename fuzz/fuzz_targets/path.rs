//! Fuzzes the reader of paths.
#![cfg_attr(fuzzing, no_main)]

quiesce_fuzz::target!(path);
