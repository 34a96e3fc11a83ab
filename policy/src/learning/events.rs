//! Streams of server-sent events, heard part by part for the messages in them.
//!
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation>

use super::{Heard, MAX_ANSWER_BYTES};

/// What has been heard of an event that goes on.
#[derive(Debug)]
pub struct Events {
    /// The line that is not whole.
    line: Vec<u8>,
    /// The lines of data before it, each with its end.
    data: Vec<u8>,
    /// Whether the event is of the type that messages have.
    is_message: bool,
    /// Whether the last byte was a carriage return, with which a line feed is one end of a line.
    after_return: bool,
    /// Whether no line has ended yet.
    is_first: bool,
}

impl Default for Events {
    fn default() -> Self {
        Self { line: Vec::new(), data: Vec::new(), is_message: true, after_return: false, is_first: true }
    }
}

impl Events {
    /// Hears the next part, and has `read` look at each message that it completes.
    pub fn hear(&mut self, mut part: &[u8], read: impl Fn(&[u8]) -> Heard) -> Heard {
        loop {
            if std::mem::take(&mut self.after_return) {
                part = part.strip_prefix(b"\n").unwrap_or(part);
                if part.is_empty() {
                    return Heard::Nothing;
                }
            }
            let end = part.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let line = part.get(..end.unwrap_or(part.len())).unwrap_or_default();
            if self.line.len() + line.len() + self.data.len() > MAX_ANSWER_BYTES {
                return Heard::Unreadable;
            }
            self.line.extend_from_slice(line);
            let Some(end) = end else { return Heard::Nothing };
            self.after_return = part.get(end) == Some(&b'\r');
            part = part.get(end + 1..).unwrap_or_default();
            let heard = self.end_line(&read);
            if heard != Heard::Nothing {
                return heard;
            }
            if part.is_empty() {
                return Heard::Nothing;
            }
        }
    }

    fn end_line(&mut self, read: &impl Fn(&[u8]) -> Heard) -> Heard {
        let line = std::mem::take(&mut self.line);
        // Some readers skip a byte order mark, others take it for a part of the first field's name.
        if std::mem::take(&mut self.is_first) && line.starts_with(b"\xef\xbb\xbf") {
            return Heard::Unreadable;
        }
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            let is_message = std::mem::replace(&mut self.is_message, true);
            let data = data.trim_ascii();
            return if data.is_empty() || !is_message { Heard::Nothing } else { read(data) };
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match line.get(..colon) {
            Some(b"data") => {
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
            }
            Some(b"event") => self.is_message = matches!(value, b"" | b"message"),
            _ => {}
        }
        Heard::Nothing
    }
}
