//! A request on its way through the guard: held for its body, handed to the service, or answered.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response, StatusCode, request::Parts};
use http_body::Body;
use pin_project_lite::pin_project;
use tower::Service;

use crate::{
    RequestBody, ResponseBody, WriteInFlight,
    admission::{self, Admission, admit},
    guard::Shared,
    in_flight::Counted,
    layer::{Hooks, asks_to_switch},
};

pin_project! {
    /// What comes of a request to a [`crate::GuardService`].
    pub struct ResponseFuture<S, B>
    where
        S: Service<Request<RequestBody<B>>>,
    {
        #[pin]
        stage: Stage<S, B>,
    }
}

pin_project! {
    #[project = StageProjection]
    enum Stage<S, B>
    where
        S: Service<Request<RequestBody<B>>>,
    {
        Waiting { waiting: Option<Box<Waiting<S, B>>> },
        Passed { #[pin] response: S::Future, write: Option<Write> },
        Answered { response: Option<Response<Bytes>> },
    }
}

/// A write that was admitted.
struct Write {
    counted: Arc<Counted>,
    /// It has asked for a connection that goes on after the response.
    switches: Option<Switch>,
}

struct Switch {
    is_connect: bool,
    shared: Arc<Shared>,
}

/// How far a body has come that was waited for.
#[derive(Clone, Copy)]
enum Collected {
    Whole,
    TooLong,
    Broken,
}

fn bare(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
}

/// A request that is held until its body is whole.
struct Waiting<S, B> {
    service: S,
    shared: Arc<Shared>,
    hooks: Hooks,
    parts: Parts,
    body: Pin<Box<B>>,
    collected: BytesMut,
    trailers: Option<HeaderMap>,
    max_bytes: usize,
}

impl<S, B> fmt::Debug for ResponseFuture<S, B>
where
    S: Service<Request<RequestBody<B>>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

impl<S, B> ResponseFuture<S, B>
where
    S: Service<Request<RequestBody<B>>>,
{
    /// Hands a request to the service, which is ready.
    pub(crate) fn pass(
        service: &mut S,
        shared: &Arc<Shared>,
        parts: Parts,
        body: RequestBody<B>,
        counted: Option<Counted>,
    ) -> Self {
        Self { stage: Stage::pass(service, shared, parts, body, counted) }
    }

    /// Answers a request.
    pub(crate) fn answer(response: Response<Bytes>) -> Self {
        Self { stage: Stage::answer(response) }
    }

    /// Holds a request for its body; `service` is ready.
    pub(crate) fn wait(
        service: S,
        shared: Arc<Shared>,
        hooks: Hooks,
        parts: Parts,
        body: B,
        max_bytes: usize,
    ) -> Self {
        let (body, collected) = (Box::pin(body), BytesMut::new());
        let waiting = Waiting { service, shared, hooks, parts, body, collected, trailers: None, max_bytes };
        Self { stage: Stage::Waiting { waiting: Some(Box::new(waiting)) } }
    }
}

impl<S, B> Stage<S, B>
where
    S: Service<Request<RequestBody<B>>>,
{
    fn answer(response: Response<Bytes>) -> Self {
        Self::Answered { response: Some(response) }
    }

    fn pass(
        service: &mut S,
        shared: &Arc<Shared>,
        mut parts: Parts,
        body: RequestBody<B>,
        counted: Option<Counted>,
    ) -> Self {
        let write = counted.map(|counted| {
            let counted = Arc::new(counted);
            let switches = asks_to_switch(&parts).then(|| {
                parts.extensions.insert(WriteInFlight::of(&counted));
                Switch { is_connect: parts.method == Method::CONNECT, shared: Arc::clone(shared) }
            });
            Write { counted, switches }
        });
        // Of one that switches, the handler keeps what is counted, or nobody does.
        let lasts = write.as_ref().filter(|write| write.switches.is_none());
        let body = body.keeping(lasts.map(|write| Arc::clone(&write.counted)));
        Self::Passed { response: service.call(Request::from_parts(parts, body)), write }
    }
}

impl<S, B> Waiting<S, B>
where
    S: Service<Request<RequestBody<B>>>,
    B: Body<Data = Bytes>,
{
    /// Takes in the body.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Collected> {
        let most = u64::try_from(self.max_bytes).unwrap_or(u64::MAX);
        loop {
            let collected = self.collected.len() as u64;
            if self.body.size_hint().lower().saturating_add(collected) > most {
                return Poll::Ready(Collected::TooLong);
            }
            match ready!(self.body.as_mut().poll_frame(cx)) {
                None => return Poll::Ready(Collected::Whole),
                Some(Err(_)) => return Poll::Ready(Collected::Broken),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.collected.extend_from_slice(&data),
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
            }
        }
    }

    /// Decides, now that nobody waits for the body any more.
    fn decide(mut self, collected: Collected) -> Stage<S, B> {
        let bytes = self.collected.freeze();
        let known = match collected {
            Collected::Whole => admission::Body::Whole(&bytes),
            Collected::TooLong => admission::Body::TooLong,
            // Its sender is gone, or as good as that.
            Collected::Broken => return Stage::answer(bare(StatusCode::BAD_REQUEST)),
        };
        match admit(&self.shared, &self.hooks, &self.parts, known) {
            Admission::Answered(response) => Stage::answer(response),
            Admission::Passed(counted) => {
                let body = match collected {
                    Collected::Whole => RequestBody::whole(bytes, self.trailers),
                    _ => RequestBody::begun(bytes, self.body),
                };
                Stage::pass(&mut self.service, &self.shared, self.parts, body, counted)
            }
            // Nobody waits for a body twice.
            Admission::Awaited { .. } => Stage::answer(bare(StatusCode::INTERNAL_SERVER_ERROR)),
        }
    }
}

impl<S, B, R> Future for ResponseFuture<S, B>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
    B: Body<Data = Bytes>,
    R: Body<Data = Bytes>,
{
    type Output = Result<Response<ResponseBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut stage = self.project().stage;
        loop {
            match stage.as_mut().project() {
                StageProjection::Waiting { waiting: held } => {
                    let collected = match held {
                        Some(waiting) => ready!(waiting.poll_body(cx)),
                        None => Collected::Broken,
                    };
                    let next = held.take().map(|waiting| waiting.decide(collected));
                    stage.set(next.unwrap_or(Stage::Answered { response: None }));
                }
                StageProjection::Passed { response, write } => {
                    let response = ready!(response.poll(cx))?;
                    let counted = write.take().map(|write| write.respond(&response));
                    return Poll::Ready(Ok(response.map(|body| ResponseBody::served(body, counted))));
                }
                StageProjection::Answered { response } => {
                    let done = || bare(StatusCode::INTERNAL_SERVER_ERROR);
                    let response = response.take().unwrap_or_else(done);
                    return Poll::Ready(Ok(response.map(ResponseBody::own)));
                }
            }
        }
    }
}

impl Write {
    /// What stays counted until the response's body has ended.
    fn respond<R>(self, response: &Response<R>) -> Arc<Counted> {
        if let Some(Switch { is_connect, shared }) = &self.switches {
            let status = response.status();
            let has_switched =
                status == StatusCode::SWITCHING_PROTOCOLS || (*is_connect && status.is_success());
            // Ours is the only one.
            if has_switched && Arc::strong_count(&self.counted) == 1 {
                shared.in_flight.lose_sight();
                tracing::warn!(
                    "a connection was switched to another protocol, and its handler does not keep the request's \
                     `WriteInFlight`: from now on no freeze of this process can be proven"
                );
            }
        }
        self.counted
    }
}
