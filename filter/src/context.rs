//! The callbacks of the Proxy-Wasm ABI, handed on.
//!
//! The SDK's dispatcher looks a context up in three tables and boxes it, for every callback, which cost more
//! than deciding about a request. So the callbacks are exported here, under names that `xtask` puts in the
//! place of the SDK's; see there for the list. None that makes a context is among them: what there is to
//! know of a stream or of a plugin is known by its number.

use std::{cell::RefCell, rc::Rc};

use proxy_wasm::types::{Action, LogLevel};

use crate::{
    admission::{Admission, Body, admit, hand_on},
    config::PluginConfig,
    host, intents,
    learning::LEARNS,
    plugin::Plugin,
    waiting::WaitsFor,
};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
}}

thread_local! {
    /// The plugins of this VM, each with its root context. Envoy has one, and a second while a new
    /// configuration takes the place of an old one. Requests go to the last: the one configured last.
    /// (What they meet is the process's state, which all plugins share.)
    static PLUGINS: RefCell<Vec<(u32, Rc<Plugin>)>> = const { RefCell::new(Vec::new()) };
}

/// The plugin of a root context.
fn plugin_of(root_id: u32) -> Option<Rc<Plugin>> {
    PLUGINS.with_borrow(|plugins| {
        plugins.iter().find(|(id, _)| *id == root_id).map(|(_, plugin)| Rc::clone(plugin))
    })
}

/// Puts another plugin, or none, in the place of a root's; while there are streams that the old one counted
/// or holds, it is kept, before all others, to see to them.
fn replace_plugin(root_id: u32, new: Option<Rc<Plugin>>) {
    PLUGINS.with_borrow_mut(|plugins| {
        let (old, mut kept): (Vec<_>, Vec<_>) = plugins.drain(..).partition(|(id, _)| *id == root_id);
        plugins.extend(old.into_iter().filter(|(_, plugin)| plugin.has_streams()));
        plugins.append(&mut kept);
        plugins.extend(new.map(|plugin| (root_id, plugin)));
    });
}

fn on_configure(root_id: u32, configuration_bytes: usize) -> bool {
    let started = PluginConfig::read(&host::plugin_configuration(configuration_bytes))
        .and_then(|config| Plugin::start(root_id, config));
    match started {
        Ok(plugin) => {
            replace_plugin(root_id, Some(plugin));
            true
        }
        Err(err) => {
            log::error!("plugin configuration: {err}");
            false
        }
    }
}

fn on_tick(root_id: u32) {
    if let Some(plugin) = plugin_of(root_id) {
        plugin.tick();
    }
}

/// The answer to a call, without a body if it failed. The host has a root context take in those of streams
/// as well, which may have ended meanwhile.
fn on_http_call_response(root_id: u32, token: u32, body_bytes: Option<usize>) {
    let asked = PLUGINS.with_borrow(|plugins| {
        plugins.iter().find_map(|(_, plugin)| {
            let context_id = plugin.waiting.borrow_mut().take_answered(token)?;
            Some((Rc::clone(plugin), context_id))
        })
    });
    if let Some((plugin, context_id)) = asked {
        let answer = intents::answer(body_bytes.unwrap_or(0));
        host::within(context_id, root_id, || host::reply(&hand_on(&plugin, context_id, answer)));
    } else if let Some(plugin) = plugin_of(root_id) {
        plugin.on_response(token, body_bytes);
    }
}

/// The plugin that holds a stream, and what it waits for.
fn waiting(context_id: u32) -> Option<(Rc<Plugin>, WaitsFor)> {
    PLUGINS.with_borrow(|plugins| {
        plugins.iter().find_map(|(_, plugin)| {
            let waits_for = plugin.waiting.borrow().get(context_id)?;
            Some((Rc::clone(plugin), waits_for))
        })
    })
}

fn on_request_headers(context_id: u32, end_of_stream: bool) -> Action {
    PLUGINS.with_borrow(|plugins| {
        let Some((_, plugin)) = plugins.last() else { return Action::Pause };
        let body = if end_of_stream { Body::Whole(&[]) } else { Body::ToCome };
        go_on(plugin, context_id, body)
    })
}

/// More of the request's body has come, or its end. Bodies that nobody waits for pass untouched.
fn on_request_body(context_id: u32, size_bytes: usize, end_of_stream: bool) -> Action {
    let Some((plugin, waits_for)) = waiting(context_id) else { return Action::Continue };
    let WaitsFor::Body { max_bytes, .. } = waits_for else { return Action::Pause };
    if size_bytes > max_bytes {
        return go_on(&plugin, context_id, Body::TooLong);
    }
    if !end_of_stream {
        plugin.waiting.borrow_mut().set(context_id, WaitsFor::Body { size_bytes, max_bytes });
        return Action::Pause;
    }
    let body = host::request_body(size_bytes);
    go_on(&plugin, context_id, if body.len() == size_bytes { Body::Whole(&body) } else { Body::TooLong })
}

