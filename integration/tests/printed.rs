//! What `quiesce envoy filter` prints is right: Envoy accepts all of it, and a lean filter keeps from the VM
//! what cannot be a write, and nothing else.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what is missing here fails its test")]

mod common;

use std::{fs, path::Path, process::Command};

use common::deployed::{Places, assert_valid, http_filters, patched, validate, yaml};
use quiesce_integration::{
    artifacts, assert_eventually, catalogs,
    companion::Companion,
    envoy::{Envoy, Filter, Options},
    http::Request,
    origin::{Origin, Seen},
};
use serde_json::{Value, json};

/// What the command line says, run in `dir`.
fn quiesce(dir: &Path, args: &[&str]) -> String {
    let output = Command::new(artifacts::quiesce().unwrap()).args(args).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A configuration with one surface, which every catalog describes, and a rule; S3's alone makes writes of every
/// `POST`.
fn every_catalog() -> String {
    let names = catalogs::names().unwrap();
    assert_eq!(names.len(), 18);
    let search = json!({ "methods": ["POST"], "path": "/search/{index}", "effect": "read" });
    format!("surfaces: {}", json!([{ "name": "all", "catalogs": names, "rules": [search] }]))
}

/// What a filter may be but full.
const LEAN: &[&str] = &["--profile", "lean"];
const LEANER: &[&str] = &["--profile", "lean", "--underscore-headers", "reject"];

/// The document that is printed for one of two configurations.
fn printed(config: &str, profile: &[&str], format: &str) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let config = match config {
        "default" => quiesce(dir.path(), &["config", "default"]),
        _ => every_catalog(),
    };
    fs::write(dir.path().join("quiesce.yaml"), config).unwrap();
    let wasm = artifacts::wasm().unwrap();
    let what = ["envoy", "filter", "--format", format];
    let with = ["--config", "quiesce.yaml", "--label", "env=demo", "--wasm", wasm.to_str().unwrap()];
    serde_saphyr::from_str(&quiesce(dir.path(), &[&what[..], &with, profile].concat())).unwrap()
}

/// `envoy.yaml` with the printed filter in place of its own.
fn with_filter(printed: &Value) -> Value {
    let mut bootstrap = yaml("envoy.yaml");
    let filter = http_filters(&mut bootstrap).iter_mut().find(|filter| filter["name"] == "quiesce").unwrap();
    *filter = printed[0].clone();
    bootstrap
}

#[test]
fn envoy_accepts_every_filter_that_is_printed() {
    for config in ["default", "every catalog"] {
        for profile in [&[], LEAN, LEANER] {
            assert_valid(&with_filter(&printed(config, profile, "envoy")));
            let resource = printed(config, profile, "envoyfilter");
            for context in ["SIDECAR_INBOUND", "GATEWAY"] {
                assert_valid(&patched(&resource, context));
            }
        }
    }
}

/// The check above is worth something: Envoy looks into what is nested in the filter, in a `TypedStruct` too.
#[test]
fn envoy_refuses_a_filter_that_is_misspelt_inside() {
    fn spoil(config: &mut Value) {
        match config {
            Value::Object(fields) => {
                if let Some(value) = fields.remove("allow_on_headers_stop_iteration") {
                    fields.insert("allow_on_headers_stop".to_owned(), value);
                }
                fields.values_mut().for_each(spoil);
            }
            Value::Array(items) => items.iter_mut().for_each(spoil),
            _ => {}
        }
    }
    let lean = |format| printed("default", LEAN, format);
    for mut bootstrap in [with_filter(&lean("envoy")), patched(&lean("envoyfilter"), "GATEWAY")] {
        spoil(&mut bootstrap);
        let said = validate(&bootstrap);
        assert!(!said.status.success());
        assert!(String::from_utf8_lossy(&said.stderr).contains("allow_on_headers_stop"));
    }
}

