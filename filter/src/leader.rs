//! The one VM of the process that talks to the companion: lease, long poll, reports.

use std::borrow::Cow;

use quiesce_policy::{
    Headers,
    snapshot::{Epoch, WindowId},
    sync::{EPOCH_HEADER, RejectedSnapshot, SyncRequest},
};

use crate::{
    barrier::Barrier,
    host::{self, Metric},
    lease::{Lease, Step},
    plugin::Plugin,
    vms::Roll,
};

const LEASE: &str = "quiesce.leader";

/// How long the companion may hold a poll; milliseconds.
const POLL_MS: u32 = 30_000;

/// How long an answer may take beyond that; milliseconds.
const ANSWER_MS: u32 = 5000;

/// While writes drain, the leader looks this often, so that the last one's end is told at once; milliseconds.
const DRAIN_TICK_MS: u64 = 5;

/// That fewer writes are left is told at most this often; milliseconds.
const DRAIN_REPORT_MS: u64 = 50;

/// While a window is in force, counters are reported this often if they moved; milliseconds.
const COUNTERS_MS: u64 = 2000;

/// After a failed call the next one waits at least and at most this long; milliseconds.
const BACKOFF_MS: std::ops::RangeInclusive<u64> = 250..=4000;

/// A snapshot larger than this is not taken in; bytes.
const MAX_SNAPSHOT_BYTES: usize = 16 * 1024 * 1024;

/// A VM's part in leading, whether it leads or not.
pub struct Leader {
    lease: Lease,
    leads: bool,
    roll: Roll,
    barrier: Barrier,
    poll: Option<u32>,
    report: Option<u32>,
    backoff_ms: u64,
    pause_ms: u64,
    since_sent_ms: u64,
    told: Told,
    rejected: Option<RejectedSnapshot>,
    rejections: Metric,
}

/// What the companion was last told; what differs is worth a report.
#[derive(Clone, Default, PartialEq)]
struct Told {
    applied: Epoch,
    in_force: Vec<WindowId>,
    in_flight: u64,
    unaccounted: u64,
}

impl Leader {
    /// A VM that does not lead yet; `number` is its own within the process.
    pub fn new(number: u64) -> Option<Self> {
        Some(Self {
            lease: Lease::new(number.to_string()),
            leads: false,
            roll: Roll::default(),
            barrier: Barrier::default(),
            poll: None,
            report: None,
            backoff_ms: *BACKOFF_MS.start(),
            pause_ms: 0,
            since_sent_ms: 0,
            told: Told::default(),
            rejected: None,
            rejections: Metric::counter("quiesce.snapshots_rejected")?,
        })
    }

    /// Renews or takes over the lease and, leading, sees to the companion. Returns how soon the next
    /// tick should come, if sooner than usual; milliseconds.
    pub fn tick(&mut self, plugin: &Plugin, elapsed_ms: u64) -> Option<u64> {
        self.contend(elapsed_ms);
        if !self.leads {
            return None;
        }
        self.roll.tick(elapsed_ms);
        self.pause_ms = self.pause_ms.saturating_sub(elapsed_ms);
        self.since_sent_ms = self.since_sent_ms.saturating_add(elapsed_ms);
        let standing = self.measure(plugin);
        if self.poll.is_none() && self.pause_ms == 0 {
            self.send_poll(plugin, standing);
        } else if self.pause_ms == 0 && self.is_news(&standing) {
            self.send_report(plugin, standing);
        }
        self.hurry_ms()
    }

    /// Takes in an answer of the companion, `None` if the call failed; returns as [`Leader::tick`] does.
    pub fn on_response(&mut self, plugin: &Plugin, token: u32, body_bytes: Option<usize>) -> Option<u64> {
        let is_poll = self.poll == Some(token);
        if is_poll {
            self.poll = None;
        } else if self.report == Some(token) {
            self.report = None;
        } else {
            return self.hurry_ms();
        }
        let answer = host::response_headers();
        let applied = match answer.headers().single(b":status") {
            Some(b"200") => self.apply(plugin, answer.headers(), body_bytes.unwrap_or(0)),
            Some(b"204") => {
                self.backoff_ms = *BACKOFF_MS.start();
                false
            }
            status => {
                self.back_off(status);
                return self.hurry_ms();
            }
        };
        if !self.leads {
            return None;
        }
        if self.poll.is_none() && self.pause_ms == 0 {
            let standing = self.measure(plugin);
            self.send_poll(plugin, standing);
        } else if applied {
            let standing = self.measure(plugin);
            self.send_report(plugin, standing);
        }
        self.hurry_ms()
    }

