//! What the bodies of requests would run, where method and path do not tell.

pub mod graphql;
pub mod json_rpc;
pub mod mcp;
