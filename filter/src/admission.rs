//! What becomes of one request. The order is the product: count, then look.

use std::{cell::OnceCell, rc::Rc};

use quiesce_policy::{
    Circumstances, Classified, HeaderBlock, Policy, Refusal, Request, Stop, Timestamp, Verdict,
    banner::{self, BANNER_PATH},
    intent::{RECEIPT_PATH, receipt_id},
    learning::may_list_tools,
    reply::{self, Reply},
    retry,
    snapshot::{Action, Effect, SurfaceName, Window},
    wire::Dialect,
};

use crate::{
    config::{Boot, OnUnreachable},
    counters::Outcome,
    host,
    in_flight::Counted,
    intents,
    learning::{self, LEARNS},
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
    /// It is decided when its body is whole, or longer than this.
    Awaited {
        /// Bytes.
        max_bytes: usize,
    },
    /// The companion is asked, and its answer is the client's.
    Asked {
        /// The call that it answers.
        token: u32,
    },
}

/// What is known of a request's body.
#[derive(Clone, Copy)]
pub enum Body<'a> {
    /// It is still to come.
    ToCome,
    /// This is all of it.
    Whole(&'a [u8]),
    /// It is too long to be looked into.
    TooLong,
}

impl<'a> Body<'a> {
    /// Its bytes; none, if not all of them are known.
    fn bytes(self) -> &'a [u8] {
        if let Self::Whole(bytes) = self { bytes } else { &[] }
    }
}

/// Decides about the request with these headers.
pub fn admit(plugin: &Plugin, context_id: u32, headers: &HeaderBlock, body: Body<'_>) -> Admission {
    plugin.look();
    let request = Request::read(headers.headers());
    let policy = Rc::clone(plugin.state.borrow().policy());
    let asking = Asking { plugin, context_id, request: &request, body };
    if let Some(below) = below_banner(&request) {
        if matches!(below.first(), None | Some(b'?')) {
            return Admission::Answered(banner(plugin, &request));
        }
        if let Some(id) = request.target.strip_prefix(RECEIPT_PATH).and_then(receipt_id) {
            return asking.ask_for_receipt(&policy, id);
        }
    }
    let classified = asking.classify(&policy);
    asking.show(&policy, &classified);
    if let Some(settled) = asking.settle(&policy, &classified) {
        return settled;
    }
    let counted = plugin.in_flight.count();
    plugin.look();
    let now_in_force = Rc::clone(plugin.state.borrow().policy());
    if Rc::ptr_eq(&policy, &now_in_force) {
        return decide(&asking, counted, &policy, &classified);
    }
    let classified = asking.classify(&now_in_force);
    match asking.settle(&now_in_force, &classified) {
        Some(settled) => settled,
        None => decide(&asking, counted, &now_in_force, &classified),
    }
}

/// A request that asks to be passed.
struct Asking<'a> {
    plugin: &'a Plugin,
    context_id: u32,
    request: &'a Request<'a>,
    body: Body<'a>,
}

impl Asking<'_> {
    fn classify(&self, policy: &Policy) -> Classified {
        // Fetched once at most, and only where it may matter.
        let fetched = OnceCell::new();
        let learned = |surface: &SurfaceName, tool: &str| {
            LEARNS && learning::has_learned(&fetched, surface, self.request, tool)
        };
        let classified = policy.classify_with(self.request, learned);
        match self.body {
            Body::Whole(body) if classified.awaits_body => {
                policy.inspect_with(self.request, classified, body, learned)
            }
            _ => classified,
        }
    }

    /// What becomes of requests that need not be counted: reads, and writes that a rule allows at any
    /// time, for which the barrier does not wait; and those that wait for their bodies, which are not
    /// passed.
    fn settle(&self, policy: &Policy, classified: &Classified) -> Option<Admission> {
        let awaited = || {
            let max_bytes = self.plugin.config.inspect_bodies.max_bytes;
            self.awaits(policy, classified).then_some(Admission::Awaited { max_bytes })
        };
        if LEARNS && let Some(awaited) = awaited() {
            return Some(awaited);
        }
        let outcome = match (classified.effect, classified.action) {
            (Effect::Read, _) => {
                self.listen(policy, classified);
                Outcome::Read
            }
            (Effect::Write, Action::Allow) => Outcome::Allowed,
            (Effect::Write, _) => return awaited(),
        };
        self.plugin.counters.borrow_mut().note(classified.surface, outcome);
        Some(Admission::Passed)
    }

    /// Whether the body is waited for: only where it may matter.
    fn awaits(&self, policy: &Policy, classified: &Classified) -> bool {
        if !matches!(self.body, Body::ToCome) {
            return false;
        }
        let matters = !policy.schedule().windows().is_empty() || policy.observes(classified.surface);
        (classified.awaits_body && matters)
            || (LEARNS && policy.learns(classified).is_some() && may_list_tools(self.request))
    }

    /// Listens to the answer of a request that is passed, if something may be learned from it.
    fn listen(&self, policy: &Policy, classified: &Classified) {
        if LEARNS && let Some(surface) = policy.learns(classified) {
            let (listening, body) = (&self.plugin.listening, self.body.bytes());
            listening.borrow_mut().listen(self.context_id, surface, self.request, body);
        }
    }

    fn ask_for_receipt(&self, policy: &Policy, id: &str) -> Admission {
        match intents::ask_for_receipt(self.plugin, id) {
            Some(token) => Admission::Asked { token },
            None => Admission::Answered(self.refuse(policy, Refusal::ReceiptUnavailable)),
        }
    }

    /// Refuses what is not refused by a window.
    fn refuse(&self, policy: &Policy, refusal: Refusal) -> Reply {
        // It is asked for by HTTP, whatever lives behind its path.
        let classified = Classified { protocol: None, ..policy.classify(self.request) };
        Refusing { asking: self, policy, classified: &classified, now_ns: host::now_ns() }
            .answer(refusal, None)
    }

    /// Shows the operator what the requests of an observed surface look like.
    fn show(&self, policy: &Policy, classified: &Classified) {
        if policy.observes(classified.surface) && !self.awaits(policy, classified) {
            self.plugin.seen.note(policy, self.request, classified, self.body.bytes());
        }
    }
}

