//! Instatus: a window is one maintenance, with an update for each step.
//!
//! <https://instatus.com/help/api/maintenances> and <https://instatus.com/help/api/maintenance-updates>: JSON, with an API
//! key as `Authorization: Bearer KEY`. There is no place for an integration's own mark, so one of ours is known by its name
//! and the millisecond of its start.

use hyper::Method;
use quiesce_policy::time::Timestamp;
use reqwest::Url;
use serde_json::{Value, json};

use super::{
    clients::{PageClient, Shown},
    http::{Call, Failure, Http, Taken},
    payload::{Maintenance, MaintenanceStatus},
    secret::Revealed,
};
use crate::{clock, config::Page};

/// So many of the latest maintenances are searched for one of ours; the most that a page of them has.
const LATEST: &str = "100";

/// Instatus, for one delivery.
pub struct Instatus<'a> {
    pub http: &'a Http,
    pub page: &'a Page,
    pub key: &'a Revealed,
}

impl Instatus<'_> {
    fn url(&self, below: &str) -> Result<Url, Failure> {
        let path = format!("v1/{}/maintenances{below}", self.page.page_id);
        self.page.api_url.join(&path).map_err(Failure::broken)
    }

    async fn call(&self, method: Method, url: Url, body: Option<Value>) -> Result<Taken, Failure> {
        let call = Call::new(method, url, Some(self.key)).authorized("Bearer")?;
        self.http
            .send(match &body {
                Some(body) => call.json(body),
                None => call,
            })
            .await
    }

    /// What every request about a maintenance says of it.
    fn fields(&self, maintenance: &Maintenance) -> Value {
        let Maintenance { status, name, text, starts_at, ends_at, .. } = maintenance;
        json!({
            "name": name,
            "message": text,
            "status": spelt(*status),
            "start": starts_at,
            "end": ends_at,
            "duration": ends_at.ms_since(*starts_at).div_ceil(60_000),
            "notify": self.page.subscribers,
            "notifyStart": false,
            "notifyEnd": false,
            "notifyEarly": false,
            "autoStart": false,
            "autoEnd": false,
            "components": self.page.components,
            "statuses": self.components(*status),
        })
    }

    fn components(&self, status: MaintenanceStatus) -> Vec<Value> {
        let status = match status {
            MaintenanceStatus::Scheduled | MaintenanceStatus::Completed => "OPERATIONAL",
            MaintenanceStatus::InProgress | MaintenanceStatus::Verifying => "UNDERMAINTENANCE",
        };
        self.page.components.iter().map(|id| json!({ "id": id, "status": status })).collect()
    }
}

fn spelt(status: MaintenanceStatus) -> &'static str {
    match status {
        MaintenanceStatus::Scheduled => "NOTSTARTEDYET",
        MaintenanceStatus::InProgress => "INPROGRESS",
        MaintenanceStatus::Verifying => "VERIFYING",
        MaintenanceStatus::Completed => "COMPLETED",
    }
}

impl PageClient for Instatus<'_> {
    async fn find(&self, _: &str, maintenance: &Maintenance) -> Result<Option<String>, Failure> {
        let mut url = self.url("")?;
        url.query_pairs_mut().append_pair("page", "1").append_pair("per_page", LATEST);
        let all = self.call(Method::GET, url, None).await?.json()?;
        let ours = |one: &&Value| {
            let field = |name: &str| one.get(name).and_then(Value::as_str);
            field("name") == Some(&maintenance.name)
                && field("start").and_then(|start| start.parse::<Timestamp>().ok())
                    == Some(maintenance.starts_at)
        };
        let found = all.as_array().into_iter().flatten().find(ours);
        Ok(found.and_then(|one| one.get("id")?.as_str()).map(str::to_owned))
    }

    async fn create(&self, _: &str, maintenance: &Maintenance) -> Result<Shown, Failure> {
        let taken = self.call(Method::POST, self.url("")?, Some(self.fields(maintenance))).await?;
        Shown::read(&taken)
    }

    async fn says(&self, id: &str, maintenance: &Maintenance) -> Result<bool, Failure> {
        let shown = self.call(Method::GET, self.url(&format!("/{id}"))?, None).await?.json()?;
        let updates = shown.get("updates").and_then(Value::as_array);
        let same = |update: &Value| {
            let field = |name: &str| update.get(name).and_then(Value::as_str);
            field("status") == Some(spelt(maintenance.status)) && field("message") == Some(&maintenance.text)
        };
        Ok(updates.is_some_and(|updates| updates.iter().any(same)))
    }

    async fn update(&self, id: &str, maintenance: &Maintenance) -> Result<Shown, Failure> {
        // The planned end belongs to the maintenance, not to an update. Who is told of it is told by the update.
        let shown = self.call(Method::GET, self.url(&format!("/{id}"))?, None).await?.json()?;
        let mut fields = self.fields(maintenance);
        if shown.get("duration") != fields.get("duration")
            && let Some(notify) = fields.get_mut("notify")
        {
            *notify = false.into();
            self.call(Method::PUT, self.url(&format!("/{id}"))?, Some(fields)).await?;
        }
        let body = json!({
            "message": maintenance.text,
            "status": spelt(maintenance.status),
            "started": clock::now(),
            "notify": self.page.subscribers,
            "components": self.page.components,
            "statuses": self.components(maintenance.status),
        });
        let url = self.url(&format!("/{id}/maintenance-updates"))?;
        let taken = self.call(Method::POST, url, Some(body)).await?;
        Ok(Shown { id: id.to_owned(), status: taken.status })
    }
}