    fn contend(&mut self, elapsed_ms: u64) {
        let read = host::shared(LEASE);
        let led = self.leads;
        self.leads = match self.lease.step(read.value.as_deref(), elapsed_ms) {
            Step::Claim(lease) => host::replace_shared(LEASE, &read, &lease),
            Step::Follow => false,
        };
        if self.leads && !led {
            self.roll = Roll::default();
            self.barrier = Barrier::default();
            self.told = Told::default();
        }
        if !self.leads {
            (self.poll, self.report) = (None, None);
        }
    }

    /// What is in force, and what is in flight, in this order.
    fn measure(&mut self, plugin: &Plugin) -> Told {
        let in_force = plugin.in_force();
        let applied = plugin.state.borrow().policy().epoch();
        let left_behind = self.roll.left_behind();
        let counts = plugin.in_flight.counts(left_behind);
        let current = plugin.in_flight.current();
        let standing = self.barrier.look(&in_force, counts, current);
        if standing.steer_to != current {
            plugin.in_flight.steer_to(standing.steer_to);
        }
        Told { applied, in_force, in_flight: standing.in_flight, unaccounted: left_behind.iter().sum() }
    }

    fn is_news(&self, standing: &Told) -> bool {
        if self.report.is_some() || (standing.in_force.is_empty() && self.told.in_force.is_empty()) {
            return false;
        }
        let drained = standing.in_flight == 0 && self.told.in_flight > 0;
        standing.in_force != self.told.in_force
            || drained
            || (*standing != self.told && self.since_sent_ms >= DRAIN_REPORT_MS)
            || self.since_sent_ms >= COUNTERS_MS
    }

    fn send_poll(&mut self, plugin: &Plugin, standing: Told) {
        self.poll = self.send(plugin, standing, POLL_MS);
    }

    fn send_report(&mut self, plugin: &Plugin, standing: Told) {
        self.report = self.send(plugin, standing, 0);
    }

    fn send(&mut self, plugin: &Plugin, standing: Told, wait_ms: u32) -> Option<u32> {
        let request = SyncRequest {
            enforcer: plugin.enforcer.clone(),
            applied: standing.applied,
            in_force: standing.in_force.clone(),
            in_flight: standing.in_flight,
            unaccounted: standing.unaccounted,
            cut: plugin.cut.get().unwrap_or(0),
            clock: host::now(),
            counters: plugin.counters.borrow_mut().report(),
            boots_closed: plugin.config.boots_closed(),
            rejected: self.rejected.clone(),
            wait_ms: wait_ms.into(),
        };
        let body = serde_json::to_vec(&request).unwrap_or_default();
        let sent = host::post_json(&plugin.config, "/v1/sync", &body, wait_ms + ANSWER_MS);
        match sent {
            Some(_) => {
                self.told = standing;
                self.since_sent_ms = 0;
            }
            None => self.back_off(None),
        }
        sent
    }

    fn back_off(&mut self, status: Option<&[u8]>) {
        log::warn!(
            "the companion did not answer as it should ({}); next try in {} ms",
            status.map_or(Cow::Borrowed("no answer"), String::from_utf8_lossy),
            self.backoff_ms
        );
        self.told = Told::default();
        self.pause_ms = self.backoff_ms;
        self.backoff_ms = (self.backoff_ms * 2).min(*BACKOFF_MS.end());
    }

    /// Puts the snapshot of an answer in force; says whether it did.
    fn apply(&mut self, plugin: &Plugin, headers: Headers<'_>, body_bytes: usize) -> bool {
        let published = if body_bytes > MAX_SNAPSHOT_BYTES {
            Err(format!("{body_bytes} bytes; at most {MAX_SNAPSHOT_BYTES}"))
        } else {
            let published = plugin.state.borrow_mut().publish(&host::response_body(body_bytes));
            plugin.look();
            published
        };
        match published {
            Ok(epoch) => {
                log::info!("snapshot {epoch} is in force");
                self.rejected = None;
                self.backoff_ms = *BACKOFF_MS.start();
                true
            }
            Err(error) => {
                self.rejections.add(1);
                let version =
                    headers.single(EPOCH_HEADER.as_bytes()).and_then(|value| str::from_utf8(value).ok());
                let version = version.and_then(|value| value.parse().ok()).unwrap_or(0);
                log::error!("snapshot {version} cannot be used, the last good one stays in force: {error}");
                let count = self.rejections.get().unwrap_or(0);
                self.rejected = Some(RejectedSnapshot { version: Epoch(version), error, count });
                self.pause_ms = *BACKOFF_MS.start();
                false
            }
        }
    }

    fn hurry_ms(&self) -> Option<u64> {
        let draining = !self.told.in_force.is_empty() && self.told.in_flight > 0;
        let waits = (self.leads && self.poll.is_none()).then_some(self.pause_ms.max(1));
        [draining.then_some(DRAIN_TICK_MS), waits].into_iter().flatten().min()
    }
}
