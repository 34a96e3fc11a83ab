//! Fuzzes what is read from headers.
#![cfg_attr(fuzzing, no_main)]

quiesce_fuzz::target!(headers);
