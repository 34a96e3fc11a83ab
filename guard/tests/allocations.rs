//! A read that passes costs no allocation, whatever the policy, frozen or not.
#![allow(unsafe_code, reason = "an allocator that counts has to be one")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "what fails here fails its test")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    convert::Infallible,
    future::{Future as _, Ready, ready},
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use quiesce_guard::{Boot, Config, Guard, GuardLayer, RequestBody, policy::snapshot::Snapshot};
use serde_json::json;
use tower::{Layer as _, Service};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: all is done by the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[derive(Clone)]
struct Inner;

impl Service<Request<RequestBody<Empty<Bytes>>>> for Inner {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<RequestBody<Empty<Bytes>>>) -> Self::Future {
        ready(Ok(Response::new(Empty::new())))
    }
}

fn guard(frozen: bool) -> Guard {
    let window = json!({
        "id": "w",
        "starts_at": "2026-01-01T00:00:00Z",
        "started": true,
        "expires_at": "2999-01-01T00:00:00Z",
        "reason": "reindexing",
        "drain_timeout_ms": 30_000,
    });
    let rules: Vec<_> = (0..100)
        .map(|at| json!({ "methods": ["POST"], "path": format!("/r{at}/{{id}}"), "effect": "read" }))
        .collect();
    let snapshot: Snapshot = serde_json::from_value(json!({
        "version": 1,
        "windows": if frozen { vec![window] } else { Vec::new() },
        "surfaces": [{ "name": "shop", "hosts": ["shop.example.com"], "path_prefix": "/api", "rules": rules }],
    }))
    .unwrap();
    let guard = Guard::unconnected(Config::new("http://127.0.0.1:1", "token", "test").boot(Boot::Closed));
    guard.publish(&snapshot).unwrap();
    guard
}

/// How many allocations the layer makes for a request.
fn allocations(guard: &Guard, method: &str, target: &str) -> u64 {
    let mut service = GuardLayer::new(guard.clone()).layer(Inner);
    let mut context = Context::from_waker(Waker::noop());
    let mut serve = || {
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header("host", "shop.example.com")
            .header("accept", "application/json")
            .header("user-agent", "test")
            .header("x-request-id", "0198-17")
            .body(Empty::new())
            .unwrap();
        let before = ALLOCATIONS.get();
        let served = pin!(service.call(request)).poll(&mut context);
        let made = ALLOCATIONS.get() - before;
        assert!(matches!(served, Poll::Ready(Ok(response)) if response.status() == 200), "{method} {target}");
        made
    };
    // The first request of a thread makes room for the heads of all.
    serve();
    serve()
}

#[test]
fn a_read_that_passes_allocates_nothing() {
    for frozen in [false, true] {
        let guard = guard(frozen);
        for (method, target) in
            [("GET", "/api/orders/7?page=2"), ("GET", "/elsewhere"), ("HEAD", "/"), ("POST", "/api/r42/tea")]
        {
            assert_eq!(allocations(&guard, method, target), 0, "{method} {target}, frozen: {frozen}");
        }
    }
    assert!(allocations(&guard(false), "POST", "/api/orders") > 0, "the count counts: writes are remembered");
}
