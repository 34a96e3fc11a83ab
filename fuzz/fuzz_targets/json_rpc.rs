//! Fuzzes the readers of MCP and JSON-RPC.
#![cfg_attr(fuzzing, no_main)]

quiesce_fuzz::target!(json_rpc);
