//! `/api/trends`: figures over the runs of a service or a request, as `benchlet trend` has them, with words and
//! pictures.

use axum::extract::State;
use axum::routing::get;
use serde::Deserialize;
use serde_json::Value;

use super::error::ApiError;
use super::extract::{Query, limit_within};
use super::operation::{Operation, schema};
use super::state::Api;
use crate::plan::trend::trends;
use crate::report::history::{self, Of, Wanted};
use crate::report::trend_document;
use crate::request::measure::Measure;
use crate::request::thresholds::measure_named;
use crate::store::{Store, StoreError};

/// Runs that are looked back.
const USUAL_RUNS: u32 = 200;
const MOST_RUNS: u32 = 1_000;
/// Series of one answer; a matrix may have hundreds of cases.
const MOST_SERIES: usize = 50;

pub fn operations() -> Vec<Operation> {
    let (text, maybe, flag) = (schema::text, schema::maybe, || schema::of("boolean"));
    let change = schema::object(&[
        ("run", text()),
        ("at", maybe("string")),
        ("point", schema::of("integer")),
        ("before", schema::of("number")),
        ("after", schema::of("number")),
        ("p", schema::of("number")),
        ("worse", flag()),
        ("accepted", flag()),
        ("differs", schema::list(&text())),
        ("text", text()),
    ]);
    let point = schema::object(&[
        ("run", text()),
        ("at", maybe("string")),
        ("value", schema::of("number")),
        ("accepted", flag()),
    ]);
    let series = schema::object(&[
        ("case", text()),
        ("figure", text()),
        ("unit", text()),
        ("points", schema::list(&point)),
        ("changes", schema::list(&change)),
        ("found", flag()),
        ("p", maybe("number")),
        ("regression", flag()),
        ("drift", maybe("object")),
        ("newest", maybe("object")),
        ("text", schema::object(&[("newest", maybe("string")), ("expected", maybe("string"))])),
        ("plot", maybe("string")),
    ]);
    let whole = || schema::of("integer");
    vec![
        Operation::new(
            "get",
            "/api/trends",
            "judging",
            "Figures over the runs, and where they changed",
            get(answer),
        )
        .query("service_name", "Of the runs of this service; this or request", text())
        .query("request", "Of the runs of this request", text())
        .query("metric", "A figure such as tg_avg_ts, or several with commas; absent: the usual ones", text())
        .query("case", "Only cases that have this in their names", text())
        .query("simulated", "Simulated runs instead of measured ones", flag())
        .query("limit", "Runs to look back; clamped to 2…1000, 200 by default", whole())
        .json(
            200,
            "A series a case and figure, oldest point first; `leftOut` are those beyond the fiftieth",
            schema::object(&[
                ("falseDiscoveryRate", schema::of("number")),
                ("judged", whole()),
                ("notJudged", whole()),
                ("leftOut", whole()),
                ("series", schema::list(&series)),
            ]),
        )
        .refuses(404, "There is no such request."),
    ]
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    service_name: Option<String>,
    request: Option<String>,
    metric: Option<String>,
    case: Option<String>,
    #[serde(default)]
    simulated: bool,
    limit: Option<String>,
}

async fn answer(State(api): State<Api>, Query(asked): Query<Asked>) -> Result<axum::Json<Value>, ApiError> {
    let wanted = Wanted {
        measures: asked.metric.as_deref().map(measures).transpose()?.unwrap_or_default(),
        case: asked.case,
        simulated: asked.simulated,
        limit: limit_within(asked.limit.as_deref(), USUAL_RUNS, 2..=MOST_RUNS)?,
    };
    let found = match (asked.service_name, asked.request) {
        (Some(service), None) => api.work(move |store| found(store, Of::Service(&service), &wanted)).await,
        (None, Some(request)) => {
            api.work(move |store| {
                if !is_known(store, &request)? {
                    return Err(ApiError::not_found(format!("there is no request {request:.140}")));
                }
                found(store, Of::Request(&request), &wanted)
            })
            .await
        }
        (Some(_), Some(_)) | (None, None) => {
            Err(ApiError::bad_request("name service_name or request, one of the two"))
        }
    };
    found.map(axum::Json)
}

fn found(store: &Store, of: Of<'_>, wanted: &Wanted) -> Result<Value, ApiError> {
    let found = trends(history::series(store, of, wanted)?);
    Ok(trend_document::shown(&found, wanted.simulated, MOST_SERIES))
}

/// A request that was there once has a history; one that was refused has none yet.
fn is_known(store: &Store, request: &str) -> Result<bool, StoreError> {
    let filter =
        crate::store::runs::Filter { request: Some(request.to_owned()), limit: 1, ..Default::default() };
    Ok(store.request(request)?.is_some()
        || !store.runs(&filter)?.is_empty()
        || !store.conditions(request)?.is_empty())
}

fn measures(text: &str) -> Result<Vec<Measure>, ApiError> {
    let named = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    named
        .map(|name| {
            measure_named(name)
                .map_err(|right| ApiError::bad_request(format!("{name:.40} is no figure: {right}")))
        })
        .collect()
}
