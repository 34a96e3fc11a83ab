//! Writes that enforcers hand over to be kept for later, and the receipts of those that were.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{Path, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, RETRY_AFTER},
    },
    response::{IntoResponse as _, Response},
};
use quiesce_policy::{
    Refusal,
    intent::{ENFORCER_HEADER, OUTCOME_HEADER, QUEUED, SURFACE_HEADER, WINDOW_HEADER},
    reply::RefusalReply,
};

use super::Fault;
use crate::{
    error::ServiceError,
    intents::{IntentId, Offer, Receipt},
    service::{Kept, Service, Turned},
    view::ProblemView,
};

/// Keep a write for later.
///
/// The body is as `quiesce_policy::intent` says: header block and body of the write. An answer with the
/// header `quiesce-outcome` is for the client: `queued`, or the code of a refusal.
#[utoipa::path(
    post, path = "/v1/intents", tag = "sync",
    params(
        ("quiesce-surface" = String, Header, description = "The surface that the write belongs to"),
        ("quiesce-window" = String, Header, description = "The window that it waits for"),
        ("quiesce-enforcer" = String, Header, description = "The enforcer that sends it"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 202, body = Receipt, description = "It is on disk"),
        (status = "4XX", body = ProblemView, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemView, content_type = "application/problem+json"),
    ),
    security(("token" = ["sync"])),
)]
pub async fn keep(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Fault> {
    let named = |name: &'static str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.ok_or_else(|| ServiceError::invalid(name, "is missing, or is no text"))
    };
    let offer = Offer {
        surface: named(SURFACE_HEADER)?,
        window: named(WINDOW_HEADER)?,
        enforcer: named(ENFORCER_HEADER)?,
        bytes: &body,
    };
    Ok(match service.keep(offer).await? {
        Kept::Queued(receipt) => {
            let location = HeaderValue::from_str(&receipt.receipt).ok();
            let mut response = show(StatusCode::ACCEPTED, &receipt)?;
            response.headers_mut().extend(location.map(|location| (LOCATION, location)));
            response
        }
        Kept::Refused(turned) => refuse(&service, &turned),
    })
}

/// The receipt of a write that was kept.
#[utoipa::path(
    get, path = "/v1/receipts/{id}", tag = "sync", params(("id" = String, Path)),
    responses(
        (status = 200, body = Receipt),
        (status = "4XX", body = ProblemView, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemView, content_type = "application/problem+json"),
    ),
    security(("token" = ["sync"])),
)]
pub async fn receipt(
    State(service): State<Arc<Service>>,
    Path(id): Path<IntentId>,
) -> Result<Response, Fault> {
    match service.receipt(id).await? {
        Some(receipt) => show(StatusCode::OK, &receipt),
        None => {
            let detail = "There is no such receipt: it never was, or its time is over.".to_owned();
            let refusal = Refusal::ReceiptUnknown;
            Ok(refuse(&service, &Turned { refusal, window: None, detail, retry_after_s: None }))
        }
    }
}

fn show(status: StatusCode, receipt: &Receipt) -> Result<Response, Fault> {
    let body = serde_json::to_vec(receipt).map_err(ServiceError::from)?;
    let fixed = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (HeaderName::from_static(OUTCOME_HEADER), HeaderValue::from_static(QUEUED)),
    ];
    let mut response = (status, fixed, body).into_response();
    response
        .headers_mut()
        .extend(receipt.retry_after_s.map(|wait_s| (RETRY_AFTER, HeaderValue::from(wait_s))));
    Ok(response)
}

/// A refusal as its client gets it, through the enforcer.
fn refuse(service: &Service, turned: &Turned) -> Response {
    let Turned { refusal, window, detail, retry_after_s } = turned;
    let reply = RefusalReply::with_detail(
        *refusal,
        window.as_ref(),
        service.config.status_page.as_deref(),
        detail.clone(),
    );
    let reply = match retry_after_s {
        Some(retry_after_s) => reply.after(*retry_after_s),
        None => reply.for_good(),
    };
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let mut response = (status, reply.body).into_response();
    let headers = response.headers_mut();
    for (name, value) in reply.headers.headers().pairs() {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.insert(name, value);
        }
    }
    headers.insert(HeaderName::from_static(OUTCOME_HEADER), HeaderValue::from_static(refusal.code()));
    response
}
