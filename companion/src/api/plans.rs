//! Plans: windows that recur.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Path, State},
    http::{HeaderName, StatusCode, header::LOCATION},
};

use super::{Fault, StrictJson};
use crate::{
    auth::Caller,
    plans::{NewPlan, PlanId, PlanList, PlanView, SkipOccurrence},
    service::Service,
    view::ProblemView,
};

type Shared = State<Arc<Service>>;

/// Plan windows that recur.
#[utoipa::path(
    post, path = "/v1/plans", tag = "windows", request_body = NewPlan,
    responses(
        (status = 201, body = PlanView, description = "On disk; its windows are issued ahead of their time"),
        (status = "4XX", body = ProblemView, content_type = "application/problem+json"),
    ),
    security(("token" = ["operator"])),
)]
pub async fn add(
    State(service): Shared,
    Extension(caller): Extension<Caller>,
    StrictJson(new): StrictJson<NewPlan>,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<PlanView>), Fault> {
    let plan = service.add_plan(caller, new).await?;
    let location = format!("/v1/plans/{}", plan.id);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(plan)))
}

/// The plans there are.
#[utoipa::path(
    get, path = "/v1/plans", tag = "windows",
    responses((status = 200, body = PlanList)), security(("token" = ["viewer"])),
)]
pub async fn list(State(service): Shared) -> Json<PlanList> {
    Json(PlanList { plans: service.plans() })
}

/// One plan.
#[utoipa::path(
    get, path = "/v1/plans/{id}", tag = "windows", params(("id" = String, Path)),
    responses(
        (status = 200, body = PlanView),
        (status = 404, body = ProblemView, content_type = "application/problem+json"),
    ),
    security(("token" = ["viewer"])),
)]
pub async fn show(State(service): Shared, Path(id): Path<PlanId>) -> Result<Json<PlanView>, Fault> {
    Ok(Json(service.plan(&id)?))
}

/// Take out one occurrence that is not issued yet.
#[utoipa::path(
    post, path = "/v1/plans/{id}/skip", tag = "windows", params(("id" = String, Path)),
    request_body = SkipOccurrence,
    responses(
        (status = 200, body = PlanView),
        (status = "4XX", body = ProblemView, content_type = "application/problem+json"),
    ),
    security(("token" = ["operator"])),
)]
pub async fn skip(
    State(service): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<PlanId>,
    StrictJson(skip): StrictJson<SkipOccurrence>,
) -> Result<Json<PlanView>, Fault> {
    Ok(Json(service.skip_occurrence(caller, id, skip.starts_at).await?))
}

/// Remove a plan; the windows that it has issued stay.
#[utoipa::path(
    delete, path = "/v1/plans/{id}", tag = "windows", params(("id" = String, Path)),
    responses(
        (status = 200, body = PlanView),
        (status = "4XX", body = ProblemView, content_type = "application/problem+json"),
    ),
    security(("token" = ["operator"])),
)]
pub async fn remove(
    State(service): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<PlanId>,
) -> Result<Json<PlanView>, Fault> {
    Ok(Json(service.remove_plan(caller, id).await?))
}
