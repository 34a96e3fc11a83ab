//! The engine: claims intents, sends them, and puts on disk what became of them.
//!
//! The four things that take time go on side by side: while replays are on their way, the next ones are claimed
//! and read, and the conclusions of the last ones are written, many in one sync. So a slot is never held by the
//! disk; only the next intent of a line waits for the conclusion of the one before.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use quiesce_policy::time::Timestamp;
use tokio::task::{JoinError, JoinSet};

use super::{
    answer::{Attempt, Ending, conclude},
    gate::Counted,
    pace::{Breaker, Pacer},
    send::Sender,
    task::{Job, Prepared, prepare, settle},
};
use crate::{
    clock,
    config::{Backfill as Config, Period},
    event::{COMPANION, EventKind},
    intents::{Claim, Conclusion, IntentRecord, Outcome},
    service::Service,
    store::StoreError,
};

/// Intents claimed ahead, for each one that may be on its way.
const AHEAD: usize = 4;
/// A claim lasts this much longer than an answer may take: half for waiting to be sent, half for the disk.
const MARGIN: Duration = Duration::from_secs(30);
/// Without any sign, there may be something to claim this often: intents are stored by other companions too.
const TICK: Duration = Duration::from_secs(1);
/// After a failure of the ledger the next try waits this long.
const PAUSE: Duration = Duration::from_secs(1);
/// When the companion goes down, replays on their way have this long to be answered. What is not concluded
/// then is sent once more by the next companion, with the same key.
const FAREWELL: Duration = Duration::from_secs(4);
const PASS_SUBJECT: &str = "backfill";
/// What a pass is valid for beyond the time that an answer may take.
const PASS_MARGIN_MS: u64 = 60_000;

/// Replays what is due, until the companion goes down.
pub async fn replay(service: Arc<Service>) {
    let config = service.config.backfill.clone();
    let Some(target) = config.to.as_deref().and_then(crate::config::target) else { return };
    match Sender::new(target, &config) {
        Ok(sender) => Engine::new(service, sender, config).run().await,
        Err(error) => tracing::error!(%error, "nothing can be replayed: no certificates to trust"),
    }
}

/// What a claim asked for and got.
struct Claimed {
    limit: usize,
    at: Instant,
    records: Result<Vec<IntentRecord>, StoreError>,
}

struct Engine {
    service: Arc<Service>,
    sender: Sender,
    config: Config,
    concurrency: usize,
    claims: JoinSet<Claimed>,
    prepares: JoinSet<Prepared>,
    ready: VecDeque<Job>,
    sends: JoinSet<(Box<IntentRecord>, Attempt)>,
    conclusions: JoinSet<()>,
    notes: JoinSet<()>,
    breaker: Breaker,
    pacer: Pacer,
    /// There may be something to claim.
    look: bool,
    /// The last claim found nothing.
    nothing_there: bool,
    /// When to look again by itself.
    next_look: Instant,
    /// Until then there are intents that wait for another attempt.
    last_retry: Timestamp,
    pass: Option<(String, Timestamp)>,
}

impl Engine {
    fn new(service: Arc<Service>, sender: Sender, config: Config) -> Self {
        let concurrency = usize::try_from(config.concurrency.get()).unwrap_or(usize::MAX);
        Self {
            service,
            sender,
            concurrency,
            claims: JoinSet::new(),
            prepares: JoinSet::new(),
            ready: VecDeque::new(),
            sends: JoinSet::new(),
            conclusions: JoinSet::new(),
            notes: JoinSet::new(),
            breaker: Breaker::new(config.breaker),
            pacer: Pacer::new(config.rate_per_s),
            look: true,
            nothing_there: false,
            next_look: Instant::now(),
            last_retry: Timestamp::from_unix_ms(0),
            pass: None,
            config,
        }
    }

    async fn run(mut self) {
        let mut published = self.service.follow();
        let mut shutdown = self.service.follow_shutdown();
        let service = Arc::clone(&self.service);
        tracing::info!(to = %self.sender.target(), "held writes are replayed once their windows are over");
        while !*shutdown.borrow_and_update() {
            published.borrow_and_update();
            let timer = self.advance();
            tokio::select! {
                Some(claimed) = self.claims.join_next() => self.claimed(claimed),
                Some(prepared) = self.prepares.join_next() => self.prepared(prepared),
                Some(sent) = self.sends.join_next() => self.sent(sent),
                Some(done) = self.conclusions.join_next() => {
                    complain(done);
                    self.look = true;
                }
                Some(done) = self.notes.join_next() => complain(done),
                () = service.backfill.wake.notified() => self.look = true,
                _ = published.changed() => self.look = true,
                () = tokio::time::sleep_until(timer.into()) => {}
                _ = shutdown.changed() => {}
            }
        }
        self.wind_down().await;
    }

