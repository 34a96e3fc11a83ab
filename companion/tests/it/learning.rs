//! Tools that are learned from their servers, as operators configure it and are told of it.

use serde_json::Value;

use crate::command::{command, run};

const CONFIG: &str = "surfaces:
  - name: tools
    hosts: [tools.example.com]
    catalogs: [mcp]
    read_only: { tools: [search], learn_tools: true }
  - name: listed
    hosts: [listed.example.com]
    catalogs: [mcp]
    read_only: { tools: [search] }
";

async fn with_config(args: &[&str], yaml: &str) -> crate::command::Output {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("quiesce.yaml");
    std::fs::write(&file, yaml).unwrap();
    let mut command = command(args);
    run(command.arg(&file).env_remove("QUIESCE_SYNC_TOKEN")).await
}

#[tokio::test]
async fn a_surface_without_tools_has_none_to_learn() {
    let checked = with_config(&["config", "check"], CONFIG).await;
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    let without =
        "surfaces:\n  - name: shop\n    catalogs: [graphql]\n    read_only: { learn_tools: true }\n";
    let checked = with_config(&["config", "check"], without).await;
    let place = ":4:31: surfaces[0].read_only.learn_tools: no rule of `shop` has `body: mcp`";
    assert!(checked.code == Some(3) && checked.stderr.contains(place), "{}", checked.stderr);
    let with_rule = without
        .replace("    read_only", "    rules: [{ path: /rpc, effect: write, body: mcp }]\n    read_only");
    let checked = with_config(&["config", "check"], &with_rule).await;
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
}

#[tokio::test]
async fn the_module_that_learns_is_placed_where_it_is_needed() {
    for (args, module) in [
        (&["envoy", "filter"][..], "/etc/envoy/quiesce_filter_learning.wasm"),
        (&["envoy", "filter", "--profile", "lean"], "/etc/envoy/quiesce_filter_learning.wasm"),
        (&["envoy", "filter", "--format", "envoyfilter"], "/etc/quiesce/quiesce_filter_learning.wasm"),
        (&["envoy", "filter", "--wasm", "/my.wasm"], "/my.wasm"),
    ] {
        let printed = with_config(&[args, &["--config"]].concat(), CONFIG).await.stdout;
        assert!(printed.contains(&format!("filename: {module}\n")), "{printed}");
        assert!(printed.contains("# Tools of tools are learned, by quiesce_filter_learning.wasm alone.\n"));
    }
    let without = CONFIG.replace(", learn_tools: true", "");
    let printed = with_config(&["envoy", "filter", "--config"], &without).await;
    assert!(printed.stdout.contains("filename: /etc/envoy/quiesce_filter.wasm\n"));
}

#[tokio::test]
async fn what_only_a_server_can_say_is_said_to_be_unknown() {
    let call = |tool: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}"}}}}"#)
    };
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#.to_owned();
    let batch = format!("[{},{}]", call("fetch"), r#"{"jsonrpc":"2.0","id":2,"method":"tasks/cancel"}"#);
    for (host, body, effect, is_unknown) in [
        ("tools", call("fetch"), "write", true),
        ("tools", call("search"), "read", false),
        ("tools", list, "read", false),
        ("tools", batch, "write", false),
        ("tools", call("fetch").replace(":1", ":1,\"id\":2"), "write", false),
        ("listed", call("fetch"), "write", false),
    ] {
        let host = format!("host: {host}.example.com");
        let asked =
            ["explain", "POST /mcp", "-H", &host, "-H", "content-type: application/json", "--body", &body];
        let said = with_config(&[&asked[..], &["--config"]].concat(), CONFIG).await.stdout;
        let line = "  unless  a filter that learns has heard the server say that the tool reads\n";
        assert!(said.contains(&format!("{effect}, surface")), "{said}");
        assert_eq!(said.contains(line), is_unknown, "{body}: {said}");
        let json =
            with_config(&[&asked[..], &["--output", "json", "--config"]].concat(), CONFIG).await.stdout;
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json.get("unless").is_some(), is_unknown, "{json}");
    }
}
