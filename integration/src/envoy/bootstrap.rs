//! The bootstrap that a test's Envoy starts from.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use super::Options;
use crate::snapshots::SYNC_TOKEN;

/// The name of the cluster that the filter syncs with.
pub const COMPANION_CLUSTER: &str = "quiesce";

/// The filter before the router.
#[derive(Clone, Debug)]
pub enum Filter {
    /// None: what Envoy itself costs.
    None,
    /// A Proxy-Wasm module.
    Wasm {
        /// The module's file.
        module: PathBuf,
        /// The plugin's configuration.
        configuration: String,
    },
    /// As it stands: an item of `http_filters`.
    Given(Value),
    /// Envoy's Lua filter with this source.
    Lua(String),
    /// Envoy's RBAC filter with these rules (`envoy.config.rbac.v3.RBAC`).
    Rbac(Value),
}

/// The filter's plugin configuration, as operators write it.
#[derive(Clone, Debug, Serialize)]
pub struct PluginConfig {
    /// The Envoy cluster of the companion.
    pub companion_cluster: String,
    /// The bearer token of sync.
    pub sync_token: String,
    /// Who this enforcer is.
    pub enforcer: EnforcerConfig,
    /// What becomes of writes before the first snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot: Option<Boot>,
    /// How long `boot: hold` holds; milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_timeout_ms: Option<u64>,
    /// What follows when `boot_timeout_ms` has passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_unreachable: Option<OnUnreachable>,
}

impl Default for PluginConfig {
    fn default() -> Self {
        Self {
            companion_cluster: COMPANION_CLUSTER.to_owned(),
            sync_token: SYNC_TOKEN.to_owned(),
            enforcer: EnforcerConfig::default(),
            boot: None,
            boot_timeout_ms: None,
            on_unreachable: None,
        }
    }
}

/// Who an enforcer is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct EnforcerConfig {
    /// Its identity; the node's by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What scopes are matched against.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What becomes of writes before the first snapshot.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Boot {
    /// They are told to come back until the snapshot is there.
    Hold,
    /// They pass.
    Open,
    /// They are refused until the snapshot is there, however long that takes.
    Closed,
}

/// What becomes of writes when the companion has not been reached in time.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUnreachable {
    /// They pass.
    Open,
    /// They are refused.
    Closed,
}

/// The whole bootstrap.
pub fn bootstrap(options: &Options, listen: SocketAddr, admin: SocketAddr) -> Value {
    let mut origin = cluster("origin", &[options.origin]);
    if options.protocol_of_client {
        origin["typed_extension_protocol_options"] = json!({
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "use_downstream_protocol_config": { "http_protocol_options": {}, "http2_protocol_options": {} },
            },
        });
    }
    let mut clusters = vec![origin];
    if !options.companions.is_empty() {
        clusters.push(companions(&options.companions));
    }
    json!({
        "admin": { "address": address(admin) },
        "static_resources": { "listeners": [listener(options, listen)], "clusters": clusters },
    })
}

fn listener(options: &Options, listen: SocketAddr) -> Value {
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
    });
    let filters: Vec<Value> = http_filter(&options.filter).into_iter().chain([router]).collect();
    let mut chain = json!({ "filters": [{
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "ingress",
            // As at the edge, and in `envoy/envoy.yaml`: the client's address is in `x-forwarded-for`.
            "use_remote_address": true,
            "codec_type": "AUTO",
            "http_filters": filters,
            "upgrade_configs": [{ "upgrade_type": "websocket" }],
            "route_config": { "virtual_hosts": [{
                "name": "all",
                "domains": ["*"],
                // A slow write is what many tests are about.
                "routes": [{ "match": { "prefix": "" }, "route": { "cluster": "origin", "timeout": "0s" } }],
            }] },
        },
    }] });
    let manager = &mut chain["filters"][0]["typed_config"];
    if options.strict_paths {
        manager["normalize_path"] = json!(true);
        manager["merge_slashes"] = json!(true);
        manager["path_with_escaped_slashes_action"] = json!("REJECT_REQUEST");
    }
    if options.reject_underscores {
        manager["common_http_protocol_options"] =
            json!({ "headers_with_underscores_action": "REJECT_REQUEST" });
    }
    if let (Some(tls), Some(chain)) = (&options.tls, chain.as_object_mut()) {
        let context = json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": {
                    "tls_certificates": [{
                        "certificate_chain": { "inline_string": tls.certificate },
                        "private_key": { "inline_string": tls.private_key },
                    }],
                    "validation_context": { "trusted_ca": { "inline_string": tls.client_ca } },
                },
            },
        });
        chain.insert("transport_socket".to_owned(), context);
    }
    json!({ "name": "ingress", "address": address(listen), "filter_chains": [chain] })
}

fn http_filter(filter: &Filter) -> Option<Value> {
    match filter {
        Filter::None => None,
        Filter::Wasm { module, configuration } => Some(json!({
            "name": "quiesce",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
                "config": {
                    "name": "quiesce",
                    "root_id": "quiesce",
                    "vm_config": {
                        "vm_id": "quiesce",
                        "runtime": "envoy.wasm.runtime.v8",
                        "code": { "local": { "filename": module } },
                    },
                    "configuration": {
                        "@type": "type.googleapis.com/google.protobuf.StringValue",
                        "value": configuration,
                    },
                    "failure_policy": "FAIL_RELOAD",
                    "allow_on_headers_stop_iteration": true,
                },
            },
        })),
        Filter::Given(filter) => Some(filter.clone()),
        Filter::Lua(source) => Some(json!({
            "name": "envoy.filters.http.lua",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
                "default_source_code": { "inline_string": source },
            },
        })),
        Filter::Rbac(rules) => Some(json!({
            "name": "envoy.filters.http.rbac",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
                "rules": rules,
            },
        })),
    }
}

/// Where there are several, those that are not ready are left out.
fn companions(addrs: &[SocketAddr]) -> Value {
    let mut companions = cluster(COMPANION_CLUSTER, addrs);
    if addrs.len() > 1 {
        companions["health_checks"] = json!([{
            "timeout": "1s",
            "interval": "0.25s",
            "no_traffic_interval": "0.25s",
            "unhealthy_threshold": 1,
            "healthy_threshold": 1,
            "http_health_check": { "path": "/readyz" },
        }]);
    }
    companions
}

fn cluster(name: &str, endpoints: &[SocketAddr]) -> Value {
    let endpoints: Vec<_> =
        endpoints.iter().map(|endpoint| json!({ "endpoint": { "address": address(*endpoint) } })).collect();
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        // Load tests are not about Envoy's circuit breakers.
        "circuit_breakers": { "thresholds": [{
            "max_connections": 100_000, "max_pending_requests": 100_000, "max_requests": 100_000,
        }] },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": endpoints }],
        },
    })
}

fn address(addr: SocketAddr) -> Value {
    json!({ "socket_address": { "address": addr.ip().to_string(), "port_value": addr.port() } })
}
