//! What everybody may see: the status page and its feeds, and the banner's script.

use std::sync::{Arc, LazyLock};

use axum::{
    extract::State,
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{
            ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
            IF_NONE_MATCH, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::{IntoResponse as _, Response},
};

use crate::{
    public::{Document, Pages},
    service::Service,
};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Nothing but what is served here, nothing inline, in nobody's frame.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Asked for anew at each use, which is answered with 304 as long as nothing has changed; caches on the way spare the
/// companion all but one request a second.
const SHORT: &str = "public, max-age=1";
/// What changes only with the version of the companion.
const LONG: &str = "public, max-age=300";
const CROSS_ORIGIN: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The status page.
#[utoipa::path(get, path = "/status", tag = "public", responses((status = 200, body = str, content_type = "text/html")))]
pub async fn page(State(service): State<Arc<Service>>, headers: HeaderMap) -> Response {
    rendered(&service, &headers, |pages| &pages.html, HTML)
}

/// How things stand, for programs.
#[utoipa::path(get, path = "/status.json", tag = "public", responses((status = 200, body = crate::public::PublicView)))]
pub async fn json(State(service): State<Arc<Service>>, headers: HeaderMap) -> Response {
    rendered(&service, &headers, |pages| &pages.json, "application/json")
}

/// What has happened, as an Atom feed.
#[utoipa::path(get, path = "/status.atom", tag = "public",
    responses((status = 200, body = str, content_type = "application/atom+xml")))]
pub async fn atom(State(service): State<Arc<Service>>, headers: HeaderMap) -> Response {
    rendered(&service, &headers, |pages| &pages.atom, "application/atom+xml; charset=utf-8")
}

/// The windows, as a calendar.
#[utoipa::path(get, path = "/status.ics", tag = "public",
    responses((status = 200, body = str, content_type = "text/calendar")))]
pub async fn calendar(State(service): State<Arc<Service>>, headers: HeaderMap) -> Response {
    rendered(&service, &headers, |pages| &pages.calendar, "text/calendar; charset=utf-8")
}

/// What the status page looks like.
#[utoipa::path(get, path = "/status.css", tag = "public", responses((status = 200, body = str, content_type = "text/css")))]
pub async fn style(headers: HeaderMap) -> Response {
    static STYLE: LazyLock<Document> =
        LazyLock::new(|| Document::new(include_str!("../../assets/status.css")));
    served(&headers, &STYLE, CSS, LONG)
}

/// What shows times in the reader's time zone, and keeps the status page up to date.
#[utoipa::path(get, path = "/status.js", tag = "public",
    responses((status = 200, body = str, content_type = "text/javascript")))]
pub async fn script(headers: HeaderMap) -> Response {
    static CODE: LazyLock<Document> = LazyLock::new(|| Document::new(include_str!("../../assets/status.js")));
    served(&headers, &CODE, SCRIPT, LONG)
}

/// The element `<maintenance-banner>`, for the pages of whoever embeds it.
#[utoipa::path(get, path = "/banner.js", tag = "public",
    responses((status = 200, body = str, content_type = "text/javascript")))]
pub async fn banner(headers: HeaderMap) -> Response {
    static CODE: LazyLock<Document> =
        LazyLock::new(|| Document::new(compact(include_str!("../../assets/banner.js"))));
    served(&headers, &CODE, SCRIPT, LONG)
}

/// A script without indentation and lines of comment.
fn compact(source: &str) -> String {
    let lines =
        source.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with("//"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn rendered(
    service: &Service,
    headers: &HeaderMap,
    document: impl Fn(&Pages) -> &Document,
    kind: &'static str,
) -> Response {
    match service.pages() {
        Some(pages) => served(headers, document(&pages), kind, SHORT),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

fn served(asked: &HeaderMap, document: &Document, kind: &'static str, caching: &'static str) -> Response {
    let tag = document.tag.as_bytes();
    let known = asked
        .get_all(IF_NONE_MATCH)
        .iter()
        .any(|value| value.as_bytes().windows(tag.len()).any(|part| part == tag));
    let mut response =
        if known { StatusCode::NOT_MODIFIED.into_response() } else { document.body.clone().into_response() };
    let headers = response.headers_mut();
    headers.insert(ETAG, document.tag.clone());
    for (name, value) in [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, caching),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        // Feeds and scripts are for everybody's pages.
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (CROSS_ORIGIN, "cross-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
