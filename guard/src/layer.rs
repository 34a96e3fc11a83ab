//! A tower layer that has the guard decide about every request of a service.

use std::{
    fmt,
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Extensions, Method, Request, Response};
use http_body::Body;
use tower::{Layer, Service};

use crate::{
    Guard, RequestBody, ResponseBody, ResponseFuture,
    admission::{self, Admission, admit},
};

type PeerIdentity = dyn Fn(&Extensions) -> Option<String> + Send + Sync;
type ClientAddress = dyn Fn(&Extensions) -> Option<IpAddr> + Send + Sync;

/// What only the service's server knows of a request.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    peer_identity: Option<Arc<PeerIdentity>>,
    client_address: Option<Arc<ClientAddress>>,
}

impl Hooks {
    pub(crate) fn peer_identity(&self, extensions: &Extensions) -> Option<Vec<u8>> {
        self.peer_identity.as_ref().and_then(|of| of(extensions)).map(String::into_bytes)
    }

    pub(crate) fn client_address(&self, extensions: &Extensions) -> Option<IpAddr> {
        self.client_address.as_ref().and_then(|of| of(extensions))
    }
}

/// Has a guard decide about every request of a service. Put it outermost, and before whatever rewrites a path or a
/// header: what it judges must be what the client has sent.
#[derive(Clone)]
pub struct GuardLayer {
    guard: Guard,
    hooks: Hooks,
}

impl fmt::Debug for GuardLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardLayer").field("guard", &self.guard).finish_non_exhaustive()
    }
}

impl GuardLayer {
    /// The layer of a guard.
    pub fn new(guard: Guard) -> Self {
        Self { guard, hooks: Hooks::default() }
    }

    /// How the service's server tells the URI SAN of the client certificate that it has verified; without this,
    /// exemptions by identity do not count here. Never take it from a header that clients can set.
    #[must_use]
    pub fn peer_identity(
        mut self,
        of: impl Fn(&Extensions) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.hooks.peer_identity = Some(Arc::new(of));
        self
    }

    /// How the service's server tells a client's address, by which clients are told apart that come back before
    /// their time, where no proxy has noted one.
    #[must_use]
    pub fn client_address(
        mut self,
        of: impl Fn(&Extensions) -> Option<IpAddr> + Send + Sync + 'static,
    ) -> Self {
        self.hooks.client_address = Some(Arc::new(of));
        self
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = GuardService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        GuardService { inner, guard: self.guard.clone(), hooks: self.hooks.clone() }
    }
}

/// A service whose requests a guard decides about.
#[derive(Clone)]
pub struct GuardService<S> {
    inner: S,
    guard: Guard,
    hooks: Hooks,
}

impl<S: fmt::Debug> fmt::Debug for GuardService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardService").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, B, R> Service<Request<B>> for GuardService<S>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone,
    B: Body<Data = Bytes>,
    R: Body<Data = Bytes>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let known = if body.is_end_stream() { admission::Body::Whole(&[]) } else { admission::Body::ToCome };
        match admit(self.guard.shared(), &self.hooks, &parts, known) {
            Admission::Passed(counted) => ResponseFuture::pass(
                &mut self.inner,
                self.guard.shared(),
                parts,
                RequestBody::direct(body),
                counted,
            ),
            Admission::Answered(response) => ResponseFuture::answer(response),
            Admission::Awaited { max_bytes } => {
                // The one that is ready is this one; the next call makes its clone ready first.
                let clone = self.inner.clone();
                let inner = std::mem::replace(&mut self.inner, clone);
                let (shared, hooks) = (Arc::clone(self.guard.shared()), self.hooks.clone());
                ResponseFuture::wait(inner, shared, hooks, parts, body, max_bytes)
            }
        }
    }
}

/// Whether a request asks for a connection that goes on after the response, in which anything may follow.
pub(crate) fn asks_to_switch(parts: &http::request::Parts) -> bool {
    parts.method == Method::CONNECT || parts.headers.contains_key(http::header::UPGRADE)
}
