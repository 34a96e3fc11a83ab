//! `quiesce envoy`: what is put into Envoy.

use std::{collections::BTreeMap, path::PathBuf};

use super::{
    Context,
    error::{CliError, ErrorKind},
};
use crate::{
    config::Config,
    envoy::{Filter, Plugin, UnderscoreHeaders},
    lean::Lean,
    yaml::Yaml,
};

/// What stands for the token where none is given, as in `envoy/envoy.yaml`.
const NO_TOKEN: &str = "change-me-sync-token";

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Print the HTTP filter to put into a listener, just before the router.
    Filter(Args),
}

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Whether the filter sees every request.
    #[arg(long, value_enum, default_value_t)]
    profile: Profile,
    /// For whom.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// The companion's configuration, whose rules decide what a lean filter skips, and whose surfaces
    /// whether the module that learns is needed.
    #[arg(long, value_name = "FILE", required_if_eq("profile", "lean"))]
    config: Option<PathBuf>,
    /// What the connection manager does with headers that have `_` in their names, which origins may take for those
    /// with `-` that override the method. Unless they are allowed, a lean filter need not look for them, which
    /// makes it cheaper. An EnvoyFilter sets this; for a listener of your own you do.
    #[arg(long, value_name = "ACTION", value_enum, default_value_t)]
    underscore_headers: UnderscoreHeaders,
    /// The module, where Envoy finds it [default: /etc/envoy/quiesce_filter.wasm, or
    /// /etc/quiesce/quiesce_filter.wasm in an EnvoyFilter; quiesce_filter_learning.wasm there, if a surface
    /// of the configuration says `learn_tools`].
    #[arg(long, value_name = "PATH")]
    wasm: Option<String>,
    /// Envoy's cluster of the companion.
    #[arg(long, value_name = "NAME", default_value = "quiesce")]
    cluster: String,
    /// Where the companion is, for the cluster that an EnvoyFilter makes; it makes none if --cluster names
    /// one of Istio's own, such as 'outbound|7423||quiesce.quiesce.svc.cluster.local'.
    #[arg(long, value_name = "HOST:PORT", default_value = "quiesce.quiesce.svc.cluster.local:7423")]
    #[arg(value_parser = host_and_port)]
    companion: (String, u16),
    /// A label of the enforcers, which `quiesce freeze --scope` selects by.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// A file that holds the token of role sync; without it, QUIESCE_SYNC_TOKEN in the environment does, and
    /// without that you put it in place of `change-me-sync-token`.
    #[arg(long, value_name = "FILE")]
    sync_token_file: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
A lean filter is made from the rules of a configuration and knows nothing of later ones: where rules \
come to call a GET a write, print it anew and roll it out before the companion has them.";

/// Whether the filter sees every request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Profile {
    /// It sees all, and counts reads too.
    #[default]
    Full,
    /// Envoy keeps from it what cannot be a write by the configuration's rules.
    Lean,
}

/// For whom the filter is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// An item of `http_filters`.
    #[default]
    Envoy,
    /// A resource of Istio.
    Envoyfilter,
}

pub fn run(context: &Context, command: Command) -> Result<(), CliError> {
    let Command::Filter(args) = command;
    let config = args.config.as_deref().map(Config::read).transpose()?;
    let lean = match (args.profile, &config) {
        (Profile::Lean, Some(config)) => Some(Lean::of(&config.snapshot()?.0, args.underscore_headers)),
        (Profile::Lean, None) | (Profile::Full, _) => None,
    };
    let learning: Vec<_> = config.iter().flat_map(Config::learning).collect();
    let filter = filter(&args, lean, !learning.is_empty())?;
    let document = match args.format {
        Format::Envoy => filter.http_filter().map(|filter| Yaml::List(vec![filter])),
        Format::Envoyfilter => {
            let (host, port) = &args.companion;
            filter.envoy_filter((!args.cluster.contains('|')).then_some((host.as_str(), *port)))
        }
    }
    .map_err(CliError::internal)?;
    let remarks = remarks(&filter, args.format, &learning);
    context.printer.line(format!("{remarks}{}", document.document().trim_end()));
    context.printer.document(&document)
}

fn filter(args: &Args, lean: Option<Lean>, learns: bool) -> Result<Filter, CliError> {
    let wasm = args.wasm.clone().unwrap_or_else(|| {
        let directory = match args.format {
            Format::Envoy => "/etc/envoy",
            Format::Envoyfilter => "/etc/quiesce",
        };
        let module = if learns { "quiesce_filter_learning" } else { "quiesce_filter" };
        format!("{directory}/{module}.wasm")
    });
    let mut labels = BTreeMap::new();
    for (key, value) in &args.labels {
        if labels.insert(key.clone(), value.clone()).is_some() {
            let problem = format!("--label {key} is given twice; an enforcer has one value for a key");
            return Err(CliError::new(ErrorKind::BadInput, problem));
        }
    }
    let plugin = Plugin::new(args.cluster.clone(), sync_token(args)?, labels);
    Ok(Filter { wasm, plugin, lean, underscores: args.underscore_headers })
}

fn sync_token(args: &Args) -> Result<String, CliError> {
    let Some(file) = &args.sync_token_file else {
        let given = std::env::var("QUIESCE_SYNC_TOKEN").ok().filter(|token| !token.is_empty());
        return Ok(given.unwrap_or_else(|| NO_TOKEN.to_owned()));
    };
    let token = std::fs::read_to_string(file).map_err(|error| {
        CliError::new(ErrorKind::BadInput, format!("cannot read {}: {error}", file.display()))
    })?;
    Ok(token.trim().to_owned())
}

/// What whoever reads the document has to know, as comments; tools of these surfaces are learned.
fn remarks(filter: &Filter, format: Format, learning: &[&str]) -> String {
    let mut remarks = Vec::new();
    if filter.plugin.sync_token == NO_TOKEN {
        remarks.push(format!("Put the token of role sync in place of `{NO_TOKEN}`."));
    }
    if !learning.is_empty() {
        let learning = learning.join(", ");
        remarks.push(format!("Tools of {learning} are learned, by quiesce_filter_learning.wasm alone."));
    }
    if let Some(lean) = &filter.lean {
        remarks.push(
            "Made from the companion's rules: where they come to call a GET a write, make it anew".into(),
        );
        remarks.push("and roll it out before the companion has them.".into());
        if let (Some(action), Format::Envoy) = (filter.underscores.setting(), format) {
            remarks.push(format!(
                "The connection manager must have common_http_protocol_options: {{ {} }},",
                action.document().trim_end()
            ));
            remarks.push(
                "or requests that override their method by a header such as X_HTTP_Method get past.".into(),
            );
        }
        let unskipped: Vec<_> = lean.unskipped.iter().map(String::as_str).collect();
        let unskipped = unskipped.join(", ");
        if lean.skipped.is_none() {
            remarks.push(format!(
                "By the rules of {unskipped}, any request may write: the filter sees them all."
            ));
        } else if !unskipped.is_empty() {
            remarks.push(format!("The filter sees all requests to the hosts of {unskipped}."));
        }
    }
    remarks.iter().map(|remark| format!("# {remark}\n")).collect()
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE, such as region=eu".to_owned()),
    }
}

fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let parts = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    match parts {
        Some((host, port)) if !host.is_empty() => Ok((host.to_owned(), port)),
        _ => Err("write HOST:PORT, such as quiesce.example.com:7423".to_owned()),
    }
}
