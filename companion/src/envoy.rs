//! What is put into Envoy: the HTTP filter, for a listener or as an `EnvoyFilter` of Istio.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    lean::Lean,
    yaml::{Yaml, map, text},
};

/// The name of the filter.
const NAME: &str = "quiesce";

/// Where the filter finds its module, who it is, and whom it asks.
#[derive(Clone, Debug)]
pub struct Filter {
    /// The module's file, as Envoy sees it.
    pub wasm: String,
    /// The plugin's own configuration.
    pub plugin: Plugin,
    /// What is kept from the VM; without it, nothing is.
    pub lean: Option<Lean>,
    /// What the connection manager does before the filter; `lean` may rest on it.
    pub underscores: UnderscoreHeaders,
}

/// What a connection manager does with requests that have headers with `_` in their names, before any filter
/// sees them (`headers_with_underscores_action`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum UnderscoreHeaders {
    /// Nothing, as Envoy is by default.
    #[default]
    Allow,
    /// Drop these headers.
    Drop,
    /// Refuse the requests with 400.
    Reject,
}

/// The plugin's configuration, as the filter parses it.
#[derive(Clone, Debug, Serialize)]
pub struct Plugin {
    /// Envoy's cluster of the companion.
    pub companion_cluster: String,
    /// A token of role `sync`.
    pub sync_token: String,
    /// Who this enforcer is.
    pub enforcer: Enforcer,
    boot: &'static str,
    boot_timeout_ms: u32,
    on_unreachable: &'static str,
}

/// Who an enforcer is.
#[derive(Clone, Debug, Serialize)]
pub struct Enforcer {
    /// What the scopes of windows select by.
    pub labels: BTreeMap<String, String>,
}

/// How a configuration of a known type is written.
#[derive(Clone, Copy, Debug)]
enum Typed {
    /// As the type itself.
    Plainly,
    /// As a `TypedStruct`, which goes to Envoy as it is: an istiod that is older than the proxies would drop
    /// fields that it does not know.
    AsStruct,
}

impl Plugin {
    /// A plugin that refuses writes until it knows better.
    pub fn new(companion_cluster: String, sync_token: String, labels: BTreeMap<String, String>) -> Self {
        Self {
            companion_cluster,
            sync_token,
            enforcer: Enforcer { labels },
            boot: "hold",
            boot_timeout_ms: 5000,
            on_unreachable: "closed",
        }
    }
}

impl Filter {
    /// The filter as an item of `http_filters`.
    pub fn http_filter(&self) -> Result<Yaml, serde_json::Error> {
        self.filter(Typed::Plainly)
    }

    /// Istio's resource with the filter, and with the companion's cluster if it has to be made; this is its
    /// host and port.
    pub fn envoy_filter(&self, companion: Option<(&str, u16)>) -> Result<Yaml, serde_json::Error> {
        let filter = Box::new(self.filter(Typed::AsStruct)?);
        let mut patches: Vec<_> = companion
            .map(|(host, port)| {
                map([
                    ("applyTo", text("CLUSTER")),
                    ("patch", map([("operation", text("ADD")), ("value", self.cluster(host, port))])),
                ])
            })
            .into_iter()
            .collect();
        if let Some(setting) = self.underscores.setting() {
            let manager = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
            let options = vec![("common_http_protocol_options", setting)];
            let manager = Box::new(named(MANAGER, Typed::Plainly.write(manager, options)));
            patches.push(merging("SIDECAR_INBOUND", Yaml::Anchor("manager", manager.clone())));
            patches.push(merging("GATEWAY", Yaml::Alias("manager", manager)));
        }
        patches.push(insertion("SIDECAR_INBOUND", Yaml::Anchor("filter", filter.clone())));
        patches.push(insertion("GATEWAY", Yaml::Alias("filter", filter)));
        let selector = map([("labels", map([(NAME, text("enforced"))]))]);
        Ok(map([
            ("apiVersion", text("networking.istio.io/v1alpha3")),
            ("kind", text("EnvoyFilter")),
            ("metadata", map([("name", text(NAME)), ("namespace", text("istio-system"))])),
            ("spec", map([("workloadSelector", selector), ("configPatches", Yaml::List(patches))])),
        ]))
    }

    fn filter(&self, typed: Typed) -> Result<Yaml, serde_json::Error> {
        let wasm = [("config", self.wasm()?)];
        let wasm_type = "envoy.extensions.filters.http.wasm.v3.Wasm";
        let skipped = self.lean.as_ref().and_then(|lean| lean.skipped.as_ref());
        let config = match skipped {
            None => typed.write(wasm_type, wasm.into()),
            Some(skipped) => {
                let filter = named(NAME, Typed::Plainly.write(wasm_type, wasm.into()));
                let execute = [("typed_config", filter)];
                let entry = map([
                    ("predicate", skipped.matcher()),
                    (
                        "on_match",
                        action("skip", "envoy.extensions.filters.common.matcher.action.v3.SkipFilter", []),
                    ),
                ]);
                let matcher = map([
                    ("matcher_list", map([("matchers", Yaml::List(vec![entry]))])),
                    (
                        "on_no_match",
                        action(
                            NAME,
                            "envoy.extensions.filters.http.composite.v3.ExecuteFilterAction",
                            execute,
                        ),
                    ),
                ]);
                let composite =
                    Typed::Plainly.write("envoy.extensions.filters.http.composite.v3.Composite", vec![]);
                typed.write(
                    "envoy.extensions.common.matching.v3.ExtensionWithMatcher",
                    vec![("extension_config", named("composite", composite)), ("xds_matcher", matcher)],
                )
            }
        };
        Ok(named(NAME, config))
    }

