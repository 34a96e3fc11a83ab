//! JSON as RFC 8259 has it and no laxer, walked over in place.
//!
//! What is laxer is doubt rather than guessed at: another parser that takes comments, single quotes
//! or a comma too many may see other members than this one.

use std::{borrow::Cow, str::Chars};

use super::Doubt;

/// Objects and arrays within each other, at most; the walk recurses as deep.
const MAX_DEPTH: u8 = 64;
/// Members of one object, at most: each new key is compared with all before it.
const MAX_MEMBERS: usize = 256;

/// Walks over a body from value to value.
pub struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: u8,
    /// Fingerprints of the keys seen in every object that is open, the outermost first.
    keys: Vec<u64>,
}

/// An object or array that is open.
pub struct Open {
    /// Where its keys start among those of all that are open.
    keys_start: usize,
    is_fresh: bool,
}

/// What a value was.
pub enum Value<'a> {
    Text(Text<'a>),
    Number,
    Object,
    Array,
    Bool,
    Null,
}

/// A string whose escapes are known to make sense.
#[derive(Clone, Copy)]
pub struct Text<'a> {
    /// As written, without the quotes.
    pub raw: &'a str,
    has_escapes: bool,
    /// Where C ends a string, and so do parsers written in it.
    pub has_nul: bool,
}

impl<'a> Scanner<'a> {
    /// At the first byte of the body that is no white space.
    pub fn new(body: &'a [u8]) -> Result<Self, Doubt> {
        if body.starts_with(b"\xef\xbb\xbf") {
            return Err(Doubt::ByteOrderMark);
        }
        let text = std::str::from_utf8(body).map_err(|_| Doubt::NotUtf8)?;
        let mut scanner = Self { text, at: 0, depth: 0, keys: Vec::new() };
        scanner.pass_space();
        Ok(scanner)
    }

    /// The next byte.
    pub fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Sees to it that nothing is left.
    pub fn finish(&mut self) -> Result<(), Doubt> {
        self.pass_space();
        if self.at == self.text.len() { Ok(()) } else { Err(Doubt::TrailingText) }
    }

    /// Goes into the object or array that starts here.
    pub fn open(&mut self) -> Result<Open, Doubt> {
        if self.depth == MAX_DEPTH {
            return Err(Doubt::TooDeep);
        }
        self.depth += 1;
        self.at += 1;
        Ok(Open { keys_start: self.keys.len(), is_fresh: true })
    }

    /// Goes to the next item, or out behind `end`.
    pub fn has_next(&mut self, open: &mut Open, end: u8) -> Result<bool, Doubt> {
        self.pass_space();
        if self.eat(end) {
            self.depth -= 1;
            self.keys.truncate(open.keys_start);
            return Ok(false);
        }
        if !open.is_fresh {
            self.expect(b',')?;
            self.pass_space();
        }
        open.is_fresh = false;
        Ok(true)
    }

    /// The next key, and goes to its value; or goes out of the object.
    pub fn key(&mut self, object: &mut Open) -> Result<Option<Text<'a>>, Doubt> {
        if !self.has_next(object, b'}')? {
            return Ok(None);
        }
        let key = self.text()?;
        if key.has_nul {
            return Err(Doubt::Nul);
        }
        let fingerprint = key.fingerprint();
        let before = self.keys.get(object.keys_start..).unwrap_or_default();
        if before.contains(&fingerprint) {
            return Err(Doubt::DuplicateKey);
        }
        if before.len() == MAX_MEMBERS {
            return Err(Doubt::TooMany);
        }
        self.keys.push(fingerprint);
        self.pass_space();
        self.expect(b':')?;
        self.pass_space();
        Ok(Some(key))
    }

    /// Passes over a value.
    pub fn value(&mut self) -> Result<Value<'a>, Doubt> {
        match self.peek() {
            Some(b'"') => return Ok(Value::Text(self.text()?)),
            Some(b'{') => {
                let mut object = self.open()?;
                while self.key(&mut object)?.is_some() {
                    self.value()?;
                }
                return Ok(Value::Object);
            }
            Some(b'[') => {
                let mut array = self.open()?;
                while self.has_next(&mut array, b']')? {
                    self.value()?;
                }
                return Ok(Value::Array);
            }
            Some(b'-' | b'0'..=b'9') => return self.number(),
            _ => {}
        }
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let (value, bytes) = if rest.starts_with(b"null") {
            (Value::Null, 4)
        } else if rest.starts_with(b"true") {
            (Value::Bool, 4)
        } else if rest.starts_with(b"false") {
            (Value::Bool, 5)
        } else {
            return Err(Doubt::NotJson);
        };
        self.at += bytes;
        Ok(value)
    }

    /// Passes over a value, which is returned as written too.
    pub fn raw_value(&mut self) -> Result<(Value<'a>, &'a [u8]), Doubt> {
        let start = self.at;
        let value = self.value()?;
        Ok((value, self.text.as_bytes().get(start..self.at).unwrap_or_default()))
    }

    fn text(&mut self) -> Result<Text<'a>, Doubt> {
        self.expect(b'"')?;
        let start = self.at;
        let mut has_escapes = false;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    has_escapes = true;
                    self.at += 2;
                }
                Some(b' '..) => self.at += 1,
                _ => return Err(Doubt::NotJson),
            }
        }
        let raw = self.text.get(start..self.at).ok_or(Doubt::NotJson)?;
        self.at += 1;
        let mut has_nul = false;
        if has_escapes {
            let mut chars = raw.chars();
            while let Some(decoded) = decode(&mut chars)? {
                has_nul |= decoded == '\0';
            }
        }
        Ok(Text { raw, has_escapes, has_nul })
    }

    fn number(&mut self) -> Result<Value<'a>, Doubt> {
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _ = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        Ok(Value::Number)
    }

    fn digits(&mut self) -> Result<(), Doubt> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { Err(Doubt::NotJson) } else { Ok(()) }
    }

    fn pass_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, byte: u8) -> Result<(), Doubt> {
        if self.eat(byte) { Ok(()) } else { Err(Doubt::NotJson) }
    }
}

