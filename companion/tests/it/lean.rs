//! What Envoy keeps from the filter, policy calls a read: by the matchers as they are printed, evaluated as
//! Envoy does.

use std::path::Path;

use proptest::prelude::*;
use quiesce::{
    catalog::Catalogs,
    config::Config,
    envoy::{Filter, Plugin},
    lean::Lean,
};
use quiesce_policy::{
    HeaderBlock, OVERRIDE_HEADERS, Policy, Request, Suspicion,
    snapshot::{Action, Effect, HeaderCondition, Rule, Snapshot, Surface, SurfaceName},
};
use serde_json::Value;

/// A matcher of Envoy, as far as lean filters use them.
enum Matcher {
    All(Vec<Matcher>),
    Any(Vec<Matcher>),
    Not(Box<Matcher>),
    Single(String, Option<regex::bytes::Regex>),
}

impl Matcher {
    fn read(json: &Value) -> Self {
        let (kind, value) = json.as_object().unwrap().iter().next().unwrap();
        match kind.as_str() {
            "and_matcher" | "or_matcher" => {
                let all: Vec<_> = value["predicate"].as_array().unwrap().iter().map(Self::read).collect();
                assert!(all.len() > 1, "Envoy wants at least two");
                if kind == "and_matcher" { Self::All(all) } else { Self::Any(all) }
            }
            "not_matcher" => Self::Not(Box::new(Self::read(value))),
            "single_predicate" => {
                let header = value["input"]["typed_config"]["header_name"].as_str().unwrap();
                let value = &value["value_match"];
                let regex = match &value["exact"] {
                    Value::String(exact) => regex::escape(exact),
                    _ => value["safe_regex"]["regex"].as_str().unwrap().to_owned(),
                };
                // RE2's `\C` is any byte, which `regex` cannot say.
                let regex = (regex != r"\C*").then(|| {
                    let whole = format!("^(?:{regex})$");
                    regex::bytes::RegexBuilder::new(&whole).unicode(false).build().unwrap()
                });
                Self::Single(header.to_owned(), regex)
            }
            other => panic!("{other}: say here what Envoy makes of it"),
        }
    }

    fn holds(&self, headers: &[(&str, &str)]) -> bool {
        match self {
            Self::All(all) => all.iter().all(|one| one.holds(headers)),
            Self::Any(any) => any.iter().any(|one| one.holds(headers)),
            Self::Not(one) => !one.holds(headers),
            Self::Single(header, regex) => {
                let values: Vec<_> =
                    headers.iter().filter(|(name, _)| name == header).map(|(_, value)| *value).collect();
                let value = values.join(",");
                !values.is_empty() && regex.as_ref().is_none_or(|regex| regex.is_match(value.as_bytes()))
            }
        }
    }
}

/// A policy, and what Envoy skips by its lean filter.
struct Judged {
    policy: Policy,
    skips: Option<Matcher>,
}

impl Judged {
    fn by(snapshot: &Snapshot) -> Option<Self> {
        let policy = Policy::compile(snapshot).ok()?;
        let plugin = Plugin::new("quiesce".to_owned(), "token".to_owned(), [].into());
        let filter = Filter { wasm: "filter.wasm".to_owned(), plugin, lean: Some(Lean::of(snapshot)) };
        let printed = filter.http_filter().unwrap().document();
        let filter: Value = serde_saphyr::from_str(&printed).unwrap();
        let matchers = &filter["typed_config"]["xds_matcher"]["matcher_list"]["matchers"];
        Some(Self { policy, skips: matchers.get(0).map(|matcher| Matcher::read(&matcher["predicate"])) })
    }

    fn skips(&self, headers: &[(&str, &str)]) -> bool {
        self.skips.as_ref().is_some_and(|skips| skips.holds(headers))
    }

    fn effect(&self, headers: &[(&str, &str)]) -> Effect {
        let bytes: Vec<_> = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        self.policy.classify(&Request::read(HeaderBlock::new(&bytes).headers())).effect
    }
}

