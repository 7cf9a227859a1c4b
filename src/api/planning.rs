//! `/v1/benchmarks`: models, estimates and rankings, in the shapes that clients of it know. The command line
//! asks the same questions.

use axum::extract::State;
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::Access;
use super::error::ApiError;
use super::extract::{Named, Query, limit};
use super::operation::{Operation, schema};
use super::state::Api;
use crate::plan::estimate::{Price, Workload};
use crate::plan::model_ranking::Order;
use crate::report::{planning, planning_document};

/// Benchmarks of a model that are answered unless more are asked for.
const BENCHMARKS: u32 = 10;

pub fn operations() -> Vec<Operation> {
    let number = || schema::of("number");
    let maybe = schema::maybe;
    let whole = || json!({ "type": "integer", "minimum": 1 });
    let switch = || json!({ "type": "boolean" });
    let planning = |path, summary, handler| {
        Operation::new("get", path, "planning", summary, handler).access(Access::Planning)
    };
    let priced = |operation: Operation| {
        operation
            .query("context", "Tokens that a prompt and its answer need together", whole())
            .query("per_hour", "What the machine costs an hour", number())
            .query("per_million_tokens", "What a million tokens cost", number())
            .query("simulated", "Plan with what was simulated, to try it out", switch())
    };
    let model = schema::object(&[
        ("model", schema::text()),
        ("rate_req_per_sec", maybe("number")),
        ("success_rate_pct", maybe("number")),
        ("workers", maybe("integer")),
        ("last_benchmarked", maybe("integer")),
    ]);
    let benchmark = schema::object(&[
        ("model", schema::text()),
        ("model_size_params", maybe("string")),
        ("num_requests", maybe("integer")),
        ("num_workers", maybe("integer")),
        ("rate_req_per_sec", maybe("number")),
        ("time_per_request_sec", maybe("number")),
        ("success_rate_pct", maybe("number")),
        ("avg_prompt_tokens", maybe("number")),
        ("avg_completion_tokens", maybe("number")),
        ("benchmark_type", maybe("string")),
        ("created_at", schema::of("integer")),
    ]);
    let ranked = schema::object(&[
        ("model", schema::text()),
        ("model_size_params", maybe("string")),
        ("rate_req_per_sec", number()),
        ("estimated_time_hours", number()),
        ("estimated_time_days", number()),
        ("success_rate_pct", maybe("number")),
        ("workers", maybe("integer")),
        ("speedup_vs_slowest", number()),
        ("time_saved_hours", number()),
    ]);
    let estimate = schema::object(&[
        ("model", schema::text()),
        ("num_requests", schema::of("integer")),
        (
            "estimate",
            schema::object(&[
                ("total_time_seconds", number()),
                ("total_time_hours", number()),
                ("total_time_days", number()),
                ("rate_req_per_sec", number()),
                ("time_per_request_sec", number()),
            ]),
        ),
        (
            "based_on_benchmark",
            schema::object(&[
                ("test_size", maybe("integer")),
                ("workers", maybe("integer")),
                ("success_rate_pct", maybe("number")),
                ("date", schema::of("integer")),
            ]),
        ),
    ]);
    vec![
        planning("/v1/benchmarks/models", "The models that were measured", get(models))
            .query("simulated", "Those that were simulated instead", switch())
            .json(
                200,
                "All of them",
                schema::object(&[("models", schema::list(&model)), ("total", schema::of("integer"))]),
            ),
        planning("/v1/benchmarks/models/{name}", "One model's benchmarks, newest first", get(details))
            .path_parameter("name", "The model; its slashes may stand as they are")
            .query("limit", "At most so many; clamped to 1…100, 10 by default", schema::of("integer"))
            .query("simulated", "What was simulated instead", switch())
            .json(
                200,
                "The model",
                schema::object(&[
                    ("model", schema::text()),
                    ("benchmarks", schema::list(&benchmark)),
                    ("total", schema::of("integer")),
                ]),
            )
            .refuses(404, "There is no such model."),
        priced(
            planning("/v1/benchmarks/estimate", "How long a workload takes on a model", get(estimate_one))
                .required_query("model", "The model", schema::text())
                .required_query("num_requests", "Answers wanted", whole())
                .query("workers", "By the newest run with so many workers", whole()),
        )
        .json(200, "The estimate", estimate)
        .refuses(404, "There is no such model, or nothing of it that answers."),
        priced(
            planning("/v1/benchmarks/compare", "The models beside each other for a workload", get(compare))
                .required_query("num_requests", "Answers wanted", whole()),
        )
        .json(
            200,
            "The fastest first",
            schema::object(&[
                ("num_requests", schema::of("integer")),
                ("models", schema::list(&ranked)),
                ("total_models", schema::of("integer")),
            ]),
        ),
    ]
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    #[serde(default)]
    simulated: bool,
}

