//! What requests look like, counted within bounds, so that an operator sees every write before a window.

use crate::{
    Basis, Classified, Path, Policy, Request,
    bytes::fingerprint,
    sync::{DecidedBy, Seen, SeenRule},
};

/// Different requests kept until they are reported; more are counted together.
const MAX_SEEN: usize = 256;
/// Longer names of methods and calls, and longer templates, are cut; bytes.
const MAX_NAME_BYTES: usize = 128;
/// Deeper paths end in `{*rest}`.
const MAX_SEGMENTS: usize = 12;
/// A segment this long with a digit in it names one thing of many.
const MIN_ID_BYTES: usize = 8;
/// So does any that is longer than this.
const MAX_WORD_BYTES: usize = 40;
/// Messages of a batch that are looked at.
const MAX_CALLS: usize = 16;

/// Requests seen since they were last taken.
#[derive(Debug, Default)]
pub struct SeenTable {
    seen: Vec<(u64, Seen)>,
    unlisted: u64,
}

impl SeenTable {
    /// Notes a request with its body, if that was looked into.
    pub fn note(&mut self, policy: &Policy, request: &Request<'_>, classified: &Classified, body: &[u8]) {
        let (by, rule) = match classified.basis {
            Basis::Rule(rule) => (DecidedBy::Rule, Some(rule)),
            Basis::Headers(rule) => (DecidedBy::Headers, Some(rule)),
            Basis::Body(rule) => (DecidedBy::Body, Some(rule)),
            Basis::Learned(rule) => (DecidedBy::Learned, Some(rule)),
            Basis::Method => (DecidedBy::Method, None),
            Basis::Ambiguous => (DecidedBy::Ambiguous, None),
            Basis::Suspicion(_) => (DecidedBy::Suspicion, None),
        };
        let path = match (&request.path, rule) {
            // The rule's own path tells it better.
            (_, Some(_)) | (Path::Odd, _) => None,
            (Path::Plain(path), None) => Some(template(path.as_bytes())),
        };
        let mut seen = Seen {
            surface: policy.surface_name(classified.surface).to_owned(),
            method: name(request.method),
            path,
            call: None,
            effect: classified.effect,
            by,
            rule: rule.map(|rule| SeenRule { catalog: rule.catalog, index: rule.rule.0 }),
            count: 1,
        };
        let calls = policy.calls(request, classified, body);
        if calls.is_empty() {
            self.add(seen);
            return;
        }
        for call in calls.iter().take(MAX_CALLS) {
            seen.call = Some(name(call.as_bytes()));
            self.add(seen.clone());
        }
    }

    /// Adds what was seen, perhaps several times.
    pub fn add(&mut self, seen: Seen) {
        let mark = mark(&seen);
        if let Some((_, known)) = self.seen.iter_mut().find(|(other, _)| *other == mark) {
            known.count = known.count.saturating_add(seen.count);
        } else if self.seen.len() < MAX_SEEN {
            self.seen.push((mark, seen));
        } else {
            self.unlisted = self.unlisted.saturating_add(seen.count);
        }
    }

    /// Puts back what was taken.
    pub fn put_back(&mut self, seen: Vec<Seen>, unlisted: u64) {
        seen.into_iter().for_each(|seen| self.add(seen));
        self.unlisted = self.unlisted.saturating_add(unlisted);
    }

    /// Whether there is nothing to take.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty() && self.unlisted == 0
    }

    /// All that was seen, and how many requests more for which there was no room.
    pub fn take(&mut self) -> (Vec<Seen>, u64) {
        let seen = std::mem::take(&mut self.seen);
        (seen.into_iter().map(|(_, seen)| seen).collect(), std::mem::take(&mut self.unlisted))
    }
}

/// A number that differs for what is listed apart.
fn mark(seen: &Seen) -> u64 {
    let rule = seen.rule.map_or([u64::MAX; 2], |rule| {
        [rule.catalog.map_or(u64::MAX, |catalog| catalog as u64), rule.index as u64]
    });
    let numbers = [rule[0], rule[1], seen.effect as u64, seen.by as u64];
    let texts = [&seen.surface, &seen.method, seen.path.as_ref().unwrap_or(&seen.method)];
    let call = seen.call.as_deref().unwrap_or_default();
    let texts = texts.into_iter().map(String::as_str).chain([call]).map(|text| fingerprint(text.as_bytes()));
    let marks = numbers.into_iter().chain(texts).flat_map(u64::to_le_bytes);
    fingerprint(&marks.collect::<Vec<u8>>())
}

/// A path with what names one thing of many taken out: `/items/{id}`.
fn template(path: &[u8]) -> String {
    let mut template = String::new();
    for (at, segment) in path.split(|byte| *byte == b'/').skip(1).enumerate() {
        if at == MAX_SEGMENTS || template.len() + segment.len() > MAX_NAME_BYTES {
            template.push_str("/{*rest}");
            return template;
        }
        template.push('/');
        match std::str::from_utf8(segment) {
            Ok(word) if is_word(word) => template.push_str(word),
            _ => template.push_str("{id}"),
        }
    }
    template
}

fn is_word(segment: &str) -> bool {
    let is_ordinary =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'~');
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    let is_id = digits > 0 && (digits == segment.len() || segment.len() >= MIN_ID_BYTES);
    !is_id && segment.len() <= MAX_WORD_BYTES && segment.bytes().all(is_ordinary)
}

fn name(text: &[u8]) -> String {
    let text = text.get(..MAX_NAME_BYTES).unwrap_or(text);
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Effect;

    #[test]
    fn a_template_names_no_single_thing() {
        for (path, expected) in [
            ("/", "/"),
            ("/items/17", "/items/{id}"),
            ("/v1/collections/docs/points/search", "/v1/collections/docs/points/search"),
            ("/orders/018f6b1e-7c2a-7d10-a7c4-3f1e5a9b2c4d/lines", "/orders/{id}/lines"),
            ("/users/jane@example.com", "/users/{id}"),
            ("/v1beta1/users:batchGet", "/v1beta1/users:batchGet"),
            ("/a//b/", "/a//b/"),
            (
                "/1/2/3/4/5/6/7/8/9/10/11/12/13",
                "/{id}/{id}/{id}/{id}/{id}/{id}/{id}/{id}/{id}/{id}/{id}/{id}/{*rest}",
            ),
        ] {
            assert_eq!(template(path.as_bytes()), expected, "{path}");
        }
        let long = template(format!("/x/{}", "word/".repeat(100)).as_bytes());
        assert!(long.len() < MAX_NAME_BYTES + 10 && long.ends_with("/{*rest}"), "{long}");
    }

    #[test]
    fn however_much_is_seen_the_table_is_bounded_and_counts_all() {
        let mut table = SeenTable::default();
        let seen = |path: u64| Seen {
            surface: "shop".to_owned(),
            method: "POST".to_owned(),
            path: Some(format!("/{path}x")),
            call: None,
            effect: Effect::Write,
            by: DecidedBy::Method,
            rule: None,
            count: 1,
        };
        for path in (0..1000).chain(0..10) {
            table.add(seen(path));
        }
        let (listed, unlisted) = table.take();
        assert_eq!((listed.len(), unlisted), (MAX_SEEN, 1000 - MAX_SEEN as u64));
        assert_eq!((listed[3].count, listed[20].count), (2, 1));
        assert!(table.is_empty());
    }
}
