//! Generated documents, read by another parser too: the crate `graphql-parser`.
#![cfg(not(target_arch = "wasm32"))]

use std::slice::Iter;

use graphql_parser::query::{Definition, OperationDefinition, parse_query};
use proptest::prelude::*;

use super::{
    Kind, Operation,
    lexer::{Lexer, Token},
    operations, read_graphql, read_json, read_multipart, read_query_string,
};

/// What documents are made of, and where they are changed: much that looks like an operation and is none.
const NAMES: [&str; 9] = ["a", "mutation", "query", "subscription", "fragment", "B", "_1", "type", "onto"];
const VALUES: [&str; 14] = [
    "1",
    "-0",
    "1.5",
    "2e3",
    "$v",
    "true",
    "null",
    "E",
    "\"\"",
    "\"} mutation M { a } #\"",
    "\"\\\"\\\\\\u0022 {\"",
    "\"\"\"\"\"\"",
    "\"\"\"\n} mutation {\r\n# a\n\"\"\"",
    "\"\u{e9}\"",
];
const IGNORED: [&str; 9] =
    [" ", ",", "\n", "\r\n", "\t", ", ,", "#\n", "# } mutation M { a } \"\n", "#\"\"\" \u{feff}\r\n"];

type Operations = Vec<(Kind, Option<String>)>;

/// Writes a document as a row of numbers chooses; where they end, it is soon complete.
struct Writer<'c> {
    choices: Iter<'c, u8>,
    document: String,
    operations: Operations,
    constant: bool,
}

impl Writer<'_> {
    fn pick<'t>(&mut self, among: &[&'t str]) -> &'t str {
        among[self.choose(among.len())]
    }

    fn choose(&mut self, below: usize) -> usize {
        usize::from(self.choices.next().copied().unwrap_or(0)) % below
    }

    fn put(&mut self, token: &str) {
        let sticks = |byte: Option<&u8>| byte.is_some_and(|byte| !b"!$():=@[]{} ,\n\t".contains(byte));
        let must = sticks(self.document.as_bytes().last()) && sticks(token.as_bytes().first());
        if must || self.choose(3) == 2 {
            let ignored = self.pick(&IGNORED);
            self.document.push_str(ignored);
        }
        self.document.push_str(token);
    }

    fn put_name(&mut self) -> String {
        let name = self.pick(&NAMES);
        self.put(name);
        name.to_owned()
    }

    fn definition(&mut self) {
        let name = |name: usize, writer: &mut Self| (name > 0).then(|| writer.put_name());
        let (kind, name) = match self.choose(6) {
            0 | 1 => (Kind::Query, None),
            2 => {
                self.put("fragment");
                self.put_name();
                self.put("on");
                self.put_name();
                self.directives();
                return self.selection_set();
            }
            3 => {
                self.put("query");
                let named = self.choose(2);
                (Kind::Query, name(named, self))
            }
            4 => {
                self.put("mutation");
                let named = self.choose(2);
                (Kind::Mutation, name(named, self))
            }
            _ => {
                self.put("subscription");
                let named = self.choose(2);
                (Kind::Subscription, name(named, self))
            }
        };
        let is_short = name.is_none() && kind == Kind::Query && !self.document.ends_with("query");
        self.operations.push((kind, name));
        if !is_short {
            if self.choose(3) == 2 {
                self.variables();
            }
            self.directives();
        }
        self.selection_set();
    }

    fn variables(&mut self) {
        self.put("(");
        for _ in 0..=self.choose(2) {
            self.put("$");
            self.put_name();
            self.put(":");
            match self.choose(3) {
                0 => drop(self.put_name()),
                1 => ["[", "a", "!", "]", "!"].into_iter().for_each(|token| self.put(token)),
                _ => ["[", "[", "a", "]", "]"].into_iter().for_each(|token| self.put(token)),
            }
            if self.choose(2) == 1 {
                self.put("=");
                self.constant = true;
                self.value();
                self.constant = false;
            }
        }
        self.put(")");
    }

    fn selection_set(&mut self) {
        self.put("{");
        for _ in 0..=self.choose(3) {
            match self.choose(6) {
                0..3 => {
                    self.put_name();
                    if self.choose(3) == 2 {
                        self.put(":");
                        self.put_name();
                    }
                    self.arguments();
                    self.directives();
                    if self.choose(4) == 3 {
                        self.selection_set();
                    }
                }
                3 => {
                    self.put("...");
                    self.put_name();
                    self.directives();
                }
                typed => {
                    self.put("...");
                    if typed == 4 {
                        self.put("on");
                        self.put_name();
                    }
                    self.directives();
                    self.selection_set();
                }
            }
        }
        self.put("}");
    }

    fn directives(&mut self) {
        for _ in 0..self.choose(4).saturating_sub(2) {
            self.put("@");
            self.put_name();
            self.arguments();
        }
    }

    fn arguments(&mut self) {
        if self.choose(3) == 2 {
            self.put("(");
            for _ in 0..=self.choose(2) {
                self.put_name();
                self.put(":");
                self.value();
            }
            self.put(")");
        }
    }

    fn value(&mut self) {
        match self.choose(VALUES.len() + 2) {
            at if at < VALUES.len() => self.put(if self.constant && at == 4 { "E" } else { VALUES[at] }),
            at if at == VALUES.len() => {
                self.put("[");
                (0..self.choose(4)).for_each(|_| self.value());
                self.put("]");
            }
            _ => {
                self.put("{");
                for _ in 0..self.choose(3) {
                    self.put_name();
                    self.put(":");
                    self.value();
                }
                self.put("}");
            }
        }
    }
}

