//! `/api/baselines`: runs that later ones are compared with, listed, set and taken away, by the rules of
//! `benchlet baseline`.

use axum::extract::State;
use axum::routing::{delete, get, put};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ApiError;
use super::extract::{Body, Named, Query};
use super::operation::{Operation, schema};
use super::runs::find;
use super::state::Api;
use crate::controller::baseline_orders::{self, BaselineError, FIT, Whose};
use crate::controller::context::timestamp_now;
use crate::report::comparands::ComparandError;
use crate::report::judgement_document;
use crate::store::baselines::Scope;

const TAG: &str = "judging";
/// Most of one answer.
const MOST: usize = 1_000;

pub fn operations() -> Vec<Operation> {
    let baseline = schema::object(&[
        ("name", schema::text()),
        ("run", schema::text()),
        ("setAt", schema::text()),
        ("setBy", schema::maybe("string")),
    ]);
    let body = json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["run"],
        "properties": {
            "run": { "type": "string", "description": "The run's id, or its first eight characters or more" },
            "for": {
                "enum": ["request", "service"],
                "description": "Whose runs are compared with it: those of the run's own request, or of its service",
            },
        },
    });
    let (done, message) = (("success", schema::of("boolean")), ("message", schema::text()));
    vec![
        Operation::new("get", "/api/baselines", TAG, "The baselines, by name", get(list)).json(
            200,
            "The first thousand; each has `request` or `service`, whose runs are compared with it",
            schema::object(&[("baselines", schema::list(&baseline)), ("total", schema::of("integer"))]),
        ),
        Operation::new("put", "/api/baselines/{name}", TAG, "Makes a run a baseline", put(set))
            .path_parameter("name", "The baseline's name: main, v1.4")
            .body(body, true)
            .json(
                200,
                "It is set; one that had its name for the same runs gave it up",
                schema::object(&[done.clone(), message.clone(), ("baseline", baseline)]),
            )
            .refuses(404, "There is no such run.")
            .refuses(409, "The run was deleted meanwhile.")
            .refuses(413, "The body is too large.")
            .refuses(415, "The body is no JSON."),
        Operation::new("delete", "/api/baselines/{name}", TAG, "Takes a baseline away", delete(remove))
            .path_parameter("name", "The baseline's name")
            .query("request", "Of several of the name, the one for this request", schema::text())
            .query("service", "Of several of the name, the one for this service", schema::text())
            .json(200, "It is gone; its run stays", schema::object(&[done, message]))
            .refuses(404, "There is no such baseline."),
    ]
}

async fn list(State(api): State<Api>) -> Result<axum::Json<Value>, ApiError> {
    let all = api.ask(|store| store.baselines()).await?;
    let lines: Vec<Value> = all.iter().take(MOST).map(judgement_document::listed_baseline).collect();
    Ok(axum::Json(json!({ "baselines": lines, "total": all.len() })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pinned {
    run: String,
    #[serde(rename = "for", default)]
    whose: For,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum For {
    #[default]
    Request,
    Service,
}

async fn set(
    State(api): State<Api>,
    Named(name): Named<String>,
    Body(asked): Body<Pinned>,
) -> Result<axum::Json<Value>, ApiError> {
    let run = find(&api, asked.run).await?;
    let whose = match asked.whose {
        For::Request => Whose::OwnRequest,
        For::Service => Whose::OwnService,
    };
    let planned =
        api.work(move |store| baseline_orders::planned(store, &run, &name, whose, timestamp_now())).await?;
    let shown = judgement_document::listed_baseline(&planned);
    let message = baseline_orders::set(&api.context.store, planned).await?;
    Ok(axum::Json(json!({ "success": true, "message": message, "baseline": shown })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    request: Option<String>,
    service: Option<String>,
}

async fn remove(
    State(api): State<Api>,
    Named(name): Named<String>,
    Query(which): Query<Which>,
) -> Result<axum::Json<Value>, ApiError> {
    let wanted = match (which.request, which.service) {
        (Some(_), Some(_)) => return Err(ApiError::bad_request("name request or service, not both")),
        (Some(request), None) => Some(Scope::Request(request)),
        (None, Some(service)) => Some(Scope::Service(service)),
        (None, None) => None,
    };
    let is_meant = move |scope: &Scope| wanted.as_ref().is_none_or(|wanted| wanted == scope);
    let one = api.ask(move |store| baseline_orders::named(store, &name, is_meant)).await?;
    let gone = baseline_orders::remove(&api.context.store, one).await?;
    let message = match gone.note {
        Some(note) => format!("{}; {note}", gone.said),
        None => gone.said,
    };
    Ok(axum::Json(json!({ "success": true, "message": message })))
}

impl From<BaselineError> for ApiError {
    fn from(error: BaselineError) -> Self {
        let said = error.to_string();
        match error {
            BaselineError::Store(error) => error.into(),
            BaselineError::Unfit(ComparandError::Store(_) | ComparandError::Decode { .. }) => {
                Self::internal(&said)
            }
            BaselineError::Unfit(
                ComparandError::NotCompleted { .. }
                | ComparandError::NothingMeasured { .. }
                | ComparandError::Unfit { .. },
            ) => Self::invalid("unfit", format!("{said}; {FIT}")),
            BaselineError::Name | BaselineError::NoService => Self::bad_request(said),
            BaselineError::Unknown { .. } => Self::not_found(said),
            BaselineError::Several { of, .. } => {
                let of = of.join(", ");
                Self::bad_request(format!("{said}: of {of}; say which with request or service"))
            }
        }
    }
}
