//! Errors as clients see them: RFC 9457 problem details, with a stable code and advice.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Query, Request},
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_TYPE, WWW_AUTHENTICATE},
        request::Parts,
    },
    response::{IntoResponse, Response},
};
use serde::de::DeserializeOwned;

use crate::{error::ServiceError, view::ProblemView};

/// Why a request is not carried out, on its way to the client.
#[derive(Debug)]
pub struct Fault(pub ServiceError);

impl<E: Into<ServiceError>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let error = self.0;
        let status = error.status();
        if status.is_server_error() {
            tracing::error!(%error, code = error.code(), "request failed");
        }
        let view = ProblemView {
            place: error.place().map(str::to_owned),
            window: error.window().cloned(),
            hint: error.hint(),
            ..view(status, error.code(), error.to_string())
        };
        let mut response = respond(status, &view);
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// A problem that comes from no [`ServiceError`].
pub fn plain(status: StatusCode, code: &str, detail: String, hint: &str) -> Response {
    respond(status, &ProblemView { hint: Some(hint.to_owned()), ..view(status, code, detail) })
}

fn view(status: StatusCode, code: &str, detail: String) -> ProblemView {
    ProblemView {
        kind: format!("urn:quiesce:problem:{code}"),
        title: status.canonical_reason().unwrap_or("Error").to_owned(),
        status: status.as_u16(),
        code: code.to_owned(),
        detail,
        hint: None,
        place: None,
        window: None,
    }
}

fn respond(status: StatusCode, view: &ProblemView) -> Response {
    let body = serde_json::to_vec(view).unwrap_or_default();
    (status, [(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"))], body).into_response()
}

/// A JSON body, parsed strictly, whatever its content type says; errors name the place.
pub struct StrictJson<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for StrictJson<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let body = Bytes::from_request(request, state).await.map_err(|rejection| {
            plain(rejection.status(), "body-unreadable", rejection.body_text(), "send a smaller JSON body")
        })?;
        let mut json = serde_json::Deserializer::from_slice(&body);
        let parsed = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let place = error.path().to_string();
            malformed(error.inner(), (place != ".").then_some(place))
        });
        let value = parsed?;
        json.end().map_err(|error| malformed(&error, None))?;
        Ok(Self(value))
    }
}

/// Parameters of the query, parsed strictly.
pub struct StrictQuery<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for StrictQuery<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        Query::<T>::from_request_parts(parts, state).await.map(|Query(value)| Self(value)).map_err(
            |rejection| {
                let hint = "GET /v1/openapi.json describes the parameters";
                plain(rejection.status(), "malformed-query", rejection.body_text(), hint)
            },
        )
    }
}

fn malformed(error: &serde_json::Error, place: Option<String>) -> Response {
    let status = StatusCode::BAD_REQUEST;
    let detail = match &place {
        Some(place) => format!("{place}: {error}"),
        None => format!("the body is not the JSON expected: {error}"),
    };
    let hint = Some("GET /v1/openapi.json describes the bodies".to_owned());
    respond(status, &ProblemView { hint, place, ..view(status, "malformed-json", detail) })
}
