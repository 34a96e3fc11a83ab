//! What others are told, for operators.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Path, State},
};
use quiesce_policy::snapshot::WindowId;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Fault, StrictJson, StrictQuery};
use crate::{
    auth::Caller,
    outbox::{
        DeliveryId, DeliveryState, Selection, Verdict,
        view::{
            DeliveriesChanged, DeliveryList, DeliverySelection, DeliveryView, PreviewRequest, PreviewView,
        },
    },
    service::Service,
    view::ProblemView,
};

type Shared = State<Arc<Service>>;

/// Which deliveries are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Listing {
    /// Only about this window.
    #[param(value_type = Option<String>)]
    window: Option<WindowId>,
    /// Only for this notifier.
    notifier: Option<String>,
    /// Only in this state.
    #[param(value_type = Option<String>)]
    state: Option<DeliveryState>,
    /// Only older ones than this.
    #[param(value_type = Option<String>)]
    before: Option<DeliveryId>,
    /// How many at most; 1000 is the most.
    limit: Option<u32>,
}

/// Deliveries, the newest first.
#[utoipa::path(
    get, path = "/v1/deliveries", tag = "deliveries", params(Listing),
    responses(
        (status = 200, body = DeliveryList),
        (status = "4XX", body = ProblemView, content_type = "application/problem+json"),
    ),
    security(("token" = ["viewer"])),
)]
pub async fn list(
    State(service): Shared,
    StrictQuery(query): StrictQuery<Listing>,
) -> Result<Json<DeliveryList>, Fault> {
    let Listing { window, notifier, state, before, limit } = query;
    let selection = Selection { ids: Vec::new(), window, notifier, state };
    Ok(Json(service.deliveries(selection, before, limit.unwrap_or(100)).await?))
}

/// One delivery, with what it says.
#[utoipa::path(
    get, path = "/v1/deliveries/{id}", tag = "deliveries", params(("id" = String, Path)),
    responses(
        (status = 200, body = DeliveryView),
        (status = "4XX", body = ProblemView, content_type = "application/problem+json"),
    ),
    security(("token" = ["viewer"])),
)]
pub async fn show(State(service): Shared, Path(id): Path<DeliveryId>) -> Result<Json<DeliveryView>, Fault> {
    Ok(Json(service.delivery(id).await?))
}

/// What would be said of a window, and to whom. Nothing is sent.
#[utoipa::path(
    post, path = "/v1/deliveries/preview", tag = "deliveries", request_body = PreviewRequest,
    responses(
        (status = 200, body = PreviewView),
        (status = "4XX", body = ProblemView, content_type = "application/problem+json"),
    ),
    security(("token" = ["viewer"])),
)]
pub async fn preview(
    State(service): Shared,
    Extension(caller): Extension<Caller>,
    StrictJson(asked): StrictJson<PreviewRequest>,
) -> Result<Json<PreviewView>, Fault> {
    Ok(Json(service.preview(caller, asked).await?))
}

/// Send deliveries again that were delivered, have failed or were cancelled.
#[utoipa::path(
    post, path = "/v1/deliveries/resend", tag = "deliveries", request_body = DeliverySelection,
    responses(
        (status = 200, body = DeliveriesChanged),
        (status = "4XX", body = ProblemView, content_type = "application/problem+json"),
    ),
    security(("token" = ["operator"])),
)]
pub async fn resend(
    State(service): Shared,
    Extension(caller): Extension<Caller>,
    StrictJson(selection): StrictJson<DeliverySelection>,
) -> Result<Json<DeliveriesChanged>, Fault> {
    Ok(Json(service.decide_deliveries(caller, selection, Verdict::Resend).await?))
}

/// Cancel deliveries that are pending, or have failed and need nobody's attention.
#[utoipa::path(
    post, path = "/v1/deliveries/cancel", tag = "deliveries", request_body = DeliverySelection,
    responses(
        (status = 200, body = DeliveriesChanged),
        (status = "4XX", body = ProblemView, content_type = "application/problem+json"),
    ),
    security(("token" = ["operator"])),
)]
pub async fn cancel(
    State(service): Shared,
    Extension(caller): Extension<Caller>,
    StrictJson(selection): StrictJson<DeliverySelection>,
) -> Result<Json<DeliveriesChanged>, Fault> {
    Ok(Json(service.decide_deliveries(caller, selection, Verdict::Cancel).await?))
}
