//! Tells the companion what the requests of observed surfaces look like.

use std::cell::RefCell;

use quiesce_policy::{
    Classified, Policy, Request,
    seen::SeenTable,
    snapshot::{EnforcerId, Epoch},
    sync::SeenReport,
};

use crate::{config::PluginConfig, host};

/// What was seen is told this long after it was seen, or after what was told before; milliseconds.
const REPORT_MS: u64 = 2000;

/// How long the companion may take to answer; milliseconds.
const ANSWER_MS: u32 = 5000;

/// One VM's part in it. Every VM tells its own: what it saw need not meet elsewhere in the process.
#[derive(Default)]
pub struct Seeing(RefCell<State>);

#[derive(Default)]
struct State {
    table: SeenTable,
    /// The oldest snapshot under which something in it was seen.
    epoch: Epoch,
    waited_ms: u64,
    /// What was sent and is not answered.
    sent: Option<(u32, SeenReport)>,
}

impl Seeing {
    /// Notes a request with its body, if that was looked into.
    pub fn note(&self, policy: &Policy, request: &Request<'_>, classified: &Classified, body: &[u8]) {
        let mut state = self.0.borrow_mut();
        if state.table.is_empty() {
            state.epoch = policy.epoch();
        }
        state.table.note(policy, request, classified, body);
    }

    /// Sends what was seen, when it is time.
    pub fn tick(&self, config: &PluginConfig, enforcer: &EnforcerId, elapsed_ms: u64) {
        let mut state = self.0.borrow_mut();
        if state.table.is_empty() || state.sent.is_some() {
            return;
        }
        state.waited_ms = state.waited_ms.saturating_add(elapsed_ms);
        if state.waited_ms < REPORT_MS {
            return;
        }
        state.waited_ms = 0;
        let (seen, unlisted) = state.table.take();
        let report = SeenReport { enforcer: enforcer.clone(), epoch: state.epoch, seen, unlisted };
        let body = serde_json::to_vec(&report).unwrap_or_default();
        match host::post_json(config, "/v1/seen", &body, ANSWER_MS) {
            Some(token) => state.sent = Some((token, report)),
            None => state.table.put_back(report.seen, report.unlisted),
        }
    }

    /// Takes in an answer, or that there is none; says whether it is one to what was sent here.
    pub fn on_response(&self, token: u32, is_answered: bool) -> bool {
        let mut state = self.0.borrow_mut();
        let Some((_, report)) = state.sent.take_if(|(sent, _)| *sent == token) else { return false };
        if !is_answered || host::response_headers().headers().single(b":status") != Some(b"204") {
            state.table.put_back(report.seen, report.unlisted);
            state.epoch = state.epoch.min(report.epoch);
        }
        true
    }
}
