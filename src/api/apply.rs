//! `PUT /api/benchmarks/{id}/apply`: puts a finished run's configuration into its service. Saved as a request of
//! kind Apply, which the controller carries out as any other; the answer waits for its end.

use std::time::Duration;

use axum::extract::State;
use axum::routing::put;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::error::ApiError;
use super::extract::{MaybeBody, Named};
use super::operation::{Operation, schema};
use super::runs::find;
use super::start::name_of;
use super::state::Api;
use crate::controller::apply_job::{self, ApplyContext};
use crate::controller::submit;
use crate::request::apply::{ApplyOptions, CaseSelector, Metric};
use crate::request::schema::API_VERSION;
use crate::store::applies::{ApplyRow, ApplyState, Outcome};

/// Longest wait for an apply; one with a restart waits for the service's health.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

pub fn operations() -> Vec<Operation> {
    let body = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "case": { "type": "integer", "minimum": 1, "description": "The cell of a matrix, as the results number them" },
            "metric": { "enum": ["pp_avg_ts", "tg_avg_ts"], "description": "The cell with the best one" },
            "restart": { "type": "boolean", "description": "Recreate the service's container afterwards" },
            "dry_run": { "type": "boolean", "description": "Say what would change, and change nothing" },
        },
    });
    let answer = schema::object(&[
        ("success", schema::of("boolean")),
        ("message", schema::text()),
        ("applied_params", schema::texts_by_name()),
        ("skipped_flags", schema::list(&schema::text())),
        ("skipped", schema::texts_by_name()),
        ("changes", schema::list(&schema::of("object"))),
        ("diff", schema::text()),
        ("dry_run", schema::of("boolean")),
        ("restart_needed", schema::of("boolean")),
        ("restart_command", schema::maybe("string")),
        ("apply", schema::maybe("string")),
        ("request", schema::maybe("string")),
    ]);
    vec![
        Operation::new(
            "put",
            "/api/benchmarks/{id}/apply",
            "benchmarks",
            "Puts a run's configuration into its service, and waits until that is done",
            put(apply),
        )
        .path_parameter("id", "The run's id, or its first eight characters or more")
        .body(body, false)
        .json(200, "It is there", answer)
        .refuses(404, "There is no such run.")
        .refuses(409, "Somebody else changed the files meanwhile.")
        .refuses(413, "The body is too large.")
        .refuses(415, "The body is no JSON."),
    ]
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    case: Option<u32>,
    metric: Option<Metric>,
    #[serde(default)]
    restart: bool,
    #[serde(default)]
    dry_run: bool,
}

async fn apply(
    State(api): State<Api>,
    Named(id): Named<String>,
    MaybeBody(asked): MaybeBody<Asked>,
) -> Result<axum::Json<Value>, ApiError> {
    let row = find(&api, id).await?;
    if asked.case == Some(0) {
        return Err(ApiError::bad_request("case is a number from 1"));
    }
    let options = ApplyOptions {
        case: asked.case.map(CaseSelector::Number),
        metric: asked.metric,
        dry_run: asked.dry_run,
        restart: asked.restart,
    };
    let context = &api.context;
    let docker = context.docker.get().await.ok();
    let around = ApplyContext { settings: context.settings.clone(), store: context.store.clone(), docker };
    // What cannot be applied is refused before anything is saved.
    let preview = apply_job::preview(&around, row.id, &options).await?;
    if asked.dry_run {
        return Ok(axum::Json(answer(&preview, None, None)));
    }
    let name = name_of(&format!("apply-{}", row.service), context.random());
    let text = text_of(&name, row.id, &asked);
    // Before the file is there, so that no change is missed.
    let changes = api.feed.changes();
    submit::save(context, &name, text).await?;
    let ended = tokio::time::timeout(PATIENCE, ended(&api, &name, changes)).await;
    let Ok(ended) = ended else {
        return Err(ApiError::unavailable(
            "apply_goes_on",
            format!("the apply goes on as the request {name}"),
        ));
    };
    let ended = ended?;
    match &ended.state {
        ApplyState::Done { outcome } | ApplyState::Reverted { outcome } => {
            Ok(axum::Json(answer(outcome, Some(ended.id), Some(&name))))
        }
        ApplyState::Failed { refusal, .. } => Err(refusal.clone().into()),
        ApplyState::Planned | ApplyState::Writing { .. } | ApplyState::Restarting { .. } => {
            Err(ApiError::unavailable("apply_goes_on", format!("the apply goes on as the request {name}")))
        }
    }
}

/// The request's apply once it has ended.
async fn ended(
    api: &Api,
    name: &str,
    mut changes: tokio::sync::watch::Receiver<u64>,
) -> Result<ApplyRow, ApiError> {
    loop {
        changes.mark_unchanged();
        let asked = name.to_owned();
        let newest = api.ask(move |store| store.applies_of(&asked, 1)).await?.pop();
        if let Some(row) = newest.filter(|row| row.ended_at.is_some()) {
            return Ok(row);
        }
        tokio::select! {
            () = api.shutdown.cancelled() => {
                let message = format!("the server goes down; the apply goes on as the request {name}");
                return Err(ApiError::unavailable("shutting_down", message));
            }
            changed = changes.changed() => changed.map_err(|error| ApiError::internal(&error))?,
        }
    }
}

fn text_of(name: &str, run: Uuid, asked: &Asked) -> String {
    let mut text = format!(
        "# Asked for over the API.\napiVersion: {API_VERSION}\nkind: Apply\nmetadata:\n  name: {}\nspec:\n  run: \
         {run}\n  restart: {}\n  rerun: {}\n",
        Value::from(name),
        asked.restart,
        Uuid::new_v4(),
    );
    if let Some(case) = asked.case {
        text.push_str(&format!("  case: {case}\n"));
    }
    if let Some(metric) = asked.metric {
        text.push_str(&format!("  metric: {}\n", metric.as_str()));
    }
    text
}

fn answer(outcome: &Outcome, apply: Option<Uuid>, request: Option<&str>) -> Value {
    let pairs = |list: &[(String, String)]| -> Map<String, Value> {
        list.iter().map(|(flag, value)| (flag.clone(), json!(value))).collect()
    };
    let skipped: Vec<&String> = outcome.skipped.iter().map(|(flag, _)| flag).collect();
    json!({
        "success": true,
        "message": message(outcome),
        "applied_params": pairs(&outcome.applied),
        "skipped_flags": skipped,
        "skipped": pairs(&outcome.skipped),
        "changes": outcome.changes,
        "diff": outcome.diff,
        "dry_run": outcome.dry_run,
        "restart_needed": outcome.restart_needed,
        "restart_command": outcome.restart_command,
        "apply": apply,
        "request": request,
    })
}

fn message(outcome: &Outcome) -> String {
    let (service, count) = (&outcome.service, outcome.changes.len());
    let flags = if count == 1 { "1 flag".to_owned() } else { format!("{count} flags") };
    let mut message = match (count, outcome.dry_run) {
        (0, _) => format!("the service {service} has this configuration already"),
        (_, true) => format!("{flags} of {service} would change"),
        (_, false) => format!("{flags} of {service} changed"),
    };
    if outcome.restart_needed {
        message.push_str("; the running service does not have it yet");
        if let Some(command) = &outcome.restart_command {
            message.push_str(&format!(": {command}"));
        }
    }
    message
}