async fn models(
    State(api): State<Api>,
    Query(query): Query<ListQuery>,
) -> Result<axum::Json<Value>, ApiError> {
    let models = api.ask(move |store| store.measured_models(None, query.simulated)).await?;
    Ok(axum::Json(planning_document::models(&models)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelQuery {
    limit: Option<String>,
    #[serde(default)]
    simulated: bool,
}

async fn details(
    State(api): State<Api>,
    Named(name): Named<String>,
    Query(query): Query<ModelQuery>,
) -> Result<axum::Json<Value>, ApiError> {
    let most = limit(query.limit.as_deref(), BENCHMARKS)?;
    let asked = name.clone();
    let found = api.ask(move |store| planning::details(store, &asked, query.simulated, most)).await?;
    Ok(axum::Json(planning_document::model(&name, &found)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EstimateQuery {
    model: String,
    num_requests: String,
    workers: Option<String>,
    context: Option<String>,
    per_hour: Option<f64>,
    per_million_tokens: Option<f64>,
    #[serde(default)]
    simulated: bool,
}

async fn estimate_one(
    State(api): State<Api>,
    Query(query): Query<EstimateQuery>,
) -> Result<axum::Json<Value>, ApiError> {
    let workers = query.workers.as_deref().map(|text| count("workers", text)).transpose()?;
    let workload =
        workload(&query.num_requests, query.context.as_deref(), query.per_hour, query.per_million_tokens)?;
    let made = api
        .ask(move |store| planning::estimate_model(store, &query.model, workers, &workload, query.simulated))
        .await?;
    Ok(axum::Json(planning_document::estimate(&made)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CompareQuery {
    num_requests: String,
    context: Option<String>,
    per_hour: Option<f64>,
    per_million_tokens: Option<f64>,
    #[serde(default)]
    simulated: bool,
}

async fn compare(
    State(api): State<Api>,
    Query(query): Query<CompareQuery>,
) -> Result<axum::Json<Value>, ApiError> {
    let workload =
        workload(&query.num_requests, query.context.as_deref(), query.per_hour, query.per_million_tokens)?;
    let requests = workload.requests;
    let ranking =
        api.ask(move |store| planning::rank_models(store, &workload, Order::Time, query.simulated)).await?;
    Ok(axum::Json(planning_document::ranking(requests, &ranking)))
}

fn workload(
    requests: &str,
    context: Option<&str>,
    per_hour: Option<f64>,
    per_million_tokens: Option<f64>,
) -> Result<Workload, ApiError> {
    let price = match (per_hour, per_million_tokens) {
        (Some(_), Some(_)) => {
            return Err(ApiError::bad_request("give per_hour or per_million_tokens, not both"));
        }
        (Some(each), None) => Some(Price::PerHour(each)),
        (None, Some(each)) => Some(Price::PerMillionTokens(each)),
        (None, None) => None,
    };
    let each = per_hour.or(per_million_tokens).unwrap_or(0.0);
    if !each.is_finite() || each < 0.0 {
        return Err(ApiError::bad_request("a price is a number from 0"));
    }
    Ok(Workload {
        requests: count("num_requests", requests)?,
        context: context.map(|text| count("context", text)).transpose()?,
        price,
    })
}

fn count(name: &str, text: &str) -> Result<u64, ApiError> {
    match text.parse::<u64>() {
        Ok(number @ 1..) => Ok(number),
        Ok(0) | Err(_) => {
            Err(ApiError::bad_request(format!("{name} is a whole number from 1, not \"{text:.40}\"")))
        }
    }
}
