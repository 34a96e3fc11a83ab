//! `POST /v1/sync`: enforcers report and wait for the next snapshot. The way a freeze travels, so
//! nothing here waits for anything but the snapshot itself.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use quiesce_policy::{
    snapshot::Epoch,
    sync::{EPOCH_HEADER, SyncRequest},
};
use tokio::time::sleep_until;

use crate::{
    api::{Fault, StrictJson},
    fleet::MAX_WAIT_MS,
    service::{Published, Service},
    view::ProblemView,
};

/// Report what is in force, and fetch the snapshot when it is another.
///
/// Answers 200 with the snapshot at once if its version is another than `applied`; otherwise holds
/// for `wait_ms` and answers 204. The body is `quiesce_policy::sync::SyncRequest`.
#[utoipa::path(
    post, path = "/v1/sync", tag = "sync",
    request_body(content = Object, description = "The report: quiesce_policy::sync::SyncRequest"),
    responses(
        (status = 200, body = Object, description = "The snapshot: quiesce_policy::snapshot::Snapshot",
         headers(("quiesce-epoch" = u64, description = "Its version"))),
        (status = 204, description = "Nothing new",
         headers(("quiesce-epoch" = u64, description = "The version published"))),
        (status = "4XX", body = ProblemView, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemView, content_type = "application/problem+json"),
    ),
    security(("token" = ["sync"])),
)]
pub async fn sync(
    State(service): State<Arc<Service>>,
    StrictJson(request): StrictJson<SyncRequest>,
) -> Result<Response, Fault> {
    let applied = request.applied;
    let rejected = request.rejected.as_ref().map(|rejected| rejected.version);
    let wait = Duration::from_millis(request.wait_ms.min(MAX_WAIT_MS));
    // What the enforcer holds is compared to what is published from here on: nothing is missed.
    let mut published = service.follow();
    let mut shutdown = service.follow_shutdown();
    let deadline = tokio::time::Instant::now() + wait;
    let received = Instant::now();
    let poll = service.report(request).await?;
    service.metrics.report_taken(received.elapsed());
    let news = loop {
        let current = Arc::clone(&published.borrow_and_update());
        let is_news = current.epoch != applied && rejected != Some(current.epoch);
        if is_news || wait.is_zero() || *shutdown.borrow_and_update() {
            break (current, is_news);
        }
        tokio::select! {
            changed = published.changed() => if changed.is_err() { break (current, false) },
            _ = shutdown.changed() => {}
            () = sleep_until(deadline) => break (current, false),
        }
    };
    if let Some(poll) = poll {
        poll.answered();
    }
    Ok(match news {
        (current, true) => snapshot(&current),
        (current, false) => (StatusCode::NO_CONTENT, [epoch_header(current.epoch)]).into_response(),
    })
}

fn snapshot(published: &Published) -> Response {
    let body: Bytes = published.body.clone();
    let json = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let (name, epoch) = epoch_header(published.epoch);
    ([json], [(name, epoch)], body).into_response()
}

fn epoch_header(epoch: Epoch) -> (&'static str, HeaderValue) {
    (EPOCH_HEADER, HeaderValue::from(epoch.0))
}
