//! Pages and feeds, written when something changes and not when somebody asks.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{body::Bytes, http::HeaderValue};
use quiesce_policy::snapshot::WindowId;
use sha2::{Digest as _, Sha256};

use super::{
    feeds, html,
    told::Told,
    view::{Naming, PublicView},
};
use crate::{clock, error::ServiceError, service::Service};

/// Windows looked at when the companion starts: as many as may be open at once and listed in the history.
const LOOK_BACK: u32 = 300;
/// Events read at once.
const EVENTS: u32 = 500;
/// After a failure the next try waits this long.
const PAUSE: Duration = Duration::from_millis(500);
/// A clock that is set is noticed this late at most.
const LOOK_ANYWAY: Duration = Duration::from_secs(60);

/// One document as it is served.
#[derive(Clone, Debug)]
pub struct Document {
    /// What it says.
    pub body: Bytes,
    /// Names what it says.
    pub tag: HeaderValue,
}

impl Document {
    /// A document that says this.
    pub fn new(body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let digest: String =
            Sha256::digest(&body).iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        let tag = HeaderValue::try_from(format!("\"{digest}\"")).unwrap_or(HeaderValue::from_static("\"\""));
        Self { body, tag }
    }
}

/// All documents, of one view.
#[derive(Clone, Debug)]
pub struct Pages {
    /// `/status`
    pub html: Document,
    /// `/status.json`
    pub json: Document,
    /// `/status.atom`
    pub atom: Document,
    /// `/status.ics`
    pub calendar: Document,
}

impl Pages {
    fn of(view: &PublicView, page: Option<&str>) -> Result<Self, ServiceError> {
        Ok(Self {
            html: Document::new(html::status(view)?),
            json: Document::new(serde_json::to_vec(view)?),
            atom: Document::new(feeds::atom(view, page)),
            calendar: Document::new(feeds::calendar(view, page)),
        })
    }
}

/// Keeps the pages as the event log says.
pub struct Keeper {
    service: Arc<Service>,
    naming: Naming,
    told: BTreeMap<WindowId, Told>,
    /// The last event taken in.
    seen: u64,
}

impl Keeper {
    /// Reads what there is, and writes the first pages.
    pub async fn open(service: Arc<Service>) -> Result<Self, ServiceError> {
        let naming = Naming::of(&service.config);
        let stored = service.stored_windows(LOOK_BACK).await?;
        let seen = stored.iter().flat_map(|window| &window.events).map(|event| event.seq).max();
        let told = stored.iter().map(|window| (window.record.window.id.clone(), Told::of_stored(window)));
        let mut keeper = Self {
            told: told.collect(),
            seen: seen.unwrap_or_default(),
            naming,
            service: Arc::clone(&service),
        };
        keeper.catch_up().await?;
        keeper.write()?;
        Ok(keeper)
    }

    /// Writes the pages anew whenever they would say something else, until the companion goes down.
    pub async fn run(mut self) {
        let mut published = self.service.follow();
        let mut shutdown = self.service.follow_shutdown();
        while !*shutdown.borrow_and_update() {
            published.borrow_and_update();
            let pause = match self.look().await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::error!(%error, "the public pages could not be written");
                    PAUSE
                }
            };
            tokio::select! {
                _ = published.changed() => {}
                () = tokio::time::sleep(pause) => {}
                _ = shutdown.changed() => {}
            }
        }
    }

    async fn look(&mut self) -> Result<Duration, ServiceError> {
        self.catch_up().await?;
        self.write()
    }

    /// Takes in what has happened since.
    async fn catch_up(&mut self) -> Result<(), ServiceError> {
        loop {
            let events = self.service.events(self.seen, None, EVENTS).await?;
            for event in &events {
                if let Some(id) = &event.window {
                    match self.told.get_mut(id) {
                        Some(told) => told.apply(event),
                        // With all its events up to now, this one among them: what follows of them is known then.
                        None => self.meet(id, event.seq).await?,
                    }
                }
                self.seen = event.seq;
            }
            if events.len() < usize::try_from(EVENTS).unwrap_or(usize::MAX) {
                break;
            }
        }
        for (id, open) in &self.service.published().windows {
            if let Some(told) = self.told.get_mut(id) {
                told.refresh(&open.record);
            }
        }
        self.forget();
        Ok(())
    }

    /// Gets to know a window by what had happened to it up to this event.
    async fn meet(&mut self, id: &WindowId, up_to: u64) -> Result<(), ServiceError> {
        let Some(mut stored) = self.service.stored_window(id.clone()).await? else { return Ok(()) };
        stored.events.retain(|event| event.seq <= up_to);
        self.told.insert(id.clone(), Told::of_stored(&stored));
        Ok(())
    }

    /// Lets go of windows that are over and no longer listed.
    fn forget(&mut self) {
        let mut over: Vec<_> = self
            .told
            .values()
            .filter(|told| told.is_over())
            .map(|told| (told.starts_at, told.id.clone()))
            .collect();
        over.sort();
        let kept = usize::try_from(LOOK_BACK).unwrap_or(usize::MAX).min(over.len());
        for (_, id) in over.iter().take(over.len() - kept) {
            self.told.remove(id);
        }
    }

    /// Writes what there is to say now; returns when there is something else to say.
    fn write(&self) -> Result<Duration, ServiceError> {
        let now = clock::now();
        let view = PublicView::of(self.told.values(), &self.naming, now);
        let to_issue: Vec<_> = self.service.planned(now).iter().map(Told::of).collect();
        let published = self.service.published();
        let issued = published.plans.values().flat_map(|plan| &plan.ahead);
        let planned = issued.filter_map(|it| self.told.get(&it.window)).chain(&to_issue);
        let view = view.with_planned(planned, &self.naming, now);
        self.service
            .pages
            .send_replace(Some(Arc::new(Pages::of(&view, self.service.config.status_page.as_deref())?)));
        let until = view.changes_at.map(|at| Duration::from_millis(at.ms_since(now).max(1)));
        Ok(until.unwrap_or(LOOK_ANYWAY).min(LOOK_ANYWAY))
    }
}
