//! Flags, as OpenFeature's own SDKs and their providers of OFREP evaluate them.

use std::{collections::BTreeMap, process::Command};

use quiesce_integration::{
    artifacts,
    companion::{Companion, OPERATOR_TOKEN},
};
use serde_json::{Value, json};

use crate::{
    client::{Client as _, Program, Step},
    server::{node, or_skip, program, python},
};

/// What a client says of each flag now.
async fn flags(client: &mut Program) -> BTreeMap<String, Value> {
    let outcomes = client.run(Step::Read).await;
    let value = |result: Result<Value, String>| result.unwrap_or_else(|error| panic!("{error}"));
    outcomes.into_iter().map(|outcome| (outcome.operation, value(outcome.result))).collect()
}

fn read_only(is: bool) -> Value {
    let (variant, reason) = if is { ("read-only", "TARGETING_MATCH") } else { ("open", "DEFAULT") };
    json!({ "value": is, "variant": variant, "reason": reason })
}

async fn follow(companion: &Companion, command: Command) -> BTreeMap<String, Value> {
    let mut client = Program::start(command).await;
    let open = flags(&mut client).await;
    for context in ["here", "elsewhere", "nowhere"] {
        assert_eq!(open[context], read_only(false), "{context}");
    }
    assert_eq!(open["window"], json!({ "value": {}, "variant": "none", "reason": "DEFAULT" }));
    let unknown = &open["unknown"];
    assert_eq!((&unknown["value"], &unknown["error"]), (&json!(false), &json!("FLAG_NOT_FOUND")));

    let freeze =
        ["freeze", "--for", "10m", "--scope", "region=eu", "--reason", "reindex", "--contact", "#sre"];
    companion.run(&freeze).await.unwrap();
    let frozen = flags(&mut client).await;
    assert_eq!(frozen["here"], read_only(true));
    assert_eq!(frozen["elsewhere"], read_only(false));
    assert_eq!(frozen["nowhere"], read_only(true), "whoever does not say where it is may be there");
    let window = &frozen["window"]["value"];
    assert_eq!((&window["reason"], &window["contact"]), (&json!("reindex"), &json!("#sre")));
    assert!(window["ends_at"].is_string() && window["id"].is_string(), "{window}");

    companion.run(&["thaw"]).await.unwrap();
    assert_eq!(flags(&mut client).await, open);
    frozen
}

#[tokio::test(flavor = "multi_thread")]
async fn openfeature_tells_python_who_may_write() {
    let Some(packages) = or_skip("OpenFeature's SDK for Python", artifacts::python()) else { return };
    let companion = Companion::start("").await.unwrap();
    let mut command = python(&packages);
    let url = format!("http://{}", companion.addr());
    command.arg(program("python/openfeature_client.py")).args([&url, OPERATOR_TOKEN]);
    let frozen = follow(&companion, command).await;
    assert_eq!(frozen["at the start"], json!(false), "as it was before the freeze");
}

#[tokio::test(flavor = "multi_thread")]
async fn openfeature_tells_javascript_who_may_write() {
    let Some(project) = or_skip("OpenFeature's SDKs for JavaScript", artifacts::node()) else { return };
    let companion = Companion::start("").await.unwrap();
    let mut command = node(&project);
    let url = format!("http://{}", companion.addr());
    command.arg(program("node/openfeature_client.mjs")).args([&url, OPERATOR_TOKEN]);
    let frozen = follow(&companion, command).await;
    let id = &frozen["window"]["value"]["id"];
    assert_eq!(frozen["all of them, here"], json!({ "read_only": true, "id": id }));
    assert_eq!(frozen["all of them, elsewhere"], json!({ "read_only": false }));
}
