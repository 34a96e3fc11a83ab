//! Talks to the companion.

use std::{io::Write, path::PathBuf, time::Duration};

use quiesce_policy::{snapshot::WindowId, time::Timestamp};
use reqwest::{Method, StatusCode, Url};
use serde::{Serialize, de::DeserializeOwned};

use super::error::{CliError, ErrorKind};
use crate::{
    backfill::view::{BackfillView, IntentList, IntentSelection, IntentView, IntentsChanged},
    outbox::view::{
        DeliveriesChanged, DeliveryList, DeliverySelection, DeliveryView, PreviewRequest, PreviewView,
    },
    plans::{NewPlan, PlanId, PlanList, PlanView, SkipOccurrence},
    view::{
        BarrierView, EventList, Extension, FleetView, NewPass, NewUpdate, NewWindow, PassView, ProblemView,
        StatusView, SurfacesView, WindowView,
    },
};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Events that are asked for at once.
const EVENTS: &str = "1000";
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// How long one look at a barrier is held.
pub const LOOK: Duration = Duration::from_secs(20);

/// A companion, as the command line reaches it.
pub struct Client {
    http: reqwest::Client,
    url: Url,
    token: Option<String>,
}

impl Client {
    /// For the companion at `url`, with the token of the environment or of a file.
    pub fn new(url: &str, token_file: Option<&PathBuf>) -> Result<Self, CliError> {
        // Fails only if a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let usage = |message: String| {
            CliError::new(ErrorKind::Usage, message).hint("write it like http://127.0.0.1:7423")
        };
        let url = Url::parse(url).map_err(|error| usage(format!("--url `{url}` is no URL: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(usage(format!("--url `{url}` is neither http nor https")));
        }
        let token = match token_file {
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    let message = format!("cannot read --token-file {}: {error}", path.display());
                    CliError::new(ErrorKind::BadInput, message)
                })?;
                Some(text.trim().to_owned())
            }
            None => std::env::var("QUIESCE_TOKEN").ok().filter(|token| !token.is_empty()),
        };
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_LIMIT)
            .user_agent(concat!("quiesce/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .build()
            .map_err(CliError::internal)?;
        Ok(Self { http, url, token })
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&(impl Serialize + Sync)>,
    ) -> Result<T, CliError> {
        let mut request = self.request(method, path, query)?.timeout(LOOK + ANSWER_LIMIT);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        if status == StatusCode::NO_CONTENT {
            return serde_json::from_str("null").map_err(CliError::internal);
        }
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|error| {
                let message = format!("{} answers what this version does not understand: {error}", self.url);
                CliError::new(ErrorKind::Internal, message)
                    .hint("use the same version of quiesce on both ends")
            });
        }
        Err(self.refusal(status, &bytes))
    }

    fn request(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<reqwest::RequestBuilder, CliError> {
        let mut url = self.url.clone();
        url.path_segments_mut()
            .map_err(|()| CliError::new(ErrorKind::Usage, "--url cannot have a path"))?
            .pop_if_empty()
            .push("v1")
            .extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.request(method, url);
        Ok(match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
    }

    fn refusal(&self, status: StatusCode, body: &[u8]) -> CliError {
        match serde_json::from_slice::<ProblemView>(body) {
            Ok(problem) => problem.into(),
            Err(_) => CliError::new(ErrorKind::Unreachable, format!("{} answers {status}", self.url))
                .hint("is this the address of a Quiesce companion?"),
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> CliError {
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        let url = self.url.as_str().trim_end_matches('/');
        let message = format!("the companion at {url} does not answer: {cause}");
        CliError::new(ErrorKind::Unreachable, message)
            .hint("is `quiesce serve` running there? --url or QUIESCE_URL says where to look")
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, CliError> {
        self.call(Method::GET, path, &[], None::<&()>).await
    }

    /// Issues a window.
    pub async fn create(&self, new: &NewWindow) -> Result<WindowView, CliError> {
        self.call(Method::POST, &["windows"], &[], Some(new)).await
    }

    /// Plans windows that recur.
    pub async fn add_plan(&self, new: &NewPlan) -> Result<PlanView, CliError> {
        self.call(Method::POST, &["plans"], &[], Some(new)).await
    }

    /// The plans there are.
    pub async fn plans(&self) -> Result<PlanList, CliError> {
        self.get(&["plans"]).await
    }

    /// One plan.
    pub async fn plan(&self, id: &PlanId) -> Result<PlanView, CliError> {
        self.get(&["plans", id.as_str()]).await
    }

    /// Takes one occurrence out of a plan.
    pub async fn skip_occurrence(&self, id: &PlanId, starts_at: Timestamp) -> Result<PlanView, CliError> {
        let body = SkipOccurrence { starts_at };
        self.call(Method::POST, &["plans", id.as_str(), "skip"], &[], Some(&body)).await
    }

    /// Removes a plan.
    pub async fn remove_plan(&self, id: &PlanId) -> Result<PlanView, CliError> {
        self.call(Method::DELETE, &["plans", id.as_str()], &[], None::<&()>).await
    }

    /// Opens writes again.
    pub async fn thaw(&self, id: &WindowId) -> Result<WindowView, CliError> {
        self.call(Method::POST, &["windows", id.as_str(), "thaw"], &[], None::<&()>).await
    }

    /// Opens writes again because the work is given up.
    pub async fn abort(&self, id: &WindowId) -> Result<WindowView, CliError> {
        self.call(Method::POST, &["windows", id.as_str(), "abort"], &[], None::<&()>).await
    }

    /// What happened to a window, after the event `after`.
    pub async fn events(&self, id: &WindowId, after: u64) -> Result<EventList, CliError> {
        let after = after.to_string();
        let query = [("window", id.as_str()), ("after", after.as_str()), ("limit", EVENTS)];
        self.call(Method::GET, &["events"], &query, None::<&()>).await
    }

    /// Takes back a window that has not begun.
    pub async fn cancel(&self, id: &WindowId) -> Result<WindowView, CliError> {
        self.call(Method::POST, &["windows", id.as_str(), "cancel"], &[], None::<&()>).await
    }

    /// Moves a window's end.
    pub async fn extend(&self, id: &WindowId, by_ms: u64) -> Result<WindowView, CliError> {
        let body = Extension { by_ms };
        self.call(Method::POST, &["windows", id.as_str(), "extend"], &[], Some(&body)).await
    }

    /// Tells the public something about a window.
    pub async fn post_update(&self, id: &WindowId, text: &str) -> Result<WindowView, CliError> {
        let body = NewUpdate { text: text.to_owned() };
        self.call(Method::POST, &["windows", id.as_str(), "updates"], &[], Some(&body)).await
    }

    /// One window.
    pub async fn window(&self, id: &WindowId) -> Result<WindowView, CliError> {
        self.get(&["windows", id.as_str()]).await
    }

    /// A window with its barrier, once it is another than at `after`, or after `wait`.
    pub async fn watch(
        &self,
        id: &WindowId,
        after: Option<&str>,
        wait: Duration,
    ) -> Result<BarrierView, CliError> {
        let wait_ms = wait.min(LOOK).as_millis().to_string();
        let mut query = vec![("wait_ms", wait_ms.as_str())];
        query.extend(after.map(|after| ("after", after)));
        self.call(Method::GET, &["windows", id.as_str(), "barrier"], &query, None::<&()>).await
    }

    /// How things stand.
    pub async fn status(&self) -> Result<StatusView, CliError> {
        self.get(&["status"]).await
    }

    /// The enforcers.
    pub async fn fleet(&self) -> Result<FleetView, CliError> {
        self.get(&["fleet"]).await
    }

    /// What was seen of observed surfaces.
    pub async fn surfaces(&self) -> Result<SurfacesView, CliError> {
        self.get(&["surfaces"]).await
    }

    /// Intents in the order of their acceptance.
    pub async fn intents(
        &self,
        narrowing: &[(&str, &str)],
        after: u64,
        limit: u32,
    ) -> Result<IntentList, CliError> {
        let (after, limit) = (after.to_string(), limit.to_string());
        let query = [narrowing, &[("after", after.as_str()), ("limit", limit.as_str())]].concat();
        self.call(Method::GET, &["intents"], &query, None::<&()>).await
    }

    /// One intent.
    pub async fn intent(&self, id: &str) -> Result<IntentView, CliError> {
        self.get(&["intents", id]).await
    }

    /// Has intents tried again (`retry`), or takes them back (`discard`).
    pub async fn decide(&self, verb: &str, selection: &IntentSelection) -> Result<IntentsChanged, CliError> {
        self.call(Method::POST, &["intents", verb], &[], Some(selection)).await
    }

    /// Writes intents out as lines of JSON; however many there are, few are in memory.
    pub async fn export(&self, narrowing: &[(&str, &str)], out: &mut impl Write) -> Result<(), CliError> {
        let request = self.request(Method::GET, &["intents", "export"], narrowing)?;
        let mut response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if !status.is_success() {
            let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
            return Err(self.refusal(status, &bytes));
        }
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            out.write_all(&chunk).map_err(CliError::internal)?;
        }
        out.flush().map_err(CliError::internal)
    }

    /// How the backfill stands.
    pub async fn backfill(&self) -> Result<BackfillView, CliError> {
        self.get(&["backfill"]).await
    }

    /// Stops the backfill.
    pub async fn pause_backfill(&self, reason: &str) -> Result<BackfillView, CliError> {
        let body = serde_json::json!({ "reason": reason });
        self.call(Method::POST, &["backfill", "pause"], &[], Some(&body)).await
    }

    /// Lets the backfill go on.
    pub async fn resume_backfill(&self) -> Result<BackfillView, CliError> {
        self.call(Method::POST, &["backfill", "resume"], &[], None::<&()>).await
    }

    /// Deliveries, the newest first.
    pub async fn deliveries(&self, query: &[(&str, &str)]) -> Result<DeliveryList, CliError> {
        self.call(Method::GET, &["deliveries"], query, None::<&()>).await
    }

    /// One delivery.
    pub async fn delivery(&self, id: &str) -> Result<DeliveryView, CliError> {
        self.get(&["deliveries", id]).await
    }

    /// Has deliveries sent again (`resend`), or takes them back (`cancel`).
    pub async fn decide_deliveries(
        &self,
        verb: &str,
        selection: &DeliverySelection,
    ) -> Result<DeliveriesChanged, CliError> {
        self.call(Method::POST, &["deliveries", verb], &[], Some(selection)).await
    }

    /// What would be said of a window.
    pub async fn preview(&self, asked: &PreviewRequest) -> Result<PreviewView, CliError> {
        self.call(Method::POST, &["deliveries", "preview"], &[], Some(asked)).await
    }

    /// Gives up on an enforcer.
    pub async fn forget(&self, id: &str) -> Result<(), CliError> {
        self.call(Method::DELETE, &["fleet", id], &[], None::<&()>).await
    }

    /// Issues a pass.
    pub async fn issue_pass(&self, new: &NewPass) -> Result<PassView, CliError> {
        self.call(Method::POST, &["passes"], &[], Some(new)).await
    }
}
