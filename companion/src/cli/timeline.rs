//! `quiesce timeline`: what happened to a window, at exact times.

use jiff::tz::TimeZone;
use quiesce_policy::time::Timestamp;
use serde::Deserialize as _;

use super::{
    Context,
    error::CliError,
    output::{DIM, columns},
    wait::counts,
    window::meant,
};
use crate::{
    event::{Event, EventKind},
    view::EventList,
    windows::{EndedEvidence, QuiescedEvidence, StartedEvidence},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The window; without it, the only one that is not over.
    window: Option<String>,
    /// Show times in UTC.
    #[arg(long, conflicts_with = "tz")]
    utc: bool,
    /// Show times as they are in this place, for example Europe/Berlin; without it, in this machine's.
    #[arg(long, value_name = "ZONE", value_parser = parse_zone)]
    tz: Option<TimeZone>,
}

fn parse_zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name)
        .map_err(|_| "it is no time zone that this machine knows; write it like Europe/Berlin".to_owned())
}

pub async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let client = context.client()?;
    let id = meant(&client, args.window, |phase| !phase.is_over(), "not over").await?;
    // So that what is unknown is said to be, and not shown as a window without events.
    client.window(&id).await?;
    let mut events: Vec<Event> = Vec::new();
    loop {
        let after = events.last().map_or(0, |event| event.seq);
        let page = client.events(&id, after).await?.events;
        if page.is_empty() {
            break;
        }
        events.extend(page);
    }
    let zone = match args.tz {
        Some(zone) => zone,
        None if args.utc => TimeZone::UTC,
        None => TimeZone::system(),
    };
    let rows: Vec<_> = events
        .iter()
        .map(|event| {
            let kind = event.kind.as_str().to_owned();
            let what = describe(event, &zone).map(|it| format!("{DIM}{it}{DIM:#}")).unwrap_or_default();
            [exact(event.at, &zone), kind, event.who.clone(), what]
        })
        .collect();
    columns(&rows).iter().for_each(|line| context.printer.line(line));
    context.printer.document(&EventList { events })
}

/// An instant to the millisecond, with its offset from UTC.
fn exact(at: Timestamp, zone: &TimeZone) -> String {
    let ms = i64::try_from(at.unix_ms()).unwrap_or(i64::MAX);
    let Ok(instant) = jiff::Timestamp::from_millisecond(ms) else { return at.to_string() };
    let offset = zone.to_offset(instant);
    instant.display_with_offset(offset).to_string()
}

/// What an event rests on, in words.
fn describe(event: &Event, zone: &TimeZone) -> Option<String> {
    let evidence = &event.evidence;
    match event.kind {
        EventKind::Started => {
            let live = StartedEvidence::deserialize(evidence).ok()?.roster.len();
            Some(format!("{live} {} in scope", if live == 1 { "enforcer" } else { "enforcers" }))
        }
        EventKind::Quiesced => {
            let QuiescedEvidence { elapsed_ms, barrier } = QuiescedEvidence::deserialize(evidence).ok()?;
            Some(format!("in {elapsed_ms} ms: {}", counts(&barrier)))
        }
        EventKind::Extended => {
            let end = Timestamp::deserialize(evidence.pointer("/ends_at/to")?).ok()?;
            Some(format!("until {}", exact(end, zone)))
        }
        EventKind::Thawed | EventKind::Aborted | EventKind::Lapsed => {
            let until = EndedEvidence::deserialize(evidence).ok()?.soak_until;
            Some(format!("writes are open again, and soak until {}", exact(until, zone)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_exact_and_say_their_offset_on_both_sides_of_a_clock_change() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        // One hour of the real world apart, and the same time on the wall.
        for (unix_ms, local) in [
            (1_792_888_200_007, "2026-10-25T02:30:00.007+02:00"),
            (1_792_891_800_007, "2026-10-25T02:30:00.007+01:00"),
        ] {
            assert_eq!(exact(Timestamp::from_unix_ms(unix_ms), &berlin), local);
        }
        assert_eq!(
            exact(Timestamp::from_unix_ms(1_792_888_200_007), &TimeZone::UTC),
            "2026-10-25T00:30:00.007+00:00"
        );
    }

    #[test]
    fn a_zone_that_nobody_knows_is_a_mistake() {
        assert!(parse_zone("Europe/Atlantis").unwrap_err().contains("Europe/Berlin"));
    }
}
