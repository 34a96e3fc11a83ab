//! Tells others what becomes of windows: chat, status pages, programs; and caches, to fetch it anew.
//!
//! What is said is made of an event and its window when the event is written, and lies in the [outbox](crate::outbox)
//! from then on. How it is said is up to the kind of the notifier.

mod clients;
mod compose;
mod deliver;
mod http;
mod instatus;
mod message;
mod payload;
mod purge;
pub mod secret;
mod statuspage;
mod webhook;
mod wording;

use quiesce_policy::text_enum;

pub use self::{
    compose::{Composer, Occasion},
    deliver::tell_others,
    message::{Messages, TemplateProblem},
    payload::{Maintenance, MaintenanceStatus, Payload},
    wording::{Template, Wording},
};
use crate::event::EventKind;

text_enum! {
    /// What has happened to a window, as others are told of it.
    pub enum Step {
        /// It will begin.
        Announced = "announced",
        /// Writes are refused from now on.
        Frozen = "frozen",
        /// No write is in flight any more.
        Quiesced = "quiesced",
        /// Its end was moved.
        Extended = "extended",
        /// Writes are open again, and watched.
        Reopened = "reopened",
        /// Writes are open again, and watched, though the work could not begin.
        Aborted = "aborted",
        /// It is over for everybody.
        Closed = "closed",
        /// It will not begin.
        Cancelled = "cancelled",
    }
}

impl Step {
    /// All steps, in the order of a window's life.
    pub const ALL: [Self; 8] = [
        Self::Announced,
        Self::Frozen,
        Self::Quiesced,
        Self::Extended,
        Self::Reopened,
        Self::Aborted,
        Self::Closed,
        Self::Cancelled,
    ];

    /// The step that an event is, if others are told of it. That a window is issued for later concerns
    /// caches alone: banners show it.
    pub fn of(kind: EventKind) -> Option<Self> {
        match kind {
            EventKind::Scheduled | EventKind::Announced => Some(Self::Announced),
            EventKind::Started => Some(Self::Frozen),
            EventKind::Quiesced => Some(Self::Quiesced),
            EventKind::Extended => Some(Self::Extended),
            EventKind::Thawed | EventKind::Lapsed => Some(Self::Reopened),
            EventKind::ClosureAnnounced => Some(Self::Closed),
            EventKind::Aborted => Some(Self::Aborted),
            EventKind::Cancelled => Some(Self::Cancelled),
            _ => None,
        }
    }
}

text_enum! {
    /// What is told.
    pub enum NotifierKind {
        /// Atlassian Statuspage: a scheduled maintenance.
        Statuspage = "statuspage",
        /// Instatus: a maintenance.
        Instatus = "instatus",
        /// Slack, or whatever takes its incoming webhooks.
        Slack = "slack",
        /// A program: JSON, signed as Standard Webhooks are.
        Webhook = "webhook",
        /// A Varnish cache: `PURGE` or `BAN`.
        Varnish = "varnish",
        /// Fastly: by surrogate keys.
        Fastly = "fastly",
        /// Cloudflare: by tags, prefixes or URLs.
        Cloudflare = "cloudflare",
    }
}

impl NotifierKind {
    /// It keeps copies of what enforcers answer, which have to go when a window changes.
    pub fn is_cache(self) -> bool {
        matches!(self, Self::Varnish | Self::Fastly | Self::Cloudflare)
    }

    /// It shows one state of a window, which a later one replaces.
    pub fn is_status_page(self) -> bool {
        matches!(self, Self::Statuspage | Self::Instatus)
    }

    /// A delivery says all that those before it would: if they are not sent yet, they need not be.
    pub fn later_replaces_earlier(self) -> bool {
        self.is_cache() || self.is_status_page()
    }

    /// The steps it is told of, if nothing else is configured.
    pub fn default_steps(self) -> &'static [Step] {
        match self {
            // What is proven inside is no news for the public.
            Self::Statuspage | Self::Instatus => &[
                Step::Announced,
                Step::Frozen,
                Step::Extended,
                Step::Reopened,
                Step::Aborted,
                Step::Closed,
                Step::Cancelled,
            ],
            Self::Slack | Self::Webhook | Self::Varnish | Self::Fastly | Self::Cloudflare => &Step::ALL,
        }
    }
}
