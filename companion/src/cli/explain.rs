//! `quiesce explain`: what the filter would make of a request.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, BufWriter, Write as _},
    path::PathBuf,
};

use quiesce_policy::snapshot::{Action, Effect};

use super::{
    Context,
    error::{CliError, ErrorKind},
    output::{BAD, DIM, GOOD},
};
use crate::{
    clock,
    config::Config,
    explain::{Asked, Explainer, Explanation, Values},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Method and path, such as 'POST /collections/x/points/search'.
    #[arg(required_unless_present = "input")]
    request: Option<String>,
    /// A header, `name: value`; `host` too.
    #[arg(short = 'H', long = "header", value_name = "HEADER", requires = "request")]
    headers: Vec<String>,
    /// The body; `@file` reads it from a file.
    #[arg(long, requires = "request")]
    body: Option<String>,
    /// The configuration; without it, the built-in one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Catalogs that describe all hosts and paths, instead of a configuration.
    #[arg(long = "catalog", value_name = "NAME", conflicts_with = "config")]
    catalogs: Vec<String>,
    /// Explain each line of a file, or of standard input (`-`): a JSON object with `method`, `path`, and
    /// perhaps `host`, `headers` (an object), `body` or `body_b64`. Prints a JSON object for each.
    #[arg(long, value_name = "FILE", conflicts_with = "request")]
    input: Option<PathBuf>,
}

pub fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let mut config = match &args.config {
        Some(file) => Config::read(file)?,
        None => Config::built_in()?,
    };
    if !args.catalogs.is_empty() {
        config.describe_all_by(&args.catalogs);
        config.check("command line".as_ref())?;
    }
    let (snapshot, catalogs) = config.snapshot()?;
    let explainer = Explainer::new(snapshot, &catalogs, clock::now())
        .map_err(|error| CliError::new(ErrorKind::BadInput, error.to_string()))?;
    match &args.input {
        Some(file) => explain_all(&explainer, file),
        None => explain_one(context, &explainer, &args),
    }
}

fn explain_one(context: &Context, explainer: &Explainer, args: &Args) -> Result<(), CliError> {
    let bad = |problem: String| CliError::new(ErrorKind::BadInput, problem);
    let request = args.request.as_deref().unwrap_or_default();
    let (method, path) = request.split_once(' ').ok_or_else(|| {
        bad(format!("`{request}` is no request")).hint("write method and path, such as 'POST /things'")
    })?;
    let mut headers: BTreeMap<String, Values> = BTreeMap::new();
    let mut host = None;
    for header in &args.headers {
        let (name, value) = header.split_once(':').ok_or_else(|| {
            bad(format!("`{header}` is no header")).hint("write name and value, such as 'accept: text/html'")
        })?;
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim().to_owned());
        if name == "host" {
            host = Some(value.into());
            continue;
        }
        let earlier = headers.remove(&name);
        let values = match earlier {
            None => Values::One(value),
            Some(Values::One(first)) => Values::Many(vec![first, value]),
            Some(Values::Many(mut values)) => {
                values.push(value);
                Values::Many(values)
            }
        };
        headers.insert(name, values);
    }
    let body = args.body.as_deref().map(|body| match body.strip_prefix('@') {
        Some(file) => std::fs::read(file).map_err(|error| bad(format!("cannot read {file}: {error}"))),
        None => Ok(body.as_bytes().to_vec()),
    });
    let asked = Asked {
        method: method.into(),
        path: path.into(),
        host,
        headers,
        body: None,
        body_b64: body.transpose()?,
    };
    let explanation = explainer.explain(&asked);
    show(context, &explanation);
    context.printer.document(&explanation)
}

fn show(context: &Context, explanation: &Explanation<'_>) {
    let line = |text: String| context.printer.line(text);
    let effect = explanation.effect.as_str();
    let style = if explanation.effect == Effect::Read { GOOD } else { BAD };
    let kind = explanation.kind.map(|kind| format!(" ({})", kind.as_str())).unwrap_or_default();
    line(format!("{style}{effect}{style:#}{kind}, surface {}", explanation.surface));
    line(format!("  because of  {}", explanation.rule));
    match &explanation.reply {
        None => {
            line(format!("  while frozen  {}", explanation.action));
            if explanation.action == Action::Queue.as_str() {
                line(format!("{DIM}  HTTP 202 with a receipt, once the companion has it on disk{DIM:#}"));
            }
        }
        Some(reply) => {
            let refusal = explanation.refusal.map(|code| format!(", {code}")).unwrap_or_default();
            line(format!("  while frozen  {}{refusal}", explanation.action));
            line(format!("{DIM}  HTTP {}", reply.status));
            for (name, value) in reply.headers.headers().pairs() {
                line(format!("  {}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value)));
            }
            line(format!("\n  {}{DIM:#}", String::from_utf8_lossy(&reply.body)));
        }
    }
}

fn explain_all(explainer: &Explainer, file: &PathBuf) -> Result<(), CliError> {
    let bad = |problem: String| CliError::new(ErrorKind::BadInput, problem);
    let name = file.display();
    let mut input: Box<dyn std::io::BufRead> = if file.as_os_str() == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        let opened =
            std::fs::File::open(file).map_err(|error| bad(format!("cannot read {name}: {error}")))?;
        Box::new(BufReader::with_capacity(1 << 16, opened))
    };
    let mut out = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    let mut line = String::new();
    let mut number = 0_usize;
    loop {
        line.clear();
        number += 1;
        let read = input.read_line(&mut line).map_err(|error| bad(format!("{name}:{number}: {error}")))?;
        if read == 0 {
            break;
        }
        if line.trim().is_empty() {
            continue;
        }
        let asked: Asked<'_> = serde_json::from_str(&line)
            .map_err(|error| bad(format!("{name}:{number}:{}: {error}", error.column())))?;
        serde_json::to_writer(&mut out, &explainer.explain(&asked)).map_err(CliError::internal)?;
        out.write_all(b"\n").map_err(CliError::internal)?;
    }
    out.flush().map_err(CliError::internal)
}