    /// Does all that can be done now; returns when to look again if nothing happens.
    fn advance(&mut self) -> Instant {
        let now = Instant::now();
        if self.service.holds_replays_back(clock::now()).is_some() {
            self.give_back();
            return now + TICK;
        }
        let timer = self.dispatch(now);
        if now >= self.next_look {
            self.look = true;
            self.next_look = now + TICK;
        }
        let ahead = self.ready.len() + self.prepares.len();
        let most = self.most_ahead();
        if self.look && self.claims.is_empty() && ahead <= most / 2 {
            self.look = false;
            self.claim(most - ahead);
        }
        self.finish();
        timer.min(self.next_look)
    }

    /// What waits to be sent does not wait for longer than a second at the rate allowed.
    fn most_ahead(&self) -> usize {
        let most = self.concurrency.saturating_mul(AHEAD);
        let rate = self
            .config
            .rate_per_s
            .map_or(usize::MAX, |rate| usize::try_from(rate.get()).unwrap_or(usize::MAX));
        most.min(rate).max(1)
    }

    /// Sends what is ready, as far as slots and rate allow.
    fn dispatch(&mut self, now: Instant) -> Instant {
        let most = self.concurrency.saturating_mul(AHEAD);
        while self.sends.len() < self.concurrency && self.conclusions.len() < most {
            let Some(job) = self.ready.front() else { break };
            if job.not_after > now
                && let Err(at) = self.pacer.take(now)
            {
                return at;
            }
            let Some(job) = self.ready.pop_front() else { break };
            if job.not_after <= now {
                self.settle(job.record, Conclusion::Unsent);
                continue;
            }
            let Some(counted) = Counted::begin(&self.service, clock::now()) else {
                self.settle(job.record, Conclusion::Unsent);
                break;
            };
            self.send(job, counted);
        }
        now + TICK
    }

    fn send(&mut self, job: Job, counted: Counted) {
        let Job { record, mut request, .. } = job;
        if self.config.pass {
            match self.pass() {
                Ok(pass) => super::request::show_pass(&mut request, &pass),
                // Without one it may be held once more, which is noticed.
                Err(error) => tracing::error!(%error, "no pass for a replay"),
            }
        }
        let sender = self.sender.clone();
        self.sends.spawn(async move {
            let attempt = sender.send(request).await;
            drop(counted);
            (record, attempt)
        });
    }

    /// A pass for one attempt more.
    fn pass(&mut self) -> Result<String, crate::passes::PassError> {
        let (now, timeout_ms) = (clock::now(), self.config.timeout.ms());
        let needed = now.plus_ms(timeout_ms.saturating_add(PASS_MARGIN_MS / 2));
        if let Some((pass, until)) = &self.pass
            && *until >= needed
        {
            return Ok(pass.clone());
        }
        let longest = self.service.config.passes.max_lifetime;
        let lifetime = Period::from_ms(timeout_ms.saturating_add(PASS_MARGIN_MS)).min(longest);
        let issued = self.service.issue_own_pass(PASS_SUBJECT, lifetime, now)?;
        self.pass = Some((issued.token.clone(), issued.expires_at));
        Ok(issued.token)
    }

    fn claim(&mut self, limit: usize) {
        let now = clock::now();
        let lease = self.config.timeout.duration() + MARGIN;
        let claim = Claim {
            owner: self.service.backfill.owner.clone(),
            now,
            lease_until: now.plus_ms(u64::try_from(lease.as_millis()).unwrap_or(u64::MAX)),
            but_of_windows: self.service.windows_not_due(),
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
        };
        let ledger = Arc::clone(&self.service.ledger);
        self.claims.spawn(async move {
            let at = Instant::now();
            Claimed { limit, at, records: ledger.claim(claim).await }
        });
    }

    fn claimed(&mut self, claimed: Result<Claimed, JoinError>) {
        let Claimed { limit, at, records } = match claimed {
            Ok(claimed) => claimed,
            Err(error) => return complain(Err(error)),
        };
        let records = match records {
            Ok(records) => records,
            Err(error) => {
                tracing::error!(%error, "intents could not be claimed");
                return self.rest();
            }
        };
        self.nothing_there = records.is_empty();
        self.look |= records.len() == limit;
        if !records.is_empty() && self.service.backfill.begin_run(clock::now()) {
            self.note(
                EventKind::BackfillStarted,
                serde_json::json!({ "to": self.sender.target().to_string() }),
            );
        }
        for record in records {
            let (service, target) = (Arc::clone(&self.service), self.sender.target().clone());
            let not_after = at + MARGIN / 2;
            self.prepares.spawn(prepare(service, target, Box::new(record), not_after));
        }
    }

    fn prepared(&mut self, prepared: Result<Prepared, JoinError>) {
        match prepared {
            Ok(Prepared::Ready(job)) => self.ready.push_back(*job),
            Ok(Prepared::Broken(record, why)) => {
                let outcome = Outcome { note: Some(why), ..Outcome::default() };
                self.count(&record, Ending::GivenUp);
                self.settle(record, Conclusion::GivenUp(outcome));
            }
            Ok(Prepared::Unreadable(record, why)) => {
                self.pause(format!("intent {} cannot be read: {why}", record.id));
                self.settle(record, Conclusion::Unsent);
            }
            Ok(Prepared::Unavailable(record, error)) => {
                tracing::error!(%error, id = %record.id, "an intent could not be read");
                self.settle(record, Conclusion::Unsent);
                self.rest();
            }
            Err(error) => complain(Err(error)),
        }
    }

