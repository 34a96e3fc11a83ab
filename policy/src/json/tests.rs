//! What is JSON and what is not, and what comes of it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

fn is_json(text: &str) -> bool {
    let read = |mut scanner: Scanner<'_>| scanner.value().and_then(|_| scanner.finish());
    Scanner::new(text.as_bytes()).and_then(read).is_ok()
}

#[test]
fn takes_json_and_nothing_else() {
    for text in [
        "{}",
        "[]",
        " [ ] ",
        "\"\"",
        "0",
        "-0",
        "-1.5e+10",
        "1E5",
        "true",
        "false",
        "null",
        r#"{"a":[1,{"b":null}],"":"\u00e9\ud83d\ude00\"\\\/\b\f\n\r\t"}"#,
        "[[],{},[{}]]",
        "\r\n\t 1",
    ] {
        assert!(is_json(text), "{text}");
    }
    for text in [
        "",
        " ",
        "{",
        "[",
        "{]",
        "[}",
        "[,]",
        "[1,]",
        "{\"a\":1,}",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "{1:1}",
        "[1 2]",
        "{\"a\":1 \"b\":2}",
        "'a'",
        "\"a",
        "\"\\x\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "\"\\u00g0\"",
        "\"\\u+041\"",
        "\"\n\"",
        "\"\u{0}\"",
        "{\"a\":1,\"a\":1}",
        "{\"a\":1,\"\\u0061\":1}",
        "{\"\\u0000\":1}",
        "01",
        "+1",
        ".5",
        "1.",
        "1e",
        "-",
        "NaN",
        "Infinity",
        "0x1",
        "True",
        "nul",
        "nulll",
        "1 2",
        "{} {}",
        "[] x",
        "// c\n1",
        "1 /* c */",
        "\u{feff}1",
        "\u{a0}1",
        "]",
        "}",
        ",",
    ] {
        assert!(!is_json(text), "{text}");
    }
}

#[test]
fn unescapes_keys_and_strings() {
    let mut scanner = Scanner::new(r#"{"\u0071uery" : "a\ud83d\ude00b\n"}"#.as_bytes()).unwrap();
    let mut object = scanner.open(b'{').unwrap();
    assert_eq!(scanner.key(&mut object).unwrap().unwrap().decoded(), "query");
    assert!(matches!(scanner.value(), Ok(Value::Text(text)) if text.decoded() == "a😀b\n"));
    assert!(scanner.key(&mut object).unwrap().is_none());
    assert_eq!(scanner.finish(), Ok(()));
}

/// Strings are read eight bytes at a time: wherever in them something special stands, it is found, and nothing else is.
#[test]
fn a_string_ends_where_it_ends() {
    for before in 0..20 {
        for byte in 0..=0x7f_u8 {
            let special = char::from(byte);
            for (fill, after) in [("a", ""), ("\u{7f}", "!!!!!!!!!"), ("é", "#]#]#]#]#]")] {
                let fill = fill.repeat(before);
                let text = format!("[\"{fill}{special}{after}\"]");
                assert_eq!(is_json(&text), !matches!(byte, 0..0x20 | b'"' | b'\\'), "{text:?}");
                assert!(is_json(&format!("[\"{fill}\\u00{byte:02x}{after}\"]")), "{text:?}");
                let mut scanner = Scanner::new(text.as_bytes()).unwrap();
                let mut array = scanner.open(b'[').unwrap();
                assert!(scanner.has_next(&mut array, b']').unwrap());
                if special == '"' {
                    assert!(matches!(scanner.value(), Ok(Value::Text(text)) if text.raw == fill), "{text:?}");
                }
            }
        }
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(is_json(&nested(64)));
    assert!(!is_json(&nested(65)));
}

#[test]
fn a_key_resembles_what_a_forgiving_parser_takes_it_for() {
    let resembles = |raw, name| Text { raw, has_escapes: true, has_nul: false }.resembles(name);
    for raw in ["risk", "RISK", "RiſK", "r\u{131}sk", "rİs\u{212a}", r"ri\u017F\u212a", "_ri-sk", "ri sk"] {
        assert!(resembles(raw, "risk"), "{raw}");
    }
    for raw in ["", "ris", "risks", "rísk", "brisk"] {
        assert!(!resembles(raw, "risk"), "{raw}");
    }
}

/// Something of every type that snapshots and configurations have.
#[derive(Clone, Debug, PartialEq, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct Everything {
    pub text: String,
    #[serde(default)]
    pub number: u16,
    pub is_true: Option<bool>,
    #[serde(default)]
    pub list: Vec<Everything>,
    #[serde(default)]
    pub map: BTreeMap<String, u64>,
}

#[test]
fn errors_name_what_is_wrong_and_where() {
    for (json, error) in [
        ("", "the end where struct Everything should be at line 1 column 1"),
        ("[]", "an array where struct Everything should be at line 1 column 1"),
        ("{\"text\":\"a\"", "this is not JSON at line 1 column 12"),
        ("{\n  \"text\": 1}", "a number where a string should be at line 2 column 11"),
        ("{\"text\":\"a\",\"number\":-1}", "a number where u16 should be at line 1 column 22"),
        ("{\"text\":\"a\",\"number\":1.0}", "a number where u16 should be at line 1 column 22"),
        ("{\"text\":\"a\",\"number\":65536}", "65536 where u16 should be at line 1 column 27"),
        ("{\"text\":\"a\",\"is_true\":{}}", "an object where a boolean should be at line 1 column 23"),
        ("{}", "missing field `text` at line 1 column 3"),
        ("{\"text\":\"a\",\"text\":\"b\"}", "this key is there twice at line 1 column 19"),
        (
            "{\"texts\":\"a\"}",
            "unknown field `texts`, expected one of `text`, `number`, `is_true`, `list`, `map` at line 1 column 10",
        ),
        ("{\"text\":\"a\"} x", "something follows the value at line 1 column 14"),
        ("\u{feff}{}", "there is a byte order mark at line 1 column 1"),
    ] {
        assert_eq!(from_slice::<Everything>(json.as_bytes()).unwrap_err().to_string(), error, "{json}");
    }
}