impl<'a> Text<'a> {
    /// What it says.
    pub fn decoded(&self) -> Cow<'a, str> {
        if self.has_escapes { Cow::Owned(self.chars().collect()) } else { Cow::Borrowed(self.raw) }
    }

    /// Whether a forgiving parser may take it for `name`, which is of lower case.
    ///
    /// Go's `encoding/json` and Newtonsoft's Json.NET match keys in any case, fastjson passes over `_`
    /// and `-` too, and the folds of Unicode and of Java's `equalsIgnoreCase` reach beyond ASCII.
    pub fn resembles(&self, name: &str) -> bool {
        let fold = |found: char| match found {
            'ſ' => Some(b's'),
            '\u{212a}' => Some(b'k'),
            'ı' | 'İ' => Some(b'i'),
            _ => u8::try_from(found)
                .ok()
                .filter(u8::is_ascii_alphanumeric)
                .map(|letter| letter.to_ascii_lowercase()),
        };
        self.chars().filter_map(fold).eq(name.bytes())
    }

    fn chars(&self) -> impl Iterator<Item = char> + use<'a> {
        let mut chars = self.raw.chars();
        std::iter::from_fn(move || decode(&mut chars).ok().flatten())
    }

    /// A number that is the same for keys that say the same (FNV-1a). Keys that share one by chance or by
    /// design are taken for duplicates, which makes a write of a read and never the reverse.
    fn fingerprint(&self) -> u64 {
        self.chars().fold(0xcbf2_9ce4_8422_2325, |mixed, found| {
            (mixed ^ u64::from(u32::from(found))).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

/// The next character of a string as written (RFC 8259, section 7).
fn decode(chars: &mut Chars<'_>) -> Result<Option<char>, Doubt> {
    let Some(first) = chars.next() else { return Ok(None) };
    if first != '\\' {
        return Ok(Some(first));
    }
    let decoded = match chars.next() {
        Some(itself @ ('"' | '\\' | '/')) => itself,
        Some('b') => '\u{8}',
        Some('f') => '\u{c}',
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('u') => {
            let mut code = code_unit(chars)?;
            if code & 0xfc00 == 0xd800 {
                if chars.next() != Some('\\') || chars.next() != Some('u') {
                    return Err(Doubt::LoneSurrogate);
                }
                let low = code_unit(chars)?;
                if low & 0xfc00 != 0xdc00 {
                    return Err(Doubt::LoneSurrogate);
                }
                code = 0x1_0000 + ((code & 0x3ff) << 10) + (low & 0x3ff);
            }
            char::from_u32(code).ok_or(Doubt::LoneSurrogate)?
        }
        _ => return Err(Doubt::NotJson),
    };
    Ok(Some(decoded))
}

fn code_unit(chars: &mut Chars<'_>) -> Result<u32, Doubt> {
    let mut code = 0;
    for _ in 0..4 {
        code = code << 4 | chars.next().and_then(|digit| digit.to_digit(16)).ok_or(Doubt::NotJson)?;
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_resembles_what_a_forgiving_parser_takes_it_for() {
        let resembles = |raw, name| Text { raw, has_escapes: true, has_nul: false }.resembles(name);
        for raw in ["risk", "RISK", "RiſK", "r\u{131}sk", "rİs\u{212a}", r"ri\u017F\u212a", "_ri-sk", "ri sk"]
        {
            assert!(resembles(raw, "risk"), "{raw}");
        }
        for raw in ["", "ris", "risks", "rísk", "brisk"] {
            assert!(!resembles(raw, "risk"), "{raw}");
        }
    }
}