fn request<'a>(method: &'a str, host: &'a str, path: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![(":method", method), (":authority", host), (":path", path)]
}

fn by_yaml(yaml: &str) -> Judged {
    Judged::by(&Config::from_yaml(yaml, "test.yaml").unwrap().snapshot().unwrap().0).unwrap()
}

#[test]
fn ordinary_reads_are_skipped_and_nothing_else() {
    let judged = by_yaml(
        "surfaces:
  - name: shop
    hosts: [shop.example.com, '*.shop.example.com']
    path_prefix: /api
    rules:
      - { methods: [GET], path: '/jobs/{id}/run', effect: write }
      - { path: '/admin.d/{*rest}', effect: write }
      - { methods: [POST], path: '/{*rest}', effect: write }
  - name: closed
    hosts: [closed.example.com]
    rules:
      - { path: '/{*rest}', effect: write }
",
    );
    let (shop, other) = ("shop.example.com", "other.example.com:8080");
    for (method, host, path) in [
        ("GET", shop, "/"),
        ("HEAD", shop, "/api/orders/7"),
        ("OPTIONS", shop, "/api/Orders/7/?page=2&sort=a,b"),
        ("GET", shop, "/api/jobs/7"),
        ("GET", shop, "/api/orders?_=1&page_max=2&_sort=a&&method=b&c?_method=d&_"),
        ("GET", shop, "/api/jobs/7/run/log"),
        ("GET", shop, "/api/adminXd/x"),
        ("GET", other, "/api/jobs/7/run"),
        ("GET", "xshop.example.com", "/api/jobs/7/run"),
        ("GET", other, "/a.b/...c/~d"),
        ("TRACE", "10.0.0.1", "/x"),
    ] {
        let headers = request(method, host, path);
        assert!(judged.skips(&headers), "{method} {host} {path}");
        assert_eq!(judged.effect(&headers), Effect::Read, "{method} {host} {path}");
    }
    for (method, host, path) in [
        ("POST", other, "/"),
        ("get", other, "/"),
        ("GET", shop, "/API/Jobs/7/RUN/"),
        ("GET", "SHOP.example.com.:80", "/api/jobs/7/run?x"),
        ("GET", "eu.shop.example.com", "/api/jobs/7/run"),
        ("GET", shop, "/api/admin.d"),
        ("GET", shop, "/api/admin.d/x/y"),
        ("GET", "closed.example.com", "/"),
        ("GET", "", "/"),
        ("GET", "a@b", "/"),
        ("GET", "[::1]", "/"),
        ("GET", other, "/.well-known/maintenance"),
        ("GET", other, "/.well-known/maintenance?x"),
        ("GET", other, "*"),
        ("GET", other, "//"),
        ("GET", other, "/a//b"),
        ("GET", other, "/a/../b"),
        ("GET", other, "/a/."),
        ("GET", other, "/a%2fb"),
        ("GET", other, "/a;b"),
        ("GET", other, r"/a\b"),
        ("GET", other, "/a#b"),
        ("GET", other, "/é"),
        ("GET", other, "/?_method=DELETE"),
        ("GET", other, "/?a&_Method"),
        ("GET", other, "/?_m"),
        ("GET", other, "/?%5fmethod=x"),
        ("GET", other, "/?a;b"),
    ] {
        assert!(!judged.skips(&request(method, host, path)), "{method} {host} {path}");
    }
    let long = format!("/{}", "a".repeat(10_000));
    assert!(!judged.skips(&request("GET", other, &long)));
}

