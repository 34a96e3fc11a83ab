//! Every way in which a barrier holds, waits, or cannot be proven.

use super::*;

/// A live, connected member on the roster that has not acknowledged.
fn member(id: &str) -> Member {
    Member {
        id: id.into(),
        instance: "1".into(),
        live: true,
        connected: true,
        succeeded: false,
        heard_since_start: true,
        booted_into_window: false,
        in_force: false,
        settled: false,
        in_flight: 0,
        unaccounted: 0,
        cut: 0,
        rejected: None,
    }
}

fn settled(id: &str) -> Member {
    Member { in_force: true, settled: true, ..member(id) }
}

fn lost(member: Member) -> Member {
    Member { live: false, connected: false, ..member }
}

fn roster(ids: &[&str]) -> Vec<RosterEntry> {
    ids.iter().map(|id| RosterEntry { id: (*id).into(), instance: "1".into(), cut: 0 }).collect()
}

fn ask(roster: &[RosterEntry], members: &[Member]) -> Barrier {
    evaluate(&Question { started: true, roster, members, ..Question::default() })
}

#[track_caller]
fn assert_says(barrier: &Barrier, weight: Weight, words: &str) {
    let found = barrier.problems.iter().any(|one| one.weight == weight && one.message.contains(words));
    assert!(found, "no {weight:?} problem says `{words}`: {:?}", barrier.problems);
}

#[test]
fn holds_when_every_enforcer_has_it_in_force_and_no_write_runs() {
    let barrier = ask(&roster(&["a", "b"]), &[settled("a"), settled("b")]);
    assert_eq!(barrier.verdict, Verdict::Proven);
    assert_eq!((barrier.acknowledged, barrier.total, barrier.in_flight), (2, 2, 0));
    assert_eq!(barrier.problems, []);
}

#[test]
fn waits_for_who_has_not_acknowledged_and_for_writes_that_run() {
    let running = Member { in_force: true, in_flight: 3, ..member("b") };
    let barrier = ask(&roster(&["a", "b", "c"]), &[settled("a"), running.clone(), member("c")]);
    assert_eq!(barrier.verdict, Verdict::Pending);
    assert_eq!((barrier.acknowledged, barrier.total, barrier.in_flight), (2, 3, 3));
    let states: Vec<_> = barrier.enforcers.iter().map(|one| one.state).collect();
    assert_eq!(states, [EnforcerState::Quiesced, EnforcerState::Draining, EnforcerState::Pending]);
    assert!(!barrier.is_in_force());
    let barrier = ask(&roster(&["a", "b"]), &[settled("a"), running]);
    assert_eq!(barrier.verdict, Verdict::Pending);
    assert!(barrier.is_in_force(), "this is what makes the phase `draining`");
}

#[test]
fn writes_admitted_after_zero_was_reported_are_outside_the_scope() {
    let busy_elsewhere = Member { in_flight: 7, ..settled("a") };
    let barrier = ask(&roster(&["a"]), &[busy_elsewhere]);
    assert_eq!((barrier.verdict, barrier.in_flight), (Verdict::Proven, 0));
}

#[test]
fn no_enforcers_are_no_proof_unless_none_are_expected() {
    let nobody = ask(&[], &[]);
    assert_eq!(nobody.verdict, Verdict::Pending);
    assert_says(&nobody, Weight::Waiting, "no enforcer is connected");
    let expected = evaluate(&Question { started: true, expect: Some(0), ..Question::default() });
    assert_eq!(expected.verdict, Verdict::Proven);
}

#[test]
fn fewer_than_expected_are_waited_for() {
    let ask = |expect, members: &[Member]| {
        evaluate(&Question { started: true, expect: Some(expect), members, ..Question::default() })
    };
    let barrier = ask(2, &[settled("a")]);
    assert_eq!(barrier.verdict, Verdict::Pending);
    assert_says(&barrier, Weight::Waiting, "2 enforcers are expected, 1 connected");
    assert_eq!(ask(2, &[settled("a"), settled("b")]).verdict, Verdict::Proven);
    assert_eq!(ask(2, &[settled("a"), lost(settled("b"))]).verdict, Verdict::Pending);
}

#[test]
fn an_enforcer_lost_before_it_reported_makes_it_unproven() {
    let members = [settled("a"), lost(member("b"))];
    let barrier = ask(&roster(&["a", "b"]), &members);
    assert_eq!(barrier.verdict, Verdict::Unproven);
    assert_eq!((barrier.acknowledged, barrier.total), (1, 2));
    assert_says(&barrier, Weight::Lost, "was lost before it reported");
    assert_eq!(barrier.problems[0].enforcer, Some("b".into()));

    let draining = lost(Member { in_force: true, in_flight: 1, ..member("b") });
    let barrier = ask(&roster(&["a", "b"]), &[settled("a"), draining]);
    assert_eq!((barrier.verdict, barrier.in_flight), (Verdict::Unproven, 1));
}

