//! Intents and their backfill, for operators.

use std::sync::Arc;

use axum::{
    Extension, Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderName, header::CONTENT_TYPE},
};
use quiesce_policy::time::Timestamp;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{Fault, StrictJson, StrictQuery};
use crate::{
    auth::Caller,
    backfill::view::{BackfillView, ExportedIntent, IntentList, IntentSelection, IntentView, IntentsChanged},
    intents::{Decision, IntentId, IntentState, Selection},
    service::Service,
    view::ProblemView,
};

type Shared = State<Arc<Service>>;

/// What intents are narrowed by.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Narrowing {
    /// Only intents of this surface.
    surface: Option<String>,
    /// Only intents in this state.
    state: Option<IntentState>,
    /// Only intents received before this.
    #[param(value_type = Option<String>, format = DateTime)]
    received_before: Option<Timestamp>,
}

/// What intents are narrowed by, and which part of them is meant.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Listing {
    /// Only intents of this surface.
    surface: Option<String>,
    /// Only intents in this state.
    state: Option<IntentState>,
    /// Only intents received before this.
    #[param(value_type = Option<String>, format = DateTime)]
    received_before: Option<Timestamp>,
    /// Only intents with a larger `seq`.
    after: Option<u64>,
    /// How many at most; 1000 is the most.
    limit: Option<u32>,
}

/// Asks for a pause.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPause {
    /// Why.
    reason: String,
}

/// Intents in the order of their acceptance.
#[utoipa::path(
    get, path = "/v1/intents", tag = "intents", params(Listing),
    responses(
        (status = 200, body = IntentList),
        (status = "4XX", body = ProblemView, content_type = "application/problem+json"),
    ),
    security(("token" = ["viewer"])),
)]
pub async fn list(
    State(service): Shared,
    StrictQuery(query): StrictQuery<Listing>,
) -> Result<Json<IntentList>, Fault> {
    let Listing { surface, state, received_before, after, limit } = query;
    let selection = Selection { ids: Vec::new(), surface, state, received_before };
    Ok(Json(service.intents(selection, after.unwrap_or_default(), limit.unwrap_or(100)).await?))
}

/// One intent, without what is sent.
#[utoipa::path(
    get, path = "/v1/intents/{id}", tag = "intents", params(("id" = String, Path)),
    responses(
        (status = 200, body = IntentView),
        (status = "4XX", body = ProblemView, content_type = "application/problem+json"),
    ),
    security(("token" = ["viewer"])),
)]
pub async fn show(State(service): Shared, Path(id): Path<IntentId>) -> Result<Json<IntentView>, Fault> {
    Ok(Json(service.intent(id).await?))
}

/// Have failed intents tried again.
#[utoipa::path(
    post, path = "/v1/intents/retry", tag = "intents", request_body = IntentSelection,
    responses(
        (status = 200, body = IntentsChanged),
        (status = "4XX", body = ProblemView, content_type = "application/problem+json"),
    ),
    security(("token" = ["operator"])),
)]
pub async fn retry(
    State(service): Shared,
    Extension(caller): Extension<Caller>,
    StrictJson(selection): StrictJson<IntentSelection>,
) -> Result<Json<IntentsChanged>, Fault> {
    Ok(Json(service.decide(caller, selection, Decision::Retry).await?))
}

/// Take back intents that are held or have failed: they are never sent.
#[utoipa::path(
    post, path = "/v1/intents/discard", tag = "intents", request_body = IntentSelection,
    responses(
        (status = 200, body = IntentsChanged),
        (status = "4XX", body = ProblemView, content_type = "application/problem+json"),
    ),
    security(("token" = ["operator"])),
)]
pub async fn discard(
    State(service): Shared,
    Extension(caller): Extension<Caller>,
    StrictJson(selection): StrictJson<IntentSelection>,
) -> Result<Json<IntentsChanged>, Fault> {
    Ok(Json(service.decide(caller, selection, Decision::Discard).await?))
}

/// Intents with all that they hold, a line of JSON each.
#[utoipa::path(
    get, path = "/v1/intents/export", tag = "intents", params(Narrowing),
    responses(
        (status = 200, body = ExportedIntent, content_type = "application/jsonl", description = "One a line"),
        (status = "4XX", body = ProblemView, content_type = "application/problem+json"),
    ),
    security(("token" = ["operator"])),
)]
pub async fn export(
    State(service): Shared,
    Extension(caller): Extension<Caller>,
    StrictQuery(query): StrictQuery<Narrowing>,
) -> Result<([(HeaderName, &'static str); 1], Body), Fault> {
    let Narrowing { surface, state, received_before } = query;
    let selection = Selection { ids: Vec::new(), surface, state, received_before };
    let lines = service.export(caller, selection).await?;
    Ok(([(CONTENT_TYPE, "application/jsonl")], Body::new(lines)))
}

/// How the backfill stands.
#[utoipa::path(
    get, path = "/v1/backfill", tag = "intents",
    responses((status = 200, body = BackfillView)), security(("token" = ["viewer"])),
)]
pub async fn backfill(State(service): Shared) -> Result<Json<BackfillView>, Fault> {
    Ok(Json(service.backfill_view().await?))
}

/// Replay nothing from now on, over restarts too.
#[utoipa::path(
    post, path = "/v1/backfill/pause", tag = "intents", request_body = NewPause,
    responses(
        (status = 200, body = BackfillView),
        (status = "4XX", body = ProblemView, content_type = "application/problem+json"),
    ),
    security(("token" = ["operator"])),
)]
pub async fn pause(
    State(service): Shared,
    Extension(caller): Extension<Caller>,
    StrictJson(pause): StrictJson<NewPause>,
) -> Result<Json<BackfillView>, Fault> {
    Ok(Json(service.pause_backfill(caller, pause.reason).await?))
}

/// Replay again.
#[utoipa::path(
    post, path = "/v1/backfill/resume", tag = "intents",
    responses((status = 200, body = BackfillView)), security(("token" = ["operator"])),
)]
pub async fn resume(
    State(service): Shared,
    Extension(caller): Extension<Caller>,
) -> Result<Json<BackfillView>, Fault> {
    Ok(Json(service.resume_backfill(caller).await?))
}
