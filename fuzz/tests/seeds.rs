//! The seeds, without a fuzzer: the properties hold for them, and the lenient readers see what they are there
//! for.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that panics has failed, which is what it is for"
)]

use std::{fs, path::Path};

use quiesce_fuzz::{
    graphql, headers, json_rpc,
    lenient::json,
    path,
    policies::POLICY,
    seeds::{attempts, requests, snapshots},
    sent::Sent,
    snapshot,
};
use quiesce_policy::Basis;

type Property = fn(&[u8]);
type Sees<'s> = &'s dyn Fn(&Sent) -> bool;

#[test]
fn the_properties_hold_for_all_seeds() {
    for request in requests() {
        assert_eq!(Sent::read(&request).written(), request, "a request is read as it is written");
        for holds in [path::holds, headers::holds, json_rpc::holds, graphql::holds] {
            holds(&request);
        }
    }
    for snapshot in snapshots() {
        snapshot::holds(&snapshot);
    }
}

#[test]
fn the_properties_hold_for_the_seeds_in_files() {
    let properties: [(&str, Property); 5] = [
        ("path", path::holds),
        ("headers", headers::holds),
        ("json_rpc", json_rpc::holds),
        ("graphql", graphql::holds),
        ("snapshot", snapshot::holds),
    ];
    for (target, holds) in properties {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
        let files: Vec<_> = fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
        assert!(!files.is_empty(), "{target} has seeds of its own");
        for file in files {
            holds(&fs::read(file).unwrap());
        }
    }
}

/// A lenient reader that sees nothing lets everything through: each must see what the attempts of its kind
/// try, but for those that are no request at all, and nothing in their twins.
#[test]
fn the_lenient_readers_see_the_attempts() {
    let path = |sent: &Sent| path::stopped_reading(&POLICY, sent, Basis::Method).is_some();
    let changed = |sent: &Sent| headers::changed_by(sent).is_some();
    let mcp = |sent: &Sent| json::read(&sent.body).iter().any(|one| json_rpc::write_in(one, true).is_some());
    let graphql = |sent: &Sent| graphql::write_in(sent).is_some();
    let kinds: [(&str, Sees<'_>, usize); 5] = [
        ("path, ", &path, 56),
        ("override: ", &changed, 29),
        ("upgrade: ", &changed, 4),
        ("MCP: ", &mcp, 29),
        ("GraphQL", &graphql, 35),
    ];
    let attempts = attempts();
    for (kind, sees, least) in kinds {
        let (mut seen, mut missed) = (0, Vec::new());
        for attempt in attempts.iter().filter(|attempt| attempt.about.starts_with(kind)) {
            assert!(!sees(&attempt.twin), "{}: the twin", attempt.about);
            if sees(&attempt.attack) {
                seen += 1;
            } else {
                missed.push(&attempt.about);
            }
        }
        assert!(seen >= least, "{kind}: {seen} are seen, and these are not: {missed:#?}");
    }
}