#[test]
fn a_loss_is_no_verdict_while_others_are_under_way() {
    let barrier = ask(&roster(&["a", "b"]), &[member("a"), lost(member("b"))]);
    assert_eq!(barrier.verdict, Verdict::Pending, "it may come back");
}

#[test]
fn an_enforcer_lost_after_it_reported_zero_takes_nothing_back() {
    let barrier = ask(&roster(&["a", "b"]), &[settled("a"), lost(settled("b"))]);
    assert_eq!((barrier.verdict, barrier.acknowledged, barrier.total), (Verdict::Proven, 2, 2));
    assert_says(&barrier, Weight::Warning, "no longer heard of");
}

#[test]
fn an_enforcer_lost_before_the_window_is_named_only() {
    let before = lost(Member { heard_since_start: false, ..member("b") });
    let barrier = ask(&roster(&["a"]), &[settled("a"), before]);
    assert_eq!((barrier.verdict, barrier.total), (Verdict::Proven, 1));
    assert_says(&barrier, Weight::Warning, "was already lost when the window began");
}

#[test]
fn who_came_later_with_a_snapshot_of_its_own_counts_like_the_roster() {
    let barrier = ask(&roster(&["a"]), &[settled("a"), lost(member("b"))]);
    assert_eq!(barrier.verdict, Verdict::Unproven);
    let booted = lost(Member { booted_into_window: true, ..member("b") });
    let barrier = ask(&roster(&["a"]), &[settled("a"), booted]);
    assert_eq!(barrier.verdict, Verdict::Proven, "it held writes until it had the window");
}

#[test]
fn a_newcomer_is_waited_for() {
    let booted = Member { booted_into_window: true, ..member("b") };
    let barrier = ask(&roster(&["a"]), &[settled("a"), booted]);
    assert_eq!((barrier.verdict, barrier.total), (Verdict::Pending, 2));
}

#[test]
fn a_restart_before_zero_was_reported_can_never_be_proven() {
    let old = Member { succeeded: true, connected: false, in_flight: 2, ..member("a") };
    let new = Member { instance: "2".into(), ..settled("a") };
    let barrier = ask(&roster(&["a"]), &[old, new]);
    assert_eq!(barrier.verdict, Verdict::Unproven);
    assert_says(&barrier, Weight::Final, "restarted before it reported");
}

#[test]
fn a_restart_after_zero_was_reported_is_replaced() {
    let old = Member { succeeded: true, connected: false, ..settled("a") };
    let new = Member { instance: "2".into(), ..settled("a") };
    let barrier = ask(&roster(&["a"]), &[old.clone(), new]);
    assert_eq!((barrier.verdict, barrier.total), (Verdict::Proven, 1));
    assert_eq!(barrier.enforcers[0].state, EnforcerState::Replaced);
    let pending = Member { instance: "2".into(), ..member("a") };
    assert_eq!(ask(&roster(&["a"]), &[old, pending]).verdict, Verdict::Pending);
}

#[test]
fn a_restart_before_the_window_is_no_matter() {
    let old = Member { succeeded: true, connected: false, heard_since_start: false, ..member("a") };
    let new = Member { instance: "2".into(), ..settled("a") };
    let roster = [RosterEntry { id: "a".into(), instance: "2".into(), cut: 0 }];
    let barrier = ask(&roster, &[old, new]);
    assert_eq!((barrier.verdict, barrier.total), (Verdict::Proven, 1));
}

#[test]
fn two_live_processes_of_one_id_both_count() {
    let second = Member { instance: "2".into(), ..member("a") };
    let barrier = ask(&roster(&["a"]), &[settled("a"), second]);
    assert_eq!((barrier.verdict, barrier.acknowledged, barrier.total), (Verdict::Pending, 1, 2));
    assert_says(&barrier, Weight::Warning, "2 live processes share this id");
}

#[test]
fn lost_count_can_never_be_proven() {
    let trapped = Member { in_force: true, unaccounted: 2, ..member("a") };
    let barrier = ask(&roster(&["a"]), &[trapped]);
    assert_eq!((barrier.verdict, barrier.unaccounted), (Verdict::Unproven, 2));
    assert_says(&barrier, Weight::Final, "lost count of 2 writes");
}

