//! What every ledger keeps, whatever its database: each test takes one that is empty.

use quiesce::intents::{
    Accepted, Claim, Conclusion, Decision, IntentState, Ledger, LedgerLimits, NewIntent, Page, Payload,
    Selection, Totals,
};
use quiesce_policy::snapshot::WindowId;

pub use super::kit::*;

/// Declares a test for each part of the contract; `$empty` is an async function that makes an empty ledger
/// and returns it with whatever must live as long, or nothing where there is no such database.
macro_rules! ledger_contract {
    ($empty:path) => {
        $crate::ledger::contract::ledger_contract! { $empty =>
            an_intent_is_stored_once_and_comes_back,
            a_key_with_another_payload_is_told_apart,
            keys_are_scoped_by_surface_and_tenant,
            a_full_surface_takes_nothing_but_repetitions,
            of_each_line_one_is_taken_in_order,
            what_was_taken_is_nobody_elses_until_the_lease_ends,
            who_has_lost_an_intent_cannot_conclude_it,
            what_comes_later_waits_and_its_line_with_it,
            what_was_not_sent_is_as_it_was,
            a_refusal_lets_its_line_go_on_and_silence_stops_it,
            what_is_tried_again_comes_before_what_came_after_it,
            windows_that_are_not_over_are_left_alone,
            lists_are_narrowed_and_come_in_pages,
            decisions_leave_alone_what_is_on_its_way,
            totals_are_what_lists_say,
            a_window_is_held_for_until_all_of_its_intents_are_over,
            what_is_purged_is_gone_with_its_key,
            many_at_once_are_all_stored_once,
        }
    };
    ($empty:path => $($test:ident,)*) => {
        $(
            #[tokio::test]
            async fn $test() {
                if let Some((ledger, _alive)) = $empty().await {
                    $crate::ledger::contract::$test(&ledger).await;
                }
            }
        )*
    };
}
pub(crate) use ledger_contract;

pub async fn an_intent_is_stored_once_and_comes_back(ledger: &dyn Ledger) {
    let new = NewIntent {
        payload: Payload { head: vec![0, 255, 1], body: vec![9; 100_000], sealed_by: Some("k1".to_owned()) },
        tenant: "acme".to_owned(),
        ..intent("a")
    };
    let stored = store(ledger, new.clone()).await;
    assert_eq!(stored, new.record(stored.seq));
    assert_eq!((stored.size_bytes, stored.state), (100_003, IntentState::Held));
    let again = NewIntent { id: id("other"), received_at: START.plus_ms(5), ..new.clone() };
    assert_eq!(ledger.accept(again, AMPLE).await.unwrap(), Accepted::Repeated(stored.clone()));
    assert_eq!(ledger.intent(id("a")).await.unwrap(), Some(stored));
    assert_eq!(ledger.payload(id("a")).await.unwrap(), Some(new.payload));
    assert_eq!(ledger.intent(id("other")).await.unwrap(), None);
    assert_eq!(ledger.payload(id("other")).await.unwrap(), None);
}

pub async fn a_key_with_another_payload_is_told_apart(ledger: &dyn Ledger) {
    store(ledger, intent("a")).await;
    let other = NewIntent { id: id("b"), fingerprint: [8; 32], ..intent("a") };
    assert_eq!(ledger.accept(other, AMPLE).await.unwrap(), Accepted::KeyReused);
    assert_eq!(names(ledger, Selection::default()).await, ["a"]);
}

pub async fn keys_are_scoped_by_surface_and_tenant(ledger: &dyn Ledger) {
    store(ledger, intent("a")).await;
    let fingerprint = [8; 32];
    store(ledger, NewIntent { id: id("b"), surface: "docs".to_owned(), fingerprint, ..intent("a") }).await;
    store(ledger, NewIntent { id: id("c"), tenant: "acme".to_owned(), fingerprint, ..intent("a") }).await;
    assert_eq!(names(ledger, Selection::default()).await, ["a", "b", "c"]);
}

