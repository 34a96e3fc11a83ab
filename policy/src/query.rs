//! The query of a request target, read as forms are (application/x-www-form-urlencoded).

use std::borrow::Cow;

/// One parameter, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter<'a> {
    /// Its name; the raw text where it cannot be decoded.
    pub name: Cow<'a, [u8]>,
    /// Its value, likewise; empty where there is none.
    pub value: Cow<'a, [u8]>,
}

impl Parameter<'_> {
    /// Whether it has this name, as lenient origins compare names. What is still escaped, or cannot be decoded,
    /// may be any name to who decodes twice.
    pub fn is_like(&self, name: &str) -> bool {
        self.name.contains(&b'%') || folded(&self.name).eq(folded(name.as_bytes()))
    }
}

/// A name as lenient origins compare it: up to a NUL, which ends texts in C; in whatever case; and with
/// underscores for what PHP replaces by them.
pub fn folded(name: &[u8]) -> impl Iterator<Item = u8> {
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    name.trim_ascii().iter().map(|byte| match byte {
        b'.' | b' ' | b'[' => b'_',
        byte => byte.to_ascii_lowercase(),
    })
}

/// The parameters of a query, and what some origins would find if they also separate them by semicolons.
pub fn parameters(query: &[u8]) -> impl Iterator<Item = Parameter<'_>> {
    let pairs = query.split(|byte| matches!(byte, b'&' | b';')).filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=');
        let (name, value) = at.and_then(|at| pair.split_at_checked(at)).unwrap_or((pair, b""));
        let value = value.strip_prefix(b"=").unwrap_or(value);
        let text = |raw| decoded(raw).unwrap_or(Cow::Borrowed(raw));
        Parameter { name: text(name), value: text(value) }
    })
}

/// Whether every origin finds the same parameters in a query.
pub fn is_plain(query: &[u8]) -> bool {
    !query.contains(&b';') && decoded(query).is_some()
}

/// Whether the query has a parameter of this name under any spelling.
pub fn names(query: &[u8], name: &str) -> bool {
    !query.is_empty() && parameters(query).any(|parameter| parameter.is_like(name))
}

/// Decodes escapes, and `+` for a space; nothing if an escape cannot be read.
pub fn decoded(raw: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !raw.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Some(Cow::Borrowed(raw));
    }
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw.iter().copied();
    while let Some(byte) = rest.next() {
        decoded.push(match byte {
            b'%' => escaped(&mut rest)?,
            b'+' => b' ',
            other => other,
        });
    }
    Some(Cow::Owned(decoded))
}

/// The byte that two hexadecimal digits stand for.
pub fn escaped(rest: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let mut digit = || char::from(rest.next()?).to_digit(16);
    let (high, low) = (digit()?, digit()?);
    u8::try_from(high * 16 + low).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_parameter_under_any_spelling() {
        for query in [
            "_method=PUT",
            "a=b&_METHOD=PUT",
            "a;%5Fmethod=x",
            "_method",
            "a&%5fMethod",
            "%255Fmethod",
            ".method",
            "_method%00a",
        ] {
            assert!(names(query.as_bytes(), "_method"), "{query}");
        }
        for query in ["", "x_method=1", "a=_method"] {
            assert!(!names(query.as_bytes(), "_method"), "{query}");
        }
        assert!(names(b"%zz=1", "_method"), "an escape that cannot be read may be anything");
    }

    #[test]
    fn parameters_are_decoded() {
        let read = |query: &str| -> Vec<(String, String)> {
            let text = |bytes: Cow<'_, [u8]>| String::from_utf8(bytes.into_owned()).unwrap();
            parameters(query.as_bytes()).map(|one| (text(one.name), text(one.value))).collect()
        };
        let pairs = [("a b", "1=2"), ("c", ""), ("d", "")];
        assert_eq!(read("a+b=1%3D2&&c&d="), pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(is_plain(b"a=1&b=%20") && !is_plain(b"a=1;b=2") && !is_plain(b"a=%2"));
    }
}
