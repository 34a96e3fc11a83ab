//! What tonic's code generator makes of `service Notes { rpc Add(…); rpc Count(…); }`, so that the example needs no
//! `protoc`; a service of one's own has `tonic::include_proto!` here.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{Service, http},
    server::{Grpc, NamedService, UnaryService},
};
use tonic_prost::ProstCodec;

type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A note to add.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AddRequest {
    /// What it says.
    #[prost(string, tag = "1")]
    pub text: String,
}

/// It was added.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Added {}

/// Asks how many there are.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct CountRequest {}

/// How many there are.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Counted {
    /// So many.
    #[prost(uint64, tag = "1")]
    pub notes: u64,
}

/// The service.
#[tonic::async_trait]
pub trait Notes: Send + Sync + 'static {
    /// Adds a note.
    async fn add(&self, request: Request<AddRequest>) -> Result<Response<Added>, Status>;
    /// Counts the notes.
    async fn count(&self, request: Request<CountRequest>) -> Result<Response<Counted>, Status>;
}

/// Serves it.
#[derive(Debug)]
pub struct NotesServer<T>(Arc<T>);

impl<T> NotesServer<T> {
    /// Serves these notes.
    pub fn new(notes: T) -> Self {
        Self(Arc::new(notes))
    }
}

impl<T> Clone for NotesServer<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> NamedService for NotesServer<T> {
    const NAME: &'static str = "example.Notes";
}

struct Add<T>(Arc<T>);

impl<T: Notes> UnaryService<AddRequest> for Add<T> {
    type Response = Added;
    type Future = Answer<Result<Response<Added>, Status>>;

    fn call(&mut self, request: Request<AddRequest>) -> Self::Future {
        let notes = Arc::clone(&self.0);
        Box::pin(async move { notes.add(request).await })
    }
}

struct Count<T>(Arc<T>);

impl<T: Notes> UnaryService<CountRequest> for Count<T> {
    type Response = Counted;
    type Future = Answer<Result<Response<Counted>, Status>>;

    fn call(&mut self, request: Request<CountRequest>) -> Self::Future {
        let notes = Arc::clone(&self.0);
        Box::pin(async move { notes.count(request).await })
    }
}

impl<T, B> Service<http::Request<B>> for NotesServer<T>
where
    T: Notes,
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<tonic::codegen::StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let notes = Arc::clone(&self.0);
        match request.uri().path() {
            "/example.Notes/Add" => {
                Box::pin(async move { Ok(Grpc::new(ProstCodec::default()).unary(Add(notes), request).await) })
            }
            "/example.Notes/Count" => {
                Box::pin(
                    async move { Ok(Grpc::new(ProstCodec::default()).unary(Count(notes), request).await) },
                )
            }
            _ => Box::pin(async { Ok(Status::unimplemented("no such method").into_http()) }),
        }
    }
}
