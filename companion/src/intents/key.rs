//! `Idempotency-Key`, as draft-ietf-httpapi-idempotency-key-header-07 has it, and keys made in its place.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// No longer key is taken; bytes.
pub const MAX_KEY_BYTES: usize = 255;

/// Reads the header's value: a string of structured fields (RFC 9651 section 3.3.3), whose parameters say
/// nothing to us, or the bare key, as many clients send it.
pub fn parse(value: &[u8]) -> Option<String> {
    let key = if value.first() == Some(&b'"') {
        let item: sfv::Item = sfv::Parser::new(value).parse().ok()?;
        item.bare_item.as_string()?.as_str().to_owned()
    } else {
        // What would end a bare item ends no key: the value may hold several.
        let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b',' | b';');
        value.iter().all(plain).then(|| String::from_utf8(value.to_vec()).ok())??
    };
    (1..=MAX_KEY_BYTES).contains(&key.len()).then_some(key)
}

/// SHA-256 of a write's method, path and body.
pub fn fingerprint(method: &[u8], path: &[u8], body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [method, path, body] {
        // With its length, so that no part can be taken for a piece of another.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// A key that the same write has again.
pub fn derived(fingerprint: &[u8; 32]) -> String {
    hex(fingerprint)
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_strings_and_bare_keys() {
        let longest = "k".repeat(255);
        for (value, key) in [
            (r#""8e03978e-40d5-43dd-bc93-6894a57f9324""#, "8e03978e-40d5-43dd-bc93-6894a57f9324"),
            ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
            (r#""a \"quoted\" \\ key""#, r#"a "quoted" \ key"#),
            (r#""a";v=1"#, "a"),
            (r#""a" "#, "a"),
            ("pay_42/x=1", "pay_42/x=1"),
            (&longest, &longest),
            (&format!("\"{longest}\""), &longest),
        ] {
            assert_eq!(parse(value.as_bytes()).as_deref(), Some(key), "{value}");
        }
    }

    #[test]
    fn refuses_what_is_no_key() {
        let too_long = "k".repeat(256);
        for value in [
            "",
            "\"\"",
            "\"open",
            "\"a\" b",
            "\"a\", \"b\"",
            "a, b",
            "a;b",
            "a b",
            "\"\\x\"",
            "caf\u{e9}",
            "\"caf\u{e9}\"",
            "\"\t\"",
            "a\"b",
            &too_long,
            &format!("\"{too_long}\""),
        ] {
            assert_eq!(parse(value.as_bytes()), None, "{value}");
        }
    }

    #[test]
    fn fingerprints_tell_parts_apart() {
        let one = fingerprint(b"POST", b"/a", b"b");
        assert_eq!(one, fingerprint(b"POST", b"/a", b"b"));
        assert_ne!(one, fingerprint(b"POST", b"/", b"ab"));
        assert_ne!(one, fingerprint(b"POST/", b"a", b"b"));
        assert_eq!(derived(&one).len(), 64);
    }
}
