//! What `quiesce envoy` prints.

use crate::command::{command, run};

const CONFIG: &str = "surfaces:
  - name: shop
    hosts: [shop.example.com, '*.shop.example.com']
    path_prefix: /api
    rules:
      - { methods: [GET], path: '/jobs/{id}/run', effect: write }
      - { methods: [POST], path: '/search/{*rest}', effect: read }
  - name: closed
    hosts: [closed.example.com]
    rules:
      - { path: '/{*rest}', effect: write }
";

/// What is printed with a configuration that has rules.
async fn printed(args: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("quiesce.yaml");
    std::fs::write(&file, CONFIG).unwrap();
    let mut command = command(&["envoy", "filter", "--config"]);
    command.arg(&file).args(args).env_remove("QUIESCE_SYNC_TOKEN");
    let output = run(&mut command).await;
    assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""), "{args:?}");
    output.stdout
}

#[tokio::test]
async fn a_full_filter() {
    insta::assert_snapshot!(printed(&["--label", "region=eu"]).await, @r#"
# Put the token of role sync in place of `change-me-sync-token`.
- name: quiesce
  typed_config:
    '@type': type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
    config:
      name: quiesce
      root_id: quiesce
      failure_policy: FAIL_RELOAD
      allow_on_headers_stop_iteration: true
      vm_config:
        vm_id: quiesce
        runtime: envoy.wasm.runtime.v8
        code:
          local:
            filename: /etc/envoy/quiesce_filter.wasm
      configuration:
        '@type': type.googleapis.com/google.protobuf.StringValue
        value: |
          {
            "companion_cluster": "quiesce",
            "sync_token": "change-me-sync-token",
            "enforcer": {
              "labels": {
                "region": "eu"
              }
            },
            "boot": "hold",
            "boot_timeout_ms": 5000,
            "on_unreachable": "closed"
          }
"#);
}

#[tokio::test]
async fn a_lean_filter() {
    insta::assert_snapshot!(printed(&["--profile", "lean", "--wasm", "/x/filter.wasm"]).await, @r#"
# Put the token of role sync in place of `change-me-sync-token`.
# Made from the companion's rules: where they come to call a GET a write, make it anew
# and roll it out before the companion has them.
# The filter sees all requests to the hosts of closed.
- name: quiesce
  typed_config:
    '@type': type.googleapis.com/envoy.extensions.common.matching.v3.ExtensionWithMatcher
    extension_config:
      name: composite
      typed_config:
        '@type': type.googleapis.com/envoy.extensions.filters.http.composite.v3.Composite
    xds_matcher:
      matcher_list:
        matchers:
          - predicate:
              and_matcher:
                predicate:
                  - or_matcher:
                      predicate:
                        - single_predicate:
                            input: { name: request-header, typed_config: { '@type': type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: ':method' } }
                            value_match: { exact: GET }
                        - single_predicate:
                            input: { name: request-header, typed_config: { '@type': type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: ':method' } }
                            value_match: { exact: HEAD }
                        - single_predicate:
                            input: { name: request-header, typed_config: { '@type': type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: ':method' } }
                            value_match: { exact: OPTIONS }
                        - single_predicate:
                            input: { name: request-header, typed_config: { '@type': type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: ':method' } }
                            value_match: { exact: TRACE }
                  - single_predicate:
                      input: { name: request-header, typed_config: { '@type': type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: ':path' } }
                      value_match: { safe_regex: { google_re2: {}, regex: '/(?:[A-Za-z0-9_~!$&''()*,:=@.-]*[A-Za-z0-9_~!$&''()*,:=@-](?:/[A-Za-z0-9_~!$&''()*,:=@.-]*[A-Za-z0-9_~!$&''()*,:=@-])*/?)?(?:\?(?:[A-Za-z0-9~!$''()*,:=@/?-][A-Za-z0-9_~!$''()*,:=@./?-]*|_(?:[A-LN-Za-ln-z0-9_~!$''()*,:=@./?-][A-Za-z0-9_~!$''()*,:=@./?-]*)?)?(?:&(?:[A-Za-z0-9~!$''()*,:=@/?-][A-Za-z0-9_~!$''()*,:=@./?-]*|_(?:[A-LN-Za-ln-z0-9_~!$''()*,:=@./?-][A-Za-z0-9_~!$''()*,:=@./?-]*)?)?)*)?' } }
                  - single_predicate:
                      input: { name: request-header, typed_config: { '@type': type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: ':authority' } }
                      value_match: { safe_regex: { google_re2: {}, regex: '[A-Za-z0-9_-][A-Za-z0-9._-]*(?::[0-9]+)?' } }
                  - not_matcher:
                      or_matcher:
                        predicate:
                          - single_predicate:
                              input: { name: request-header, typed_config: { '@type': type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: ':authority' } }
                              value_match: { safe_regex: { google_re2: {}, regex: '(?i)(?:closed\.example\.com)\.*(?::[0-9]*)?' } }
                          - and_matcher:
                              predicate:
                                - single_predicate:
                                    input: { name: request-header, typed_config: { '@type': type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: ':path' } }
                                    value_match: { safe_regex: { google_re2: {}, regex: '(?i)(?:/\.well-known/maintenance.*|/api/jobs/[^/?]*/run/*|[!->@-~]{1000}.*)(?:\?.*)?' } }
                                - or_matcher:
                                    predicate:
                                      - single_predicate:
                                          input: { name: request-header, typed_config: { '@type': type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: ':path' } }
                                          value_match: { safe_regex: { google_re2: {}, regex: '(?i)(?:/\.well-known/maintenance.*|[!->@-~]{1000}.*)(?:\?.*)?' } }
                                      - and_matcher:
                                          predicate:
                                            - single_predicate:
                                                input: { name: request-header, typed_config: { '@type': type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: ':path' } }
                                                value_match: { safe_regex: { google_re2: {}, regex: '(?i)(?:/api/jobs/[^/?]*/run/*)(?:\?.*)?' } }
                                            - single_predicate:
                                                input: { name: request-header, typed_config: { '@type': type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: ':authority' } }
                                                value_match: { safe_regex: { google_re2: {}, regex: '(?i)(?:.*\.shop\.example\.com|shop\.example\.com)\.*(?::[0-9]*)?' } }
                          - single_predicate:
                              input: { name: request-header, typed_config: { '@type': type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: x-http-method-override } }
                              value_match: { safe_regex: { google_re2: {}, regex: '\C*' } }
                          - single_predicate:
                              input: { name: request-header, typed_config: { '@type': type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: x-http-method_override } }
                              value_match: { safe_regex: { google_re2: {}, regex: '\C*' } }
                          - single_predicate:
                              input: { name: request-header, typed_config: { '@type': type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: x-http_method-override } }
                              value_match: { safe_regex: { google_re2: {}, regex: '\C*' } }
                          - single_predicate:
                              input: { name: request-header, typed_config: { '@type': type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: x-http_method_override } }
                              value_match: { safe_regex: { google_re2: {}, regex: '\C*' } }
                          - single_predicate:
                              input: { name: request-header, typed_config: { '@type': type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: x_http-method-override } }
                              value_match: { safe_regex: { google_re2: {}, regex: '\C*' } }
                          - single_predicate:
                              input: { name: request-header, typed_config: { '@type': type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: x_http-method_override } }
                              value_match: { safe_regex: { google_re2: {}, regex: '\C*' } }
                          - single_predicate:
                              input: { name: request-header, typed_config: { '@type': type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: x_http_method-override } }
                              value_match: { safe_regex: { google_re2: {}, regex: '\C*' } }
                          - single_predicate:
                              input: { name: request-header, typed_config: { '@type': type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: x_http_method_override } }
                              value_match: { safe_regex: { google_re2: {}, regex: '\C*' } }
                          - single_predicate:
                              input: { name: request-header, typed_config: { '@type': type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: x-http-method } }
                              value_match: { safe_regex: { google_re2: {}, regex: '\C*' } }
                          - single_predicate:
                              input: { name: request-header, typed_config: { '@type': type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: x-http_method } }
                              value_match: { safe_regex: { google_re2: {}, regex: '\C*' } }
                          - single_predicate:
                              input: { name: request-header, typed_config: { '@type': type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: x_http-method } }
                              value_match: { safe_regex: { google_re2: {}, regex: '\C*' } }
                          - single_predicate:
                              input: { name: request-header, typed_config: { '@type': type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: x_http_method } }
                              value_match: { safe_regex: { google_re2: {}, regex: '\C*' } }
                          - single_predicate:
                              input: { name: request-header, typed_config: { '@type': type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: x-method-override } }
                              value_match: { safe_regex: { google_re2: {}, regex: '\C*' } }
                          - single_predicate:
                              input: { name: request-header, typed_config: { '@type': type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: x-method_override } }
                              value_match: { safe_regex: { google_re2: {}, regex: '\C*' } }
                          - single_predicate:
                              input: { name: request-header, typed_config: { '@type': type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: x_method-override } }
                              value_match: { safe_regex: { google_re2: {}, regex: '\C*' } }
                          - single_predicate:
                              input: { name: request-header, typed_config: { '@type': type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: x_method_override } }
                              value_match: { safe_regex: { google_re2: {}, regex: '\C*' } }
                          - single_predicate:
                              input: { name: request-header, typed_config: { '@type': type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: upgrade } }
                              value_match: { safe_regex: { google_re2: {}, regex: '\C*' } }
            on_match:
              action:
                name: skip
                typed_config:
                  '@type': type.googleapis.com/envoy.extensions.filters.common.matcher.action.v3.SkipFilter
      on_no_match:
        action:
          name: quiesce
          typed_config:
            '@type': type.googleapis.com/envoy.extensions.filters.http.composite.v3.ExecuteFilterAction
            typed_config:
              name: quiesce
              typed_config:
                '@type': type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
                config:
                  name: quiesce
                  root_id: quiesce
                  failure_policy: FAIL_RELOAD
                  allow_on_headers_stop_iteration: true
                  vm_config:
                    vm_id: quiesce
                    runtime: envoy.wasm.runtime.v8
                    code:
                      local:
                        filename: /x/filter.wasm
                  configuration:
                    '@type': type.googleapis.com/google.protobuf.StringValue
                    value: |
                      {
                        "companion_cluster": "quiesce",
                        "sync_token": "change-me-sync-token",
                        "enforcer": {
                          "labels": {}
                        },
                        "boot": "hold",
                        "boot_timeout_ms": 5000,
                        "on_unreachable": "closed"
                      }
"#);
}

#[tokio::test]
async fn an_envoyfilter() {
    insta::assert_snapshot!(printed(&["--format", "envoyfilter", "--companion", "10.0.0.1:80"]).await, @r#"
# Put the token of role sync in place of `change-me-sync-token`.
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata:
  name: quiesce
  namespace: istio-system
spec:
  workloadSelector:
    labels:
      quiesce: enforced
  configPatches:
    - applyTo: CLUSTER
      patch:
        operation: ADD
        value:
          name: quiesce
          type: STRICT_DNS
          connect_timeout: '1s'
          upstream_connection_options:
            tcp_keepalive:
              keepalive_probes: 3
              keepalive_time: 10
              keepalive_interval: 5
          load_assignment:
            cluster_name: quiesce
            endpoints:
              - lb_endpoints:
                  - endpoint:
                      address:
                        socket_address:
                          address: '10.0.0.1'
                          port_value: 80
    - applyTo: HTTP_FILTER
      match:
        context: SIDECAR_INBOUND
        listener:
          filterChain:
            filter:
              name: envoy.filters.network.http_connection_manager
              subFilter:
                name: envoy.filters.http.router
      patch:
        operation: INSERT_BEFORE
        value: &filter
          name: quiesce
          typed_config:
            '@type': type.googleapis.com/udpa.type.v1.TypedStruct
            type_url: type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
            value:
              config:
                name: quiesce
                root_id: quiesce
                failure_policy: FAIL_RELOAD
                allow_on_headers_stop_iteration: true
                vm_config:
                  vm_id: quiesce
                  runtime: envoy.wasm.runtime.v8
                  code:
                    local:
                      filename: /etc/quiesce/quiesce_filter.wasm
                configuration:
                  '@type': type.googleapis.com/google.protobuf.StringValue
                  value: |
                    {
                      "companion_cluster": "quiesce",
                      "sync_token": "change-me-sync-token",
                      "enforcer": {
                        "labels": {}
                      },
                      "boot": "hold",
                      "boot_timeout_ms": 5000,
                      "on_unreachable": "closed"
                    }
    - applyTo: HTTP_FILTER
      match:
        context: GATEWAY
        listener:
          filterChain:
            filter:
              name: envoy.filters.network.http_connection_manager
              subFilter:
                name: envoy.filters.http.router
      patch:
        operation: INSERT_BEFORE
        value: *filter
"#);
}

/// What a lean filter relies on is said, or done where that can be.
#[tokio::test]
async fn headers_with_underscores_are_kept_out() {
    let lean = ["--profile", "lean", "--wasm", "/x.wasm", "--underscore-headers", "drop"];
    let listener = printed(&lean).await;
    insta::assert_snapshot!(listener.lines().take_while(|line| line.starts_with('#')).collect::<Vec<_>>().join("\n"), @"
# Put the token of role sync in place of `change-me-sync-token`.
# Made from the companion's rules: where they come to call a GET a write, make it anew
# and roll it out before the companion has them.
# The connection manager must have common_http_protocol_options: { headers_with_underscores_action: DROP_HEADER },
# or requests that override their method by a header such as X_HTTP_Method get past.
# The filter sees all requests to the hosts of closed.
");
    assert!(listener.contains("x-http-method") && !listener.contains("http_method"));

    let resource = printed(&[&lean[..], &["--format", "envoyfilter"]].concat()).await;
    assert!(!resource.contains("must have"));
    let resource: serde_json::Value = serde_saphyr::from_str(&resource).unwrap();
    let patches = resource["spec"]["configPatches"].as_array().unwrap();
    let managers: Vec<_> = patches.iter().filter(|patch| patch["applyTo"] == "NETWORK_FILTER").collect();
    assert_eq!((managers.len(), patches.len()), (2, 5));
    for (patch, context) in managers.iter().zip(["SIDECAR_INBOUND", "GATEWAY"]) {
        assert_eq!(patch["match"]["context"], context);
        let manager = "envoy.filters.network.http_connection_manager";
        assert_eq!(patch["match"]["listener"]["filterChain"]["filter"]["name"], manager);
        assert_eq!(patch["patch"]["operation"], "MERGE");
        let options = &patch["patch"]["value"]["typed_config"]["common_http_protocol_options"];
        assert_eq!(options["headers_with_underscores_action"], "DROP_HEADER");
    }
}

/// The profiles differ in what surrounds the Wasm filter, the formats in how it is wrapped.
#[tokio::test]
async fn every_form_has_the_same_wasm_filter() {
    let read = |text: String| serde_saphyr::from_str::<serde_json::Value>(&text).unwrap();
    let wasm = ["--wasm", "/x.wasm"];
    let full = read(printed(&wasm).await);
    let full = &full[0]["typed_config"]["config"];
    let lean = read(printed(&["--profile", "lean", "--wasm", "/x.wasm"]).await);
    let executed = |matcher: &serde_json::Value| {
        matcher["xds_matcher"]["on_no_match"]["action"]["typed_config"]["typed_config"]["typed_config"]["config"].clone()
    };
    assert_eq!(&executed(&lean[0]["typed_config"]), full);
    let patches = |resource: serde_json::Value| resource["spec"]["configPatches"].as_array().unwrap().clone();
    let istio = patches(read(printed(&["--format", "envoyfilter", "--wasm", "/x.wasm"]).await));
    assert_eq!(istio.len(), 3);
    assert_eq!(&istio[1]["patch"]["value"]["typed_config"]["value"]["config"], full);
    assert_eq!(istio[1]["patch"], istio[2]["patch"]);
    let lean = ["--format", "envoyfilter", "--profile", "lean", "--wasm", "/x.wasm"];
    let lean = patches(read(printed(&lean).await));
    assert_eq!(&executed(&lean[1]["patch"]["value"]["typed_config"]["value"]), full);
    let own = ["--format", "envoyfilter", "--cluster", "outbound|7423||quiesce.quiesce.svc.cluster.local"];
    assert_eq!(patches(read(printed(&own).await)).len(), 2, "Istio's own cluster is there already");
}

#[tokio::test]
async fn the_token_is_taken_from_a_file_or_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "from-file\n").unwrap();
    let path = file.to_str().unwrap();
    let mut command = command(&["envoy", "filter"]);
    assert!(run(command.env("QUIESCE_SYNC_TOKEN", "from-env")).await.stdout.contains("\"from-env\""));
    assert!(run(command.args(["--sync-token-file", path])).await.stdout.contains("\"from-file\""));
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let said =
        async |args: &[&str]| run(&mut command(&[&["envoy", "filter"], args].concat())).await.redacted();
    insta::assert_snapshot!(said(&["--label", "a=1", "--label", "a=2"]).await, @"
--- stderr
error: --label a is given twice; an enforcer has one value for a key
--- exit code 3
");
    insta::assert_snapshot!(said(&["--label", "a"]).await, @"
--- stderr
error: invalid value 'a' for '--label <KEY=VALUE>': write KEY=VALUE, such as region=eu

For more information, try '--help'.
--- exit code 2
");
    insta::assert_snapshot!(said(&["--companion", "a"]).await, @"
--- stderr
error: invalid value 'a' for '--companion <HOST:PORT>': write HOST:PORT, such as quiesce.example.com:7423

For more information, try '--help'.
--- exit code 2
");
    insta::assert_snapshot!(said(&["--config", "nowhere.yaml"]).await, @"
--- stderr
error: cannot read nowhere.yaml: No such file or directory (os error 2)
hint: `quiesce config default` prints a configuration that explains every field
--- exit code 3
");
    insta::assert_snapshot!(said(&["--profile", "lean"]).await, @"
--- stderr
error: the following required arguments were not provided:
  --config <FILE>

Usage: quiesce envoy filter --profile <PROFILE> --config <FILE>

For more information, try '--help'.
--- exit code 2
");
}
