//! Documents made to look like what they are not, beside harmless twins.

use super::*;

fn kinds(document: &str) -> Option<String> {
    let letter = |operation: &Operation<'_>| match operation.kind {
        Kind::Query => 'q',
        Kind::Mutation => 'm',
        Kind::Subscription => 's',
    };
    operations(document).ok().map(|operations| operations.iter().map(letter).collect())
}

#[test]
fn finds_the_operations_and_nothing_that_looks_like_one() {
    for (document, found) in [
        ("{a}", "q"),
        ("query{a}", "q"),
        ("query mutation{a}", "q"),
        ("mutation query{a}", "m"),
        ("subscription S{a}", "s"),
        ("{mutation}", "q"),
        ("{mutation:query mutation{mutation}}", "q"),
        ("{a mutation{b}}", "q"),
        ("{a}mutation{b}", "qm"),
        ("# mutation M {a}\n{a}", "q"),
        ("# {a}\nmutation M {a}", "m"),
        ("# {a}\r\nmutation M {a}", "m"),
        ("#{a}mutation M {a}\r\n{a}#", "q"),
        ("\u{feff}mutation{a}", "m"),
        (",,query,Q,{,a,}", "q"),
        ("query Q\r\n{a}\r\nmutation\tM\r\n{a}", "qm"),
        ("{a(b:\"}mutation{a}\")}", "q"),
        ("{a(b:\"\\\"}mutation{a}#\")}", "q"),
        ("{a(b:\"\\\\\")}mutation{a}#\")}", "qm"),
        ("{a(b:\"\\u0022)}mutation{a}\")}", "q"),
        ("{a(b:\"\\u{22})}mutation{a}\")}", "q"),
        ("{a(b:\"\\ud83d\\ude00\\u{1F600}😀\")}", "q"),
        ("{a(b:\"\"\"\n}mutation{a}\n\"\"\")}", "q"),
        ("{a(b:\"\"\"\"\"\")}mutation{a}", "qm"),
        ("{a(b:\"\")}mutation{a}", "qm"),
        ("{a(b:[\"\",\"\",\"}mutation{\"])}", "q"),
        ("{a #\"\"\"\n}mutation{a}#\"\"\"\n", "qm"),
        ("{...mutation}fragment mutation on mutation{a}", "q"),
        ("{...onto ...{a}...@a{a}...on on{a}}", "q"),
        ("fragment query on Q@a(b:1)@c{a}", ""),
        ("query($a:A!=1@b,$c:[[C!]!]!=[1{}{a:[]}]@b(c:E)){a(b:$a,c:{d:$c})@e}", "q"),
        ("query($mutation:mutation){a(b:-0,c:1.5e-3,d:0E0,e:true,f:null,g:on)}", "q"),
        ("\"\"\"mutation\"\"\"query Q(\"a\"$a:A){a}\"a\"fragment F on T{a}", "q"),
    ] {
        assert_eq!(kinds(document).as_deref(), Some(found), "{document}");
    }
}

#[test]
fn what_is_no_executable_document_or_not_to_everybody_is_doubt() {
    for document in [
        "",
        " ",
        "#",
        "{",
        "}",
        "{}",
        "{a",
        "{a}}",
        "{a}{",
        "a",
        "{a}a",
        "query",
        "query Q",
        "query Q a{a}",
        "Query{a}",
        "MUTATION{a}",
        "mutations{a}",
        "muta\u{feff}tion{a}",
        "\u{feff}\u{feff}{a}",
        "{a\u{feff}b}",
        "query(){a}",
        "query($a){a}",
        "query($a:){a}",
        "query($a:A!!){a}",
        "query($a:[A){a}",
        "query($a:A=$b){a}",
        "query($a:A@b(c:$d)){a}",
        "query a:A{a}",
        "{a()}",
        "{a(b)}",
        "{a(b:)}",
        "{a(b:1",
        "{a(:1)}",
        "{a:}",
        "{a:b:c}",
        "{a{}}",
        "{a@}",
        "{a@b()}",
        "{..a}",
        "{. . .a}",
        "{....a}",
        "{...}",
        "{...on}",
        "{...on{a}}",
        "{...a{b}}",
        "{...on A}",
        "{...on A B{a}}",
        "fragment F{a}",
        "fragment on on T{a}",
        "fragment F on{a}",
        "fragment F on T",
        "fragment F($a:A)on T{a}",
        "fragment F On T{a}",
        "{a!}",
        "{a?}",
        "{a(b:01)}",
        "{a(b:1.)}",
        "{a(b:.5)}",
        "{a(b:+1)}",
        "{a(b:1e)}",
        "{a(b:1a)}",
        "{a(b:1.2.3)}",
        "{a(b:0x1)}",
        "{a(b:[1\"a\"])}",
        "{a(b:--1)}",
        "{a(b:'c')}",
        "{a(b:`c`)}",
        "{a(b:\")}",
        "{a(b:\"\n\")}",
        "{a(b:\"\\x\")}",
        "{a(b:\"\\u12\")}",
        "{a(b:\"\\u{}\")}",
        "{a(b:\"\\u{110000}\")}",
        "{a(b:\"\\u{d800}\")}",
        "{a(b:\"\\ud800\")}",
        "{a(b:\"\\ud800\\ud800\")}",
        "{a(b:\"\\ude00\")}",
        "{a(b:\"\\u{22\")}",
        "{a(b:\"\\",
        "{a(b:\"\"\"c\")}",
        "{a(b:\"\"\"c\"d\"\"\")}",
        "{a(b:\"\"\"c\\\"\"\")}",
        "{a(b:\"\"\"c\\\"\"\"\"\"\")}",
        "{a(b:\"\"\"\\\\\"\"\")}",
        "{a(b:\"\"\"\"\"\"\")}",
        "{a(b:[})}",
        "{a(b:{c})}",
        "{a(b:{1:2})}",
        "{a(b:$)}",
        "{a}\0",
        "{a#\0\n}",
        "{a(b:\"\u{1}\")}",
        "{a #\u{2028}}",
        "{a #\u{2029}}",
        "{a #\u{85}}",
        "{a #\r}",
        "{a\rb}",
        "{a\u{a0}b}",
        "{a\u{b}b}",
        "{é}",
        "{a;b}",
        "{a&b}",
        "{a|b}",
        "\"a\"{a}",
        "query\"a\"Q{a}",
        "\"a\"\"b\"query{a}",
        "type T{a:A}",
        "schema{query:Q}",
        "extend type T{a:A}",
        "scalar S",
        "directive@a on FIELD",
        "{a}type T{a:A}",
        "enum E{A}",
        "input I{a:A}",
        "union U=A|B",
        "interface I{a:A}",
    ] {
        assert_eq!(operations(document), Err(Doubt::Document), "{document:?}");
    }
}

