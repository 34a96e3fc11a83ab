//! The host calls: `env.proxy_*` of ABI 0.2.1, as many as a filter of ours may use.

mod process_wide;

use std::sync::Arc;

use wasmtime::{Caller, Engine, Linker, Module, Result, bail, ensure};

use super::{
    abi,
    memory::{Pairs, first, hand_over, marshal, read, read_text, unmarshal, write},
    state::{Action, HttpCall, LocalResponse, LogLine, Phase, ROOT, State},
};

type Host<'a> = Caller<'a, State>;

/// Counts the call and lets the test act before it.
fn enter(caller: &mut Host<'_>, name: &'static str) -> Result<()> {
    let state = caller.data_mut();
    ensure!(state.phase != Phase::Start, "{name} while the module is being initialised");
    *state.usage.host_calls.entry(name).or_default() += 1;
    let (shared, number) = (Arc::clone(&state.shared), state.number);
    shared.before_host_call(number, name);
    Ok(())
}

/// Of the ABI's host calls, those that ours have no use for. The SDK imports most of them whatever a
/// module does; whoever calls one fails the test.
const UNUSED: [&str; 14] = [
    "proxy_get_status",
    "proxy_set_property",
    "proxy_register_shared_queue",
    "proxy_resolve_shared_queue",
    "proxy_dequeue_shared_queue",
    "proxy_enqueue_shared_queue",
    "proxy_set_header_map_pairs",
    "proxy_set_buffer_bytes",
    "proxy_grpc_call",
    "proxy_grpc_stream",
    "proxy_grpc_close",
    "proxy_grpc_cancel",
    "proxy_grpc_send",
    "proxy_call_foreign_function",
];

/// All host calls, ready to link with `module`.
pub(super) fn linker(engine: &Engine, module: &Module) -> Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    general(&mut linker)?;
    headers_and_buffers(&mut linker)?;
    streams(&mut linker)?;
    process_wide::shared_data(&mut linker)?;
    process_wide::metrics(&mut linker)?;
    for import in module.imports().filter(|import| import.module() == "env") {
        let unused = UNUSED.iter().find(|name| **name == import.name()).zip(import.ty().func().cloned());
        if let Some((name, ty)) = unused {
            linker.func_new("env", name, ty, move |_, _, _| bail!("{name} is called"))?;
        }
    }
    Ok(linker)
}

fn general(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap(
        "env",
        "proxy_log",
        |mut c: Host<'_>, level: u32, ptr: u32, size: u32| -> Result<u32> {
            *c.data_mut().usage.host_calls.entry("proxy_log").or_default() += 1;
            let message = read_text(&c, ptr, size)?;
            ensure!(level <= 5, "log level {level}");
            c.data_mut().log.push(LogLine { level, message });
            Ok(abi::OK)
        },
    )?;
    linker.func_wrap("env", "proxy_get_log_level", |mut c: Host<'_>, level_ptr: u32| -> Result<u32> {
        enter(&mut c, "proxy_get_log_level")?;
        write(&mut c, level_ptr, &2_u32.to_le_bytes())?;
        Ok(abi::OK)
    })?;
    linker.func_wrap(
        "env",
        "proxy_get_current_time_nanoseconds",
        |mut c: Host<'_>, ptr: u32| -> Result<u32> {
            enter(&mut c, "proxy_get_current_time_nanoseconds")?;
            let now = c.data().shared.clock_ns();
            write(&mut c, ptr, &now.to_le_bytes())?;
            Ok(abi::OK)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_tick_period_milliseconds",
        |mut c: Host<'_>, period: u32| -> Result<u32> {
            enter(&mut c, "proxy_set_tick_period_milliseconds")?;
            c.data_mut().tick_period_ms = period;
            Ok(abi::OK)
        },
    )?;
    linker.func_wrap("env", "proxy_set_effective_context", |mut c: Host<'_>, id: u32| -> Result<u32> {
        enter(&mut c, "proxy_set_effective_context")?;
        if id != ROOT && !c.data().streams.contains_key(&id) {
            return Ok(abi::BAD_ARGUMENT);
        }
        c.data_mut().effective = Some(id);
        Ok(abi::OK)
    })?;
    linker.func_wrap("env", "proxy_done", |mut c: Host<'_>| -> Result<u32> {
        enter(&mut c, "proxy_done")?;
        bail!("proxy_done though no context waits for it");
    })?;
    linker.func_wrap(
        "env",
        "proxy_get_property",
        |mut c: Host<'_>, path: u32, path_size: u32, value: u32, value_size: u32| -> Result<u32> {
            enter(&mut c, "proxy_get_property")?;
            // Segments are separated by NUL: `xds\0node\0id`.
            let path = read_text(&c, path, path_size)?.replace('\0', ".");
            let state = c.data_mut();
            let of_stream = state.stream().and_then(|stream| stream.properties.get(&path).cloned());
            match of_stream.or_else(|| state.shared.properties.get(&path).cloned()) {
                Some(bytes) => hand_over(&mut c, &bytes, value, value_size).map(|()| abi::OK),
                None => Ok(abi::NOT_FOUND),
            }
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_http_call",
        |mut c: Host<'_>,
         cluster: u32,
         cluster_size: u32,
         headers: u32,
         headers_size: u32,
         body: u32,
         body_size: u32,
         trailers: u32,
         trailers_size: u32,
         timeout_ms: u32,
         token_ptr: u32|
         -> Result<u32> {
            enter(&mut c, "proxy_http_call")?;
            let cluster = read_text(&c, cluster, cluster_size)?;
            let headers = unmarshal(&read(&c, headers, headers_size)?)?;
            let body = read(&c, body, body_size)?;
            ensure!(unmarshal(&read(&c, trailers, trailers_size)?)?.is_empty(), "an HTTP call with trailers");
            for name in [":method", ":path", ":authority"] {
                ensure!(first(&headers, name).is_some(), "an HTTP call without {name}");
            }
            if !c.data().shared.clusters.contains(&cluster) {
                write(&mut c, token_ptr, &0_u32.to_le_bytes())?;
                return Ok(abi::BAD_ARGUMENT);
            }
            let state = c.data_mut();
            let token = state.next_token;
            state.next_token += 1;
            state.calls.insert(token, HttpCall { token, cluster, headers, body, timeout_ms });
            write(&mut c, token_ptr, &token.to_le_bytes())?;
            Ok(abi::OK)
        },
    )?;
    Ok(())
}

