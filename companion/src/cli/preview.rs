//! What `quiesce announce --dry-run` shows: every word that others would be told, step by step.

use super::{
    Context,
    error::CliError,
    output::{DIM, GOOD},
};
use crate::outbox::view::{PreviewRequest, PreviewStep};

pub async fn show(context: &Context, asked: &PreviewRequest) -> Result<(), CliError> {
    let preview = context.client()?.preview(asked).await?;
    for step in &preview.steps {
        show_step(context, step)?;
    }
    if preview.steps.iter().all(|step| step.deliveries.is_empty()) {
        context.printer.line("nobody would be told: `notify` in the companion's configuration is empty");
    }
    context.printer.document(&preview)
}

fn show_step(context: &Context, step: &PreviewStep) -> Result<(), CliError> {
    let printer = context.printer;
    printer.line(format!("{GOOD}{}{GOOD:#}: {}", step.step.as_str(), step.title));
    for line in step.text.lines() {
        printer.line(format!("  {line}"));
    }
    for delivery in &step.deliveries {
        let payload = serde_json::to_string(&delivery.payload).map_err(CliError::internal)?;
        printer.line(format!("  {} ({}), to {}", delivery.notifier, delivery.kind.as_str(), delivery.to));
        printer.line(format!("    {DIM}{payload}{DIM:#}"));
    }
    printer.line("");
    Ok(())
}
