//! The enforcers, and passes for who may write past them.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Path, State},
    http::StatusCode,
};
use quiesce_policy::snapshot::EnforcerId;

use super::{Fault, StrictJson};
use crate::{
    auth::Caller,
    service::Service,
    view::{FleetView, NewPass, PassView, ProblemView},
};

/// Every enforcer known, lost ones included.
#[utoipa::path(
    get, path = "/v1/fleet", tag = "fleet",
    responses((status = 200, body = FleetView)), security(("token" = ["viewer"])),
)]
pub async fn list(State(service): State<Arc<Service>>) -> Json<FleetView> {
    Json(service.fleet_view())
}

/// Give up on an enforcer that is lost.
#[utoipa::path(
    delete, path = "/v1/fleet/{id}", tag = "fleet", params(("id" = String, Path)),
    responses(
        (status = 204, description = "Forgotten"),
        (status = "4XX", body = ProblemView, content_type = "application/problem+json"),
    ),
    security(("token" = ["operator"])),
)]
pub async fn forget(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<EnforcerId>,
) -> Result<StatusCode, Fault> {
    service.forget(caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Issue a pass, with which somebody may write during a window.
#[utoipa::path(
    post, path = "/v1/passes", tag = "fleet", request_body = NewPass,
    responses(
        (status = 201, body = PassView, description = "The pass; it is kept nowhere"),
        (status = "4XX", body = ProblemView, content_type = "application/problem+json"),
    ),
    security(("token" = ["operator"])),
)]
pub async fn issue_pass(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    StrictJson(new): StrictJson<NewPass>,
) -> Result<(StatusCode, Json<PassView>), Fault> {
    Ok((StatusCode::CREATED, Json(service.issue_pass(caller, new).await?)))
}
