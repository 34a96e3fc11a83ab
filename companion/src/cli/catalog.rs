//! `quiesce catalog`: what is known of products' operations.

use std::path::PathBuf;

use super::{
    Context,
    error::{CliError, ErrorKind},
    output::DIM,
};
use crate::catalog::{CatalogError, CatalogFile, Catalogs};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the catalogs.
    List,
    /// Show one catalog, line by line.
    Show {
        /// The name of a built-in catalog, or a file.
        name: String,
    },
}

pub fn run(context: &Context, command: Command) -> Result<(), CliError> {
    match command {
        Command::List => {
            let catalogs = Catalogs::built_in()?;
            for CatalogFile { name, title, version, rules, .. } in catalogs.iter() {
                let name = name.as_str();
                context.printer.line(format!("{name:<14} {version:<12} {:>4} rules  {title}", rules.len()));
            }
            let list: Vec<_> = catalogs
                .iter()
                .map(|one| {
                    serde_json::json!({
                        "name": one.name, "title": one.title, "version": one.version,
                        "source": one.source, "rules": one.rules.len(),
                    })
                })
                .collect();
            context.printer.document(&list)
        }
        Command::Show { name } => {
            let file = PathBuf::from(&name);
            let catalogs =
                if file.is_file() { Catalogs::with_files(&[file])? } else { Catalogs::built_in()? };
            let shown = catalogs.iter().find(|one| one.name.as_str() == name).or_else(|| {
                let built_in = Catalogs::built_in().ok()?;
                catalogs.iter().find(|one| built_in.get(one.name.as_str()).is_none())
            });
            let catalog = shown.ok_or_else(|| {
                CliError::new(ErrorKind::NotFound, format!("there is no catalog `{name}`"))
                    .hint("`quiesce catalog list` lists them; a file of your own is shown by its path")
            })?;
            context.printer.line(format!("{} {} ({})", catalog.title, catalog.version, catalog.name));
            for source in catalog.source.all() {
                context.printer.line(format!("{DIM}{source}{DIM:#}"));
            }
            for (at, rule) in catalog.rules.iter().enumerate() {
                let said = |value: Option<serde_json::Value>| {
                    value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
                };
                let effect = rule.effect.and_then(|effect| serde_json::to_value(effect).ok());
                let body = rule.body.and_then(|body| serde_json::to_value(body).ok());
                let kind = said(rule.kind.and_then(|kind| serde_json::to_value(kind).ok()));
                let effect =
                    effect.map_or_else(|| format!("body:{}", said(body)), |effect| said(Some(effect)));
                context.printer.line(format!("{at:>4}  {effect:<12} {kind:<18} {rule}"));
            }
            context.printer.document(catalog)
        }
    }
}

impl From<CatalogError> for CliError {
    fn from(error: CatalogError) -> Self {
        CliError::new(ErrorKind::BadInput, error.to_string())
    }
}
