//! `quiesce catalog`: what is known of products' operations.

use std::path::PathBuf;

use quiesce_policy::snapshot::{BodyProtocol, WriteKind};

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
                let effect = match (rule.effect, rule.body) {
                    (Some(effect), _) => effect.as_str().to_owned(),
                    (None, body) => format!("body:{}", body.map_or("", BodyProtocol::as_str)),
                };
                let kind = rule.kind.map_or("", WriteKind::as_str);
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
