//! Configurations that are taken, and errors that name their place.

use quiesce_policy::snapshot::RetryPolicy;

use super::*;

fn error(yaml: &str) -> String {
    Config::from_yaml(yaml, "quiesce.yaml").expect_err("a wrong configuration").to_string()
}

#[test]
fn the_sample_is_the_default() {
    let built_in = Config::built_in().unwrap();
    assert_eq!(built_in.listen.to_string(), "127.0.0.1:7423");
    assert_eq!(built_in.windows.grace.ms(), 3_600_000);
    assert_eq!(built_in.retry, RetryPolicy::default());
    let sample = Config::from_yaml(DEFAULT_YAML, "quiesce.default.yaml").unwrap();
    assert_eq!(format!("{sample:?}"), format!("{built_in:?}"));
}

#[test]
fn the_samples_in_comments_parse() {
    // Uncommented: from `# name:` on, as long as lines are comments indented below it.
    for field in ["surfaces", "tokens", "notify"] {
        let start = format!("# {field}:");
        let sample: Vec<_> = DEFAULT_YAML
            .lines()
            .skip_while(|line| *line != start)
            .take_while(|line| *line == start || line.starts_with("#  "))
            .map(|line| line.trim_start_matches("# "))
            .collect();
        assert!(sample.len() > 2, "no sample of {field}");
        let yaml = sample.join("\n").replace("64 hexadecimal digits", &"ab".repeat(32));
        Config::from_yaml(&yaml, field).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn says_only_what_is_different() {
    for empty in ["", "# nothing\n", "{}"] {
        Config::from_yaml(empty, "quiesce.yaml").unwrap();
    }
    let config = Config::from_yaml("windows:\n  grace: 5m\n", "quiesce.yaml").unwrap();
    assert_eq!((config.windows.grace.ms(), config.windows.max_duration.ms()), (300_000, 86_400_000));
}

#[test]
fn malformed_yaml_names_line_and_column() {
    insta::assert_snapshot!(error("listen: 127.0.0.1:1\nwindws: {}\n"), @"quiesce.yaml:2:1: unknown field `windws`, expected one of listen, store, log_format, mode, catalogs, surfaces, retry, refused_calls, tokens, notify, state_dir, status_page, exemptions, passes, windows, intents, backfill, messages, deliveries, public");
    insta::assert_snapshot!(error("windows:\n  grace: soon\n"), @"quiesce.yaml:2:10: windows.grace: `soon` is not a duration; write it like 30s, 10m or 1h30m");
    insta::assert_snapshot!(error("windows:\n  grace: 1h\n  grace: 2h\n"), @"quiesce.yaml:3:3: duplicate mapping key `grace` is not allowed here");
    insta::assert_snapshot!(error("surfaces:\n  - name: [\n"), @"quiesce.yaml:2:11: expected string scalar");
    insta::assert_snapshot!(error("surfaces:\n  - name: a\n    rules:\n      - path: /x\n        effct: read\n"), @"quiesce.yaml:5:9: unknown field `effct`, expected one of methods, path, header, query, effect, action, body, kind");
    insta::assert_snapshot!(error("windows: { status: 404 }"), @"quiesce.yaml:1:20: windows.status: a refusal's status is 423 or 503, not 404");
}

#[test]
fn wrong_contents_name_the_field_and_all_of_them_at_once() {
    let yaml = "\
listen: 0.0.0.0:7423
status_page: /status
windows:
  default_duration: 2h
  max_duration: 1h
retry: { default_s: 20, cap_s: 10 }
";
    insta::assert_snapshot!(error(yaml), @r#"
quiesce.yaml:1:9: listen: 0.0.0.0:7423 can be reached from other machines, so `tokens` must say who may call: add some (`quiesce token new --role operator`), or listen on 127.0.0.1
quiesce.yaml:4:21: windows.default_duration: 2h is longer than windows.max_duration, 1h
quiesce.yaml:6:21: retry.default_s: 20 is more than retry.cap_s, 10
quiesce.yaml:2:14: status_page: `/status` is no absolute URL; write it like https://status.example.com/
"#);
}

#[test]
fn rules_that_enforcers_would_refuse_are_refused_here() {
    let yaml = "\
surfaces:
  - name: a
    rules:
      - path: /x
        effect: read
      - path: no-slash
        effect: read
";
    insta::assert_snapshot!(error(yaml), @"quiesce.yaml:6:15: surfaces[0].rules[1].path: `no-slash` does not begin with `/`");
    let unreachable = "\
surfaces:
  - name: a
    rules:
      - path: /x
        effect: read
      - path: /x
        effect: write
";
    insta::assert_snapshot!(error(unreachable), @"quiesce.yaml:6:15: surfaces[0].rules[1].path: no request can reach this rule: rules[0] already speaks of the same requests; remove one of them");
}

#[test]
fn tokens_must_be_usable() {
    let yaml = "\
tokens:
  - name: ann
    role: operator
    sha256: 12
  - name: ann
    role: viewer
";
    insta::assert_snapshot!(error(yaml), @r#"
quiesce.yaml:4:13: tokens[0].sha256: is not a SHA-256: write 64 hexadecimal digits, as `quiesce token new` prints them
quiesce.yaml:5:11: tokens[1].name: `ann` is the name of another token; names tell in the event log who did what
quiesce.yaml:5:5: tokens[1]: needs one of `sha256` and `file`
quiesce.yaml:2:3: tokens: none has the role `sync`, so no enforcer could fetch its snapshot: add one
"#);
}

#[test]
fn what_is_kept_of_writes_must_make_sense() {
    let yaml = "\
surfaces: [{ name: shop }]
intents:
  max_bytes: 2000
  headers: [Accept, host]
  tenant_header: quiesce-pass
  surfaces:
    shop: { order_by: { header: 'x y' }, max_total_bytes: 1000 }
    shp: { key: required }
    other: { order_by: { path: '/{line}' } }
";
    insta::assert_snapshot!(error(yaml), @r#"
quiesce.yaml:4:13: intents.headers[0]: `Accept` is no name of a header; write it in lower case
quiesce.yaml:4:21: intents.headers[1]: `host` belongs to one connection, and is made anew for every sending
quiesce.yaml:5:18: intents.tenant_header: `quiesce-pass` belongs to Quiesce itself
quiesce.yaml:7:33: intents.surfaces.shop.order_by.header: `x y` is no name of a header; write it in lower case
quiesce.yaml:7:59: intents.surfaces.shop.max_total_bytes: 1000 is less than intents.max_bytes, 2000
quiesce.yaml:8:10: intents.surfaces.shp: no surface has this name; say one of `surfaces`, or `other` for the rest
"#);
    let no_line = error("intents: { order_by: { path: /accounts } }");
    assert!(no_line.contains("`/accounts` has 0 segments `{line}`"), "{no_line}");
}
