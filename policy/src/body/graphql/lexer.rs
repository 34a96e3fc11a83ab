//! The tokens of a GraphQL document (spec section 2.1 and 2.9; October 2021, September 2025).
//!
//! Stricter than the specification wherever a lexer in use is known to find other tokens, because
//! what one takes for text another may take for an operation.

use crate::json::{escape, hex, number_bytes};

/// More tokens than this are not read. GraphQL Java's default limit is the same.
const MAX_TOKENS: u32 = 15_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    Name(&'a str),
    /// One of `! $ & ( ) : = @ [ ] { | }`, and a dot for `...`.
    Punctuator(u8),
    Number,
    Text,
    End,
}

pub struct Lexer<'a> {
    document: &'a str,
    at: usize,
    tokens_left: u32,
}

impl<'a> Lexer<'a> {
    /// Starts before the first token; nothing if there are characters that some take for the end of
    /// a line and others do not, or for the end of the text.
    pub fn new(document: &'a str) -> Option<Self> {
        // The specification ignores the mark anywhere. Decoders drop it at the start only, or everywhere:
        // elsewhere, two quotes with one between them could become three.
        let document = document.strip_prefix('\u{feff}').unwrap_or(document);
        let mut chars = document.chars().peekable();
        while let Some(c) = chars.next() {
            let known = match c {
                '\t' | '\n' => true,
                // Alone it ends a comment for the specification, but not for who looks for line feeds.
                '\r' => chars.peek() == Some(&'\n'),
                // The draft of July 2015 ends lines here.
                '\u{2028}' | '\u{2029}' => false,
                c => !c.is_control(),
            };
            if !known {
                return None;
            }
        }
        Some(Self { document, at: 0, tokens_left: MAX_TOKENS })
    }

    /// The next token; nothing where there is none that everybody agrees about.
    pub fn next(&mut self) -> Option<Token<'a>> {
        self.tokens_left = self.tokens_left.checked_sub(1)?;
        self.skip_ignored();
        let rest = self.rest()?;
        let (token, bytes) = match rest {
            [] => (Token::End, 0),
            [b'.', b'.', b'.', ..] => (Token::Punctuator(b'.'), 3),
            [
                byte @ (b'!' | b'$' | b'&' | b'(' | b')' | b':' | b'=' | b'@' | b'[' | b']' | b'{' | b'|'
                | b'}'),
                ..,
            ] => (Token::Punctuator(*byte), 1),
            [b'"', b'"', b'"', text @ ..] => (Token::Text, 3 + block_string_bytes(text)?),
            [b'"', text @ ..] => (Token::Text, 1 + string_bytes(text)?),
            [b'-' | b'0'..=b'9', ..] => {
                let bytes = number_bytes(rest)?;
                // A quote is no error for the specification, but lexers are in use that read on to the
                // next space or bracket.
                if rest.get(bytes).is_some_and(|byte| is_in_name(*byte) || matches!(byte, b'.' | b'"')) {
                    return None;
                }
                (Token::Number, bytes)
            }
            [b'_' | b'a'..=b'z' | b'A'..=b'Z', ..] => {
                let bytes = rest.iter().take_while(|byte| is_in_name(**byte)).count();
                (Token::Name(self.document.get(self.at..self.at + bytes)?), bytes)
            }
            _ => return None,
        };
        self.at += bytes;
        Some(token)
    }

    fn rest(&self) -> Option<&'a [u8]> {
        self.document.as_bytes().get(self.at..)
    }

    fn skip_ignored(&mut self) {
        let mut in_comment = false;
        while let Some(byte) = self.document.as_bytes().get(self.at) {
            match byte {
                b'\n' => in_comment = false,
                b'#' => in_comment = true,
                _ if in_comment => {}
                b' ' | b'\t' | b'\r' | b',' => {}
                _ => break,
            }
            self.at += 1;
        }
    }
}

fn is_in_name(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

/// The length of what is left of a string behind its first quote.
fn string_bytes(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = text.get(at..)?;
        at += match rest {
            [b'"', ..] => return Some(at + 1),
            [b'\n' | b'\r', ..] => return None,
            [b'\\', b'u', b'{', braced @ ..] => {
                let digits = braced.iter().position(|byte| *byte == b'}')?;
                char::from_u32(hex(braced.get(..digits)?)?)?;
                digits + 4
            }
            [b'\\', escaped @ ..] => 1 + escape(escaped).ok()?.1,
            [_, ..] => 1,
            [] => return None,
        };
    }
}

/// The length of what is left of a block string behind its first three quotes; it has no other quote in
/// it. Lexers from before the specification of June 2018 know no block strings (graphql-dotnet's until
/// 2021), others no escaped quotes in them (GraphQLSwift) or end at the first quote (apollo-rs until
/// 2021); without quotes inside, all that go on at all go on at the same place.
fn block_string_bytes(text: &[u8]) -> Option<usize> {
    let end = text.iter().position(|byte| *byte == b'"')?;
    let is_end = text.get(end..)?.starts_with(b"\"\"\"") && !text.get(..end)?.ends_with(b"\\");
    is_end.then_some(end + 3)
}
