//! Bodies made to be read in two ways, each with one beside it that cannot be.

use super::*;

/// What a body calls, as `method` or `method name`, and `answer` for an answer.
fn calls(body: &[u8]) -> Result<Vec<String>, Doubt> {
    let told = |message| match message {
        Message::Answer => "answer".to_owned(),
        Message::Call(Call { method, name: None, .. }) => method.into_owned(),
        Message::Call(Call { method, name: Some(name), .. }) => format!("{method} {name}"),
    };
    Ok(read(body)?.into_iter().map(told).collect())
}

/// A message with these members after the version.
fn message(members: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0",{members}}}"#)
}

#[test]
fn an_attack_is_doubt_and_its_benign_twin_is_read() {
    let list = r#""id":1,"method":"tools/list""#;
    for (attack, doubt, twin, called) in [
        (r#""method":"a","method":"b""#, Doubt::Json(Fault::DuplicateKey), r#""method":"a","x":"b""#, "a"),
        (
            r#""method":"a","m\u0065thod":"b""#,
            Doubt::Json(Fault::DuplicateKey),
            r#""method":"a","m\u0065":"b""#,
            "a",
        ),
        (
            r#""method":"a","params":{"name":"b","name":"c"}"#,
            Doubt::Json(Fault::DuplicateKey),
            r#""method":"a","params":{"name":"b","title":"c"}"#,
            "a b",
        ),
        (
            r#""method":"a","params":{"x":[{"y":1,"\u0079":2}]}"#,
            Doubt::Json(Fault::DuplicateKey),
            r#""method":"a","params":{"x":[{"y":1},{"y":2,"Y":3}],"y":{}}"#,
            "a",
        ),
        (r#""method":"a","Method":"b""#, Doubt::KeyInAnotherCase, r#""method":"a","methods":"b""#, "a"),
        (r#""METHOD":"a""#, Doubt::KeyInAnotherCase, r#""method":"A""#, "A"),
        (r#""m\u0065thod":"a""#, Doubt::KeyInAnotherCase, r#""method":"\u0061""#, "a"),
        (r#""method":"a","_method":"b""#, Doubt::KeyInAnotherCase, r#""method":"a","_meta":"b""#, "a"),
        (r#""method":"a","paramſ":{}"#, Doubt::KeyInAnotherCase, r#""method":"a","param":{}"#, "a"),
        (r#""method":"a","param\u017f":{}"#, Doubt::KeyInAnotherCase, r#""method":"a","\u017f":{}"#, "a"),
        (r#""method":"a","ıd":1"#, Doubt::KeyInAnotherCase, r#""method":"a","ı":1"#, "a"),
        (
            r#""method":"a","__proto__":{}"#,
            Doubt::KeyInAnotherCase,
            r#""method":"a","x":{"__proto__":{}}"#,
            "a",
        ),
        (
            r#""method":"a","params":{"name":"b","Name":"c"}"#,
            Doubt::KeyInAnotherCase,
            r#""method":"a","params":{"name":"b","arguments":{"Name":"c"}}"#,
            "a b",
        ),
        (
            r#""method":"a","params":{"n\u0061me":"b"}"#,
            Doubt::KeyInAnotherCase,
            r#""method":"a","params":{"name":"\u0062"}"#,
            "a b",
        ),
        (
            r#""method":"a","method\u0000b":"c""#,
            Doubt::Json(Fault::NulInKey),
            r#""method":"a","b":"\u0000c""#,
            "a",
        ),
        (r#""method":"tools/call\u0000""#, Doubt::Nul, r#""method":"tools\u002fcall""#, "tools/call"),
        (
            r#""method":"a","params":{"name":"b\u0000c"}"#,
            Doubt::Nul,
            r#""method":"a","params":{"name":"b\/c"}"#,
            "a b/c",
        ),
        (r#""method":"\ud83d""#, Doubt::Json(Fault::LoneSurrogate), r#""method":"\ud83d\uDE00""#, "😀"),
        (r#""method":"\ude00\ud83d""#, Doubt::Json(Fault::LoneSurrogate), r#""method":"\u00e9""#, "é"),
        (
            r#""method":"a","x":"\ud83d\u0061""#,
            Doubt::Json(Fault::LoneSurrogate),
            r#""method":"a","x":"\\ud83d""#,
            "a",
        ),
        (r#""method":["a"]"#, Doubt::MethodNotText, r#""method":"[a]""#, "[a]"),
        (r#""method":null"#, Doubt::MethodNotText, r#""method":"null""#, "null"),
        (r#""id":1"#, Doubt::NotAMessage, r#""id":1,"result":{}"#, "answer"),
        (r#""result":{}"#, Doubt::NotAMessage, r#""id":null,"error":{"code":1}"#, "answer"),
        (r#""id":1,"result":{},"method":"a""#, Doubt::NotAMessage, r#""id":1,"method":"a""#, "a"),
        (r#""id":1,"result":{},"error":{}"#, Doubt::NotAMessage, r#""id":1,"result":{"error":{}}"#, "answer"),
        (r#""method":"a","id":{}"#, Doubt::BadId, r#""method":"a","id":"{}""#, "a"),
        (r#""method":"a","id":true"#, Doubt::BadId, r#""method":"a","id":null"#, "a"),
        (r#""method":"a","params":"{}""#, Doubt::ParamsNotStructured, r#""method":"a","params":["{}"]"#, "a"),
        (r#""method":"a","params":1"#, Doubt::ParamsNotStructured, r#""method":"a","params":null"#, "a"),
        (r#""method":"a",/*"x":1"#, Doubt::Json(Fault::NotJson), r#""method":"a","/*x":1"#, "a"),
        (r#""method":"a","#, Doubt::Json(Fault::NotJson), r#""method":"a" "#, "a"),
        (r#""method":"a","x":[1,]"#, Doubt::Json(Fault::NotJson), r#""method":"a","x":[1, [ ],{ }]"#, "a"),
        (r#""method":"a","x":[,1]"#, Doubt::Json(Fault::NotJson), r#""method":"a","x":[0,1]"#, "a"),
        (r#""method":"a",'x':1"#, Doubt::Json(Fault::NotJson), r#""method":"a","'x'":1"#, "a"),
        (r#""method":"a",x:1"#, Doubt::Json(Fault::NotJson), r#""method":"a","x" : 1"#, "a"),
        (r#""method":"a\x41""#, Doubt::Json(Fault::NotJson), r#""method":"a\u0041""#, "aA"),
        (r#""method":"a\u+041""#, Doubt::Json(Fault::NotJson), r#""method":"a\t""#, "a\t"),
        (r#""method":"a\é""#, Doubt::Json(Fault::NotJson), r#""method":"aé""#, "aé"),
        ("\"method\":\"a\nb\"", Doubt::Json(Fault::NotJson), "\"method\"\n\t:\r\"a\"", "a"),
        (
            "\"method\":\"a\",\u{a0}\"x\":1",
            Doubt::Json(Fault::NotJson),
            "\"method\":\"a\",\"x\":\"\u{a0}\u{7f}\"",
            "a",
        ),
        (r#""method":"a","x":NaN"#, Doubt::Json(Fault::NotJson), r#""method":"a","x":null"#, "a"),
        (r#""method":"a","x":True"#, Doubt::Json(Fault::NotJson), r#""method":"a","x":[true,false]"#, "a"),
        (r#""method":"a","x":-Infinity"#, Doubt::Json(Fault::NotJson), r#""method":"a","x":-0.50E+03"#, "a"),
        (r#""method":"a","x":01"#, Doubt::Json(Fault::NotJson), r#""method":"a","x":10"#, "a"),
        (r#""method":"a","x":1."#, Doubt::Json(Fault::NotJson), r#""method":"a","x":1.0"#, "a"),
        (r#""method":"a","x":.1"#, Doubt::Json(Fault::NotJson), r#""method":"a","x":0.1"#, "a"),
        (r#""method":"a","x":+1"#, Doubt::Json(Fault::NotJson), r#""method":"a","x":-1"#, "a"),
        (r#""method":"a","x":0x1"#, Doubt::Json(Fault::NotJson), r#""method":"a","x":0e1"#, "a"),
        (r#""method":"a","x":1e"#, Doubt::Json(Fault::NotJson), r#""method":"a","x":1e-1"#, "a"),
        (
            r#""method":"a"}{"method":"b""#,
            Doubt::Json(Fault::TrailingText),
            r#""method":"a","x":{"method":"b"}"#,
            "a",
        ),
        (r#""method":"tools/list"}//"#, Doubt::Json(Fault::TrailingText), list, "tools/list"),
    ] {
        assert_eq!(calls(message(attack).as_bytes()), Err(doubt), "{attack}");
        assert_eq!(calls(message(twin).as_bytes()), Ok(vec![called.to_owned()]), "{twin}");
        // No place in a batch makes a difference; but behind one message of it nothing trails.
        if doubt != Doubt::Json(Fault::TrailingText) {
            let batch = format!(" [ {} , {} ] ", message(list), message(attack));
            assert_eq!(calls(batch.as_bytes()), Err(doubt), "{batch}");
        }
        let batch = format!(" [ {} , {} ] ", message(list), message(twin));
        assert_eq!(calls(batch.as_bytes()), Ok(vec!["tools/list".to_owned(), called.to_owned()]), "{batch}");
    }
}

#[test]
fn a_body_that_is_no_message_is_doubt() {
    let ping = message(r#""method":"ping""#);
    for (body, doubt) in [
        ("", Doubt::Json(Fault::NotJson)),
        ("  ", Doubt::Json(Fault::NotJson)),
        ("{", Doubt::Json(Fault::NotJson)),
        (r#"{"jsonrpc":"2.0","method":"tools/li"#, Doubt::Json(Fault::NotJson)),
        (r#"{"jsonrpc":"2.0","method":"a\"#, Doubt::Json(Fault::NotJson)),
        ("[]", Doubt::EmptyBatch),
        ("[[]]", Doubt::NotAMessage),
        ("\"ping\"", Doubt::NotAMessage),
        ("5", Doubt::NotAMessage),
        ("ping", Doubt::Json(Fault::NotJson)),
        (&format!("\u{feff}{ping}"), Doubt::Json(Fault::ByteOrderMark)),
        (&format!("{ping}\0"), Doubt::Json(Fault::TrailingText)),
        (&format!("{ping}\n{ping}"), Doubt::Json(Fault::TrailingText)),
        (&format!("[{ping} {ping}]"), Doubt::Json(Fault::NotJson)),
        (&format!("[{ping},]"), Doubt::Json(Fault::NotJson)),
        (&format!("[{ping},[{ping}]]"), Doubt::NotAMessage),
        (r#"{"method":"a"}"#, Doubt::MissingVersion),
        (r#"{"jsonrpc":"1.0","method":"a"}"#, Doubt::MissingVersion),
        (r#"{"jsonrpc":2.0,"method":"a"}"#, Doubt::MissingVersion),
    ] {
        assert_eq!(read(body.as_bytes()), Err(doubt), "{body}");
    }
    let utf16: Vec<u8> = ping.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(read(&utf16), Err(Doubt::Json(Fault::NotJson)));
    // An overlong `/`.
    assert_eq!(
        read(b"{\"jsonrpc\":\"2.0\",\"method\":\"tools\xc0\xafcall\"}"),
        Err(Doubt::Json(Fault::NotUtf8))
    );
}

#[test]
fn depth_and_numbers_are_bounded() {
    let nested =
        |depth: usize| message(&format!(r#""method":"a","x":{}{}"#, "[".repeat(depth), "]".repeat(depth)));
    assert!(read(nested(63).as_bytes()).is_ok());
    assert_eq!(read(nested(64).as_bytes()), Err(Doubt::Json(Fault::TooDeep)));
    assert_eq!(read("[".repeat(1 << 20).as_bytes()), Err(Doubt::Json(Fault::TooDeep)));

    let members = |count: usize| {
        let members: Vec<_> = (0..count).map(|number| format!(r#""{number}":0"#)).collect();
        message(&format!(r#""method":"a","x":{{{}}}"#, members.join(",")))
    };
    assert!(read(members(256).as_bytes()).is_ok());
    assert_eq!(read(members(257).as_bytes()), Err(Doubt::Json(Fault::TooMany)));

    let batch = |count: usize| format!("[{}]", vec![message(r#""method":"a""#); count].join(","));
    assert_eq!(read(batch(1000).as_bytes()).map(|messages| messages.len()), Ok(1000));
    assert_eq!(read(batch(1001).as_bytes()), Err(Doubt::TooMany));
}

#[test]
fn the_id_is_as_written() {
    for (id, sent_back) in [("1", true), ("-1.50", true), (r#""a\u0062""#, true), ("null", false)] {
        let body = message(&format!(r#""id" : {id} ,"method":"a""#));
        let messages = read(body.as_bytes()).unwrap();
        assert!(matches!(&messages[..], [Message::Call(call)] if call.id == Some(id.as_bytes())), "{id}");
        assert_eq!(id_of(body.as_bytes()), sent_back.then_some(id.as_bytes()), "{id}");
    }
    // Doubt about something else does not hide it.
    assert_eq!(id_of(br#"{"id":7,"method":1,"Params":0}"#), Some(&b"7"[..]));
    let long = message(&format!(r#""method":"a","id":"{}""#, "x".repeat(MAX_ID_BYTES)));
    for body in [
        "",
        "7",
        r#"[{"id":7,"method":"a"}]"#,
        r#"{"id":7,"method":"a"} 8"#,
        r#"{"id":7,"method":"a""#,
        r#"{"id":7,"id":8,"method":"a"}"#,
        r#"{"id":7,"ID":8,"method":"a"}"#,
        r#"{"id":[7],"method":"a"}"#,
        r#"{"id":7}"#,
        r#"{"id":7,"result":1}"#,
        r#"{"method":"a"}"#,
        &long,
    ] {
        assert_eq!(id_of(body.as_bytes()), None, "{body}");
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod against_another_parser {
    use proptest::{prelude::*, sample::select};
    use serde_json::Value;

    use super::*;

    const MEMBERS: [&str; 24] = [
        r#""jsonrpc":"2.0""#,
        r#""jsonrpc":"1.0""#,
        r#""id":1"#,
        r#""id":"\ud83d\ude00""#,
        r#""id":null"#,
        r#""method":"tools/list""#,
        r#""method":"tools\u002fcall""#,
        r#""m\u0065thod":"tools/call""#,
        r#""Method":"tools/call""#,
        r#""params":{"name":"a\tb","arguments":{"x":[1.5e3,-0,true,{}]}}"#,
        r#""params":{"name":["a"],"n\u0061me":1}"#,
        r#""params":{"n":null,"name":"\u00e9"}"#,
        r#""params":{"name":1}"#,
        r#""params":[{"name":"a"}]"#,
        r#""params":null"#,
        r#""result":{"a":[]}"#,
        r#""error":{"code":1}"#,
        r#""x":"\\\"\/\b""#,
        r#""y":[[],[0],"é\u0000"]"#,
        r#""z":{"method":"b"}"#,
        r#"" ":false"#,
        r#""w":01"#,
        r#""v":"\ud800""#,
        r#""":"""#,
    ];
    const PIECES: [&str; 25] = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\\u00",
        "\\ud83d",
        "0",
        "1",
        "-",
        ".",
        "e",
        " ",
        "\n",
        "\0",
        "é",
        "/",
        "null",
        "//",
        "\"name\":",
        "\"method\":\"x\",",
        "x",
    ];

    fn object() -> impl Strategy<Value = String> {
        (prop::collection::vec(select(&MEMBERS[..]), 0..4), prop::bool::weighted(0.9)).prop_map(
            |(mut members, is_call)| {
                if is_call {
                    members.extend([r#""jsonrpc":"2.0""#, r#""method":"tools/call""#]);
                    // Else few would be without duplicates.
                    members.sort_by_key(|member| member.split(':').next());
                    members.dedup_by_key(|member| member.split(':').next());
                }
                format!("{{{}}}", members.join(","))
            },
        )
    }

    fn body() -> impl Strategy<Value = Vec<u8>> {
        let objects = prop_oneof![
            3 => object(),
            1 => prop::collection::vec(object(), 0..3).prop_map(|objects| format!("[{}]", objects.join(","))),
        ];
        let edits =
            prop::collection::vec((any::<prop::sample::Index>(), 0..3_usize, select(&PIECES[..])), 0..3);
        let edited = (objects, edits).prop_map(|(body, edits)| {
            let mut body = body.into_bytes();
            for (at, removed, piece) in edits {
                let at = at.index(body.len() + 1);
                let end = (at + removed).min(body.len());
                body.splice(at..end, piece.bytes());
            }
            body
        });
        prop_oneof![9 => edited, 1 => prop::collection::vec(any::<u8>(), 0..80)]
    }

    /// What `serde_json` sees of one message.
    fn seen(message: &Value) -> Option<(&str, Option<&str>)> {
        let method = message.get("method")?.as_str()?;
        Some((method, message.get("params").and_then(|params| params.get("name")?.as_str())))
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 20_000, failure_persistence: None, ..ProptestConfig::default()
        })]

        #[test]
        fn what_is_read_is_what_another_parser_reads(body in body()) {
            let id = id_of(&body);
            let Ok(messages) = read(&body) else { return Ok(()) };
            let value = match serde_json::from_slice::<Value>(&body) {
                Ok(value) => value,
                // It keeps numbers as `f64`, where RFC 8259 has no bounds.
                Err(error) if error.to_string().contains("out of range") => return Ok(()),
                Err(error) => return Err(TestCaseError::fail(error.to_string())),
            };
            let values = value.as_array().map_or(std::slice::from_ref(&value), Vec::as_slice);
            prop_assert_eq!(messages.len(), values.len());
            for (message, value) in messages.iter().zip(values) {
                match message {
                    Message::Answer => prop_assert_eq!(value.get("method"), None),
                    Message::Call(call) => {
                        prop_assert_eq!(seen(value), Some((&*call.method, call.name.as_deref())));
                        let id = call.id.map(|id| serde_json::from_slice::<Value>(id).unwrap());
                        prop_assert_eq!(value.get("id"), id.as_ref());
                    }
                }
            }
            if let Some(id) = id {
                prop_assert_eq!(value.get("id"), Some(&serde_json::from_slice::<Value>(id).unwrap()));
            }
        }
    }
}
