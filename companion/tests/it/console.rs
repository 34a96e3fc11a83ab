//! The console's files, who may call from a page, and what it is told as it happens.

use quiesce::{auth::Digest, console::Sample};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    companion::{Companion, LIMIT, http},
    enforcer::Enforcer,
};

const TOKENS: &str = "an-operators-token";

fn yaml() -> String {
    let token = |name: &str, role: &str| {
        format!("  - {{ name: {name}, role: {role}, sha256: {} }}\n", Digest::of(name).to_hex())
    };
    let tokens = [token(TOKENS, "operator"), token("a-viewers-token", "viewer"), token("sync", "sync")];
    format!("tokens:\n{}", tokens.concat())
}

/// Server-sent events of one connection, one after the other.
struct Told {
    response: Response,
    pending: String,
}

impl Told {
    async fn by(companion: &Companion, token: &str) -> Self {
        let response =
            http().get(format!("{}/v1/live", companion.url)).bearer_auth(token).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, pending: String::new() }
    }

    /// The next event; none, when the companion has ended the stream.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.pending.split_once("\n\n") {
                let field =
                    |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                let told = field("event:").zip(field("data:"));
                let told = told.map(|(kind, data)| (kind.to_owned(), serde_json::from_str(data).unwrap()));
                self.pending = rest.to_owned();
                if told.is_some() {
                    return told;
                }
                continue;
            }
            let chunk =
                tokio::time::timeout(LIMIT, self.response.chunk()).await.expect("silence").unwrap()?;
            self.pending.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The first event of a kind for which this holds.
    async fn until(&mut self, kind: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let search = async {
            loop {
                let (told, data) = self.next().await.expect("the stream has ended");
                if told == kind && holds(&data) {
                    return data;
                }
            }
        };
        tokio::time::timeout(LIMIT, search).await.unwrap_or_else(|_| panic!("never told: {kind}"))
    }
}

#[tokio::test]
async fn a_console_is_told_what_happens() {
    let (companion, _dir) = Companion::start(&yaml()).await;
    let mut enforcer = Enforcer::new(&companion.url, "edge-1", "1").counted("search", "read", 7);
    enforcer.token = Some("sync".to_owned());
    enforcer.report().await;

    let mut told = Told::by(&companion, "a-viewers-token").await;
    let (kind, state) = told.next().await.unwrap();
    assert_eq!(kind, "state");
    assert_eq!(state["fleet"]["enforcers"][0]["id"], "edge-1");
    assert_eq!(told.next().await.unwrap().0, "events");
    assert_eq!(told.next().await.unwrap().0, "history");

    let create = http().post(format!("{}/v1/windows", companion.url)).bearer_auth(TOKENS);
    let response = create.json(&json!({ "reason": "reindex" })).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    let freezing = |state: &Value| state["status"]["windows"][0]["phase"] == "freezing";
    let state = told.until("state", freezing).await;
    assert_eq!(state["status"]["windows"][0]["barrier"]["enforcers"][0]["state"], "pending");
    let events = told.until("events", |events| events[0]["kind"] == "started").await;
    assert_eq!(events[0]["who"], TOKENS);
    assert_eq!(events[0]["evidence"], Value::Null, "a roster names the whole fleet");
    let sample = told.until("sample", |sample| sample["surfaces"]["search"]["reads"] == 7);
    let history = async {
        // It may have been counted in a step that had ended before anybody looked.
        let url = format!("{}/v1/history", companion.url);
        loop {
            let samples = http().get(&url).bearer_auth(TOKENS).send().await.unwrap();
            let samples: Vec<Sample> = samples.json().await.unwrap();
            if samples.iter().any(|sample| sample.surfaces.get("search").is_some_and(|it| it.reads == 7)) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        _ = sample => {}
        () = history => {}
    }

    let stopped = companion.stop();
    let ended = async { while told.next().await.is_some() {} };
    tokio::join!(stopped, ended);
}

#[tokio::test]
async fn no_more_consoles_look_than_may() {
    let (companion, _dir) = Companion::start(&yaml()).await;
    let mut looking = Vec::new();
    for _ in 0..64 {
        looking.push(Told::by(&companion, TOKENS).await);
    }
    let one_more = async || {
        let live = http().get(format!("{}/v1/live", companion.url));
        live.bearer_auth(TOKENS).send().await.unwrap()
    };
    let refused = one_more().await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.text().await.unwrap().contains("consoles-full"));
    looking.pop();
    crate::companion::eventually("a seat becomes free", async || {
        one_more().await.status().is_success().then_some(())
    })
    .await;
    drop(looking);
    companion.stop().await;
}

#[tokio::test]
async fn only_pages_of_the_companion_itself_may_call_and_only_with_a_token() {
    let (companion, _dir) = Companion::start(&yaml()).await;
    let explain = async |url: &str, origin: &str, token: Option<&str>| {
        let asked = json!({ "method": "POST", "path": "/points", "headers": { "accept": ["*/*"] } });
        let mut request = http().post(format!("{url}/v1/explain")).header("origin", origin).json(&asked);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        request.send().await.unwrap()
    };
    let own = companion.url.clone();
    let answer = explain(&own, &own, Some("a-viewers-token")).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let explanation: Value = answer.json().await.unwrap();
    assert_eq!(explanation["effect"], "write");
    assert_eq!(explanation["refusal"], "read-only");
    assert_eq!(explanation["answer"]["status"], 423);

    assert_eq!(explain(&own, &own, None).await.status(), StatusCode::UNAUTHORIZED);
    for other in ["https://evil.example", "null", "http://127.0.0.1:1", ""] {
        let refused = explain(&own, other, Some(TOKENS)).await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{other}");
    }
    companion.stop().await;

    let (open, _dir) = Companion::start("{}").await;
    let url = open.url.clone();
    assert_eq!(explain(&url, &url, None).await.status(), StatusCode::FORBIDDEN, "its name may lead here");
    open.stop().await;
}

#[tokio::test]
async fn the_files_need_nothing_but_themselves() {
    let (companion, _dir) = Companion::start(&yaml()).await;
    let get = async |path: &str| companion.send(Method::GET, path, None).await;
    let page = get("/console").await;
    assert_eq!(page.url().path(), "/console/", "relative names would lead elsewhere");
    let csp = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(csp.contains("default-src 'none'") && !csp.contains("unsafe"), "{csp}");
    let html = page.text().await.unwrap();
    assert!(!html.contains("<style") && !html.contains("style=") && !html.contains("onclick="), "inline");
    let scripts = html.matches("<script").count();
    assert_eq!(scripts, html.matches("<script type=\"module\" src=\"/console/").count(), "inline script");

    let mut left: Vec<String> =
        html.split('"').filter(|text| text.starts_with("/console/")).map(str::to_owned).collect();
    let mut found = Vec::new();
    while let Some(path) = left.pop() {
        if found.contains(&path) {
            continue;
        }
        let file = get(&path).await;
        assert_eq!(file.status(), StatusCode::OK, "{path}");
        assert_eq!(file.headers()["x-content-type-options"], "nosniff");
        let tag = file.headers()["etag"].clone();
        let again = http().get(format!("{}{path}", companion.url)).header("if-none-match", tag);
        assert_eq!(again.send().await.unwrap().status(), StatusCode::NOT_MODIFIED, "{path}");
        let text = file.text().await.unwrap();
        let imports = text.lines().filter(|line| line.starts_with("import "));
        left.extend(imports.filter_map(|line| Some(line.split('"').nth(1)?.to_owned())));
        found.push(path);
    }
    assert!(found.len() >= 6, "{found:?}");
    companion.stop().await;
}
