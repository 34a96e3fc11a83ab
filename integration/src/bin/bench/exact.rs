//! What does not depend on the machine: host calls and fuel per request, memory, sizes, look-ups.

use std::{hint::black_box, time::Instant};

use anyhow::{Result, ensure};
use quiesce_integration::{
    artifacts,
    companion::Companion,
    envoy::PluginConfig,
    host::{Head, Module, Outcome, Process, Usage, Vm, Workers},
    http,
    snapshots::SYNC_TOKEN,
};
use quiesce_policy::{HeaderBlock, Policy, Request, snapshot::Snapshot, time::Timestamp};
use serde_json::json;

use crate::{
    policies::{self, HOST},
    report::{Exact, Report, median},
};

const NOW: Timestamp = Timestamp::from_unix_ms(1_795_435_200_000);
/// Requests of which the cost is averaged: some have a tick's or a table's growth in them.
const REQUESTS: u32 = 100;
/// Host calls for which the host enters the VM again, to allocate what it hands over.
const DATA_CALLS: [&str; 5] = [
    "proxy_get_header_map_pairs",
    "proxy_get_header_map_value",
    "proxy_get_buffer_bytes",
    "proxy_get_property",
    "proxy_get_shared_data",
];
const MIB: f64 = 1024.0 * 1024.0;

/// Measures all of it.
pub async fn measure(report: &mut Report) -> Result<()> {
    let module = Module::load(&artifacts::wasm()?)?;
    requests(report, &module)?;
    catalogs(report, &module, &snapshot_of_catalogs().await?)?;
    calls(report, &module)?;
    look_ups(report, &module)?;
    let bytes = std::fs::metadata(artifacts::wasm()?)?.len();
    #[allow(clippy::cast_precision_loss, reason = "a few hundred thousand")]
    report.target("the module that ships", bytes as f64 / 1000.0, "KB", 300.0);
    memory(report, &module)
}

fn workers(module: &Module, first: &Snapshot) -> Result<Workers> {
    let configuration = serde_json::to_string(&PluginConfig::default())?;
    let mut workers = Workers::start(module, 2, &configuration, NOW)?;
    workers.publish(first)?;
    workers.run(1000)?;
    ensure!(workers.process.metric("quiesce.epoch") == first.version.0, "the snapshot is not in force");
    Ok(workers)
}

fn requests(report: &mut Report, module: &Module) -> Result<()> {
    let noop = Module::load(&artifacts::noop_wasm()?)?;
    let mut vm = Process::new(&noop, "envoy-1", NOW).start_vm("")?;
    report.exact(cost("GET, no-op filter of the Rust SDK", &mut vm, (&head("GET"), &[]), 200)?);
    for (frozen, method, status, name) in [
        (false, "GET", 200, "GET, Quiesce, open"),
        (true, "GET", 200, "GET, Quiesce, frozen"),
        (false, "POST", 200, "POST, admitted by Quiesce"),
        (true, "POST", 423, "POST, refused by Quiesce"),
    ] {
        let mut workers = workers(module, &policies::snapshot(1, frozen.then_some(NOW)))?;
        report.exact(cost(name, workers.vm(1), (&head(method), &[]), status)?);
    }
    Ok(())
}

/// What the companion hands to an enforcer.
async fn snapshot_of_catalogs() -> Result<Snapshot> {
    let companion = Companion::start(&policies::surfaces()?).await?;
    let enforcer = json!({ "id": "envoy-1", "instance": "1", "kind": "envoy", "version": "0" });
    let body = json!({ "enforcer": enforcer, "applied": 0, "in_flight": 0, "clock": NOW, "wait_ms": 0 });
    let sync = http::Request::post("/v1/sync", body.to_string())
        .header("content-type", "application/json")
        .header("authorization", &format!("Bearer {SYNC_TOKEN}"));
    sync.send(companion.addr()).await?.json()
}

fn catalogs(report: &mut Report, module: &Module, snapshot: &Snapshot) -> Result<()> {
    let mut workers = workers(module, snapshot)?;
    for (path, name) in [("/items/1", "all catalogs"), ("/all/items/1", "all on one surface")] {
        let name = format!("GET, Quiesce, {name}");
        report.exact(cost(&name, workers.vm(1), (&head("GET").header(":path", path), &[]), 200)?);
    }
    Ok(())
}

fn calls(report: &mut Report, module: &Module) -> Result<()> {
    let mut workers = workers(module, &policies::snapshot_of_calls(1, NOW))?;
    let body = policies::call_of_a_tool();
    for (path, name) in [("/plain/mcp", "by a rule"), ("/inspected/mcp", "by its body")] {
        let name = format!("call of a tool, 4 KB, {name}");
        let headers = policies::CALL_HEADERS.iter();
        let head =
            headers.fold(head("POST").header(":path", path), |head, (name, value)| head.header(name, value));
        report.exact(cost(&name, workers.vm(1), (&head, body.as_bytes()), 200)?);
    }
    Ok(())
}