pub async fn a_full_surface_takes_nothing_but_repetitions(ledger: &dyn Ledger) {
    let offer = |name: &str, limits| ledger.accept(intent(name), limits);
    let two = LedgerLimits { count: 2, ..AMPLE };
    let first = store(ledger, intent("a")).await;
    assert!(matches!(offer("b", two).await.unwrap(), Accepted::Stored(_)));
    assert_eq!(offer("c", two).await.unwrap(), Accepted::FullByCount);
    assert_eq!(offer("a", two).await.unwrap(), Accepted::Repeated(first.clone()));
    let reused = NewIntent { fingerprint: [1; 32], ..intent("a") };
    assert_eq!(ledger.accept(reused, two).await.unwrap(), Accepted::KeyReused);
    let tight = LedgerLimits { bytes: 3 * first.size_bytes - 1, ..AMPLE };
    assert_eq!(offer("c", tight).await.unwrap(), Accepted::FullByBytes);
    let exact = LedgerLimits { bytes: 3 * first.size_bytes, ..AMPLE };
    assert!(matches!(offer("c", exact).await.unwrap(), Accepted::Stored(_)));
    // Another surface has room of its own.
    let elsewhere = NewIntent { surface: "docs".to_owned(), ..intent("d") };
    assert!(matches!(ledger.accept(elsewhere, two).await.unwrap(), Accepted::Stored(_)));
    // What is over takes no room; what stops its line does.
    assert_eq!(take(ledger, "one", START).await, ["a", "b", "c", "d"]);
    assert!(conclude(ledger, "a", "one", Conclusion::Done(answer(201)), START).await);
    assert!(conclude(ledger, "b", "one", Conclusion::GivenUp(silence()), START).await);
    assert_eq!(offer("e", two).await.unwrap(), Accepted::FullByCount);
    assert!(conclude(ledger, "c", "one", Conclusion::Refused(answer(422)), START).await);
    assert!(matches!(offer("e", two).await.unwrap(), Accepted::Stored(_)));
}

pub async fn of_each_line_one_is_taken_in_order(ledger: &dyn Ledger) {
    for (name, line) in [("a1", "/a"), ("b1", "/b"), ("a2", "/a"), ("a3", "/a")] {
        store(ledger, in_line(name, line)).await;
    }
    // The same line of another surface is another line.
    let elsewhere = NewIntent { surface: "docs".to_owned(), ..in_line("x1", "/a") };
    store(ledger, elsewhere).await;
    let first = ledger.claim(claim("one", START, 1)).await.unwrap();
    assert_eq!(first.iter().map(name).collect::<Vec<_>>(), ["a1"], "the oldest first");
    assert_eq!((first[0].state, first[0].attempts), (IntentState::Replaying, 1));
    assert_eq!(ledger.intent(id("a1")).await.unwrap().as_ref(), first.first());
    assert_eq!(take(ledger, "one", START).await, ["b1", "x1"]);
    assert!(take(ledger, "one", START).await.is_empty());
    for (done, next) in [("a1", "a2"), ("a2", "a3")] {
        assert!(conclude(ledger, done, "one", Conclusion::Done(answer(200)), START).await);
        assert_eq!(take(ledger, "one", START).await, [next]);
    }
    let done = ledger.intent(id("a1")).await.unwrap().unwrap();
    assert_eq!((done.state, done.outcome), (IntentState::Done, Some(answer(200))));
}

pub async fn what_was_taken_is_nobody_elses_until_the_lease_ends(ledger: &dyn Ledger) {
    store(ledger, in_line("a1", "/a")).await;
    store(ledger, in_line("a2", "/a")).await;
    assert_eq!(take(ledger, "one", START).await, ["a1"]);
    let late = START.plus_ms(LEASE_MS - 1);
    assert!(take(ledger, "two", late).await.is_empty());
    let over = START.plus_ms(LEASE_MS);
    let taken = ledger.claim(claim("two", over, 10)).await.unwrap();
    assert_eq!((taken.len(), name(&taken[0]).as_str(), taken[0].attempts), (1, "a1", 2));
    assert!(take(ledger, "three", over).await.is_empty());
}

pub async fn who_has_lost_an_intent_cannot_conclude_it(ledger: &dyn Ledger) {
    store(ledger, intent("a")).await;
    let done = || Conclusion::Done(answer(200));
    assert!(!conclude(ledger, "a", "one", done(), START).await, "it was never taken");
    take(ledger, "one", START).await;
    assert!(!conclude(ledger, "a", "two", done(), START).await);
    let over = START.plus_ms(LEASE_MS);
    take(ledger, "two", over).await;
    assert!(!conclude(ledger, "a", "one", done(), over).await);
    assert_eq!(state(ledger, "a").await, IntentState::Replaying);
    assert!(conclude(ledger, "a", "two", done(), over).await);
    assert!(!conclude(ledger, "a", "two", done(), over).await, "a second time says nothing new");
    assert!(!conclude(ledger, "nothing", "two", done(), over).await);
}