fn decide(asking: &Asking<'_>, counted: Counted<'_>, policy: &Policy, classified: &Classified) -> Admission {
    let Asking { plugin, context_id, request, .. } = *asking;
    let now_ns = host::now_ns();
    let now = host::timestamp(now_ns);
    let refusing = Refusing { asking, policy, classified, now_ns };
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
        Verdict::Observed(stop) => {
            note(Outcome::Observed(stop));
            Admission::Passed
        }
        Verdict::Stopped(Stop::Refused(refusal), window) => {
            Admission::Answered(refusing.answer(refusal, Some(window)))
        }
        Verdict::Stopped(Stop::Queued, window) => refusing.keep(window),
        Verdict::Stopped(stop @ Stop::Dropped, window) => {
            note(Outcome::Stopped(stop));
            Admission::Answered(reply::dropped(window))
        }
    }
}

/// What the client gets that waits for the companion's answer: the sender of a write that is to be kept, or who
/// has asked for a receipt.
pub fn hand_on(plugin: &Plugin, context_id: u32, answer: Option<(Stop, Reply)>) -> Reply {
    let headers = host::request_headers();
    let request = Request::read(headers.headers());
    let policy = Rc::clone(plugin.state.borrow().policy());
    let asking = Asking { plugin, context_id, request: &request, body: Body::ToCome };
    let is_write = below_banner(&request).is_none();
    let Some((stop, reply)) = answer else {
        let refusal = if is_write { Refusal::IntentNotKept } else { Refusal::ReceiptUnavailable };
        return asking.refuse(&policy, refusal);
    };
    if is_write {
        let surface = policy.classify(&request).surface;
        plugin.counters.borrow_mut().note(surface, Outcome::Stopped(stop));
    }
    reply
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
    asking: &'a Asking<'a>,
    policy: &'a Policy,
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
        self.asking
            .plugin
            .counters
            .borrow_mut()
            .note(self.classified.surface, Outcome::Stopped(Stop::Refused(refusal)));
        log::debug!("refused: {} on {}", refusal.code(), self.policy.surface_name(self.classified.surface));
        let dialect = Dialect::of(self.asking.request, self.classified.protocol, self.asking.body.bytes());
        let mut refusals = self.asking.plugin.refusals.borrow_mut();
        refusals.reply(self.policy, refusal, window).to(dialect, self.policy.refused_calls(), retry_after_s)
    }

    /// Has a write kept for later: holds it until its body is whole, and then offers it to the companion.
    fn keep(&self, window: &Window) -> Admission {
        let Asking { plugin, request, body, .. } = *self.asking;
        let max_bytes = self.policy.intents().max_bytes;
        let (body_bytes, whole) = match body {
            Body::ToCome => (announced_bytes(request), None),
            Body::Whole(whole) => (whole.len(), Some(whole)),
            Body::TooLong => (usize::MAX, None),
        };
        if body_bytes > max_bytes {
            return Admission::Answered(self.answer(Refusal::IntentTooLarge, Some(window)));
        }
        let Some(whole) = whole else { return Admission::Awaited { max_bytes } };
        let surface = self.policy.surface_name(self.classified.surface);
        match intents::offer(plugin, self.policy, request, (surface, window), whole) {
            Some(token) => Admission::Asked { token },
            None => Admission::Answered(self.answer(Refusal::IntentNotKept, None)),
        }
    }

    fn wait(&self, ends_at: Option<Timestamp>) -> retry::Wait {
        let address = || host::property("source\0address").unwrap_or_default();
        let client = retry::client(self.asking.request, address);
        let entropy = retry::spread(client, self.now_ns);
        let now = host::timestamp(self.now_ns);
        self.asking.plugin.ledger.borrow_mut().refuse(client, self.policy.retry(), now, ends_at, entropy)
    }
}

/// How long a body will be, if its head says so; bytes.
fn announced_bytes(request: &Request<'_>) -> usize {
    let announced =
        request.headers.single(b"content-length").and_then(|value| std::str::from_utf8(value).ok());
    announced.and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// Of a request for what is answered here, what its target has behind the path of the banner.
fn below_banner<'a>(request: &Request<'a>) -> Option<&'a [u8]> {
    let below = request.target.strip_prefix(BANNER_PATH);
    below.filter(|_| matches!(request.method, b"GET" | b"HEAD"))
}

fn banner(plugin: &Plugin, request: &Request<'_>) -> Reply {
    let now = host::now();
    let mut state = plugin.state.borrow_mut();
    state.look_at_latches(now);
    banner::answer(state.policy(), request, now, state.latches())
}
