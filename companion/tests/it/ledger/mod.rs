//! The ledger of intents: what every one keeps, and what is particular to the embedded one.

pub mod contract;
mod embedded;
pub mod kit;
pub mod model;