#[test]
fn replays_of_this_companion_and_of_one_that_stopped_are_waited_for() {
    let (roster, members) = (roster(&["a"]), [settled("a")]);
    let ask = |started, running, earlier| {
        let replays = Replays { running, earlier };
        evaluate(&Question { started, roster: &roster, members: &members, replays, ..Question::default() })
    };
    let barrier = ask(true, 2, 0);
    assert_eq!((barrier.verdict, barrier.replays), (Verdict::Pending, 2));
    assert_says(&barrier, Weight::Waiting, "2 writes of the backfill are still running");
    assert!(barrier.is_in_force(), "it drains");
    let barrier = ask(true, 0, 1);
    assert_eq!((barrier.verdict, barrier.replays), (Verdict::Pending, 1));
    assert_says(&barrier, Weight::Waiting, "1 write of the backfill was on the way when a companion stopped");
    assert_eq!(ask(true, 0, 0).verdict, Verdict::Proven);
    assert_eq!(ask(false, 2, 0).replays, 0, "before it begins they are as free to run as any write");
}

#[test]
fn observing_proves_nothing() {
    let (roster, members) = (roster(&["a"]), [settled("a")]);
    let question = Question { started: true, roster: &roster, members: &members, ..Question::default() };
    let barrier = evaluate(&Question { observe: true, ..question.clone() });
    assert_eq!(barrier.verdict, Verdict::Unproven);
    assert_says(&barrier, Weight::Final, "observe mode");
    let surfaces = ["search".to_owned()];
    let barrier = evaluate(&Question { observed_surfaces: &surfaces, ..question });
    assert_eq!(barrier.verdict, Verdict::Proven);
    assert_says(&barrier, Weight::Warning, "writes to surface `search` pass");
}

#[test]
fn a_window_that_has_not_begun_is_not_proven() {
    let (roster, members) = (roster(&["a"]), [settled("a")]);
    let question = Question { roster: &roster, members: &members, ..Question::default() };
    assert_eq!(evaluate(&question).verdict, Verdict::Pending);
}

#[test]
fn a_snapshot_that_cannot_be_used_is_waited_for_and_named() {
    let stuck = Member { rejected: Some("surfaces[0].name: twice".to_owned()), ..member("a") };
    let barrier = ask(&roster(&["a"]), &[stuck]);
    assert_eq!(barrier.verdict, Verdict::Pending);
    assert_says(&barrier, Weight::Waiting, "surfaces[0].name: twice");
}

#[test]
fn forgotten_enforcers_are_named() {
    let barrier = ask(&roster(&["a", "b"]), &[settled("a")]);
    assert_eq!(barrier.verdict, Verdict::Proven, "an operator gave up on it");
    assert_says(&barrier, Weight::Warning, "was forgotten after the window began");
}

#[test]
fn only_writes_cut_since_the_start_are_counted() {
    let roster = [RosterEntry { id: "a".into(), instance: "1".into(), cut: 5 }];
    let cut = Member { cut: 7, ..settled("a") };
    let new = Member { cut: 1, ..settled("b") };
    assert_eq!(ask(&roster, &[cut, new]).cut, 3);
}

/// Whatever is known of three members, "proven" is never said while anything speaks against it.
#[test]
fn nothing_doubtful_is_ever_proven() {
    let flags = [false, true];
    let mut proven = 0;
    for bits in 0..256_u32 {
        let flag = |bit: u32| flags[usize::from(bits >> bit & 1 == 1)];
        let suspect = Member {
            live: flag(0),
            connected: flag(0),
            succeeded: flag(1),
            heard_since_start: flag(2),
            booted_into_window: flag(3),
            in_force: flag(4),
            settled: flag(5),
            in_flight: u64::from(flag(6)),
            unaccounted: u64::from(flag(7)),
            ..member("suspect")
        };
        for listed in [&["a", "suspect"][..], &["a"]] {
            let roster = roster(listed);
            let barrier = ask(&roster, &[settled("a"), suspect.clone()]);
            let exposed = listed.len() == 2 || (flag(2) && !flag(3));
            let admits = flag(0) && !flag(1) && !flag(4);
            let unsettled = exposed && !flag(5) && (!flag(0) || flag(1));
            let running = flag(0) && !flag(1) && flag(4) && !flag(5) && (flag(6) || flag(7));
            if barrier.verdict == Verdict::Proven {
                proven += 1;
                assert!(!admits && !unsettled && !running, "{suspect:?}: {barrier:?}");
            }
        }
    }
    assert!(proven > 0);
}
