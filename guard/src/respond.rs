//! Policy's answers as responses of `http`.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header::CONTENT_TYPE};
use quiesce_policy::{reply::Reply, wire::percent_encoded};

/// The response that says what `reply` says, to a request of this method.
pub(crate) fn response(reply: Reply, method: &Method) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    for (name, value) in reply.headers.headers().pairs() {
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) else {
            continue;
        };
        response.headers_mut().append(name, value);
    }
    match reply.grpc_status {
        // Trailers alone, which then are headers (gRPC over HTTP/2, "Trailers-Only").
        Some(status) => {
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert("grpc-status", HeaderValue::from(status));
            let message = percent_encoded(&String::from_utf8_lossy(&reply.body));
            if let Ok(message) = HeaderValue::from_str(&message) {
                headers.insert("grpc-message", message);
            }
        }
        None if method == Method::HEAD => {}
        None => *response.body_mut() = Bytes::from(reply.body),
    }
    response
}
