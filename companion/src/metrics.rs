//! What `/metrics` says, in the OpenMetrics text format. Its labels have few values, whatever enforcers report.

use std::{
    sync::{Mutex, PoisonError, atomic::AtomicU64},
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::{
    backfill::answer::Ending,
    clock,
    intents::Totals,
    outbox::{DeliveryState, Total},
    service::Service,
    windows::Phase,
};

/// Seconds.
const REPORT_BUCKETS: [f64; 8] = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 1.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByPhase {
    phase: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByState {
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByOutcome {
    surface: String,
    outcome: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByIntentState {
    surface: String,
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByEnding {
    surface: String,
    ending: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByNotifier {
    notifier: String,
    state: &'static str,
}

/// What the companion counts.
pub struct Metrics {
    registry: Registry,
    windows: Family<ByPhase, Gauge>,
    enforcers: Family<ByState, Gauge>,
    in_flight: Gauge,
    epoch: Gauge,
    requests: Family<ByOutcome, Counter>,
    report_seconds: Histogram,
    intents: Family<ByIntentState, Gauge>,
    intent_bytes: Family<ByIntentState, Gauge>,
    intent_age_seconds: Family<ByIntentState, Gauge<f64, AtomicU64>>,
    intents_offered: Family<ByOutcome, Counter>,
    intents_expired: Counter,
    intents_purged: Counter,
    replays: Family<ByEnding, Counter>,
    replays_in_flight: Gauge,
    backfill_paused: Gauge,
    deliveries: Family<ByNotifier, Gauge>,
    deliveries_tried: Family<ByNotifier, Counter>,
    /// One scrape at a time: what is counted elsewhere is copied in first.
    scrape: Mutex<()>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("quiesce");
        let windows = Family::default();
        registry.register("windows", "Windows that are not over, by phase", windows.clone());
        let enforcers = Family::default();
        registry.register("enforcers", "Enforcers, by whether they can be counted on", enforcers.clone());
        let in_flight = Gauge::default();
        registry.register("writes_in_flight", "Admitted writes running, over the fleet", in_flight.clone());
        let epoch = Gauge::default();
        registry.register("epoch", "The version of the snapshot published", epoch.clone());
        let requests = Family::default();
        registry.register(
            "requests",
            "Requests judged by enforcers since the companion started",
            requests.clone(),
        );
        let report_seconds = Histogram::new(REPORT_BUCKETS);
        registry.register_with_unit(
            "report",
            "Time taken to take in a report of an enforcer",
            Unit::Seconds,
            report_seconds.clone(),
        );
        let intents = Family::default();
        registry.register("intents", "Writes kept for later, by where they are", intents.clone());
        let intent_bytes = Family::default();
        registry.register_with_unit(
            "intents",
            "Heads and bodies of writes kept for later, as they are on disk",
            Unit::Bytes,
            intent_bytes.clone(),
        );
        let intent_age_seconds = Family::default();
        registry.register_with_unit(
            "intents_oldest_age",
            "For how long the oldest write has been kept that is still to be sent",
            Unit::Seconds,
            intent_age_seconds.clone(),
        );
        let intents_offered = Family::default();
        registry.register(
            "intents_offered",
            "Writes handed over to be kept: stored, repeated, or the code of a refusal",
            intents_offered.clone(),
        );
        let intents_expired = Counter::default();
        registry.register(
            "intents_expired",
            "Writes discarded because they were held for too long",
            intents_expired.clone(),
        );
        let intents_purged = Counter::default();
        registry.register(
            "intents_purged",
            "Writes forgotten because they had been over for long",
            intents_purged.clone(),
        );
        let replays = Family::default();
        registry.register(
            "replays",
            "Attempts to replay held writes, by what became of them",
            replays.clone(),
        );
        let replays_in_flight = Gauge::default();
        registry.register("replays_in_flight", "Replays on their way", replays_in_flight.clone());
        let backfill_paused = Gauge::default();
        registry.register(
            "backfill_paused",
            "1 while nothing is replayed until an operator says so",
            backfill_paused.clone(),
        );
        let deliveries = Family::default();
        registry.register(
            "deliveries",
            "What others are told of windows, by who and where it is",
            deliveries.clone(),
        );
        let deliveries_tried = Family::default();
        registry.register(
            "deliveries_tried",
            "Attempts to tell others of windows, by who and where that left it",
            deliveries_tried.clone(),
        );
        Self {
            registry,
            windows,
            enforcers,
            in_flight,
            epoch,
            requests,
            report_seconds,
            intents,
            intent_bytes,
            intent_age_seconds,
            intents_offered,
            intents_expired,
            intents_purged,
            replays,
            replays_in_flight,
            backfill_paused,
            deliveries,
            deliveries_tried,
            scrape: Mutex::default(),
        }
    }
}

impl Metrics {
    /// A report was taken in.
    pub fn report_taken(&self, time: Duration) {
        self.report_seconds.observe(time.as_secs_f64());
    }

    /// A write was handed over to be kept.
    pub fn intent_offered(&self, surface: &str, outcome: &str) {
        let labels = ByOutcome { surface: surface.to_owned(), outcome: outcome.to_owned() };
        self.intents_offered.get_or_create_owned(&labels).inc();
    }

    /// Writes were discarded because they were held for too long.
    pub fn intents_expired(&self, count: u64) {
        self.intents_expired.inc_by(count);
    }

    /// Writes were forgotten.
    pub fn intents_purged(&self, count: u64) {
        self.intents_purged.inc_by(count);
    }

    fn take_in(&self, totals: &[Totals]) {
        // What a surface has no more of is not among the totals.
        for family in [&self.intents, &self.intent_bytes] {
            family.clear();
        }
        self.intent_age_seconds.clear();
        let now = clock::now();
        for total in totals {
            let labels = ByIntentState { surface: total.surface.clone(), state: total.state.as_str() };
            self.intents.get_or_create(&labels).set(signed(total.count));
            self.intent_bytes.get_or_create(&labels).set(signed(total.bytes));
            if let Some(oldest) = total.oldest {
                let age = Duration::from_millis(now.ms_since(oldest));
                self.intent_age_seconds.get_or_create(&labels).set(age.as_secs_f64());
            }
        }
    }

    /// A replay has ended like this.
    pub fn replayed(&self, surface: &str, ending: Ending) {
        let label = ByEnding { surface: surface.to_owned(), ending: ending.as_str() };
        self.replays.get_or_create(&label).inc();
    }

    /// An attempt to tell somebody has left a delivery there.
    pub fn delivery_tried(&self, notifier: &str, state: DeliveryState) {
        let labels = ByNotifier { notifier: notifier.to_owned(), state: state.as_str() };
        self.deliveries_tried.get_or_create_owned(&labels).inc();
    }

    /// There are so many deliveries.
    pub fn count_deliveries(&self, totals: &[Total]) {
        self.deliveries.clear();
        for total in totals {
            let labels = ByNotifier { notifier: total.notifier.clone(), state: total.state.as_str() };
            self.deliveries.get_or_create(&labels).set(signed(total.count));
        }
    }

    /// All of it as text; `totals` are of the ledger, if it could be asked.
    pub fn render(&self, service: &Service, totals: Option<&[Totals]>) -> String {
        let _one_at_a_time = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        let status = service.status();
        for phase in Phase::ALL.into_iter().filter(|phase| !phase.is_over()) {
            let count = status.windows.iter().filter(|window| window.phase == phase).count();
            self.windows.get_or_create(&ByPhase { phase: phase.as_str() }).set(signed(count as u64));
        }
        let fleet = status.fleet;
        for (state, count) in [("live", fleet.live), ("lost", fleet.lost), ("rejecting", fleet.rejecting)] {
            self.enforcers.get_or_create(&ByState { state }).set(signed(count));
        }
        if let Some(totals) = totals {
            self.take_in(totals);
        }
        self.in_flight.set(signed(fleet.in_flight));
        self.epoch.set(signed(status.epoch.0));
        self.replays_in_flight.set(signed(service.backfill.running.now(Instant::now()).running));
        self.backfill_paused.set(i64::from(service.backfill.pause().is_some()));
        for (surface, outcome, count) in service.outcome_totals() {
            let counter = self.requests.get_or_create_owned(&ByOutcome { surface, outcome });
            counter.inc_by(count.saturating_sub(counter.get()));
        }
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &self.registry) {
            tracing::error!(%error, "metrics could not be written");
        }
        text
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
