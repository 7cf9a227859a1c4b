//! `/api/benchmarks`: runs as they are listed and shown, cancelled and deleted. Orders are the same tokens in the
//! store that the command line leaves.

use axum::extract::State;
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::error::ApiError;
use super::extract::{Named, Query, limit, offset};
use super::operation::{Operation, schema};
use super::run_lines::{self, STATUSES};
use super::state::{Api, Stored};
use crate::controller::context::timestamp_now;
use crate::decide::observed::Verb;
use crate::store::run_list::Wanted;
use crate::store::runs::{self, RunRow};
use crate::store::{Store, StoreError};

const TAG: &str = "benchmarks";
/// Of the beginning of an id, as lists show it.
const SHORTEST_ID: usize = 8;

pub fn operations() -> Vec<Operation> {
    let whole = || schema::of("integer");
    let done = || schema::object(&[("success", schema::of("boolean")), ("message", schema::text())]);
    vec![
        Operation::new("get", "/api/benchmarks", TAG, "Runs, newest first", get(list))
            .query("service_name", "Of one service", schema::text())
            .query("request", "Of one request", schema::text())
            .query("kind", "Of one kind of request", schema::text())
            .query("status", "In one status", json!({ "enum": STATUSES }))
            .query("limit", "At most so many; clamped to 1…100, 20 by default", whole())
            .query("offset", "So many are passed over", whole())
            .json(
                200,
                "A page of them",
                schema::object(&[
                    ("runs", schema::list(&run_lines::line_schema())),
                    ("total", whole()),
                    ("limit", whole()),
                    ("offset", whole()),
                ]),
            ),
        Operation::new("get", "/api/benchmarks/{id}", TAG, "A run in full", get(show))
            .path_parameter("id", "The run's id, or its first eight characters or more")
            .json(200, "The run", run_lines::whole_schema())
            .refuses(404, "There is no such run."),
        Operation::new(
            "delete",
            "/api/benchmarks/{id}",
            TAG,
            "Cancels a run that has not ended, deletes one that has",
            axum::routing::delete(remove),
        )
        .path_parameter("id", "The run's id, or its first eight characters or more")
        .json(200, "It is deleted, or is being cancelled", done())
        .refuses(404, "There is no such run.")
        .refuses(409, "It is pinned as a baseline."),
    ]
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    service_name: Option<String>,
    request: Option<String>,
    kind: Option<String>,
    status: Option<String>,
    limit: Option<String>,
    offset: Option<String>,
}

async fn list(State(api): State<Api>, Query(query): Query<ListQuery>) -> Result<axum::Json<Value>, ApiError> {
    if let Some(status) = query.status.as_deref()
        && !STATUSES.contains(&status)
    {
        return Err(ApiError::bad_request(format!("status is one of {}", STATUSES.join(", "))));
    }
    let wanted = Wanted {
        service: query.service_name,
        request: query.request,
        kind: query.kind,
        status: query.status,
        limit: limit(query.limit.as_deref(), 20)?,
        offset: offset(query.offset.as_deref())?,
    };
    let (limit, offset) = (wanted.limit, wanted.offset);
    let (found, total) = api.ask(move |store| store.listed_runs(&wanted)).await?;
    let lines: Vec<Value> = found.iter().map(run_lines::line).collect();
    Ok(axum::Json(json!({ "runs": lines, "total": total, "limit": limit, "offset": offset })))
}

async fn show(State(api): State<Api>, Named(id): Named<String>) -> Result<axum::Json<Value>, ApiError> {
    let row = find(&api, id).await?;
    let context = api.context.clone();
    let shown = api
        .ask(move |store| -> Stored<Option<Value>> {
            let Some(listed) = store.listed_run(row.id)? else { return Ok(None) };
            run_lines::whole(&context, store, &listed, &row).map(Some)
        })
        .await?;
    shown.map(axum::Json).ok_or_else(|| ApiError::not_found("the run was deleted meanwhile"))
}

/// The run of an id or of its beginning.
///
/// # Errors
/// There is none, or there are several.
pub async fn find(api: &Api, id: String) -> Result<RunRow, ApiError> {
    let unknown = || ApiError::not_found(format!("there is no run {id:.80}"));
    if id.len() < SHORTEST_ID {
        // A slip must not delete whatever begins so.
        return Err(unknown());
    }
    let asked = id.clone();
    let found = api
        .ask(move |store: &Store| match store.find_run(&asked) {
            Err(StoreError::Refused(why)) => Err(ApiError::bad_request(why)),
            other => other.map_err(ApiError::from),
        })
        .await?;
    found.ok_or_else(unknown)
}

async fn remove(State(api): State<Api>, Named(id): Named<String>) -> Result<axum::Json<Value>, ApiError> {
    let row = find(&api, id).await?;
    let message = if row.state.phase().is_terminal() {
        forget(&api, row.id).await?;
        format!("the run {} of {} is deleted", row.id, row.request)
    } else {
        api.context.store.order(&row.request, Verb::Cancel, timestamp_now()).await?;
        api.context.wake(&row.request);
        format!("the run {} of {} is being cancelled", row.id, row.request)
    };
    Ok(axum::Json(json!({ "success": true, "message": message })))
}

async fn forget(api: &Api, run: Uuid) -> Result<(), ApiError> {
    let now = timestamp_now();
    api.context.store.write(move |connection| runs::delete(connection, run, &now)).await?;
    let spool = api.context.spool_root().join(run.to_string());
    match tokio::fs::remove_dir_all(&spool).await {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        // The record is gone; its output takes place and nothing else.
        Err(error) => tracing::warn!(%error, path = %spool.display(), "a deleted run's output stays"),
    }
    Ok(())
}
