//! What was seen of observed surfaces: reports taken in, and all of it with the rules that decided.

use std::{
    borrow::Cow,
    cmp::Reverse,
    path::Path,
    sync::{MutexGuard, PoisonError},
};

use quiesce_policy::{
    OTHER_SURFACE,
    snapshot::{Action, Effect, Epoch},
    sync::{DecidedBy, SeenReport},
};

use super::Service;
use crate::{
    clock,
    error::ServiceError,
    explain::Explainer,
    rule_text::{BY_DOUBT, BY_METHOD, RuleTexts},
    seen::{Listed, SeenRequests},
    view::{SeenView, SurfaceView, SurfacesView},
};

/// Entries of one report.
const MAX_SEEN: usize = 4_096;
/// A surface, method, path or call in a report; those of an honest one are far shorter.
const MAX_TEXT_BYTES: usize = 1_024;

impl Service {
    /// Takes in what an enforcer has seen.
    pub fn saw(&self, report: SeenReport) -> Result<(), ServiceError> {
        check(&report)?;
        let rules_in_use = self.has_rules_of(report.epoch);
        let now = clock::now();
        let mut requests = self.seen();
        for seen in report.seen {
            requests.note(seen, rules_in_use, now);
        }
        requests.note_unlisted(report.unlisted);
        Ok(())
    }

    /// Everything that was seen since the companion started.
    pub fn surfaces_view(&self) -> SurfacesView {
        let requests = self.seen();
        let surfaces = &self.config.surfaces;
        let configured = surfaces.iter().zip(&self.rule_texts).map(|(surface, texts)| SurfaceView {
            name: surface.name.to_string(),
            mode: surface.mode.unwrap_or(self.config.mode),
            configured: Some(surface.clone()),
            seen: views(&requests, surface.name.as_str(), Some(texts)),
        });
        let other = SurfaceView {
            name: OTHER_SURFACE.to_owned(),
            mode: self.config.mode,
            configured: None,
            seen: views(&requests, OTHER_SURFACE, None),
        };
        SurfacesView {
            since: requests.since(),
            catalog_files: self.config.catalogs.iter().map(|file| absolute(file)).collect(),
            surfaces: configured.chain([other]).collect(),
            unlisted: requests.unlisted(),
        }
    }

    /// Explains requests by the configuration in force, as if all were frozen from now on.
    pub fn explainer(&self) -> Result<Explainer, ServiceError> {
        let configured = self.configured();
        // Another companion on the same store may have brought rules that this one has no words for.
        let texts = if configured.digest == self.own_digest { self.rule_texts.clone() } else { Vec::new() };
        Explainer::with_texts(configured.snapshot.clone(), texts, clock::now())
            .map_err(|error| ServiceError::invalid(error.place, error.problem))
    }

    fn seen(&self) -> MutexGuard<'_, SeenRequests> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a snapshot had the rules that are in use: windows change from one to the next, and the configuration
    /// only when the companion starts.
    fn has_rules_of(&self, epoch: Epoch) -> bool {
        self.configured().digest == self.own_digest
            && self.rules_since.get().is_some_and(|since| (*since..=self.published().epoch).contains(&epoch))
    }
}

fn absolute(file: &Path) -> String {
    std::path::absolute(file).as_deref().unwrap_or(file).display().to_string()
}

fn check(report: &SeenReport) -> Result<(), ServiceError> {
    if report.seen.len() > MAX_SEEN {
        return Err(ServiceError::invalid(
            "seen",
            format!("has {} entries; at most {MAX_SEEN}", report.seen.len()),
        ));
    }
    for (at, seen) in report.seen.iter().enumerate() {
        let texts = [
            ("surface", Some(&seen.surface)),
            ("method", Some(&seen.method)),
            ("path", seen.path.as_ref()),
            ("call", seen.call.as_ref()),
        ];
        let too_long = texts.iter().find(|(_, text)| text.is_some_and(|text| text.len() > MAX_TEXT_BYTES));
        if let Some((field, _)) = too_long {
            let message = format!("is too long; at most {MAX_TEXT_BYTES} bytes");
            return Err(ServiceError::invalid(format!("seen[{at}].{field}"), message));
        }
    }
    Ok(())
}

/// What was seen of a surface, first what the operator should look at first.
fn views(requests: &SeenRequests, surface: &str, texts: Option<&RuleTexts>) -> Vec<SeenView> {
    let mut views: Vec<_> = requests.listed(surface).into_iter().map(|listed| view(listed, texts)).collect();
    views.sort_by(|one, other| {
        let key =
            |view: &SeenView| (!view.is_unknown_write(), view.effect == Effect::Read, Reverse(view.count));
        let names = |view: &'_ SeenView| {
            [view.path.clone(), Some(view.method.clone()), view.call.clone(), Some(view.rule.clone())]
        };
        key(one).cmp(&key(other)).then_with(|| names(one).cmp(&names(other)))
    });
    views
}

fn view(listed: Listed<'_>, texts: Option<&RuleTexts>) -> SeenView {
    let Listed { method, path, effect, basis, tally } = listed;
    let rule = basis.rule.and_then(|(catalog, index)| texts?.get(catalog, index));
    let said = match (basis.by, rule) {
        (DecidedBy::Learned, Some(rule)) => {
            format!("{}, and the server says that it reads", rule.text).into()
        }
        (_, Some(rule)) => Cow::Borrowed(rule.text.as_str()),
        (DecidedBy::Method, None) => BY_METHOD.into(),
        (DecidedBy::Ambiguous, None) => BY_DOUBT.into(),
        (DecidedBy::Suspicion, None) => "doubt: it asks for another method or protocol than it shows".into(),
        (DecidedBy::Rule | DecidedBy::Headers | DecidedBy::Body | DecidedBy::Learned, None) => {
            "a rule of another configuration".into()
        }
    };
    let action = match effect {
        Effect::Read => "pass",
        Effect::Write => rule.map_or(Action::Block, |rule| rule.action).as_str(),
    };
    SeenView {
        method: method.to_owned(),
        path: rule.map(|rule| rule.path.clone()).or(path),
        call: basis.call.clone(),
        effect,
        action: action.to_owned(),
        by: basis.by,
        rule: said.into_owned(),
        kind: rule.and_then(|rule| rule.kind).filter(|_| effect == Effect::Write),
        protocol: rule.and_then(|rule| rule.body),
        count: tally.count,
        first_seen: tally.first_seen,
        last_seen: tally.last_seen,
    }
}
