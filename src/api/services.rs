//! `/api/services`: what can be measured, and the parameters to begin with. Never shows a secret.

use axum::extract::State;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::ApiError;
use super::extract::{MaybeBody, Named};
use super::operation::{Operation, schema};
use super::run_lines::STATUSES;
use super::start::{Params, measurable, spec_of};
use super::state::Api;
use crate::controller::service_states::states;
use crate::controller::surroundings::{
    Asked, Place, SIMULATED, catalogue, find_service, look_around, simulated_service,
};
use crate::decide::share_service;
use crate::plan::bench_params;
use crate::plan::bench_preview::BenchPreview;
use crate::plan::llama_bench_command;
use crate::plan::service::Service;
use crate::report::service_document;
use crate::request::flags::Param;
use crate::store::StoreError;
use crate::store::overview::RunSummary;

pub fn operations() -> Vec<Operation> {
    let newest = schema::object_or_null(&[
        ("id", schema::text()),
        ("kind", schema::text()),
        ("status", json!({ "enum": STATUSES })),
        ("created_at", schema::text()),
    ]);
    let latest = schema::object_or_null(&[
        ("id", schema::text()),
        ("kind", schema::text()),
        ("completed_at", schema::maybe("string")),
        ("pp_avg_ts", schema::maybe("number")),
        ("pp_stddev_ts", schema::maybe("number")),
        ("tg_avg_ts", schema::maybe("number")),
        ("tg_stddev_ts", schema::maybe("number")),
        ("headline", schema::maybe("string")),
        ("simulated", schema::of("boolean")),
    ]);
    let line = schema::object(&[
        ("name", schema::text()),
        ("kind", schema::text()),
        ("image", schema::maybe("string")),
        ("model", schema::maybe("string")),
        ("gpus", schema::maybe("string")),
        ("flags", schema::text()),
        ("source", schema::text()),
        ("measurable", schema::of("boolean")),
        ("run", schema::maybe("string")),
        ("state", json!({ "enum": ["running", "stopped", "absent", null] })),
        ("newest", newest),
        ("latest", latest),
    ]);
    vec![
        Operation::new("get", "/api/services", "services", "The services that can be named", get(list)).json(
            200,
            "All of them, and what is wrong with the files that define them",
            schema::object(&[
                ("services", schema::list(&line)),
                ("problems", schema::list(&schema::text())),
                ("total", schema::of("integer")),
            ]),
        ),
        Operation::new(
            "get",
            "/api/services/{name}/defaults",
            "services",
            "Parameters to begin with: of its newest run, and its own",
            get(defaults),
        )
        .path_parameter("name", "The service")
        .json(
            200,
            "The parameters; `params` is where to begin, `service_params` where to go back to",
            schema::object(&[
                ("service_name", schema::text()),
                ("params", schema::texts_by_name()),
                ("source", json!({ "enum": ["run", "service"] })),
                ("run", schema::maybe("string")),
                ("service_params", schema::texts_by_name()),
                ("dropped", schema::list(&schema::text())),
            ]),
        )
        .refuses(404, "There is no such service."),
        Operation::new(
            "post",
            "/api/services/{name}/preview",
            "services",
            "The command that parameters lead to; nothing is started or saved",
            post(preview),
        )
        .path_parameter("name", "The service")
        .body(
            json!({
                "type": "object",
                "additionalProperties": false,
                "properties": { "params": schema::texts_by_name() },
            }),
            false,
        )
        .json(
            200,
            "What would run",
            schema::object(&[
                ("service_name", schema::text()),
                ("command", schema::text()),
                ("params", schema::texts_by_name()),
                ("executor", schema::text()),
                ("simulated", schema::of("boolean")),
                ("cases", schema::of("integer")),
                ("warnings", schema::list(&schema::text())),
                ("dropped", schema::list(&schema::text())),
            ]),
        )
        .refuses(404, "There is no such service.")
        .refuses(413, "The body is too large.")
        .refuses(415, "The body is no JSON."),
    ]
}

