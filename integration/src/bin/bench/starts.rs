//! How exactly planned windows begin, with the companion and without it.

use std::time::Duration;

use anyhow::{Result, ensure};
use quiesce_integration::{
    stack::{Stack, StackOptions},
    starts::begin,
};

use crate::{freezes::thaw, report::Report};

/// Windows that begin by themselves on several Envoys.
pub async fn measure(report: &mut Report, quick: bool) -> Result<()> {
    let rounds = if quick { 1 } else { 10 };
    let mut stack = Stack::start(StackOptions { envoys: 3, ..StackOptions::default() }).await?;
    for (companion_is_up, name) in [(true, "with the companion"), (false, "without the companion")] {
        let (mut refused, mut passed) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..rounds {
            let (id, begun) = begin(&mut stack, companion_is_up).await?;
            ensure!(begun.len() == stack.envoys.len(), "an Envoy is missing");
            refused = begun.iter().map(|it| it.refused_after).fold(refused, Duration::max);
            passed = begun.iter().map(|it| it.passed_until).fold(passed, Duration::max);
            if !companion_is_up {
                stack.companion.restart().await?;
            }
            thaw(&stack.companion, &id).await?;
        }
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let figure = format!("starting on the second, {name}: last first refusal");
        report.target(&figure, ms(refused), "ms", 50.0);
        report.note("the same: the last write that passed was sent", ms(passed), "ms");
    }
    Ok(())
}
