//! Atlassian Statuspage: a window is one scheduled maintenance, which is moved from state to state.
//!
//! <https://developer.statuspage.io/#tag/incidents>: `POST` and `PATCH` of `/v1/pages/{page}/incidents`, with an API key as
//! `Authorization: OAuth KEY`. `metadata` is for integrations; its top-level values are objects. What Statuspage would do
//! by itself at the planned times is switched off, because what happens decides.

use hyper::Method;
use reqwest::Url;
use serde_json::{Value, json};

use super::{
    clients::{PageClient, Shown},
    http::{Call, Failure, Http, Taken},
    payload::{Maintenance, MaintenanceStatus},
    secret::Revealed,
};
use crate::config::Page;

/// So many of the latest incidents are searched for one of ours; the most that a page of them has.
const LATEST: &str = "100";

/// Statuspage, for one delivery.
pub struct Statuspage<'a> {
    pub http: &'a Http,
    pub page: &'a Page,
    pub key: &'a Revealed,
}

impl Statuspage<'_> {
    fn url(&self, id: Option<&str>) -> Result<Url, Failure> {
        let path = format!("v1/pages/{}/incidents", self.page.page_id);
        let path = id.map_or(path.clone(), |id| format!("{path}/{id}"));
        self.page.api_url.join(&path).map_err(Failure::broken)
    }

    async fn call(&self, method: Method, url: Url, body: Option<Value>) -> Result<Taken, Failure> {
        let call = Call::new(method, url, Some(self.key)).authorized("OAuth")?;
        self.http
            .send(match &body {
                Some(body) => call.json(body),
                None => call,
            })
            .await
    }

    fn components(&self, status: MaintenanceStatus) -> Value {
        let component = match status {
            MaintenanceStatus::Scheduled | MaintenanceStatus::Completed => "operational",
            MaintenanceStatus::InProgress | MaintenanceStatus::Verifying => "under_maintenance",
        };
        self.page.components.iter().map(|id| (id.clone(), Value::from(component))).collect()
    }
}

impl PageClient for Statuspage<'_> {
    async fn find(&self, window: &str, _: &Maintenance) -> Result<Option<String>, Failure> {
        let mut url = self.url(None)?;
        url.query_pairs_mut().append_pair("limit", LATEST).append_pair("page", "1");
        let incidents = self.call(Method::GET, url, None).await?.json()?;
        let ours = |incident: &&Value| {
            incident.pointer("/metadata/quiesce/window").and_then(Value::as_str) == Some(window)
        };
        let found = incidents.as_array().into_iter().flatten().find(ours);
        Ok(found.and_then(|incident| incident.get("id")?.as_str()).map(str::to_owned))
    }

    async fn create(&self, window: &str, maintenance: &Maintenance) -> Result<Shown, Failure> {
        let Maintenance { status, name, text, starts_at, ends_at, .. } = maintenance;
        let body = json!({ "incident": {
            "name": name,
            "status": status,
            "body": text,
            "impact_override": "maintenance",
            "scheduled_for": starts_at,
            "scheduled_until": ends_at,
            "scheduled_remind_prior": self.page.remind,
            "scheduled_auto_in_progress": false,
            "scheduled_auto_completed": false,
            "auto_transition_to_maintenance_state": false,
            "auto_transition_to_operational_state": false,
            "auto_transition_deliver_notifications_at_start": false,
            "auto_transition_deliver_notifications_at_end": false,
            "deliver_notifications": self.page.subscribers,
            "metadata": { "quiesce": { "window": window } },
            "component_ids": self.page.components,
            "components": self.components(*status),
        }});
        let taken = self.call(Method::POST, self.url(None)?, Some(body)).await?;
        Shown::read(&taken)
    }

    async fn says(&self, id: &str, maintenance: &Maintenance) -> Result<bool, Failure> {
        let incident = self.call(Method::GET, self.url(Some(id))?, None).await?.json()?;
        let updates = incident.get("incident_updates").and_then(Value::as_array);
        let same = |update: &Value| {
            let field = |name: &str| update.get(name).and_then(Value::as_str);
            field("status") == Some(maintenance.status.as_str()) && field("body") == Some(&maintenance.text)
        };
        Ok(updates.is_some_and(|updates| updates.iter().any(same)))
    }

    async fn update(&self, id: &str, maintenance: &Maintenance) -> Result<Shown, Failure> {
        let Maintenance { status, text, ends_at, .. } = maintenance;
        let body = json!({ "incident": {
            "status": status,
            "body": text,
            "scheduled_until": ends_at,
            "deliver_notifications": self.page.subscribers,
            "component_ids": self.page.components,
            "components": self.components(*status),
        }});
        let taken = self.call(Method::PATCH, self.url(Some(id))?, Some(body)).await?;
        Shown::read(&taken)
    }
}
