//! Lets calls through by the role of their token.

use std::sync::Arc;

use axum::{
    extract::Request,
    http::{
        HeaderValue,
        header::{AUTHORIZATION, HOST, ORIGIN},
    },
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
    // Browsers name the origin of whatever a page may change with. Without tokens nothing else would keep a web page in
    // the browser of somebody on this machine from thawing, and a page of any site can have its name lead here. With
    // tokens, the console may call: it is of this host, and shows a token that no other page has.
    let headers = request.headers();
    let of_console = || !service.tokens.is_open() && is_of_host(headers.get(ORIGIN), headers.get(HOST));
    if headers.contains_key(ORIGIN) && !of_console() {
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

/// Whether a page of this origin was got from the host that is called.
fn is_of_host(origin: Option<&HeaderValue>, host: Option<&HeaderValue>) -> bool {
    let origin = origin.and_then(|origin| origin.to_str().ok());
    let authority = origin.and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    let host = host.and_then(|host| host.to_str().ok());
    authority.is_some_and(|authority| host.is_some_and(|host| authority.eq_ignore_ascii_case(host)))
}
