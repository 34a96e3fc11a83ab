//! What the enforcers would make of a request, by the configuration in force.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use quiesce_policy::snapshot::{Effect, WriteKind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Fault, StrictJson};
use crate::{
    explain::{Asked, Explanation, Values},
    service::Service,
    view::ProblemView,
};

/// A request to be explained.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The other headers.
    #[serde(default)]
    pub headers: BTreeMap<String, Vec<String>>,
    /// The body, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// What would become of it, were writes frozen.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ExplanationView {
    /// Whether it reads or writes.
    #[schema(value_type = String)]
    pub effect: Effect,
    /// `pass` for reads; for writes what their rule says.
    pub action: String,
    /// What decided.
    pub rule: String,
    /// The code of the refusal, if it would be refused.
    pub refusal: Option<String>,
    /// The surface it belongs to.
    pub surface: String,
    /// What kind of write it is, if the rule says so.
    #[schema(value_type = Option<String>)]
    pub kind: Option<WriteKind>,
    /// What would make a read of it that cannot be known here.
    pub unless: Option<String>,
    /// What the client would get, if the enforcer itself answers.
    pub answer: Option<AnswerView>,
}

/// An answer of an enforcer.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AnswerView {
    /// The HTTP status.
    pub status: u32,
    /// Names and values of its headers.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: String,
}

/// What the enforcers would make of a request, were writes frozen.
#[utoipa::path(
    post, path = "/v1/explain", tag = "console", request_body = ExplainRequest,
    responses(
        (status = 200, body = ExplanationView),
        (status = "4XX", body = ProblemView, content_type = "application/problem+json"),
    ),
    security(("token" = ["viewer"])),
)]
pub async fn explain(
    State(service): State<Arc<Service>>,
    StrictJson(request): StrictJson<ExplainRequest>,
) -> Result<Json<ExplanationView>, Fault> {
    let explainer = service.explainer()?;
    let headers = request.headers.into_iter().map(|(name, values)| (name, Values::Many(values)));
    let asked = Asked {
        method: request.method.into(),
        path: request.path.into(),
        host: request.host.map(Into::into),
        headers: headers.collect(),
        body: request.body,
        body_b64: None,
    };
    Ok(Json(view(explainer.explain(&asked))))
}

fn view(explanation: Explanation<'_>) -> ExplanationView {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ExplanationView {
        effect: explanation.effect,
        action: explanation.action.to_owned(),
        rule: explanation.rule.into_owned(),
        refusal: explanation.refusal.map(str::to_owned),
        surface: explanation.surface.to_owned(),
        kind: explanation.kind,
        unless: explanation.unless.map(str::to_owned),
        answer: explanation.reply.map(|reply| AnswerView {
            status: reply.status.into(),
            headers: reply.headers.headers().pairs().map(|(name, value)| (text(name), text(value))).collect(),
            body: text(&reply.body),
        }),
    }
}
