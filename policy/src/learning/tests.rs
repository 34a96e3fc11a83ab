//! What teaches and what does not; and that nothing is learned that another reader would not find there.

use super::*;
use crate::headers::HeaderBlock;

const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
const JSON: (&str, &str) = ("content-type", "application/json");

fn block(headers: &[(&str, &str)]) -> HeaderBlock {
    let pairs: Vec<(&[u8], &[u8])> =
        headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    HeaderBlock::new(&pairs)
}

fn id_of(headers: &[(&str, &str)], body: &str) -> Option<String> {
    let headers = [&[(":method", "POST"), (":path", "/mcp")], headers].concat();
    let block = block(&headers);
    let id = listing_id(&Request::read(block.headers()), body.as_bytes());
    id.map(|id| String::from_utf8(id.to_vec()).unwrap())
}

/// What is heard of an answer that comes in parts of so many bytes.
fn listen(headers: &[(&str, &str)], text: &str, part_bytes: usize) -> Heard {
    let block = block(&[&[(":status", "200")], headers].concat());
    let Some(mut listener) = Listener::new(b"1".to_vec(), block.headers()) else { return Heard::Nothing };
    let mut parts = text.as_bytes().chunks(part_bytes).peekable();
    while let Some(part) = parts.next() {
        let heard = listener.hear(part, parts.peek().is_none());
        if heard != Heard::Nothing {
            return heard;
        }
    }
    Heard::Nothing
}

fn answer(tools: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":[{tools}]}}}}"#)
}