/// A request with the headers that Envoy adds.
fn head(method: &str) -> Head {
    Head::new(method, "/items/1")
        .header(":authority", HOST)
        .header("x-forwarded-proto", "http")
        .header("x-request-id", "4a5c1f0e-6f0b-9a3e-8f1e-0d2b8c6f7a10")
}

fn cost(name: &str, vm: &mut Vm, (head, body): (&Head, &[u8]), status: u32) -> Result<Exact> {
    let mut exchange = || -> Result<()> {
        let answered = match vm.exchange_with_body(head, body)? {
            Outcome::Passed => 200,
            Outcome::Answered(response) => response.status,
            other => anyhow::bail!("{name}: {other:?}"),
        };
        ensure!(answered == status, "{name}: {answered} instead of {status}");
        Ok(())
    };
    for _ in 0..REQUESTS {
        exchange()?;
    }
    vm.take_usage();
    let mut exchange = || vm.exchange_with_body(head, body);
    for _ in 0..REQUESTS {
        exchange()?;
    }
    let Usage { entries, host_calls, fuel } = vm.take_usage();
    let data: u64 = DATA_CALLS.iter().filter_map(|name| host_calls.get(name)).sum();
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    let each = |total: u64| total as f64 / f64::from(REQUESTS);
    Ok(Exact {
        name: name.to_owned(),
        entries: each(entries),
        host_calls: each(host_calls.values().sum()),
        by_name: host_calls.iter().map(|(name, total)| (*name, each(*total))).collect(),
        data_calls: each(data),
        fuel: each(fuel),
    })
}

fn look_ups(report: &mut Report, module: &Module) -> Result<()> {
    let fuel = |rules: usize| -> Result<f64> {
        let mut workers = workers(module, &policies::snapshot_with_rules(1, rules))?;
        let head = Head::new("POST", &policies::path_of_middle_rule(rules)).header(":authority", HOST);
        Ok(cost("a look-up", workers.vm(1), (&head, &[]), 200)?.fuel)
    };
    report.target("look-up among 10,000 rules by that among 10: fuel", fuel(10_000)? / fuel(10)?, "x", 1.5);
    let (many, few) = native_look_ups(10_000, 10)?;
    report.target("the same: time, natively", many / few, "x", 1.5);
    report.note("a look-up among 10,000 rules, natively", many, "ns");
    Ok(())
}

/// Nanoseconds of classifying a request under each number of rules, taken in turns.
fn native_look_ups(many: usize, few: usize) -> Result<(f64, f64)> {
    const TURNS: usize = 51;
    const LOOK_UPS: u32 = 2000;
    let mut subjects = Vec::new();
    for rules in [many, few] {
        let policy = Policy::compile(&policies::snapshot_with_rules(1, rules))?;
        subjects.push((policy, policies::path_of_middle_rule(rules), Vec::new()));
    }
    for _ in 0..TURNS {
        for (policy, path, took) in &mut subjects {
            let began = Instant::now();
            for _ in 0..LOOK_UPS {
                let headers = HeaderBlock::new(&[
                    (b":method", b"POST"),
                    (b":path", path.as_bytes()),
                    (b":authority", HOST.as_bytes()),
                ]);
                let request = Request::read(headers.headers());
                black_box(policy.classify(black_box(&request)));
            }
            took.push(began.elapsed().as_secs_f64() * 1e9 / f64::from(LOOK_UPS));
        }
    }
    let of = |at: usize| subjects.get(at).map_or(f64::NAN, |(_, _, took)| median(took));
    Ok((of(0), of(1)))
}

fn memory(report: &mut Report, module: &Module) -> Result<()> {
    let mut workers = workers(module, &policies::snapshot_with_rules(1, 1000))?;
    let peak = |workers: &mut Workers| -> Result<f64> {
        let numbers: Vec<_> = workers.vms.keys().copied().collect();
        let mut peak = 0;
        for number in numbers {
            workers.vm(number).exchange(&head("GET"))?;
            peak = peak.max(workers.vm(number).memory_bytes());
        }
        #[allow(clippy::cast_precision_loss, reason = "a few million")]
        let peak = peak as f64 / MIB;
        Ok(peak)
    };
    let first = peak(&mut workers)?;
    for version in 2..=20 {
        workers.publish(&policies::snapshot_with_rules(version, 1000))?;
        workers.run(1000)?;
        peak(&mut workers)?;
    }
    report.note("linear memory of a VM, 1,000 rules, first snapshot", first, "MiB");
    report.target("linear memory of a VM, 1,000 rules, after 20 snapshots", peak(&mut workers)?, "MiB", 4.0);
    Ok(())
}
