//! Requests made to be taken apart in two ways, beside harmless twins.

use super::*;

fn persisted(id: &str) -> Result<bool, Doubt> {
    Err(Doubt::Persisted { id: id.to_owned() })
}

#[test]
fn json_bodies_are_read() {
    for (body, expected) in [
        (r#"{"query":"{a}"}"#, Ok(true)),
        (
            r#" {"operationName":null,"variables":{"query":"mutation{a}"},"query":"{a}","extensions":{"x":1}} "#,
            Ok(true),
        ),
        (r#"{"query":"query Q{a}mutation M{a}","operationName":"Q"}"#, Ok(true)),
        (r#"{"query":"query Q{a}mutation M{a}","operationName":"M"}"#, Ok(false)),
        (r#"{"query":"query Q{a}mutation M{a}","operationName":"\u004d"}"#, Ok(false)),
        (r#"{"query":"query Q{a}mutation M{a}","operationName":""}"#, Ok(false)),
        (r#"{"query":"query Q{a}mutation M{a}"}"#, Err(Doubt::Operation)),
        (r#"{"query":"\u006dutation{a}"}"#, Ok(false)),
        (r#"{"\u0071uery":"{a}"}"#, Ok(true)),
        (r##"{"query":"#\nmutation{a}"}"##, Ok(false)),
        (r##"{"query":"#\\nmutation{a}\n{a}"}"##, Ok(true)),
        (r#"{"query":"\ufeff{a}"}"#, Ok(true)),
        (r#"{"query":"{a}\u0000"}"#, Err(Doubt::Document)),
        (r#"{"query":""}"#, Err(Doubt::Document)),
        (r#"{"query":"subscription{a}","variables":null,"extensions":null}"#, Ok(true)),
        (r#"[{"query":"{a}"},{"query":"{b}"}]"#, Ok(true)),
        (r#"[{"query":"{a}"},{"query":"mutation{b}"}]"#, Ok(false)),
        (r#"[{"query":"mutation{b}"},{"query":"{a}"}]"#, Ok(false)),
        (r#"[{"query":"{a}"},{"query":"{"}]"#, Err(Doubt::Document)),
        (r#"{"id":"x"}"#, persisted("x")),
        (r#"{"documentId":"sha256:x","operationName":"Q","variables":{}}"#, persisted("sha256:x")),
        (r#"{"doc_id":"1","query":null}"#, persisted("1")),
        (r#"{"queryId":"\u0031"}"#, persisted("1")),
        (r#"{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"ab"}}}"#, persisted("ab")),
    ] {
        assert_eq!(read_json(body.as_bytes()), expected, "{body}");
    }
}

#[test]
fn json_bodies_that_servers_may_take_apart_differently_are_doubt() {
    for body in [
        "",
        "{}",
        "[]",
        "null",
        "\"{a}\"",
        "[[]]",
        "[null]",
        r#"{"query":null}"#,
        r#"{"query":1}"#,
        r#"{"query":["{a}"]}"#,
        r#"{"query":"{a}","query":"mutation{a}"}"#,
        r#"{"query":"{a}","qu\u0065ry":"mutation{a}"}"#,
        r#"{"query":"{a}","query":null}"#,
        r#"{"query":null,"query":"{a}"}"#,
        r#"{"query":"{a}","Query":"mutation{a}"}"#,
        r#"{"Query":"{a}"}"#,
        r#"{"query":"{a}","OperationName":"M"}"#,
        r#"{"query":"{a}","operationname":"M"}"#,
        r#"{"query":"{a}","operationName":"","operationName":"M"}"#,
        r#"{"query":"{a}","operationName":1}"#,
        r#"{"query":"{a}","variables":{},"variables":{}}"#,
        r#"{"query":"{a}","mutation":"mutation{a}"}"#,
        r#"{"query":"{a}","__proto__":{}}"#,
        r#"{"query":"{a}","query\u0000":"mutation{a}"}"#,
        r#"{"query":"{a}","":1}"#,
        r#"{"query":"{a}","id":"x"}"#,
        r#"{"query":"","id":"x"}"#,
        r#"{"id":""}"#,
        r#"{"id":1}"#,
        r#"{"id":"x","doc_id":"y"}"#,
        r#"{"id":"x","extensions":{"persistedQuery":{"sha256Hash":"ab"}}}"#,
        r#"{"query":"{a}","extensions":"{}"}"#,
        r#"{"query":"{a}","extensions":[]}"#,
        r#"{"query":"{a}","extensions":{"persistedQuery":{"sha256Hash":"ab"}}}"#,
        r#"{"query":"{a}","extensions":{"PersistedQuery":{"sha256Hash":"ab"}}}"#,
        r#"{"query":"{a}","extensions":{"persi\u017ftedQuery":{"sha256Hash":"ab"}}}"#,
        r#"{"extensions":{"persistedQuery":{"sha256Hash":"ab"},"persistedQuery":{"sha256Hash":"cd"}}}"#,
        r#"{"extensions":{"persistedQuery":{"sha256Hash":"ab","sha256Hash":"cd"}}}"#,
        r#"{"extensions":{"persistedQuery":{"sha256Hash":"ab","id":"cd"}}}"#,
        r#"{"extensions":{"persistedQuery":"ab"}}"#,
        r#"{"extensions":{"persistedQuery":null}}"#,
        r#"[{"query":"{a}"},{"id":"x"}]"#,
        r#"[{"query":"{a}"}]]"#,
        r#"{"query":"{a}"}{"query":"mutation{a}"}"#,
        r#"{"query":"{a}"},"#,
        "{\"query\":\"{a}\"}\0",
        "\u{feff}{\"query\":\"{a}\"}",
        r#"{"query":"{a}",}"#,
        r#"{"query":"{a}"/**/}"#,
        r#"{'query':'{a}'}"#,
        r#"{query:"{a}"}"#,
        "{\"query\":\"{\na}\"}",
        r#"{"query":"{a}","variables":{"a":NaN}}"#,
        r#"{"query":"{a}","variables":"\ud800"}"#,
        r#"[{"query":"{a}"},]"#,
    ] {
        assert_eq!(read_json(body.as_bytes()), Err(Doubt::Request), "{body}");
    }
    assert_eq!(read_json(b"{\"query\":\"{a} #\xff\"}"), Err(Doubt::Request));
    let utf16: Vec<u8> = r#"{"query":"{a}"}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(read_json(&utf16), Err(Doubt::Request));
}

#[test]
fn bare_documents_are_read() {
    assert_eq!(read_graphql(b"{a}"), Ok(true));
    assert_eq!(read_graphql(b"mutation{a}"), Ok(false));
    assert_eq!(read_graphql(b"{a}mutation{a}"), Err(Doubt::Operation));
    assert_eq!(read_graphql(b"{a} #\xff"), Err(Doubt::Document));
}

#[test]
fn query_strings_are_read() {
    for (query, expected) in [
        ("query={a}", Ok(true)),
        ("query=mutation{a}", Ok(false)),
        ("query=mutation+%7Ba%7D", Ok(false)),
        ("query=%6dutation%7ba%7d", Ok(false)),
        ("%71uery=%23%0Amutation%7Ba%7D", Ok(false)),
        ("query=%23mutation%0A{a}", Ok(true)),
        ("query=query+Q{a}mutation+M{a}&operationName=Q", Ok(true)),
        ("operationName=M&query=query+Q{a}mutation+M{a}&variables=%25", Ok(false)),
        ("query=query+Q{a}mutation+M{a}&operationName=", Ok(false)),
        ("&query={a}&&operationName=&extensions={}&", Ok(true)),
        ("query={a(b:%22%26query=mutation{a}%22)}", Ok(true)),
        ("query={a==}", Err(Doubt::Document)),
        ("documentId=x&variables={}", persisted("x")),
        ("extensions=%7B%22persistedQuery%22:{%22version%22:1,%22sha256Hash%22:%22ab%22}}", persisted("ab")),
    ] {
        assert_eq!(read_query_string(query.as_bytes()), expected, "{query}");
    }
    for query in [
        "",
        "query",
        "a=b",
        "query={a}&query=mutation{a}",
        "query={a}&%71uery=mutation{a}",
        "query={a}&Query=mutation{a}",
        "query={a};query=mutation{a}",
        "query={a}#&operationName=M",
        "query[]={a}",
        "query={a}&query[]=mutation{a}",
        "query={a}&+query=mutation{a}",
        "query=%7",
        "query=%zz",
        "query=%u0022",
        "query=%ff",
        "query={a(b:%22%2522%22)}",
        "query={a}&id=x",
        "id=x&doc_id=y",
        "id=",
        "query={a}&extensions=",
        "query={a}&extensions=[]",
        "query={a}&extensions={}{}",
        "query={a}&extensions={%22persistedQuery%22:{%22sha256Hash%22:%22ab%22}}",
        "id=x&extensions={%22persistedQuery%22:{%22sha256Hash%22:%22ab%22}}",
        "query={é}",
        "query={a b}",
        "?query={a}",
        "query={a}&operationName=Q&operationName=M",
    ] {
        assert_eq!(read_query_string(query.as_bytes()), Err(Doubt::Request), "{query}");
    }
    assert!(
        names_request(b"a=b&QUERY=x") && names_request(b"operation%4eame=M") && names_request(b"extensions")
    );
    assert!(!names_request(b"") && !names_request(b"a=query&key=1"));
}

/// A body of parts between boundaries `b`, `|` standing for line ends and `~` for boundaries.
fn multipart(body: &str) -> Result<bool, Doubt> {
    let body = body.replace('|', "\r\n").replace('~', "--b");
    read_multipart(b"multipart/form-data; boundary=b", body.as_bytes())
}

#[test]
fn multipart_bodies_are_read() {
    const NAME: &str = "content-disposition: form-data; name=";
    let read = format!("~|{NAME}\"operations\"||{{\"query\":\"{{a}}\",\"variables\":{{\"f\":null}}}}|");
    let map = format!("~|{NAME}\"map\"||{{\"0\":[\"variables.f\"]}}|");
    let file = format!("~|{NAME}\"0\"; filename=\"a.txt\"|Content-Type: text/plain||text\n-- text|~--|");
    let whole = format!("{read}{map}{file}");
    assert_eq!(multipart(&whole), Ok(true));
    assert_eq!(multipart(&whole.replace("{a}", "mutation{a}")), Ok(false));
    assert_eq!(multipart(&whole.replace("{\"query\":\"{a}\"", "{\"id\":\"x\"")), persisted("x"));
    for (found, replaced) in [
        ("content-disposition", "Content-Disposition"),
        ("\"operations\"|", "\"operations\"|content-type: application/json; charset=UTF-8|"),
        ("\"variables.f\"", "\"0.variables.f\""),
        ("~--|", "~--"),
        ("text\n", "\0\u{feff}name=\"operations\"||"),
    ] {
        assert_eq!(multipart(&whole.replace(found, replaced)), Ok(true), "{found} {replaced}");
    }
    for (found, replaced) in [
        ("~|c", "|~|c"),
        ("~|", "~ |"),
        ("~|", "~\n"),
        ("text|~", "text\n~"),
        ("text|~--", "text|~|"),
        ("~--|", ""),
        ("~--|", "~--|x"),
        ("~--|", "~--||"),
        ("-- text", "~"),
        ("-- text", "~--"),
        ("\"map\"", "\"operations\""),
        ("\"operations\"", "\"Operations\""),
        ("\"operations\"", "operations"),
        ("\"operations\"", "\"operations\"; filename=\"a\""),
        ("\"operations\"|", "\"operations\"|content-type: application/json; charset=utf-16|"),
        ("\"operations\"|", "\"operations\"|content-transfer-encoding: base64|"),
        ("\"operations\"|", "\"operations\"|content-disposition: form-data; name=\"a\"|"),
        ("\"operations\"|", "\"operations\"| a|"),
        ("\"operations\"|", "\"operations\"\n|"),
        ("\"operations\"", "\"operations\"; name=\"a\""),
        ("name=\"0\"", "name=\"operations\""),
        ("name=\"0\"", "name=\"Query\""),
        ("name=\"0\"", "name=\"_charset_\""),
        ("; filename=\"a.txt\"", ""),
        ("; filename=\"a.txt\"|Content-Type: text/plain", ""),
        ("filename=", "filename*="),
        ("a.txt", "a;name=operations"),
        ("a.txt", "a\\\""),
        ("text/plain", "multipart/mixed; boundary=c"),
        ("variables.f\"", "query\""),
        ("variables.f\"", "0.query\""),
        ("[\"variables.f\"]", "\"variables.f\""),
        ("{\"0\":", "{\"0\"::"),
    ] {
        let changed = whole.replacen(found, replaced, 1);
        assert_ne!(changed, whole, "{found}");
        assert_eq!(multipart(&changed), Err(Doubt::Request), "{changed}");
    }
    assert_eq!(multipart(&format!("{map}{read}{file}")), Err(Doubt::Request));
    assert_eq!(multipart(&format!("{read}{file}")), Err(Doubt::Request));
    let body = whole.replace('|', "\r\n").replace('~', "--b");
    for (content_type, expected) in [
        ("multipart/form-data; boundary=b", Ok(true)),
        ("Multipart/Form-Data;Boundary=b", Ok(true)),
        ("multipart/form-data; boundary=\"b\"", Err(Doubt::Request)),
        ("multipart/form-data; boundary=b; charset=utf-8", Err(Doubt::Request)),
        ("multipart/form-data; charset=utf-7; boundary=b", Err(Doubt::Request)),
        ("multipart/form-data; boundary=a; boundary=b", Err(Doubt::Request)),
        ("multipart/form-data; boundary=", Err(Doubt::Request)),
        ("multipart/mixed; boundary=b", Err(Doubt::Request)),
        ("application/json", Err(Doubt::Request)),
        ("", Err(Doubt::Request)),
    ] {
        assert_eq!(read_multipart(content_type.as_bytes(), body.as_bytes()), expected, "{content_type}");
    }
}
