//! GraphQL documents as lexers take them apart that are older or more forgiving than the specification.

use graphql_parser::query::{Definition, OperationDefinition, parse_query};

/// An operation that some server could find in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Whether it is a mutation.
    pub writes: bool,
    /// Its name, if it has one.
    pub name: Option<String>,
}

/// The ways in which lexers differ.
#[derive(Clone, Copy)]
struct Habits {
    /// Block strings are known (since June 2018).
    block_strings: bool,
    /// `\"""` does not end them.
    escapes_in_blocks: bool,
    /// A carriage return ends a line.
    lines_end_at_cr: bool,
    /// So do U+2028 and U+2029 (until October 2015).
    lines_end_at_separators: bool,
    /// A string ends with its line, even where its quote is missing.
    strings_end_with_lines: bool,
}

impl Habits {
    fn all() -> impl Iterator<Item = Self> {
        (0_u8..32).map(|bits| Self {
            block_strings: bits & 1 == 0,
            escapes_in_blocks: bits & 2 == 0,
            lines_end_at_cr: bits & 4 == 0,
            lines_end_at_separators: bits & 8 != 0,
            strings_end_with_lines: bits & 16 != 0,
        })
    }

    fn ends_line(self, c: char) -> bool {
        match c {
            '\n' => true,
            '\r' => self.lines_end_at_cr,
            '\u{2028}' | '\u{2029}' => self.lines_end_at_separators,
            _ => false,
        }
    }
}

/// The operations of a document, once for every way to find them.
pub fn operations(document: &str) -> Vec<Vec<Operation>> {
    let mut ways: Vec<_> = Habits::all().map(|habits| scan(document, habits)).collect();
    // What ends texts in C.
    if let Some((before, _)) = document.split_once('\0') {
        ways.extend(Habits::all().map(|habits| scan(before, habits)));
    }
    ways.extend(by_another_parser(document));
    ways
}

/// Whether a server would run a mutation, if it goes by one of these names; without a name, or with one that
/// is not in the document, it may run what it likes.
pub fn may_write(document: &str, names: &[&str]) -> bool {
    operations(document).iter().any(|operations| {
        let is_named = |operation: &&Operation| {
            let named = |found: &String| names.iter().any(|name| name.eq_ignore_ascii_case(found));
            operation.name.as_ref().is_some_and(named)
        };
        let all = names.is_empty() || names.contains(&"") || !operations.iter().any(|one| is_named(&one));
        operations.iter().filter(|one| all || is_named(one)).any(|operation| operation.writes)
    })
}

fn by_another_parser(document: &str) -> Option<Vec<Operation>> {
    let definitions = parse_query::<String>(document).ok()?.definitions;
    let operation = |definition| {
        let (writes, name) = match definition {
            Definition::Fragment(_) => return None,
            Definition::Operation(OperationDefinition::SelectionSet(_)) => (false, None),
            Definition::Operation(OperationDefinition::Query(one)) => (false, one.name),
            Definition::Operation(OperationDefinition::Mutation(one)) => (true, one.name),
            Definition::Operation(OperationDefinition::Subscription(one)) => (false, one.name),
        };
        Some(Operation { writes, name })
    };
    Some(definitions.into_iter().filter_map(operation).collect())
}

/// Goes over a document and looks for keywords outside all brackets.
fn scan(document: &str, habits: Habits) -> Vec<Operation> {
    let mut found: Vec<Operation> = Vec::new();
    let (mut depth, mut is_open) = (0_u32, false);
    let mut rest = document;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match c {
            '#' => &after[after.find(|c| habits.ends_line(c)).unwrap_or(after.len())..],
            '"' => behind_text(rest, habits),
            '{' | '(' | '[' => {
                if depth == 0 && c == '{' && !is_open {
                    found.push(Operation { writes: false, name: None });
                }
                // A selection ends the head of an operation; what follows is another.
                is_open &= c != '{' || depth > 0;
                depth += 1;
                after
            }
            '}' | ')' | ']' => {
                depth = depth.saturating_sub(1);
                after
            }
            c if c == '_' || c.is_ascii_alphabetic() => {
                let end = rest.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
                let word = &rest[..end];
                if depth == 0 {
                    match word {
                        "mutation" | "query" | "subscription" if !is_open => {
                            found.push(Operation { writes: word == "mutation", name: None });
                            is_open = true;
                        }
                        // Its name and what it is on; its selection is none of an operation.
                        "fragment" if !is_open => is_open = true,
                        name if is_open => {
                            if let Some(operation) = found.last_mut() {
                                operation.name.get_or_insert_with(|| name.to_owned());
                            }
                        }
                        _ => {}
                    }
                }
                &rest[end..]
            }
            _ => after,
        };
    }
    found
}

/// What is behind the string that starts here.
fn behind_text(text: &str, habits: Habits) -> &str {
    if habits.block_strings
        && let Some(block) = text.strip_prefix("\"\"\"")
    {
        let mut from = 0;
        while let Some(at) = block[from..].find("\"\"\"") {
            let end = from + at;
            if !(habits.escapes_in_blocks && block[..end].ends_with('\\')) {
                return &block[end + 3..];
            }
            from = end + 3;
        }
        return "";
    }
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return &text[at + 1..],
            '\\' => drop(chars.next()),
            c if habits.strings_end_with_lines && habits.ends_line(c) => return &text[at..],
            _ => {}
        }
    }
    ""
}
