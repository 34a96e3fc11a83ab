//! Host calls on what all VMs of a process share: shared data and metrics.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use wasmtime::{Linker, Result, bail, ensure, format_err};

use super::{Host, enter};
use crate::host::{
    abi,
    memory::{hand_over, read, read_text, write},
    process::{Metric, MetricKind, lock},
    state::State,
};

pub(super) fn shared_data(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap(
        "env",
        "proxy_get_shared_data",
        |mut c: Host<'_>, key: u32, key_size: u32, value: u32, value_size: u32, cas: u32| -> Result<u32> {
            enter(&mut c, "proxy_get_shared_data")?;
            let key = read_text(&c, key, key_size)?;
            let Some((bytes, current)) = c.data().shared.get_data(&key) else {
                return Ok(abi::NOT_FOUND);
            };
            hand_over(&mut c, &bytes, value, value_size)?;
            write(&mut c, cas, &current.to_le_bytes())?;
            Ok(abi::OK)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_shared_data",
        |mut c: Host<'_>, key: u32, key_size: u32, value: u32, value_size: u32, cas: u32| -> Result<u32> {
            enter(&mut c, "proxy_set_shared_data")?;
            let key = read_text(&c, key, key_size)?;
            // Istio sets no `vm_id`, so that all of an Envoy's modules share one space.
            ensure!(
                key.starts_with("quiesce."),
                "the shared-data key `{key}` is not prefixed with `quiesce.`"
            );
            let value = read(&c, value, value_size)?;
            Ok(c.data().shared.set_data(key, value, cas))
        },
    )?;
    Ok(())
}

fn metric(state: &State, id: u32) -> Result<Arc<Metric>> {
    state.metrics.get(&id).cloned().ok_or_else(|| format_err!("metric {id} was never defined in this VM"))
}

pub(super) fn metrics(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap(
        "env",
        "proxy_define_metric",
        |mut c: Host<'_>, kind: u32, name: u32, name_size: u32, id_ptr: u32| -> Result<u32> {
            enter(&mut c, "proxy_define_metric")?;
            let name = read_text(&c, name, name_size)?;
            let Some(kind) = MetricKind::from_abi(kind) else { bail!("a metric of kind {kind}") };
            let state = c.data_mut();
            let metric = {
                let mut metrics = lock(&state.shared.metrics);
                let fresh = || Arc::new(Metric { kind, value: AtomicU64::new(0) });
                Arc::clone(metrics.entry(name.clone()).or_insert_with(fresh))
            };
            ensure!(metric.kind == kind, "the metric {name} is a {:?} elsewhere", metric.kind);
            let next = match kind {
                MetricKind::Counter => &mut state.next_counter,
                MetricKind::Gauge => &mut state.next_gauge,
            };
            *next += abi::METRIC_ID_INCREMENT;
            let id = *next;
            state.metrics.insert(id, metric);
            write(&mut c, id_ptr, &id.to_le_bytes())?;
            Ok(abi::OK)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_increment_metric",
        |mut c: Host<'_>, id: u32, by: i64| -> Result<u32> {
            enter(&mut c, "proxy_increment_metric")?;
            let metric = metric(c.data(), id)?;
            let counter = metric.kind == MetricKind::Counter;
            ensure!(!counter || by > 0, "a counter changed by {by}");
            let changed = metric
                .value
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |value| value.checked_add_signed(by));
            ensure!(changed.is_ok(), "a gauge at {} changed by {by}", metric.value.load(Ordering::SeqCst));
            Ok(abi::OK)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_record_metric",
        |mut c: Host<'_>, id: u32, value: u64| -> Result<u32> {
            enter(&mut c, "proxy_record_metric")?;
            let metric = metric(c.data(), id)?;
            ensure!(metric.kind == MetricKind::Gauge, "a counter set to {value}: Envoy would add it");
            metric.value.store(value, Ordering::SeqCst);
            Ok(abi::OK)
        },
    )?;
    linker.func_wrap("env", "proxy_get_metric", |mut c: Host<'_>, id: u32, ptr: u32| -> Result<u32> {
        enter(&mut c, "proxy_get_metric")?;
        let value = metric(c.data(), id)?.value.load(Ordering::SeqCst);
        write(&mut c, ptr, &value.to_le_bytes())?;
        Ok(abi::OK)
    })?;
    Ok(())
}
