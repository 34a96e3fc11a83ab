//! Paths: where a request passes, it passes under every path that an origin may read from its own.

use quiesce_policy::{Basis, Policy};

use crate::{
    lenient::path::readings,
    policies::{POLICY, of_lines},
    sent::Sent,
};

/// The input is a request; its body, if it has one, is the rules to try it on.
pub fn holds(input: &[u8]) {
    let mut sent = Sent::read(input);
    let rules = std::mem::take(&mut sent.body);
    let own = if rules.is_empty() { None } else { of_lines(&rules) };
    let policy = own.as_ref().unwrap_or(&POLICY);
    let outcome = sent.outcome(policy);
    if !outcome.passes {
        return;
    }
    if let Some((reading, why)) = stopped_reading(policy, &sent, outcome.basis) {
        panic!(
            "{:?} passes by {:?}, but an origin may read {:?}, which is stopped by {why:?}",
            text(&sent.target),
            outcome.basis,
            text(&reading.target),
        );
    }
}

/// A reading of the request that is stopped, and why, if there is one.
pub fn stopped_reading(policy: &Policy, sent: &Sent, as_sent: Basis) -> Option<(Sent, Basis)> {
    let (path, query) = sent.path_and_query();
    readings(path, query).into_iter().find_map(|reading| {
        let read = Sent { target: reading.target()?, ..sent.clone() };
        let outcome = read.outcome(policy);
        let counts = match outcome.basis {
            // Overrides in the query are for another target; nobody looks for them behind an encoded `?`.
            Basis::Suspicion(_) => false,
            // A rule for the very name that was sent comes first.
            Basis::Rule(_) | Basis::Body(_) => !reading.is_alias || as_sent == Basis::Method,
            // Of another name, nobody has said that it writes.
            Basis::Method | Basis::Headers(_) | Basis::Ambiguous => !reading.is_alias,
        };
        (!outcome.passes && counts).then_some((read, outcome.basis))
    })
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
