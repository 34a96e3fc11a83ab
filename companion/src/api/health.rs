//! For whoever runs the companion: is it alive, is it ready, what does it count.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderName, HeaderValue, header::CONTENT_TYPE},
};

use super::Fault;
use crate::{service::Service, view::ProblemView};

/// Whether the process answers.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = str)))]
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether it can do its work.
#[utoipa::path(get, path = "/readyz", tag = "health", responses(
    (status = 200, body = str),
    (status = 503, body = ProblemView, content_type = "application/problem+json"),
))]
pub async fn readyz(State(service): State<Arc<Service>>) -> Result<&'static str, Fault> {
    service.ready().await?;
    Ok("ready\n")
}

/// What it counts, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "health",
    responses((status = 200, body = str)), security(("token" = ["viewer"])))]
pub async fn metrics(State(service): State<Arc<Service>>) -> ([(HeaderName, HeaderValue); 1], String) {
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    let totals = service.intent_totals().await;
    if let Err(error) = &totals {
        tracing::error!(%error, "the intents could not be counted");
    }
    match service.outbox.totals().await {
        Ok(deliveries) => service.metrics.count_deliveries(&deliveries),
        Err(error) => tracing::error!(%error, "the deliveries could not be counted"),
    }
    ([(CONTENT_TYPE, kind)], service.metrics.render(&service, totals.as_deref().ok()))
}
