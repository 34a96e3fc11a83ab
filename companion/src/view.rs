//! What the API says and is told: the same types for the companion and for the command line.

use std::collections::BTreeMap;

use quiesce_policy::{
    snapshot::{
        BodyProtocol, Effect, EnforcerId, Epoch, InstanceId, Mode, RefusalStatus, Scope, Surface, WindowId,
        WriteKind,
    },
    sync::{DecidedBy, EnforcerKind, RejectedSnapshot},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    backfill::view::BackfillSummary,
    barrier::Barrier,
    event::Event,
    intents::{IntentState, Totals},
    outbox::view::DeliveriesSummary,
    windows::{Ended, Phase, Quiesced},
};

/// Asks for a window.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWindow {
    /// When it begins; now, if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub starts_at: Option<Timestamp>,
    /// When people are told that it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ends_at: Option<Timestamp>,
    /// Instead of `ends_at`: how long after the start; milliseconds. Neither means the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Why, in words for the people refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whom to ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// Where it applies; everywhere, if it is missing.
    #[serde(default)]
    #[schema(value_type = ScopeSchema)]
    pub scope: Scope,
    /// The HTTP status of refusals: 423 or 503.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u16>)]
    pub status: Option<RefusalStatus>,
    /// Writes still in flight this long after the start are cut; milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_timeout_ms: Option<u64>,
    /// The barrier does not hold with fewer live enforcers than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<u32>,
}

/// Where a window applies. Empty means everywhere.
#[derive(ToSchema)]
#[schema(as = Scope)]
pub struct ScopeSchema {
    /// Enforcer labels: for every key the enforcer must carry one of the values.
    pub labels: Option<BTreeMap<String, Vec<String>>>,
    /// Hosts: `api.example.com`, or `*.example.com` for any depth below.
    pub hosts: Option<Vec<String>>,
}

/// Asks for a later end.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Extension {
    /// By how much; milliseconds.
    pub by_ms: u64,
}

/// One window as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WindowView {
    /// Identifies it.
    #[schema(value_type = String)]
    pub id: WindowId,
    /// Where it is in its life.
    pub phase: Phase,
    /// Where it applies.
    #[serde(default)]
    #[schema(value_type = ScopeSchema)]
    pub scope: Scope,
    /// When it begins.
    #[schema(value_type = String, format = DateTime)]
    pub starts_at: Timestamp,
    /// When people are told that it ends.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ends_at: Option<Timestamp>,
    /// When its lease runs out if nobody thaws it.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// Why it is.
    pub reason: String,
    /// Whom to ask.
    pub contact: Option<String>,
    /// The HTTP status of refusals.
    #[schema(value_type = u16)]
    pub status: RefusalStatus,
    /// Writes still in flight this long after the start are cut; milliseconds.
    pub drain_timeout_ms: u64,
    /// The barrier does not hold with fewer live enforcers than this.
    pub expect: Option<u32>,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub issued_at: Timestamp,
    /// Who asked for it.
    pub issued_by: String,
    /// When the companion saw it begin.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// That and when the barrier held, with what the proof rests on.
    pub quiesced: Option<Quiesced>,
    /// How writes were opened again, or that it was taken back.
    pub ended: Option<Ended>,
    /// When people were told of it ahead of its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub announced_at: Option<Timestamp>,
    /// When writes had been open again for as long as they are watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub soaked_at: Option<Timestamp>,
    /// When people were told that it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub closure_announced_at: Option<Timestamp>,
    /// When nothing more was held for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub closed_at: Option<Timestamp>,
    /// The barrier as it stands, until writes are open again.
    pub barrier: Option<Barrier>,
}

/// A window and a tag of its state, to wait for the next.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BarrierView {
    /// Names this state: pass it as `after` to be answered when it is another.
    pub revision: String,
    /// The window with its barrier.
    pub window: WindowView,
}

/// Windows, the newest first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WindowList {
    /// The windows.
    pub windows: Vec<WindowView>,
}

/// Events, oldest first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EventList {
    /// The events.
    pub events: Vec<Event>,
}

/// How things stand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StatusView {
    /// The companion's clock.
    #[schema(value_type = String, format = DateTime)]
    pub now: Timestamp,
    /// The version of the snapshot published.
    #[schema(value_type = u64)]
    pub epoch: Epoch,
    /// Whether verdicts are carried out.
    #[schema(value_type = String)]
    pub mode: Mode,
    /// The windows that are not over.
    pub windows: Vec<WindowView>,
    /// The enforcers, counted.
    pub fleet: FleetCounts,
    /// The writes that are kept for later, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intents: Option<IntentsView>,
    /// How they are brought back, if there is something to be said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backfill: Option<BackfillSummary>,
    /// What others are told, if some of it is not delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliveries: Option<DeliveriesSummary>,
}

/// The writes that are kept for later, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IntentsView {
    /// Waiting for their turn.
    pub held: u64,
    /// On their way to the origin.
    pub replaying: u64,
    /// Refused by the origin, or given up.
    pub failed: u64,
    /// Bytes of heads and bodies of all these, as they are on disk.
    pub bytes: u64,
    /// When the oldest was received that is still to be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub oldest: Option<Timestamp>,
}

impl IntentsView {
    /// Adds up what all surfaces hold; nothing if all is over.
    pub fn of(totals: &[Totals]) -> Option<Self> {
        let mut view = Self::default();
        for total in totals {
            let count = match total.state {
                IntentState::Held => &mut view.held,
                IntentState::Replaying => &mut view.replaying,
                IntentState::Failed => &mut view.failed,
                IntentState::Done | IntentState::Discarded => continue,
            };
            *count += total.count;
            view.bytes += total.bytes;
            view.oldest = [view.oldest, total.oldest].into_iter().flatten().min();
        }
        (view != Self::default()).then_some(view)
    }
}