pub async fn what_comes_later_waits_and_its_line_with_it(ledger: &dyn Ledger) {
    store(ledger, in_line("a1", "/a")).await;
    store(ledger, in_line("a2", "/a")).await;
    take(ledger, "one", START).await;
    let at = START.plus_ms(500);
    let later = Conclusion::Later { at, outcome: answer(503) };
    assert!(conclude(ledger, "a1", "one", later, START).await);
    let held = ledger.intent(id("a1")).await.unwrap().unwrap();
    assert_eq!((held.state, held.attempts, held.next_attempt_at), (IntentState::Held, 1, at));
    assert_eq!(held.outcome, Some(answer(503)));
    assert!(take(ledger, "one", START.plus_ms(499)).await.is_empty());
    assert_eq!(take(ledger, "one", at).await, ["a1"]);
}

pub async fn what_was_not_sent_is_as_it_was(ledger: &dyn Ledger) {
    store(ledger, in_line("a", "/l")).await;
    store(ledger, in_line("b", "/l")).await;
    take(ledger, "one", START).await;
    let at = START.plus_ms(10);
    conclude(ledger, "a", "one", Conclusion::Later { at, outcome: silence() }, START).await;
    let before = ledger.intent(id("a")).await.unwrap().unwrap();
    assert_eq!(take(ledger, "one", at).await, ["a"]);
    assert!(conclude(ledger, "a", "one", Conclusion::Unsent, START).await);
    assert_eq!(ledger.intent(id("a")).await.unwrap().unwrap(), before);
    assert_eq!(take(ledger, "two", at).await, ["a"], "at once, and still before what came after it");
}

pub async fn a_refusal_lets_its_line_go_on_and_silence_stops_it(ledger: &dyn Ledger) {
    for name in ["a1", "a2", "a3"] {
        store(ledger, in_line(name, "/a")).await;
    }
    take(ledger, "one", START).await;
    assert!(conclude(ledger, "a1", "one", Conclusion::Refused(answer(422)), START).await);
    assert_eq!(state(ledger, "a1").await, IntentState::Failed);
    assert_eq!(take(ledger, "one", START).await, ["a2"]);
    assert!(conclude(ledger, "a2", "one", Conclusion::GivenUp(silence()), START).await);
    let stopped = ledger.intent(id("a2")).await.unwrap().unwrap();
    assert_eq!((stopped.state, stopped.stops_line), (IntentState::Failed, true));
    let much_later = START.plus_ms(10 * LEASE_MS);
    assert!(take(ledger, "one", much_later).await.is_empty());
    // One that comes now waits as well.
    store(ledger, in_line("a4", "/a")).await;
    assert!(take(ledger, "one", much_later).await.is_empty());
    assert_eq!(decide(ledger, only(&["a2"]), Decision::Discard, much_later).await, 1);
    assert!(!ledger.intent(id("a2")).await.unwrap().unwrap().stops_line);
    assert_eq!(take(ledger, "one", much_later).await, ["a3"]);
}

pub async fn what_is_tried_again_comes_before_what_came_after_it(ledger: &dyn Ledger) {
    for name in ["a1", "a2", "a3"] {
        store(ledger, in_line(name, "/a")).await;
    }
    take(ledger, "one", START).await;
    assert!(conclude(ledger, "a1", "one", Conclusion::Refused(answer(422)), START).await);
    // a2 has the turn and gives it back.
    assert_eq!(decide(ledger, in_state(IntentState::Failed), Decision::Retry, START).await, 1);
    let again = ledger.intent(id("a1")).await.unwrap().unwrap();
    assert_eq!((again.state, again.attempts), (IntentState::Held, 0));
    assert_eq!(again.outcome.unwrap().note.as_deref(), Some("ann says so"));
    assert_eq!(take(ledger, "one", START).await, ["a1"]);
    assert!(conclude(ledger, "a1", "one", Conclusion::Refused(answer(422)), START).await);
    // While a2 is on its way nothing else of its line is sent.
    assert_eq!(take(ledger, "one", START).await, ["a2"]);
    assert_eq!(decide(ledger, only(&["a1"]), Decision::Retry, START).await, 1);
    assert!(take(ledger, "one", START).await.is_empty());
    let later = Conclusion::Later { at: START.plus_ms(9), outcome: silence() };
    assert!(conclude(ledger, "a2", "one", later, START).await);
    assert_eq!(take(ledger, "one", START).await, ["a1"]);
    assert!(conclude(ledger, "a1", "one", Conclusion::Done(answer(200)), START).await);
    assert!(take(ledger, "one", START).await.is_empty());
    assert_eq!(take(ledger, "one", START.plus_ms(9)).await, ["a2"]);
    // What stopped its line goes on with it.
    assert!(conclude(ledger, "a2", "one", Conclusion::GivenUp(silence()), START).await);
    assert_eq!(decide(ledger, only(&["a2"]), Decision::Retry, START).await, 1);
    assert_eq!(take(ledger, "one", START).await, ["a2"]);
}

