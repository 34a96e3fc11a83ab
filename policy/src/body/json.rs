//! JSON (RFC 8259) walked over in place, strictly: what parsers are known to differ about is no JSON here.
//!
//! There is no byte order mark, comment, trailing comma, lone surrogate or text behind the value.
//! Keys may repeat: who looks at keys knows which of them matter.

use std::borrow::Cow;

/// Objects and arrays within each other, at most; the walk recurses as deep.
const MAX_DEPTH: u8 = 64;

/// Walks over a text from value to value; where it gives nothing, the text is not JSON.
pub struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: u8,
}

/// An object or array that is open.
pub struct Open {
    is_fresh: bool,
}

/// What a value was.
pub enum Value<'a> {
    /// A string, unescaped.
    Text(Cow<'a, str>),
    Null,
    /// A number, as it is written.
    Number(&'a str),
    /// A truth value, an object or an array.
    Other,
}

impl<'a> Scanner<'a> {
    /// At the first byte of the text that is no white space.
    pub fn new(text: &'a [u8]) -> Option<Self> {
        let mut scanner = Self { text: std::str::from_utf8(text).ok()?, at: 0, depth: 0 };
        scanner.skip_space();
        Some(scanner)
    }

    /// The next byte.
    pub fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Sees to it that nothing is left.
    pub fn finish(&mut self) -> Option<()> {
        self.skip_space();
        self.peek().is_none().then_some(())
    }

    /// Goes into the object or array that starts here with `bracket`.
    pub fn open(&mut self, bracket: u8) -> Option<Open> {
        self.expect(bracket)?;
        self.depth += 1;
        (self.depth <= MAX_DEPTH).then_some(Open { is_fresh: true })
    }

    /// Goes to the next item, or out behind `bracket`.
    pub fn has_next(&mut self, open: &mut Open, bracket: u8) -> Option<bool> {
        self.skip_space();
        if self.eat(bracket) {
            self.depth -= 1;
            return Some(false);
        }
        if !open.is_fresh {
            self.expect(b',')?;
            self.skip_space();
        }
        open.is_fresh = false;
        Some(true)
    }

    /// The next key, unescaped, and goes to its value; or goes out of the object.
    pub fn key(&mut self, object: &mut Open) -> Option<Option<Cow<'a, str>>> {
        if !self.has_next(object, b'}')? {
            return Some(None);
        }
        let key = self.text()?;
        self.skip_space();
        self.expect(b':')?;
        self.skip_space();
        Some(Some(key))
    }

    /// Passes over a value.
    pub fn value(&mut self) -> Option<Value<'a>> {
        match self.peek()? {
            b'"' => return self.text().map(Value::Text),
            b'{' => {
                let mut object = self.open(b'{')?;
                while self.key(&mut object)?.is_some() {
                    self.value()?;
                }
                return Some(Value::Other);
            }
            b'[' => {
                let mut array = self.open(b'[')?;
                while self.has_next(&mut array, b']')? {
                    self.value()?;
                }
                return Some(Value::Other);
            }
            _ => {}
        }
        let rest = self.text.as_bytes().get(self.at..)?;
        let (value, bytes) = if rest.starts_with(b"null") {
            (Value::Null, 4)
        } else if rest.starts_with(b"true") {
            (Value::Other, 4)
        } else if rest.starts_with(b"false") {
            (Value::Other, 5)
        } else {
            let bytes = number_bytes(rest)?;
            (Value::Number(self.text.get(self.at..self.at.checked_add(bytes)?)?), bytes)
        };
        self.at += bytes;
        Some(value)
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.eat(byte).then_some(())
    }

    fn text(&mut self) -> Option<Cow<'a, str>> {
        self.expect(b'"')?;
        let mut start = self.at;
        let mut unescaped = String::new();
        loop {
            match self.peek()? {
                b'"' => {
                    let run = self.text.get(start..self.at)?;
                    self.at += 1;
                    if unescaped.is_empty() {
                        return Some(Cow::Borrowed(run));
                    }
                    unescaped.push_str(run);
                    return Some(Cow::Owned(unescaped));
                }
                b'\\' => {
                    unescaped.push_str(self.text.get(start..self.at)?);
                    let (c, bytes) = escape(self.text.as_bytes().get(self.at + 1..)?)?;
                    unescaped.push(c);
                    self.at += 1 + bytes;
                    start = self.at;
                }
                0..0x20 => return None,
                _ => self.at += 1,
            }
        }
    }
}

