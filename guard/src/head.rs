//! A request's head as policy reads it: one block, written into memory that is used again.

use std::cell::Cell;

use http::{HeaderMap, Method, Uri, header::HOST};
use quiesce_policy::HeaderBlock;

/// A larger block is not kept for the next request; bytes.
const MAX_KEPT_BYTES: usize = 64 * 1024;

/// What stands for a host that may be any: no host has such a name.
const ODD_HOST: &[u8] = b" ";

thread_local! {
    static BLOCK: Cell<HeaderBlock> = Cell::default();
}

/// Hands a request's head over as a block.
pub(crate) fn with_block<T>(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    look: impl FnOnce(&HeaderBlock) -> T,
) -> T {
    let mut block = BLOCK.take();
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    let pseudo: [(&[u8], &[u8]); 3] = [
        (b":method", method.as_str().as_bytes()),
        (b":path", target.as_bytes()),
        (b":authority", authority(uri, headers)),
    ];
    block.refill(|| {
        let headers = headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        pseudo.into_iter().chain(headers)
    });
    let seen = look(&block);
    if block.as_bytes().len() <= MAX_KEPT_BYTES {
        BLOCK.set(block);
    }
    seen
}

/// The host that a request asks for. Frameworks differ about which one holds if it says several, so then it may be
/// any.
fn authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> &'a [u8] {
    let target = uri.authority().map(|authority| authority.as_str().as_bytes());
    let mut said = target.into_iter().chain(headers.get_all(HOST).iter().map(|value| value.as_bytes()));
    let Some(first) = said.next() else { return b"" };
    if said.all(|other| other.eq_ignore_ascii_case(first)) { first } else { ODD_HOST }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quiesce_policy::{Host, Request};

    fn host(uri: &str, hosts: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, host.parse().unwrap());
        }
        with_block(&Method::GET, &uri.parse().unwrap(), &headers, |block| {
            match Request::read(block.headers()).host {
                Host::Named(host) => String::from_utf8(host.into_owned()).unwrap(),
                Host::Odd => "any".to_owned(),
            }
        })
    }

    #[test]
    fn who_says_several_hosts_may_mean_any() {
        assert_eq!(host("/", &["a.org"]), "a.org");
        assert_eq!(host("http://a.org/x", &[]), "a.org");
        assert_eq!(host("http://a.org/x", &["A.org"]), "a.org");
        assert_eq!(host("http://a.org/x", &["b.org"]), "any");
        assert_eq!(host("/", &["a.org", "b.org"]), "any");
        assert_eq!(host("/", &[]), "any");
    }

    #[test]
    fn a_block_within_another_is_whole() {
        let outer = with_block(&Method::GET, &"/outer".parse().unwrap(), &HeaderMap::new(), |block| {
            let inner = with_block(&Method::PUT, &"/inner".parse().unwrap(), &HeaderMap::new(), |block| {
                Request::read(block.headers()).target.to_vec()
            });
            (Request::read(block.headers()).target.to_vec(), inner)
        });
        assert_eq!(outer, (b"/outer".to_vec(), b"/inner".to_vec()));
    }
}
