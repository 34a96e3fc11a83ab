//! The VMs of one process with their ticks and their companion, run by a clock that the test moves.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use quiesce_policy::{
    intent::{INTENTS_PATH, RECEIPTS_PATH},
    snapshot::{Epoch, Snapshot},
    sync::{EPOCH_HEADER, SeenReport, SyncRequest},
    time::Timestamp,
};

use super::{Answer, HttpCall, Module, Process, Vm};

/// What the companion side serves, and what it heard.
#[derive(Debug, Default)]
struct Companion {
    epoch: Epoch,
    body: Vec<u8>,
    down: bool,
    reports: Vec<SyncRequest>,
    seen: Vec<SeenReport>,
    /// Whether what was seen is turned away.
    sees_nothing: bool,
    /// Polls held open, by VM and token, and when they end.
    held: BTreeMap<(u32, u32), (SyncRequest, Timestamp)>,
}

/// A process with its VMs, in lockstep: time passes only in [`Workers::run`].
#[derive(Debug)]
pub struct Workers {
    /// The process.
    pub process: Process,
    /// Its VMs that live, by number.
    pub vms: BTreeMap<u32, Vm>,
    companion: Companion,
    /// When each VM ticks next, and by which period that was reckoned.
    ticks: BTreeMap<u32, (Timestamp, u32)>,
    configuration: String,
}

impl Workers {
    /// A process of node `envoy-1` with `count` VMs at `now`, and a companion that has nothing to serve.
    ///
    /// # Errors
    /// When a VM does not start.
    pub fn start(module: &Module, count: usize, configuration: &str, now: Timestamp) -> Result<Self> {
        let mut workers = Self {
            process: Process::new(module, "envoy-1", now),
            vms: BTreeMap::new(),
            companion: Companion::default(),
            ticks: BTreeMap::new(),
            configuration: configuration.to_owned(),
        };
        for _ in 0..count {
            workers.start_vm()?;
        }
        Ok(workers)
    }

