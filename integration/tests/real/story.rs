//! What every client goes through: open, frozen, thawed.

use crate::{
    client::{Client, Outcome, Step},
    front::Front,
};

/// What a refused client is told.
pub const TOLD: &str = "Read-only until ";

/// One client goes through Envoy, another around it to see what is stored.
pub async fn freeze_and_thaw(front: &Front, through: &mut impl Client, around: &mut impl Client) {
    all_work(through.run(Step::Write).await);
    let read = all_work(through.run(Step::Read).await);
    let stored = all_work(around.run(Step::Read).await);

    front.freeze().await;
    let before = front.requests().await;
    assert_same(&all_work(through.run(Step::Read).await), &read);
    assert!(front.requests().await >= before + read.len() as u64, "reads were answered by the client itself");
    all_refused(through.run(Step::Write).await);
    through.run(Step::Ruin).await.into_iter().for_each(assert_refused);
    assert_same(&all_work(around.run(Step::Read).await), &stored);
    assert_same(&all_work(through.run(Step::Read).await), &read);

    front.thaw().await;
    all_work(through.run(Step::Write).await);
    all_work(through.run(Step::Read).await);
}

fn all_work(outcomes: Vec<Outcome>) -> Vec<Outcome> {
    assert!(!outcomes.is_empty(), "nothing was tried");
    for Outcome { operation, result } in &outcomes {
        assert!(result.is_ok(), "{operation}: {result:?}");
    }
    outcomes
}

fn all_refused(outcomes: Vec<Outcome>) {
    assert!(!outcomes.is_empty(), "nothing was tried");
    outcomes.into_iter().for_each(assert_refused);
}

fn assert_refused(Outcome { operation, result }: Outcome) {
    assert!(
        result.as_ref().is_err_and(|error| error.contains(TOLD)),
        "{operation} was not refused: {result:?}"
    );
}

fn assert_same(now: &[Outcome], before: &[Outcome]) {
    assert_eq!(now.len(), before.len());
    for (now, before) in now.iter().zip(before) {
        assert_eq!(now, before, "read while frozen, and before");
    }
}