/// Says of every suspicion which headers rouse it, so that a new one is not forgotten here.
#[test]
fn what_is_suspicious_is_not_skipped() {
    let judged = by_yaml("{}");
    let mut headers = Vec::new();
    let all = [Suspicion::MethodOverride, Suspicion::Upgrade, Suspicion::Incomplete];
    for suspicion in all {
        match suspicion {
            Suspicion::MethodOverride => {
                for name in OVERRIDE_HEADERS.map(|name| String::from_utf8(name.to_vec()).unwrap()) {
                    let dashes: Vec<_> = name.match_indices('-').map(|(at, _)| at).collect();
                    for spelling in 0..1 << dashes.len() {
                        let mut name = name.clone();
                        let under = dashes.iter().enumerate().filter(|(nth, _)| spelling >> nth & 1 == 1);
                        under.for_each(|(_, at)| name.replace_range(at..=at, "_"));
                        headers.push(name);
                    }
                }
            }
            Suspicion::Upgrade => headers.push("upgrade".to_owned()),
            // Envoy's matchers see all headers.
            Suspicion::Incomplete => {}
        }
    }
    assert_eq!(headers.len(), 17);
    for header in &headers {
        for value in ["", "é", "x"] {
            let mut asked = request("GET", "api.example.com", "/");
            asked.push((header, value));
            assert_eq!((judged.effect(&asked), judged.skips(&asked)), (Effect::Write, false), "{header}");
        }
    }
    for name in ["_method", ".method", "_METHOD", "a=b&_method", "_method.", "%5fmethod"] {
        let target = format!("/?{name}=DELETE");
        let asked = request("GET", "api.example.com", &target);
        assert!(!judged.skips(&asked) || judged.effect(&asked) == Effect::Read, "{name}");
    }
    assert!(judged.skips(&request("GET", "api.example.com", "/")));
}

#[test]
fn where_any_path_may_write_nothing_is_skipped() {
    let judged = by_yaml("surfaces: [{ name: all, rules: [{ path: '/{*rest}', effect: write }] }]");
    assert!(judged.skips.is_none());
}

#[test]
fn too_many_rules_are_no_reason_to_skip_more() {
    let paths =
        |count: usize| (0..count).map(|at| Rule::new(&[], &format!("/path/of/rule/{at}"), Effect::Write));
    let surface = |hosts: Vec<String>, name: &str, rules: Vec<Rule>| Surface {
        hosts,
        rules,
        ..Surface::named(SurfaceName::from(name))
    };
    let many = surface(vec!["many.example.com".to_owned()], "many", paths(5000).collect());
    let judged = Judged::by(&Snapshot { surfaces: vec![many], ..Snapshot::default() }).unwrap();
    assert!(!judged.skips(&request("GET", "many.example.com", "/x")));
    assert!(judged.skips(&request("GET", "few.example.com", "/x")));

    let surfaces: Vec<_> = (0..40)
        .zip(paths(40))
        .map(|(at, rule)| surface(vec![format!("h{at}.example.com")], &format!("h{at}"), vec![rule]))
        .collect();
    let judged = Judged::by(&Snapshot { surfaces, ..Snapshot::default() }).unwrap();
    for host in 0..40 {
        assert!(!judged.skips(&request(
            "GET",
            &format!("h{host}.example.com"),
            &format!("/path/of/rule/{host}")
        )));
    }
    assert!(judged.skips(&request("GET", "h1.example.com", "/path/of/rule/x")));
}

/// Method, path and headers.
type Operation = (String, String, Vec<(String, String)>);

/// What a client of a product sends, and what policy might be fooled with.
fn operations(catalog: &str) -> Vec<Operation> {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../policy/catalog/operations/{catalog}.jsonl"));
    let text = std::fs::read_to_string(file).unwrap();
    let value = |json: &Value| json.as_str().unwrap().to_owned();
    let pairs = |json: &Value| -> Vec<(String, String)> {
        let of = |name: &String, json: &Value| match json {
            Value::Array(values) => values.iter().map(|one| (name.clone(), value(one))).collect(),
            one => vec![(name.clone(), value(one))],
        };
        json.as_object().into_iter().flatten().flat_map(|(name, json)| of(name, json)).collect()
    };
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|json| (value(&json["method"]), value(&json["path"]), pairs(&json["headers"])))
        .collect()
}

