//! What is deployed by hand (`envoy/`) is right: Envoy accepts it, and it works with the companion.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that does not find what it looks for fails its test"
)]

mod common;

use std::{fs, process::Command, time::Duration};

use common::deployed::{Places, assert_valid, deployed, http_filters, patched, put_module, validate, yaml};
use quiesce_integration::{artifacts, http::Request, origin::Origin, ports, process::Process, wait};
use serde_json::{Value, json};

#[test]
fn envoy_accepts_envoy_yaml() {
    let mut bootstrap = yaml("envoy.yaml");
    assert_eq!(put_module(&mut bootstrap), 1);
    assert_valid(&bootstrap);
}

/// The check above is worth something: Envoy refuses what it does not know.
#[test]
fn envoy_refuses_a_misspelt_field() {
    let mut bootstrap = yaml("envoy.yaml");
    put_module(&mut bootstrap);
    http_filters(&mut bootstrap)[0]["typed_config"]["config"]["fail_policy"] = json!("FAIL_RELOAD");
    let said = validate(&bootstrap);
    assert!(!said.status.success());
    assert!(String::from_utf8_lossy(&said.stderr).contains("fail_policy"));
}

#[test]
fn envoy_accepts_the_patches_of_the_envoyfilter() {
    for context in ["SIDECAR_INBOUND", "GATEWAY"] {
        let mut bootstrap = patched(&yaml("istio/envoyfilter.yaml"), context);
        assert_eq!(put_module(&mut bootstrap), 1, "{context}");
        assert_valid(&bootstrap);
    }
}

/// What Istio cannot check for us: the filter's configuration is a text inside the resource.
#[test]
fn the_envoyfilter_configures_the_filter_as_envoy_yaml_does() {
    let mut by_hand = yaml("envoy.yaml");
    let mut by_istio = patched(&yaml("istio/envoyfilter.yaml"), "SIDECAR_INBOUND");
    let by_hand = &http_filters(&mut by_hand)[0]["typed_config"]["config"];
    let by_istio = &http_filters(&mut by_istio)[1]["typed_config"]["value"]["config"];
    let plugin = |config: &Value| -> Value {
        serde_json::from_str(config["configuration"]["value"].as_str().unwrap()).unwrap()
    };
    let keys = |plugin: &Value| plugin.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&plugin(by_hand)), keys(&plugin(by_istio)));
    for field in ["name", "root_id", "failure_policy", "allow_on_headers_stop_iteration"] {
        assert_eq!(by_hand[field], by_istio[field], "{field}");
    }
    assert_eq!(by_hand["vm_config"]["vm_id"], by_istio["vm_config"]["vm_id"]);
}

/// The compose file runs the very files that the other tests here validate and run.
#[test]
fn the_compose_file_mounts_what_is_tested() {
    let compose = yaml("docker-compose.yaml");
    let services = compose["services"].as_object().unwrap();
    assert_eq!(services.keys().collect::<Vec<_>>(), ["envoy", "origin", "quiesce"]);

    let mounts = |service: &str| -> Vec<(String, String)> {
        let volumes = services[service]["volumes"].as_array().unwrap();
        let pair = |volume: &Value| {
            let mut parts = volume.as_str().unwrap().split(':');
            (parts.next().unwrap().to_owned(), parts.next().unwrap().to_owned())
        };
        volumes.iter().map(pair).collect()
    };
    let envoy_config = ("./envoy.yaml".to_owned(), "/etc/envoy/envoy.yaml".to_owned());
    assert!(mounts("envoy").contains(&envoy_config));
    assert!(services["envoy"]["command"].as_array().unwrap().contains(&json!("/etc/envoy/envoy.yaml")));
    let module = "../target/quiesce/quiesce_filter.wasm".to_owned();
    let (_, inside) = mounts("envoy").into_iter().find(|(source, _)| *source == module).expect("the module");
    let named = http_filters(&mut yaml("envoy.yaml"))[0]["typed_config"]["config"]["vm_config"]["code"]["local"]
        ["filename"]
        .clone();
    assert_eq!(named, inside.as_str());

    let companion_config = ("./quiesce.yaml".to_owned(), "/etc/quiesce/quiesce.yaml".to_owned());
    assert!(mounts("quiesce").contains(&companion_config));
    let dockerfile = fs::read_to_string(deployed("Dockerfile")).unwrap();
    assert!(dockerfile.contains("/etc/quiesce/quiesce.yaml"), "the image starts with what is mounted");
    let build = &services["quiesce"]["build"];
    assert_eq!(
        deployed(build["context"].as_str().unwrap())
            .join(build["dockerfile"].as_str().unwrap())
            .canonicalize()
            .unwrap(),
        deployed("Dockerfile").canonicalize().unwrap()
    );
    // What Envoy calls them is what they are called.
    for cluster in yaml("envoy.yaml")["static_resources"]["clusters"].as_array().unwrap() {
        let host = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
            ["address"];
        assert!(services.contains_key(host.as_str().unwrap()), "no service {host}");
    }
}

