//! The callbacks of the Proxy-Wasm ABI, handed on.
//!
//! Root contexts live in the SDK's dispatcher. Streams do not: it would look each one up in three
//! tables and box it, for every callback, which cost more than deciding about a request. So the
//! callbacks that streams have are exported here, under names that `xtask` puts in the place of the
//! SDK's; see there for the list. One that makes a context for a stream is not among them: what there
//! is to know of a stream is known by its number.

use std::{cell::RefCell, rc::Rc};

use proxy_wasm::{
    traits::{Context, RootContext},
    types::{Action, LogLevel},
};

use crate::{
    admission::{Admission, Body, admit},
    config::PluginConfig,
    host,
    learning::LEARNS,
    plugin::Plugin,
};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|root_id| Box::new(Root { root_id }));
}}

thread_local! {
    /// The root contexts of this VM.
    static ROOTS: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };

    /// The plugins of this VM, each with its root context. Envoy has one, and a second while a new
    /// configuration takes the place of an old one. Requests go to the last: the one configured last.
    /// (What they meet is the process's state, which all plugins share.)
    static PLUGINS: RefCell<Vec<(u32, Rc<Plugin>)>> = const { RefCell::new(Vec::new()) };
}

struct Root {
    root_id: u32,
}

impl Root {
    fn plugin(&self) -> Option<Rc<Plugin>> {
        PLUGINS.with_borrow(|plugins| {
            plugins.iter().find(|(root_id, _)| *root_id == self.root_id).map(|(_, plugin)| Rc::clone(plugin))
        })
    }

    /// Puts another plugin, or none, in the place of this root's; while writes that the old one counted
    /// are in flight, it is kept, before all others, to count them down.
    fn replace_plugin(&self, new: Option<Rc<Plugin>>) {
        PLUGINS.with_borrow_mut(|plugins| {
            let (old, mut kept): (Vec<_>, Vec<_>) =
                plugins.drain(..).partition(|(root_id, _)| *root_id == self.root_id);
            plugins.extend(old.into_iter().filter(|(_, plugin)| !plugin.in_flight.is_empty()));
            plugins.append(&mut kept);
            plugins.extend(new.map(|plugin| (self.root_id, plugin)));
        });
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body_bytes: usize, _trailers: usize) {
        if let Some(plugin) = self.plugin() {
            // Of a call that failed there is not even a header map, and asking for it traps in the SDK.
            plugin.on_response(token, (headers > 0).then_some(body_bytes));
        }
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, configuration_bytes: usize) -> bool {
        let started = PluginConfig::read(&host::plugin_configuration(configuration_bytes))
            .and_then(|config| Plugin::start(self.root_id, config));
        match started {
            Ok(plugin) => {
                self.replace_plugin(Some(plugin));
                true
            }
            Err(err) => {
                log::error!("plugin configuration: {err}");
                false
            }
        }
    }

    fn on_tick(&mut self) {
        if let Some(plugin) = self.plugin() {
            plugin.tick();
        }
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        self.replace_plugin(None);
        ROOTS.with_borrow_mut(|roots| roots.retain(|root_id| *root_id != self.root_id));
    }
}

/// Notes a root context; says whether it is a new one.
fn on_root(root_id: u32) -> bool {
    ROOTS.with_borrow_mut(|roots| {
        let new = !roots.contains(&root_id);
        if new {
            roots.push(root_id);
        }
        new
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
    PLUGINS.with_borrow(|plugins| {
        let awaits = |plugin: &Plugin| plugin.awaited.borrow().size_bytes(context_id).is_some();
        let Some((_, plugin)) = plugins.iter().find(|(_, plugin)| awaits(plugin)) else {
            return Action::Continue;
        };
        if size_bytes > plugin.config.inspect_bodies.max_bytes {
            return go_on(plugin, context_id, Body::TooLong);
        }
        if !end_of_stream {
            plugin.awaited.borrow_mut().note(context_id, size_bytes);
            return Action::Pause;
        }
        let body = host::request_body(size_bytes);
        go_on(plugin, context_id, if body.len() == size_bytes { Body::Whole(&body) } else { Body::TooLong })
    })
}

/// The trailers of a request end its body.
fn on_request_trailers(context_id: u32) -> Action {
    let size_bytes = PLUGINS.with_borrow(|plugins| {
        plugins.iter().find_map(|(_, plugin)| plugin.awaited.borrow().size_bytes(context_id))
    });
    size_bytes.map_or(Action::Continue, |size_bytes| on_request_body(context_id, size_bytes, true))
}

fn go_on(plugin: &Plugin, context_id: u32, body: Body<'_>) -> Action {
    let admission = admit(plugin, context_id, &host::request_headers(), body);
    if let Admission::Awaited = admission {
        plugin.awaited.borrow_mut().note(context_id, 0);
    } else if !matches!(body, Body::ToCome) {
        plugin.awaited.borrow_mut().remove(context_id);
    }
    match admission {
        Admission::Passed => Action::Continue,
        Admission::Awaited => Action::Pause,
        Admission::Answered(reply) => {
            host::reply(&reply);
            Action::Pause
        }
    }
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

/// Notes that a stream has ended, however it ended; says whether it was one.
fn on_stream_end(context_id: u32) -> bool {
    PLUGINS.with_borrow(|plugins| {
        for (_, plugin) in plugins {
            plugin.in_flight.leave(context_id);
            plugin.awaited.borrow_mut().remove(context_id);
            if LEARNS {
                plugin.listening.borrow_mut().on_end(context_id);
            }
        }
    });
    ROOTS.with_borrow(|roots| !roots.contains(&context_id))
}

/// What the host calls in place of the SDK's functions of the same purpose.
#[allow(unsafe_code, reason = "exported under names of their own, and calling the SDK's exports")]
mod exports {
    use super::{Action, LEARNS};

    unsafe extern "C" {
        safe fn proxy_on_context_create(context_id: u32, parent_id: u32);
        safe fn proxy_on_vm_start(root_id: u32, configuration_bytes: usize) -> bool;
        safe fn proxy_on_delete(context_id: u32);
    }

    /// The first that a host calls for a root context, if there is no callback for new contexts; and
    /// again, for one that it has already, when it starts a plugin that it had stopped.
    #[unsafe(export_name = "quiesce_on_vm_start")]
    extern "C" fn on_vm_start(root_id: u32, configuration_bytes: usize) -> bool {
        if super::on_root(root_id) {
            proxy_on_context_create(root_id, 0);
        }
        proxy_on_vm_start(root_id, configuration_bytes)
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
        if !super::on_stream_end(context_id) {
            proxy_on_delete(context_id);
        }
    }
}
