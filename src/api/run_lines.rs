//! A run as the API shows it: in a list, and in full. Null is unknown. Shapes that clients rely on, with their
//! schemas beside them.

use serde_json::{Map, Value, json};

use super::operation::schema::{self, maybe};
use crate::controller::context::Context;
use crate::controller::live;
use crate::report::phase_summary;
use crate::report::request_document;
use crate::request::flags::Param;
use crate::request::valid::Spec;
use crate::store::run_list::ListedRun;
use crate::store::runs::RunRow;
use crate::store::{Store, StoreError};

/// Most bytes of raw output that are answered.
const MOST_RAW: usize = 1 << 20;

/// A run in a list.
pub fn line(listed: &ListedRun) -> Value {
    let run = &listed.run;
    let summary = phase_summary::of_run(&run.kind, &run.state);
    json!({
        "id": run.id,
        "service_name": run.service,
        "request": run.request,
        "kind": run.kind,
        "status": run.state.phase().as_legacy_status(),
        "phase": summary.phase,
        "reason": summary.reason,
        "message": summary.message,
        "hint": summary.hint,
        "params": params(listed),
        "model_path": listed.model_path,
        "pp_avg_ts": run.pp_avg_ts,
        "pp_stddev_ts": run.pp_stddev_ts,
        "tg_avg_ts": run.tg_avg_ts,
        "tg_stddev_ts": run.tg_stddev_ts,
        "headline": run.headline,
        "error_message": error_of(listed),
        "created_at": run.created_at,
        "started_at": run.started_at,
        "completed_at": run.completed_at,
        "build_commit": listed.build_commit,
        "model_type": listed.model_type,
        "model_size": listed.model_size,
        "model_n_params": listed.model_n_params,
        "gpu_info": listed.gpu_info,
        "cpu_info": listed.cpu_info,
        "simulated": run.simulated,
    })
}

pub fn line_schema() -> Value {
    let text = schema::text;
    schema::object(&[
        ("id", text()),
        ("service_name", text()),
        ("request", text()),
        ("kind", text()),
        ("status", json!({ "enum": STATUSES })),
        ("phase", text()),
        ("reason", text()),
        ("message", text()),
        ("hint", maybe("string")),
        ("params", schema::texts_by_name()),
        ("model_path", maybe("string")),
        ("pp_avg_ts", maybe("number")),
        ("pp_stddev_ts", maybe("number")),
        ("tg_avg_ts", maybe("number")),
        ("tg_stddev_ts", maybe("number")),
        ("headline", maybe("string")),
        ("error_message", maybe("string")),
        ("created_at", text()),
        ("started_at", maybe("string")),
        ("completed_at", maybe("string")),
        ("build_commit", maybe("string")),
        ("model_type", maybe("string")),
        ("model_size", maybe("integer")),
        ("model_n_params", maybe("integer")),
        ("gpu_info", maybe("string")),
        ("cpu_info", maybe("string")),
        ("simulated", schema::of("boolean")),
    ])
}

/// The words of `benchmark_runs.status`.
pub const STATUSES: [&str; 5] = ["pending", "running", "completed", "failed", "cancelled"];

/// The parameters as they were resolved, before that as they were asked for.
fn params(listed: &ListedRun) -> Value {
    let resolved = &listed.run.params;
    let pairs: Map<String, Value> = if resolved.is_empty() {
        asked(&listed.spec).iter().map(|param| (param.flag.clone(), json!(param.value))).collect()
    } else {
        resolved.iter().map(|(flag, value)| (flag.clone(), json!(value))).collect()
    };
    Value::Object(pairs)
}

fn asked(spec: &Spec) -> &[Param] {
    match spec {
        Spec::LlamaBench(spec) => spec.params.as_deref().unwrap_or_default(),
        Spec::LoadTest(_)
        | Spec::Apply(_)
        | Spec::Model(_)
        | Spec::Baseline(_)
        | Spec::Comparison(_)
        | Spec::Imported(_) => &[],
    }
}

/// Kinds without a row of their own in `benchmark_runs` have it in their state.
fn error_of(listed: &ListedRun) -> Option<String> {
    listed.error_message.clone().or_else(|| listed.run.state.failure())
}

/// A run in full.
///
/// # Errors
/// The store's own.
pub fn whole(
    context: &Context,
    store: &Store,
    listed: &ListedRun,
    row: &RunRow,
) -> Result<Value, StoreError> {
    let mut value = line(listed);
    let figures = store.figures(row.id)?.unwrap_or_default();
    let raw = figures.raw_output.as_deref();
    value["results"] = request_document::results(store, &listed.run)?;
    value["metadata"] = json!({
        "build_commit": figures.build_commit,
        "model_type": figures.model_type,
        "model_size": figures.model_size,
        "model_n_params": figures.model_n_params,
        "gpu_info": figures.gpu_info,
        "cpu_info": figures.cpu_info,
    });
    value["raw_output"] = json!(raw.map(|text| &text[..text.floor_char_boundary(MOST_RAW)]));
    value["raw_output_cut"] = json!(raw.is_some_and(|text| text.len() > MOST_RAW));
    value["command"] = json!(row.plan.as_ref().map(|plan| &plan.command));
    value["warnings"] = json!(row.plan.as_ref().map(|plan| &plan.warnings));
    value["tail"] = json!(row.tail);
    value["progress"] = progress(context, row);
    value["pinned"] = json!(row.pinned);
    Ok(value)
}

pub fn whole_schema() -> Value {
    let mut whole = line_schema();
    for (name, schema) in [
        ("results", schema::of("object")),
        ("metadata", schema::of("object")),
        ("raw_output", maybe("string")),
        ("raw_output_cut", schema::of("boolean")),
        ("command", maybe("string")),
        ("warnings", maybe("array")),
        ("tail", maybe("string")),
        ("progress", maybe("object")),
        ("pinned", schema::of("boolean")),
    ] {
        whole["properties"][name] = schema;
        if let Some(required) = whole["required"].as_array_mut() {
            required.push(json!(name));
        }
    }
    whole
}

/// How far a run is that has not ended; null where nothing can be said.
pub fn progress(context: &Context, row: &RunRow) -> Value {
    if row.state.phase().is_terminal() {
        return Value::Null;
    }
    let live = live(context, row);
    let at = live.progress.as_ref();
    json!({
        "done": at.map(|at| at.done),
        "total": at.map(|at| at.total),
        "eta": at.and_then(|at| at.eta.clone()),
        "activity": live.activity,
    })
}
