//! CPU per request and requests per second, variant beside variant, in turns.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use quiesce_integration::{
    artifacts,
    envoy::{Envoy, Filter, Options, PluginConfig},
    http::Request,
    load::{Clients, Profile},
    origin::Origin,
    snapshots::Snapshots,
    wait,
};
use quiesce_policy::time::Timestamp;

use crate::{
    cpus::Cpus,
    policies,
    report::{Report, Variant, median},
};

const CLIENTS: usize = 16;

/// A variant, what it is asked, and what it must answer.
struct Turn {
    name: &'static str,
    envoy: usize,
    method: &'static str,
    status: u16,
    /// The turn with bare Envoy that it is compared with.
    bare: usize,
    cpu_us: Vec<f64>,
    requests_per_s: Vec<f64>,
}

/// Measures `rounds` rounds, in each of which every variant gets `requests` requests.
pub async fn measure(report: &mut Report, rounds: usize, requests: u64) -> Result<()> {
    let cpus = Cpus::divide()?;
    let origin = Origin::start_unrecorded()?;
    let (open, frozen) = (Snapshots::start().await?, Snapshots::start().await?);
    open.publish(&policies::snapshot(1, None))?;
    let since = now()?;
    frozen.publish(&policies::snapshot(1, Some(since)))?;
    let noop = Filter::Wasm { module: artifacts::noop_wasm()?, configuration: String::new() };
    let plain = |filter| Options::new(filter, origin.addr());
    let quiesce =
        |companion: &Snapshots| Options::quiesce(&PluginConfig::default(), origin.addr(), companion.addr());
    let mut envoys = Vec::new();
    cpus.start_envoys()?;
    for mut options in [
        plain(Filter::None),
        plain(noop),
        plain(Filter::Lua(policies::lua(since))),
        plain(Filter::Rbac(policies::rbac())),
        quiesce(&open)?,
        quiesce(&frozen)?,
    ] {
        options.concurrency = 1;
        envoys.push(Envoy::start(options).await?);
    }
    cpus.leave_envoys_alone()?;
    until_in_force(&envoys[4]).await?;
    until_in_force(&envoys[5]).await?;
    agree(&envoys[2], &envoys[5]).await?;

    let mut turns = turns();
    let mut clients = Vec::new();
    for turn in &turns {
        // Without a body: of a refused request that has one, Envoy closes the connection.
        let (addr, method) = (envoys[turn.envoy].addr(), turn.method);
        let profile = Profile { addr, method, target: "/items/1", body: "", clients: CLIENTS };
        clients.push(Clients::connect(profile).await?);
    }
    // A round to warm up, which does not count.
    for round in 0..=rounds {
        // Each round begins with another variant, so that none always follows the same one.
        for step in 0..turns.len() {
            let at = (round + step) % turns.len();
            let envoy = &envoys[turns[at].envoy];
            let (cpu_us, requests_per_s) = take_turn(envoy, &mut clients[at], &turns[at], requests).await?;
            if round > 0 {
                turns[at].cpu_us.push(cpu_us);
                turns[at].requests_per_s.push(requests_per_s);
            }
        }
    }
    let variants: Vec<_> = turns.iter().map(|turn| summary(turn, &turns)).collect();
    for variant in &variants {
        report.variant(variant.clone());
    }
    let [_, noop, lua, _, open, frozen, ..] = variants.as_slice() else { unreachable!("turns are fixed") };
    for (what, quiesce) in [("open", open), ("frozen", frozen)] {
        let name = format!("passing GET, {what}: cost over bare, by that of the no-op SDK filter");
        report.target(&name, quiesce.over_bare_us / noop.over_bare_us, "x", 1.2);
    }
    report.note(
        "passing GET, frozen: cost over bare, by that of the Lua filter",
        frozen.over_bare_us / lua.over_bare_us,
        "x",
    );
    let cpu_of = |name: &str| variants.iter().find(|one| one.name == name).map_or(f64::NAN, |one| one.cpu_us);
    let ratio = cpu_of("POST, refused by Quiesce") / cpu_of("POST, refused by Lua");
    report.target("refusing a write: CPU by that of the Lua filter", ratio, "x", 1.0);
    Ok(())
}

/// Both filters have the same policy: they refuse the same requests.
async fn agree(lua: &Envoy, quiesce: &Envoy) -> Result<()> {
    for (method, target, header, writes) in policies::AGREED {
        for (name, envoy) in [("Lua", lua), ("Quiesce", quiesce)] {
            let mut request = Request::new(method, target);
            let host = header.filter(|(name, _)| *name == "host").map_or(policies::HOST, |(_, host)| host);
            request = request.header("host", host);
            if let Some((name, value)) = header.filter(|(name, _)| *name != "host") {
                request = request.header(name, value);
            }
            let status = request.send(envoy.addr()).await?.status;
            ensure!((status == 423) == writes, "{name}: {method} {target} {header:?}: {status}");
        }
    }
    Ok(())
}

fn turns() -> Vec<Turn> {
    let turn = |name, envoy, method, status, bare| {
        let (cpu_us, requests_per_s) = (Vec::new(), Vec::new());
        Turn { name, envoy, method, status, bare, cpu_us, requests_per_s }
    };
    vec![
        turn("GET, bare Envoy", 0, "GET", 200, 0),
        turn("GET, no-op filter of the Rust SDK", 1, "GET", 200, 0),
        turn("GET, Lua, frozen", 2, "GET", 200, 0),
        turn("GET, RBAC, frozen", 3, "GET", 200, 0),
        turn("GET, Quiesce, open", 4, "GET", 200, 0),
        turn("GET, Quiesce, frozen", 5, "GET", 200, 0),
        turn("POST, bare Envoy", 0, "POST", 200, 6),
        turn("POST, admitted by Quiesce", 4, "POST", 200, 6),
        turn("POST, refused by Quiesce", 5, "POST", 423, 6),
        turn("POST, refused by Lua", 2, "POST", 423, 6),
        turn("POST, refused by RBAC", 3, "POST", 403, 6),
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

fn summary(turn: &Turn, turns: &[Turn]) -> Variant {
    // Within a round the machine is the same, so that the difference is taken there.
    let bare = &turns[turn.bare].cpu_us;
    let over: Vec<_> = turn.cpu_us.iter().zip(bare).map(|(one, bare)| one - bare).collect();
    let extreme = |pick: fn(f64, f64) -> f64| turn.cpu_us.iter().copied().fold(turn.cpu_us[0], pick);
    Variant {
        name: turn.name.to_owned(),
        cpu_us: median(&turn.cpu_us),
        cpu_us_range: (extreme(f64::min), extreme(f64::max)),
        over_bare_us: median(&over),
        requests_per_s: median(&turn.requests_per_s),
    }
}

async fn until_in_force(envoy: &Envoy) -> Result<()> {
    wait::until("the snapshot is in force", Duration::from_secs(10), async || {
        envoy.metric("quiesce.epoch").await.ok().filter(|epoch| *epoch > 0)
    })
    .await
    .map(drop)
}

#[allow(clippy::disallowed_methods, reason = "the Envoys under test go by the real clock")]
fn now() -> Result<Timestamp> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(Timestamp::from_unix_ms(u64::try_from(since.as_millis())?))
}
