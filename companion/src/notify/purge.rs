//! Has caches forget what enforcers answered before.

use hyper::{
    Method,
    header::{HeaderName, HeaderValue},
};
use reqwest::Url;
use serde_json::Value;

use super::{
    http::{Call, Failure, Http, Taken},
    secret::Revealed,
};
use crate::config::PurgeMethod;

/// Varnish forgets what is at these URLs. All are tried, whatever becomes of one.
pub async fn varnish(
    http: &Http,
    urls: &[Url],
    method: PurgeMethod,
    headers: &[(HeaderName, HeaderValue)],
) -> Result<u16, Failure> {
    let method = Method::from_bytes(method.as_str().as_bytes()).map_err(Failure::broken)?;
    let mut result = Ok(200);
    for url in urls {
        let mut call = Call::new(method.clone(), url.clone(), None);
        call.headers.extend(headers.iter().cloned());
        match http.send_inside(call).await {
            Ok(taken) => result = result.map(|_| taken.status),
            Err(failure) => result = result.and(Err(of(url, failure))),
        }
    }
    result
}

/// Says which of several it was.
fn of(url: &Url, failure: Failure) -> Failure {
    match failure {
        Failure::Later { status, why, after_ms } => {
            Failure::Later { status, why: format!("{url}: {why}"), after_ms }
        }
        Failure::Refused { status, why } => Failure::Refused { status, why: format!("{url}: {why}") },
    }
}

/// Fastly forgets what has one of these surrogate keys: <https://www.fastly.com/documentation/reference/api/purging/>
pub async fn fastly(
    http: &Http,
    url: &Url,
    body: &Value,
    soft: bool,
    key: &Revealed,
) -> Result<Taken, Failure> {
    let mut call = Call::new(Method::POST, url.clone(), Some(key))
        .json(body)
        .keyed(HeaderName::from_static("fastly-key"), "")?;
    if soft {
        call.headers.push((HeaderName::from_static("fastly-soft-purge"), HeaderValue::from_static("1")));
    }
    http.send(call).await
}

/// Cloudflare forgets what fits: <https://developers.cloudflare.com/api/resources/cache/methods/purge/>
pub async fn cloudflare(http: &Http, url: &Url, body: &Value, key: &Revealed) -> Result<Taken, Failure> {
    let call = Call::new(Method::POST, url.clone(), Some(key)).json(body).authorized("Bearer")?;
    let taken = http.send(call).await?;
    let answer = taken.json()?;
    if answer.get("success").and_then(Value::as_bool) == Some(true) {
        return Ok(taken);
    }
    let errors = answer.get("errors").cloned().unwrap_or_default();
    Err(Failure::Later {
        status: Some(taken.status),
        why: key.redact(&format!("it answers without `success`: {errors}")),
        after_ms: None,
    })
}
