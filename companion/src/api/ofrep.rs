//! Flags for programs in any language, by the OpenFeature Remote Evaluation Protocol.
//! <https://github.com/open-feature/protocol/blob/main/service/openapi.yaml>

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::{
        HeaderMap, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH},
    },
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    flags::{Flag, FlagKey, FlagRequest, Frozen},
    public::Document,
    service::Service,
};

/// All flags, evaluated: OFREP's `bulkEvaluationSuccess`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Flags {
    flags: Vec<Flag>,
}

/// Why a flag was not evaluated: OFREP's `evaluationFailure` and `flagNotFound`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FlagFailure {
    /// The flag asked for, if it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// `FLAG_NOT_FOUND` or `PARSE_ERROR`.
    error_code: &'static str,
    /// What is wrong, and what to do.
    error_details: String,
}

/// Evaluate one flag: `read_only` or `window`.
#[utoipa::path(
    post, path = "/ofrep/v1/evaluate/flags/{key}", tag = "flags", params(("key" = String, Path)),
    request_body = FlagRequest,
    responses(
        (status = 200, body = Flag),
        (status = 400, body = FlagFailure, description = "The body cannot be read"),
        (status = 404, body = FlagFailure, description = "There is no such flag"),
    ),
    security(("token" = ["viewer"])),
)]
pub async fn evaluate(State(service): State<Arc<Service>>, Path(key): Path<String>, body: Bytes) -> Response {
    let request = match read(Some(&key), &body) {
        Ok(request) => request,
        Err(failure) => return failed(StatusCode::BAD_REQUEST, failure),
    };
    let Some(flag) = FlagKey::named(&key) else {
        let error_details = format!("there is no flag `{key}`; there are `read_only` and `window`");
        let failure = FlagFailure { key: Some(key), error_code: "FLAG_NOT_FOUND", error_details };
        return failed(StatusCode::NOT_FOUND, failure);
    };
    Json(service.frozen(&request.context, |frozen| frozen.flag(flag))).into_response()
}

/// Evaluate all flags; 304 if they are as the client has them.
#[utoipa::path(
    post, path = "/ofrep/v1/evaluate/flags", tag = "flags", request_body = FlagRequest,
    responses(
        (status = 200, body = Flags, headers(("etag" = String, description = "Names what it says"))),
        (status = 304, description = "As the client has it, by `If-None-Match`"),
        (status = 400, body = FlagFailure, description = "The body cannot be read"),
    ),
    security(("token" = ["viewer"])),
)]
pub async fn evaluate_all(State(service): State<Arc<Service>>, headers: HeaderMap, body: Bytes) -> Response {
    let request = match read(None, &body) {
        Ok(request) => request,
        Err(failure) => return failed(StatusCode::BAD_REQUEST, failure),
    };
    let all = |frozen: Frozen<'_>| FlagKey::ALL.iter().map(|key| frozen.flag(*key)).collect();
    let flags = Flags { flags: service.frozen(&request.context, all) };
    let document = Document::new(serde_json::to_vec(&flags).unwrap_or_default());
    let known = headers
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| document.tag.to_str().is_ok_and(|tag| value.contains(tag)));
    let tag = [(ETAG, document.tag)];
    if known {
        return (StatusCode::NOT_MODIFIED, tag).into_response();
    }
    (tag, [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], document.body).into_response()
}

fn read(key: Option<&str>, body: &[u8]) -> Result<FlagRequest, FlagFailure> {
    serde_json::from_slice(body).map_err(|error| FlagFailure {
        key: key.map(str::to_owned),
        error_code: "PARSE_ERROR",
        error_details: format!("{error}: send {{\"context\": {{…}}}}"),
    })
}

fn failed(status: StatusCode, failure: FlagFailure) -> Response {
    (status, Json(failure)).into_response()
}
