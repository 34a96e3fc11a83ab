//! HTTP streams through a VM, callback by callback as Envoy's filter chain would make them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};

use super::{
    abi,
    memory::Pairs,
    state::{Action, LocalResponse, Phase, ROOT},
    vm::Vm,
};

/// Names a stream of one VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(pub(super) u32);

/// The head of a request as the filter sees it.
#[derive(Clone, Debug)]
pub struct Head {
    headers: Pairs,
    properties: BTreeMap<String, Vec<u8>>,
}

impl Head {
    /// A request for `path` of `api.example.com` over plain HTTP from 127.0.0.1.
    pub fn new(method: &str, path: &str) -> Self {
        let headers =
            [(":authority", "api.example.com"), (":path", path), (":method", method), (":scheme", "http")]
                .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
                .to_vec();
        let properties = BTreeMap::from([("source.address".to_owned(), b"127.0.0.1:40000".to_vec())]);
        Self { headers, properties }
    }

    /// Adds a header; pseudo-headers replace what is there.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name = name.to_ascii_lowercase();
        if name.starts_with(':') {
            self.headers.retain(|(one, _)| *one != name);
        }
        self.headers.push((name, value.as_ref().to_vec()));
        self
    }

    /// Sets a property of the stream by its dotted path.
    #[must_use]
    pub fn property(mut self, path: &str, value: impl AsRef<[u8]>) -> Self {
        self.properties.insert(path.to_owned(), value.as_ref().to_vec());
        self
    }
}

/// What became of a request so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on to the origin.
    Passed,
    /// The module holds it.
    Paused,
    /// The module answered it.
    Answered(LocalResponse),
    /// The module reset it.
    Reset,
}

impl Outcome {
    /// The module's own answer.
    ///
    /// # Errors
    /// When it gave none.
    pub fn answered(&self) -> Result<&LocalResponse> {
        match self {
            Self::Answered(response) => Ok(response),
            other => anyhow::bail!("the module gave no answer: {other:?}"),
        }
    }
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) request_headers: Pairs,
    pub(super) has_request_headers: bool,
    pub(super) response_headers: Pairs,
    pub(super) properties: BTreeMap<String, Vec<u8>>,
    pub(super) body: Vec<u8>,
    pub(super) local: Option<LocalResponse>,
    pub(super) paused: bool,
}

impl Vm {
    /// Brings a request's head to the filter: `on_context_create`, `on_request_headers`.
    ///
    /// # Errors
    /// When the module traps or misuses a host call.
    pub fn request(&mut self, head: &Head, end_of_stream: bool) -> Result<(StreamId, Outcome)> {
        let id = self.next_context();
        let stream = Stream {
            request_headers: head.headers.clone(),
            has_request_headers: true,
            response_headers: Pairs::new(),
            properties: head.properties.clone(),
            body: Vec::new(),
            local: None,
            paused: false,
        };
        let count = u32::try_from(stream.request_headers.len())?;
        self.state_mut().streams.insert(id, stream);
        self.call_void(Phase::Create, id, "proxy_on_context_create", (id, ROOT))?;
        let args = (id, count, u32::from(end_of_stream));
        let action = self.call_action(Phase::RequestHeaders, id, "proxy_on_request_headers", args)?;
        if let Some(stream) = self.state_mut().streams.get_mut(&id) {
            stream.paused = action != abi::ACTION_CONTINUE;
            stream.has_request_headers &= stream.paused;
        }
        self.after_call()?;
        Ok((StreamId(id), self.outcome(StreamId(id))))
    }

    /// Brings a part of a request's body to the filter.
    ///
    /// # Errors
    /// As [`Self::request`], and when the stream is gone.
    pub fn request_body(&mut self, stream: StreamId, bytes: &[u8], end_of_stream: bool) -> Result<Outcome> {
        self.body(stream, bytes, end_of_stream, Phase::RequestBody, "proxy_on_request_body")
    }

    /// Brings the head of the origin's answer to the filter.
    ///
    /// # Errors
    /// As [`Self::request`], and when the stream is gone.
    pub fn response(&mut self, stream: StreamId, status: u16, end_of_stream: bool) -> Result<Outcome> {
        self.response_with(stream, status, &[], end_of_stream)
    }

