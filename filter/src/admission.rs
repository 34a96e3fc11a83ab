//! What becomes of one request. The order is the product: count, then look.

use std::rc::Rc;

use quiesce_policy::{
    Circumstances, Classified, HeaderBlock, Policy, Refusal, Request, Timestamp, Verdict,
    reply::{self, BANNER_PATH, Reply},
    retry,
    snapshot::{Action, Effect, Window},
};

use crate::{
    config::{Boot, OnUnreachable},
    counters::Outcome,
    host,
    in_flight::Counted,
    plugin::Plugin,
    state::Knowledge,
};

/// A request held back while the proxy starts may come back so soon; seconds.
const STARTING_RETRY_S: u64 = 1;

/// What becomes of a request.
pub enum Admission {
    /// It goes on; a write is in flight until its stream ends.
    Passed,
    /// It is answered here.
    Answered(Reply),
}

/// Decides about the request with these headers.
pub fn admit(plugin: &Plugin, context_id: u32, headers: &HeaderBlock) -> Admission {
    plugin.look();
    let request = Request::read(headers.headers());
    let policy = Rc::clone(plugin.state.borrow().policy());
    if is_banner(&request) {
        return Admission::Answered(banner(plugin, &request));
    }
    let classified = policy.classify(&request);
    if let Some(passed) = passes_anyway(plugin, &classified) {
        return passed;
    }
    let counted = plugin.in_flight.count();
    plugin.look();
    let now_in_force = Rc::clone(plugin.state.borrow().policy());
    if Rc::ptr_eq(&policy, &now_in_force) {
        return decide(plugin, context_id, counted, &policy, &request, &classified);
    }
    let classified = now_in_force.classify(&request);
    match passes_anyway(plugin, &classified) {
        Some(passed) => passed,
        None => decide(plugin, context_id, counted, &now_in_force, &request, &classified),
    }
}

/// Reads, and writes that a rule allows at any time; the barrier waits for neither.
fn passes_anyway(plugin: &Plugin, classified: &Classified) -> Option<Admission> {
    let outcome = match (classified.effect, classified.action) {
        (Effect::Read, _) => Outcome::Read,
        (Effect::Write, Action::Allow) => Outcome::Allowed,
        (Effect::Write, Action::Block) => return None,
    };
    plugin.counters.borrow_mut().note(classified.surface, outcome);
    Some(Admission::Passed)
}

fn decide(
    plugin: &Plugin,
    context_id: u32,
    counted: Counted<'_>,
    policy: &Policy,
    request: &Request<'_>,
    classified: &Classified,
) -> Admission {
    let now_ns = host::now_ns();
    let now = host::timestamp(now_ns);
    let refusing = Refusing { plugin, policy, request, classified, now_ns };
    if let Some(refusal) = unknown_state(plugin, now) {
        return Admission::Answered(refusing.answer(refusal, None));
    }
    plugin.state.borrow_mut().look_at_latches(now);
    let latches = Rc::clone(plugin.state.borrow().latches());
    let circumstances = Circumstances {
        now,
        latches: &latches,
        peer_identity: &mut || host::property("connection\0uri_san_peer_certificate"),
    };
    let note = |outcome| plugin.counters.borrow_mut().note(classified.surface, outcome);
    match policy.judge(request, classified, circumstances) {
        Verdict::Open => {
            counted.admit(context_id, &request.host);
            note(Outcome::Admitted);
            Admission::Passed
        }
        // The barrier does not wait for those who may write during the window.
        Verdict::Exempt => {
            note(Outcome::Exempt);
            Admission::Passed
        }
        Verdict::Observed(refusal) => {
            note(Outcome::Observed(refusal));
            Admission::Passed
        }
        Verdict::Refused(refusal, window) => Admission::Answered(refusing.answer(refusal, Some(window))),
    }
}

/// Why writes are refused while nothing is known of windows, if they are.
fn unknown_state(plugin: &Plugin, now: Timestamp) -> Option<Refusal> {
    match plugin.state.borrow().knowledge() {
        Knowledge::Snapshot => return None,
        Knowledge::Lost => return Some(Refusal::StateUnknown),
        Knowledge::Nothing => {}
    }
    match (plugin.config.boot, plugin.config.on_unreachable) {
        (Boot::Open, _) => None,
        (Boot::Closed, _) => Some(Refusal::StateUnknown),
        (Boot::Hold, _) if now < plugin.boot_ends_at => Some(Refusal::Starting),
        (Boot::Hold, OnUnreachable::Open) => None,
        (Boot::Hold, OnUnreachable::Closed) => Some(Refusal::StateUnknown),
    }
}

/// A write that is refused.
struct Refusing<'a> {
    plugin: &'a Plugin,
    policy: &'a Policy,
    request: &'a Request<'a>,
    classified: &'a Classified,
    now_ns: u64,
}

impl Refusing<'_> {
    fn answer(&self, refusal: Refusal, window: Option<&Window>) -> Reply {
        let wait = self.wait(window.and_then(|window| window.ends_at));
        let (refusal, retry_after_s) = match refusal {
            Refusal::ReadOnly if wait.over_budget => (Refusal::RetryBudget, wait.retry_after_s),
            Refusal::Starting => (refusal, STARTING_RETRY_S),
            other => (other, wait.retry_after_s),
        };
        self.plugin.counters.borrow_mut().note(self.classified.surface, Outcome::Refused(refusal));
        log::debug!(
            "refused: {} on {}, by {:?}",
            refusal.code(),
            self.policy.surface_name(self.classified.surface),
            self.classified.basis
        );
        self.plugin.refusals.borrow_mut().reply(self.policy, refusal, window).after(retry_after_s)
    }

    fn wait(&self, ends_at: Option<Timestamp>) -> retry::Wait {
        let address = || host::property("source\0address").unwrap_or_default();
        let client = retry::client(self.request, address);
        let entropy = retry::spread(client, self.now_ns);
        let now = host::timestamp(self.now_ns);
        self.plugin.ledger.borrow_mut().refuse(client, self.policy.retry(), now, ends_at, entropy)
    }
}

fn is_banner(request: &Request<'_>) -> bool {
    let below = request.target.strip_prefix(BANNER_PATH);
    below.is_some_and(|rest| matches!(rest.first(), None | Some(b'?')))
        && matches!(request.method, b"GET" | b"HEAD")
}

fn banner(plugin: &Plugin, request: &Request<'_>) -> Reply {
    let now = host::now();
    let mut state = plugin.state.borrow_mut();
    state.look_at_latches(now);
    reply::banner(state.policy(), &request.host, now, state.latches())
}
