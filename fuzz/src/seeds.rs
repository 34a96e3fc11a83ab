//! What fuzzing starts from: the attempts to slip a write past and their twins, and the table of cases.

use std::collections::BTreeMap;

use quiesce_policy::snapshot::Snapshot;
use serde::Deserialize;

use crate::{policies::SNAPSHOT, sent::Sent};

/// An attempt to slip a write past, and a twin that is harmless.
pub struct Attempt {
    /// What it tries.
    pub about: String,
    /// A request that writes, or of which nobody can tell.
    pub attack: Sent,
    /// One that reads.
    pub twin: Sent,
}

#[derive(Deserialize)]
struct Line {
    about: String,
    attack: Asked,
    twin: Asked,
}

#[derive(Deserialize)]
struct Asked {
    method: String,
    path: String,
    #[serde(default)]
    host: String,
    #[serde(default)]
    headers: BTreeMap<String, Values>,
    #[serde(default)]
    body: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    One(String),
    Many(Vec<String>),
}

impl Asked {
    fn sent(self) -> Sent {
        let mut headers = vec![(b"host".to_vec(), self.host.into_bytes())];
        for (name, values) in self.headers {
            let values = match values {
                Values::One(value) => vec![value],
                Values::Many(values) => values,
            };
            let name = name.to_ascii_lowercase().into_bytes();
            headers.extend(values.into_iter().map(|value| (name.clone(), value.into_bytes())));
        }
        let (method, target) = (self.method.into_bytes(), self.path.into_bytes());
        Sent { method, target, headers, body: self.body.into_bytes() }
    }
}

/// All attempts of `policy/cases/attacks.jsonl`.
pub fn attempts() -> Vec<Attempt> {
    let lines = include_str!("../../policy/cases/attacks.jsonl").lines();
    lines
        .map(|line| {
            let Line { about, attack, twin } = serde_json::from_str(line).expect("an attempt");
            Attempt { about, attack: attack.sent(), twin: twin.sent() }
        })
        .collect()
}

/// Requests, as text; each once.
pub fn requests() -> Vec<Vec<u8>> {
    let sent = attempts().into_iter().flat_map(|attempt| [attempt.attack, attempt.twin]);
    let mut requests: Vec<_> = sent.map(|sent| sent.written()).collect();
    requests.sort_unstable();
    requests.dedup();
    requests
}

/// Snapshots, as JSON: those of the table of cases, and every surface that requests are tried on.
pub fn snapshots() -> Vec<Vec<u8>> {
    #[derive(Deserialize)]
    struct Table {
        snapshots: BTreeMap<String, Snapshot>,
    }
    let table: Table = serde_json::from_str(include_str!("../../policy/cases/http.json")).expect("cases");
    let one_by_one = SNAPSHOT.surfaces.iter().map(|surface| {
        let mut one = Snapshot { surfaces: vec![surface.clone()], ..Snapshot::default() };
        for name in &surface.catalogs {
            let mut catalog = SNAPSHOT.catalogs[name].clone();
            // Enough to begin with: the longer an input, the more seldom it is changed where it matters.
            catalog.rules.truncate(8);
            one.catalogs.insert(name.clone(), catalog);
        }
        one
    });
    let all = table.snapshots.into_values().chain(one_by_one);
    all.map(|snapshot| serde_json::to_vec(&snapshot).expect("a snapshot is JSON")).collect()
}
