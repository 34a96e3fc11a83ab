//! Path patterns of rules: `/a/{any}/c`, `/a/{*rest}`.

/// A checked pattern; the names of its parameters do not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Segment,
    Rest,
}

/// Orders patterns from the most specific on, as the router tries them: from left to right, literal
/// before parameter before rest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(Vec<u8>);

impl Pattern {
    /// Reads a pattern under a literal prefix, which is empty or begins with a slash and ends in none.
    pub fn parse(prefix: &str, path: &str) -> Result<Self, String> {
        if !path.starts_with('/') {
            return Err(format!("`{path}` does not begin with `/`"));
        }
        check_literal(path)?;
        let mut parts = Vec::new();
        let mut literal = prefix.to_owned();
        let mut rest = path;
        while let Some((before, after)) = rest.split_once('{') {
            literal.push_str(before);
            let Some((name, after)) = after.split_once('}') else {
                return Err(format!("`{path}` has a `{{` without `}}`"));
            };
            if literal.is_empty() {
                return Err(format!("`{path}` has two parameters with nothing between them"));
            }
            parts.push(Part::Literal(std::mem::take(&mut literal)));
            let (part, name) = match name.strip_prefix('*') {
                Some(name) => (Part::Rest, name),
                None => (Part::Segment, name),
            };
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                return Err(format!(
                    "`{path}` has a parameter without a plain name; write `{{name}}` or `{{*rest}}`"
                ));
            }
            if part == Part::Rest && !after.is_empty() {
                return Err(format!(
                    "`{path}` goes on behind `{{*{name}}}`, which stands for all that follows"
                ));
            }
            parts.push(part);
            rest = after;
        }
        if rest.contains('}') {
            return Err(format!("`{path}` has a `}}` without `{{`"));
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self { parts })
    }

    /// The same pattern in lower case.
    pub fn folded(&self) -> Self {
        let fold = |part: &Part| match part {
            Part::Literal(text) => Part::Literal(text.to_ascii_lowercase()),
            other => other.clone(),
        };
        Self { parts: self.parts.iter().map(fold).collect() }
    }

    /// The patterns that a lenient origin may take for this one: with or without a slash at the end,
    /// and with nothing in place of the rest.
    pub fn lenient(&self) -> Vec<Self> {
        let mut bare = self.parts.clone();
        if bare.last() == Some(&Part::Rest) {
            bare.pop();
        }
        if let Some(Part::Literal(text)) = bare.last_mut() {
            text.truncate(text.trim_end_matches('/').len());
        }
        bare.retain(|part| *part != Part::Literal(String::new()));
        let mut slashed = bare.clone();
        match slashed.last_mut() {
            Some(Part::Literal(text)) => text.push('/'),
            _ => slashed.push(Part::Literal("/".to_owned())),
        }
        [bare, slashed].into_iter().filter(|parts| !parts.is_empty()).map(|parts| Self { parts }).collect()
    }

    /// The pattern in the router's syntax: `:p` for a segment, `:p+` for the rest, and a backslash before
    /// whatever would be taken for a parameter or for more of its name.
    pub fn template(&self) -> String {
        let mut template = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => {
                    for (at, char) in text.chars().enumerate() {
                        let would_continue_name = at == 0 && !template.is_empty();
                        if would_continue_name || matches!(char, ':' | '*' | '+' | '?') {
                            template.push('\\');
                        }
                        template.push(char);
                    }
                }
                Part::Segment => template.push_str(":p"),
                Part::Rest => template.push_str(":p+"),
            }
        }
        template
    }

    /// How specific the pattern is.
    pub fn rank(&self) -> Rank {
        let mut rank = Vec::new();
        for part in &self.parts {
            match part {
                // Behind a parameter, what goes on within the segment comes before what ends it.
                Part::Literal(text) => rank.extend(text.bytes().map(|byte| u8::from(byte == b'/'))),
                Part::Segment => rank.push(2),
                Part::Rest => rank.push(3),
            }
        }
        // A parameter that ends the pattern says less than one with something behind it.
        if !matches!(self.parts.last(), Some(Part::Literal(_))) {
            rank.push(4);
        }
        Rank(rank)
    }

    /// A path that the pattern matches.
    pub fn example(&self) -> String {
        let part = |part: &Part| match part {
            Part::Literal(text) => text.clone(),
            Part::Segment | Part::Rest => "x".to_owned(),
        };
        self.parts.iter().map(part).collect()
    }
}

/// Checks a literal path prefix: `/`, or a path without a slash at the end.
pub fn check_prefix(prefix: &str) -> Result<(), String> {
    check_literal(prefix)?;
    let sound = prefix == "/"
        || (prefix.starts_with('/')
            && !prefix.ends_with('/')
            && !prefix.contains("//")
            && !prefix.contains(['{', '}']));
    if sound { Ok(()) } else { Err(format!("`{prefix}` is not a prefix; write `/` or a path such as `/v1`")) }
}

fn check_literal(path: &str) -> Result<(), String> {
    let odd = |byte: u8| {
        !byte.is_ascii_graphic() || matches!(byte, b'?' | b'#' | b'%' | b';' | b'\\' | b'<' | b'>')
    };
    if path.bytes().any(odd) {
        return Err(format!(
            "`{path}` has a character that no plain path has; write it decoded, without query"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(path: &str) -> Pattern {
        Pattern::parse("", path).unwrap()
    }

    fn lenient(path: &str) -> Vec<String> {
        pattern(path).lenient().iter().map(Pattern::template).collect()
    }

    #[test]
    fn parameters_lose_their_names() {
        assert_eq!(pattern("/a/{x}/b").template(), "/a/:p\\/b");
        assert_eq!(pattern("/a/{x}/b"), pattern("/a/{other}/b"));
        assert_eq!(Pattern::parse("/v1", "/{*rest}").unwrap().template(), "/v1/:p+");
        assert_eq!(pattern("/{a}:{b}.json").template(), "/:p\\::p\\.json");
    }

    #[test]
    fn lenient_origins_drop_slashes_and_rests() {
        assert_eq!(lenient("/a"), ["/a", "/a/"]);
        assert_eq!(lenient("/a/{*rest}"), ["/a", "/a/"]);
        assert_eq!(lenient("/{*rest}"), ["/"]);
        assert_eq!(lenient("/a/{x}"), ["/a/:p", "/a/:p\\/"]);
        assert_eq!(lenient("/"), ["/"]);
    }

    #[test]
    fn literal_is_more_specific_than_parameter_than_rest() {
        let ranks: Vec<Rank> = ["/a/b", "/a/b{x}", "/a/{x}:go", "/a/{x}", "/a/{*rest}", "/{x}/b", "/{*rest}"]
            .map(|path| pattern(path).rank())
            .into();
        assert!(ranks.is_sorted(), "{ranks:?}");
    }

    #[test]
    fn says_what_is_wrong_with_a_pattern() {
        for bad in ["a", "/{", "/}", "/{}", "/{a}{b}", "/{*a}/b", "/{a b}", "/a?b", "/a%20b", "/<a>", "/é"] {
            assert!(Pattern::parse("", bad).is_err(), "{bad}");
        }
        for bad in ["", "v1", "/v1/", "//", "/a//b", "/{x}"] {
            assert!(check_prefix(bad).is_err(), "{bad}");
        }
    }
}
