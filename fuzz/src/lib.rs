//! What fuzzing holds policy to: it never panics, and what any lenient origin could read as a write,
//! it stops.
//!
//! Each target has a property here, and beside it a reader of its own, [`lenient`], that forgives what
//! servers in use forgive and shares no code with policy. Inputs are requests as text
//! ([`sent::Sent`]), so that seeds can be read and written by hand.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what panics here has found something"
)]

pub mod graphql;
pub mod headers;
pub mod json_rpc;
pub mod lenient;
pub mod path;
pub mod policies;
pub mod seeds;
pub mod sent;
pub mod snapshot;

#[doc(hidden)]
#[cfg(fuzzing)]
pub use libfuzzer_sys;

/// Makes a program of a property: a fuzzer, or where it is not built for fuzzing, one that tries the
/// files that it is given.
#[macro_export]
macro_rules! target {
    ($property:ident) => {
        #[cfg(fuzzing)]
        $crate::libfuzzer_sys::fuzz_target!(|input: &[u8]| $crate::$property::holds(input));

        #[cfg(not(fuzzing))]
        fn main() -> std::io::Result<()> {
            for file in std::env::args_os().skip(1) {
                $crate::$property::holds(&std::fs::read(file)?);
            }
            Ok(())
        }
    };
}
