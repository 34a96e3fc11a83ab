//! JSON (RFC 8259) walked over in place, strictly: what parsers are known to differ about is no JSON here.
//!
//! There is no byte order mark, comment, trailing comma, lone surrogate, key twice in one object, or text
//! behind the value. One reader serves for bodies, which an origin reads again with a parser that nobody
//! here knows, and, by way of [`mod@de`], for snapshots.

mod de;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod oracle;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::bytes::fingerprint;

pub use self::de::{Error, from_slice};

/// Objects and arrays within each other, at most; the walk recurses as deep.
const MAX_DEPTH: u8 = 64;
/// Members of one object, at most: each new key is compared with all before it.
const MAX_MEMBERS: usize = 256;

/// Why a text is no JSON, or may be other JSON to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// It is not as RFC 8259 has it.
    #[error("this is not JSON")]
    NotJson,
    /// It is no UTF-8.
    #[error("this is not UTF-8")]
    NotUtf8,
    /// It starts with a byte order mark, which some parsers skip.
    #[error("there is a byte order mark")]
    ByteOrderMark,
    /// Something follows the JSON.
    #[error("something follows the value")]
    TrailingText,
    /// Half of a surrogate pair is escaped in it.
    #[error("half of a surrogate pair is escaped")]
    LoneSurrogate,
    /// A key has a NUL in it, where C ends a string, and so do parsers written in it.
    #[error("a key has a NUL in it")]
    NulInKey,
    /// An object has a key twice: some parsers take the first, some the last.
    #[error("this key is there twice")]
    DuplicateKey,
    /// It is nested too deep.
    #[error("this is nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// An object has too many members.
    #[error("this object has more than {MAX_MEMBERS} members")]
    TooMany,
}

/// Of eight bytes of a text, how many bits come before the first byte where strings end, escapes begin, or which may
/// not stand in a string; nothing if they have none. (Taking a small number from each byte borrows from the next one
/// only where a byte is less than that, so that what is wrong comes after the first.)
#[inline(always)]
fn bits_before_special(eight: u64) -> Option<u32> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let below = |bytes: u64, bound: u64| bytes.wrapping_sub(ONES * bound) & !bytes;
    let is = |byte: u8| below(eight ^ (ONES * u64::from(byte)), 1);
    let special = (below(eight, 0x20) | is(b'"') | is(b'\\')) & (ONES * 0x80);
    (special != 0).then(|| special.trailing_zeros() & !7)
}

/// Walks over a text from value to value.
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: u8,
    /// Fingerprints of the keys seen in every object that is open, the outermost first.
    keys: Vec<u64>,
}

/// An object or array that is open.
pub(crate) struct Open {
    /// Where its keys start among those of all that are open.
    keys_start: usize,
    is_fresh: bool,
}

/// What a value was.
pub(crate) enum Value<'a> {
    Text(Text<'a>),
    /// A number, as it is written.
    Number(&'a str),
    Object,
    Array,
    Bool(bool),
    Null,
}

/// A string whose escapes are known to make sense.
#[derive(Clone, Copy)]
pub(crate) struct Text<'a> {
    /// As written, without the quotes.
    pub raw: &'a str,
    has_escapes: bool,
    /// Whether a NUL is escaped in it.
    pub has_nul: bool,
}

impl<'a> Scanner<'a> {
    /// At the first byte of the text that is no white space.
    pub fn new(text: &'a [u8]) -> Result<Self, Fault> {
        if text.starts_with(b"\xef\xbb\xbf") {
            return Err(Fault::ByteOrderMark);
        }
        let text = std::str::from_utf8(text).map_err(|_| Fault::NotUtf8)?;
        let mut scanner = Self { text, at: 0, depth: 0, keys: Vec::new() };
        scanner.pass_space();
        Ok(scanner)
    }