#[test]
fn no_operation_of_a_catalog_that_writes_is_skipped() {
    for catalog in Catalogs::built_in().unwrap().iter() {
        let name = catalog.name.as_str();
        let mut config = Config::built_in().unwrap();
        config.describe_all_by(&[name.to_owned()]);
        let judged = Judged::by(&config.snapshot().unwrap().0).unwrap();
        let mut skipped = 0;
        for (method, path, headers) in operations(name) {
            for method in [method.as_str(), "GET", "HEAD", "OPTIONS", "TRACE"] {
                let upper = path.to_ascii_uppercase();
                for path in [&path, &upper, &format!("{path}/"), &path.replacen('/', "//", 2)] {
                    let mut asked = request(method, "api.example.com", path);
                    asked.extend(headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
                    if judged.skips(&asked) {
                        skipped += 1;
                        assert_eq!(judged.effect(&asked), Effect::Read, "{name}: {method} {path}");
                    }
                }
            }
        }
        assert!(skipped > 0, "{name}: some operation is skipped");
    }
}

fn rule() -> impl Strategy<Value = Rule> {
    let segment = prop_oneof![
        4 => Just("a"), 3 => Just("b"), 1 => Just("B"), 1 => Just("a.b"), 1 => Just("(+)"), 3 => Just("{x}"),
        1 => Just("{x}:go"), 1 => Just("a-{x}"),
    ];
    let tail = prop_oneof![6 => Just(""), 1 => Just("/{*rest}"), 1 => Just("-{*rest}"), 1 => Just("/")];
    let path = (prop::collection::vec(segment, 1..4), tail).prop_map(|(segments, tail)| {
        let segments = segments.into_iter().enumerate();
        let segments: Vec<_> = segments.map(|(at, one)| one.replace("{x}", &format!("{{x{at}}}"))).collect();
        format!("/{}{tail}", segments.join("/"))
    });
    let methods = prop_oneof![
        2 => Just(vec![]), 2 => Just(vec!["GET".to_owned()]), 1 => Just(vec!["HEAD".to_owned(), "POST".to_owned()]),
        1 => Just(vec!["POST".to_owned()]),
    ];
    let header = prop_oneof![
        3 => Just(None),
        1 => Just(Some(HeaderCondition { name: "op".to_owned(), value: Some("Get".to_owned()) })),
    ];
    let query = prop_oneof![3 => Just(vec![]), 1 => Just(vec![("q".to_owned(), "*".to_owned())])];
    let saying = prop_oneof![
        1 => Just((Effect::Read, None)),
        3 => Just((Effect::Write, None)),
        1 => Just((Effect::Write, Some(Action::Allow))),
        1 => Just((Effect::Write, Some(Action::Queue))),
        1 => Just((Effect::Write, Some(Action::Drop))),
    ];
    (methods, path, header, query, saying).prop_map(|(methods, path, header, query, (effect, action))| Rule {
        methods,
        header,
        query: query.into_iter().collect(),
        action,
        ..Rule::new(&[], &path, effect)
    })
}

fn surface() -> impl Strategy<Value = Surface> {
    let host = prop_oneof![
        Just("h.example"),
        Just("x.h.example"),
        Just("*.h.example"),
        Just("*.example"),
        Just("[::1]")
    ];
    let hosts = prop::collection::btree_set(host, 0..3);
    let prefix = prop_oneof![3 => Just("/"), 1 => Just("/a"), 1 => Just("/A/b"), 1 => Just("/.v")];
    let names: Vec<_> =
        Catalogs::built_in().unwrap().iter().map(|catalog| catalog.name.as_str().to_owned()).collect();
    let catalogs = prop_oneof![
        4 => Just(vec![]),
        1 => prop::sample::select(names).prop_map(|name| vec![name.as_str().into()]),
    ];
    (hosts, prefix, prop::collection::vec(rule(), 0..5), catalogs).prop_map(
        |(hosts, prefix, rules, catalogs)| Surface {
            hosts: hosts.into_iter().map(str::to_owned).collect(),
            path_prefix: prefix.to_owned(),
            catalogs,
            rules,
            ..Surface::named(SurfaceName::from("s"))
        },
    )
}

/// Few words, so that they meet the rules' words all the time, and all that is odd.
fn target() -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        8 => Just("a"), 6 => Just("b"), 2 => Just("B"), 1 => Just("a.b"), 1 => Just("(+)"), 1 => Just("a:go"),
        1 => Just("A-b"), 1 => Just(".v"), 1 => Just("..."), 1 => Just(""), 1 => Just("."), 1 => Just(".."),
        1 => Just("%61"), 1 => Just("a%2fb"), 1 => Just("a;b"), 1 => Just("\\"), 1 => Just("é"), 1 => Just("*"),
        1 => Just("_cat"), 1 => Just("graphql"), 1 => Just("v3"), 1 => Just("_FLUSH"),
    ];
    let query = prop_oneof![
        8 => Just("".to_owned()), 1 => Just("?".to_owned()), 1 => Just("?q=1".to_owned()),
        1 => Just("?_method=PUT".to_owned()), 1 => Just("?a&_METHOD".to_owned()), 1 => Just("?%5fmethod=x".to_owned()),
        1 => Just("?a;b=1".to_owned()), 1 => Just("?+_method=1".to_owned()), 1 => Just("?a?_method=1".to_owned()),
        1 => "\\?[ -~]{0,12}",
    ];
    let long = prop_oneof![60 => Just(0), 1 => Just(990), 1 => Just(8190)];
    (prop::collection::vec(segment, 1..5), prop::bool::weighted(0.2), query, long).prop_map(
        |(segments, slash, query, long)| {
            let slash = if slash { "/" } else { "" };
            format!("/{}{}{slash}{query}", segments.join("/"), "a".repeat(long))
        },
    )
}