/// The header map of that number, if the running callback has it. Maps it never may have are an error.
fn header_map(state: &mut State, map: u32) -> Result<Option<Pairs>> {
    let phase = state.phase;
    match map {
        abi::MAP_REQUEST_HEADERS => {
            let Some(stream) = state.stream() else {
                bail!("request headers outside a stream, in {phase:?}")
            };
            // Envoy forgets them once the headers have been passed on; an access log has them again.
            let here = stream.has_request_headers || phase == Phase::Log;
            ensure!(here, "request headers in {phase:?}, after they have been passed on");
            Ok(Some(stream.request_headers.clone()))
        }
        abi::MAP_RESPONSE_HEADERS => {
            let Some(stream) = state.stream() else {
                bail!("response headers outside a stream, in {phase:?}")
            };
            let here = matches!(phase, Phase::ResponseHeaders | Phase::Log);
            ensure!(here, "response headers in {phase:?}");
            Ok(Some(stream.response_headers.clone()))
        }
        abi::MAP_CALL_RESPONSE_HEADERS | abi::MAP_CALL_RESPONSE_TRAILERS => {
            ensure!(phase == Phase::CallResponse, "the answer of an HTTP call in {phase:?}");
            let response = state.call_response.as_ref();
            Ok(response.filter(|_| map == abi::MAP_CALL_RESPONSE_HEADERS).map(|(headers, _)| headers.clone()))
        }
        other => bail!("header map {other} in {phase:?}"),
    }
}

