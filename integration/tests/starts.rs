//! A planned window begins at its very second on every Envoy, whether the companion is there or not.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use quiesce_integration::{
    stack::{Stack, StackOptions},
    starts::begin,
};

/// What a machine may take that does much else.
const BOUND: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread")]
async fn windows_begin_on_the_second_with_the_companion_and_without() {
    let mut stack = Stack::start(StackOptions { envoys: 2, ..StackOptions::default() }).await.unwrap();
    for companion_is_up in [true, false] {
        let (id, begun) = begin(&mut stack, companion_is_up).await.unwrap();
        assert_eq!(begun.len(), 2);
        assert!(
            begun.iter().all(|it| it.refused_after < BOUND && it.passed_until < BOUND),
            "companion up: {companion_is_up}: {begun:?}"
        );
        if companion_is_up {
            stack.companion.run(&["thaw", &id]).await.unwrap();
        }
    }
}
