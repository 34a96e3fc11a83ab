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
    let properties: [(&str, fn(&[u8])); 5] = [
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

/// A lenient reader that sees nothing lets everything through: each must see most of what the attempts of its
/// kind try, and nothing in their twins.
#[test]
fn the_lenient_readers_see_the_attempts() {
    let path = |sent: &Sent| path::stopped_reading(&POLICY, sent, Basis::Method).is_some();
    let mcp = |sent: &Sent| json::read(&sent.body).iter().any(|one| json_rpc::write_in(one, true).is_some());
    let graphql = |sent: &Sent| graphql::write_in(sent).is_some();
    let attempts = attempts();
    type Sees<'s> = &'s dyn Fn(&Sent) -> bool;
    for (kind, sees, least) in
        [("path, ", &path as Sees<'_>, 0), ("MCP: ", &mcp, 0), ("GraphQL", &graphql, 0)]
    {
        let (mut seen, mut missed) = (0, Vec::new());
        for attempt in attempts.iter().filter(|attempt| attempt.about.starts_with(kind)) {
            assert!(!sees(&attempt.twin), "{}: the twin", attempt.about);
            if sees(&attempt.attack) {
                seen += 1;
            } else {
                missed.push(&attempt.about);
            }
        }
        assert!(seen >= least, "{kind}: only {seen} are seen, and not {missed:#?}");
        eprintln!("{kind} {seen}, missed {missed:#?}");
    }
}
