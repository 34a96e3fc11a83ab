//! How the demo looks: titles, commands as somebody would type them, answers as curl shows them.

use std::{io::IsTerminal as _, time::Duration};

use anstream::println;
use anstyle::Style;
use hyper::StatusCode;
use quiesce_integration::{
    http::{Request, Response},
    stack::Stack,
};

const TITLE: Style = Style::new().bold().underline();
const COMMAND: Style = Style::new().bold();

/// What a person needs to take in what was just said; a pipe needs none.
const READING: Duration = Duration::from_millis(900);

/// Time to read, if there is a reader.
pub async fn pause() {
    if std::io::stdout().is_terminal() {
        tokio::time::sleep(READING).await;
    }
}

/// Opens a chapter.
pub fn title(text: &str) {
    println!("\n{TITLE}{text}{TITLE:#}\n");
}

/// A sentence of the story.
pub fn say(text: &str) {
    println!("{text}");
}

/// A command as it is typed.
pub fn command(line: &str) {
    println!("{COMMAND}$ {line}{COMMAND:#}");
}

/// What runs, and where.
pub fn parts(stack: &Stack) {
    title("What runs");
    println!("  Envoy      http://{}   with the filter as it ships, 2 workers", stack.envoy().addr());
    println!("  companion  http://{}   `quiesce serve` on its embedded store", stack.companion.addr());
    println!("  origin     http://{}   keeps a log of every request that reaches it", stack.origin.addr());
}

/// The curl command that sends what `request` sends.
pub fn curl(stack: &Stack, method: &str, target: &str, body: Option<&str>) {
    let method = if matches!((method, body), ("GET", None) | ("POST", Some(_))) {
        String::new()
    } else {
        format!("-X {method} ")
    };
    let body = body.map(|body| format!(" -d '{body}'")).unwrap_or_default();
    command(&format!("curl -i {method}http://{}{target}{body}", stack.envoy().addr()));
}

/// Sends a request through Envoy and shows both sides of it.
pub async fn exchange(
    stack: &Stack,
    method: &str,
    target: &str,
    body: Option<&str>,
) -> anyhow::Result<Response> {
    curl(stack, method, target, body);
    let mut request = Request::new(method, target).header("user-agent", "curl");
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body);
    }
    let response = stack.send(&request).await?;
    answer(&response);
    pause().await;
    Ok(response)
}

/// An answer with all its headers and its body.
fn answer(response: &Response) {
    let reason = StatusCode::from_u16(response.status).ok().and_then(|status| status.canonical_reason());
    println!("HTTP/1.1 {} {}", response.status, reason.unwrap_or_default());
    for (name, value) in &response.headers {
        println!("{name}: {value}");
    }
    println!();
    match response.json::<serde_json::Value>() {
        Ok(json) => println!("{json:#}"),
        Err(_) => println!("{}", response.text().trim_end()),
    }
    println!();
}
