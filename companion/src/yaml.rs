//! Writes YAML for people to read: keys in the order given, and texts quoted only where they must be.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

/// A YAML document, or a part of one.
#[derive(Clone, Debug, PartialEq)]
pub enum Yaml {
    /// Keys with values.
    Map(Vec<(Cow<'static, str>, Yaml)>),
    /// Values in a row.
    List(Vec<Yaml>),
    /// A text.
    Text(Cow<'static, str>),
    /// A text of several lines.
    Lines(String),
    /// A number.
    Number(u32),
    /// True or false.
    Flag(bool),
    /// Keys and values on one line.
    Flow(Box<Yaml>),
    /// A value on one line, and a remark behind it.
    Noted(Box<Yaml>, String),
    /// An entry or item that is commented out.
    Off(Box<Yaml>),
    /// A part that is written again elsewhere, with the name that it has there.
    Anchor(&'static str, Box<Yaml>),
    /// A part that was written before under this name.
    Alias(&'static str, Box<Yaml>),
}

/// A text.
pub fn text(text: impl Into<Cow<'static, str>>) -> Yaml {
    Yaml::Text(text.into())
}

/// Keys with values.
pub fn map(entries: impl IntoIterator<Item = (&'static str, Yaml)>) -> Yaml {
    Yaml::Map(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
}

/// Values in a row, on one line.
pub fn row(items: impl IntoIterator<Item = Yaml>) -> Yaml {
    Yaml::Flow(Box::new(Yaml::List(items.into_iter().collect())))
}

impl Yaml {
    /// The document as text.
    pub fn document(&self) -> String {
        let mut out = String::new();
        match self {
            Self::Map(entries) => write_entries(entries, 0, false, &mut out),
            Self::List(items) => write_items(items, 0, &mut out),
            other => other.write(0, &mut out),
        }
        out
    }

    /// Writes the value behind a colon or a dash; what does not fit there is indented.
    fn write(&self, indent: usize, out: &mut String) {
        match self {
            Self::Map(entries) if entries.is_empty() => out.push_str(" {}\n"),
            Self::List(items) if items.is_empty() => out.push_str(" []\n"),
            Self::Map(entries) => {
                out.push('\n');
                write_entries(entries, indent, false, out);
            }
            Self::List(items) => {
                out.push('\n');
                write_items(items, indent, out);
            }
            Self::Text(text) => {
                out.push(' ');
                out.push_str(&scalar(text));
                out.push('\n');
            }
            Self::Lines(text) => {
                out.push_str(" |\n");
                for line in text.lines() {
                    pad(indent, out);
                    out.push_str(line);
                    out.push('\n');
                }
            }
            Self::Number(number) => out.push_str(&format!(" {number}\n")),
            Self::Flag(flag) => out.push_str(&format!(" {flag}\n")),
            Self::Flow(value) => {
                out.push(' ');
                value.write_flow(out);
                out.push('\n');
            }
            Self::Anchor(name, value) => {
                out.push_str(" &");
                out.push_str(name);
                value.write(indent, out);
            }
            Self::Noted(value, remark) => {
                value.write(indent, out);
                out.truncate(out.trim_end().len());
                out.push_str(&format!("   # {remark}\n"));
            }
            Self::Off(value) => value.write(indent, out),
            Self::Alias(name, _) => out.push_str(&format!(" *{name}\n")),
        }
    }
}

impl Yaml {
    fn is_off(&self) -> bool {
        matches!(self, Self::Off(_))
    }

    fn write_flow(&self, out: &mut String) {
        match self {
            Self::Map(entries) if entries.is_empty() => out.push_str("{}"),
            Self::Map(entries) => {
                for (at, (key, value)) in entries.iter().enumerate() {
                    out.push_str(if at == 0 { "{ " } else { ", " });
                    out.push_str(&scalar(key));
                    out.push_str(": ");
                    value.write_flow(out);
                }
                out.push_str(" }");
            }
            Self::List(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { ", " });
                    item.write_flow(out);
                }
                out.push(']');
            }
            Self::Text(text) => out.push_str(&scalar(text)),
            // Within one line, lines are what JSON makes of them.
            Self::Lines(text) => out.push_str(&serde_json::Value::from(text.as_str()).to_string()),
            Self::Number(number) => out.push_str(&number.to_string()),
            Self::Flag(flag) => out.push_str(&flag.to_string()),
            Self::Flow(value) | Self::Noted(value, _) | Self::Off(value) => value.write_flow(out),
            Self::Anchor(_, value) | Self::Alias(_, value) => value.write_flow(out),
        }
    }
}

fn write_entries(entries: &[(Cow<'static, str>, Yaml)], indent: usize, mut inline: bool, out: &mut String) {
    for (key, value) in entries {
        if let Yaml::Off(value) = value {
            let mut entry = String::new();
            write_entries(&[(key.clone(), Yaml::clone(value))], 0, false, &mut entry);
            write_off(&entry, indent, out);
            continue;
        }
        if !std::mem::take(&mut inline) {
            pad(indent, out);
        }
        out.push_str(&scalar(key));
        out.push(':');
        value.write(indent + 2, out);
    }
}

fn write_items(items: &[Yaml], indent: usize, out: &mut String) {
    for item in items {
        if let Yaml::Off(item) = item {
            let mut written = String::new();
            write_items(std::slice::from_ref(item), 0, &mut written);
            write_off(&written, indent, out);
            continue;
        }
        pad(indent, out);
        out.push('-');
        match item {
            Yaml::Map(entries) if !entries.is_empty() => {
                out.push(' ');
                write_entries(entries, indent + 2, true, out);
            }
            other => other.write(indent + 2, out),
        }
    }
}

/// Comments lines out.
fn write_off(lines: &str, indent: usize, out: &mut String) {
    for line in lines.lines() {
        pad(indent, out);
        out.push_str("# ");
        out.push_str(line);
        out.push('\n');
    }
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// A text as it stands, if it can be taken for nothing else; in quotes otherwise.
fn scalar(text: &str) -> Cow<'_, str> {
    let special = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let plain = text.starts_with(|char: char| char.is_ascii_alphabetic() || char == '/')
        && text.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '/' | '.' | '_' | '-'))
        && !special.iter().any(|word| text.eq_ignore_ascii_case(word));
    if plain {
        Cow::Borrowed(text)
    } else if text.chars().all(|char| char == ' ' || char.is_ascii_graphic()) {
        Cow::Owned(format!("'{}'", text.replace('\'', "''")))
    } else {
        // What JSON writes in double quotes, YAML reads.
        Cow::Owned(serde_json::Value::from(text).to_string())
    }
}

impl Serialize for Yaml {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Map(entries) => {
                let entries = entries.iter().filter(|(_, value)| !value.is_off());
                serializer.collect_map(entries.map(|(key, value)| (key, value)))
            }
            Self::List(items) => serializer.collect_seq(items.iter().filter(|item| !item.is_off())),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Lines(text) => serializer.serialize_str(text),
            Self::Number(number) => serializer.serialize_u32(*number),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Flow(value) | Self::Noted(value, _) | Self::Off(value) => value.serialize(serializer),
            Self::Anchor(_, value) | Self::Alias(_, value) => value.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let part = map([("@type", text("a.b/c")), ("empty", map([]))]);
        let document = map([
            ("plain", text("/etc/x.wasm")),
            ("quoted", text(r"(?i)/it's\.[^/?]*: #")),
            ("strange", text("é\n\t")),
            ("word", text("No")),
            ("digits", text("12")),
            ("none", text("")),
            ("lines", Yaml::Lines("{\n  \"a\": 1\n}\n".to_owned())),
            (
                "list",
                Yaml::List(vec![
                    part.clone(),
                    Yaml::List(vec![text("x")]),
                    Yaml::Number(7),
                    Yaml::Flag(true),
                ]),
            ),
            (
                "flow",
                Yaml::Flow(Box::new(map([
                    ("a", Yaml::List(vec![text("x"), text("{,}"), Yaml::Lines("1\n2\n".to_owned())])),
                    ("b", map([])),
                    ("c", Yaml::Flag(false)),
                ]))),
            ),
            ("first", Yaml::Anchor("part", Box::new(part.clone()))),
            ("again", Yaml::Alias("part", Box::new(part.clone()))),
            ("nothing", Yaml::List(vec![])),
            ("noted", Yaml::Noted(Box::new(text("a # b")), "and why: c".to_owned())),
            ("gone", Yaml::Off(Box::new(Yaml::List(vec![map([("a", text("x")), ("b", map([]))])])))),
            ("partly", Yaml::List(vec![text("on"), Yaml::Off(Box::new(map([("a", part)]))), text("x")])),
        ]);
        let written = document.document();
        assert!(
            written.contains("# gone:\n#   - a: x\n#     b: {}\npartly:\n  - 'on'\n  # - a:\n"),
            "{written}"
        );
        let read: serde_json::Value = serde_saphyr::from_str(&written).unwrap();
        assert_eq!(read, serde_json::to_value(&document).unwrap(), "{written}");
    }
}