#[test]
fn what_parsers_without_block_strings_would_run_is_doubt() {
    // They see a list of strings, the end of the fragment, a mutation and a comment.
    let split = r#"fragment F on T{a(b:["""x"])}mutation M{a}#"""])}query Q{a}"#;
    assert_eq!(operations(split), Err(Doubt::Document));
    assert_eq!(kinds(&split.replace("x\"", "x")).as_deref(), Some("q"));
}

#[test]
fn depth_and_length_are_bounded() {
    let nested =
        |open: &str, close: &str, depth| format!("{{a{}{}}}", open.repeat(depth), close.repeat(depth));
    for (open, close) in [("{a", "}"), ("{...on A{a", "}}")] {
        assert!(operations(&nested(open, close, 31)).is_ok());
        assert!(operations(&nested(open, close, 64)).is_err());
        assert!(operations(&nested(open, close, 100_000)).is_err());
    }
    for (open, close) in [("[", "]"), ("{a:", "}")] {
        let nested =
            |depth| nested(&format!("(a:{}1", open.repeat(depth)), &format!("{})", close.repeat(depth)), 1);
        assert!(operations(&nested(62)).is_ok());
        assert!(operations(&nested(63)).is_err());
        assert!(operations(&nested(100_000)).is_err());
    }
    let typed = |depth| format!("query($a:{}A{}){{a}}", "[".repeat(depth), "]".repeat(depth));
    assert!(operations(&typed(64)).is_ok() && operations(&typed(65)).is_err());
    let wide = |fields| format!("{{{}}}", "a ".repeat(fields));
    assert!(operations(&wide(14_997)).is_ok() && operations(&wide(14_998)).is_err());
}

#[test]
fn the_operation_that_runs_is_the_one_named_or_the_only_one() {
    let (query, mutation) = (Ok(Kind::Query), Ok(Kind::Mutation));
    let doubt = Err(Doubt::Operation);
    for (document, name, expected) in [
        ("{a}", None, &query),
        ("mutation{a}", None, &mutation),
        ("fragment F on T{a}query Q{...F}", None, &query),
        ("fragment F on T{a}", None, &doubt),
        ("fragment F on T{a}", Some(""), &doubt),
        ("query Q{a}mutation M{a}", None, &doubt),
        ("query Q{a}query R{a}", None, &doubt),
        ("query Q{a}mutation M{a}", Some("Q"), &query),
        ("query Q{a}mutation M{a}", Some("M"), &mutation),
        ("mutation M{a}query Q{a}", Some("Q"), &query),
        ("query Q{a}mutation M{a}", Some("R"), &doubt),
        ("query Q{a}", Some("Q "), &doubt),
        ("query Q{a}", Some("q"), &doubt),
        ("query Q{a}mutation q{a}", Some("Q"), &doubt),
        ("query Q{a}mutation Q{a}", Some("Q"), &doubt),
        ("{a}", Some("Q"), &doubt),
        ("{a}", Some(""), &query),
        ("query Q{a}query R{a}", Some(""), &query),
        ("query Q{a}mutation M{a}", Some(""), &mutation),
        ("mutation M{a}query Q{a}", Some(""), &mutation),
        ("fragment Q on T{a}mutation M{a}", Some("Q"), &doubt),
        ("subscription S{a}", None, &Ok(Kind::Subscription)),
    ] {
        assert_eq!(&effect_of(document, name), expected, "{document} {name:?}");
    }
}
