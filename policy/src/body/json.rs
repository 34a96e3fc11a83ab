//! Escapes and numbers of JSON (RFC 8259), which GraphQL has too.

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
