//! Every catalog against the complete list of its product's operations, by the code that the filter runs.

use std::{collections::BTreeMap, path::Path};

use quiesce::{
    catalog::{CatalogFile, Catalogs},
    config::Config,
    explain::{Asked, Explainer},
};
use quiesce_policy::{Timestamp, snapshot::Effect};
use serde::Deserialize;
use serde_json::Value;

/// One operation: what its client sends, and what it does.
#[derive(Deserialize)]
struct Operation {
    operation: String,
    effect: Truth,
    #[serde(default)]
    #[serde(rename = "why")]
    _why: Option<String>,
    #[serde(flatten)]
    request: BTreeMap<String, Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Truth {
    Read,
    Write,
    /// Engineers differ, or the body decides.
    Ambiguous,
}

fn explainer(catalog: &str) -> Explainer {
    let mut config = Config::built_in().unwrap();
    config.describe_all_by(&[catalog.to_owned()]);
    let (snapshot, catalogs) = config.snapshot().unwrap();
    Explainer::new(snapshot, &catalogs, Timestamp::from_unix_ms(1_795_435_200_000)).unwrap()
}

fn operations(catalog: &str) -> Vec<(Operation, String)> {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../policy/catalog/operations/{catalog}.jsonl"));
    let text = std::fs::read_to_string(&file).unwrap();
    text.lines()
        .map(|line| {
            let operation: Operation =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            let request = serde_json::to_string(&operation.request).unwrap();
            (operation, request)
        })
        .collect()
}

#[test]
fn no_write_is_let_through_and_hardly_a_read_refused() {
    let mut failures = Vec::new();
    let mut all = (0_usize, 0_usize);
    for catalog in Catalogs::built_in().unwrap().iter() {
        let name = catalog.name.as_str();
        let explainer = explainer(name);
        let (mut reads, mut refused) = (0_usize, Vec::new());
        let operations = operations(name);
        assert!(operations.len() >= 50, "{name}: the list of operations is complete");
        for (operation, request) in &operations {
            let asked: Asked<'_> = serde_json::from_str(request).unwrap();
            let explained = explainer.explain(&asked);
            match (operation.effect, explained.effect) {
                (Truth::Write, Effect::Read) => {
                    failures.push(format!(
                        "{name}: {} is let through by {}: {request}",
                        operation.operation, explained.rule
                    ));
                }
                (Truth::Read, Effect::Write) => {
                    reads += 1;
                    refused.push(format!("  {} by {}: {request}", operation.operation, explained.rule));
                }
                (Truth::Read, Effect::Read) => reads += 1,
                _ => {}
            }
        }
        all.0 += reads;
        all.1 += refused.len();
        if refused.len() > 1 && refused.len() * 100 > reads {
            failures.push(format!(
                "{name}: {} of {reads} reads are refused:\n{}",
                refused.len(),
                refused.join("\n")
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(all.1 * 1000 <= all.0, "{} of {} reads are refused: more than 1 in 1000", all.1, all.0);
}

#[test]
fn an_operation_is_listed_once() {
    for catalog in Catalogs::built_in().unwrap().iter() {
        let mut seen = BTreeMap::new();
        for (operation, request) in operations(catalog.name.as_str()) {
            let earlier = seen.insert(operation.operation.clone(), request);
            assert_eq!(earlier, None, "{}: {}", catalog.name, operation.operation);
        }
    }
}

#[test]
fn a_wrong_catalog_says_where() {
    let error = |yaml: &str| CatalogFile::from_yaml(yaml, "mine.yaml").unwrap_err().to_string();
    let head = "name: mine\ntitle: Mine\nversion: '1'\nsource: https://example.com/\nrules:\n";
    insta::assert_snapshot!(error(&format!("{head}  - {{ request: POST /x, efect: read }}\n")), @"mine.yaml:6:25: unknown field `efect`, expected one of request, grpc, query, header, effect, kind, body");
    insta::assert_snapshot!(error(&format!("{head}  - {{ request: /x, effect: read }}\n")), @"mine.yaml: rules[0].request: write methods and path, such as `POST /things`");
    insta::assert_snapshot!(error(&format!("{head}  - {{ request: POST x, effect: read }}\n")), @"mine.yaml: catalogs.mine.rules[0].path: `x` does not begin with `/`");
    insta::assert_snapshot!(error(&format!("{head}  - {{ grpc: a.B/C }}\n")), @"mine.yaml: rules[0].effect: say one of `effect` and `body`");
}