    /// Brings the head of the origin's answer to the filter, with these headers besides the status.
    ///
    /// # Errors
    /// As [`Self::request`], and when the stream is gone.
    pub fn response_with(
        &mut self,
        stream: StreamId,
        status: u16,
        headers: &[(&str, &str)],
        end_of_stream: bool,
    ) -> Result<Outcome> {
        let mut pairs = vec![(":status".to_owned(), status.to_string().into_bytes())];
        pairs.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())));
        self.response_head(stream.0, pairs, end_of_stream)?;
        self.after_call()?;
        Ok(self.outcome(stream))
    }

    /// Brings a part of the body of the origin's answer to the filter.
    ///
    /// # Errors
    /// As [`Self::request`], and when the stream is gone.
    pub fn response_body(&mut self, stream: StreamId, bytes: &[u8], end_of_stream: bool) -> Result<Outcome> {
        self.body(stream, bytes, end_of_stream, Phase::ResponseBody, "proxy_on_response_body")
    }

    /// A header of a request as the origin gets it.
    pub fn request_header(&self, stream: StreamId, name: &str) -> Option<&[u8]> {
        let stream = self.state().streams.get(&stream.0)?;
        super::memory::first(&stream.request_headers, name)
    }

    /// Ends a stream, however that came about: `on_log`, `on_done`, `on_delete`.
    ///
    /// A stream of a VM that has failed just goes: Envoy calls nothing in such a VM.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn finish(&mut self, stream: StreamId) -> Result<()> {
        let id = stream.0;
        if self.has_failed() || !self.state().streams.contains_key(&id) {
            self.state_mut().streams.remove(&id);
            return Ok(());
        }
        // `doDeferredStreamDestroy`: the access loggers first, then `onDestroy`.
        self.call_void(Phase::Log, id, "proxy_on_log", id)?;
        self.call_action(Phase::Done, id, "proxy_on_done", id)?;
        self.call_void(Phase::Delete, id, "proxy_on_delete", id)?;
        self.state_mut().streams.remove(&id);
        Ok(())
    }

    /// A whole exchange: the request with an empty body, the origin's 200 if it passed, the end.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn exchange(&mut self, head: &Head) -> Result<Outcome> {
        self.exchange_with_body(head, &[])
    }

    /// The same with a body, which comes in one piece.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn exchange_with_body(&mut self, head: &Head, body: &[u8]) -> Result<Outcome> {
        let (stream, mut outcome) = self.request(head, body.is_empty())?;
        if !body.is_empty() && matches!(outcome, Outcome::Passed | Outcome::Paused) {
            outcome = self.request_body(stream, body, true)?;
        }
        if outcome == Outcome::Passed {
            self.response(stream, 200, true)?;
        }
        self.finish(stream)?;
        Ok(outcome)
    }

    /// What became of a stream.
    pub fn outcome(&self, stream: StreamId) -> Outcome {
        match self.state().streams.get(&stream.0) {
            None => Outcome::Reset,
            Some(Stream { local: Some(response), .. }) => Outcome::Answered(response.clone()),
            Some(Stream { paused: true, .. }) => Outcome::Paused,
            Some(_) => Outcome::Passed,
        }
    }

    fn body(
        &mut self,
        stream: StreamId,
        bytes: &[u8],
        end_of_stream: bool,
        phase: Phase,
        callback: &str,
    ) -> Result<Outcome> {
        let id = stream.0;
        let state = self.state_mut();
        let held = state.streams.get_mut(&id).context("the stream is gone")?;
        ensure!(held.local.is_none(), "stream {id} has been answered");
        // What was held back comes again, with what is new behind it.
        if !held.paused {
            held.body.clear();
        }
        held.body.extend_from_slice(bytes);
        let args = (id, u32::try_from(held.body.len())?, u32::from(end_of_stream));
        let action = self.call_action(phase, id, callback, args)?;
        if let Some(held) = self.state_mut().streams.get_mut(&id) {
            held.paused = action != abi::ACTION_CONTINUE;
            held.has_request_headers &= held.paused;
        }
        self.after_call()?;
        Ok(self.outcome(stream))
    }

    fn response_head(&mut self, id: u32, headers: Pairs, end_of_stream: bool) -> Result<()> {
        let count = u32::try_from(headers.len())?;
        self.state_mut().streams.get_mut(&id).context("the stream is gone")?.response_headers = headers;
        let args = (id, count, u32::from(end_of_stream));
        self.call_action(Phase::ResponseHeaders, id, "proxy_on_response_headers", args)?;
        Ok(())
    }

    /// Does what Envoy does once the VM has returned.
    pub(super) fn after_call(&mut self) -> Result<()> {
        for action in std::mem::take(&mut self.state_mut().actions) {
            match action {
                // A local answer goes out through the filter that gave it.
                Action::Answer(id) => {
                    let local = self.state().streams.get(&id).and_then(|stream| stream.local.clone());
                    let local = local.context("an answer for a stream that is gone")?;
                    let mut headers = vec![(":status".to_owned(), local.status.to_string().into_bytes())];
                    headers.extend(local.headers.into_iter().map(|(name, value)| (name, value.into_bytes())));
                    self.response_head(id, headers, local.body.is_empty())?;
                    if !local.body.is_empty() {
                        self.state_mut().streams.get_mut(&id).context("the stream is gone")?.body =
                            local.body;
                        let args = (id, 0_u32, 1_u32);
                        self.call_action(Phase::ResponseBody, id, "proxy_on_response_body", args)?;
                    }
                }
                Action::Close(id) => self.finish(StreamId(id))?,
            }
        }
        Ok(())
    }
}