fn headers_and_buffers(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap(
        "env",
        "proxy_get_header_map_pairs",
        |mut c: Host<'_>, map: u32, ptr: u32, size: u32| -> Result<u32> {
            enter(&mut c, "proxy_get_header_map_pairs")?;
            match header_map(c.data_mut(), map)? {
                Some(pairs) => hand_over(&mut c, &marshal(&pairs)?, ptr, size).map(|()| abi::OK),
                None => Ok(abi::BAD_ARGUMENT),
            }
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_header_map_value",
        |mut c: Host<'_>, map: u32, key: u32, key_size: u32, value: u32, value_size: u32| -> Result<u32> {
            enter(&mut c, "proxy_get_header_map_value")?;
            let key = read_text(&c, key, key_size)?;
            let Some(pairs) = header_map(c.data_mut(), map)? else {
                return Ok(abi::BAD_ARGUMENT);
            };
            match first(&pairs, &key) {
                Some(bytes) => hand_over(&mut c, bytes, value, value_size).map(|()| abi::OK),
                None => Ok(abi::NOT_FOUND),
            }
        },
    )?;
    for name in ["proxy_add_header_map_value", "proxy_replace_header_map_value"] {
        linker.func_wrap(
            "env",
            name,
            move |mut c: Host<'_>, map: u32, key: u32, key_size: u32, value: u32, size: u32| -> Result<u32> {
                enter(&mut c, name)?;
                let key = read_text(&c, key, key_size)?.to_ascii_lowercase();
                let value = read(&c, value, size)?;
                header_map(c.data_mut(), map)?;
                let Some(stream) = c.data_mut().stream() else { bail!("{name} outside a stream") };
                let pairs = match map {
                    abi::MAP_REQUEST_HEADERS => &mut stream.request_headers,
                    abi::MAP_RESPONSE_HEADERS => &mut stream.response_headers,
                    other => bail!("{name} on header map {other}"),
                };
                if name == "proxy_replace_header_map_value" {
                    pairs.retain(|(one, _)| *one != key);
                }
                pairs.push((key, value));
                Ok(abi::OK)
            },
        )?;
    }
    linker.func_wrap(
        "env",
        "proxy_remove_header_map_value",
        |mut c: Host<'_>, map: u32, key: u32, key_size: u32| -> Result<u32> {
            enter(&mut c, "proxy_remove_header_map_value")?;
            let key = read_text(&c, key, key_size)?.to_ascii_lowercase();
            header_map(c.data_mut(), map)?;
            let Some(stream) = c.data_mut().stream() else { bail!("a header removed outside a stream") };
            match map {
                abi::MAP_REQUEST_HEADERS => stream.request_headers.retain(|(one, _)| *one != key),
                abi::MAP_RESPONSE_HEADERS => stream.response_headers.retain(|(one, _)| *one != key),
                other => bail!("a header removed from header map {other}"),
            }
            Ok(abi::OK)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_buffer_bytes",
        |mut c: Host<'_>, buffer: u32, start: u32, length: u32, ptr: u32, size: u32| -> Result<u32> {
            enter(&mut c, "proxy_get_buffer_bytes")?;
            let state = c.data_mut();
            let phase = state.phase;
            let bytes = match (buffer, phase) {
                (abi::BUFFER_VM_CONFIGURATION, Phase::VmStart) => Vec::new(),
                (abi::BUFFER_PLUGIN_CONFIGURATION, Phase::Configure) => state.configuration.clone(),
                (abi::BUFFER_CALL_RESPONSE_BODY, Phase::CallResponse) => match &state.call_response {
                    Some((_, body)) => body.clone(),
                    None => return Ok(abi::NOT_FOUND),
                },
                (abi::BUFFER_REQUEST_BODY, Phase::RequestBody)
                | (abi::BUFFER_RESPONSE_BODY, Phase::ResponseBody) => {
                    state.stream().map(|stream| stream.body.clone()).unwrap_or_default()
                }
                _ => bail!("buffer {buffer} in {phase:?}"),
            };
            let start = usize::try_from(start)?.min(bytes.len());
            let end = start.saturating_add(usize::try_from(length)?).min(bytes.len());
            hand_over(&mut c, bytes.get(start..end).unwrap_or_default(), ptr, size)?;
            Ok(abi::OK)
        },
    )?;
    Ok(())
}

fn streams(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap("env", "proxy_continue_stream", |mut c: Host<'_>, kind: u32| -> Result<u32> {
        enter(&mut c, "proxy_continue_stream")?;
        ensure!(matches!(kind, abi::STREAM_REQUEST | abi::STREAM_RESPONSE), "stream type {kind}");
        let Some(stream) = c.data_mut().stream() else { bail!("proxy_continue_stream outside a stream") };
        stream.paused = false;
        stream.has_request_headers = false;
        Ok(abi::OK)
    })?;
    linker.func_wrap("env", "proxy_close_stream", |mut c: Host<'_>, kind: u32| -> Result<u32> {
        enter(&mut c, "proxy_close_stream")?;
        ensure!(matches!(kind, abi::STREAM_REQUEST | abi::STREAM_RESPONSE), "stream type {kind}");
        let state = c.data_mut();
        let id = state.context();
        ensure!(state.streams.contains_key(&id), "proxy_close_stream outside a stream");
        state.actions.push(Action::Close(id));
        Ok(abi::OK)
    })?;
    linker.func_wrap(
        "env",
        "proxy_send_local_response",
        |mut c: Host<'_>,
         status: u32,
         details: u32,
         details_size: u32,
         body: u32,
         body_size: u32,
         headers: u32,
         headers_size: u32,
         _grpc_status: u32|
         -> Result<u32> {
            enter(&mut c, "proxy_send_local_response")?;
            let details = read_text(&c, details, details_size)?;
            let body = read(&c, body, body_size)?;
            let headers = unmarshal(&read(&c, headers, headers_size)?)?
                .into_iter()
                .map(|(name, value)| Ok((name, String::from_utf8(value)?)))
                .collect::<Result<_>>()?;
            let state = c.data_mut();
            let (id, phase) = (state.context(), state.phase);
            let Some(stream) = state.stream() else { bail!("proxy_send_local_response outside a stream") };
            ensure!(stream.local.is_none(), "a second local response on stream {id}");
            ensure!(
                !matches!(phase, Phase::Log | Phase::Done | Phase::Delete),
                "a local response in {phase:?}"
            );
            stream.local = Some(LocalResponse { status, details, headers, body });
            state.actions.push(Action::Answer(id));
            Ok(abi::OK)
        },
    )?;
    Ok(())
}