/// The trailers of a request end its body.
fn on_request_trailers(context_id: u32) -> Action {
    match waiting(context_id) {
        None => Action::Continue,
        Some((_, WaitsFor::Answer { .. })) => Action::Pause,
        Some((_, WaitsFor::Body { size_bytes, .. })) => on_request_body(context_id, size_bytes, true),
    }
}

fn go_on(plugin: &Plugin, context_id: u32, body: Body<'_>) -> Action {
    let admission = admit(plugin, context_id, &host::request_headers(), body);
    let waits_for = match admission {
        Admission::Awaited { max_bytes } => Some(WaitsFor::Body { size_bytes: 0, max_bytes }),
        Admission::Asked { token } => Some(WaitsFor::Answer { token }),
        Admission::Passed | Admission::Answered(_) => None,
    };
    match waits_for {
        Some(waits_for) => plugin.waiting.borrow_mut().set(context_id, waits_for),
        None if matches!(body, Body::ToCome) => {}
        None => plugin.waiting.borrow_mut().remove(context_id),
    }
    match admission {
        Admission::Passed => return Action::Continue,
        Admission::Answered(reply) => host::reply(&reply),
        Admission::Awaited { .. } | Admission::Asked { .. } => {}
    }
    Action::Pause
}

/// The head of an answer has come.
fn on_response_headers(context_id: u32, end_of_stream: bool) {
    PLUGINS.with_borrow(|plugins| {
        for (_, plugin) in plugins {
            plugin.listening.borrow_mut().on_headers(context_id, end_of_stream);
        }
    });
}

/// A part of an answer has come.
fn on_response_body(context_id: u32, size_bytes: usize, end_of_stream: bool) {
    PLUGINS.with_borrow(|plugins| {
        for (_, plugin) in plugins {
            plugin.listening.borrow_mut().on_part(context_id, size_bytes, end_of_stream);
        }
    });
}

/// Notes that a context has ended: a stream, however it ended, or the root of a plugin.
fn on_delete(context_id: u32) {
    let is_root = PLUGINS.with_borrow(|plugins| {
        for (_, plugin) in plugins {
            plugin.in_flight.leave(context_id);
            plugin.waiting.borrow_mut().remove(context_id);
            if LEARNS {
                plugin.listening.borrow_mut().on_end(context_id);
            }
        }
        plugins.iter().any(|(root_id, _)| *root_id == context_id)
    });
    if is_root {
        replace_plugin(context_id, None);
    }
}

/// What the host calls in place of the SDK's functions of the same purpose.
#[allow(unsafe_code, reason = "exported under names of their own")]
mod exports {
    use super::{Action, LEARNS};

    #[unsafe(export_name = "quiesce_on_configure")]
    extern "C" fn on_configure(root_id: u32, configuration_bytes: usize) -> bool {
        super::on_configure(root_id, configuration_bytes)
    }

    #[unsafe(export_name = "quiesce_on_tick")]
    extern "C" fn on_tick(root_id: u32) {
        super::on_tick(root_id);
    }

    /// Of a call that failed there are no headers.
    #[unsafe(export_name = "quiesce_on_http_call_response")]
    extern "C" fn on_http_call_response(
        context_id: u32,
        token: u32,
        headers: usize,
        body_bytes: usize,
        _trailers: usize,
    ) {
        super::on_http_call_response(context_id, token, (headers > 0).then_some(body_bytes));
    }

    #[unsafe(export_name = "quiesce_on_request_headers")]
    extern "C" fn on_request_headers(context_id: u32, _headers: usize, end_of_stream: bool) -> Action {
        super::on_request_headers(context_id, end_of_stream)
    }

    #[unsafe(export_name = "quiesce_on_request_body")]
    extern "C" fn on_request_body(context_id: u32, size_bytes: usize, end_of_stream: bool) -> Action {
        super::on_request_body(context_id, size_bytes, end_of_stream)
    }

    #[unsafe(export_name = "quiesce_on_request_trailers")]
    extern "C" fn on_request_trailers(context_id: u32, _trailers: usize) -> Action {
        super::on_request_trailers(context_id)
    }

    /// Only the module that learns ships this and the next: without learning they would do nothing.
    #[unsafe(export_name = "quiesce_on_response_headers")]
    extern "C" fn on_response_headers(context_id: u32, _headers: usize, end_of_stream: bool) -> Action {
        if LEARNS {
            super::on_response_headers(context_id, end_of_stream);
        }
        Action::Continue
    }

    #[unsafe(export_name = "quiesce_on_response_body")]
    extern "C" fn on_response_body(context_id: u32, size_bytes: usize, end_of_stream: bool) -> Action {
        if LEARNS {
            super::on_response_body(context_id, size_bytes, end_of_stream);
        }
        Action::Continue
    }

    #[unsafe(export_name = "quiesce_on_delete")]
    extern "C" fn on_delete(context_id: u32) {
        super::on_delete(context_id);
    }
}
