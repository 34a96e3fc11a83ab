//! The operator's console at `/console`: static files, which call the API with the token of whoever looks.
//!
//! The token is kept by the page, for its tab alone, and goes with each call as with those of the command line. So there
//! is no cookie that another page could ride on, and no session that companions would have to share.

mod history;
mod live;

use std::sync::Arc;

use axum::{
    Router,
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH,
            REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::{IntoResponse as _, Redirect, Response},
    routing::get,
};

pub use self::{
    history::{Requests, Sample},
    live::{Live, LiveState, Looker, Told},
};
use crate::{auth::Digest, service::Service};

const CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// Nothing but its own files, nothing inline, in nobody's frame.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                   base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

struct Asset {
    kind: &'static str,
    text: &'static str,
    /// Names the contents.
    tag: HeaderValue,
}

impl Asset {
    fn new(kind: &'static str, text: &'static str) -> Self {
        let digest = Digest::of(text).to_hex();
        let tag = HeaderValue::from_str(&format!("\"{digest}\"")).unwrap_or(HeaderValue::from_static("\"\""));
        Self { kind, text, tag }
    }

    /// Sent only if the browser has another; it always asks, because a new companion brings new files.
    fn answer(&self, headers: &HeaderMap) -> Response {
        let known = headers.get(IF_NONE_MATCH).is_some_and(|tag| *tag == self.tag);
        let mut response = match known {
            true => StatusCode::NOT_MODIFIED.into_response(),
            false => ([(CONTENT_TYPE, HeaderValue::from_static(self.kind))], self.text).into_response(),
        };
        let headers = response.headers_mut();
        headers.insert(ETAG, self.tag.clone());
        for (name, value) in [
            (CACHE_CONTROL, "no-cache"),
            (CONTENT_SECURITY_POLICY, CSP),
            (CROSS_ORIGIN_OPENER_POLICY, "same-origin"),
            (REFERRER_POLICY, "no-referrer"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The console's files. They hold nothing that is secret: what they show comes from the API.
pub fn router() -> Router<Arc<Service>> {
    let files = [
        ("/console/", HTML, include_str!("assets/index.html")),
        ("/console/console.css", CSS, include_str!("assets/console.css")),
        ("/console/console.js", SCRIPT, include_str!("assets/console.js")),
        ("/console/api.js", SCRIPT, include_str!("assets/api.js")),
        ("/console/chart.js", SCRIPT, include_str!("assets/chart.js")),
        ("/console/dom.js", SCRIPT, include_str!("assets/dom.js")),
        ("/console/actions.js", SCRIPT, include_str!("assets/actions.js")),
        ("/console/views.js", SCRIPT, include_str!("assets/views.js")),
    ];
    let to_slash = get(async || Redirect::permanent("/console/"));
    files.into_iter().fold(Router::new().route("/console", to_slash), |router, (path, kind, text)| {
        let asset = Arc::new(Asset::new(kind, text));
        router.route(path, get(async move |headers: HeaderMap| asset.answer(&headers)))
    })
}
