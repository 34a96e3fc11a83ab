//! A model of the ledger, and steps of any kind that a ledger must follow as the model does.

use std::collections::BTreeSet;

use proptest::prelude::*;
use quiesce::intents::{
    Accepted, Claim, Conclusion, Decision, IntentId, IntentRecord, IntentState, Ledger, LedgerLimits,
    NewIntent, Outcome, Page, Selection, Totals,
};
use quiesce_policy::{snapshot::WindowId, time::Timestamp};

use super::kit::{START, answer, intent, silence};

const LIMITS: LedgerLimits = LedgerLimits { count: 6, bytes: 45 };
const LEASE_MS: u64 = 20;
const SURFACES: [&str; 2] = ["docs", "shop"];

/// A ledger that may crash.
pub trait Crashing {
    fn ledger(&self) -> &dyn Ledger;

    /// Loses all that is not on disk, and goes on.
    fn crash(&mut self) -> impl Future<Output = ()>;
}

#[derive(Clone, Debug)]
pub enum Step {
    Accept { surface: usize, key: u8, payload: u8, line: u8, window: u8 },
    Claim { owner: u8, limit: u32, but: Option<u8> },
    Conclude { which: prop::sample::Index, owner: u8, how: u8 },
    Decide { which: Option<prop::sample::Index>, state: Option<IntentState>, decision: Decision },
    Purge { age_ms: u64, limit: u32 },
    Wait { ms: u64 },
    Crash,
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let index = any::<prop::sample::Index>;
    let state = prop::sample::select(IntentState::ALL.to_vec());
    let decision = prop_oneof![Just(Decision::Retry), Just(Decision::Discard)];
    let step = prop_oneof![
        6 => (0..2usize, 0..8u8, 0..2u8, 0..3u8, 0..2u8).prop_map(|(surface, key, payload, line, window)| {
            Step::Accept { surface, key, payload, line, window }
        }),
        4 => (0..2u8, 1..4u32, prop::option::weighted(0.2, 0..2u8))
            .prop_map(|(owner, limit, but)| Step::Claim { owner, limit, but }),
        6 => (index(), 0..2u8, 0..4u8).prop_map(|(which, owner, how)| Step::Conclude { which, owner, how }),
        2 => (prop::option::weighted(0.8, index()), prop::option::weighted(0.3, state), decision)
            .prop_map(|(which, state, decision)| Step::Decide { which, state, decision }),
        1 => (0..40u64, 1..4u32).prop_map(|(age_ms, limit)| Step::Purge { age_ms, limit }),
        2 => (0..30u64).prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..60)
}

/// One intent as the model has it: its record, and what the record does not show.
#[derive(Clone)]
struct Known {
    record: IntentRecord,
    fingerprint: [u8; 32],
    owner: String,
    lease_until: Timestamp,
}

impl Known {
    fn is_open(&self) -> bool {
        self.record.state.is_open() || self.record.stops_line
    }
}

struct Model {
    /// In the order of acceptance.
    known: Vec<Known>,
    now: Timestamp,
    /// Numbers intents.
    count: u32,
}

/// Has a ledger and the model take the same steps, and compares all that can be seen after each.
pub async fn follow(steps: Vec<Step>, subject: &mut impl Crashing) {
    let mut model = Model { known: Vec::new(), now: START, count: 0 };
    for step in steps {
        if matches!(step, Step::Crash) {
            subject.crash().await;
        } else {
            model.take(&step, subject.ledger()).await;
        }
        model.compare(subject.ledger(), &step).await;
    }
}

