//! CPU per request and requests per second, variant beside variant, in turns.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use hyper::body::Bytes;
use quiesce_integration::{
    envoy::Envoy,
    load::{Clients, Profile},
};

use crate::{
    envoys::{Envoys, Subject},
    policies,
    report::{Report, Variant, median},
};

const CLIENTS: usize = 16;

/// A variant, what it is asked, and what it must answer.
struct Turn {
    name: &'static str,
    subject: Subject,
    request: Request,
    status: u16,
    cpu_us: Vec<f64>,
    requests_per_s: Vec<f64>,
}

#[derive(Clone)]
struct Request {
    method: &'static str,
    target: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: Bytes,
    /// The turn in which bare Envoy gets it.
    bare: &'static str,
}

/// Measures `rounds` rounds, in each of which every variant gets `requests` requests.
pub async fn measure(report: &mut Report, rounds: usize, requests: u64) -> Result<()> {
    let envoys = Envoys::start().await?;
    let mut turns = turns();
    let mut clients = Vec::new();
    for Turn { subject, request, .. } in &turns {
        let Request { method, target, headers, body, .. } = request.clone();
        let addr = envoys[*subject].addr();
        clients
            .push(Clients::connect(Profile { addr, method, target, headers, body, clients: CLIENTS }).await?);
    }
    // A round to warm up, which does not count.
    for round in 0..=rounds {
        // Each round begins with another variant, so that none always follows the same one.
        for step in 0..turns.len() {
            let at = (round + step) % turns.len();
            let envoy = &envoys[turns[at].subject];
            let (cpu_us, requests_per_s) = take_turn(envoy, &mut clients[at], &turns[at], requests).await?;
            if round > 0 {
                turns[at].cpu_us.push(cpu_us);
                turns[at].requests_per_s.push(requests_per_s);
            }
        }
    }
    for turn in &turns {
        report.variant(summary(turn, &turns)?);
    }
    figures(report, &turns)
}

fn turns() -> Vec<Turn> {
    let get = Request {
        method: "GET",
        target: "/items/1",
        headers: &[],
        body: Bytes::new(),
        bare: "GET, bare Envoy",
    };
    let get_of_all = Request { target: "/all/items/1", ..get.clone() };
    // Without a body: of a refused request that has one, Envoy closes the connection.
    let post = Request { method: "POST", bare: "POST, bare Envoy", ..get.clone() };
    let call = Request {
        target: "/plain/mcp",
        headers: policies::CALL_HEADERS,
        body: policies::call_of_a_tool().into(),
        bare: "call of a tool, 4 KB, bare Envoy",
        ..post.clone()
    };
    let inspected = Request { target: "/inspected/mcp", ..call.clone() };
    let turn = |name, subject, request: &Request, status| {
        let (cpu_us, requests_per_s) = (Vec::new(), Vec::new());
        Turn { name, subject, request: request.clone(), status, cpu_us, requests_per_s }
    };
    vec![
        turn("GET, bare Envoy", Subject::Bare, &get, 200),
        turn("GET, no-op filter of the Rust SDK", Subject::Noop, &get, 200),
        turn("GET, Lua, frozen", Subject::Lua, &get, 200),
        turn("GET, RBAC, frozen", Subject::Rbac, &get, 200),
        turn("GET, RBAC, by the conditions of lean", Subject::RbacAsLean, &get, 200),
        turn("GET, Quiesce, open", Subject::Open, &get, 200),
        turn("GET, Quiesce, frozen", Subject::Frozen, &get, 200),
        turn("GET, Quiesce, all catalogs, frozen", Subject::Catalogs, &get, 200),
        turn("GET, Quiesce, all on one surface, frozen", Subject::Catalogs, &get_of_all, 200),
        turn("GET, Quiesce lean, all catalogs, frozen", Subject::Lean, &get, 200),
        turn("POST, bare Envoy", Subject::Bare, &post, 200),
        turn("POST, admitted by Quiesce", Subject::Open, &post, 200),
        turn("POST, refused by Quiesce", Subject::Frozen, &post, 423),
        turn("POST, refused by Lua", Subject::Lua, &post, 423),
        turn("POST, refused by RBAC", Subject::Rbac, &post, 403),
        turn("call of a tool, 4 KB, bare Envoy", Subject::Bare, &call, 200),
        turn("call of a tool, 4 KB, Quiesce, by a rule", Subject::Catalogs, &call, 200),
        turn("call of a tool, 4 KB, Quiesce, by its body", Subject::Catalogs, &inspected, 200),
    ]
}

