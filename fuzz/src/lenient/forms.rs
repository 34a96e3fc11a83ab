//! Forms: the parameters that servers may find in queries and bodies.

/// One parameter.
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Decodes what can be decoded and leaves the rest; `%uXXXX` too, as IIS does.
pub fn unescaped(text: &[u8], plus_is_space: bool) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = text;
    loop {
        rest = match rest {
            [b'%', b'u' | b'U', a, b, c, d, after @ ..] if number(&[*a, *b, *c, *d]).is_some() => {
                let unit = number(&[*a, *b, *c, *d]).and_then(char::from_u32);
                decoded.extend(unit.unwrap_or(char::REPLACEMENT_CHARACTER).to_string().into_bytes());
                after
            }
            [b'%', high, low, after @ ..] if number(&[*high, *low]).is_some() => {
                decoded.extend(number(&[*high, *low]).and_then(|byte| u8::try_from(byte).ok()));
                after
            }
            [b'+', after @ ..] if plus_is_space => {
                decoded.push(b' ');
                after
            }
            [byte, after @ ..] => {
                decoded.push(*byte);
                after
            }
            [] => return decoded,
        }
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| Some(number * 16 + char::from(*digit).to_digit(16)?))
}

/// All parameters that some server finds: separated by `&` or by `;` too, and decoded once or twice.
pub fn parameters(form: &[u8]) -> Vec<Parameter> {
    let mut found = Vec::new();
    for separators in [&b"&"[..], b"&;"] {
        for pair in form.split(|byte| separators.contains(byte)) {
            let (name, value) = crate::sent::split_at(pair, b"=").unwrap_or((pair, b""));
            let text = |text: Vec<u8>| String::from_utf8_lossy(&text).into_owned();
            let once = |raw| unescaped(raw, true);
            found.push(Parameter { name: text(once(name)), value: text(once(value)) });
            let twice = |raw| unescaped(&unescaped(raw, true), false);
            found.push(Parameter { name: text(twice(name)), value: text(twice(value)) });
        }
    }
    found
}

impl Parameter {
    /// Whether some server takes its name for `name`, in whatever case. PHP makes an underscore of a dot, a space
    /// or a bracket in names, but drops spaces in front; what is written in C ends names at a NUL.
    pub fn is_like(&self, name: &str) -> bool {
        let found =
            self.name.split('\0').next().unwrap_or_default().trim_matches(|c: char| c.is_ascii_whitespace());
        found.replace(['.', ' ', '['], "_").eq_ignore_ascii_case(name)
    }
}