impl Model {
    async fn take(&mut self, step: &Step, ledger: &dyn Ledger) {
        match *step {
            Step::Accept { surface, key, payload, line, window } => {
                self.count += 1;
                let new = NewIntent {
                    id: IntentId::from(format!("id-{}", self.count)),
                    surface: SURFACES[surface].to_owned(),
                    key: format!("key-{key}"),
                    fingerprint: [payload; 32],
                    line: format!("/{line}"),
                    window: WindowId::from(format!("w{window}")),
                    received_at: self.now,
                    ..intent(&payload.to_string().repeat(usize::from(payload) * 5 + 1))
                };
                let accepted = ledger.accept(new.clone(), LIMITS).await.unwrap();
                self.accept(new, accepted);
            }
            Step::Claim { owner, limit, but } => {
                let claim = Claim {
                    owner: format!("owner-{owner}"),
                    now: self.now,
                    lease_until: self.now.plus_ms(LEASE_MS),
                    but_of_windows: but.into_iter().map(|but| WindowId::from(format!("w{but}"))).collect(),
                    limit,
                };
                let claimed = ledger.claim(claim.clone()).await.unwrap();
                self.claim(&claim, &claimed);
            }
            Step::Conclude { ref which, owner, how } => {
                let (id, owner) = (self.any(which), format!("owner-{owner}"));
                let conclusion = match how {
                    0 => Conclusion::Done(answer(200)),
                    1 => Conclusion::Refused(answer(422)),
                    2 => Conclusion::GivenUp(silence()),
                    _ => Conclusion::Later { at: self.now.plus_ms(10), outcome: answer(503) },
                };
                let counts =
                    ledger.conclude(id.clone(), owner.clone(), conclusion.clone(), self.now).await.unwrap();
                assert_eq!(counts, self.conclude(&id, &owner, conclusion));
            }
            Step::Decide { ref which, state, decision } => {
                let ids = which.iter().map(|which| self.any(which)).collect();
                let selection = Selection { ids, state, ..Selection::default() };
                let note = "ann says so".to_owned();
                let changed =
                    ledger.decide(selection.clone(), decision, note.clone(), self.now).await.unwrap();
                assert_eq!(changed, self.decide(&selection, decision, note));
            }
            Step::Purge { age_ms, limit } => {
                let before = Timestamp::from_unix_ms(self.now.unix_ms() - age_ms);
                let purged = ledger.purge(before, limit).await.unwrap();
                self.purge(before, limit, purged, ledger).await;
            }
            Step::Wait { ms } => self.now = self.now.plus_ms(ms),
            Step::Crash => {}
        }
    }

    fn any(&self, which: &prop::sample::Index) -> IntentId {
        match self.known.len() {
            0 => IntentId::from("nothing".to_owned()),
            count => self.known[which.index(count)].record.id.clone(),
        }
    }

    fn accept(&mut self, new: NewIntent, accepted: Accepted) {
        let scope =
            |record: &IntentRecord| (record.surface.clone(), record.tenant.clone(), record.key.clone());
        let offered = new.record(0);
        if let Some(known) = self.known.iter().find(|known| scope(&known.record) == scope(&offered)) {
            let expected = if known.fingerprint == new.fingerprint {
                Accepted::Repeated(known.record.clone())
            } else {
                Accepted::KeyReused
            };
            assert_eq!(accepted, expected);
            return;
        }
        let open: Vec<_> = self
            .known
            .iter()
            .filter(|known| known.record.surface == new.surface && known.is_open())
            .map(|known| known.record.size_bytes)
            .collect();
        if open.len() as u64 >= LIMITS.count {
            assert_eq!(accepted, Accepted::FullByCount);
        } else if open.iter().sum::<u64>() + offered.size_bytes > LIMITS.bytes {
            assert_eq!(accepted, Accepted::FullByBytes);
        } else {
            let Accepted::Stored(record) = accepted else { panic!("{accepted:?}") };
            assert_eq!(record, new.record(record.seq));
            assert!(self.known.last().is_none_or(|last| last.record.seq < record.seq));
            let (owner, lease_until) = (String::new(), self.now);
            self.known.push(Known { record, fingerprint: new.fingerprint, owner, lease_until });
        }
    }

    /// Of each line the one that may be taken.
    fn claimable(&self, claim: &Claim) -> BTreeSet<IntentId> {
        let line = |known: &Known| (known.record.surface.clone(), known.record.line.clone());
        let lines: BTreeSet<_> = self.known.iter().map(line).collect();
        let next = |wanted: &(String, String)| {
            let mut of_line = self.known.iter().filter(|known| line(known) == *wanted && known.is_open());
            let first = of_line.clone().next()?;
            let next = of_line.find(|known| known.record.state == IntentState::Replaying).unwrap_or(first);
            let due = match next.record.state {
                IntentState::Held => next.record.next_attempt_at,
                IntentState::Replaying => next.lease_until,
                _ => return None,
            };
            let wanted = due <= claim.now && !claim.but_of_windows.contains(&next.record.window);
            wanted.then(|| next.record.id.clone())
        };
        lines.iter().filter_map(next).collect()
    }

