//! The ledger of intents: what every one keeps, and what is particular to each.

pub mod contract;
mod embedded;
pub mod kit;
pub mod model;
mod on_postgres;
