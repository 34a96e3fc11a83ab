//! Values of serde's types from JSON: as strict as the scanner, errors with their place, and small.
//!
//! Beside `serde_json`, whose reader takes also structs written as arrays, numbers in any form and whatever
//! the type at hand does not ask for, this is a tenth of the module less. `oracle.rs` holds the two against
//! each other.

use std::{borrow::Cow, fmt};

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, Expected, MapAccess, SeqAccess, Unexpected,
    Visitor, value::CowStrDeserializer,
};

use super::{Fault, Open, Scanner, Value};

/// Why a text is not what it should be, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} at line {line} column {column}")]
pub struct Error {
    message: String,
    /// From 1 on; 0 until the place is known.
    line: usize,
    /// From 1 on, in bytes.
    column: usize,
}

/// Reads a value, which is all there is in `json`.
pub fn from_slice<T: DeserializeOwned>(json: &[u8]) -> Result<T, Error> {
    let mut scanner = Scanner::new(json).map_err(|fault| Error::from(fault).at(""))?;
    let read = T::deserialize(&mut scanner).and_then(|value| Ok(scanner.finish().map(|()| value)?));
    read.map_err(|error| error.at(scanner.passed()))
}

impl Error {
    fn at(self, passed: &str) -> Self {
        let line = passed.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = passed.len() - passed.rfind('\n').map_or(0, |end| end + 1) + 1;
        Self { line, column, ..self }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::custom(fault)
    }
}

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), line: 0, column: 0 }
    }

    // What serde writes by itself can be any value, and floating point numbers take 12 KB to write.
    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        match found {
            Unexpected::Unsigned(number) => Self::custom(format_args!("{number} where {expected} should be")),
            _ => Self::custom(format_args!("something else where {expected} should be")),
        }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_value(found, expected)
    }
}

impl Scanner<'_> {
    /// The next value is of another type.
    fn unexpected(&mut self, expected: &dyn Expected) -> Error {
        let found = match self.peek() {
            Some(b'"') => "a string",
            Some(b'{') => "an object",
            Some(b'[') => "an array",
            Some(b't' | b'f') => "a boolean",
            Some(b'n') => "null",
            Some(b'-' | b'0'..=b'9') => "a number",
            Some(_) => return Fault::NotJson.into(),
            None => "the end",
        };
        Error::custom(format_args!("{found} where {expected} should be"))
    }

    fn whole_number(&mut self, expected: &dyn Expected) -> Result<u64, Error> {
        let start = self.at;
        if let Value::Number(number) = self.value()?
            && let Ok(number) = number.parse()
        {
            return Ok(number);
        }
        self.at = start;
        Err(self.unexpected(expected))
    }

    fn boolean(&mut self, expected: &dyn Expected) -> Result<bool, Error> {
        let start = self.at;
        if let Value::Bool(is_true) = self.value()? {
            return Ok(is_true);
        }
        self.at = start;
        Err(self.unexpected(expected))
    }

    fn string(&mut self, expected: &dyn Expected) -> Result<Cow<'_, str>, Error> {
        if self.peek() == Some(b'"') { Ok(self.text()?.decoded()) } else { Err(self.unexpected(expected)) }
    }

    fn items(&mut self, bracket: u8, expected: &dyn Expected) -> Result<Open, Error> {
        if self.peek() == Some(bracket) { Ok(self.open(bracket)?) } else { Err(self.unexpected(expected)) }
    }
}

/// Types that no snapshot or configuration has.
macro_rules! no_such_type {
    ($($method:ident($($argument:ty),*))*) => {
        $(fn $method<V: Visitor<'de>>(self, $(_: $argument,)* visitor: V) -> Result<V::Value, Error> {
            Err(self.unexpected(&visitor))
        })*
    };
}

macro_rules! whole_numbers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let number = self.whole_number(&visitor)?;
            visitor.visit_u64(number)
        })*
    };
}

macro_rules! strings {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let text = self.string(&visitor)?;
            visitor.visit_str(&text)
        })*
    };
}

/// Asks of a visitor only what it asked for itself, so that the module has nothing else of it.
impl<'de> Deserializer<'de> for &mut Scanner<'de> {
    type Error = Error;

    whole_numbers!(deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64);
    strings!(deserialize_str deserialize_string deserialize_identifier);

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let is_true = self.boolean(&visitor)?;
        visitor.visit_bool(is_true)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.peek() == Some(b'n') {
            self.value()?;
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let open = self.items(b'[', &visitor)?;
        visitor.visit_seq(Items { scanner: self, open })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let open = self.items(b'{', &visitor)?;
        visitor.visit_map(Items { scanner: self, open })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    no_such_type! {
        deserialize_any() deserialize_ignored_any() deserialize_unit() deserialize_unit_struct(&'static str)
        deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64() deserialize_f32() deserialize_f64()
        deserialize_char() deserialize_bytes() deserialize_byte_buf()
        deserialize_tuple(usize) deserialize_tuple_struct(&'static str, usize)
        deserialize_enum(&'static str, &'static [&'static str])
    }
}

/// The items of an array, or the members of an object.
struct Items<'scanner, 'de> {
    scanner: &'scanner mut Scanner<'de>,
    open: Open,
}

impl<'de> SeqAccess<'de> for Items<'_, 'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        if !self.scanner.has_next(&mut self.open, b']')? {
            return Ok(None);
        }
        seed.deserialize(&mut *self.scanner).map(Some)
    }
}

impl<'de> MapAccess<'de> for Items<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some(key) = self.scanner.key(&mut self.open)? else { return Ok(None) };
        seed.deserialize(CowStrDeserializer::new(key.decoded())).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        seed.deserialize(&mut *self.scanner)
    }
}
