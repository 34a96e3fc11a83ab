//! Fuzzes the readers of GraphQL.
#![cfg_attr(fuzzing, no_main)]

quiesce_fuzz::target!(graphql);
