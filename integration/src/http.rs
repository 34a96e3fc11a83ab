//! A plain HTTP/1.1 client that sends a request exactly as given, odd paths and headers included.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// Nothing here takes longer, long polls and slow writes included.
const BOUND: Duration = Duration::from_secs(60);
const MAX_HEADERS: usize = 100;

/// A request; one connection each.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// A request for `target`, which goes onto the wire as it is.
    pub fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    /// `GET target`.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// `POST target` with a body.
    pub fn post(target: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", target).body(body)
    }

    /// Adds a header; `host` replaces the default, which is the address.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body, sent with a Content-Length.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The bytes on the wire.
    pub fn to_bytes(&self, addr: SocketAddr) -> Vec<u8> {
        let has = |name: &str| self.headers.iter().any(|(one, _)| one.eq_ignore_ascii_case(name));
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        let mut line = |name: &str, value: &str| {
            head.push_str(name);
            head.push_str(": ");
            head.push_str(value);
            head.push_str("\r\n");
        };
        if !has("host") {
            line("host", &addr.to_string());
        }
        for (name, value) in &self.headers {
            line(name, value);
        }
        let bodied = !self.body.is_empty() || matches!(self.method.as_str(), "POST" | "PUT" | "PATCH");
        if bodied && !has("content-length") && !has("transfer-encoding") {
            line("content-length", &self.body.len().to_string());
        }
        if !has("connection") {
            line("connection", "close");
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Sends it to `addr` and reads the answer to its end.
    ///
    /// # Errors
    /// When the connection fails or ends before the answer does, or the answer is not HTTP/1.1.
    pub async fn send(&self, addr: SocketAddr) -> Result<Response> {
        let exchange = async {
            let mut stream = TcpStream::connect(addr).await?;
            stream.write_all(&self.to_bytes(addr)).await?;
            Response::read(&mut stream, self.method == "HEAD").await
        };
        timeout(BOUND, exchange)
            .await
            .context("no answer in time")
            .and_then(|answer| answer)
            .with_context(|| format!("{} {} at {addr}", self.method, self.target))
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, freed of its transfer coding.
    pub body: Vec<u8>,
}

impl Response {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(one, _)| one.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body read as JSON.
    ///
    /// # Errors
    /// When it is not, or not of this shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).with_context(|| format!("not the JSON expected: {}", self.text()))
    }

    /// Reads one answer from a connection; `bodiless` for the answer to a HEAD.
    ///
    /// # Errors
    /// When the connection ends before the answer does, or the answer is not HTTP/1.1.
    pub async fn read(stream: &mut (impl tokio::io::AsyncRead + Unpin), bodiless: bool) -> Result<Self> {
        let mut bytes = Vec::new();
        let (mut response, head_length) = loop {
            if stream.read_buf(&mut bytes).await? == 0 {
                bail!("the connection ended within the head, after {} bytes", bytes.len());
            }
            if let Some(parsed) = Self::parse_head(&bytes)? {
                break parsed;
            }
        };
        let mut rest = bytes.split_off(head_length);
        if bodiless || matches!(response.status, 204 | 304) {
            return Ok(response);
        }
        if response.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
            while !dechunk(&rest, &mut response.body)? {
                ensure!(stream.read_buf(&mut rest).await? > 0, "the connection ended within a chunked body");
            }
        } else if let Some(length) = response.header("content-length") {
            let length: usize = length.parse().context("content-length")?;
            while rest.len() < length {
                ensure!(stream.read_buf(&mut rest).await? > 0, "the connection ended within the body");
            }
            rest.truncate(length);
            response.body = rest;
        } else {
            stream.read_to_end(&mut rest).await?;
            response.body = rest;
        }
        Ok(response)
    }

    fn parse_head(bytes: &[u8]) -> Result<Option<(Self, usize)>> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut head = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(length) = head.parse(bytes)? else {
            return Ok(None);
        };
        let headers = head
            .headers
            .iter()
            .map(|one| (one.name.to_ascii_lowercase(), String::from_utf8_lossy(one.value).into_owned()))
            .collect();
        let status = head.code.context("no status code")?;
        Ok(Some((Self { status, headers, body: Vec::new() }, length)))
    }
}

/// Decodes a chunked body from its start; true when it is complete.
fn dechunk(mut bytes: &[u8], body: &mut Vec<u8>) -> Result<bool> {
    body.clear();
    loop {
        let size = httparse::parse_chunk_size(bytes).ok().context("not a chunk size")?;
        let httparse::Status::Complete((line, size)) = size else {
            return Ok(false);
        };
        let size = usize::try_from(size)?;
        let Some(data) = bytes.get(line..line + size) else {
            return Ok(false);
        };
        body.extend_from_slice(data);
        let Some(next) = bytes.get(line + size + 2..) else {
            return Ok(false);
        };
        if size == 0 {
            return Ok(true);
        }
        bytes = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_chunks_only_when_all_are_there() {
        let whole = b"4\r\nread\r\n3;x=y\r\n-on\r\n0\r\n\r\n";
        let mut body = Vec::new();
        assert!(dechunk(whole, &mut body).unwrap());
        assert_eq!(body, b"read-on");
        for cut in 0..whole.len() {
            assert!(!dechunk(&whole[..cut], &mut body).unwrap(), "complete at {cut}");
        }
    }

    #[test]
    fn sends_a_target_as_it_is() {
        let bytes = Request::get("/a/../b//%2e").to_bytes(([127, 0, 0, 1], 80).into());
        assert!(bytes.starts_with(b"GET /a/../b//%2e HTTP/1.1\r\nhost: 127.0.0.1:80\r\n"));
    }
}