async fn list(State(api): State<Api>) -> Result<axum::Json<Value>, ApiError> {
    let catalogue = catalogue(&api.context.settings).await;
    let own = simulated_service();
    // The name always means the stand-in.
    let named = catalogue.services().iter().filter(|service| service.name != SIMULATED);
    let services: Vec<&Service> = named.chain(std::iter::once(&own)).collect();
    let names: Vec<String> = services.iter().map(|service| service.name.clone()).collect();
    let stored = api.ask(move |store| Ok::<_, StoreError>((store.open_runs()?, store.newest_runs(&names)?)));
    let (stored, states) = tokio::join!(stored, states(&api.context, &services));
    let (open, newest) = stored?;
    let lines = services.iter().zip(newest).zip(states).map(|((service, runs), state)| {
        let mut line = service_document::of(service);
        let run = open.iter().find(|run| run.spec.measures() && share_service(&run.service, &service.name));
        line["measurable"] = json!(measurable(service).is_ok());
        line["run"] = json!(run.map(|run| run.id));
        line["state"] = json!(state.map(|state| state.as_str()));
        line["newest"] = json!(runs.newest.as_ref().map(newest_line));
        line["latest"] = json!(runs.measured.as_ref().map(latest_line));
        line
    });
    let lines: Vec<Value> = lines.collect();
    let problems: Vec<String> = catalogue.problems().iter().map(ToString::to_string).collect();
    Ok(axum::Json(json!({ "total": lines.len(), "services": lines, "problems": problems })))
}

/// The newest run of a service, whatever became of it.
fn newest_line(run: &RunSummary) -> Value {
    json!({
        "id": run.id,
        "kind": run.kind,
        "status": run.state.phase().as_legacy_status(),
        "created_at": run.created_at,
    })
}

/// What was measured of a service last.
fn latest_line(run: &RunSummary) -> Value {
    json!({
        "id": run.id,
        "kind": run.kind,
        "completed_at": run.completed_at,
        "pp_avg_ts": run.pp_avg_ts,
        "pp_stddev_ts": run.pp_stddev_ts,
        "tg_avg_ts": run.tg_avg_ts,
        "tg_stddev_ts": run.tg_stddev_ts,
        "headline": run.headline,
        "simulated": run.simulated,
    })
}

async fn defaults(State(api): State<Api>, Named(name): Named<String>) -> Result<axum::Json<Value>, ApiError> {
    let service: Service = find_service(&api.context.settings, &name).await?;
    measurable(&service)?;
    let own = bench_params::from_service(&service);
    let asked = service.name.clone();
    let last = api.ask(move |store| store.last_planned_run(&asked)).await?;
    let earlier = last.and_then(|row| Some((row.id, row.blueprint?.params)));
    let masked = |params: &[Param]| -> Map<String, Value> {
        params.iter().map(|param| (param.flag.clone(), json!(service.masked(&param.value)))).collect()
    };
    Ok(axum::Json(json!({
        "service_name": service.name,
        "params": masked(earlier.as_ref().map_or(&own.params, |(_, params)| params)),
        "source": if earlier.is_some() { "run" } else { "service" },
        "run": earlier.as_ref().map(|(id, _)| id),
        "service_params": masked(&own.params),
        "dropped": own.dropped,
    })))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Previewed {
    params: Option<Params>,
}

async fn preview(
    State(api): State<Api>,
    Named(name): Named<String>,
    MaybeBody(asked): MaybeBody<Previewed>,
) -> Result<axum::Json<Value>, ApiError> {
    let context = &api.context;
    let service = find_service(&context.settings, &name).await?;
    measurable(&service)?;
    let (spec, timeout_ms) = spec_of(&service.name, asked.params.as_ref().map(|params| &*params.0))?;
    let place = Place {
        settings: &context.settings,
        store: Some(&context.store),
        docker: context.docker.get().await,
        instance: &context.instance,
    };
    // The id of no run: it is in no command.
    let asked = Asked { run: uuid::Uuid::nil(), request: "preview", timeout_ms };
    let around = look_around(&place, &asked, &spec, &service).await?;
    let blueprint = llama_bench_command::resolve(&spec, &service, &around)?;
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let preview = BenchPreview::of(&blueprint, &service, threads);
    let params: Map<String, Value> = blueprint
        .params
        .iter()
        .map(|param| (param.flag.clone(), json!(service.masked(&param.value))))
        .collect();
    Ok(axum::Json(json!({
        "service_name": service.name,
        "command": preview.command,
        "params": params,
        "executor": blueprint.executor.as_str(),
        "simulated": blueprint.simulated,
        "cases": preview.matrix.count(),
        "warnings": preview.warnings,
        "dropped": blueprint.dropped,
    })))
}
