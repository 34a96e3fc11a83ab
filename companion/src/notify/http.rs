//! Sends requests to those who are told, and says what their answers mean.

use std::time::Duration;

use axum::body::Bytes;
use hyper::{
    Method, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER},
};
use reqwest::{Client, Url};
use serde_json::Value;

use super::secret::{Revealed, SecretError};
use crate::{backfill::answer::retry_after_ms, clock, config::Period};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Of an answer so much is read: a page of a hundred maintenances with all that was said of them.
const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;
/// Of what an error says so many characters are kept.
const MAX_NOTE: usize = 300;
/// Nobody is asked to wait longer.
const LONGEST_WAIT_MS: u64 = 24 * 3600 * 1000;
/// What Statuspage answered to too many requests before there was 429, and may still:
/// <https://community.atlassian.com/t5/Statuspage-articles/Upcoming-rate-limiting-changes-to-Statuspage-REST-API/ba-p/1455362>
const ENHANCE_YOUR_CALM: u16 = 420;

/// Why something was not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It may be tried again.
    Later {
        /// The HTTP status, if there was an answer.
        status: Option<u16>,
        /// Why.
        why: String,
        /// How long the other side asks to wait; milliseconds.
        after_ms: Option<u64>,
    },
    /// Trying again would not help.
    Refused {
        /// The HTTP status, if there was an answer.
        status: Option<u16>,
        /// Why.
        why: String,
    },
}

impl Failure {
    /// What cannot be sent as it is.
    pub fn broken(why: impl ToString) -> Self {
        Self::Refused { status: None, why: why.to_string() }
    }
}

impl From<SecretError> for Failure {
    /// An operator may be about to put it there.
    fn from(error: SecretError) -> Self {
        Self::Later { status: None, why: error.to_string(), after_ms: None }
    }
}

/// A request to be sent.
pub struct Call<'a> {
    pub method: Method,
    pub url: Url,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Option<Bytes>,
    /// What no note may show.
    pub secret: Option<&'a Revealed>,
}

impl<'a> Call<'a> {
    /// A request with a secret, and nothing else yet.
    pub fn new(method: Method, url: Url, secret: Option<&'a Revealed>) -> Self {
        let headers = vec![(ACCEPT, HeaderValue::from_static("application/json"))];
        Self { method, url, headers, body: None, secret }
    }

    /// With a JSON body.
    pub fn json(mut self, body: &Value) -> Self {
        self.headers.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
        self.body = Some(Bytes::from(body.to_string()));
        self
    }

    /// With the secret in a header, behind a word.
    pub fn authorized(self, scheme: &str) -> Result<Self, Failure> {
        self.keyed(AUTHORIZATION, scheme)
    }

    /// The same, in any header.
    pub fn keyed(mut self, name: HeaderName, scheme: &str) -> Result<Self, Failure> {
        let secret = self.secret.map(Revealed::expose).unwrap_or_default();
        let value = format!("{scheme} {secret}");
        let mut value = HeaderValue::from_str(value.trim())
            .map_err(|_| Failure::broken("the secret has characters that no header may have"))?;
        value.set_sensitive(true);
        self.headers.push((name, value));
        Ok(self)
    }
}

/// What came back of a request that was taken.
#[derive(Debug)]
pub struct Taken {
    pub status: u16,
    pub body: Bytes,
}

impl Taken {
    /// The body as JSON.
    pub fn json(&self) -> Result<Value, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| Failure::Later {
            status: Some(self.status),
            why: format!("the answer is not the JSON expected: {error}"),
            after_ms: None,
        })
    }
}

/// Sends requests.
#[derive(Clone, Debug)]
pub struct Http {
    /// By the proxy that the environment names, if any.
    outside: Client,
    /// Straight.
    inside: Client,
    timeout: Duration,
}