pub async fn windows_that_are_not_over_are_left_alone(ledger: &dyn Ledger) {
    let of = |name: &str, window: &str| NewIntent { window: WindowId::from(window), ..intent(name) };
    store(ledger, of("a", "w1")).await;
    store(ledger, of("b", "w2")).await;
    store(ledger, of("c", "w3")).await;
    let but = Claim { but_of_windows: vec!["w1".into(), "w3".into()], ..claim("one", START, 10) };
    let taken = ledger.claim(but).await.unwrap();
    assert_eq!(taken.iter().map(name).collect::<Vec<_>>(), ["b"]);
    assert_eq!(take(ledger, "one", START).await, ["a", "c"]);
}

pub async fn lists_are_narrowed_and_come_in_pages(ledger: &dyn Ledger) {
    for (index, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
        let surface = if index % 2 == 0 { "shop" } else { "docs" }.to_owned();
        let received_at = START.plus_ms(index as u64);
        store(ledger, NewIntent { surface, received_at, ..intent(name) }).await;
    }
    let held = in_state(IntentState::Held);
    let shop = Selection { surface: Some("shop".to_owned()), ..Selection::default() };
    let early = Selection { received_before: Some(START.plus_ms(2)), ..Selection::default() };
    assert_eq!(names(ledger, held.clone()).await, ["a", "b", "c", "d"]);
    assert_eq!(names(ledger, shop.clone()).await, ["a", "c"]);
    assert_eq!(names(ledger, early).await, ["a", "b"]);
    assert_eq!(names(ledger, only(&["d", "a", "nothing"])).await, ["a", "d"]);
    let both = Selection { surface: Some("docs".to_owned()), ..only(&["d", "a"]) };
    assert_eq!(names(ledger, both).await, ["d"]);
    assert!(names(ledger, in_state(IntentState::Done)).await.is_empty());
    for selection in [Selection::default(), held, shop] {
        let whole = ledger.list(selection.clone(), Page { after: 0, limit: 100 }).await.unwrap();
        assert!(whole.is_sorted_by_key(|record| record.seq));
        let mut page = Page { after: 0, limit: 1 };
        for record in &whole {
            let found = ledger.list(selection.clone(), page).await.unwrap();
            assert_eq!(found, std::slice::from_ref(record));
            page.after = record.seq;
        }
        assert!(ledger.list(selection, page).await.unwrap().is_empty());
    }
}

pub async fn decisions_leave_alone_what_is_on_its_way(ledger: &dyn Ledger) {
    for name in ["held", "sent", "done"] {
        store(ledger, intent(name)).await;
    }
    take(ledger, "one", START).await;
    assert!(conclude(ledger, "done", "one", Conclusion::Done(answer(200)), START).await);
    let later = Conclusion::Later { at: START, outcome: silence() };
    assert!(conclude(ledger, "held", "one", later, START).await);
    assert_eq!(decide(ledger, Selection::default(), Decision::Retry, START).await, 0);
    assert_eq!(decide(ledger, Selection::default(), Decision::Discard, START).await, 1);
    assert_eq!(state(ledger, "held").await, IntentState::Discarded);
    assert_eq!(state(ledger, "sent").await, IntentState::Replaying);
    assert_eq!(state(ledger, "done").await, IntentState::Done);
    assert!(conclude(ledger, "sent", "one", Conclusion::Done(answer(200)), START).await);
}

pub async fn a_window_is_held_for_until_all_of_its_intents_are_over(ledger: &dyn Ledger) {
    let (ours, others) = (WindowId::from("w1"), WindowId::from("w2"));
    assert!(!ledger.holds_for(ours.clone()).await.unwrap());
    // Not the first of its line: no turn has come to it.
    store(ledger, NewIntent { window: others.clone(), ..in_line("first", "/a") }).await;
    store(ledger, in_line("second", "/a")).await;
    for window in [&ours, &others] {
        assert!(ledger.holds_for(window.clone()).await.unwrap(), "{window}");
    }
    assert_eq!(take(ledger, "one", START).await, ["first"]);
    assert!(ledger.holds_for(others.clone()).await.unwrap(), "it is on its way");
    assert!(conclude(ledger, "first", "one", Conclusion::Done(answer(201)), START).await);
    assert!(!ledger.holds_for(others).await.unwrap());
    assert_eq!(take(ledger, "one", START).await, ["second"]);
    assert!(conclude(ledger, "second", "one", Conclusion::GivenUp(silence()), START).await);
    assert!(
        !ledger.holds_for(ours.clone()).await.unwrap(),
        "what has failed waits for an operator, not for its turn"
    );
    assert_eq!(decide(ledger, only(&["second"]), Decision::Retry, START).await, 1);
    assert!(ledger.holds_for(ours).await.unwrap());
}

