//! JSON as the most forgiving of parsers read it: comments, single quotes, bare words, commas too many or
//! too few, keys twice, values one behind the other, text around them, any encoding.

use std::{iter::Peekable, str::Chars};

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// A string.
    Text(String),
    /// A number, a truth value, `null`, or whatever else has no quotes.
    Word(String),
    /// An array.
    List(Vec<Json>),
    /// An object, with all its members.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// What a server that wants a text makes of it: also of a word, and of the one item of an array.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Word(word) if word == "null" => None,
            Self::Text(text) | Self::Word(text) => Some(text),
            Self::List(items) => items.first()?.as_text(),
            Self::Object(_) => None,
        }
    }

    /// The objects in it that are not in others: itself, or those of a batch, or of one in it.
    pub fn objects(&self) -> Vec<&Self> {
        match self {
            Self::List(items) => items.iter().flat_map(Self::objects).collect(),
            Self::Object(_) => vec![self],
            _ => Vec::new(),
        }
    }

    /// All values of a member, whatever parser reads the object: first or last of several, in any case,
    /// or by way of the prototype that it gives itself.
    pub fn members<'j>(&'j self, name: &'j str) -> Vec<&'j Self> {
        let Self::Object(members) = self else { return Vec::new() };
        let of = |(key, value): &'j (String, Self)| {
            let mut found = if super::is_like(key, name) { vec![value] } else { Vec::new() };
            if super::is_like(key, "proto") {
                found.extend(value.members(name));
            }
            found
        };
        members.iter().flat_map(of).collect()
    }
}

/// All values in a body, in whatever encoding.
pub fn read(body: &[u8]) -> Vec<Json> {
    let units = |number: fn([u8; 2]) -> u16| {
        let units: Vec<_> = body.as_chunks().0.iter().map(|two| number(*two)).collect();
        String::from_utf16_lossy(&units)
    };
    let text = String::from_utf8_lossy(body);
    let mut found = read_text(&text);
    if text.contains('\0') {
        found.extend(read_text(text.split('\0').next().unwrap_or_default()));
        found.extend(
            [u16::from_le_bytes, u16::from_be_bytes].iter().flat_map(|number| read_text(&units(*number))),
        );
    }
    found
}

/// All values in a text.
pub fn read_text(text: &str) -> Vec<Json> {
    let mut reader = Reader { chars: text.chars().peekable() };
    let mut found = Vec::new();
    loop {
        reader.skip(&[',', ':', '=', ']', '}']);
        if reader.chars.peek().is_none() {
            return found;
        }
        found.push(reader.value());
    }
}

struct Reader<'t> {
    chars: Peekable<Chars<'t>>,
}

impl Reader<'_> {
    /// Passes over space, comments, and what else does not matter here.
    fn skip(&mut self, also: &[char]) {
        loop {
            match self.chars.peek() {
                Some(c) if c.is_whitespace() || c.is_control() || *c == '\u{feff}' || also.contains(c) => {
                    self.chars.next();
                }
                Some('#') => self.pass(|c| c != '\n'),
                Some('/') => {
                    self.chars.next();
                    match self.chars.peek() {
                        Some('/') => self.pass(|c| c != '\n'),
                        Some('*') => {
                            self.chars.next();
                            let mut before = ' ';
                            while let Some(c) = self.chars.next()
                                && (before, c) != ('*', '/')
                            {
                                before = c;
                            }
                        }
                        _ => {}
                    }
                }
                _ => return,
            }
        }
    }

    fn pass(&mut self, passes: fn(char) -> bool) {
        while self.chars.next_if(|c| passes(*c)).is_some() {}
    }

    fn value(&mut self) -> Json {
        match self.chars.peek() {
            Some('{') => {
                self.chars.next();
                let mut members = Vec::new();
                loop {
                    self.skip(&[',', ':', '=', ']']);
                    match self.chars.peek() {
                        None => break,
                        Some('}') => {
                            self.chars.next();
                            break;
                        }
                        Some(_) => {}
                    }
                    let key = match self.value() {
                        Json::Text(key) | Json::Word(key) => key,
                        _ => String::new(),
                    };
                    self.skip(&[':', '=']);
                    if matches!(self.chars.peek(), None | Some(',' | '}' | ']')) {
                        continue;
                    }
                    members.push((key, self.value()));
                }
                Json::Object(members)
            }
            Some('[') => {
                self.chars.next();
                let mut items = Vec::new();
                loop {
                    self.skip(&[',', ':', '=', '}']);
                    match self.chars.peek() {
                        None => break,
                        Some(']') => {
                            self.chars.next();
                            break;
                        }
                        Some(_) => items.push(self.value()),
                    }
                }
                Json::List(items)
            }
            Some(quote @ ('"' | '\'')) => {
                let quote = *quote;
                self.chars.next();
                Json::Text(self.text(quote))
            }
            _ => {
                let mut word = String::new();
                while let Some(c) = self.chars.next_if(|c| !c.is_whitespace() && !",:=[]{}\"'/#".contains(*c))
                {
                    word.push(c);
                }
                Json::Word(word)
            }
        }
    }

    fn text(&mut self, quote: char) -> String {
        let mut units = Vec::new();
        while let Some(c) = self.chars.next()
            && c != quote
        {
            let c = if c == '\\' { self.escape() } else { Ok(c) };
            match c {
                Ok(c) => units.extend_from_slice(c.encode_utf16(&mut [0; 2])),
                Err(unit) => units.push(unit),
            }
        }
        String::from_utf16_lossy(&units)
    }

    /// The character of an escape, or half of it.
    fn escape(&mut self) -> Result<char, u16> {
        let digits = match self.chars.next() {
            Some('b') => return Ok('\u{8}'),
            Some('f') => return Ok('\u{c}'),
            Some('n') => return Ok('\n'),
            Some('r') => return Ok('\r'),
            Some('t') => return Ok('\t'),
            Some('v') => return Ok('\u{b}'),
            Some('0') => return Ok('\0'),
            Some('u' | 'U') => 4,
            Some('x') => 2,
            Some(itself) => return Ok(itself),
            None => return Ok('\\'),
        };
        let mut unit = 0_u16;
        for _ in 0..digits {
            let Some(digit) = self.chars.next_if(char::is_ascii_hexdigit) else { break };
            unit = unit << 4 | digit.to_digit(16).and_then(|digit| u16::try_from(digit).ok()).unwrap_or(0);
        }
        Err(unit)
    }
}
