//! Writers whose writes are to be kept for later, and what must have come of them at the origin.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    net::SocketAddr,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use quiesce_integration::{
    assert_eventually,
    companion::Companion,
    http::Request,
    origin::{Origin, Seen},
};
use serde_json::Value;
use tokio::task::JoinSet;

/// Orders are kept while frozen, and replayed to the origin soon after the thaw.
pub const QUEUED_ORDERS: &str = "\
surfaces:
  - name: shop
    rules:
      - { methods: [POST], path: '/orders/{line}', effect: write, action: queue }
backfill:
  to: http://{origin}
  soak: 100ms
  timeout: 5s
  backoff: { first: 20ms, cap: 500ms }
";

/// Writers get an answer of a kind that they must get within this time.
const MORE_BOUND: Duration = Duration::from_secs(30);

/// What a writer was told of one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 202: it is kept.
    Receipt,
    /// It may be kept or not: no answer at all, or one that says so.
    Unknown,
    /// Another answer: it is not kept.
    Refused(u16),
}

/// All writes that were tried, by key.
#[derive(Clone, Debug, Default)]
pub struct Sent(BTreeMap<String, Answer>);

impl Sent {
    /// How many got this answer.
    pub fn count(&self, answer: Answer) -> usize {
        self.0.values().filter(|one| **one == answer).count()
    }

    /// Adds what others have sent.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kept, unknown) = (self.count(Answer::Receipt), self.count(Answer::Unknown));
        write!(f, "{} writes: {kept} receipts, {unknown} not known", self.0.len())
    }
}

/// Writers at full rate, one for each line, each with one write at a time.
pub struct Writers {
    stopped: Arc<AtomicBool>,
    sent: Arc<Mutex<Sent>>,
    tasks: JoinSet<()>,
}

impl Writers {
    /// Sets off a writer for each of `lines`; no two writers ever may have the same.
    pub fn start(addr: SocketAddr, lines: Range<u32>) -> Self {
        let (stopped, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Sent::default())));
        let mut tasks = JoinSet::new();
        for line in lines {
            tasks.spawn(write(addr, line, Arc::clone(&stopped), Arc::clone(&sent)));
        }
        Self { stopped, sent, tasks }
    }

    /// How many have got this answer so far.
    pub fn count(&self, answer: Answer) -> usize {
        self.sent.lock().unwrap().count(answer)
    }

    /// Waits until so many more have got this answer.
    pub async fn until_more(&self, more: usize, answer: Answer) {
        let before = self.count(answer);
        assert_eventually!(
            self.count(answer) >= before + more, within: MORE_BOUND,
            "{more} more writes get {answer:?}: {}", self.sent.lock().unwrap()
        );
    }

    /// Lets every writer finish its write, and returns what came of all.
    pub async fn stop(mut self) -> Sent {
        self.stopped.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        self.sent.lock().unwrap().clone()
    }
}

async fn write(addr: SocketAddr, line: u32, stopped: Arc<AtomicBool>, sent: Arc<Mutex<Sent>>) {
    for number in 1_u32.. {
        if stopped.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("{line}-{number}");
        let request = Request::post(&format!("/orders/{line}"), format!("order {key}"))
            .header("idempotency-key", &format!("\"{key}\""));
        let answer = match request.send(addr).await {
            Ok(answer) if answer.status == 202 => Answer::Receipt,
            Ok(answer) => match answer.json::<Value>() {
                Ok(problem) if problem["code"] == "intent-not-kept" => Answer::Unknown,
                _ => Answer::Refused(answer.status),
            },
            Err(_) => {
                tokio::time::sleep(quiesce_integration::wait::POLL).await;
                Answer::Unknown
            }
        };
        sent.lock().unwrap().0.insert(key, answer);
    }
}

/// Whether nothing is left to be replayed.
pub async fn is_over(companion: &Companion) -> bool {
    for state in ["held", "replaying"] {
        let listed: Value = companion.json(&["intents", "list", "--state", state]).await.unwrap();
        if !listed["intents"].as_array().unwrap().is_empty() {
            return false;
        }
    }
    true
}

/// Asserts that every write with a receipt has reached the origin under its key, that no other has but those
/// whose writers do not know, and that each line came in its order.
pub fn assert_effects(sent: &Sent, origin: &Origin, chance: &Chance) {
    let header = |seen: &Seen, name: &str| {
        seen.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let mut effects: Vec<(String, String)> = Vec::new();
    let mut intents: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for seen in origin.seen_where(Seen::is_unsafe) {
        let key = header(&seen, "idempotency-key").trim_matches('"').to_owned();
        let intent = header(&seen, "quiesce-intent");
        assert!(!intent.is_empty(), "{chance}: {} {} came past the ledger", seen.method, seen.target);
        // An origin that honours keys does a thing once, however often it is asked under one key.
        if !effects.iter().any(|(_, known)| *known == key) {
            effects.push((seen.target.clone(), key.clone()));
        }
        intents.entry(key).or_default().insert(intent);
    }
    for (key, answer) in &sent.0 {
        let arrived = intents.contains_key(key);
        match answer {
            Answer::Receipt => assert!(arrived, "{chance}: {key} has a receipt and never arrived"),
            Answer::Refused(status) => assert!(!arrived, "{chance}: {key} got {status} and arrived"),
            Answer::Unknown => {}
        }
    }
    for (key, intents) in &intents {
        assert!(sent.0.contains_key(key), "{chance}: nobody sent {key}");
        assert_eq!(intents.len(), 1, "{chance}: {key} is {} intents", intents.len());
    }
    let mut lines: BTreeMap<&str, u32> = BTreeMap::new();
    for (target, key) in &effects {
        let number = key.split_once('-').unwrap().1.parse().unwrap();
        let before = lines.insert(target, number).unwrap_or(0);
        assert!(before < number, "{chance}: {target} had {number} after {before}");
    }
}

/// Random moments that a failed test can be told by.
pub struct Chance {
    seed: u64,
    state: u64,
}

impl Chance {
    /// From `QUIESCE_SEED`, else from what the system gives.
    pub fn new() -> Self {
        let given = std::env::var("QUIESCE_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().build_hasher().finish());
        Self { seed, state: seed }
    }

    /// A span from nothing to `most`.
    pub fn up_to(&mut self, most: Duration) -> Duration {
        // SplitMix64 (<https://prng.di.unimi.it/splitmix64.c>).
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        most.mul_f64(((mixed ^ (mixed >> 31)) % 1000) as f64 / 1000.0)
    }
}

impl fmt::Display for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QUIESCE_SEED={}", self.seed)
    }
}
