//! Lets calls through by the role of their token.

use std::sync::Arc;

use axum::{
    extract::Request,
    http::header::{AUTHORIZATION, ORIGIN},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use super::Fault;
use crate::{
    auth::{AuthError, Role},
    service::Service,
};

/// Lets a call through if its token has the role, and tells the handler who calls.
pub async fn admit(service: Arc<Service>, needed: Role, mut request: Request, next: Next) -> Response {
    let bearer = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    // Without tokens nothing else would keep a web page in the browser of somebody on this machine
    // from thawing. Browsers name the origin of whatever a page may change with.
    if request.headers().contains_key(ORIGIN) {
        return Fault::from(AuthError::Browser).into_response();
    }
    match service.tokens.admit(bearer, needed) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => Fault::from(error).into_response(),
    }
}