pub async fn totals_are_what_lists_say(ledger: &dyn Ledger) {
    assert!(ledger.totals().await.unwrap().is_empty());
    for (index, name) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        let received_at = START.plus_ms(index as u64);
        store(ledger, NewIntent { received_at, ..intent(name) }).await;
    }
    let now = START.plus_ms(10);
    assert_eq!(take(ledger, "one", now).await, ["a", "b", "c", "d", "e"]);
    assert!(conclude(ledger, "a", "one", Conclusion::Done(answer(200)), now).await);
    assert!(conclude(ledger, "b", "one", Conclusion::GivenUp(silence()), now).await);
    assert!(conclude(ledger, "c", "one", Conclusion::Later { at: now, outcome: silence() }, now).await);
    store(ledger, NewIntent { received_at: now, surface: "docs".to_owned(), ..intent("x") }).await;
    let mut totals = ledger.totals().await.unwrap();
    totals.sort_by_key(|total| (total.surface.clone(), total.state));
    let total = |surface: &str, state, count, oldest: Option<u64>| Totals {
        surface: surface.to_owned(),
        state,
        count,
        bytes: count * 5,
        oldest: oldest.map(|ms| START.plus_ms(ms)),
    };
    assert_eq!(
        totals,
        [
            total("docs", IntentState::Held, 1, Some(10)),
            total("shop", IntentState::Held, 1, Some(2)),
            total("shop", IntentState::Replaying, 2, Some(3)),
            total("shop", IntentState::Done, 1, None),
            total("shop", IntentState::Failed, 1, None),
        ]
    );
}

pub async fn what_is_purged_is_gone_with_its_key(ledger: &dyn Ledger) {
    for name in ["done", "gone", "failed", "held"] {
        store(ledger, in_line(name, name)).await;
    }
    take(ledger, "one", START).await;
    assert!(conclude(ledger, "done", "one", Conclusion::Done(answer(200)), START).await);
    assert!(conclude(ledger, "failed", "one", Conclusion::GivenUp(silence()), START).await);
    let later = Conclusion::Later { at: START, outcome: silence() };
    assert!(conclude(ledger, "gone", "one", later, START).await);
    assert_eq!(decide(ledger, only(&["gone"]), Decision::Discard, START.plus_ms(1)).await, 1);
    assert_eq!(ledger.purge(START, 10).await.unwrap(), 0, "not before its time");
    assert_eq!(ledger.purge(START.plus_ms(10), 1).await.unwrap(), 1);
    assert_eq!(ledger.intent(id("done")).await.unwrap(), None);
    assert_eq!(ledger.payload(id("done")).await.unwrap(), None);
    assert_eq!(ledger.purge(START.plus_ms(10), 10).await.unwrap(), 1);
    assert_eq!(ledger.purge(START.plus_ms(10), 10).await.unwrap(), 0);
    assert_eq!(names(ledger, Selection::default()).await, ["failed", "held"]);
    // The key may be used again; its place in the order is a new one.
    let last = ledger.intent(id("held")).await.unwrap().unwrap().seq;
    let again = NewIntent { fingerprint: [9; 32], ..intent("done") };
    assert!(store(ledger, again).await.seq > last);
}

pub async fn many_at_once_are_all_stored_once(ledger: &dyn Ledger) {
    // Two of each key, all at the same time.
    let offers = (0..400).map(|number: u32| {
        let (key, copy) = (number / 2, number % 2);
        ledger.accept(NewIntent { id: id(&format!("{key}-{copy}")), ..intent(&key.to_string()) }, AMPLE)
    });
    let answers = join_all(offers).await;
    let mut stored = Vec::new();
    for pair in answers.chunks(2) {
        let records: Vec<_> = pair
            .iter()
            .map(|accepted| match accepted {
                Accepted::Stored(record) | Accepted::Repeated(record) => record,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(records[0], records[1]);
        assert_eq!(pair.iter().filter(|accepted| matches!(accepted, Accepted::Stored(_))).count(), 1);
        stored.push(records[0].seq);
    }
    stored.sort_unstable();
    stored.dedup();
    assert_eq!(stored.len(), 200);
    let listed = ledger.list(Selection::default(), Page { after: 0, limit: 1_000 }).await.unwrap();
    assert_eq!(listed.iter().map(|record| record.seq).collect::<Vec<_>>(), stored);
}
