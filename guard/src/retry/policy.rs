//! The policy: what may be repeated, how often, how long to wait, and when to give up.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, Method};
use tokio::time::{Instant, Sleep, sleep};
use tower::retry::{
    Policy,
    budget::{Budget as _, TpsBudget},
};

use super::answer::Advice;

/// Attempts of one request, the first among them, unless told.
const ATTEMPTS: u32 = 5;
/// The bound of the first wait that nobody has told, unless told.
const BASE: Duration = Duration::from_millis(100);
/// The highest bound, unless told.
const CAP: Duration = Duration::from_secs(10);
/// How long one request may take with all its repetitions, unless told.
const DEADLINE: Duration = Duration::from_secs(60);
/// Requests of so long are looked back at for the budget.
const BUDGET_TTL: Duration = Duration::from_secs(10);
/// So many repetitions a second are free, so that a client of few requests may repeat them.
const BUDGET_PER_SECOND: u32 = 10;
/// So many repetitions for each request.
const BUDGET_RATIO: f32 = 0.2;

type Repeatable = fn(&Method, &HeaderMap) -> bool;

/// When to repeat a request, and when to give up. Clones share one budget.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    settings: Settings,
    budget: Arc<TpsBudget>,
    /// Of the request that this clone is for.
    request: Option<Tried>,
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    attempts: u32,
    base: Duration,
    cap: Duration,
    deadline: Duration,
    repeatable: Repeatable,
}

#[derive(Clone, Copy, Debug)]
struct Tried {
    since: Instant,
    attempts: u32,
    may_repeat: bool,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            settings: Settings {
                attempts: ATTEMPTS,
                base: BASE,
                cap: CAP,
                deadline: DEADLINE,
                repeatable: is_idempotent,
            },
            budget: Arc::new(TpsBudget::new(BUDGET_TTL, BUDGET_PER_SECOND, BUDGET_RATIO)),
            request: None,
        }
    }
}

impl RetryPolicy {
    /// How often a request is sent at most, the first time among them; 5 unless told.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.settings.attempts = attempts;
        self
    }

    /// The bound of the first wait where nobody says how long, and the one up to which it doubles; 100 ms and 10 s
    /// unless told. Each wait is a random part of its bound ("full jitter").
    #[must_use]
    pub fn backoff(mut self, base: Duration, cap: Duration) -> Self {
        (self.settings.base, self.settings.cap) = (base, cap);
        self
    }

    /// How long a request may take with all its repetitions; 60 s unless told. Nobody waits for an attempt that
    /// would come too late: the last answer is handed on at once.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.settings.deadline = deadline;
        self
    }

    /// How many repetitions there may be for each request, beside `per_second` that are free; 0.2 and 10 unless
    /// told. A service that is down is not asked much more often than one that is up.
    #[must_use]
    pub fn budget(mut self, ratio: f32, per_second: u32) -> Self {
        self.budget = Arc::new(TpsBudget::new(BUDGET_TTL, per_second, ratio));
        self
    }

    /// Which requests may be repeated; those of idempotent methods and those with an `Idempotency-Key` unless told.
    /// A call of gRPC is a POST and has none, so that its client has to say here what may be repeated.
    #[must_use]
    pub fn repeatable(mut self, repeatable: fn(&Method, &HeaderMap) -> bool) -> Self {
        self.settings.repeatable = repeatable;
        self
    }

    /// Notes a request that is about to be sent for the first time; says whether it may be repeated.
    fn begin(&mut self, method: &Method, headers: &HeaderMap) -> bool {
        let settings = self.settings;
        // tower asks the policy that all requests share, and clones it for this one; and asks that clone again
        // before each repetition.
        let is_repetition = |tried: &Tried| tried.attempts > 0;
        let tried = self.request.filter(is_repetition).unwrap_or_else(|| Tried {
            since: Instant::now(),
            attempts: 0,
            may_repeat: (settings.repeatable)(method, headers),
        });
        self.request = Some(tried);
        tried.may_repeat
    }

    /// What follows an answer: a wait, and then another attempt; or nothing.
    fn next(&mut self, advice: Advice) -> Option<Sleep> {
        let settings = self.settings;
        let tried = self.request.as_mut()?;
        tried.attempts = tried.attempts.saturating_add(1);
        let wait = match advice {
            Advice::Final => {
                self.budget.deposit();
                return None;
            }
            Advice::After(wait) => wait,
            Advice::Again => {
                let doublings = (tried.attempts - 1).min(31);
                settings.base.saturating_mul(1 << doublings).min(settings.cap).mul_f64(fastrand::f64())
            }
        };
        let too_late = tried.since.elapsed().saturating_add(wait) > settings.deadline;
        if !tried.may_repeat || tried.attempts >= settings.attempts || too_late || !self.budget.withdraw() {
            return None;
        }
        Some(sleep(wait))
    }
}

/// RFC 9110 section 9.2.2, and QUERY (RFC 10008); or the client has given a key by which repetitions are known.
fn is_idempotent(method: &Method, headers: &HeaderMap) -> bool {
    matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE" | "QUERY" | "PUT" | "DELETE")
        || headers.contains_key("idempotency-key")
}

#[allow(clippy::disallowed_methods, reason = "dates in answers are given by the wall clock")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

impl<B: Clone, R, E> Policy<http::Request<B>, http::Response<R>, E> for RetryPolicy {
    type Future = Sleep;

    fn retry(
        &mut self,
        _request: &mut http::Request<B>,
        result: &mut Result<http::Response<R>, E>,
    ) -> Option<Sleep> {
        self.next(match result {
            Ok(response) => Advice::of(response.status(), response.headers(), wall_clock()),
            Err(_) => Advice::Again,
        })
    }

    fn clone_request(&mut self, request: &http::Request<B>) -> Option<http::Request<B>> {
        self.begin(request.method(), request.headers()).then(|| request.clone())
    }
}

impl Policy<reqwest::Request, reqwest::Response, reqwest::Error> for RetryPolicy {
    type Future = Sleep;

    fn retry(
        &mut self,
        _request: &mut reqwest::Request,
        result: &mut Result<reqwest::Response, reqwest::Error>,
    ) -> Option<Sleep> {
        self.next(match result {
            Ok(response) => Advice::of(response.status(), response.headers(), wall_clock()),
            // One that cannot be built or that leads in circles does so every time.
            Err(error) if error.is_builder() || error.is_redirect() => Advice::Final,
            Err(_) => Advice::Again,
        })
    }

    /// None of a body that can be read only once.
    fn clone_request(&mut self, request: &reqwest::Request) -> Option<reqwest::Request> {
        self.begin(request.method(), request.headers()).then(|| request.try_clone()).flatten()
    }
}