    fn wasm(&self) -> Result<Yaml, serde_json::Error> {
        let code = map([("local", map([("filename", text(self.wasm.clone()))]))]);
        let plugin = serde_json::to_string_pretty(&self.plugin)?;
        let vm = map([("vm_id", text(NAME)), ("runtime", text("envoy.wasm.runtime.v8")), ("code", code)]);
        Ok(map([
            ("name", text(NAME)),
            ("root_id", text(NAME)),
            ("failure_policy", text("FAIL_RELOAD")),
            ("allow_on_headers_stop_iteration", Yaml::Flag(true)),
            ("vm_config", vm),
            (
                "configuration",
                Typed::Plainly.write("google.protobuf.StringValue", vec![("value", Yaml::Lines(plugin))]),
            ),
        ]))
    }

    fn cluster(&self, host: &str, port: u16) -> Yaml {
        let name = || text(self.plugin.companion_cluster.clone());
        let socket = map([("address", text(host.to_owned())), ("port_value", Yaml::Number(u32::from(port)))]);
        let endpoint = map([("endpoint", map([("address", map([("socket_address", socket)]))]))]);
        let endpoints = Yaml::List(vec![map([("lb_endpoints", Yaml::List(vec![endpoint]))])]);
        let keepalive = map([
            ("keepalive_probes", Yaml::Number(3)),
            ("keepalive_time", Yaml::Number(10)),
            ("keepalive_interval", Yaml::Number(5)),
        ]);
        map([
            ("name", name()),
            ("type", text("STRICT_DNS")),
            ("connect_timeout", text("1s")),
            ("upstream_connection_options", map([("tcp_keepalive", keepalive)])),
            ("load_assignment", map([("cluster_name", name()), ("endpoints", endpoints)])),
        ])
    }
}

impl UnderscoreHeaders {
    /// Whether filters see such headers of clients.
    pub fn reach_filters(self) -> bool {
        self == Self::Allow
    }

    /// What this is in the connection manager's `common_http_protocol_options`, unless Envoy is so by default.
    pub fn setting(self) -> Option<Yaml> {
        let action = match self {
            Self::Allow => return None,
            Self::Drop => "DROP_HEADER",
            Self::Reject => "REJECT_REQUEST",
        };
        Some(map([("headers_with_underscores_action", text(action))]))
    }
}

impl Typed {
    fn write(self, message: &str, fields: Vec<(&'static str, Yaml)>) -> Yaml {
        let url = text(format!("type.googleapis.com/{message}"));
        match self {
            Self::Plainly => map([("@type", url)].into_iter().chain(fields)),
            Self::AsStruct => map([
                ("@type", text("type.googleapis.com/udpa.type.v1.TypedStruct")),
                ("type_url", url),
                ("value", map(fields)),
            ]),
        }
    }
}

/// An extension of Envoy: its name and its configuration.
fn named(name: &'static str, config: Yaml) -> Yaml {
    map([("name", text(name)), ("typed_config", config)])
}

fn action<const N: usize>(name: &'static str, message: &str, fields: [(&'static str, Yaml); N]) -> Yaml {
    map([("action", named(name, Typed::Plainly.write(message, fields.into())))])
}

const MANAGER: &str = "envoy.filters.network.http_connection_manager";

/// A patch that puts the filter just before the router.
fn insertion(context: &'static str, filter: Yaml) -> Yaml {
    let router = map([("name", text("envoy.filters.http.router"))]);
    let manager = map([("name", text(MANAGER)), ("subFilter", router)]);
    patch("HTTP_FILTER", context, manager, ("INSERT_BEFORE", filter))
}

/// A patch of the connection manager itself.
fn merging(context: &'static str, manager: Yaml) -> Yaml {
    patch("NETWORK_FILTER", context, map([("name", text(MANAGER))]), ("MERGE", manager))
}

fn patch(
    apply_to: &'static str,
    context: &'static str,
    filter: Yaml,
    (operation, value): (&'static str, Yaml),
) -> Yaml {
    let listener = map([("filterChain", map([("filter", filter)]))]);
    map([
        ("applyTo", text(apply_to)),
        ("match", map([("context", text(context)), ("listener", listener)])),
        ("patch", map([("operation", text(operation)), ("value", value)])),
    ])
}
