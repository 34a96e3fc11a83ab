//! Hands a delivery to the client of its kind; and how a maintenance comes to be shown on a status page just once.

use hyper::Method;
use reqwest::Url;
use serde_json::Value;

use super::{
    NotifierKind, Payload,
    http::{Call, Failure, Http, Taken},
    instatus::Instatus,
    payload::{Maintenance, MaintenanceStatus},
    purge,
    statuspage::Statuspage,
    webhook,
};
use crate::{
    clock,
    config::{Page, Target},
    outbox::{Delivery, Outbox},
};

/// What a delivery came to that was not a failure.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// The other side has it.
    Delivered {
        /// The HTTP status.
        status: u16,
        /// What there is to say.
        note: Option<String>,
    },
    /// There was nothing to tell.
    Nothing(String),
}

impl Told {
    fn by(taken: &Taken) -> Self {
        Self::Delivered { status: taken.status, note: None }
    }
}

/// Sends one delivery to where it belongs.
pub async fn send(
    http: &Http,
    target: &Target,
    delivery: &Delivery,
    outbox: &dyn Outbox,
) -> Result<Told, Failure> {
    let payload: Payload = serde_json::from_str(&delivery.payload).map_err(Failure::broken)?;
    match (target, payload) {
        (Target::Page(page), Payload::Maintenance(maintenance)) => {
            let key = page.api_key.read()?;
            if delivery.kind == NotifierKind::Instatus {
                show(&Instatus { http, page, key: &key }, delivery, &maintenance, outbox).await
            } else {
                show(&Statuspage { http, page, key: &key }, delivery, &maintenance, outbox).await
            }
        }
        (Target::Slack(secret), Payload::Body { json }) => {
            let secret = secret.read()?;
            let url = Url::parse(secret.expose())
                .map_err(|_| Failure::broken("what is in the place of the webhook's URL is no URL"))?;
            let call = Call::new(Method::POST, url, Some(&secret)).json(&json);
            Ok(Told::by(&http.send(call).await?))
        }
        (Target::Webhook { url, secret }, Payload::Body { json }) => {
            let secret = secret.read()?;
            let unix_s = clock::now().unix_ms() / 1_000;
            let call = webhook::signed(url.clone(), &delivery.id, unix_s, &json, &secret)?;
            Ok(Told::by(&http.send(call).await?))
        }
        (Target::Varnish { urls, method, headers }, Payload::Purge) => {
            let status = purge::varnish(http, urls, *method, headers).await?;
            Ok(Told::Delivered { status, note: None })
        }
        (Target::Cdn { url, api_key, body, soft }, Payload::Purge) => {
            let key = api_key.read()?;
            let taken = if delivery.kind == NotifierKind::Cloudflare {
                purge::cloudflare(http, url, body, &key).await?
            } else {
                purge::fastly(http, url, body, *soft, &key).await?
            };
            Ok(Told::by(&taken))
        }
        _ => Err(Failure::broken("the notifier of this name was of another kind when this was written")),
    }
}

/// A maintenance as a status page answers with it.
#[derive(Debug)]
pub struct Shown {
    /// What the page calls it.
    pub id: String,
    /// The HTTP status.
    pub status: u16,
}

impl Shown {
    /// Reads the answer to a request that made or changed one.
    pub fn read(taken: &Taken) -> Result<Self, Failure> {
        let answer = taken.json()?;
        match answer.get("id").and_then(Value::as_str) {
            Some(id) => Ok(Self { id: id.to_owned(), status: taken.status }),
            None => Err(Failure::Later {
                status: Some(taken.status),
                why: "the answer names no `id`".to_owned(),
                after_ms: None,
            }),
        }
    }
}

/// A status page that shows maintenances.
pub trait PageClient {
    /// Looks for the maintenance of a window, which may have been made by a request whose answer was lost.
    async fn find(&self, window: &str, maintenance: &Maintenance) -> Result<Option<String>, Failure>;
    /// Makes one.
    async fn create(&self, window: &str, maintenance: &Maintenance) -> Result<Shown, Failure>;
    /// Whether this has been said of one already.
    async fn says(&self, id: &str, maintenance: &Maintenance) -> Result<bool, Failure>;
    /// Says it.
    async fn update(&self, id: &str, maintenance: &Maintenance) -> Result<Shown, Failure>;
}

/// Has a page show a maintenance as it is now. Whatever was sent before and not answered may have been taken: so it is
/// looked for before it is made, and before the same is said again.
async fn show<C: PageClient>(
    client: &C,
    delivery: &Delivery,
    maintenance: &Maintenance,
    outbox: &dyn Outbox,
) -> Result<Told, Failure> {
    let window = delivery.window.as_str();
    let done = |status, note: Option<&str>| Ok(Told::Delivered { status, note: note.map(str::to_owned) });
    let keep = async |id: &str| {
        let kept = outbox.note_external_id(delivery.id.clone(), id.to_owned()).await;
        kept.map_err(|error| Failure::Later { status: None, why: error.to_string(), after_ms: None })
    };
    let siblings = outbox.of_window(delivery.notifier.clone(), delivery.window.clone()).await;
    let siblings =
        siblings.map_err(|error| Failure::Later { status: None, why: error.to_string(), after_ms: None })?;
    let known = siblings.iter().rev().find_map(|one| one.external_id.clone());
    let found = match &known {
        Some(_) => None,
        None => client.find(window, maintenance).await?,
    };
    let repeated = delivery.attempts > 0 || found.is_some();
    let id = match known.or(found) {
        Some(id) => {
            keep(&id).await?;
            id
        }
        None if maintenance.only_if_shown => {
            return Ok(Told::Nothing("the page never showed it".to_owned()));
        }
        None => {
            // A page that first hears of a maintenance when it is over still shows it from its beginning.
            let late =
                matches!(maintenance.status, MaintenanceStatus::Verifying | MaintenanceStatus::Completed);
            let status = if late { MaintenanceStatus::InProgress } else { maintenance.status };
            let shown = client.create(window, &Maintenance { status, ..maintenance.clone() }).await?;
            keep(&shown.id).await?;
            if !late {
                return done(shown.status, None);
            }
            shown.id
        }
    };
    if repeated && client.says(&id, maintenance).await? {
        return done(200, Some("an earlier attempt had been taken"));
    }
    done(client.update(&id, maintenance).await?.status, None)
}

impl Page {
    /// Where a preview says that it is told.
    pub fn shown(&self) -> String {
        format!("{}, page {}", self.api_url.host_str().unwrap_or_default(), self.page_id)
    }
}

impl Target {
    /// Where it is, as far as that is no secret.
    pub fn shown(&self) -> String {
        match self {
            Self::Page(page) => page.shown(),
            Self::Slack(_) => "an incoming webhook whose URL is secret".to_owned(),
            Self::Webhook { url, .. } => url.to_string(),
            Self::Varnish { urls, method, .. } => {
                let urls: Vec<_> = urls.iter().map(|url| format!("{} {url}", method.as_str())).collect();
                urls.join(", ")
            }
            Self::Cdn { url, body, .. } => format!("{url} {body}"),
        }
    }
}
