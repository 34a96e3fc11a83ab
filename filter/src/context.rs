//! The callbacks of the Proxy-Wasm ABI, handed on.
//!
//! The module that ships exports only those that are implemented here; see `xtask` for the list.

use std::rc::Rc;

use proxy_wasm::{
    traits::{Context, HttpContext, RootContext},
    types::{Action, ContextType, LogLevel},
};

use crate::{
    admission::{Admission, admit},
    config::PluginConfig,
    host,
    in_flight::Counted,
    plugin::Plugin,
};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|root_id| Box::new(Root { root_id, plugin: None }));
}}

struct Root {
    root_id: u32,
    plugin: Option<Rc<Plugin>>,
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body_bytes: usize, _trailers: usize) {
        if let Some(plugin) = &self.plugin {
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
                self.plugin = Some(plugin);
                true
            }
            Err(err) => {
                log::error!("plugin configuration: {err}");
                false
            }
        }
    }

    fn on_tick(&mut self) {
        if let Some(plugin) = &self.plugin {
            plugin.tick();
        }
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { context_id, plugin: self.plugin.clone(), counted: None }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Stream {
    context_id: u32,
    plugin: Option<Rc<Plugin>>,
    counted: Option<Counted>,
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _headers: usize, _end_of_stream: bool) -> Action {
        let Some(plugin) = &self.plugin else { return Action::Pause };
        match admit(plugin, self.context_id, &host::request_headers()) {
            Admission::Passed(counted) => {
                self.counted = counted;
                Action::Continue
            }
            Admission::Answered(reply) => {
                host::reply(&reply);
                Action::Pause
            }
        }
    }
}
