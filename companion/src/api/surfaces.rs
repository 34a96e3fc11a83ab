//! What was seen of observed surfaces: enforcers report it, and operators ask for it.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use quiesce_policy::sync::SeenReport;

use super::{Fault, StrictJson};
use crate::{
    service::Service,
    view::{ProblemView, SurfacesView},
};

/// What was seen of observed surfaces since the companion started, and what decided.
#[utoipa::path(
    get, path = "/v1/surfaces", tag = "surfaces",
    responses((status = 200, body = SurfacesView)), security(("token" = ["viewer"])),
)]
pub async fn list(State(service): State<Arc<Service>>) -> Json<SurfacesView> {
    Json(service.surfaces_view())
}

/// Report what was seen of observed surfaces.
///
/// The body is `quiesce_policy::sync::SeenReport`.
#[utoipa::path(
    post, path = "/v1/seen", tag = "sync",
    request_body(content = Object, description = "The report: quiesce_policy::sync::SeenReport"),
    responses(
        (status = 204, description = "Added up"),
        (status = "4XX", body = ProblemView, content_type = "application/problem+json"),
    ),
    security(("token" = ["sync"])),
)]
pub async fn seen(
    State(service): State<Arc<Service>>,
    StrictJson(report): StrictJson<SeenReport>,
) -> Result<StatusCode, Fault> {
    service.saw(report)?;
    Ok(StatusCode::NO_CONTENT)
}
