//! Windows, their barriers and their events.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    extract::{Path, State},
    http::{HeaderName, StatusCode, header::LOCATION},
};
use quiesce_policy::snapshot::WindowId;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Fault, StrictJson, StrictQuery};
use crate::{
    auth::Caller,
    fleet::MAX_WAIT_MS,
    service::Service,
    view::{BarrierView, EventList, NewWindow, ProblemView, StatusView, WindowList, WindowView},
};

type Shared = State<Arc<Service>>;

/// What a list is narrowed by.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// How many at most; 1000 is the most.
    limit: Option<u32>,
}

/// Freeze now, or schedule a window.
#[utoipa::path(
    post, path = "/v1/windows", tag = "windows", request_body = NewWindow,
    responses(
        (status = 201, body = WindowView, description = "On disk, and on its way to every enforcer"),
        (status = "4XX", body = ProblemView, content_type = "application/problem+json"),
    ),
    security(("token" = ["operator"])),
)]
pub async fn create(
    State(service): Shared,
    Extension(caller): Extension<Caller>,
    StrictJson(new): StrictJson<NewWindow>,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<WindowView>), Fault> {
    let window = service.create(caller, new).await?;
    let location = format!("/v1/windows/{}", window.id);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(window)))
}

/// The latest windows, the newest first.
#[utoipa::path(
    get, path = "/v1/windows", tag = "windows", params(Page),
    responses((status = 200, body = WindowList)), security(("token" = ["viewer"])),
)]
pub async fn list(
    State(service): Shared,
    StrictQuery(page): StrictQuery<Page>,
) -> Result<Json<WindowList>, Fault> {
    let windows = service.windows(page.limit.unwrap_or(50)).await?;
    Ok(Json(WindowList { windows }))
}

/// One window.
#[utoipa::path(
    get, path = "/v1/windows/{id}", tag = "windows", params(("id" = String, Path)),
    responses(
        (status = 200, body = WindowView),
        (status = 404, body = ProblemView, content_type = "application/problem+json"),
    ),
    security(("token" = ["viewer"])),
)]
pub async fn show(State(service): Shared, Path(id): Path<WindowId>) -> Result<Json<WindowView>, Fault> {
    Ok(Json(service.window(id).await?))
}

/// What a barrier is waited for with.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Watch {
    /// The `revision` of the last answer; without one, the answer comes at once.
    after: Option<String>,
    /// How long to hold the request while nothing changes; milliseconds, 60000 at most.
    wait_ms: Option<u64>,
}

/// A window with its barrier, once that is another than it was.
#[utoipa::path(
    get, path = "/v1/windows/{id}/barrier", tag = "windows", params(("id" = String, Path), Watch),
    responses(
        (status = 200, body = BarrierView),
        (status = 404, body = ProblemView, content_type = "application/problem+json"),
    ),
    security(("token" = ["viewer"])),
)]
pub async fn watch(
    State(service): Shared,
    Path(id): Path<WindowId>,
    StrictQuery(query): StrictQuery<Watch>,
) -> Result<Json<BarrierView>, Fault> {
    let wait = Duration::from_millis(query.wait_ms.unwrap_or_default().min(MAX_WAIT_MS));
    Ok(Json(service.watch(id, query.after.as_deref(), wait).await?))
}

/// Open writes again.
#[utoipa::path(
    post, path = "/v1/windows/{id}/thaw", tag = "windows", params(("id" = String, Path)),
    responses(
        (status = 200, body = WindowView),
        (status = "4XX", body = ProblemView, content_type = "application/problem+json"),
    ),
    security(("token" = ["operator"])),
)]
pub async fn thaw(
    State(service): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<WindowId>,
) -> Result<Json<WindowView>, Fault> {
    Ok(Json(service.thaw(caller, id).await?))
}

/// Open writes again because the work is given up.
#[utoipa::path(
    post, path = "/v1/windows/{id}/abort", tag = "windows", params(("id" = String, Path)),
    responses(
        (status = 200, body = WindowView),
        (status = "4XX", body = ProblemView, content_type = "application/problem+json"),
    ),
    security(("token" = ["operator"])),
)]
pub async fn abort(
    State(service): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<WindowId>,
) -> Result<Json<WindowView>, Fault> {
    Ok(Json(service.abort(caller, id).await?))
}

/// Take back a window that has not begun.
#[utoipa::path(
    post, path = "/v1/windows/{id}/cancel", tag = "windows", params(("id" = String, Path)),
    responses(
        (status = 200, body = WindowView),
        (status = "4XX", body = ProblemView, content_type = "application/problem+json"),
    ),
    security(("token" = ["operator"])),
)]
pub async fn cancel(
    State(service): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<WindowId>,
) -> Result<Json<WindowView>, Fault> {
    Ok(Json(service.cancel(caller, id).await?))
}

/// Move a window's end, and that of its lease.
#[utoipa::path(
    post, path = "/v1/windows/{id}/extend", tag = "windows", params(("id" = String, Path)),
    request_body = crate::view::Extension,
    responses(
        (status = 200, body = WindowView),
        (status = "4XX", body = ProblemView, content_type = "application/problem+json"),
    ),
    security(("token" = ["operator"])),
)]
pub async fn extend(
    State(service): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<WindowId>,
    StrictJson(extension): StrictJson<crate::view::Extension>,
) -> Result<Json<WindowView>, Fault> {
    Ok(Json(service.extend(caller, id, extension).await?))
}

/// How things stand: the windows that are not over, and the fleet in numbers.
#[utoipa::path(
    get, path = "/v1/status", tag = "windows",
    responses((status = 200, body = StatusView)), security(("token" = ["viewer"])),
)]
pub async fn status(State(service): Shared) -> Json<StatusView> {
    let intents = service.intents_view().await;
    let backfill = service.backfill_summary(intents.as_ref());
    let deliveries = service.deliveries_summary().await.unwrap_or_else(|error| {
        tracing::error!(%error, "the deliveries could not be counted");
        None
    });
    Json(StatusView { intents, backfill, deliveries, ..service.status() })
}

/// What events are narrowed by.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Events {
    /// Only events with a larger `seq`.
    after: Option<u64>,
    /// Only events of this window.
    #[param(value_type = Option<String>)]
    window: Option<WindowId>,
    /// How many at most; 1000 is the most.
    limit: Option<u32>,
}

/// What happened, oldest first.
#[utoipa::path(
    get, path = "/v1/events", tag = "windows", params(Events),
    responses((status = 200, body = EventList)), security(("token" = ["viewer"])),
)]
pub async fn events(
    State(service): Shared,
    StrictQuery(query): StrictQuery<Events>,
) -> Result<Json<EventList>, Fault> {
    let after = query.after.unwrap_or_default();
    let events = service.events(after, query.window, query.limit.unwrap_or(100)).await?;
    Ok(Json(EventList { events }))
}
