//! Bodies on their way through the guard: what was looked into, and what keeps a write counted.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::in_flight::Counted;

pin_project! {
    /// The body of a request that has passed: what the guard has looked into, and what follows.
    pub struct RequestBody<B> {
        looked_into: Option<Bytes>,
        trailers: Option<HeaderMap>,
        #[pin]
        rest: Rest<B>,
        // A write goes on for as long as its body is read.
        counted: Option<Arc<Counted>>,
    }
}

pin_project! {
    #[project = RestProjection]
    enum Rest<B> {
        Direct { #[pin] body: B },
        Boxed { body: Pin<Box<B>> },
        Nothing,
    }
}

impl<B> fmt::Debug for RequestBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").finish_non_exhaustive()
    }
}

impl<B> RequestBody<B> {
    /// A body that was not looked into.
    pub(crate) fn direct(body: B) -> Self {
        Self { looked_into: None, trailers: None, rest: Rest::Direct { body }, counted: None }
    }

    /// A body that has come whole.
    pub(crate) fn whole(bytes: Bytes, trailers: Option<HeaderMap>) -> Self {
        let looked_into = Some(bytes).filter(|bytes| !bytes.is_empty());
        Self { looked_into, trailers, rest: Rest::Nothing, counted: None }
    }

    /// A body of which so much has come.
    pub(crate) fn begun(bytes: Bytes, rest: Pin<Box<B>>) -> Self {
        let looked_into = Some(bytes).filter(|bytes| !bytes.is_empty());
        Self { looked_into, trailers: None, rest: Rest::Boxed { body: rest }, counted: None }
    }

    /// Keeps a write counted until the body is dropped.
    pub(crate) fn keeping(self, counted: Option<Arc<Counted>>) -> Self {
        Self { counted, ..self }
    }
}

impl<B: Body<Data = Bytes>> Body for RequestBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        if let Some(bytes) = this.looked_into.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match this.rest.project() {
            RestProjection::Direct { body } => body.poll_frame(cx),
            RestProjection::Boxed { body } => body.as_mut().poll_frame(cx),
            RestProjection::Nothing => Poll::Ready(this.trailers.take().map(|it| Ok(Frame::trailers(it)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.looked_into.is_none()
            && match &self.rest {
                Rest::Direct { body } => body.is_end_stream(),
                Rest::Boxed { body } => body.is_end_stream(),
                Rest::Nothing => self.trailers.is_none(),
            }
    }

    fn size_hint(&self) -> SizeHint {
        let bytes = self.looked_into.as_ref().map_or(0, |bytes| bytes.len() as u64);
        let rest = match &self.rest {
            Rest::Direct { body } => body.size_hint(),
            Rest::Boxed { body } => body.size_hint(),
            Rest::Nothing => SizeHint::with_exact(0),
        };
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(bytes));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(bytes));
        }
        hint
    }
}

pin_project! {
    /// The body of a response: the service's, or the guard's own. A write is in flight until it has ended or is
    /// dropped.
    pub struct ResponseBody<B> {
        #[pin]
        content: Content<B>,
        counted: Option<Arc<Counted>>,
    }
}

pin_project! {
    #[project = ContentProjection]
    enum Content<B> {
        Served { #[pin] body: B },
        Own { bytes: Bytes },
    }
}

impl<B> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").finish_non_exhaustive()
    }
}

impl<B> ResponseBody<B> {
    /// The service's.
    pub(crate) fn served(body: B, counted: Option<Arc<Counted>>) -> Self {
        Self { content: Content::Served { body }, counted }
    }

    /// The guard's own.
    pub(crate) fn own(bytes: Bytes) -> Self {
        Self { content: Content::Own { bytes }, counted: None }
    }
}

impl<B: Body<Data = Bytes>> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let polled = match this.content.project() {
            ContentProjection::Served { body } => body.poll_frame(cx),
            ContentProjection::Own { bytes } if bytes.is_empty() => Poll::Ready(None),
            ContentProjection::Own { bytes } => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
        };
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            *this.counted = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Served { body } => body.is_end_stream(),
            Content::Own { bytes } => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Served { body } => body.size_hint(),
            Content::Own { bytes } => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}