/// Method, target, headers.
type Asked = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// Requests that are skipped, and those that are not, by what becomes of them while writes are frozen.
const SKIPPED: [Asked; 6] = [
    ("GET", "/", &[]),
    ("HEAD", "/books/7", &[]),
    ("OPTIONS", "/collections/books/points", &[]),
    ("GET", "/collections/books/points/7?with_payload=true", &[]),
    ("GET", "/books/_doc/1", &[]),
    ("GET", "/books/_flush/x", &[]),
];
const READS: [Asked; 2] = [("POST", "/search/books", &[]), ("GET", "/a%20b", &[])];
const WRITES: [Asked; 8] = [
    ("POST", "/books", &[]),
    ("DELETE", "/collections/books", &[]),
    ("PATCH", "/books/7", &[]),
    ("GET", "/books/_flush", &[]),
    ("GET", "/BOOKS/_Refresh/", &[]),
    ("GET", "/books?_method=DELETE", &[]),
    ("GET", "/books", &[("x-http-method-override", "DELETE")]),
    ("GET", "/books", &[("x_http_method", "PUT")]),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_lean_filter_sees_what_may_write_and_nothing_else() {
    let origin = Origin::start().unwrap();
    let companion = Companion::start(&every_catalog()).await.unwrap();
    let printed = companion.envoy_filter(LEAN).await.unwrap();
    let mut options = Options::new(Filter::Given(printed[0].clone()), origin.addr());
    options.companions = vec![companion.addr()];
    // One VM sees all that is seen, and moves what it has counted at once.
    options.concurrency = 1;
    let envoy = Envoy::start(options).await.unwrap();
    let counted =
        async |outcome: &str| envoy.metric(&format!("quiesce.surface.all.{outcome}")).await.unwrap();
    let send = async |method: &str, target: &str, headers: &[(&str, &str)]| {
        let request = Request::new(method, target).header("host", "api.example.com");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        envoy.send(&request).await.unwrap().status
    };

    let freeze = ["freeze", "--for", "10m", "--reason", "a test", "--expect", "1", "--wait"];
    companion.run(&freeze).await.unwrap();
    for (method, target, headers) in SKIPPED.iter().chain(&READS) {
        assert_eq!(send(method, target, headers).await, 200, "{method} {target} {headers:?}");
    }
    let reached = origin.seen().len();
    for (method, target, headers) in WRITES {
        assert_eq!(send(method, target, headers).await, 423, "{method} {target} {headers:?}");
    }
    assert_eq!(origin.seen().len(), reached, "no write reaches the origin");
    assert_eventually!(counted("refused.read-only").await == WRITES.len() as u64, "the writes are counted");
    // Counts are moved together, so that a read that entered the VM would show by now.
    assert_eq!(counted("read").await, READS.len() as u64);
}

/// A filter that is printed for an Envoy without such headers comes with the patch that keeps them out: spelt with
/// `_`, no override reaches the origin, while the filter still sees those spelt with `-`.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_leaner_filter_relies_on_is_printed_with_it() {
    for (action, status) in [("drop", 200), ("reject", 400)] {
        let (origin, dir) = (Origin::start().unwrap(), tempfile::tempdir().unwrap());
        let companion = Companion::start(&every_catalog()).await.unwrap();
        let leaner = ["--profile", "lean", "--underscore-headers", action, "--format", "envoyfilter"];
        let resource = companion.envoy_filter(&leaner).await.unwrap();
        let places = Places::free(origin.addr(), companion.addr());
        let _envoy = places.start_envoy(patched(&resource, "GATEWAY"), dir.path());
        let freeze = ["freeze", "--for", "10m", "--reason", "a test", "--expect", "1", "--wait"];
        companion.run(&freeze).await.unwrap();

        let send = async |header: &str| {
            let request = Request::get("/books").header("host", "api.example.com").header(header, "DELETE");
            request.send(places.listener).await.unwrap().status
        };
        for header in
            ["x_http_method_override", "X_HTTP-Method-Override", "x-http_method", "x_method_override"]
        {
            assert_eq!(send(header).await, status, "{action} {header}");
        }
        let overridden = |seen: &Seen| seen.headers.keys().any(|name| name.as_str().contains("method"));
        assert_eq!(origin.count(overridden), 0, "{action}");
        assert_eq!(origin.seen().len(), if status == 200 { 4 } else { 0 }, "{action}");
        assert_eq!(send("x-http-method-override").await, 423, "{action}");
    }
}
