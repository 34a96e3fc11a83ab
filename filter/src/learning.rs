//! Learns from the answers of MCP servers which of their tools read, where an operator trusts them.
//!
//! Answers are heard while they pass, and none is held back. What is learned lives in shared data, so that all
//! workers know it at once, for as long as the process. The same code is in every build of the filter,
//! and [`LEARNS`] says whether it is of any use: the module that does not learn exports no callback for
//! answers, because Envoy would enter the VM for those of every request.

use std::cell::OnceCell;

use quiesce_policy::{
    Request,
    learning::{self, Heard, Lesson, Listener, Url, listing_id},
    snapshot::SurfaceName,
};

use crate::host;

/// Whether this is the module that learns.
pub const LEARNS: bool = cfg!(feature = "learning");

/// Answers that one VM listens to at a time; of more, those that were not silent for longest.
const MAX_LISTENING: usize = 16;

/// The answers that this VM listens to, the one that was silent for longest first.
#[derive(Default)]
pub struct Listening(Vec<Awaited>);

/// An answer that has not been heard to its end.
struct Awaited {
    context_id: u32,
    server: Server,
    stage: Stage,
}

enum Stage {
    /// The call has been passed, with this id.
    Called(Vec<u8>),
    /// The answer is coming.
    Answering(Listener),
}

/// Whose tools are learned: those of one URL of a surface.
struct Server {
    surface: SurfaceName,
    url: Url,
}

impl Listening {
    /// Listens to the answer to this request, if it is a call that lists tools; it is then asked of the origin
    /// in a form that can be read.
    pub fn listen(&mut self, context_id: u32, surface: &SurfaceName, request: &Request<'_>, body: &[u8]) {
        let Some((id, url)) = listing_id(request, body).zip(Url::of(request)) else { return };
        host::remove_request_header("accept-encoding");
        if self.0.len() == MAX_LISTENING {
            self.0.remove(0);
        }
        let server = Server { surface: surface.clone(), url };
        self.0.push(Awaited { context_id, server, stage: Stage::Called(id.to_vec()) });
    }

    /// Takes in the head of an answer.
    pub fn on_headers(&mut self, context_id: u32, end_of_stream: bool) {
        let Some(mut awaited) = self.take(context_id) else { return };
        if let Stage::Called(id) = awaited.stage
            && !end_of_stream
            && let Some(listener) = Listener::new(id, host::answer_headers().headers())
        {
            awaited.stage = Stage::Answering(listener);
            self.0.push(awaited);
        }
    }

    /// Takes in a part of an answer, which passes on.
    pub fn on_part(&mut self, context_id: u32, size_bytes: usize, end_of_stream: bool) {
        let Some(mut awaited) = self.take(context_id) else { return };
        let Stage::Answering(listener) = &mut awaited.stage else { return };
        match listener.hear(&host::answer_part(size_bytes), end_of_stream) {
            Heard::Nothing if end_of_stream => {}
            Heard::Nothing => self.0.push(awaited),
            Heard::Lesson(lesson) => awaited.server.learn(&lesson),
            Heard::Unreadable => awaited.server.forget(),
        }
    }

    /// Listens no more. Of an answer with trailers it is only here that it is known to be whole.
    pub fn on_end(&mut self, context_id: u32) {
        if let Some(Awaited { server, stage: Stage::Answering(listener), .. }) = self.take(context_id)
            && let Some(lesson) = listener.break_off()
        {
            server.learn(&lesson);
        }
    }

    fn take(&mut self, context_id: u32) -> Option<Awaited> {
        let at = self.0.iter().position(|awaited| awaited.context_id == context_id)?;
        Some(self.0.remove(at))
    }
}

impl Server {
    fn learn(&self, lesson: &Lesson) {
        if self.change(|learned| learning::learn(learned, &self.url, lesson)) {
            log::info!("which tools of surface {} read has been learned anew", self.surface);
        }
    }

    fn forget(&self) {
        log::debug!("an answer to tools/list on surface {} could not be read", self.surface);
        if self.change(|learned| learning::forget(learned, &self.url)) {
            log::info!("which tools of a server of surface {} read is not known any more", self.surface);
        }
    }

    /// Changes what is known in the process; says whether it is something else now.
    fn change(&self, change: impl Fn(&[u8]) -> Vec<u8>) -> bool {
        let key = key(&self.surface);
        loop {
            let read = host::shared(&key);
            let known = read.value.as_deref().unwrap_or_default();
            let changed = change(known);
            if changed == known {
                return false;
            }
            if host::replace_shared(&key, &read, &changed) {
                return true;
            }
        }
    }
}

/// Whether the server that a request goes to has said that a tool reads; `fetched` keeps what is known of its
/// surface from one question to the next.
pub fn has_learned(
    fetched: &OnceCell<Vec<u8>>,
    surface: &SurfaceName,
    request: &Request<'_>,
    tool: &str,
) -> bool {
    let learned = fetched.get_or_init(|| host::shared(&key(surface)).value.unwrap_or_default());
    Url::of(request).is_some_and(|url| learning::has_learned(learned, &url, tool))
}

fn key(surface: &SurfaceName) -> String {
    format!("quiesce.tools.{surface}")
}
