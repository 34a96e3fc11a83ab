//! `quiesce surfaces`.

use quiesce_policy::snapshot::{Action, Effect, Mode};

use super::{
    Context,
    error::{CliError, ErrorKind},
    output::{DIM, Printer, WARN, at, columns},
};
use crate::{
    starter::Starter,
    view::{SeenView, SurfaceView, SurfacesView},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only what writes.
    #[arg(long)]
    writes: bool,
    /// Only one surface; `other` is what belongs to none.
    #[arg(long, value_name = "NAME")]
    surface: Option<String>,
    /// Print a configuration to start from: the surfaces as they are, with a rule for each write that no rule knows.
    #[arg(long, conflicts_with = "writes")]
    as_rules: bool,
}

pub async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let mut view = context.client()?.surfaces().await?;
    if let Some(name) = &args.surface
        && !view.surfaces.iter().any(|surface| surface.name == *name)
    {
        let names: Vec<_> = view.surfaces.iter().map(|surface| surface.name.as_str()).collect();
        return Err(CliError::new(ErrorKind::NotFound, format!("there is no surface `{name}`"))
            .hint(format!("there are: {}", names.join(", "))));
    }
    if args.as_rules {
        let Starter { yaml, left_out } = Starter::new(&view, args.surface.as_deref());
        let since = at(view.since);
        context.printer.line(format!(
            "# From what was seen since {since}, to take the place of `surfaces` in the companion's\n\
             # configuration. Rules with a remark are new: say of each whether it reads or writes. They come\n\
             # before what catalogs say."
        ));
        if left_out > 0 {
            context.printer.line(format!("# Left out, because no rule can speak of them: {left_out} of the requests that no rule knows."));
        }
        context.printer.line(yaml.document().trim_end());
        return context.printer.document(&yaml);
    }
    view.surfaces.retain(|surface| args.surface.as_ref().is_none_or(|name| surface.name == *name));
    if args.writes {
        for surface in &mut view.surfaces {
            surface.seen.retain(|seen| seen.effect == Effect::Write);
        }
    }
    show(context.printer, &view);
    context.printer.document(&view)
}

fn show(printer: Printer, view: &SurfacesView) {
    printer.line(format!("{DIM}since {}, when the companion started{DIM:#}", at(view.since)));
    for surface in &view.surfaces {
        show_surface(printer, surface);
    }
    if view.unlisted > 0 {
        printer.line(format!("and {} requests for which there was no room", view.unlisted));
    }
    let hint = |text: &str| printer.line(format!("{WARN}hint{WARN:#}: {text}"));
    let seen = || view.surfaces.iter().flat_map(|surface| &surface.seen);
    if seen().any(SeenView::is_unknown_write) {
        hint("`quiesce surfaces --as-rules` prints rules for what no rule knows");
    } else if seen().next().is_none() && view.surfaces.iter().all(|surface| surface.mode == Mode::Enforce) {
        hint(
            "requests are seen in observe mode only: say `mode: observe` in the companion's configuration, at the top \
             or for one surface, and restart it",
        );
    }
}

fn show_surface(printer: Printer, surface: &SurfaceView) {
    if surface.seen.is_empty() {
        let why = if surface.mode == Mode::Observe { "nothing was seen" } else { "not observed" };
        printer.line(format!("{}: {why}", surface.name));
        return;
    }
    printer.line(format!("{}:", surface.name));
    let heading = ["REQUESTS", "EFFECT", "LAST SEEN", "REQUEST", "BECAUSE OF"].map(str::to_owned);
    let rows: Vec<_> = [heading].into_iter().chain(surface.seen.iter().map(row)).collect();
    let mut lines = columns(&rows).into_iter();
    printer.line(format!("  {DIM}{}{DIM:#}", lines.next().unwrap_or_default()));
    for line in lines {
        printer.line(format!("  {line}"));
    }
}

fn row(seen: &SeenView) -> [String; 5] {
    let mut effect = seen.effect.as_str().to_owned();
    if let Some(kind) = seen.kind {
        effect.push_str(&format!(" ({})", kind.as_str()));
    }
    for (action, said) in [(Action::Allow, "allowed"), (Action::Queue, "queued"), (Action::Drop, "dropped")] {
        if seen.action == action.as_str() {
            effect.push_str(&format!(", {said}"));
        }
    }
    let path = seen.path.as_deref().unwrap_or("*");
    let called = seen.call.iter().map(|call| format!("  {call}"));
    let request = format!("{} {path}{}", seen.method, called.collect::<String>());
    let because = match seen.is_unknown_write() {
        true => format!("{WARN}no rule knows it{WARN:#}"),
        false => seen.rule.clone(),
    };
    [seen.count.to_string(), effect, at(seen.last_seen), request, because]
}
