//! Paths: where a request passes, it passes under every path that an origin may read from its own; and where a
//! rule stops one, it stops every other spelling.

use quiesce_policy::{Basis, Policy};

use crate::{
    lenient::{disguise::disguises, path::readings},
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
    let found = match outcome.passes {
        true => stopped_reading(policy, &sent, outcome.basis),
        false => passing_disguise(policy, &sent, outcome.basis),
    };
    if let Some((other, basis)) = found {
        let (this, other) = (sent.target.escape_ascii(), other.target.escape_ascii());
        let passes = if outcome.passes { "passes" } else { "is stopped" };
        panic!(
            "`{this}` {passes} by {:?}, but not `{other}`, by {basis:?}; origins may take one for the other",
            outcome.basis
        );
    }
}

/// Another spelling of a request that a rule stops, and why it passes, if it does.
fn passing_disguise(policy: &Policy, sent: &Sent, as_sent: Basis) -> Option<(Sent, Basis)> {
    if !matches!(as_sent, Basis::Rule(_) | Basis::Body(_)) {
        return None;
    }
    let (path, query) = sent.path_and_query();
    disguises(path).into_iter().find_map(|disguise| {
        let target = if query.is_empty() { disguise.path } else { [&disguise.path, query].join(&b'?') };
        let sent = Sent { target, ..sent.clone() };
        let outcome = sent.outcome(policy);
        // A rule for just this other name comes first.
        let counts = !disguise.is_alias || outcome.basis == Basis::Method;
        (outcome.passes && counts).then_some((sent, outcome.basis))
    })
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
            Basis::Method | Basis::Headers(_) | Basis::Learned(_) | Basis::Ambiguous => !reading.is_alias,
        };
        (!outcome.passes && counts).then_some((read, outcome.basis))
    })
}