/// What an escape without its backslash stands for, and its length. GraphQL has the same (spec section 2.9.4).
pub fn escape(rest: &[u8]) -> Option<(char, usize)> {
    let c = match rest.first()? {
        byte @ (b'"' | b'\\' | b'/') => char::from(*byte),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let high = hex(rest.get(1..5)?)?;
            if let Some(c) = char::from_u32(high) {
                return Some((c, 5));
            }
            // Half of a pair of surrogates; parsers differ about one that stands alone.
            let low = hex(rest.get(5..11)?.strip_prefix(b"\\u")?)?;
            let mut pair = char::decode_utf16([u16::try_from(high).ok()?, u16::try_from(low).ok()?]);
            return Some((pair.next()?.ok()?, 11));
        }
        _ => return None,
    };
    Some((c, 1))
}

/// The number that at least one and only hexadecimal digits stand for, if it is not too large.
pub fn hex(digits: &[u8]) -> Option<u32> {
    digits.first()?;
    digits.iter().try_fold(0_u32, |number, digit| {
        number.checked_mul(16).zip(char::from(*digit).to_digit(16)).map(|(number, digit)| number + digit)
    })
}

/// The length of the number that a text starts with. GraphQL has the same (spec sections 2.9.1, 2.9.2).
pub fn number_bytes(text: &[u8]) -> Option<usize> {
    let digits = |at: usize| {
        let found = text.get(at..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
        (found > 0).then_some(at + found)
    };
    let start = usize::from(text.first() == Some(&b'-'));
    let mut end = digits(start)?;
    if text.get(start) == Some(&b'0') && end > start + 1 {
        return None;
    }
    if text.get(end) == Some(&b'.') {
        end = digits(end + 1)?;
    }
    if matches!(text.get(end), Some(b'e' | b'E')) {
        end = digits(end + 1 + usize::from(matches!(text.get(end + 1), Some(b'+' | b'-'))))?;
    }
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_json(text: &str) -> bool {
        let read = |mut scanner: Scanner<'_>| scanner.value().and_then(|_| scanner.finish());
        Scanner::new(text.as_bytes()).and_then(read).is_some()
    }

    #[test]
    fn takes_json_and_nothing_else() {
        for text in [
            "{}",
            "[]",
            " [ ] ",
            "\"\"",
            "0",
            "-0",
            "-1.5e+10",
            "1E5",
            "true",
            "false",
            "null",
            r#"{"a":[1,{"b":null}],"":"\u00e9\ud83d\ude00\"\\\/\b\f\n\r\t"}"#,
            "[[],{},[{}]]",
            "\r\n\t 1",
        ] {
            assert!(is_json(text), "{text}");
        }
        for text in [
            "",
            " ",
            "{",
            "[",
            "{]",
            "[}",
            "[,]",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "{1:1}",
            "[1 2]",
            "{\"a\":1 \"b\":2}",
            "'a'",
            "\"a",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "\"\\udc00\"",
            "\"\\u00g0\"",
            "\"\\u+041\"",
            "\"\n\"",
            "\"\u{0}\"",
            "01",
            "+1",
            ".5",
            "1.",
            "1e",
            "-",
            "NaN",
            "Infinity",
            "0x1",
            "True",
            "nul",
            "nulll",
            "1 2",
            "{} {}",
            "[] x",
            "// c\n1",
            "1 /* c */",
            "\u{feff}1",
            "\u{a0}1",
            "]",
            "}",
            ",",
        ] {
            assert!(!is_json(text), "{text}");
        }
    }

    #[test]
    fn unescapes_keys_and_strings() {
        let mut scanner = Scanner::new(r#"{"\u0071uery" : "a\ud83d\ude00b\n"}"#.as_bytes()).unwrap();
        let mut object = scanner.open(b'{').unwrap();
        assert_eq!(scanner.key(&mut object).unwrap().as_deref(), Some("query"));
        assert!(matches!(scanner.value(), Some(Value::Text(text)) if text == "a😀b\n"));
        assert_eq!(scanner.key(&mut object), Some(None));
        assert_eq!(scanner.finish(), Some(()));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(is_json(&nested(64)));
        assert!(!is_json(&nested(65)));
    }
}