    /// The next byte.
    #[inline(always)]
    pub fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// What has been walked over.
    pub fn passed(&self) -> &'a str {
        self.text.get(..self.at).unwrap_or(self.text)
    }

    /// Sees to it that nothing is left.
    pub fn finish(&mut self) -> Result<(), Fault> {
        self.pass_space();
        if self.at == self.text.len() { Ok(()) } else { Err(Fault::TrailingText) }
    }

    /// Goes into the object or array that starts here with `bracket`.
    pub fn open(&mut self, bracket: u8) -> Result<Open, Fault> {
        self.expect(bracket)?;
        if self.depth == MAX_DEPTH {
            return Err(Fault::TooDeep);
        }
        self.depth += 1;
        Ok(Open { keys_start: self.keys.len(), is_fresh: true })
    }

    /// Goes to the next item, or out behind `bracket`.
    pub fn has_next(&mut self, open: &mut Open, bracket: u8) -> Result<bool, Fault> {
        self.pass_space();
        if self.eat(bracket) {
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
    pub fn key(&mut self, object: &mut Open) -> Result<Option<Text<'a>>, Fault> {
        if !self.has_next(object, b'}')? {
            return Ok(None);
        }
        let key = self.text()?;
        if key.has_nul {
            return Err(Fault::NulInKey);
        }
        let fingerprint = key.fingerprint();
        let before = self.keys.get(object.keys_start..).unwrap_or_default();
        if before.contains(&fingerprint) {
            return Err(Fault::DuplicateKey);
        }
        if before.len() == MAX_MEMBERS {
            return Err(Fault::TooMany);
        }
        self.keys.push(fingerprint);
        self.pass_space();
        self.expect(b':')?;
        self.pass_space();
        Ok(Some(key))
    }

    /// Passes over a value.
    pub fn value(&mut self) -> Result<Value<'a>, Fault> {
        match self.peek() {
            Some(b'"') => return Ok(Value::Text(self.text()?)),
            Some(b'{') => {
                let mut object = self.open(b'{')?;
                while self.key(&mut object)?.is_some() {
                    self.value()?;
                }
                return Ok(Value::Object);
            }
            Some(b'[') => {
                let mut array = self.open(b'[')?;
                while self.has_next(&mut array, b']')? {
                    self.value()?;
                }
                return Ok(Value::Array);
            }
            _ => {}
        }
        let rest = self.text.get(self.at..).unwrap_or_default();
        let (value, bytes) = match self.peek() {
            Some(b'n') if rest.starts_with("null") => (Value::Null, 4),
            Some(b't') if rest.starts_with("true") => (Value::Bool(true), 4),
            Some(b'f') if rest.starts_with("false") => (Value::Bool(false), 5),
            _ => {
                let bytes = number_bytes(rest.as_bytes()).ok_or(Fault::NotJson)?;
                (Value::Number(rest.get(..bytes).unwrap_or_default()), bytes)
            }
        };
        self.at += bytes;
        Ok(value)
    }

    /// Passes over a value, which is returned as written too.
    pub fn raw_value(&mut self) -> Result<(Value<'a>, &'a [u8]), Fault> {
        let start = self.at;
        let value = self.value()?;
        Ok((value, self.text.as_bytes().get(start..self.at).unwrap_or_default()))
    }

    fn text(&mut self) -> Result<Text<'a>, Fault> {
        self.expect(b'"')?;
        let (bytes, start) = (self.text.as_bytes(), self.at);
        let (mut at, mut has_escapes, mut has_nul) = (start, false, false);
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let special = match rest.first_chunk() {
                Some(eight) => {
                    let eight = u64::from_le_bytes(*eight);
                    let Some(bits) = bits_before_special(eight) else {
                        at += 8;
                        continue;
                    };
                    at += bits as usize / 8;
                    (eight >> bits).to_le_bytes()[0]
                }
                // Near the end of the text, byte by byte.
                None => *rest.first().ok_or(Fault::NotJson)?,
            };
            at += 1;
            match special {
                b'"' => break,
                b'\\' => {
                    let (c, bytes) = escape(bytes.get(at..).unwrap_or_default())?;
                    has_escapes = true;
                    has_nul |= c == '\0';
                    at += bytes;
                }
                0..0x20 => return Err(Fault::NotJson),
                _ => {}
            }
        }
        self.at = at;
        let raw = self.text.get(start..at - 1).ok_or(Fault::NotJson)?;
        Ok(Text { raw, has_escapes, has_nul })
    }

    #[inline(always)]
    fn pass_space(&mut self) {
        // Mostly there is none.
        if self.peek() <= Some(b' ') {
            self.pass_spaces();
        }
    }

    fn pass_spaces(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    #[inline(always)]
    fn eat(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.eat(byte) { Ok(()) } else { Err(Fault::NotJson) }
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
        let mut rest = self.raw;
        std::iter::from_fn(move || {
            let (c, after) = next_char(rest).ok()??;
            rest = after;
            Some(c)
        })
    }

    /// A number that is the same for keys that say the same. Keys that share one by chance or by design are
    /// taken for duplicates, which makes a write of a read and never the reverse.
    fn fingerprint(&self) -> u64 {
        if self.has_escapes {
            fingerprint(self.decoded().as_bytes())
        } else {
            fingerprint(self.raw.as_bytes())
        }
    }
}

/// The first character of a string as written, and what follows it.
fn next_char(raw: &str) -> Result<Option<(char, &str)>, Fault> {
    let Some(escaped) = raw.strip_prefix('\\') else {
        let mut chars = raw.chars();
        return Ok(chars.next().map(|c| (c, chars.as_str())));
    };
    let (c, bytes) = escape(escaped.as_bytes())?;
    Ok(Some((c, escaped.get(bytes..).unwrap_or_default())))
}

/// What an escape without its backslash stands for, and its length. GraphQL has the same (spec section 2.9.4).
pub(crate) fn escape(rest: &[u8]) -> Result<(char, usize), Fault> {
    let c = match rest.first().ok_or(Fault::NotJson)? {
        byte @ (b'"' | b'\\' | b'/') => char::from(*byte),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let high = rest.get(1..5).and_then(hex).ok_or(Fault::NotJson)?;
            if let Some(c) = char::from_u32(high) {
                return Ok((c, 5));
            }
            // Half of a pair of surrogates; parsers differ about one that stands alone.
            let low = rest.get(5..11).and_then(|low| hex(low.strip_prefix(b"\\u")?));
            let low =
                low.filter(|low| high < 0xdc00 && low & 0xfc00 == 0xdc00).ok_or(Fault::LoneSurrogate)?;
            let code = 0x1_0000 + ((high & 0x3ff) << 10) + (low & 0x3ff);
            return char::from_u32(code).map(|c| (c, 11)).ok_or(Fault::LoneSurrogate);
        }
        _ => return Err(Fault::NotJson),
    };
    Ok((c, 1))
}

/// The number that at least one and only hexadecimal digits stand for, if it is not too large.
pub(crate) fn hex(digits: &[u8]) -> Option<u32> {
    digits.first()?;
    digits.iter().try_fold(0_u32, |number, digit| {
        number.checked_mul(16).zip(char::from(*digit).to_digit(16)).map(|(number, digit)| number + digit)
    })
}

/// The length of the number that a text starts with. GraphQL has the same (spec sections 2.9.1, 2.9.2).
pub(crate) fn number_bytes(text: &[u8]) -> Option<usize> {
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
