//! Requests and runs as JSON, for `-o json|yaml` and the API: the shape of the status files.

use serde_json::{Map, Value, json};

use super::judgement_document;
use super::phase_summary::{self, Summary};
use crate::request::diagnostic::Located;
use crate::request::schema::API_VERSION;
use crate::request::valid::Spec;
use crate::store::applies::{ApplyRow, ApplyState};
use crate::store::conditions::RefusedName;
use crate::store::overview::{RequestSummary, RunSummary};
use crate::store::runs::{Filter, RunRow};
use crate::store::{Store, StoreError};

/// Runs in `history`.
pub const HISTORY: u32 = 10;

/// `{ items: […] }` as kubectl's lists have it.
pub fn list(items: Vec<Value>) -> Value {
    json!({ "apiVersion": API_VERSION, "kind": "List", "items": items })
}

/// A request in full, as its status file says it.
///
/// # Errors
/// The store's own.
pub fn request(store: &Store, request: &RequestSummary) -> Result<Value, StoreError> {
    let summary = phase_summary::of_request(request);
    let mut status = Map::new();
    put_summary(&mut status, &summary);
    put_conditions(&mut status, store, &request.name)?;
    if let Some(last) = &request.run {
        status.insert("run".to_owned(), run_head(last));
        if let Some(row) = store.run(last.id)? {
            if let Some(plan) = &row.plan {
                status.insert("command".to_owned(), json!(plan.command));
            }
            match &row.spec {
                Spec::Model(_) => {
                    status.insert("model".to_owned(), json!(store.model_files(last.id)?));
                }
                Spec::LlamaBench(_)
                | Spec::LoadTest(_)
                | Spec::Apply(_)
                | Spec::Baseline(_)
                | Spec::Comparison(_)
                | Spec::Imported(_) => {
                    status.insert("results".to_owned(), results(store, last)?);
                }
            }
        }
        let filter = Filter { request: Some(request.name.clone()), limit: HISTORY, ..Filter::default() };
        let history: Vec<Value> = store.run_summaries(&filter)?.iter().map(run_line).collect();
        status.insert("history".to_owned(), Value::Array(history));
    }
    let newest_run = request.run.as_ref().map(|run| run.id);
    if let Some(judged) = store.standing_judgement(&request.name, &request.kind, newest_run)? {
        status.insert("verdict".to_owned(), judgement_document::verdict(&judged));
    }
    if let Some(pinned) = store.baseline_set_by(&request.name)? {
        status.insert("baseline".to_owned(), judgement_document::baseline(&pinned));
    }
    if let Some(row) = store.applies_of(&request.name, 1)?.first() {
        status.insert("applied".to_owned(), apply(row));
    }
    Ok(json!({
        "apiVersion": API_VERSION,
        "kind": request.kind,
        "metadata": {
            "name": request.name,
            "uid": request.uid,
            "generation": request.generation,
            "specHash": request.spec_hash,
        },
        "status": status,
    }))
}

/// A name that no valid document holds.
///
/// # Errors
/// The store's own.
pub fn refused(store: &Store, refused: &RefusedName) -> Result<Value, StoreError> {
    let condition = &refused.condition;
    let mut status = Map::new();
    put_summary(&mut status, &Summary::new("Invalid", &*condition.reason, &*condition.message));
    put_conditions(&mut status, store, &refused.name)?;
    Ok(json!({ "apiVersion": API_VERSION, "metadata": { "name": refused.name }, "status": status }))
}

fn put_conditions(status: &mut Map<String, Value>, store: &Store, name: &str) -> Result<(), StoreError> {
    let all = store.conditions(name)?;
    let problems: Vec<&Located> = all.iter().flat_map(|named| &named.condition.problems).collect();
    if !problems.is_empty() {
        status.insert("problems".to_owned(), json!(problems));
    }
    let conditions: Vec<Value> = all
        .iter()
        .map(|named| {
            json!({
                "type": named.kind,
                "status": named.condition.status,
                "reason": named.condition.reason,
                "message": named.condition.message,
                "lastTransitionTime": named.condition.changed_at,
            })
        })
        .collect();
    status.insert("conditions".to_owned(), Value::Array(conditions));
    Ok(())
}

fn put_summary(status: &mut Map<String, Value>, summary: &Summary) {
    status.insert("phase".to_owned(), json!(summary.phase));
    status.insert("reason".to_owned(), json!(summary.reason));
    if !summary.message.is_empty() {
        status.insert("message".to_owned(), json!(summary.message));
    }
    if let Some(hint) = &summary.hint {
        status.insert("hint".to_owned(), json!(hint));
    }
}

fn run_head(run: &RunSummary) -> Value {
    json!({
        "id": run.id,
        "startedAt": run.started_at,
        "completedAt": run.completed_at,
        "simulated": run.simulated,
    })
}