    /// Starts one more VM, as Envoy does in place of one that has failed; returns its number.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_vm(&mut self) -> Result<u32> {
        let vm = self.process.start_vm(&self.configuration)?;
        let number = vm.number();
        self.vms.insert(number, vm);
        self.plan_tick(number);
        self.hear(number)?;
        Ok(number)
    }

    /// A VM.
    ///
    /// # Panics
    /// When there is none of that number, which fails the test.
    #[allow(clippy::expect_used, reason = "a test that names a VM that is not there is wrong")]
    pub fn vm(&mut self, number: u32) -> &mut Vm {
        self.vms.get_mut(&number).expect("a VM of that number")
    }

    /// Takes a VM away with all its streams, as if its thread had hung for good.
    pub fn drop_vm(&mut self, number: u32) {
        self.vms.remove(&number);
        self.ticks.remove(&number);
        self.companion.held.retain(|(vm, _), _| *vm != number);
    }

    /// The VM that holds the long poll, and with it the lease.
    pub fn leader(&self) -> Option<u32> {
        self.companion.held.keys().next().map(|(vm, _)| *vm)
    }

    /// Serves this snapshot from now on, and answers the polls that wait for it.
    ///
    /// # Errors
    /// When a VM traps or misuses a host call.
    pub fn publish(&mut self, snapshot: &Snapshot) -> Result<()> {
        self.publish_bytes(snapshot.version, serde_json::to_vec(snapshot)?)
    }

    /// Serves these bytes under this version from now on.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub fn publish_bytes(&mut self, epoch: Epoch, body: Vec<u8>) -> Result<()> {
        (self.companion.epoch, self.companion.body) = (epoch, body);
        self.wake()
    }

    /// Takes the companion away, or brings it back: calls fail meanwhile.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub fn set_companion_down(&mut self, down: bool) -> Result<()> {
        self.companion.down = down;
        self.wake()
    }

    /// The reports so far.
    pub fn reports(&self) -> &[SyncRequest] {
        &self.companion.reports
    }

    /// What VMs have told of observed surfaces so far, and was taken.
    pub fn seen(&self) -> &[SeenReport] {
        &self.companion.seen
    }

    /// Turns away what VMs tell of observed surfaces, or takes it again.
    pub fn set_companion_sees_nothing(&mut self, sees_nothing: bool) {
        self.companion.sees_nothing = sees_nothing;
    }

    /// The last report.
    ///
    /// # Errors
    /// When there was none.
    pub fn last_report(&self) -> Result<&SyncRequest> {
        self.companion.reports.last().context("the companion has heard nothing")
    }

    /// Lets `ms` milliseconds pass: ticks and the ends of polls come when they are due.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub fn run(&mut self, ms: u64) -> Result<()> {
        let end = self.process.clock().plus_ms(ms);
        loop {
            let tick = self.ticks.iter().map(|(vm, (at, _))| (*at, *vm)).min();
            let poll = self.companion.held.iter().map(|(key, (_, at))| (*at, *key)).min();
            match (tick, poll) {
                (Some((at, vm)), _) if at <= end && poll.is_none_or(|(poll_at, _)| at <= poll_at) => {
                    self.process.set_clock(at);
                    self.tick(vm)?;
                }
                (_, Some((at, key))) if at <= end => {
                    self.process.set_clock(at);
                    self.companion.held.remove(&key);
                    self.answer(key, no_news(self.companion.epoch))?;
                }
                _ => break,
            }
        }
        self.process.set_clock(end);
        Ok(())
    }

    /// Sets the clock, forwards or back, without anything happening: ticks stay as far off as they were.
    pub fn jump_clock(&mut self, to: Timestamp) {
        let from = self.process.clock();
        let moved = |at: Timestamp| to.plus_ms(at.ms_since(from));
        for (at, _) in self.ticks.values_mut() {
            *at = moved(*at);
        }
        for (_, at) in self.companion.held.values_mut() {
            *at = moved(*at);
        }
        self.process.set_clock(to);
    }

    /// Ticks one VM now.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub fn tick(&mut self, number: u32) -> Result<()> {
        self.ticks.remove(&number);
        self.vm(number).tick()?;
        self.hear(number)?;
        self.plan_tick(number);
        Ok(())
    }

    /// A period that has changed starts a fresh timer, as in Envoy.
    fn plan_tick(&mut self, number: u32) {
        let period = self.vm(number).tick_period_ms();
        if period == 0 {
            self.ticks.remove(&number);
        } else if self.ticks.get(&number).is_none_or(|(_, planned)| *planned != period) {
            self.ticks.insert(number, (self.process.clock().plus_ms(u64::from(period)), period));
        }
    }

    /// Takes in the calls that a VM has made.
    fn hear(&mut self, number: u32) -> Result<()> {
        loop {
            let calls = self.vm(number).http_calls();
            let fresh = calls
                .into_iter()
                .find(|call| !is_of_stream(call) && !self.companion.held.contains_key(&(number, call.token)));
            let Some(call) = fresh else { return Ok(()) };
            let key = (number, call.token);
            if self.companion.down {
                self.answer(key, Answer::Failure)?;
                continue;
            }
            if call.header(":path") == Some(b"/v1/seen") {
                let status = if self.companion.sees_nothing {
                    503
                } else {
                    let report = serde_json::from_slice(&call.body).context("what was seen")?;
                    self.companion.seen.push(report);
                    204
                };
                self.answer(key, Answer::Response { status, headers: Vec::new(), body: Vec::new() })?;
                continue;
            }
            let report = check(&call)?;
            self.companion.reports.push(report.clone());
            match self.news_for(&report) {
                Some(news) => self.answer(key, news)?,
                None if report.wait_ms == 0 => self.answer(key, no_news(self.companion.epoch))?,
                None => {
                    let until = self.process.clock().plus_ms(report.wait_ms);
                    self.companion.held.insert(key, (report, until));
                }
            }
        }
    }

    /// Answers the polls that no longer have anything to wait for.
    fn wake(&mut self) -> Result<()> {
        let held = std::mem::take(&mut self.companion.held);
        for (key, (report, until)) in held {
            if self.companion.down {
                self.answer(key, Answer::Failure)?;
            } else if let Some(news) = self.news_for(&report) {
                self.answer(key, news)?;
            } else {
                self.companion.held.insert(key, (report, until));
            }
        }
        Ok(())
    }

    fn news_for(&self, report: &SyncRequest) -> Option<Answer> {
        let Companion { epoch, body, .. } = &self.companion;
        let rejected = report.rejected.as_ref().is_some_and(|rejected| rejected.version == *epoch);
        if *epoch == Epoch(0) || *epoch == report.applied || rejected {
            return None;
        }
        let headers = vec![(EPOCH_HEADER.to_owned(), epoch.to_string())];
        Some(Answer::Response { status: 200, headers, body: body.clone() })
    }

    fn answer(&mut self, (number, token): (u32, u32), answer: Answer) -> Result<()> {
        self.vm(number).answer(token, answer)?;
        self.plan_tick(number);
        self.hear(number)
    }
}

/// Whether a stream waits for the answer; those calls are the test's to answer ([`Vm::answer`]).
fn is_of_stream(call: &HttpCall) -> bool {
    let path = call.header(":path").unwrap_or_default();
    path == INTENTS_PATH.as_bytes() || path.starts_with(RECEIPTS_PATH.as_bytes())
}

fn no_news(epoch: Epoch) -> Answer {
    Answer::Response {
        status: 204,
        headers: vec![(EPOCH_HEADER.to_owned(), epoch.to_string())],
        body: Vec::new(),
    }
}

/// What every call of the filter must be like.
fn check(call: &HttpCall) -> Result<SyncRequest> {
    ensure!(call.header(":method") == Some(b"POST"), "a sync is a POST: {:?}", call.headers);
    ensure!(call.header(":path") == Some(b"/v1/sync"), "a sync goes to /v1/sync: {:?}", call.headers);
    let bearer = call.header("authorization").is_some_and(|value| value.starts_with(b"Bearer "));
    ensure!(bearer, "a sync carries a bearer token: {:?}", call.headers);
    let report: SyncRequest = serde_json::from_slice(&call.body).context("a report")?;
    ensure!(
        u64::from(call.timeout_ms) > report.wait_ms,
        "a call that gives up after {} ms on a poll held for {} ms",
        call.timeout_ms,
        report.wait_ms
    );
    Ok(report)
}
