//! `/api/requests`: the requests with their states, as their status files have them, and the two orders that a
//! request takes. An order is a token in the store, the same as the command line's.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ApiError;
use super::extract::{MaybeBody, Named, Query, limit, offset};
use super::feed::request_line;
use super::operation::{Operation, schema};
use super::start::Params;
use super::state::{Api, Stored};
use crate::controller::context::timestamp_now;
use crate::decide::observed::{Record, Verb};
use crate::report::request_document;
use crate::request::flags::Param;
use crate::request::valid::Spec;
use crate::store::conditions::RefusedName;
use crate::store::request_list::{INVALID, Wanted};

const TAG: &str = "requests";

pub fn operations() -> Vec<Operation> {
    let whole = || schema::of("integer");
    let line = schema::object(&[
        ("name", schema::text()),
        ("kind", schema::maybe("string")),
        ("phase", schema::text()),
        ("reason", schema::text()),
        ("message", schema::text()),
        ("run", schema::maybe("object")),
    ]);
    let ordered =
        || schema::object(&[("order", whole()), ("request", schema::text()), ("message", schema::text())]);
    let set = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": { "set": {
            "type": "object",
            "description": "Flags of llama-bench or fields of a load test, for this one run",
            "additionalProperties": { "type": "string" },
        } },
    });
    vec![
        Operation::new(
            "get",
            "/api/requests",
            TAG,
            "Requests by name, those that were refused last",
            get(list),
        )
        .query("kind", "Of one kind", schema::text())
        .query("phase", "In one phase", schema::text())
        .query("limit", "At most so many; clamped to 1…100, 100 by default", whole())
        .query("offset", "So many are passed over", whole())
        .json(
            200,
            "A page of them",
            schema::object(&[
                ("requests", schema::list(&line)),
                ("total", whole()),
                ("limit", whole()),
                ("offset", whole()),
            ]),
        ),
        Operation::new("get", "/api/requests/{name}", TAG, "A request as its status file has it", get(show))
            .path_parameter("name", "The request, also one that was refused: its phase is Invalid")
            .json(
                200,
                "The request",
                schema::object(&[
                    ("apiVersion", schema::text()),
                    ("kind", schema::maybe("string")),
                    ("metadata", schema::of("object")),
                    ("status", schema::of("object")),
                ]),
            )
            .refuses(404, "There is no such request."),
        Operation::new("post", "/api/requests/{name}/rerun", TAG, "Runs a request once more", post(rerun))
            .path_parameter("name", "The request")
            .body(set, false)
            .json(202, "The order is kept until it is carried out", ordered())
            .refuses(404, "There is no such request, or its file is gone.")
            .refuses(413, "The body is too large.")
            .refuses(415, "The body is no JSON."),
        Operation::new("post", "/api/requests/{name}/cancel", TAG, "Ends a request's run", post(cancel))
            .path_parameter("name", "The request")
            .json(202, "The order is kept until it is carried out", ordered())
            .refuses(404, "There is no such request.")
            .refuses(409, "Nothing runs."),
    ]
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    kind: Option<String>,
    phase: Option<String>,
    limit: Option<String>,
    offset: Option<String>,
}

async fn list(State(api): State<Api>, Query(query): Query<ListQuery>) -> Result<axum::Json<Value>, ApiError> {
    let wanted = Wanted {
        kind: query.kind,
        phase: query.phase,
        limit: limit(query.limit.as_deref(), 100)?,
        offset: offset(query.offset.as_deref())?,
    };
    let (limit, offset) = (wanted.limit, wanted.offset);
    let page = api.ask(move |store| store.listed_requests(&wanted)).await?;
    let refused = page.refused.iter().map(refused_line);
    let lines: Vec<Value> = page.requests.iter().map(request_line).chain(refused).collect();
    Ok(axum::Json(json!({ "requests": lines, "total": page.total, "limit": limit, "offset": offset })))
}

fn refused_line(refused: &RefusedName) -> Value {
    json!({
        "name": refused.name,
        "kind": null,
        "phase": INVALID,
        "reason": refused.condition.reason,
        "message": refused.condition.message,
        "run": null,
    })
}

async fn show(State(api): State<Api>, Named(name): Named<String>) -> Result<axum::Json<Value>, ApiError> {
    let asked = name.clone();
    let shown = api
        .ask(move |store| -> Stored<Option<Value>> {
            if let Some(request) = store.request_summaries(Some(&asked))?.first() {
                return request_document::request(store, request).map(Some);
            }
            let Some(refused) = store.refused_name(&asked)? else { return Ok(None) };
            let mut shown = request_document::refused(store, &refused)?;
            // Of its document no kind is sure.
            shown["kind"] = Value::Null;
            Ok(Some(shown))
        })
        .await?;
    shown.map(axum::Json).ok_or_else(|| unknown(&name))
}

fn unknown(name: &str) -> ApiError {
    ApiError::not_found(format!("there is no request {name:.140}"))
}

async fn record(api: &Api, name: &str) -> Result<Record, ApiError> {
    let asked = name.to_owned();
    let record = api.ask(move |store| store.request(&asked)).await?;
    record.filter(|record| !record.deleted).ok_or_else(|| unknown(name))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rerun {
    set: Option<Params>,
}

type Ordered = Result<(StatusCode, axum::Json<Value>), ApiError>;

async fn rerun(
    State(api): State<Api>,
    Named(name): Named<String>,
    MaybeBody(asked): MaybeBody<Rerun>,
) -> Ordered {
    let record = record(&api, &name).await?;
    let set: Vec<Param> = asked.set.map(|params| params.0).unwrap_or_default();
    check_flags(&record.spec, &set)?;
    let settable = record.spec.clone().set(&set, record.control.timeout_ms);
    settable.map_err(|reason| {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            "invalid_parameters",
            format!("{name} cannot be run so: {reason}"),
        )
    })?;
    order(&api, &name, Verb::Rerun { set }, "runs once more").await
}

/// Flags that come in an order are held to the rules of those in a file.
fn check_flags(spec: &Spec, set: &[Param]) -> Result<(), ApiError> {
    match spec {
        Spec::LlamaBench(_) => super::start::check_params(set),
        Spec::LoadTest(_)
        | Spec::Apply(_)
        | Spec::Model(_)
        | Spec::Baseline(_)
        | Spec::Comparison(_)
        | Spec::Imported(_) => Ok(()),
    }
}

async fn cancel(State(api): State<Api>, Named(name): Named<String>) -> Ordered {
    let asked = record(&api, &name).await?.name;
    let something = api
        .ask(move |store| -> Stored<bool> {
            let running = store.open_runs()?.iter().any(|run| run.request == asked);
            Ok(running || store.commands_for(&asked)?.iter().any(|command| command.verb != Verb::Cancel))
        })
        .await?;
    if !something {
        return Err(ApiError::conflict("nothing_runs", format!("the request {name} has no run to cancel")));
    }
    order(&api, &name, Verb::Cancel, "is being cancelled").await
}

async fn order(api: &Api, name: &str, verb: Verb, words: &str) -> Ordered {
    let id = api.context.store.order(name, verb, timestamp_now()).await?;
    api.context.wake(name);
    let message = format!("the request {name} {words}");
    Ok((StatusCode::ACCEPTED, axum::Json(json!({ "order": id, "request": name, "message": message }))))
}
