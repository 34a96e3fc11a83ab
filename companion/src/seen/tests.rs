//! The list against a plain reading of what it is to hold.

use std::collections::BTreeMap;

use proptest::prelude::*;
use quiesce_policy::snapshot::SurfaceName;

use super::{places::MAX_WORDS, *};

const SHOP: &str = "shop";

fn requests() -> SeenRequests {
    let shop = Surface::named(SurfaceName::from(SHOP));
    SeenRequests::new(&[shop], Timestamp::from_unix_ms(0))
}

fn seen(method: &str, path: &str) -> Seen {
    let effect = if method == "GET" { Effect::Read } else { Effect::Write };
    Seen {
        surface: SHOP.to_owned(),
        method: method.to_owned(),
        path: Some(path.to_owned()),
        call: None,
        effect,
        by: DecidedBy::Method,
        rule: None,
        count: 1,
    }
}

fn note(requests: &mut SeenRequests, seen: Seen) {
    requests.note(seen, true, Timestamp::from_unix_ms(1));
}

/// Methods and paths with their counts.
fn counts(requests: &SeenRequests) -> BTreeMap<(String, String), u64> {
    let mut counts = BTreeMap::new();
    for listed in requests.listed(SHOP) {
        let path = listed.path.unwrap_or_default();
        let before = counts.insert((listed.method.to_owned(), path.clone()), listed.tally.count);
        assert_eq!(before, None, "{path} is listed twice");
    }
    counts
}

fn count(requests: &SeenRequests, method: &str, path: &str) -> Option<u64> {
    counts(requests).get(&(method.to_owned(), path.to_owned())).copied()
}

#[test]
fn the_same_is_listed_once_with_the_first_time_and_the_last() {
    let mut requests = requests();
    for (at, count) in [(30, 2), (10, 3), (20, 4)] {
        requests.note(Seen { count, ..seen("POST", "/orders") }, true, Timestamp::from_unix_ms(at));
    }
    let listed = requests.listed(SHOP);
    let at = Timestamp::from_unix_ms;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].tally, Tally { count: 9, first_seen: at(10), last_seen: at(30) });
}

#[test]
fn too_many_words_at_one_place_are_names() {
    let mut requests = requests();
    for word in 0..MAX_WORDS {
        note(&mut requests, seen("POST", &format!("/w{word}/lines")));
    }
    assert_eq!(counts(&requests).len(), MAX_WORDS);
    // Another method is another list, and the root is no word.
    note(&mut requests, seen("PUT", "/one-more/lines"));
    note(&mut requests, seen("POST", "/"));
    assert_eq!(counts(&requests).len(), MAX_WORDS + 2);
    note(&mut requests, seen("POST", "/one-more/lines"));
    assert_eq!(count(&requests, "POST", "/{id}/lines"), Some(MAX_WORDS as u64 + 1));
    assert_eq!(count(&requests, "POST", "/"), Some(1));
    assert_eq!(counts(&requests).len(), 3);
    note(&mut requests, seen("POST", "/and-another/lines"));
    assert_eq!(count(&requests, "POST", "/{id}/lines"), Some(MAX_WORDS as u64 + 2));
}

#[test]
fn rules_are_named_only_while_they_are_in_use_and_unknown_surfaces_never() {
    let mut requests = requests();
    let ruled = Seen {
        path: None,
        by: DecidedBy::Rule,
        rule: Some(SeenRule { catalog: Some(1), index: 7 }),
        ..seen("POST", "/")
    };
    requests.note(ruled.clone(), true, Timestamp::default());
    requests.note(ruled.clone(), false, Timestamp::default());
    requests.note(Seen { surface: "gone".to_owned(), ..ruled }, true, Timestamp::default());
    let mut rules: Vec<_> = requests.listed(SHOP).iter().map(|listed| listed.basis.rule).collect();
    rules.sort();
    assert_eq!(rules, [None, Some((Some(1), 7))]);
    assert!(requests.listed("gone").is_empty());
    assert_eq!(requests.unlisted(), 1);
}

#[test]
fn what_clients_call_themselves_moves_no_cursor() {
    let mut requests = requests();
    note(
        &mut requests,
        Seen { call: Some("tools/call a\x1b[2J\n\u{202e}é".to_owned()), ..seen("P\tT", "/\x1b") },
    );
    let listed = requests.listed(SHOP);
    assert_eq!(listed[0].basis.call.as_deref(), Some("tools/call a\u{fffd}[2J\u{fffd}\u{fffd}é"));
    assert_eq!((listed[0].method, listed[0].path.as_deref()), ("P\u{fffd}T", Some("/{id}")));
}

#[test]
fn where_there_is_no_room_words_still_become_names() {
    let mut surface = SurfaceRequests::with_room_for(MAX_WORDS);
    let mut note = |word: usize| {
        let basis = Basis { by: DecidedBy::Method, rule: None, call: None };
        let tally = Tally { count: 1, first_seen: Timestamp::default(), last_seen: Timestamp::default() };
        surface.note(Effect::Write, "POST", &places::steps(&format!("/w{word}")), basis, tally)
    };
    assert_eq!((0..=MAX_WORDS).map(&mut note).sum::<u64>(), 0);
    assert_eq!(surface.listed()[0].tally.count, MAX_WORDS as u64 + 1);
}