/// A run in a list.
pub fn run_line(run: &RunSummary) -> Value {
    let summary = phase_summary::of_run(&run.kind, &run.state);
    let mut line = Map::new();
    line.insert("id".to_owned(), json!(run.id));
    line.insert("request".to_owned(), json!(run.request));
    line.insert("service".to_owned(), json!(run.service));
    put_summary(&mut line, &summary);
    let params: Map<String, Value> =
        run.params.iter().map(|(flag, value)| (flag.clone(), json!(value))).collect();
    for (name, value) in [
        ("generation", json!(run.generation)),
        ("createdAt", json!(run.created_at)),
        ("startedAt", json!(run.started_at)),
        ("completedAt", json!(run.completed_at)),
        ("simulated", json!(run.simulated)),
        ("launches", json!(run.launches)),
        ("params", Value::Object(params)),
        ("pp_avg_ts", json!(run.pp_avg_ts)),
        ("pp_stddev_ts", json!(run.pp_stddev_ts)),
        ("tg_avg_ts", json!(run.tg_avg_ts)),
        ("tg_stddev_ts", json!(run.tg_stddev_ts)),
        ("headline", json!(run.headline)),
    ] {
        line.insert(name.to_owned(), value);
    }
    Value::Object(line)
}

/// A run in full.
///
/// # Errors
/// The store's own.
pub fn run(store: &Store, row: &RunRow, line: &RunSummary) -> Result<Value, StoreError> {
    let mut value = run_line(line);
    value["attempt"] = json!(row.attempt);
    value["command"] = json!(row.plan.as_ref().map(|plan| &plan.command));
    value["fingerprint"] = json!(row.fingerprint);
    value["tail"] = json!(row.tail);
    match &row.spec {
        Spec::Model(_) => value["model"] = json!(store.model_files(row.id)?),
        Spec::LlamaBench(_)
        | Spec::LoadTest(_)
        | Spec::Apply(_)
        | Spec::Baseline(_)
        | Spec::Comparison(_) => value["results"] = results(store, line)?,
        Spec::Imported(spec) => {
            value["imported"] = json!(spec);
            value["results"] = results(store, line)?;
        }
    }
    Ok(value)
}

/// Headline figures and cases.
///
/// # Errors
/// The store's own.
pub fn results(store: &Store, run: &RunSummary) -> Result<Value, StoreError> {
    let cases = cases(store, run.id)?;
    if are_of_load(&run.kind, &cases) {
        return Ok(json!({ "simulated": run.simulated, "cases": cases }));
    }
    Ok(json!({
        "pp_avg_ts": run.pp_avg_ts,
        "pp_stddev_ts": run.pp_stddev_ts,
        "tg_avg_ts": run.tg_avg_ts,
        "tg_stddev_ts": run.tg_stddev_ts,
        "simulated": run.simulated,
        "cases": cases,
    }))
}

/// Whether a run's cases are those of a load test or a conversation; of what was imported its cases tell.
pub fn are_of_load(kind: &str, cases: &[Value]) -> bool {
    match kind {
        "LoadTest" | "Conversation" => true,
        "Imported" => cases.first().is_some_and(|case| case.get("metrics").is_some()),
        _ => false,
    }
}

/// # Errors
/// The store's own, or a case that is no JSON.
pub fn cases(store: &Store, run: uuid::Uuid) -> Result<Vec<Value>, StoreError> {
    let texts = store.cases(run)?;
    let decode = |text: &String| {
        serde_json::from_str(text).map_err(|source| StoreError::Decode { what: "case", source })
    };
    texts.iter().map(decode).collect()
}

pub fn apply(row: &ApplyRow) -> Value {
    let summary = phase_summary::of_apply(&row.state);
    let mut value = Map::new();
    value.insert("id".to_owned(), json!(row.id));
    value.insert("run".to_owned(), json!(row.run));
    put_summary(&mut value, &summary);
    let outcome = match &row.state {
        ApplyState::Planned | ApplyState::Failed { .. } => None,
        ApplyState::Writing { outcome }
        | ApplyState::Restarting { outcome }
        | ApplyState::Done { outcome }
        | ApplyState::Reverted { outcome } => Some(outcome),
    };
    if let Some(outcome) = outcome {
        let pairs = |list: &[(String, String)]| -> Value {
            list.iter().map(|(flag, value)| (flag.clone(), json!(value))).collect::<Map<_, _>>().into()
        };
        value.insert("service".to_owned(), json!(outcome.service));
        value.insert("params".to_owned(), pairs(&outcome.applied));
        value.insert("skipped".to_owned(), pairs(&outcome.skipped));
        value.insert("changes".to_owned(), json!(outcome.changes));
        value.insert("dryRun".to_owned(), json!(outcome.dry_run));
        value.insert("restartNeeded".to_owned(), json!(outcome.restart_needed));
        value.insert("restartCommand".to_owned(), json!(outcome.restart_command));
    }
    value.insert("createdAt".to_owned(), json!(row.created_at));
    value.insert("endedAt".to_owned(), json!(row.ended_at));
    Value::Object(value)
}