async fn take_turn(envoy: &Envoy, clients: &mut Clients, turn: &Turn, requests: u64) -> Result<(f64, f64)> {
    let (cpu, began) = (envoy.cpu_time()?, Instant::now());
    let tally = clients.send(requests).await?;
    let (took, cpu) = (began.elapsed(), envoy.cpu_time()?.saturating_sub(cpu));
    let wrong = tally.other_than(&[turn.status]);
    ensure!(wrong.is_empty(), "{}: {wrong:?}", turn.name);
    #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
    let requests = requests as f64;
    Ok((cpu.as_secs_f64() * 1e6 / requests, requests / took.as_secs_f64()))
}

fn named<'a>(turns: &'a [Turn], name: &str) -> Result<&'a Turn> {
    turns.iter().find(|turn| turn.name == name).with_context(|| format!("no turn is called {name}"))
}

/// CPU time of one turn beyond another's. Within a round the machine is the same, so that the difference is
/// taken there.
fn beyond(turn: &Turn, other: &Turn) -> f64 {
    let differences: Vec<_> = turn.cpu_us.iter().zip(&other.cpu_us).map(|(one, other)| one - other).collect();
    median(&differences)
}

fn summary(turn: &Turn, turns: &[Turn]) -> Result<Variant> {
    let extreme = |pick: fn(f64, f64) -> f64| turn.cpu_us.iter().copied().fold(turn.cpu_us[0], pick);
    Ok(Variant {
        name: turn.name.to_owned(),
        cpu_us: median(&turn.cpu_us),
        cpu_us_range: (extreme(f64::min), extreme(f64::max)),
        over_bare_us: beyond(turn, named(turns, turn.request.bare)?),
        requests_per_s: median(&turn.requests_per_s),
    })
}

fn figures(report: &mut Report, turns: &[Turn]) -> Result<()> {
    let cpu_us = |name| -> Result<f64> { Ok(median(&named(turns, name)?.cpu_us)) };
    let over_bare_us = |name| -> Result<f64> {
        let turn = named(turns, name)?;
        Ok(beyond(turn, named(turns, turn.request.bare)?))
    };
    let noop_us = over_bare_us("GET, no-op filter of the Rust SDK")?;
    for what in ["open", "frozen", "all catalogs, frozen"] {
        let name = format!("passing GET, {what}: cost over bare, by that of the no-op SDK filter");
        let turn = turns.iter().find(|turn| turn.name == format!("GET, Quiesce, {what}"));
        let turn = turn.with_context(|| format!("no turn is about {what}"))?;
        report.target(&name, over_bare_us(turn.name)? / noop_us, "x", 1.2);
    }
    report.note(
        "passing GET, all catalogs on one surface: the same",
        over_bare_us("GET, Quiesce, all on one surface, frozen")? / noop_us,
        "x",
    );
    let lean_us = over_bare_us("GET, Quiesce lean, all catalogs, frozen")?;
    for (what, rbac) in [
        ("that of RBAC", "GET, RBAC, frozen"),
        ("that of RBAC with the same conditions", "GET, RBAC, by the conditions of lean"),
    ] {
        let name = format!("passing GET, lean, all catalogs, frozen: cost over bare, by {what}");
        report.target(&name, lean_us / over_bare_us(rbac)?, "x", 1.0);
    }
    report.note(
        "passing GET, frozen: cost over bare, by that of the Lua filter",
        over_bare_us("GET, Quiesce, frozen")? / over_bare_us("GET, Lua, frozen")?,
        "x",
    );
    report.target(
        "refusing a write: CPU by that of the Lua filter",
        cpu_us("POST, refused by Quiesce")? / cpu_us("POST, refused by Lua")?,
        "x",
        1.0,
    );
    report.target(
        "deciding a call of a tool by its body, 4 KB: CPU beyond a rule's",
        beyond(
            named(turns, "call of a tool, 4 KB, Quiesce, by its body")?,
            named(turns, "call of a tool, 4 KB, Quiesce, by a rule")?,
        ),
        "µs",
        25.0,
    );
    Ok(())
}
