//! What becomes of one request. The order is the product: count, then look.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use http::{Response, request::Parts};
use quiesce_policy::{
    Circumstances, Classified, Refusal, Request, Stop, Timestamp, Verdict,
    banner::{self, BANNER_PATH},
    reply::{self, RefusalReply},
    retry,
    snapshot::{Action, Effect, Window},
    wire::Dialect,
};

use crate::{
    counters::Outcome,
    guard::Shared,
    head,
    in_flight::{Counted, between_steps},
    layer::Hooks,
    respond::response,
    state::State,
};

/// A request held back while the guard starts may come back so soon; seconds.
const STARTING_RETRY_S: u64 = 1;

/// What becomes of a request.
pub(crate) enum Admission {
    /// It goes on; if it is a write that the barrier waits for, it is in flight until it is over.
    Passed(Option<Counted>),
    /// It is answered here.
    Answered(Response<Bytes>),
    /// It is decided when its body is whole, or longer than this.
    Awaited {
        /// Bytes.
        max_bytes: usize,
    },
}

/// What is known of a request's body.
#[derive(Clone, Copy)]
pub(crate) enum Body<'a> {
    /// It is still to come.
    ToCome,
    /// This is all of it.
    Whole(&'a [u8]),
    /// It is too long to be looked into, or did not come whole.
    TooLong,
}

/// Decides about the request with this head.
pub(crate) fn admit(shared: &Arc<Shared>, hooks: &Hooks, parts: &Parts, body: Body<'_>) -> Admission {
    head::with_block(&parts.method, &parts.uri, &parts.headers, |block| {
        let request = Request::read(block.headers());
        let asking = Asking { shared, hooks, parts, request: &request, body };
        let state = shared.state();
        if is_for_banner(&request) {
            return asking.banner();
        }
        let classified = asking.classify(&state);
        if let Some(settled) = asking.settle(&state, &classified) {
            return settled;
        }
        let counted = shared.in_flight.count(&request.host);
        between_steps();
        let now = (shared.clock)();
        let in_force = shared.state_at(now);
        between_steps();
        if Arc::ptr_eq(&state.policy, &in_force.policy) {
            return asking.decide(counted, &in_force, &classified, now);
        }
        let classified = asking.classify(&in_force);
        match asking.settle(&in_force, &classified) {
            Some(settled) => settled,
            None => asking.decide(counted, &in_force, &classified, now),
        }
    })
}

/// A request that asks to be passed.
struct Asking<'a> {
    shared: &'a Arc<Shared>,
    hooks: &'a Hooks,
    parts: &'a Parts,
    request: &'a Request<'a>,
    body: Body<'a>,
}

impl Asking<'_> {
    fn classify(&self, state: &State) -> Classified {
        let classified = state.policy.classify(self.request);
        match self.body {
            Body::Whole(body) if classified.awaits_body => {
                state.policy.inspect(self.request, classified, body)
            }
            _ => classified,
        }
    }

    /// What becomes of requests that need not be counted: reads, writes that a rule allows at any time, and those
    /// that wait for their bodies, which are not passed.
    fn settle(&self, state: &State, classified: &Classified) -> Option<Admission> {
        let outcome = match (classified.effect, classified.action) {
            (Effect::Read, _) => Outcome::Read,
            (Effect::Write, Action::Allow) => Outcome::Allowed,
            (Effect::Write, _) => {
                let matters = !state.policy.schedule().windows().is_empty()
                    || state.policy.observes(classified.surface);
                let awaits = matches!(self.body, Body::ToCome) && classified.awaits_body && matters;
                let max_bytes = self.shared.config.max_body_bytes;
                return awaits.then_some(Admission::Awaited { max_bytes });
            }
        };
        state.note(classified.surface, outcome);
        Some(Admission::Passed(None))
    }

    fn decide(&self, counted: Counted, state: &State, classified: &Classified, now: Timestamp) -> Admission {
        let refuse = |refusal, window| self.refuse(state, classified, refusal, window, now);
        if let Some(refusal) = self.shared.unknown_state(state) {
            return refuse(refusal, None);
        }
        let circumstances = Circumstances {
            now,
            latches: &state.latches,
            peer_identity: &mut || self.hooks.peer_identity(&self.parts.extensions),
        };
        let note = |outcome| state.note(classified.surface, outcome);
        match state.policy.judge(self.request, classified, circumstances) {
            Verdict::Open => {
                note(Outcome::Admitted);
                Admission::Passed(Some(counted))
            }
            // The barrier does not wait for those who may write during the window.
            Verdict::Exempt => {
                note(Outcome::Exempt);
                Admission::Passed(None)
            }
            Verdict::Observed(stop) => {
                note(Outcome::Observed(stop));
                Admission::Passed(None)
            }
            Verdict::Stopped(Stop::Refused(refusal), window) => refuse(refusal, Some(window)),
            // What is kept for later goes to an origin by way of a proxy; a service keeps nothing for itself.
            Verdict::Stopped(Stop::Queued, window) => refuse(Refusal::ReadOnly, Some(window)),
            Verdict::Stopped(stop @ Stop::Dropped, window) => {
                note(Outcome::Stopped(stop));
                Admission::Answered(response(reply::dropped(window), &self.parts.method))
            }
        }
    }

    fn refuse(
        &self,
        state: &State,
        classified: &Classified,
        refusal: Refusal,
        window: Option<&Window>,
        now: Timestamp,
    ) -> Admission {
        let policy = &state.policy;
        let ends_at = window.and_then(|window| window.ends_at);
        let (refusal, retry_after_s) = match refusal {
            // Who comes back when told so is not early.
            Refusal::Starting => (refusal, STARTING_RETRY_S),
            refusal => match self.wait(state, ends_at, now) {
                wait if wait.over_budget && refusal == Refusal::ReadOnly => {
                    (Refusal::RetryBudget, wait.retry_after_s)
                }
                wait => (refusal, wait.retry_after_s),
            },
        };
        state.note(classified.surface, Outcome::Stopped(Stop::Refused(refusal)));
        tracing::debug!("refused: {} on {}", refusal.code(), policy.surface_name(classified.surface));
        let body = if let Body::Whole(bytes) = self.body { bytes } else { &[] };
        let dialect = Dialect::of(self.request, classified.protocol, body);
        let reply = RefusalReply::new(refusal, window, policy.status_page());
        let reply = reply.to(dialect, policy.refused_calls(), retry_after_s);
        Admission::Answered(response(reply, &self.parts.method))
    }

    fn wait(&self, state: &State, ends_at: Option<Timestamp>, now: Timestamp) -> retry::Wait {
        let address = || {
            let address = self.hooks.client_address(&self.parts.extensions);
            address.map(|address| address.to_string().into_bytes()).unwrap_or_default()
        };
        let client = retry::client(self.request, address);
        let mut ledger = self.shared.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.refuse(client, state.policy.retry(), now, ends_at, fastrand::u64(..))
    }

    fn banner(&self) -> Admission {
        let now = (self.shared.clock)();
        let state = self.shared.state_at(now);
        let reply = banner::answer(&state.policy, self.request, now, &state.latches);
        Admission::Answered(response(reply, &self.parts.method))
    }
}

fn is_for_banner(request: &Request<'_>) -> bool {
    let below = request.target.strip_prefix(BANNER_PATH);
    matches!(request.method, b"GET" | b"HEAD")
        && below.is_some_and(|rest| matches!(rest.first(), None | Some(b'?')))
}