fn host() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("h.example"),
        Just("H.Example."),
        Just("x.h.example:80"),
        Just("y.x.h.example"),
        Just("example"),
        Just("z"),
        Just("z:"),
        Just("z:x"),
        Just(""),
        Just("."),
        Just(".h.example"),
        Just("h.example.."),
        Just("[::1]"),
        Just("a@h.example"),
        Just("h.example,z"),
    ]
}

fn headers() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let header = prop_oneof![
        3 => Just(("op", "get")), 1 => Just(("upgrade", "h2c")), 1 => Just(("x-http-method-override", "PUT")),
        1 => Just(("x_http_method", "")), 1 => Just(("x-method_override", "é")), 2 => Just(("accept", "*/*")),
        1 => Just(("quiesce-pass", "x")), 1 => Just(("x-http-methods", "x")), 1 => Just(("host", "h.example")),
    ];
    prop_oneof![2 => Just(vec![]), 1 => prop::collection::vec(header, 1..3)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_skipped_is_a_read(
        mut surfaces in prop::collection::vec(surface(), 0..4),
        requests in prop::collection::vec(
            (prop_oneof![6 => Just("GET"), 2 => Just("HEAD"), 1 => Just("OPTIONS"), 1 => Just("TRACE"), 1 => Just("POST"),
             1 => Just("get")],
             host(), target(), headers()),
            40,
        ),
    ) {
        for (at, surface) in surfaces.iter_mut().enumerate() {
            surface.name = SurfaceName::from(format!("s{at}"));
        }
        let catalogs = Catalogs::built_in().unwrap().named_by(&surfaces);
        // Rules that say the same twice are refused as unreachable.
        let Some(judged) = Judged::by(&Snapshot { surfaces, catalogs, ..Snapshot::default() }) else { return Ok(()) };
        for (method, host, target, more) in &requests {
            let mut headers = request(method, host, target);
            headers.extend(more);
            if judged.skips(&headers) {
                prop_assert_eq!(judged.effect(&headers), Effect::Read, "{:?}", headers);
            }
        }
    }
}