#[test]
fn a_flood_of_reads_or_of_another_surface_hides_no_write() {
    let mut requests = requests();
    let call = |method: &str, call: usize| Seen { call: Some(format!("c{call}")), ..seen(method, "/rpc") };
    for at in 0..2 * MAX_LISTED {
        note(&mut requests, call("GET", at));
        note(&mut requests, Seen { surface: OTHER_SURFACE.to_owned(), ..call("POST", at) });
    }
    note(&mut requests, seen("POST", "/orders"));
    let orders = |listed: &Listed<'_>| listed.path.as_deref() == Some("/orders");
    assert!(requests.listed(SHOP).iter().any(orders));
    let listed = requests.listed(SHOP).len() + requests.listed(OTHER_SURFACE).len();
    assert_eq!(listed, MAX_LISTED);
    assert_eq!(requests.unlisted(), 3 * MAX_LISTED as u64 + 1);
}

/// What is to be listed, by a plain reading: of all paths, from the first segment on.
fn model(paths: Vec<(Vec<Step>, u64)>, before: &[Step], found: &mut BTreeMap<String, u64>) {
    let mut next: BTreeMap<Step, Vec<(Vec<Step>, u64)>> = BTreeMap::new();
    for (path, count) in paths {
        match path.split_first() {
            None => *found.entry(places::template(before).unwrap_or_default()).or_default() += count,
            Some((step, rest)) => next.entry(step.clone()).or_default().push((rest.to_vec(), count)),
        }
    }
    let words = next.keys().filter(|step| matches!(step, Step::Word(_))).count();
    if words > MAX_WORDS {
        let mut merged: BTreeMap<Step, Vec<_>> = BTreeMap::new();
        for (step, paths) in next {
            let step = if matches!(step, Step::Word(_)) { Step::Id } else { step };
            merged.entry(step).or_default().extend(paths);
        }
        next = merged;
    }
    for (step, paths) in next {
        model(paths, &[before, &[step]].concat(), found);
    }
}

fn path() -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        6 => (0..80_u8).prop_map(|word| format!("w{word}")),
        3 => (0..4_u8).prop_map(|word| format!("few{word}")),
        1 => Just("{id}".to_owned()),
        1 => Just(String::new()),
    ];
    let rest = prop_oneof![4 => Just(""), 1 => Just("/{*rest}")];
    (prop::collection::vec(segment, 1..5), rest)
        .prop_map(|(segments, rest)| format!("/{}{rest}", segments.join("/")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn counts_are_exact_in_whatever_order_reports_come(
        reports in prop::collection::vec((path(), 1..9_u64), 0..600),
    ) {
        let mut expected = BTreeMap::new();
        model(reports.iter().map(|(path, count)| (places::steps(path), *count)).collect(), &[], &mut expected);
        for backwards in [false, true] {
            let mut requests = requests();
            let mut reports = reports.clone();
            if backwards {
                reports.reverse();
            }
            for (path, count) in reports {
                note(&mut requests, Seen { count, ..seen("POST", &path) });
            }
            let writes = &requests.surfaces[SHOP].writes;
            let found: BTreeMap<_, _> =
                counts(&requests).into_iter().map(|((_, path), count)| (path, count)).collect();
            prop_assert_eq!(&found, &expected);
            prop_assert_eq!(writes.listed, found.len());
            prop_assert_eq!(requests.unlisted(), 0);
        }
    }

    #[test]
    fn whatever_comes_is_counted_and_no_write_goes_for_a_read(
        reports in prop::collection::vec((any::<bool>(), 0..12_u8, 1..9_u64), 0..100),
    ) {
        const ROOM: usize = 8;
        let mut surface = SurfaceRequests::with_room_for(ROOM);
        let (mut total, mut unlisted) = (0, 0);
        for (writes, word, count) in reports {
            let effect = if writes { Effect::Write } else { Effect::Read };
            let basis = Basis { by: DecidedBy::Method, rule: None, call: None };
            let tally = Tally { count, first_seen: Timestamp::default(), last_seen: Timestamp::default() };
            let before = surface.writes.listed;
            let steps = places::steps(&format!("/w{word}"));
            let dropped = surface.note(effect, "X", &steps, basis, tally);
            total += count;
            unlisted += dropped;
            let listed = surface.listed();
            prop_assert!(surface.writes.listed >= before);
            prop_assert_eq!(listed.len(), surface.reads.listed + surface.writes.listed);
            prop_assert!(listed.len() <= ROOM);
            prop_assert_eq!(listed.iter().map(|one| one.tally.count).sum::<u64>() + unlisted, total);
            if writes && dropped == count && surface.writes.listed == before {
                prop_assert_eq!(surface.reads.listed, 0, "a write is left out, and a read is not");
            }
        }
    }
}
