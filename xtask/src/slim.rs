//! Drops from a compiled module what the filter has no use for.
//!
//! The SDK exports every callback there is, and Envoy enters the VM for each one that a module
//! exports, at roughly a microsecond a time. A callback that is not exported costs nothing.

use anyhow::{Context, Result, bail};
use walrus::{ExportId, ModuleConfig};

/// What the shipped module exports, as the compiler's module calls it, and why. Everything else goes,
/// and all that only it reached.
pub const KEPT: &[Kept] = &[
    kept("memory", "the host reads and writes the filter's data through it"),
    kept("_initialize", "the host calls it first; it makes logging work"),
    kept("proxy_abi_version_0_2_1", "tells the host which ABI this is; without it the module is refused"),
    kept("malloc", "the host allocates what its calls return: `proxy_on_memory_allocate` on this target"),
    renamed("quiesce_on_configure", "proxy_on_configure", "reads the plugin configuration, and starts"),
    renamed(
        "quiesce_on_tick",
        "proxy_on_tick",
        "the leader's lease, its reports, and windows that start or lapse",
    ),
    renamed(
        "quiesce_on_http_call_response",
        "proxy_on_http_call_response",
        "the answer to a sync, or to a write that is to be kept",
    ),
    renamed("quiesce_on_request_headers", "proxy_on_request_headers", "where a request is decided"),
    renamed("quiesce_on_request_body", "proxy_on_request_body", "where bodies are inspected"),
    renamed("quiesce_on_request_trailers", "proxy_on_request_trailers", "the end of some of those bodies"),
    renamed(
        "quiesce_on_delete",
        "proxy_on_delete",
        "the end of a request however it ends: the in-flight count falls here",
    ),
];

/// What the module that learns from answers exports besides.
pub const KEPT_TO_LEARN: &[Kept] = &[
    renamed("quiesce_on_response_headers", "proxy_on_response_headers", "whether an answer may teach"),
    renamed("quiesce_on_response_body", "proxy_on_response_body", "what it teaches"),
];

/// One export that ships.
pub struct Kept {
    compiled: &'static str,
    shipped: &'static str,
    why: &'static str,
}

const fn kept(name: &'static str, why: &'static str) -> Kept {
    renamed(name, name, why)
}

/// Of a callback that the SDK exports too, and the filter has its own of.
const fn renamed(compiled: &'static str, shipped: &'static str, why: &'static str) -> Kept {
    Kept { compiled, shipped, why }
}

/// The module with only these exports, without what has become unreachable and without custom sections
/// (names, producers, target features).
pub fn slim(wasm: &[u8], tables: &[&'static [Kept]]) -> Result<Vec<u8>> {
    let all = || tables.iter().copied().flatten();
    let mut module = ModuleConfig::new()
        .generate_name_section(false)
        .generate_producers_section(false)
        .parse(wasm)
        .context("the compiler's module does not parse")?;

    for Kept { compiled, why, .. } in all() {
        if !module.exports.iter().any(|export| export.name == *compiled) {
            bail!(
                "the module does not export `{compiled}` ({why}); mend the filter, or the table in xtask/src/slim.rs"
            );
        }
    }
    let dropped: Vec<ExportId> = module
        .exports
        .iter()
        .filter(|export| !all().any(|kept| export.name == kept.compiled))
        .map(|export| export.id())
        .collect();
    for export in dropped {
        module.exports.delete(export);
    }
    for export in module.exports.iter_mut() {
        if let Some(kept) = all().find(|kept| export.name == kept.compiled) {
            kept.shipped.clone_into(&mut export.name);
        }
    }
    let sections: Vec<_> = module.customs.iter().map(|(id, _)| id).collect();
    for section in sections {
        module.customs.delete(section);
    }
    walrus::passes::gc::run(&mut module);
    Ok(module.emit_wasm())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module that exports one function by each of `names`, besides a memory.
    fn module_exporting(names: &[&str]) -> Vec<u8> {
        let mut module = walrus::Module::default();
        let memory = module.memories.add_local(false, false, 1, None, None);
        module.exports.add("memory", memory);
        for name in names {
            let builder = walrus::FunctionBuilder::new(&mut module.types, &[], &[]);
            let function = builder.finish(vec![], &mut module.funcs);
            module.exports.add(name, function);
        }
        module.customs.add(walrus::RawCustomSection { name: "left-over".into(), data: vec![1, 2, 3] });
        module.emit_wasm()
    }

    #[test]
    fn keeps_what_the_tables_name_and_nothing_else() {
        for tables in [&[KEPT][..], &[KEPT, KEPT_TO_LEARN]] {
            let both = [KEPT, KEPT_TO_LEARN].into_iter().flatten();
            let mut names: Vec<&str> = both.map(|kept| kept.compiled).filter(|n| *n != "memory").collect();
            names.extend(["proxy_on_log", "proxy_on_request_headers"]);

            let module =
                walrus::Module::from_buffer(&slim(&module_exporting(&names), tables).unwrap()).unwrap();

            let exported: Vec<_> = module.exports.iter().map(|export| export.name.as_str()).collect();
            let kept: Vec<_> = tables.iter().copied().flatten().map(|kept| kept.shipped).collect();
            assert_eq!(exported, kept);
            assert_eq!(module.funcs.iter().count(), kept.len() - 1, "unreachable functions are gone");
            assert_eq!(module.customs.iter().count(), 0, "custom sections are gone");
        }
    }

    #[test]
    fn says_which_export_is_missing() {
        let error = slim(&module_exporting(&["_initialize"]), &[KEPT]).unwrap_err().to_string();
        assert!(error.contains("`proxy_abi_version_0_2_1`"), "{error}");
    }
}