fn tool(name: &str, annotations: &str) -> String {
    format!(r#"{{"name":"{name}","inputSchema":{{"type":"object"}},"annotations":{annotations}}}"#)
}

fn reader(name: &str) -> String {
    tool(name, r#"{"readOnlyHint":true}"#)
}

/// The tools of a lesson, those that do not read with a `!`.
fn lesson(text: &str) -> Option<String> {
    let Heard::Lesson(lesson) = listen(&[JSON], text, usize::MAX) else { return None };
    let names: Vec<_> =
        lesson.tools().map(|(name, reads)| format!("{}{name}", if reads { "" } else { "!" })).collect();
    Some(names.join(" "))
}

#[test]
fn one_call_that_lists_tools_for_every_reader_is_listened_to() {
    assert_eq!(id_of(&[JSON], LIST).as_deref(), Some("1"));
    assert_eq!(id_of(&[JSON], &LIST.replace('1', r#""a-7""#)).as_deref(), Some(r#""a-7""#));
    let with_cursor = r#" {"method":"tools/list","params":{"cursor":"2"},"id":-3,"jsonrpc":"2.0"}"#;
    assert_eq!(id_of(&[JSON, ("mcp-method", "tools/list")], with_cursor).as_deref(), Some("-3"));
}

#[test]
fn no_other_request_is_listened_to() {
    for body in [
        LIST.replace("tools/list", "tools/call"),
        LIST.replace("tools/list", "resources/list"),
        LIST.replace(r#""id":1,"#, ""),
        LIST.replace(":1", ":null"),
        LIST.replace(":1", ":[1]"),
        LIST.replace(":1", &format!(":{}", "1".repeat(300))),
        LIST.replace(r#""id":1"#, r#""id":1,"id":1"#),
        LIST.replace(r#""id":1"#, r#""id":1,"ID":2"#),
        LIST.replace(r#""id":1"#, r#""id":1,"result":{"tools":[]}"#),
        format!("[{LIST}]"),
        format!("[{LIST},{LIST}]"),
        format!("{LIST}{LIST}"),
        format!("\u{feff}{LIST}"),
        String::new(),
    ] {
        assert_eq!(id_of(&[JSON], &body), None, "{body}");
    }
    for headers in [
        &[][..],
        &[("content-type", "text/plain")],
        &[JSON, ("content-encoding", "gzip")],
        &[JSON, JSON],
        &[JSON, ("mcp-method", "tools/call")],
        &[JSON, ("mcp-method", "tools/list"), ("mcp-method", "tools/call")],
        &[JSON, (":method", "PUT")],
    ] {
        assert_eq!(id_of(headers, LIST), None, "{headers:?}");
    }
}

#[test]
fn a_tool_reads_if_its_hint_is_true_and_nothing_else_is() {
    let hints = [
        ("a", r#"{"readOnlyHint":true}"#),
        ("b", r#"{"title":"B","destructiveHint":true,"readOnlyHint" : true ,"x":{"readOnlyHint":false}}"#),
        ("c", r#"{"readOnlyHint":false}"#),
        ("d", r#"{"readOnlyHint":"true"}"#),
        ("e", r#"{"readOnlyHint":1}"#),
        ("f", r#"{"readOnlyHint":null}"#),
        ("g", r#"{"readonlyhint":true,"ReadOnlyHint":true,"read_only_hint":true}"#),
        ("h", r#"{"x":{"readOnlyHint":true}}"#),
        ("i", r#"{"destructiveHint":false}"#),
        ("j", "null"),
        ("k", r#"[{"readOnlyHint":true}]"#),
        ("l", r#"{},"readOnlyHint":true,"meta":{"readOnlyHint":true}"#),
    ];
    let tools: Vec<_> = hints.iter().map(|(name, annotations)| tool(name, annotations)).collect();
    assert_eq!(lesson(&answer(&tools.join(","))).as_deref(), Some("a b !c !d !e !f !g !h !i !j !k !l"));
    let twice = [reader("a"), tool("b", "{}"), tool("a", "{}"), reader("b")].join(",");
    assert_eq!(lesson(&answer(&twice)).as_deref(), Some("!a !b"));
    assert_eq!(lesson(&answer("")).as_deref(), Some(""));
}

#[test]
fn names_that_cannot_be_kept_are_left_out() {
    let tools = ["", "a\\tb", "a\\nb", "a\\u0000", &"x".repeat(129), &"y".repeat(128), "t\\u006Fol é"];
    let tools: Vec<_> = tools.iter().map(|name| reader(name)).collect();
    assert_eq!(lesson(&answer(&tools.join(","))), Some(format!("{} tool é", "y".repeat(128))));
}

#[test]
fn an_answer_that_may_be_read_otherwise_takes_back_what_was_learned() {
    let sound = answer(&reader("a"));
    let many: Vec<_> = (0..600).map(|number| reader(&format!("t{number}"))).collect();
    for text in [
        sound.replace(r#""result""#, r#""Result":{},"result""#),
        sound.replace(r#""name":"a""#, r#""name":"a","name":"b""#),
        sound.replace(":true", r#":true,"readOnlyHint":false"#),
        sound.replace(r#""name":"a","#, ""),
        sound.replace(r#""name":"a""#, r#""nam\u0065":"a""#),
        sound.replace(r#""jsonrpc":"2.0","#, ""),
        sound.replace(r#""id""#, r#""method":"tools/list","id""#),
        sound.replace(r#""id""#, r#""error":{"code":1,"message":""},"id""#),
        sound.replace("[{", "[7,{"),
        sound.replace(r#""tools""#, r#""content""#),
        answer(&many.join(",")),
        format!("[{sound}]"),
        format!("{sound}{sound}"),
        "<html>".to_owned(),
        String::from_utf8(vec![b' '; MAX_ANSWER_BYTES + 1]).unwrap(),
    ] {
        assert_eq!(listen(&[JSON], &text, usize::MAX), Heard::Unreadable, "{text}");
    }
    assert_eq!(listen(&[JSON, ("content-encoding", "br")], &sound, 64), Heard::Unreadable);
}

#[test]
fn what_is_no_answer_to_this_call_says_nothing() {
    let sound = answer(&reader("a"));
    for text in [
        sound.replace(":1,", ":2,"),
        sound.replace(":1,", r#":"1","#),
        sound.replace(":1,", ":1.0,"),
        sound.replace(r#""id":1,"#, ""),
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"no"}}"#.to_owned(),
    ] {
        assert_eq!(listen(&[JSON], &text, usize::MAX), Heard::Nothing, "{text}");
    }
    for headers in [
        &[][..],
        &[("content-type", "text/html")],
        &[JSON, JSON],
        &[("content-type", "application/json; charset=utf-16")],
        &[JSON, (":status", "206")],
    ] {
        assert_eq!(listen(headers, &sound, usize::MAX), Heard::Nothing, "{headers:?}");
    }
}

#[test]
fn an_answer_that_breaks_off_teaches_only_what_was_whole() {
    let block = block(&[(":status", "200"), JSON]);
    let text = answer(&reader("a"));
    let broken_off = |length: usize| {
        let mut listener = Listener::new(b"1".to_vec(), block.headers()).unwrap();
        assert_eq!(listener.hear(&text.as_bytes()[..length], false), Heard::Nothing);
        listener.break_off()
    };
    assert!(broken_off(text.len()).is_some());
    assert!((0..text.len()).all(|length| broken_off(length).is_none()));
}

#[test]
fn events_teach_however_their_bytes_come() {
    let stream = ("content-type", "text/event-stream");
    let (note, sound) = (r#"{"jsonrpc":"2.0","method":"notifications/message"}"#, answer(&reader("a")));
    let (first, last) = sound.split_at(sound.find(",\"result\"").unwrap());
    let told = Heard::Lesson(read_answer(sound.as_bytes(), b"1").unwrap().unwrap());
    for (text, expected) in [
        (format!("id: 7\ndata: \n\ndata: {note}\n\nevent: message\ndata: {sound}\n\n"), &told),
        (format!(": hello\r\n\r\nretry: 5\r\ndata:{sound}\r\n\r\n"), &told),
        (format!("data: {first}\rdata: {last}\r\r"), &told),
        (format!("event: ping\ndata: {sound}\n\n"), &Heard::Nothing),
        (format!("data: {sound}\n"), &Heard::Nothing),
        (format!("Data: {sound}\n\n data: {sound}\n\n"), &Heard::Nothing),
        (format!("data: {first}\n\ndata: {sound}\n\n"), &Heard::Unreadable),
        (format!("data: [{sound}]\n\n"), &Heard::Unreadable),
        (format!("\u{feff}data: {sound}\n\n"), &Heard::Unreadable),
        (format!("data: {}\n\n", " ".repeat(MAX_ANSWER_BYTES)), &Heard::Unreadable),
    ] {
        for part_bytes in [1, 2, 3, 7, 64, usize::MAX] {
            let shown = &text[..text.len().min(300)];
            assert_eq!(listen(&[stream], &text, part_bytes), *expected, "{part_bytes}: {shown:?}");
        }
    }
}

fn url(authority: &str, target: &str) -> Option<Url> {
    let block = block(&[(":authority", authority), (":path", target)]);
    Url::of(&Request::read(block.headers()))
}

fn says(tools: &[(&str, bool)]) -> Lesson {
    let tools: Vec<_> =
        tools.iter().map(|(name, reads)| if *reads { reader(name) } else { tool(name, "{}") }).collect();
    read_answer(answer(&tools.join(",")).as_bytes(), b"1").unwrap().unwrap()
}

#[test]
fn what_a_server_says_holds_for_its_url_until_it_says_otherwise() {
    let (one, other) =
        (url("a.example.com", "/mcp").unwrap(), url("a.example.com", "/mcp?tenant=2").unwrap());
    let known = learn(b"", &one, &says(&[("find", true), ("add", false)]));
    assert!(has_learned(&known, &one, "find") && !has_learned(&known, &one, "add"));
    assert!(!has_learned(&known, &other, "find"), "another server");

    let known = learn(&known, &other, &says(&[("add", true)]));
    let known = learn(&known, &one, &says(&[("look", true)]));
    assert!(has_learned(&known, &one, "find") && has_learned(&known, &one, "look"), "the next page");
    assert!(has_learned(&known, &other, "add") && !has_learned(&known, &one, "add"));
    for no_tool in ["", "fin", "find\tlook", "a.example.com/mcp", "find\na.example.com/mcp"] {
        assert!(!has_learned(&known, &one, no_tool), "{no_tool:?}");
    }

    let known = learn(&known, &one, &says(&[("find", false)]));
    assert!(!has_learned(&known, &one, "find") && has_learned(&known, &one, "look"), "it changed its mind");
    let known = forget(&known, &one);
    assert!(!has_learned(&known, &one, "look") && has_learned(&known, &other, "add"));
    assert_eq!(forget(&known, &other), b"");
    assert_eq!(learn(b"", &one, &says(&[("add", false)])), b"");
}

#[test]
fn what_is_kept_is_bounded_and_what_was_learned_last_is_in_it() {
    let mut known = Vec::new();
    let long = |number: usize| format!("{number:0>128}");
    for number in 0..3000 {
        let server = url("a.example.com", &format!("/{}/mcp", number / 100)).unwrap();
        known = learn(&known, &server, &says(&[(&long(number), true)]));
        assert!(known.len() <= MAX_LEARNED_BYTES, "{}", known.len());
        assert!(has_learned(&known, &server, &long(number)));
    }
    assert!(!has_learned(&known, &url("a.example.com", "/0/mcp").unwrap(), &long(0)));
    let server = url("a.example.com", "/mcp").unwrap();
    for number in 0..1000 {
        known = learn(&known, &server, &says(&[(&format!("t{number}"), true)]));
    }
    assert!(has_learned(&known, &server, &format!("t{}", 1000 - MAX_TOOLS)));
    assert!(!has_learned(&known, &server, &format!("t{}", 999 - MAX_TOOLS)));
}

#[test]
fn of_an_odd_url_nothing_is_learned() {
    assert!(url("a.example.com", "/a b").is_none() && url("a.example.com", "/\u{e9}").is_none());
    assert!(url("a.example.com", &format!("/{}", "x".repeat(600))).is_none());
}

#[cfg(not(target_arch = "wasm32"))]
mod properties {
    use proptest::prelude::*;

    use super::*;

    /// What serde_json makes of an answer: the tools whose every mention says that they read.
    fn by_serde_json(text: &str) -> Vec<String> {
        let Ok(read) = serde_json::from_str::<serde_json::Value>(text) else { return Vec::new() };
        let tools = read.pointer("/result/tools").and_then(|tools| tools.as_array().cloned());
        let tools = tools.filter(|_| read["id"] == 1 && read["jsonrpc"] == "2.0").unwrap_or_default();
        let says = |tool: &serde_json::Value| tool.pointer("/annotations/readOnlyHint") == Some(&true.into());
        let mut reading = Vec::new();
        for tool in &tools {
            let name = tool["name"].as_str().unwrap_or_default();
            let all = tools.iter().filter(|other| other["name"] == name).all(says);
            if all && !reading.iter().any(|known| known == name) {
                reading.push(name.to_owned());
            }
        }
        reading
    }

    /// A piece of an answer: what stands there in sound ones, and what might instead.
    fn one_of(pieces: &'static [&'static str]) -> impl Strategy<Value = String> {
        prop_oneof![6 => Just(pieces[0]), 1 => proptest::sample::select(pieces)].prop_map(str::to_owned)
    }

    fn a_tool() -> impl Strategy<Value = String> {
        let key = one_of(&["readOnlyHint", "readonlyHint", "readOnlyHin\\u0074", "destructiveHint", ""]);
        let value = one_of(&["true", "false", "\"true\"", "1", "null", "tru", "{\"readOnlyHint\":true}"]);
        let name_key = one_of(&["name", "Name", "n\\u0061me", "title"]);
        let name = one_of(&["\"a\"", "\"b\"", "\"\\u0061\"", "7", "\"\""]);
        let annotations = one_of(&["annotations", "Annotations", "annotation\\u0073", "_meta"]);
        let more =
            one_of(&["", ",\"x\":0", ",\"annotations\":{\"readOnlyHint\":false}", ",\"name\":\"a\"", ","]);
        (name_key, name, annotations, key, value, more).prop_map(
            |(name_key, name, annotations, key, value, more)| {
                format!(r#"{{"{name_key}":{name},"{annotations}":{{"{key}":{value}}}{more}}}"#)
            },
        )
    }

    fn an_answer() -> impl Strategy<Value = String> {
        let head = one_of(&[
            r#"{"jsonrpc":"2.0","id":1,"#,
            r#"{"jsonrpc":"2.0","id":2,"#,
            r#"{"id":1,"#,
            r#"{"jsonrpc":"2.0","id":1,"id":1,"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","#,
        ]);
        let result = one_of(&[r#""result":{"#, r#""Result":{"#, r#""error":{"#, r#""result":[{"#]);
        let tools = (one_of(&["tools", "Tools", "tool\\u0073"]), proptest::collection::vec(a_tool(), 0..5));
        let tail = one_of(&["}}", "}}}", "}", "},\"result\":{}}", "}} ", "}]}", ",\"tools\":[]}}"]);
        (head, result, tools, tail).prop_map(|(head, result, (key, tools), tail)| {
            format!(r#"{head}{result}"{key}":[{}]{tail}"#, tools.join(","))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

        #[test]
        fn only_what_serde_json_reads_as_true_is_learned(text in an_answer(), part_bytes in 1_usize..200) {
            let expected = by_serde_json(&text);
            let stream = format!("data: {text}\n\n");
            for (media_type, text) in [("application/json", &text), ("text/event-stream", &stream)] {
                let heard = listen(&[("content-type", media_type)], text, part_bytes);
                let Heard::Lesson(lesson) = heard else { continue };
                for (tool, reads) in lesson.tools() {
                    prop_assert!(!reads || expected.iter().any(|name| name == tool), "{tool}: {text}");
                }
            }
        }

        #[test]
        fn no_bytes_make_it_fail(parts in proptest::collection::vec(any::<Vec<u8>>(), 0..8)) {
            for media_type in ["application/json", "text/event-stream"] {
                let block = block(&[(":status", "200"), ("content-type", media_type)]);
                let mut listener = Listener::new(b"1".to_vec(), block.headers()).unwrap();
                let mut known = Vec::new();
                for part in &parts {
                    listener.hear(part, false);
                    known = learn(part, &url("a", "/").unwrap(), &says(&[("a", true), ("b", false)]));
                }
                prop_assert!(parts.is_empty() || has_learned(&known, &url("a", "/").unwrap(), "a"));
            }
        }
    }

    /// The property above would hold of a reader that learns nothing.
    #[test]
    fn generated_answers_do_teach() {
        use proptest::{strategy::ValueTree as _, test_runner::TestRunner};
        let mut runner = TestRunner::deterministic();
        let taught = (0..2000).filter(|_| {
            let text = an_answer().new_tree(&mut runner).unwrap().current();
            matches!(listen(&[JSON], &text, 50), Heard::Lesson(lesson) if lesson.tools().any(|(_, reads)| reads))
        });
        let taught = taught.count();
        assert!(taught > 100, "{taught} of 2000 taught");
    }
}
