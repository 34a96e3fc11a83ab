//! What a window will be like: what was asked for, the defaults for the rest, and whether it may be.

use quiesce_policy::{
    Policy,
    snapshot::{Snapshot, Window},
    time::Timestamp,
};

use super::{Service, desk::Desk};
use crate::{
    auth::Caller,
    config::Period,
    error::ServiceError,
    limits,
    view::NewWindow,
    windows::{OpenWindow, WindowRecord},
};

/// How far in the past a start may lie and still mean "now"; milliseconds.
const PAST_TOLERANCE_MS: u64 = 5_000;

impl Service {
    /// The window that this asks for, if it may be.
    pub(super) fn check(
        &self,
        desk: &Desk,
        caller: &Caller,
        new: NewWindow,
        now: Timestamp,
    ) -> Result<OpenWindow, ServiceError> {
        let open = self.draft(caller, new, now)?;
        let window = &open.record.window;
        if let Some(ends_at) = window.ends_at {
            no_overlap(desk.windows.values(), window, ends_at, now)?;
        }
        let windows = desk.windows.values().map(|open| open.record.window.clone()).chain([window.clone()]);
        // Whatever enforcers would not take is not issued.
        Policy::compile(&Snapshot { windows: windows.collect(), ..Snapshot::default() })
            .map_err(|error| ServiceError::invalid(error.place, error.problem))?;
        Ok(open)
    }

    /// The same, whatever else is planned.
    pub(super) fn draft(
        &self,
        caller: &Caller,
        new: NewWindow,
        now: Timestamp,
    ) -> Result<OpenWindow, ServiceError> {
        let defaults = &self.config.windows;
        let starts_at = match new.starts_at {
            None => now,
            Some(at) if at >= now => at,
            Some(at) if now.ms_since(at) <= PAST_TOLERANCE_MS => now,
            Some(at) => {
                let message = format!("{at} has passed; it is {now}");
                return Err(ServiceError::invalid_with("starts_at", message, "leave it out to begin now"));
            }
        };
        let ends_at = match (new.ends_at, new.duration_ms) {
            (Some(_), Some(_)) => {
                return Err(ServiceError::invalid(
                    "duration_ms",
                    "stands beside `ends_at`; give one of them",
                ));
            }
            (Some(at), None) => at,
            (None, Some(ms)) => starts_at.plus_ms(ms),
            (None, None) => starts_at.plus_ms(defaults.default_duration.ms()),
        };
        let end_field = if new.duration_ms.is_some() { "duration_ms" } else { "ends_at" };
        if ends_at <= starts_at {
            let message = format!("the window would end at {ends_at}, not after it begins at {starts_at}");
            return Err(ServiceError::invalid(end_field, message));
        }
        self.check_length(end_field, starts_at, ends_at)?;
        let check = |place: &str, text: &str, most| {
            limits::text(text, most).map_err(|message| ServiceError::invalid(place, message))
        };
        let reason = new.reason.unwrap_or_else(|| "maintenance".to_owned());
        check("reason", &reason, limits::MAX_REASON)?;
        let contact = new.contact.or_else(|| defaults.contact.clone());
        if let Some(contact) = &contact {
            check("contact", contact, limits::MAX_CONTACT)?;
        }
        if let Some(rollback) = &new.rollback {
            check("rollback", rollback, limits::MAX_WORDS)?;
        }
        limits::scope(&new.scope).map_err(|(place, message)| ServiceError::invalid(place, message))?;
        let drain_timeout_ms = new.drain_timeout_ms.unwrap_or(defaults.drain_timeout.ms());
        if drain_timeout_ms > defaults.max_duration.ms() {
            let message = format!(
                "{} is longer than a window may last, {}",
                Period::from_ms(drain_timeout_ms),
                defaults.max_duration
            );
            return Err(ServiceError::invalid("drain_timeout_ms", message));
        }
        let window = Window {
            id: ulid::Ulid::generate().to_string().to_lowercase().into(),
            scope: new.scope,
            starts_at,
            announce_at: announce_at(starts_at, defaults.announce_before, now),
            started: false,
            ends_at: Some(ends_at),
            expires_at: ends_at.plus_ms(defaults.grace.ms()),
            reason,
            contact,
            status: new.status.unwrap_or(defaults.status),
            drain_timeout_ms,
        };
        let record = WindowRecord {
            window,
            issued_at: now,
            issued_by: caller.name.clone(),
            expect: new.expect,
            rollback: new.rollback,
            notice: None,
        };
        Ok(OpenWindow { record, history: Default::default(), began: None })
    }

    pub(super) fn check_length(
        &self,
        place: &str,
        starts_at: Timestamp,
        ends_at: Timestamp,
    ) -> Result<(), ServiceError> {
        let longest = self.config.windows.max_duration;
        let length_ms = ends_at.ms_since(starts_at);
        if length_ms <= longest.ms() {
            return Ok(());
        }
        Err(ServiceError::invalid_with(
            place,
            format!("the window would last {}; {longest} is the most", Period::from_ms(length_ms)),
            "`windows.max_duration` in the companion's configuration is the limit",
        ))
    }
}

/// When people are told of a window, if that is later than now.
fn announce_at(starts_at: Timestamp, lead: Period, now: Timestamp) -> Option<Timestamp> {
    let at = Timestamp::from_unix_ms(starts_at.unix_ms().saturating_sub(lead.ms()));
    (at > now).then_some(at)
}

/// Whether it can be beside these, from its start to this end.
pub(super) fn no_overlap<'a>(
    mut others: impl Iterator<Item = &'a OpenWindow>,
    window: &Window,
    ends_at: Timestamp,
    now: Timestamp,
) -> Result<(), ServiceError> {
    match others.find(|other| other.overlaps(&window.scope, window.starts_at, ends_at, now)) {
        None => Ok(()),
        Some(other) => {
            let other = &other.record.window;
            Err(ServiceError::Overlap {
                id: other.id.clone(),
                reason: other.reason.clone(),
                starts_at: other.starts_at,
                ends_at: other.ends_at.unwrap_or(other.expires_at),
                begun: other.started,
            })
        }
    }
}
