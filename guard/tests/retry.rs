//! The retry policy in tower's retry service, by a clock that the test moves.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails its test"
)]

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Request, Response};
use quiesce_guard::retry::RetryPolicy;
use tokio::time::Instant;
use tower::{Service as _, ServiceBuilder, retry::RetryLayer};

type Answers = Vec<(u16, Vec<(&'static str, String)>)>;

/// Sends a request to a server that gives these answers, the last of them for ever; returns the last status, and
/// after which times it was asked; milliseconds.
async fn exchange(policy: RetryPolicy, request: Request<()>, answers: Answers) -> (u16, Vec<u128>) {
    let (began, asked) = (Instant::now(), Arc::new(Mutex::new(Vec::new())));
    let log = Arc::clone(&asked);
    let server = tower::service_fn(move |_: Request<()>| {
        let mut asked = log.lock().unwrap();
        let (status, headers) = answers[asked.len().min(answers.len() - 1)].clone();
        asked.push(began.elapsed().as_millis());
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(name, value);
        }
        std::future::ready(Ok::<_, Infallible>(response.body(()).unwrap()))
    });
    let mut client = ServiceBuilder::new().layer(RetryLayer::new(policy)).service(server);
    let status = client.call(request).await.unwrap().status().as_u16();
    let asked = asked.lock().unwrap().clone();
    (status, asked)
}

fn get() -> Request<()> {
    Request::get("/").body(()).unwrap()
}

fn refused(retry_after: &str) -> (u16, Vec<(&'static str, String)>) {
    (423, vec![("retry-after", retry_after.to_owned())])
}

fn done() -> (u16, Vec<(&'static str, String)>) {
    (200, Vec::new())
}

/// Timers go by whole milliseconds.
fn about(seen: u128, expected: u128) -> bool {
    (expected..=expected + 2).contains(&seen)
}

#[tokio::test(start_paused = true)]
async fn who_is_told_when_comes_back_then() {
    let (status, asked) =
        exchange(RetryPolicy::default(), get(), vec![refused("7"), refused("3"), done()]).await;
    assert_eq!(status, 200);
    assert!(asked[0] == 0 && about(asked[1], 7000) && about(asked[2], 10_000), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn grpc_pushback_is_kept_to_the_millisecond() {
    let pushed =
        |ms: &str| (200, vec![("grpc-status", "14".to_owned()), ("grpc-retry-pushback-ms", ms.to_owned())]);
    let call = || Request::post("/example.Notes/Add").body(()).unwrap();
    let all = RetryPolicy::default().repeatable(|_, _| true);
    let (_, asked) = exchange(all.clone(), call(), vec![pushed("1234"), done()]).await;
    assert!(asked.len() == 2 && about(asked[1], 1234), "{asked:?}");
    let (_, asked) = exchange(all, call(), vec![pushed("-1"), done()]).await;
    assert_eq!(asked.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_an_attempt_that_comes_too_late() {
    let policy = RetryPolicy::default().deadline(Duration::from_secs(30));
    let began = Instant::now();
    let (status, asked) = exchange(policy, get(), vec![refused("20"), refused("11"), done()]).await;
    assert_eq!((status, asked.len()), (423, 2), "the second wait would end after 31 s");
    assert!(about(began.elapsed().as_millis(), 20_000));
}

#[tokio::test(start_paused = true)]
async fn waits_double_up_to_their_cap_and_are_spread_all_over() {
    // The same waits in every run; this runtime has one thread.
    fastrand::seed(7);
    let policy = RetryPolicy::default()
        .attempts(8)
        .backoff(Duration::from_millis(100), Duration::from_secs(1))
        .budget(10.0, 1000);
    let bounds = [100, 200, 400, 800, 1000, 1000, 1000];
    let mut shares = Vec::new();
    for _ in 0..50 {
        let (status, asked) = exchange(policy.clone(), get(), vec![(503, Vec::new())]).await;
        assert_eq!((status, asked.len()), (503, 8));
        for (pair, bound) in asked.windows(2).zip(bounds) {
            let waited = pair[1] - pair[0];
            assert!(waited <= bound + 2, "{waited} ms of {bound}");
            shares.push(waited * 100 / bound);
        }
    }
    let below_a_quarter = shares.iter().filter(|share| **share < 25).count();
    let above_three = shares.iter().filter(|share| **share >= 75).count();
    assert!(
        below_a_quarter > 70 && above_three > 70,
        "{below_a_quarter} and {above_three} of {}",
        shares.len()
    );
}

#[tokio::test(start_paused = true)]
async fn only_what_may_be_repeated_is() {
    let attempts = async |request: Request<()>| {
        exchange(RetryPolicy::default(), request, vec![refused("1"), done()]).await.1.len()
    };
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "QUERY"] {
        assert_eq!(attempts(Request::builder().method(method).body(()).unwrap()).await, 2, "{method}");
    }
    for method in ["POST", "PATCH", "PROPFIND"] {
        assert_eq!(attempts(Request::builder().method(method).body(()).unwrap()).await, 1, "{method}");
    }
    let keyed = Request::post("/").header("idempotency-key", "\"a\"").body(()).unwrap();
    assert_eq!(attempts(keyed).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_is_not_asked_much_more_often_than_one_that_is_up() {
    let policy = RetryPolicy::default().attempts(100).budget(0.0, 1);
    let mut asked = 0;
    for _ in 0..10 {
        asked +=
            exchange(policy.clone(), get(), vec![(503, vec![("retry-after", "0".to_owned())])]).await.1.len();
    }
    // One repetition a second is free, over the ten seconds that are looked back at.
    assert!((10..=20).contains(&asked), "{asked} attempts of 10 requests");
}

#[tokio::test(start_paused = true)]
async fn attempts_are_counted_for_each_request() {
    let policy = RetryPolicy::default().attempts(3);
    for _ in 0..2 {
        let (status, asked) = exchange(policy.clone(), get(), vec![refused("1")]).await;
        assert_eq!((status, asked.len()), (423, 3));
    }
}
