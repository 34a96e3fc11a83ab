//! Looking a rule up must give what trying all rules one by one gives.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what is missing here fails its test")]

use proptest::prelude::*;
use quiesce_policy::{
    Basis, HeaderBlock, Policy, Request,
    snapshot::{Action, Effect, Epoch, HeaderCondition, Rule, Snapshot, Surface, SurfaceName},
};

/// A rule as this test generates it: few words, so that rules overlap all the time.
fn rule() -> impl Strategy<Value = Rule> {
    let segment = prop_oneof![
        4 => Just("a"), 4 => Just("b"), 1 => Just("B"), 1 => Just("ab"), 3 => Just("{x}"), 1 => Just("{x}:go"), 1 => Just("a-{x}"),
    ];
    let path = (prop::collection::vec(segment, 1..4), prop_oneof![4 => Just(""), 1 => Just("/{*rest}")])
        .prop_map(|(segments, rest)| format!("/{}{rest}", number(&segments.join("/"))));
    let methods = prop_oneof![Just(vec![]), Just(vec!["GET".to_owned()]), Just(vec!["POST".to_owned()])];
    let header = prop_oneof![
        3 => Just(None),
        1 => Just(Some(HeaderCondition { name: "op".to_owned(), value: Some("Get".to_owned()) })),
        1 => Just(Some(HeaderCondition { name: "op".to_owned(), value: None })),
    ];
    let saying = prop_oneof![
        Just((Effect::Read, None)),
        Just((Effect::Write, None)),
        Just((Effect::Write, Some(Action::Allow))),
        Just((Effect::Write, Some(Action::Queue))),
    ];
    (methods, path, header, saying).prop_map(|(methods, path, header, (effect, action))| Rule {
        methods,
        header,
        action,
        ..Rule::new(&[], &path, effect)
    })
}

/// Parameters of one pattern need names of their own.
fn number(path: &str) -> String {
    path.split("{x}")
        .enumerate()
        .map(|(at, part)| if at == 0 { part.to_owned() } else { format!("{{x{at}}}{part}") })
        .collect()
}

fn request_path() -> impl Strategy<Value = String> {
    let segment = prop_oneof![3 => Just("a"), 3 => Just("b"), 1 => Just("B"), 1 => Just("ab"), 1 => Just("a:go"), 1 => Just("a-b"), 1 => Just("a-b:go:go")];
    (prop::collection::vec(segment, 1..5), prop::bool::weighted(0.2))
        .prop_map(|(segments, slash)| format!("/{}{}", segments.join("/"), if slash { "/" } else { "" }))
}

/// Whether `pattern` (in Quiesce's own syntax) covers `path`, by trying everything.
fn covers(pattern: &str, path: &str) -> bool {
    match pattern.split_once('{') {
        None => pattern == path,
        Some((literal, rest)) => {
            let Some((name, after)) = rest.split_once('}') else { return false };
            let Some(tail) = path.strip_prefix(literal) else { return false };
            let longest =
                if name.starts_with('*') { tail.len() } else { tail.find('/').unwrap_or(tail.len()) };
            (1..=longest).any(|length| covers(after, &tail[length..]))
        }
    }
}

/// Literal before parameter before rest, from left to right.
fn rank(pattern: &str) -> Vec<u8> {
    let mut rank = Vec::new();
    let mut inside = false;
    let mut bytes = pattern.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' => {
                inside = true;
                rank.push(if bytes.peek() == Some(&b'*') { 3 } else { 2 });
            }
            b'}' => inside = false,
            b'/' if !inside => rank.push(1),
            _ if !inside => rank.push(0),
            _ => {}
        }
    }
    if pattern.ends_with('}') {
        rank.push(4);
    }
    rank
}

fn stops(rule: &Rule) -> bool {
    rule.effect == Effect::Write && rule.action != Some(Action::Allow)
}

/// Whether the rule speaks of the request; what stops is compared generously.
fn applies(rule: &Rule, method: &str, path: &str, op: Option<&str>) -> bool {
    let by_method = rule.methods.is_empty() || rule.methods.iter().any(|one| one == method);
    let by_header = match (&rule.header, op) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(HeaderCondition { value: None, .. }), Some(_)) => true,
        (Some(HeaderCondition { value: Some(value), .. }), Some(op)) => {
            if stops(rule) {
                value.eq_ignore_ascii_case(op)
            } else {
                value == op
            }
        }
    };
    let by_path = if stops(rule) {
        let pattern = rule.path.to_ascii_lowercase();
        let path = path.to_ascii_lowercase();
        let bare = path.trim_end_matches('/');
        let rest = pattern.strip_suffix("/{*rest}");
        [path.as_str(), bare].iter().any(|path| covers(&pattern, path))
            || rest.is_some_and(|rest| covers(rest, bare))
    } else {
        covers(&rule.path, path)
    };
    by_method && by_header && by_path
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn looking_up_equals_trying_all(
        rules in prop::collection::vec(rule(), 1..8),
        method in prop_oneof![Just("GET"), Just("POST"), Just("PUT")],
        path in request_path(),
        op in prop_oneof![Just(None), Just(Some("Get")), Just(Some("GET")), Just(Some("Put"))],
    ) {
        let surface = Surface {
            name: SurfaceName::from("s"), hosts: vec![], path_prefix: "/".to_owned(), mode: None, catalogs: vec![], rules: rules.clone(), read_only: Default::default(),
        };
        let snapshot = Snapshot { version: Epoch(1), surfaces: vec![surface], ..Snapshot::default() };
        // Rules that say the same twice are refused as unreachable.
        let Ok(policy) = Policy::compile(&snapshot) else { return Ok(()) };
        let mut headers: Vec<(&[u8], &[u8])> =
            vec![(b":method", method.as_bytes()), (b":path", path.as_bytes()), (b":authority", b"h")];
        headers.extend(op.map(|op| (&b"op"[..], op.as_bytes())));
        let classified = policy.classify(&Request::read(HeaderBlock::new(&headers).headers()));

        let speaking: Vec<&Rule> = rules.iter().filter(|rule| applies(rule, method, &path, op)).collect();
        let best = speaking.iter().map(|rule| rank(&rule.path)).min();
        match (classified.basis, best) {
            (Basis::Method, None) => {}
            (Basis::Rule(at), Some(best)) => {
                let chosen = &rules[at.rule.0];
                prop_assert!(speaking.contains(&chosen), "{chosen:?} does not speak of {method} {path}");
                let deciding: Vec<_> = speaking.iter().filter(|rule| rank(&rule.path) == best).collect();
                prop_assert!(
                    deciding.iter().any(|rule| rule.effect == chosen.effect) || stops(chosen),
                    "{method} {path} {op:?}: chose {chosen:?} over {deciding:?}"
                );
            }
            (basis, best) => prop_assert!(false, "{method} {path} {op:?}: {basis:?}, but {best:?} of {speaking:?}"),
        }
    }
}