fn write(choices: &[u8]) -> (String, Operations) {
    let mut writer =
        Writer { choices: choices.iter(), document: String::new(), operations: Vec::new(), constant: false };
    if writer.choose(4) == 3 {
        writer.document.push('\u{feff}');
    }
    for _ in 0..=writer.choose(4) {
        writer.definition();
    }
    (writer.document, writer.operations)
}

fn ours(document: &str) -> Option<Operations> {
    let owned = |one: Operation<'_>| (one.kind, one.name.map(str::to_owned));
    operations(document).ok().map(|all| all.into_iter().map(owned).collect())
}

fn theirs(document: &str) -> Option<Operations> {
    let read = |definition| {
        Some(match definition {
            Definition::Fragment(_) => return None,
            Definition::Operation(OperationDefinition::SelectionSet(_)) => (Kind::Query, None),
            Definition::Operation(OperationDefinition::Query(one)) => (Kind::Query, one.name),
            Definition::Operation(OperationDefinition::Mutation(one)) => (Kind::Mutation, one.name),
            Definition::Operation(OperationDefinition::Subscription(one)) => (Kind::Subscription, one.name),
        })
    };
    parse_query::<String>(document)
        .ok()
        .map(|document| document.definitions.into_iter().filter_map(read).collect())
}

/// Whether there may be something in a document that the other parser does not know: directives on
/// variables, descriptions, and exponents that start with a zero.
fn may_be_beyond_it(document: &str) -> bool {
    let mut lexer = Lexer::new(document).unwrap();
    let mut before = Token::End;
    loop {
        let token = lexer.next().unwrap();
        match (before, token) {
            (_, Token::End) => {
                return document.contains('$') && document.contains('@') || document.contains("e0");
            }
            (
                Token::Text,
                Token::Punctuator(b'$') | Token::Name("query" | "mutation" | "subscription" | "fragment"),
            ) => return true,
            _ => before = token,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn operations_are_those_written_and_those_that_another_parser_finds(
        choices in prop::collection::vec(any::<u8>(), 0..120),
    ) {
        let (document, written) = write(&choices);
        prop_assert_eq!(ours(&document), Some(written.clone()), "{}", document);
        prop_assert_eq!(theirs(&document), Some(written), "{}", document);
    }

    #[test]
    fn what_is_read_of_a_damaged_document_another_parser_reads_alike(
        choices in prop::collection::vec(any::<u8>(), 0..60),
        damage in prop::collection::vec((any::<usize>(), 0..3_usize, 0..30_usize), 1..4),
    ) {
        const BITS: [&str; 30] = [
            "{", "}", "(", ")", "[", "]", ":", "!", "=", "@", "$", "...", ".", "\\", "#", "\n", "\r", " ", "-", "0", "&",
            "|", "on ", "query ", "mutation ", "fragment ", "\u{feff}", "\u{2028}", "\u{1}", "true",
        ];
        let (mut document, _) = write(&choices);
        for (at, removed, bit) in damage {
            let mut start = at % (document.len() + 1);
            let mut end = (start + removed).min(document.len());
            while !document.is_char_boundary(start) { start -= 1; }
            while !document.is_char_boundary(end) { end += 1; }
            document.replace_range(start..end, BITS[bit]);
        }
        if let Some(read) = ours(&document) {
            match theirs(&document) {
                None => prop_assert!(may_be_beyond_it(&document), "{}", document),
                found => prop_assert_eq!(found, Some(read), "{}", document),
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        text in "[{}\\[\\]\":,\\\\u0-9a-fquery.@$!()# \n\r\u{feff}-]{0,80}",
    ) {
        for body in [&bytes[..], text.as_bytes()] {
            let _ = read_json(body);
            let _ = read_graphql(body);
            let _ = read_query_string(body);
            let _ = read_multipart(body, body);
            let _ = read_multipart(b"multipart/form-data; boundary=a", &[b"--a\r\n", body, b"\r\n--a--"].concat());
        }
    }
}
