//! Flags over HTTP: one, all, and what is said of requests that are none.

use quiesce::event::EventKind;
use reqwest::{Method, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::companion::Companion;

const ALL: &str = "/ofrep/v1/evaluate/flags";

async fn json(response: Response) -> Value {
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

async fn ask(companion: &Companion, path: &str, body: &str, tag: Option<&str>) -> Response {
    let http = reqwest::Client::new();
    let request = http.post(format!("{}{path}", companion.url)).body(body.to_owned());
    let request = match tag {
        Some(tag) => request.header(header::IF_NONE_MATCH, tag),
        None => request,
    };
    request.send().await.unwrap()
}

#[tokio::test]
async fn all_flags_have_a_tag_that_changes_with_them() {
    let (companion, _dir) = Companion::start("").await;
    let eu = r#"{"context":{"targetingKey":"a","region":"eu"}}"#;
    let first = ask(&companion, ALL, eu, None).await;
    let tag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
    let flags = json(first).await;
    assert_eq!(flags["flags"][0]["key"], "read_only");
    assert_eq!(flags["flags"][0]["value"], false);
    assert_eq!(flags["flags"][1]["key"], "window");
    let again = ask(&companion, ALL, eu, Some(&tag)).await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(again.headers()[header::ETAG], tag.as_str());
    assert!(again.bytes().await.unwrap().is_empty());
    let window = companion.create(json!({ "scope": { "labels": { "region": ["eu"] } } })).await;
    let frozen = ask(&companion, ALL, eu, Some(&tag)).await;
    assert_eq!(frozen.status(), StatusCode::OK);
    let flags = json(frozen).await;
    assert_eq!(
        (&flags["flags"][0]["value"], &flags["flags"][1]["value"]["id"]),
        (&json!(true), &json!(window.id))
    );
    companion.stop().await;
}

#[tokio::test]
async fn requests_that_are_none_are_told_what_is_wrong() {
    let (companion, _dir) = Companion::start("").await;
    let unknown = ask(&companion, &format!("{ALL}/colour"), "{}", None).await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    let unknown = json(unknown).await;
    assert_eq!((&unknown["key"], &unknown["errorCode"]), (&json!("colour"), &json!("FLAG_NOT_FOUND")));
    for path in [ALL.to_owned(), format!("{ALL}/read_only")] {
        let broken = ask(&companion, &path, "{\"context\":", None).await;
        assert_eq!(broken.status(), StatusCode::BAD_REQUEST);
        assert_eq!(json(broken).await["errorCode"], "PARSE_ERROR");
    }
    let wrong = companion.send(Method::GET, ALL, None).await;
    assert_eq!(wrong.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert!(
        companion.events().await.iter().all(|event| event.kind == EventKind::Configured),
        "nothing changed"
    );
    companion.stop().await;
}
