//! The banner: what an enforcer itself tells people of the windows that are to come, in force, or just over.

use crate::{
    headers::HeaderBlock,
    object::Object,
    policy::Policy,
    reply::Reply,
    request::Request,
    schedule::{Latches, covers_host},
    time::Timestamp,
};

/// Where the banner is read: a well-known URI (RFC 8615).
pub const BANNER_PATH: &[u8] = b"/.well-known/maintenance";

/// What caches that can purge by key know the banner by.
const CACHE_KEY: &[u8] = b"quiesce-banner";

/// How long caches may keep the banner, at most; seconds.
const MAX_AGE_S: u64 = 5;

/// In the order of what matters more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Open,
    Ended,
    Upcoming,
    ReadOnly,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Ended => "ended",
            Self::Upcoming => "upcoming",
            Self::ReadOnly => "read-only",
        }
    }
}

/// The banner for whoever sends this request.
pub fn answer(policy: &Policy, request: &Request<'_>, now: Timestamp, latches: &Latches) -> Reply {
    let schedule = policy.schedule();
    let mut state = State::Open;
    let mut max_age_s = MAX_AGE_S;
    let mut windows = String::new();
    let open = schedule.windows().iter().map(|window| (window, false));
    for (window, over) in open.chain(schedule.ended().iter().map(|window| (window, true))) {
        if now >= window.expires_at || !covers_host(window, &request.host) {
            continue;
        }
        let begun = window.started || now >= window.starts_at || latches.contains(&window.id);
        // Nobody keeps it beyond the moment from which it says something else.
        let mut keep_until = |at: Timestamp| max_age_s = max_age_s.min(at.ms_since(now) / 1000);
        if let Some(at) = window.announce_at.filter(|at| !begun && now < *at) {
            keep_until(at);
            continue;
        }
        let (own, changes_at) = match (over, begun) {
            (true, _) => (State::Ended, window.expires_at),
            (false, true) => (State::ReadOnly, window.expires_at),
            (false, false) => (State::Upcoming, window.starts_at),
        };
        state = state.max(own);
        keep_until(changes_at);
        let mut shown = Object::default();
        shown.text("id", window.id.as_str());
        shown.text("state", own.as_str());
        shown.instant("starts_at", Some(window.starts_at));
        shown.instant("ends_at", window.ends_at);
        shown.instant("expires_at", Some(window.expires_at));
        shown.text("reason", &window.reason);
        shown.maybe("contact", window.contact.as_deref());
        windows.push(if windows.is_empty() { '[' } else { ',' });
        windows.push_str(&shown.finish());
    }
    windows.push_str(if windows.is_empty() { "[]" } else { "]" });
    let mut banner = Object::default();
    banner.text("state", state.as_str());
    banner.raw("windows", &windows);
    banner.maybe("status_page", policy.status_page());
    reply(request, banner.finish(), max_age_s)
}

/// The answer, or word that what the client has is the same still.
fn reply(request: &Request<'_>, body: String, max_age_s: u64) -> Reply {
    let tag = format!("\"{}\"", digest(body.as_bytes()));
    let max_age = format!("public, max-age={max_age_s}");
    let mut headers: Vec<(&[u8], &[u8])> = vec![
        (b"cache-control", max_age.as_bytes()),
        (b"etag", tag.as_bytes()),
        (b"surrogate-key", CACHE_KEY),
        (b"cache-tag", CACHE_KEY),
        // It is for everybody, on whatever page they are.
        (b"access-control-allow-origin", b"*"),
        (b"access-control-expose-headers", b"age, date"),
    ];
    let known = request.headers.pairs().any(|(name, value)| {
        name == b"if-none-match" && value.windows(tag.len()).any(|part| part == tag.as_bytes())
    });
    if known {
        return Reply {
            status: 304,
            grpc_status: None,
            headers: HeaderBlock::new(&headers),
            body: Vec::new(),
        };
    }
    headers.push((b"content-type", b"application/json"));
    Reply { status: 200, grpc_status: None, headers: HeaderBlock::new(&headers), body: body.into_bytes() }
}

