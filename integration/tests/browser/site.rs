//! Somebody's web site: one page, with the strictest Content-Security-Policy that a banner from elsewhere allows.

use std::{convert::Infallible, net::SocketAddr};

use http_body_util::Full;
use hyper::{
    Response,
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{net::TcpListener, task::JoinHandle};

/// A running site; it ends when dropped.
pub struct Site {
    addr: SocketAddr,
    server: JoinHandle<()>,
}

impl Site {
    /// A site with this in the body of its page, which may load scripts from `companion` and ask `envoy`.
    pub async fn start(body: &str, companion: SocketAddr, envoy: SocketAddr) -> Self {
        let policy = format!(
            "default-src 'none'; script-src http://{companion}; connect-src http://{envoy}; img-src data:"
        );
        let page = format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>A shop</title>\
             <meta name=\"viewport\" content=\"width=device-width\"><meta name=\"color-scheme\" content=\"light dark\">\
             <link rel=\"icon\" href=\"data:,\"><script src=\"http://{companion}/banner.js\" defer></script></head>\
             <body>{body}<main><h1>A shop</h1><p>Tea, and books about tea.</p></main></body></html>"
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (page, policy) = (page.clone(), policy.clone());
                let answer = service_fn(move |_: hyper::Request<Incoming>| {
                    let response = Response::builder()
                        .header("content-type", "text/html; charset=utf-8")
                        .header("content-security-policy", policy.clone())
                        .body(Full::new(Bytes::from(page.clone())))
                        .unwrap();
                    async { Ok::<_, Infallible>(response) }
                });
                let served = auto::Builder::new(TokioExecutor::new());
                tokio::spawn(async move {
                    let _ = served.serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        Self { addr, server }
    }

    /// Where its page is.
    pub fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.server.abort();
    }
}
