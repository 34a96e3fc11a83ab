//! Answers to refused writes, kept so that each is written only once.

use quiesce_policy::{
    Policy, Refusal,
    reply::RefusalReply,
    snapshot::{Epoch, Window, WindowId},
};

/// The answers to refused writes, each written once under one policy.
#[derive(Default)]
pub struct Refusals {
    epoch: Epoch,
    written: Vec<(Refusal, Option<WindowId>, RefusalReply)>,
}

impl Refusals {
    /// The answer for one reason; `window` is the one that refuses, if it is known.
    pub fn reply(&mut self, policy: &Policy, refusal: Refusal, window: Option<&Window>) -> &RefusalReply {
        if self.epoch != policy.epoch() {
            self.epoch = policy.epoch();
            self.written.clear();
        }
        let id = window.map(|window| &window.id);
        let known = self.written.iter().position(|(reason, of, _)| *reason == refusal && of.as_ref() == id);
        let at = known.unwrap_or_else(|| {
            let reply = RefusalReply::new(refusal, window, policy.status_page());
            self.written.push((refusal, id.cloned(), reply));
            self.written.len() - 1
        });
        #[allow(clippy::indexing_slicing, reason = "found there, or just pushed")]
        &self.written[at].2
    }
}