/// Enforcers, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FleetCounts {
    /// Connected, or heard of within their live period.
    pub live: u64,
    /// No longer heard of.
    pub lost: u64,
    /// Live, and on the snapshot published.
    pub up_to_date: u64,
    /// Live, and unable to use the snapshot published.
    pub rejecting: u64,
    /// Writes in flight.
    pub in_flight: u64,
}

/// All enforcers known.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FleetView {
    /// The version of the snapshot published.
    #[schema(value_type = u64)]
    pub epoch: Epoch,
    /// The enforcers, by id and instance.
    pub enforcers: Vec<EnforcerView>,
}

/// One process of one enforcer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EnforcerView {
    /// Its identity.
    #[schema(value_type = String)]
    pub id: EnforcerId,
    /// The identity of the process.
    #[schema(value_type = String)]
    pub instance: InstanceId,
    /// What it is.
    #[schema(value_type = String)]
    pub kind: EnforcerKind,
    /// The version of its software.
    pub version: String,
    /// What scopes are matched against.
    pub labels: BTreeMap<String, String>,
    /// Whether it can be counted on.
    pub state: Liveness,
    /// When it was first heard of.
    #[schema(value_type = String, format = DateTime)]
    pub first_seen: Timestamp,
    /// When it was last heard of.
    #[schema(value_type = String, format = DateTime)]
    pub last_seen: Timestamp,
    /// The snapshot version in force.
    #[schema(value_type = u64)]
    pub applied: Epoch,
    /// The windows in force.
    #[schema(value_type = Vec<String>)]
    pub in_force: Vec<WindowId>,
    /// Writes in flight.
    pub in_flight: u64,
    /// Writes whose end will never be known.
    pub unaccounted: u64,
    /// Writes cut at drain timeouts since the process started.
    pub cut: u64,
    /// By how much its clock is ahead of the companion's; milliseconds.
    pub clock_skew_ms: i64,
    /// The last snapshot that it could not use.
    #[schema(value_type = Option<Object>)]
    pub rejected: Option<RejectedSnapshot>,
}

/// Whether an enforcer can be counted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Liveness {
    /// Its poll is open, or about to be.
    Connected,
    /// It has no poll open, and its live period has not passed.
    Silent,
    /// Its live period has passed.
    Lost,
    /// Another process has taken its place.
    Replaced,
}

/// What was seen of observed surfaces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SurfacesView {
    /// Since when: the start of the companion.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// The files with catalogs of one's own, where the companion runs.
    pub catalog_files: Vec<String>,
    /// The surfaces as they are configured, and at the end `other`, for what belongs to none of them.
    pub surfaces: Vec<SurfaceView>,
    /// Requests of which nothing is listed, because there was no room, or because their surface is gone.
    pub unlisted: u64,
}

/// What was seen of one surface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SurfaceView {
    /// Its name.
    pub name: String,
    /// Whether its requests are seen: only in observe mode.
    #[schema(value_type = String)]
    pub mode: Mode,
    /// How it is configured, if it is.
    #[schema(value_type = Option<Object>)]
    pub configured: Option<Surface>,
    /// What was seen: writes that no rule knows, then other writes, then reads; the most frequent first.
    pub seen: Vec<SeenView>,
}

/// Requests that look alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SeenView {
    /// The method.
    pub method: String,
    /// The path of the rule, or what the requests' paths have in common; none, if origins may read them differently.
    pub path: Option<String>,
    /// What was called: a method of JSON-RPC, and the tool.
    pub call: Option<String>,
    /// What they would do.
    #[schema(value_type = String)]
    pub effect: Effect,
    /// What would become of them while frozen: `pass` for reads, `block` or `allow` for writes.
    pub action: String,
    /// How that is known: `rule`, `headers`, `body`, `method`, `ambiguous`, `suspicion`.
    #[schema(value_type = String)]
    pub by: DecidedBy,
    /// What decided, in words.
    pub rule: String,
    /// What kind of write it is, if the rule says so.
    #[schema(value_type = Option<String>)]
    pub kind: Option<WriteKind>,
    /// The protocol of the call.
    #[schema(value_type = Option<String>)]
    pub protocol: Option<BodyProtocol>,
    /// How many there were; what an enforcer reported twice counts twice.
    pub count: u64,
    /// When the first was reported.
    #[schema(value_type = String, format = DateTime)]
    pub first_seen: Timestamp,
    /// When the last was reported.
    #[schema(value_type = String, format = DateTime)]
    pub last_seen: Timestamp,
}

impl SeenView {
    /// Whether it is a write because no rule speaks of it.
    pub fn is_unknown_write(&self) -> bool {
        self.by == DecidedBy::Method && self.effect == Effect::Write
    }
}

/// Asks for a pass.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPass {
    /// Who writes.
    pub subject: String,
    /// For how long it is valid; milliseconds.
    pub duration_ms: u64,
    /// The only window it is good for; any, if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub window: Option<WindowId>,
}

/// A pass just issued. It cannot be shown again.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PassView {
    /// The pass, to be sent in the header `Quiesce-Pass`.
    pub pass: String,
    /// Names it in the event log.
    pub id: String,
    /// Who writes.
    pub subject: String,
    /// Until when it is valid.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// Why a request was not carried out: RFC 9457 problem details.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProblemView {
    /// Identifies the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The stable name of the reason.
    pub code: String,
    /// What is the matter.
    pub detail: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The field of the request concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// The window concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub window: Option<WindowId>,
}