    /// The ledger fails: it is left alone for a while.
    fn rest(&mut self) {
        self.look = false;
        self.next_look = Instant::now() + PAUSE;
    }

    fn sent(&mut self, sent: Result<(Box<IntentRecord>, Attempt), JoinError>) {
        let (record, attempt) = match sent {
            Ok(sent) => sent,
            Err(error) => return complain(Err(error)),
        };
        // Without chance, the longest wait is as good.
        let random = getrandom::u64().unwrap_or(u64::MAX);
        let why = why(&attempt);
        let (conclusion, ending) = conclude(&record, attempt, &self.config, clock::now(), random);
        if let Conclusion::Later { at, .. } = &conclusion {
            self.last_retry = self.last_retry.max(*at);
            let wait = Duration::from_millis(at.ms_since(clock::now()));
            self.next_look = self.next_look.min(Instant::now() + wait);
        }
        if ending != Ending::Done {
            tracing::warn!(
                id = %record.id, line = record.line, attempt = record.attempts, ending = ending.as_str(), why,
                "replay"
            );
        }
        if self.breaker.note(&record.surface, &record.line, ending) {
            let lines = self.config.breaker;
            self.pause(format!("{lines} lines in a row have failed, the last one with: {why}"));
        }
        self.count(&record, ending);
        self.settle(record, conclusion);
    }

    fn count(&self, record: &IntentRecord, ending: Ending) {
        self.service.backfill.note(ending);
        self.service.metrics.replayed(&record.surface, ending);
    }

    /// Puts on disk what became of an intent; its line goes on after that.
    fn settle(&mut self, record: Box<IntentRecord>, conclusion: Conclusion) {
        let until = Instant::now() + MARGIN / 2;
        self.conclusions.spawn(settle(Arc::clone(&self.service), record, conclusion, until));
    }

    /// Gives back what is claimed and was not sent.
    fn give_back(&mut self) {
        for job in std::mem::take(&mut self.ready) {
            self.settle(job.record, Conclusion::Unsent);
        }
    }

    /// Stops everything and tells the operator.
    fn pause(&mut self, reason: String) {
        let service = Arc::clone(&self.service);
        if service.backfill.pause().is_some() {
            return;
        }
        tracing::error!(reason, "the backfill is paused; `quiesce backfill resume` lets it go on");
        // In force at once, and on disk as soon as can be.
        service.backfill.set_pause(Some(super::Pause {
            at: clock::now(),
            by: COMPANION.to_owned(),
            reason: reason.clone(),
        }));
        self.notes.spawn(async move {
            if let Err(error) = service.log_pause(COMPANION, &reason).await {
                tracing::error!(%error, "that the backfill is paused is not on disk");
            }
        });
    }

    /// Ends the run when there is nothing more to do for now.
    fn finish(&mut self) {
        let idle = self.claims.is_empty()
            && self.prepares.is_empty()
            && self.ready.is_empty()
            && self.sends.is_empty()
            && self.conclusions.is_empty();
        if !idle || self.look || !self.nothing_there || clock::now() <= self.last_retry {
            return;
        }
        if let Some(run) = self.service.backfill.end_run() {
            let took_ms = clock::now().ms_since(run.started_at);
            tracing::info!(tally = ?run.tally, took_ms, "nothing more to replay for now");
            let evidence = serde_json::json!({ "tally": run.tally, "took_ms": took_ms });
            self.note(EventKind::BackfillFinished, evidence);
        }
    }

    fn note(&mut self, kind: EventKind, evidence: serde_json::Value) {
        let service = Arc::clone(&self.service);
        self.notes.spawn(async move {
            if let Err(error) = service.log(COMPANION, kind, evidence).await {
                tracing::error!(%error, kind = kind.as_str(), "the event log misses an event");
            }
        });
    }

    /// Lets what is on its way come to its end, and gives back the rest.
    async fn wind_down(mut self) {
        let farewell = async {
            loop {
                self.give_back();
                tokio::select! {
                    Some(claimed) = self.claims.join_next() => self.claimed(claimed),
                    Some(prepared) = self.prepares.join_next() => self.prepared(prepared),
                    Some(sent) = self.sends.join_next() => self.sent(sent),
                    Some(done) = self.conclusions.join_next() => complain(done),
                    Some(done) = self.notes.join_next() => complain(done),
                    else => return,
                }
            }
        };
        if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
            tracing::warn!("replays on their way were cut off; they are made again with the same keys");
        }
    }
}

/// A task of the engine that did not end by itself has failed.
fn complain(done: Result<(), JoinError>) {
    if let Err(error) = done {
        tracing::error!(%error, "a part of the backfill failed");
    }
}

/// Why an attempt ended as it did, in few words.
fn why(attempt: &Attempt) -> String {
    match attempt {
        Attempt::Answered { status, .. } => status.to_string(),
        Attempt::Unanswered(why) => why.clone(),
        Attempt::Unsent => "not sent".to_owned(),
    }
}
