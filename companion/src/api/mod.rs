//! The HTTP API under `/v1`, and the OpenAPI document generated from it.

mod backfill;
mod deliveries;
mod explain;
mod fleet;
mod guard;
mod health;
mod intents;
mod live;
mod ofrep;
mod plans;
mod problem;
mod public;
mod surfaces;
mod windows;

use std::sync::Arc;

use axum::{
    Extension, Router,
    extract::DefaultBodyLimit,
    http::{StatusCode, Uri},
    middleware,
    response::IntoResponse as _,
};
use utoipa::{
    Modify, OpenApi,
    openapi::OpenApi as OpenApiDocument,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};
use utoipa_axum::{router::OpenApiRouter, routes};

pub use self::problem::{Fault, StrictJson, StrictQuery};
use crate::{auth::Role, console, service::Service};

/// A report is no larger than this; its counters make most of it.
const SYNC_BODY_BYTES: usize = 1024 * 1024;
/// The headers of a write to be kept are no larger than this; Envoy itself takes 60 KiB.
const INTENT_HEAD_BYTES: usize = 64 * 1024;
/// Any other request is no larger than this.
const BODY_BYTES: usize = 64 * 1024;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Quiesce companion",
        description = "Freeze writes behind a fleet of proxies, prove that none is in flight, thaw."
    ),
    modifiers(&Bearer),
    tags(
        (name = "windows", description = "Freeze, prove, thaw"),
        (name = "intents", description = "Writes held while frozen, and how they are brought back"),
        (name = "deliveries", description = "What others are told of windows"),
        (name = "fleet", description = "The enforcers"),
        (name = "surfaces", description = "What was seen in observe mode"),
        (name = "console", description = "For people who watch: what happens, as it happens"),
        (name = "flags", description = "OpenFeature's remote evaluation protocol: may I write?"),
        (name = "sync", description = "For enforcers"),
        (name = "public", description = "What everybody may see, without a token"),
        (name = "health", description = "For whoever runs the companion"),
    )
)]
struct ApiDoc;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut OpenApiDocument) {
        let mut scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        scheme.description =
            Some("A token of the configuration; its role is named with each operation.".to_owned());
        let components = openapi.components.get_or_insert_with(Default::default);
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// Everything that the companion answers, the document that describes it included.
pub fn router(service: Arc<Service>) -> Router {
    let (open, open_doc) = OpenApiRouter::with_openapi(ApiDoc::openapi())
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(public::page))
        .routes(routes!(public::json))
        .routes(routes!(public::atom))
        .routes(routes!(public::calendar))
        .routes(routes!(public::style))
        .routes(routes!(public::script))
        .routes(routes!(public::banner))
        .split_for_parts();
    let (viewer, viewer_doc) = OpenApiRouter::<Arc<Service>>::new()
        .routes(routes!(windows::list))
        .routes(routes!(windows::show))
        .routes(routes!(windows::watch))
        .routes(routes!(windows::status))
        .routes(routes!(windows::events))
        .routes(routes!(plans::list))
        .routes(routes!(plans::show))
        .routes(routes!(fleet::list))
        .routes(routes!(surfaces::list))
        .routes(routes!(backfill::list))
        .routes(routes!(backfill::show))
        .routes(routes!(backfill::backfill))
        .routes(routes!(deliveries::list))
        .routes(routes!(deliveries::show))
        .routes(routes!(deliveries::preview))
        .routes(routes!(health::metrics))
        .routes(routes!(live::whoami))
        .routes(routes!(live::live))
        .routes(routes!(live::history))
        .routes(routes!(explain::explain))
        .routes(routes!(ofrep::evaluate))
        .routes(routes!(ofrep::evaluate_all))
        .routes(routes!(openapi))
        .split_for_parts();
    let (operator, operator_doc) = OpenApiRouter::<Arc<Service>>::new()
        .routes(routes!(windows::create))
        .routes(routes!(windows::thaw))
        .routes(routes!(windows::abort))
        .routes(routes!(windows::cancel))
        .routes(routes!(windows::extend))
        .routes(routes!(windows::post_update))
        .routes(routes!(plans::add))
        .routes(routes!(plans::skip))
        .routes(routes!(plans::remove))
        .routes(routes!(fleet::forget))
        .routes(routes!(fleet::issue_pass))
        .routes(routes!(backfill::retry))
        .routes(routes!(backfill::discard))
        .routes(routes!(backfill::export))
        .routes(routes!(backfill::pause))
        .routes(routes!(backfill::resume))
        .routes(routes!(deliveries::resend))
        .routes(routes!(deliveries::cancel))
        .split_for_parts();
    let (sync, sync_doc) = OpenApiRouter::<Arc<Service>>::new()
        .routes(routes!(crate::sync::sync))
        .routes(routes!(surfaces::seen))
        .routes(routes!(intents::receipt))
        .split_for_parts();
    let (intake, intake_doc) =
        OpenApiRouter::<Arc<Service>>::new().routes(routes!(intents::keep)).split_for_parts();
    let intent_bytes = service.config.intents.max_bytes.saturating_add(INTENT_HEAD_BYTES);
    let mut document = open_doc;
    for part in [viewer_doc, operator_doc, sync_doc, intake_doc] {
        document.merge(part);
    }
    let needs = |role| {
        let service = Arc::clone(&service);
        middleware::from_fn(move |request, next| guard::admit(Arc::clone(&service), role, request, next))
    };
    open.merge(console::router())
        .merge(viewer.route_layer(needs(Role::Viewer)))
        .merge(operator.route_layer(needs(Role::Operator)))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .merge(sync.route_layer(needs(Role::Sync)).layer(DefaultBodyLimit::max(SYNC_BODY_BYTES)))
        .merge(intake.route_layer(needs(Role::Sync)).layer(DefaultBodyLimit::max(intent_bytes)))
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(Extension(Arc::new(document)))
        .with_state(service)
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "health",
    responses((status = 200, body = Object)), security(("token" = ["viewer"])))]
async fn openapi(Extension(document): Extension<Arc<OpenApiDocument>>) -> axum::Json<Arc<OpenApiDocument>> {
    axum::Json(document)
}

async fn unknown_path(uri: Uri) -> axum::response::Response {
    let detail = format!("there is nothing at {}", uri.path());
    problem::plain(StatusCode::NOT_FOUND, "unknown-path", detail, "GET /v1/openapi.json lists what there is")
        .into_response()
}

async fn unknown_method(method: axum::http::Method, uri: Uri) -> axum::response::Response {
    let detail = format!("{method} does not apply to {}", uri.path());
    problem::plain(
        StatusCode::METHOD_NOT_ALLOWED,
        "unknown-method",
        detail,
        "GET /v1/openapi.json lists what there is",
    )
    .into_response()
}