#[test]
fn the_companion_accepts_its_configuration() {
    let said = Command::new(artifacts::quiesce().unwrap())
        .args(["config", "check"])
        .arg(deployed("quiesce.yaml"))
        .output()
        .unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}

/// Envoy and the companion run from the deployed files, with nothing changed but addresses and paths:
/// tokens, labels and the filter's own configuration must fit together.
#[tokio::test]
async fn envoy_and_companion_work_together_as_deployed() {
    let dir = tempfile::tempdir().unwrap();
    let origin = Origin::start().unwrap();
    let companion = ports::free().unwrap();
    let places = Places::free(origin.addr(), companion);

    let mut config = yaml("quiesce.yaml");
    config["listen"] = json!(companion);
    config["state_dir"] = json!(dir.path());
    // JSON is YAML.
    fs::write(dir.path().join("quiesce.yaml"), config.to_string()).unwrap();
    let mut serve = Command::new(artifacts::quiesce().unwrap());
    serve.arg("serve").arg("--config").arg(dir.path().join("quiesce.yaml"));
    let _companion = Process::spawn("quiesce serve", serve, &dir.path().join("quiesce.log")).unwrap();

    let _envoy = places.start_envoy(yaml("envoy.yaml"), dir.path());

    let token = &yaml("docker-compose.yaml")["services"]["quiesce"]["environment"]["QUIESCE_TOKEN"];
    let quiesce = |args: &[&str]| {
        Command::new(artifacts::quiesce().unwrap())
            .args(args)
            .env("QUIESCE_URL", format!("http://{companion}"))
            .env("QUIESCE_TOKEN", token.as_str().unwrap())
            .output()
            .unwrap()
    };
    wait::until("Envoy joins the fleet", Duration::from_secs(60), || async {
        let fleet: Value = serde_json::from_slice(&quiesce(&["fleet", "--output", "json"]).stdout).ok()?;
        fleet.to_string().contains("envoy-1").then_some(())
    })
    .await
    .unwrap();

    let status = async |request: Request| request.send(places.listener).await.unwrap().status;
    assert_eq!(status(Request::post("/orders", "{}")).await, 200);
    let scope = ["freeze", "--for", "1m", "--reason", "a test", "--expect", "1", "--wait"];
    let frozen = quiesce(&[&scope[..], &["--scope", "env=demo"]].concat());
    assert!(frozen.status.success(), "{}", String::from_utf8_lossy(&frozen.stderr));
    assert_eq!(status(Request::post("/orders", "{}")).await, 423);
    assert_eq!(status(Request::get("/orders/7")).await, 200);
    assert_eq!(status(Request::post("/search/products", "{}")).await, 200);
    // What the comment on path handling says: decoded, and sent there.
    let escaped = Request::get("/a%2Fb").send(places.listener).await.unwrap();
    assert_eq!((escaped.status, escaped.header("location")), (307, Some("/a/b")));
}
