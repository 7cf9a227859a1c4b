//! `/metrics`: what Prometheus scrapes. Counters come from the loop, the rest from the store at each scrape.

use std::sync::atomic::AtomicU64;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::error::ApiError;
use super::operation::{Content, Operation};
use super::state::{Api, Stored};
use crate::controller::meter::Meter;
use crate::run::phase::Phase;
use crate::store::figures_by_service::LastFigures;

/// Services whose figures are told.
const MOST_SERVICES: u32 = 500;
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Float = Gauge<f64, AtomicU64>;

pub fn operations() -> Vec<Operation> {
    vec![Operation::new("get", "/metrics", "meta", "Metrics for Prometheus", get(scrape)).answer(
        200,
        "In the OpenMetrics text format",
        Content::Metrics,
    )]
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPhase {
    phase: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfService {
    service: String,
    simulated: String,
}

/// What the store says at a scrape.
#[derive(Debug, Default)]
pub struct Seen {
    pub runs: Vec<(String, u64)>,
    pub requests: u64,
    pub figures: Vec<LastFigures>,
}

async fn scrape(State(api): State<Api>) -> Result<impl IntoResponse, ApiError> {
    let seen = api
        .ask(|store| -> Stored<Seen> {
            Ok(Seen {
                runs: store.runs_by_phase()?,
                requests: store.count_requests()?,
                figures: store.last_figures(MOST_SERVICES)?,
            })
        })
        .await?;
    let mut text = String::new();
    encode(&mut text, &registry(&api.context.meter, &seen)).map_err(|error| ApiError::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text))
}

fn registry(meter: &Meter, seen: &Seen) -> Registry {
    let mut registry = Registry::with_prefix("benchlet");
    registry.register("build", "The version that runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
    registry.register("queue_depth", "Requests that wait for a pass", meter.queued.clone());
    registry.register_with_unit(
        "reconcile",
        "Time of one pass over a request: observe, decide, carry out",
        Unit::Seconds,
        meter.passes.clone(),
    );
    registry.register(
        "reconcile_failures",
        "Passes whose order could not be carried out",
        meter.failed_passes.clone(),
    );
    let flag = |on: bool| {
        let gauge: Gauge = Gauge::default();
        gauge.set(i64::from(on));
        gauge
    };
    registry.register("ready", "1 once every request was looked at", flag(meter.is_started()));
    registry.register(
        "degraded",
        "1 while the watched directory cannot be trusted",
        flag(meter.is_degraded()),
    );
    let requests: Gauge = Gauge::default();
    requests.set(i64::try_from(seen.requests).unwrap_or(i64::MAX));
    registry.register("requests", "Requests in the watched directory", requests);
    registry.register("runs", "Runs in the store by phase", runs(seen));
    register_figures(&mut registry, &seen.figures);
    registry
}

fn runs(seen: &Seen) -> Family<OfPhase, Gauge> {
    let runs = Family::<OfPhase, Gauge>::default();
    // Phases without a run are told as well, so that a graph of them begins at nought.
    for phase in Phase::ALL {
        let count = seen.runs.iter().find(|(name, _)| name == phase.as_str()).map_or(0, |(_, count)| *count);
        let labels = OfPhase { phase: phase.as_str().to_owned() };
        runs.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    runs
}

fn register_figures(registry: &mut Registry, figures: &[LastFigures]) {
    let family = |value: fn(&LastFigures) -> Option<f64>| {
        let family = Family::<OfService, Float>::default();
        for last in figures {
            if let Some(value) = value(last) {
                let (service, simulated) = (last.service.clone(), last.simulated.to_string());
                family.get_or_create(&OfService { service, simulated }).set(value);
            }
        }
        family
    };
    registry.register(
        "last_prompt_tokens_per_second",
        "Prompt processing in the service's last completed run",
        family(|last| last.pp_avg_ts),
    );
    registry.register(
        "last_generation_tokens_per_second",
        "Generation in the service's last completed run",
        family(|last| last.tg_avg_ts),
    );
    registry.register(
        "last_requests_per_second",
        "Fastest valid case of the service's last completed load test",
        family(|last| last.requests_per_second),
    );
    registry.register(
        "last_run_timestamp_seconds",
        "When the service's last completed run ended",
        family(|last| {
            let at: jiff::Timestamp = last.completed_at.as_ref()?.parse().ok()?;
            Some(at.as_millisecond() as f64 / 1_000.0)
        }),
    );
}
