//! Hosts, and the patterns that surfaces and scopes name them by.

use std::borrow::Cow;

use crate::bytes::{ByteMap, ByteSet};

/// The host of a request, without port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host<'a> {
    /// A name or address, lower case.
    Named(Cow<'a, [u8]>),
    /// Missing, or nothing that can be a host: it may mean any.
    Odd,
}

/// What names in lower case consist of.
static IN_NAMES: ByteSet = ByteSet::of(b"abcdefghijklmnopqrstuvwxyz0123456789-._");

impl<'a> Host<'a> {
    /// Reads the request's authority (RFC 9110 section 7.2): host, perhaps with a port.
    pub fn read(authority: &'a [u8]) -> Self {
        let as_it_stands = authority.iter().all(|byte| IN_NAMES.contains(*byte));
        if as_it_stands && !matches!(authority.last(), None | Some(b'.')) {
            return Self::Named(Cow::Borrowed(authority));
        }
        let (host, port) = split_port(authority);
        let host = host.strip_suffix(b".").unwrap_or(host);
        let bracketed = host.first() == Some(&b'[');
        let sound = host.iter().all(|byte| match byte {
            b'A'..=b'Z' => true,
            b':' | b'[' | b']' => bracketed,
            _ => IN_NAMES.contains(*byte),
        });
        if host.is_empty() || !sound || !port.iter().all(u8::is_ascii_digit) {
            return Self::Odd;
        }
        Self::Named(match host.iter().any(u8::is_ascii_uppercase) {
            true => Cow::Owned(host.to_ascii_lowercase()),
            false => Cow::Borrowed(host),
        })
    }
}

/// Host and port; an IPv6 address in brackets has colons of its own.
fn split_port(authority: &[u8]) -> (&[u8], &[u8]) {
    let colon = authority.iter().rposition(|&byte| byte == b':' || byte == b']');
    match colon.and_then(|at| authority.split_at_checked(at)) {
        Some((host, [b':', port @ ..])) => (host, port),
        _ => (authority, &[]),
    }
}

/// Checks a pattern: a host, or `*.` and a domain.
pub fn check_pattern(pattern: &str) -> Result<(), String> {
    let name = pattern.strip_prefix("*.").unwrap_or(pattern);
    match Host::read(name.as_bytes()) {
        Host::Named(host) if *host == *name.as_bytes() => Ok(()),
        _ => Err(format!(
            "`{pattern}` is not a host; write a lower-case name without port, such as api.example.com or *.example.com"
        )),
    }
}

/// Values by host pattern; looking one up costs one hash per label of the host, however many there are.
#[derive(Debug)]
pub struct HostMap<T> {
    exact: ByteMap<T>,
    below: ByteMap<T>,
    any: Option<T>,
}

impl<T> Default for HostMap<T> {
    fn default() -> Self {
        Self { exact: ByteMap::default(), below: ByteMap::default(), any: None }
    }
}

impl<T: Default> HostMap<T> {
    /// The value for a pattern, made if there is none; no pattern stands for all hosts.
    pub fn entry(&mut self, pattern: Option<&str>) -> &mut T {
        match pattern {
            None => self.any.get_or_insert_default(),
            Some(pattern) => match pattern.strip_prefix("*.") {
                Some(domain) => self.below.entry(domain.as_bytes(), T::default),
                None => self.exact.entry(pattern.as_bytes(), T::default),
            },
        }
    }
}

impl<T> HostMap<T> {
    /// The same map with every value made into another.
    pub fn map<U>(self, into: impl Fn(T) -> U) -> HostMap<U> {
        HostMap { exact: self.exact.map(&into), below: self.below.map(&into), any: self.any.map(&into) }
    }

    /// The first thing found in the values whose pattern covers `host`, the narrowest first.
    pub fn find_covering<'m, U>(&'m self, host: &[u8], find: impl Fn(&'m T) -> Option<U>) -> Option<U> {
        if let Some(found) = self.exact.get(host).and_then(&find) {
            return Some(found);
        }
        if !self.below.is_empty() {
            let mut rest = host;
            while let Some(dot) = rest.iter().position(|&byte| byte == b'.') {
                rest = rest.get(dot + 1..).unwrap_or_default();
                let value = self.below.get(rest);
                if let Some(found) = value.and_then(&find) {
                    return Some(found);
                }
            }
        }
        self.any.as_ref().and_then(find)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(authority: &str) -> Option<String> {
        match Host::read(authority.as_bytes()) {
            Host::Named(host) => Some(String::from_utf8(host.into_owned()).unwrap()),
            Host::Odd => None,
        }
    }

    #[test]
    fn reads_hosts_as_dns_compares_them() {
        assert_eq!(named("API.example.com:8080").as_deref(), Some("api.example.com"));
        assert_eq!(named("api.example.com.").as_deref(), Some("api.example.com"));
        assert_eq!(named("[::1]:80").as_deref(), Some("[::1]"));
        assert_eq!(named("[::1]").as_deref(), Some("[::1]"));
        for odd in ["", "user@host", "a b", "host:port", "a/b", ":80", "."] {
            assert_eq!(named(odd), None, "{odd}");
        }
    }

    #[test]
    fn the_narrowest_pattern_comes_first() {
        let mut map = HostMap::<u8>::default();
        *map.entry(None) = 1;
        *map.entry(Some("*.example.com")) = 2;
        *map.entry(Some("*.eu.example.com")) = 3;
        *map.entry(Some("a.eu.example.com")) = 4;
        let found = |host: &str| {
            let seen = std::cell::RefCell::new(Vec::new());
            let _: Option<()> = map.find_covering(host.as_bytes(), |value| {
                seen.borrow_mut().push(*value);
                None
            });
            seen.into_inner()
        };
        assert_eq!(found("a.eu.example.com"), [4, 3, 2, 1]);
        assert_eq!(found("b.example.com"), [2, 1]);
        assert_eq!(found("example.com"), [1], "a wildcard does not cover its own domain");
    }

    #[test]
    fn patterns_are_checked() {
        assert_eq!(check_pattern("*.example.com"), Ok(()));
        for bad in ["Example.com", "example.com:80", "*", "*.", "a.*.b"] {
            assert!(check_pattern(bad).is_err(), "{bad}");
        }
    }
}
