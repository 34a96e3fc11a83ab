//! For consoles: who they are, and what happens, as it happens.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Extension, Json,
    extract::State,
    http::StatusCode,
    response::{
        IntoResponse as _, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Fault, problem};
use crate::{
    auth::{Caller, Role},
    console::{Looker, Sample},
    service::Service,
    view::ProblemView,
};

/// Who calls.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Whoami {
    /// The name of the token used.
    pub name: String,
    /// What it may do.
    pub role: Role,
}

/// Who calls, and what they may do.
#[utoipa::path(
    get, path = "/v1/whoami", tag = "console",
    responses((status = 200, body = Whoami)), security(("token" = ["viewer"])),
)]
pub async fn whoami(Extension(caller): Extension<Caller>) -> Json<Whoami> {
    Json(Whoami { name: caller.name, role: caller.role })
}

/// What happens, as server-sent events: first `state`, `events` and `history`, then `state`, `events` and `sample`
/// whenever there is another. `state` is a `LiveState`, `events` are the latest, the newest first.
#[utoipa::path(
    get, path = "/v1/live", tag = "console",
    responses(
        (status = 200, body = str, content_type = "text/event-stream"),
        (status = 503, body = ProblemView, content_type = "application/problem+json"),
    ),
    security(("token" = ["viewer"])),
)]
pub async fn live(State(service): State<Arc<Service>>) -> Result<Response, Fault> {
    let Some(looker) = service.look_on().await? else {
        let detail = "as many consoles as may are looking".to_owned();
        let hint = "close one, or use `quiesce status --watch`";
        return Ok(problem::plain(StatusCode::SERVICE_UNAVAILABLE, "consoles-full", detail, hint));
    };
    let told = stream::unfold(looker, async |mut looker: Looker| {
        let told = looker.next().await?;
        Some((Ok::<_, Infallible>(Event::default().event(told.kind).data(&*told.json)), looker))
    });
    Ok(Sse::new(told).keep_alive(KeepAlive::default()).into_response())
}

/// What the fleet did over the last hour, in steps of two seconds, oldest first.
#[utoipa::path(
    get, path = "/v1/history", tag = "console",
    responses((status = 200, body = Vec<Sample>)), security(("token" = ["viewer"])),
)]
pub async fn history(State(service): State<Arc<Service>>) -> Json<Vec<Sample>> {
    Json(service.history())
}