    fn claim(&mut self, claim: &Claim, claimed: &[IntentRecord]) {
        let claimable = self.claimable(claim);
        let ids: BTreeSet<_> = claimed.iter().map(|record| record.id.clone()).collect();
        assert_eq!(ids.len(), claimed.len(), "one of them twice");
        assert!(ids.is_subset(&claimable), "took {ids:?} of {claimable:?}");
        assert_eq!(ids.len(), claimable.len().min(claim.limit as usize), "{claimable:?}");
        for known in self.known.iter_mut().filter(|known| ids.contains(&known.record.id)) {
            known.record.state = IntentState::Replaying;
            known.record.attempts += 1;
            known.record.updated_at = claim.now;
            known.owner.clone_from(&claim.owner);
            known.lease_until = claim.lease_until;
            assert!(claimed.contains(&known.record), "{claimed:?}");
        }
    }

    fn conclude(&mut self, id: &IntentId, owner: &str, conclusion: Conclusion) -> bool {
        let now = self.now;
        let is_held_by = |known: &&mut Known| {
            known.record.id == *id && known.record.state == IntentState::Replaying && known.owner == owner
        };
        let Some(known) = self.known.iter_mut().find(is_held_by) else { return false };
        let record = &mut known.record;
        record.updated_at = now;
        let (state, outcome) = match conclusion {
            Conclusion::Done(outcome) => (IntentState::Done, outcome),
            Conclusion::Refused(outcome) => (IntentState::Failed, outcome),
            Conclusion::GivenUp(outcome) => {
                record.stops_line = true;
                (IntentState::Failed, outcome)
            }
            Conclusion::Later { at, outcome } => {
                record.next_attempt_at = at;
                (IntentState::Held, outcome)
            }
        };
        (record.state, record.outcome) = (state, Some(outcome));
        true
    }

    fn decide(&mut self, selection: &Selection, decision: Decision, note: String) -> u64 {
        let mut changed = 0;
        for record in self.known.iter_mut().map(|known| &mut known.record) {
            let selected = selection.state.is_none_or(|state| state == record.state)
                && (selection.ids.is_empty() || selection.ids.contains(&record.id));
            if !selected || !decision.applies_to().contains(&record.state) {
                continue;
            }
            changed += 1;
            record.updated_at = self.now;
            record.stops_line = false;
            let outcome = record.outcome.take().unwrap_or_default();
            record.outcome = Some(Outcome { note: Some(note.clone()), ..outcome });
            match decision {
                Decision::Discard => record.state = IntentState::Discarded,
                Decision::Retry => {
                    record.state = IntentState::Held;
                    (record.attempts, record.next_attempt_at) = (0, self.now);
                }
            }
        }
        changed
    }

    async fn purge(&mut self, before: Timestamp, limit: u32, purged: u64, ledger: &dyn Ledger) {
        let may_go = |record: &IntentRecord| {
            matches!(record.state, IntentState::Done | IntentState::Discarded) && record.updated_at < before
        };
        let count = self.known.iter().filter(|known| may_go(&known.record)).count() as u64;
        assert_eq!(purged, count.min(limit.into()));
        // Which ones went, if not all of them, is the ledger's affair.
        let mut kept = Vec::new();
        for known in self.known.drain(..) {
            let stays = ledger.intent(known.record.id.clone()).await.unwrap().is_some();
            assert!(stays || may_go(&known.record));
            assert_eq!(ledger.payload(known.record.id.clone()).await.unwrap().is_some(), stays);
            if stays {
                kept.push(known);
            }
        }
        self.known = kept;
    }

    async fn compare(&self, ledger: &dyn Ledger, step: &Step) {
        let listed = ledger.list(Selection::default(), Page { after: 0, limit: 1_000 }).await.unwrap();
        let known: Vec<_> = self.known.iter().map(|known| known.record.clone()).collect();
        assert_eq!(listed, known, "after {step:?}");
        let mut totals = ledger.totals().await.unwrap();
        totals.sort_by_key(|total| (total.surface.clone(), total.state));
        let mut expected = Vec::new();
        for (surface, state) in
            SURFACES.iter().flat_map(|surface| IntentState::ALL.map(|state| (surface, state)))
        {
            let of_it: Vec<_> =
                known.iter().filter(|record| record.surface == **surface && record.state == state).collect();
            let Some(first) = of_it.first() else { continue };
            expected.push(Totals {
                surface: (*surface).to_owned(),
                state,
                count: of_it.len() as u64,
                bytes: of_it.iter().map(|record| record.size_bytes).sum(),
                oldest: state.is_open().then_some(first.received_at),
            });
        }
        assert_eq!(totals, expected, "after {step:?}");
    }
}
