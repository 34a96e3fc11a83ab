//! What tests of the ledger are made of: intents, and short forms of what is done with them.

use quiesce::intents::{
    Accepted, Claim, Conclusion, Decision, IntentId, IntentRecord, IntentState, Ledger, LedgerLimits,
    NewIntent, Outcome, Page, Payload, Selection,
};
use quiesce_policy::{snapshot::WindowId, time::Timestamp};

pub const START: Timestamp = Timestamp::from_unix_ms(1_795_435_200_000);
pub const AMPLE: LedgerLimits = LedgerLimits { count: 1_000_000, bytes: 1 << 40 };
pub const LEASE_MS: u64 = 60_000;

/// An intent of its own line, received at [`START`].
pub fn intent(name: &str) -> NewIntent {
    NewIntent {
        id: IntentId::from(format!("id-{name}")),
        received_at: START,
        surface: "shop".to_owned(),
        window: WindowId::from("w1"),
        enforcer: "edge-1".to_owned(),
        tenant: String::new(),
        key: format!("key-{name}"),
        fingerprint: [7; 32],
        line: format!("/{name}"),
        method: "POST".to_owned(),
        path: format!("/{name}?a=b"),
        payload: Payload { head: b"head".to_vec(), body: name.as_bytes().to_vec(), sealed_by: None },
    }
}

/// One of a line.
pub fn in_line(name: &str, line: &str) -> NewIntent {
    NewIntent { line: line.to_owned(), ..intent(name) }
}

pub async fn store(ledger: &dyn Ledger, intent: NewIntent) -> IntentRecord {
    match ledger.accept(intent, AMPLE).await.unwrap() {
        Accepted::Stored(record) => record,
        other => panic!("not stored: {other:?}"),
    }
}

pub fn claim(owner: &str, now: Timestamp, limit: u32) -> Claim {
    Claim {
        owner: owner.to_owned(),
        now,
        lease_until: now.plus_ms(LEASE_MS),
        but_of_windows: Vec::new(),
        limit,
    }
}

/// Takes what can be taken, and says which.
pub async fn take(ledger: &dyn Ledger, owner: &str, now: Timestamp) -> Vec<String> {
    let mut taken: Vec<_> = ledger.claim(claim(owner, now, 100)).await.unwrap().iter().map(name).collect();
    taken.sort();
    taken
}

pub fn name(record: &IntentRecord) -> String {
    record.id.as_str().trim_start_matches("id-").to_owned()
}

pub fn id(name: &str) -> IntentId {
    IntentId::from(format!("id-{name}"))
}

pub fn answer(status: u16) -> Outcome {
    Outcome {
        status: Some(status),
        headers: vec![("etag".to_owned(), "\"x\"".to_owned())],
        ..Outcome::default()
    }
}

pub fn silence() -> Outcome {
    Outcome { note: Some("no answer within 30s".to_owned()), ..Outcome::default() }
}

pub async fn conclude(
    ledger: &dyn Ledger,
    name: &str,
    owner: &str,
    conclusion: Conclusion,
    now: Timestamp,
) -> bool {
    ledger.conclude(id(name), owner.to_owned(), conclusion, now).await.unwrap()
}

pub async fn state(ledger: &dyn Ledger, name: &str) -> IntentState {
    ledger.intent(id(name)).await.unwrap().unwrap().state
}

pub async fn names(ledger: &dyn Ledger, selection: Selection) -> Vec<String> {
    ledger.list(selection, Page { after: 0, limit: 100 }).await.unwrap().iter().map(name).collect()
}

pub fn only(ids: &[&str]) -> Selection {
    Selection { ids: ids.iter().map(|name| id(name)).collect(), ..Selection::default() }
}

pub fn in_state(state: IntentState) -> Selection {
    Selection { state: Some(state), ..Selection::default() }
}

pub async fn decide(ledger: &dyn Ledger, selection: Selection, decision: Decision, now: Timestamp) -> u64 {
    ledger.decide(selection, decision, "ann says so".to_owned(), now).await.unwrap()
}

/// Waits for all of them at once.
pub async fn join_all<T: Send>(offers: impl Iterator<Item = quiesce::store::Pending<'_, T>>) -> Vec<T> {
    let mut waiting: Vec<_> = offers.map(|offer| (Some(offer), None)).collect();
    std::future::poll_fn(|context| {
        for (offer, answer) in &mut waiting {
            if let Some(pending) = offer
                && let std::task::Poll::Ready(result) = pending.as_mut().poll(context)
            {
                (*offer, *answer) = (None, Some(result.unwrap()));
            }
        }
        match waiting.iter().all(|(offer, _)| offer.is_none()) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    waiting.into_iter().filter_map(|(_, answer)| answer).collect()
}