/// Names contents: FNV-1a, the same in every process of a fleet.
fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Epoch, Scope, Snapshot, Window};

    const START: Timestamp = Timestamp::from_unix_ms(1_795_435_200_000);

    fn window(id: &str, host: &str) -> Window {
        Window {
            id: id.into(),
            scope: Scope { hosts: vec![host.to_owned()], ..Scope::default() },
            starts_at: START,
            announce_at: None,
            started: false,
            ends_at: Some(START.plus_ms(600_000)),
            expires_at: START.plus_ms(3_600_000),
            reason: "reindex \"all\"".to_owned(),
            contact: Some("#sre".to_owned()),
            status: Default::default(),
            drain_timeout_ms: 30_000,
        }
    }

    fn asked(policy: &Policy, host: &str, known: &str, now: Timestamp) -> Reply {
        let block = HeaderBlock::new(&[
            (b":method", b"GET"),
            (b":path", BANNER_PATH),
            (b":authority", host.as_bytes()),
            (b"if-none-match", known.as_bytes()),
        ]);
        answer(policy, &Request::read(block.headers()), now, &Latches::new())
    }

    fn header<'r>(reply: &'r Reply, name: &str) -> &'r str {
        std::str::from_utf8(reply.headers.headers().single(name.as_bytes()).unwrap()).unwrap()
    }

    fn policy() -> Policy {
        let snapshot = Snapshot {
            version: Epoch(1),
            windows: vec![window("w1", "a.example.com")],
            ended: vec![Window { expires_at: START.plus_ms(1_000), ..window("w0", "b.example.com") }],
            status_page: Some("https://status.example.com/".to_owned()),
            ..Snapshot::default()
        };
        Policy::compile(&snapshot).unwrap()
    }

    #[test]
    fn says_of_each_window_of_the_host_what_and_when() {
        let policy = policy();
        let reply = asked(&policy, "a.example.com", "", Timestamp::from_unix_ms(START.unix_ms() - 60_000));
        let expected = "{\"state\":\"upcoming\",\"windows\":[{\"id\":\"w1\",\"state\":\"upcoming\",\
            \"starts_at\":\"2026-11-23T12:00:00.000Z\",\"ends_at\":\"2026-11-23T12:10:00.000Z\",\
            \"expires_at\":\"2026-11-23T13:00:00.000Z\",\"reason\":\"reindex \\\"all\\\"\",\
            \"contact\":\"#sre\"}],\"status_page\":\"https://status.example.com/\"}";
        assert_eq!(std::str::from_utf8(&reply.body).unwrap(), expected);
        let of = |host: &str, at: Timestamp| {
            let reply = asked(&policy, host, "", at);
            let shown: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
            shown["state"].as_str().unwrap().to_owned()
        };
        assert_eq!(of("a.example.com", START), "read-only");
        assert_eq!(of("b.example.com", START), "ended");
        assert_eq!(of("b.example.com", START.plus_ms(1_000)), "open");
        assert_eq!(of("c.example.com", START), "open");
    }

    #[test]
    fn is_kept_no_longer_than_it_is_true() {
        let policy = policy();
        let before = |ms| Timestamp::from_unix_ms(START.unix_ms() - ms);
        for (ms, max_age) in [(60_000, 5), (5_999, 5), (2_500, 2), (999, 0)] {
            let reply = asked(&policy, "a.example.com", "", before(ms));
            assert_eq!(
                header(&reply, "cache-control"),
                format!("public, max-age={max_age}"),
                "{ms} ms before"
            );
        }
    }

    #[test]
    fn says_nothing_of_a_window_before_it_is_announced() {
        let before = |ms| Timestamp::from_unix_ms(START.unix_ms() - ms);
        let windows = vec![Window { announce_at: Some(before(60_000)), ..window("w1", "a.example.com") }];
        let policy = Policy::compile(&Snapshot { windows, ..Snapshot::default() }).unwrap();
        let of = |at: Timestamp| {
            let reply = asked(&policy, "a.example.com", "", at);
            let shown: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
            let state = shown["state"].as_str().unwrap().to_owned();
            (state, shown["windows"].as_array().unwrap().len(), header(&reply, "cache-control").to_owned())
        };
        let said = |state: &str, windows, age| (state.to_owned(), windows, format!("public, max-age={age}"));
        assert_eq!(of(before(3_600_000)), said("open", 0, 5));
        assert_eq!(of(before(62_500)), said("open", 0, 2));
        assert_eq!(of(before(60_000)), said("upcoming", 1, 5));
        assert_eq!(of(START), said("read-only", 1, 5));
    }

    #[test]
    fn is_not_sent_again_to_who_has_it() {
        let policy = policy();
        let first = asked(&policy, "a.example.com", "", START);
        let tag = header(&first, "etag");
        for known in [tag.to_owned(), format!("W/{tag}"), format!("\"1\", {tag}")] {
            let again = asked(&policy, "a.example.com", &known, START.plus_ms(1));
            assert_eq!((again.status, again.body.len()), (304, 0), "{known}");
            assert_eq!(header(&again, "etag"), tag);
        }
        let other = asked(&policy, "b.example.com", tag, START);
        assert_eq!(other.status, 200, "another host's banner");
    }
}
