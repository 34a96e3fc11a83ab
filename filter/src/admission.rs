//! What becomes of one request. The order is the product: count, then look.

use std::rc::Rc;

use quiesce_policy::{
    Circumstances, Classified, Policy, Refusal, Request, Timestamp, Verdict,
    reply::{self, BANNER_PATH, Reply},
    retry,
    snapshot::{Action, Effect, Window},
};

use crate::{
    config::{Boot, OnUnreachable},
    counters::Outcome,
    header_block::HeaderBlock,
    host,
    in_flight::Counted,
    plugin::Plugin,
    state::Knowledge,
};

/// A request held back while the proxy starts may come back so soon; seconds.
const STARTING_RETRY_S: u64 = 1;

/// What becomes of a request.
pub enum Admission {
    /// It goes on; a write is in flight until this is dropped.
    Passed(Option<Counted>),
    /// It is answered here.
    Answered(Reply),
}

/// Decides about the request with these headers.
pub fn admit(plugin: &Plugin, context_id: u32, headers: &HeaderBlock) -> Admission {
    plugin.look();
    let request = Request::from_headers(headers.pairs());
    let policy = Rc::clone(plugin.state.borrow().policy());
    if is_banner(&request) {
        return Admission::Answered(banner(plugin, &request));
    }
    let classified = policy.classify(&request);
    if let Some(passed) = passes_anyway(plugin, &classified) {
        return passed;
    }
    let counted = plugin.in_flight.count(context_id);
    plugin.look();
    let now_in_force = Rc::clone(plugin.state.borrow().policy());
    if Rc::ptr_eq(&policy, &now_in_force) {
        return decide(plugin, counted, &policy, &request, &classified);
    }
    let classified = now_in_force.classify(&request);
    match passes_anyway(plugin, &classified) {
        Some(passed) => passed,
        None => decide(plugin, counted, &now_in_force, &request, &classified),
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
    Some(Admission::Passed(None))
}

fn decide(
    plugin: &Plugin,
    counted: Counted,
    policy: &Policy,
    request: &Request<'_>,
    classified: &Classified,
) -> Admission {
    let now = host::now();
    if let Some(refusal) = unknown_state(plugin, now) {
        return Admission::Answered(refuse_without_window(plugin, policy, request, classified, refusal, now));
    }
    plugin.state.borrow_mut().look_at_latches(now);
    let latches = Rc::clone(plugin.state.borrow().latches());
    let circumstances = Circumstances {
        now,
        latches: &latches,
        peer_identity: &mut || host::property(&["connection", "uri_san_peer_certificate"]),
    };
    let note = |outcome| plugin.counters.borrow_mut().note(classified.surface, outcome);
    match policy.judge(request, classified, circumstances) {
        Verdict::Open => {
            counted.admitted(&request.host);
            note(Outcome::Admitted);
            Admission::Passed(Some(counted))
        }
        // The barrier does not wait for those who may write during the window.
        Verdict::Exempt => {
            note(Outcome::Exempt);
            Admission::Passed(None)
        }
        Verdict::Observed(refusal) => {
            note(Outcome::Observed(refusal));
            Admission::Passed(None)
        }
        Verdict::Refused(refusal, window) => {
            let reply = refuse(plugin, policy, request, classified, refusal, window, now);
            Admission::Answered(reply)
        }
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

fn refuse_without_window(
    plugin: &Plugin,
    policy: &Policy,
    request: &Request<'_>,
    classified: &Classified,
    refusal: Refusal,
    now: Timestamp,
) -> Reply {
    let retry_after_s = match refusal {
        Refusal::Starting => STARTING_RETRY_S,
        _ => wait(plugin, policy, request, None, now).retry_after_s,
    };
    note_refusal(plugin, policy, classified, refusal);
    reply::refusal(refusal, None, retry_after_s, policy.status_page())
}

fn refuse(
    plugin: &Plugin,
    policy: &Policy,
    request: &Request<'_>,
    classified: &Classified,
    refusal: Refusal,
    window: &Window,
    now: Timestamp,
) -> Reply {
    let wait = wait(plugin, policy, request, window.ends_at, now);
    let refusal = match refusal {
        Refusal::ReadOnly if wait.over_budget => Refusal::RetryBudget,
        other => other,
    };
    note_refusal(plugin, policy, classified, refusal);
    reply::refusal(refusal, Some(window), wait.retry_after_s, policy.status_page())
}

fn note_refusal(plugin: &Plugin, policy: &Policy, classified: &Classified, refusal: Refusal) {
    plugin.counters.borrow_mut().note(classified.surface, Outcome::Refused(refusal));
    log::debug!(
        "refused: {} on {}, by {:?}",
        refusal.code(),
        policy.surface_name(classified.surface),
        classified.basis
    );
}

fn wait(
    plugin: &Plugin,
    policy: &Policy,
    request: &Request<'_>,
    ends_at: Option<Timestamp>,
    now: Timestamp,
) -> retry::Wait {
    let address = host::property(&["source", "address"]).unwrap_or_default();
    let client = retry::client(request, &address);
    let entropy = retry::spread(client, host::now_ns());
    plugin.ledger.borrow_mut().refuse(client, policy.retry(), now, ends_at, entropy)
}

fn is_banner(request: &Request<'_>) -> bool {
    let path = request.target.split(|&byte| byte == b'?').next();
    path == Some(BANNER_PATH) && matches!(request.method, b"GET" | b"HEAD")
}

fn banner(plugin: &Plugin, request: &Request<'_>) -> Reply {
    let now = host::now();
    let mut state = plugin.state.borrow_mut();
    state.look_at_latches(now);
    reply::banner(state.policy(), &request.host, now, state.latches())
}
