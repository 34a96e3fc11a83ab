//! Attempts to slip a write past, each with a twin that is harmless, by the code that the filter runs.

use quiesce::{
    config::Config,
    explain::{Asked, Explainer},
};
use quiesce_policy::{Timestamp, snapshot::Effect};
use serde::Deserialize;

/// What they are tried on.
const CONFIG: &str = include_str!("../../../policy/cases/attacks.yaml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attempt<'a> {
    about: String,
    #[serde(borrow)]
    attack: Asked<'a>,
    #[serde(borrow)]
    twin: Asked<'a>,
}

#[test]
fn no_attempt_is_taken_for_a_read_and_no_twin_for_a_write() {
    let (snapshot, catalogs) = Config::from_yaml(CONFIG, "attacks.yaml").unwrap().snapshot().unwrap();
    let explainer = Explainer::new(snapshot, &catalogs, Timestamp::from_unix_ms(1_795_435_200_000)).unwrap();
    let attempts = include_str!("../../../policy/cases/attacks.jsonl");
    assert!(attempts.lines().count() >= 250);
    let mut failures = Vec::new();
    for line in attempts.lines() {
        let Attempt { about, attack, twin } = serde_json::from_str(line).unwrap();
        for (what, asked, effect) in [("attack", attack, Effect::Write), ("twin", twin, Effect::Read)] {
            let explained = explainer.explain(&asked);
            if explained.effect != effect {
                failures.push(format!(
                    "{about}: the {what} is a {:?} by {}: {asked:?}",
                    explained.effect, explained.rule
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
