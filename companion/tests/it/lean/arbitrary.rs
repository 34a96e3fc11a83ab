//! Surfaces and requests by chance, made of few words so that they meet.

use proptest::prelude::*;
use quiesce::catalog::Catalogs;
use quiesce_policy::snapshot::{Action, Effect, HeaderCondition, Rule, Surface, SurfaceName};

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

pub fn surface() -> impl Strategy<Value = Surface> {
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
pub fn target() -> impl Strategy<Value = String> {
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

pub fn host() -> impl Strategy<Value = &'static str> {
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

pub fn headers() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let header = prop_oneof![
        3 => Just(("op", "get")), 1 => Just(("upgrade", "h2c")), 1 => Just(("x-http-method-override", "PUT")),
        1 => Just(("x_http_method", "")), 1 => Just(("x-method_override", "é")), 2 => Just(("accept", "*/*")),
        1 => Just(("quiesce-pass", "x")), 1 => Just(("x-http-methods", "x")), 1 => Just(("host", "h.example")),
    ];
    prop_oneof![2 => Just(vec![]), 1 => prop::collection::vec(header, 1..3)]
}