impl Http {
    /// With this limit to an answer.
    pub fn new(timeout: Period) -> Result<Self, reqwest::Error> {
        // Fails only if a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = || {
            Client::builder()
                .connect_timeout(CONNECT_LIMIT.min(timeout.duration()))
                .redirect(reqwest::redirect::Policy::none())
                .user_agent(concat!("quiesce/", env!("CARGO_PKG_VERSION")))
        };
        Ok(Self {
            outside: client().build()?,
            inside: client().no_proxy().build()?,
            timeout: timeout.duration(),
        })
    }

    /// Sends a request to a service elsewhere.
    pub async fn send(&self, call: Call<'_>) -> Result<Taken, Failure> {
        self.send_by(&self.outside, call).await
    }

    /// Sends a request to a machine of one's own, past all proxies.
    pub async fn send_inside(&self, call: Call<'_>) -> Result<Taken, Failure> {
        self.send_by(&self.inside, call).await
    }

    async fn send_by(&self, client: &Client, call: Call<'_>) -> Result<Taken, Failure> {
        let Call { method, url, headers, body, secret } = call;
        let redact = |text: String| match secret {
            Some(secret) => secret.redact(&text),
            None => text,
        };
        let mut request = client.request(method, url).timeout(self.timeout);
        request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        if let Some(body) = body {
            request = request.body(body);
        }
        let unanswered = |error: reqwest::Error| {
            let why =
                if error.is_timeout() { "no answer in time".to_owned() } else { cause(&error.without_url()) };
            Failure::Later { status: None, why: redact(why), after_ms: None }
        };
        let mut response = request.send().await.map_err(unanswered)?;
        let status = response.status();
        let after_ms = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| retry_after_ms(value.to_str().ok()?, clock::now()))
            .map(|ms| ms.min(LONGEST_WAIT_MS));
        let mut body = Vec::new();
        while body.len() < MAX_BODY_BYTES {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                // With its status it has answered, unless somebody wants to know what it says.
                Err(_) if !status.is_success() => break,
                Err(error) => return Err(unanswered(error)),
            }
        }
        judge(status, after_ms, body.into(), redact)
    }
}

fn judge(
    status: StatusCode,
    after_ms: Option<u64>,
    body: Bytes,
    redact: impl Fn(String) -> String,
) -> Result<Taken, Failure> {
    let code = status.as_u16();
    if status.is_success() {
        return Ok(Taken { status: code, body });
    }
    let text = String::from_utf8_lossy(&body);
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_NOTE).collect();
    let why = redact(if text.trim().is_empty() { status.to_string() } else { format!("{status}: {text}") });
    let status = Some(code);
    Err(match code {
        408 | ENHANCE_YOUR_CALM | 425 | 429 | 500.. => Failure::Later { status, why, after_ms },
        _ => Failure::Refused { status, why },
    })
}

/// The innermost reason of an error: those around it say that something failed.
fn cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_again_and_what_was_refused_is_not() {
        let judged = |code: u16, after_ms, body: &'static str| {
            judge(
                StatusCode::from_u16(code).unwrap(),
                after_ms,
                Bytes::from_static(body.as_bytes()),
                |text| text.replace("hunter2", "[secret]"),
            )
        };
        assert_eq!(judged(204, None, "").unwrap().status, 204);
        for code in [408, 420, 425, 429, 500, 502, 503, 504] {
            let Err(Failure::Later { status, after_ms, .. }) = judged(code, Some(2_000), "") else {
                panic!("{code}")
            };
            assert_eq!((status, after_ms), (Some(code), Some(2_000)));
        }
        // A redirect is followed by nobody: it would take what is signed for one to another.
        for code in [301, 307, 400, 401, 403, 404, 410, 422] {
            assert!(matches!(judged(code, None, ""), Err(Failure::Refused { .. })), "{code}");
        }
        let Err(Failure::Refused { why, .. }) = judged(422, None, "bad\nkey hunter2") else {
            panic!("taken")
        };
        assert_eq!(why, "422 Unprocessable Entity: bad key [secret]");
        let long = Box::leak("x".repeat(9_000).into_boxed_str());
        let Err(Failure::Refused { why, .. }) = judged(400, None, long) else { panic!("taken") };
        assert!(why.len() < 400);
    }
}
