//! What is deployed (`envoy/`), and what Envoy and Istio make of it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use quiesce_integration::{artifacts, ports, process::Process};
use serde_json::{Value, json};

/// A file below `envoy/`.
pub fn deployed(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy").join(file)
}

/// The same, read.
pub fn yaml(file: &str) -> Value {
    let text = fs::read_to_string(deployed(file)).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The module's place in a deployment, replaced by where it is here; how often it was named.
pub fn put_module(config: &mut Value) -> usize {
    match config {
        Value::String(text) if text.ends_with("/quiesce_filter.wasm") => {
            *text = artifacts::wasm().unwrap().to_str().unwrap().to_owned();
            1
        }
        Value::Array(items) => items.iter_mut().map(put_module).sum(),
        Value::Object(fields) => fields.values_mut().map(put_module).sum(),
        _ => 0,
    }
}

/// What `envoy --mode validate` says of a bootstrap.
pub fn validate(bootstrap: &Value) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("envoy.json");
    fs::write(&file, serde_json::to_vec_pretty(bootstrap).unwrap()).unwrap();
    Command::new(artifacts::envoy().unwrap())
        .args(["--mode", "validate", "--reject-unknown-dynamic-fields", "--config-path"])
        .arg(&file)
        .output()
        .unwrap()
}

#[track_caller]
pub fn assert_valid(bootstrap: &Value) {
    let said = validate(bootstrap);
    assert!(said.status.success(), "Envoy refuses it:\n{}", String::from_utf8_lossy(&said.stderr));
}

/// The filters of a bootstrap's one connection manager.
pub fn http_filters(bootstrap: &mut Value) -> &mut Vec<Value> {
    bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
        .as_array_mut()
        .unwrap()
}

/// What istiod makes of an `EnvoyFilter` for one context: the patches applied to a listener that has the
/// filters of a sidecar, as far as Envoy itself has them.
pub fn patched(resource: &Value, context: &str) -> Value {
    assert_eq!(resource["kind"], "EnvoyFilter");
    let mut bootstrap = yaml("envoy.yaml");
    bootstrap["static_resources"]["clusters"]
        .as_array_mut()
        .unwrap()
        .retain(|cluster| cluster["name"] != "quiesce");
    let filters = http_filters(&mut bootstrap);
    filters.retain(|filter| filter["name"] != "quiesce");
    filters.insert(
        0,
        json!({
            "name": "envoy.filters.http.rbac",
            "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC" },
        }),
    );

    for patch in resource["spec"]["configPatches"].as_array().unwrap() {
        let (operation, value) = (&patch["patch"]["operation"], patch["patch"]["value"].clone());
        match patch["applyTo"].as_str().unwrap() {
            "CLUSTER" => {
                assert_eq!(operation, "ADD");
                assert!(
                    patch.get("match").is_none(),
                    "a context would leave the other one without a cluster"
                );
                bootstrap["static_resources"]["clusters"].as_array_mut().unwrap().push(value);
            }
            "HTTP_FILTER" if patch["match"]["context"] == context => {
                assert_eq!(operation, "INSERT_BEFORE");
                let matched = &patch["match"]["listener"]["filterChain"]["filter"];
                assert_eq!(matched["name"], "envoy.filters.network.http_connection_manager");
                let filters = http_filters(&mut bootstrap);
                let before = filters.iter().position(|filter| filter["name"] == matched["subFilter"]["name"]);
                filters.insert(before.expect("the filter to insert before is there"), value);
            }
            "NETWORK_FILTER" if patch["match"]["context"] == context => {
                assert_eq!(operation, "MERGE");
                let chain = &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0];
                let manager = &mut chain["filters"][0];
                assert_eq!(manager["name"], patch["match"]["listener"]["filterChain"]["filter"]["name"]);
                merge(manager, value);
            }
            "HTTP_FILTER" | "NETWORK_FILTER" => {}
            other => panic!("a patch of {other}; say here what Istio makes of it"),
        }
    }
    let names: Vec<_> = http_filters(&mut bootstrap).iter().map(|filter| filter["name"].clone()).collect();
    assert_eq!(names, ["envoy.filters.http.rbac", "quiesce", "envoy.filters.http.router"], "{context}");
    bootstrap
}

/// Messages of protocol buffers merged, as far as patches have them: fields that both have are replaced.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (field, value) in from {
                merge(into.entry(field).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// Where a bootstrap's listener, its admin interface and its clusters are.
pub struct Places {
    pub listener: SocketAddr,
    pub admin: SocketAddr,
    pub clusters: [(&'static str, SocketAddr); 2],
}

impl Places {
    /// On free ports, in front of an origin and beside a companion.
    pub fn free(origin: SocketAddr, companion: SocketAddr) -> Self {
        Self {
            listener: ports::free().unwrap(),
            admin: ports::free().unwrap(),
            clusters: [("origin", origin), ("quiesce", companion)],
        }
    }

    /// Starts an Envoy there, `envoy-1`, with nothing in a bootstrap changed but addresses and the module's path.
    pub fn start_envoy(&self, mut bootstrap: Value, dir: &Path) -> Process {
        put_module(&mut bootstrap);
        self.put_into(&mut bootstrap);
        fs::write(dir.join("envoy.json"), bootstrap.to_string()).unwrap();
        let mut envoy = Command::new(artifacts::envoy().unwrap());
        envoy
            .args(["--service-node", "envoy-1", "--service-cluster", "demo", "--disable-hot-restart"])
            .args(["--concurrency", "2", "--config-path"])
            .arg(dir.join("envoy.json"));
        Process::spawn("Envoy", envoy, &dir.join("envoy.log")).unwrap()
    }

    fn put_into(&self, bootstrap: &mut Value) {
        let socket =
            |addr: SocketAddr| json!({ "address": addr.ip().to_string(), "port_value": addr.port() });
        bootstrap["admin"]["address"]["socket_address"] = socket(self.admin);
        bootstrap["static_resources"]["listeners"][0]["address"]["socket_address"] = socket(self.listener);
        for cluster in bootstrap["static_resources"]["clusters"].as_array_mut().unwrap() {
            let (_, addr) = self.clusters.iter().find(|(name, _)| cluster["name"] == *name).unwrap();
            let endpoint = &mut cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
            endpoint["address"]["socket_address"] = socket(*addr);
        }
    }
}
