//! Recognises executable documents (spec sections 2.2 to 2.12, appendix "Grammar Summary") and keeps
//! their operations.
//!
//! The grammar is that of September 2025, which has that of October 2021 in it. What is not in the
//! grammar is not recognised: type-system definitions, variables of fragments, nullability marks.

use super::{
    Kind, Operation,
    lexer::{Lexer, Token},
};

/// Brackets within more brackets than this are not read.
const MAX_DEPTH: u32 = 64;

/// The operations of a document in their order; nothing if it is none.
pub fn parse(document: &str) -> Option<Vec<Operation<'_>>> {
    let mut lexer = Lexer::new(document)?;
    let token = lexer.next()?;
    let mut parser = Parser { lexer, token, depth: 0, constant: false };
    let mut operations = Vec::new();
    loop {
        operations.extend(parser.definition()?);
        if parser.token == Token::End {
            return Some(operations);
        }
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The one that comes next.
    token: Token<'a>,
    depth: u32,
    /// Whether values may have no variables in them, which is so among definitions of variables.
    constant: bool,
}

impl<'a> Parser<'a> {
    fn definition(&mut self) -> Option<Option<Operation<'a>>> {
        if self.is(b'{') {
            self.selection_set()?;
            return Some(Some(Operation { kind: Kind::Query, name: None }));
        }
        self.description()?;
        let kind = match self.name()? {
            "query" => Kind::Query,
            "mutation" => Kind::Mutation,
            "subscription" => Kind::Subscription,
            "fragment" => {
                if self.name()? == "on" || self.name()? != "on" {
                    return None;
                }
                self.name()?;
                self.directives()?;
                self.selection_set()?;
                return Some(None);
            }
            _ => return None,
        };
        let name = if let Token::Name(name) = self.token { Some(name) } else { None };
        if name.is_some() {
            self.advance()?;
        }
        if self.is(b'(') {
            self.constant = true;
            self.group(b')', false, Self::variable_definition)?;
            self.constant = false;
        }
        self.directives()?;
        self.selection_set()?;
        Some(Some(Operation { kind, name }))
    }

    /// Of definitions of operations, fragments and variables; new in September 2025.
    fn description(&mut self) -> Option<()> {
        if self.token == Token::Text { self.advance() } else { Some(()) }
    }

    fn variable_definition(&mut self) -> Option<()> {
        self.description()?;
        self.expect(b'$')?;
        self.name()?;
        self.expect(b':')?;
        self.type_reference()?;
        if self.take(b'=')? {
            self.value()?;
        }
        self.directives()
    }

    fn type_reference(&mut self) -> Option<()> {
        let mut lists = 0_u32;
        while self.take(b'[')? {
            lists += 1;
            if lists > MAX_DEPTH {
                return None;
            }
        }
        self.name()?;
        self.take(b'!')?;
        for _ in 0..lists {
            self.expect(b']')?;
            self.take(b'!')?;
        }
        Some(())
    }

    fn selection_set(&mut self) -> Option<()> {
        if !self.is(b'{') {
            return None;
        }
        self.group(b'}', false, Self::selection)
    }

    fn selection(&mut self) -> Option<()> {
        if self.take(b'.')? {
            match self.token {
                Token::Name("on") => {
                    self.advance()?;
                    self.name()?;
                }
                Token::Name(_) => {
                    self.advance()?;
                    return self.directives();
                }
                _ => {}
            }
            self.directives()?;
            return self.selection_set();
        }
        self.name()?;
        if self.take(b':')? {
            self.name()?;
        }
        self.arguments()?;
        self.directives()?;
        if self.is(b'{') { self.selection_set() } else { Some(()) }
    }

    fn directives(&mut self) -> Option<()> {
        while self.take(b'@')? {
            self.name()?;
            self.arguments()?;
        }
        Some(())
    }

    fn arguments(&mut self) -> Option<()> {
        if self.is(b'(') { self.group(b')', false, Self::argument) } else { Some(()) }
    }

    /// An argument, or a field of an object value, which looks the same.
    fn argument(&mut self) -> Option<()> {
        self.name()?;
        self.expect(b':')?;
        self.value()
    }

    fn value(&mut self) -> Option<()> {
        match self.token {
            Token::Name(_) | Token::Number | Token::Text => self.advance(),
            Token::Punctuator(b'[') => self.group(b']', true, Self::value),
            Token::Punctuator(b'{') => self.group(b'}', true, Self::argument),
            Token::Punctuator(b'$') if !self.constant => {
                self.advance()?;
                self.name().map(drop)
            }
            _ => None,
        }
    }

    /// Items from the bracket that comes next to the one that closes it.
    fn group(&mut self, close: u8, may_be_empty: bool, item: fn(&mut Self) -> Option<()>) -> Option<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        self.advance()?;
        if !may_be_empty {
            item(self)?;
        }
        while !self.take(close)? {
            item(self)?;
        }
        self.depth -= 1;
        Some(())
    }

    fn advance(&mut self) -> Option<()> {
        self.token = self.lexer.next()?;
        Some(())
    }

    fn is(&self, punctuator: u8) -> bool {
        self.token == Token::Punctuator(punctuator)
    }

    /// Whether this punctuator comes next, and then passes it.
    fn take(&mut self, punctuator: u8) -> Option<bool> {
        let is = self.is(punctuator);
        if is {
            self.advance()?;
        }
        Some(is)
    }

    fn expect(&mut self, punctuator: u8) -> Option<()> {
        self.take(punctuator)?.then_some(())
    }

    fn name(&mut self) -> Option<&'a str> {
        let Token::Name(name) = self.token else { return None };
        self.advance()?;
        Some(name)
    }
}
