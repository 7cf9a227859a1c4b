//! From the store to a report's content. Reads stored data only: no spool, no request file, no clock.

use serde_json::Value;
use uuid::Uuid;

use super::content::{
    BenchCase, Condition, Configuration, LoadCaseReport, Report, Request, Results, Run, RunSummary, SCHEMA,
    Series,
};
use super::load_status;
use super::past_runs;
use super::request_rows;
use super::status_document;
use crate::request::imported::Measured;
use crate::request::valid::Spec;
use crate::run::load_case::LoadCase;
use crate::run::phase::RunState;
use crate::stats::summary::Summary;
use crate::store::runs::RunRow;
use crate::store::{Store, StoreError};

#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("there is no run {0}")]
    NoRun(Uuid),
    #[error("the run {run} has not ended; wait for it with `benchlet wait`")]
    NotEnded { run: Uuid },
    #[error("a request of its kind measures nothing, so there is nothing to report")]
    NothingMeasured,
    #[error("a stored {what} of the run cannot be read: {source}; use the benchlet that wrote it")]
    Decode { what: &'static str, source: serde_json::Error },
}

/// The report on an ended run.
///
/// # Errors
/// A run that is not there, has not ended, or whose rows cannot be read.
pub fn report(store: &Store, run: Uuid) -> Result<Report, ReportError> {
    let row = store.run(run)?.ok_or(ReportError::NoRun(run))?;
    let RunState::Ended(end) = &row.state else {
        return Err(ReportError::NotEnded { run });
    };
    let texts = store.cases(run)?;
    let results = match &row.spec {
        Spec::LlamaBench(_) => Results::LlamaBench { cases: bench_cases(&texts)? },
        Spec::LoadTest(spec) => {
            let cases = load_cases(store, &row, &texts)?;
            match spec.conversations() {
                Some(_) => Results::Conversation { cases },
                None => Results::LoadTest { cases },
            }
        }
        Spec::Imported(spec) => match spec.measured {
            Measured::LlamaBench => Results::LlamaBench { cases: bench_cases(&texts)? },
            Measured::LoadTest => Results::LoadTest { cases: load_cases(store, &row, &texts)? },
            Measured::Conversation => Results::Conversation { cases: load_cases(store, &row, &texts)? },
        },
        Spec::Apply(_) | Spec::Model(_) | Spec::Baseline(_) | Spec::Comparison(_) => {
            return Err(ReportError::NothingMeasured);
        }
    };
    let history = past_runs::of(store, &row)?;
    Ok(Report {
        schema: SCHEMA,
        request: Request {
            name: row.request.clone(),
            path: row.request_path.clone(),
            kind: row.spec.kind(),
            generation: row.generation,
            spec_hash: row.spec_hash.clone(),
        },
        run: Run {
            id: row.id.to_string(),
            phase: row.state.phase().as_str(),
            reason: end.reason.as_str().to_owned(),
            message: end.message.clone(),
            hint: end.hint.clone(),
            attempt: row.attempt + 1,
            created_at: row.created_at.clone(),
            started_at: row.started_at.clone(),
            completed_at: row.completed_at.clone(),
            took_ms: took_ms(&row),
        },
        simulated: row.simulated,
        summary: RunSummary { headline: headline(&row, &results), conditions: conditions(&row, &results) },
        results,
        history,
        configuration: configuration(&row)?,
        tail: row.tail.clone(),
        system: row
            .fingerprint
            .map(serde_json::from_value)
            .transpose()
            .map_err(|source| ReportError::Decode { what: "fingerprint", source })?,
    })
}

fn took_ms(row: &RunRow) -> Option<u64> {
    let instant = |text: &Option<String>| text.as_ref()?.parse::<jiff::Timestamp>().ok();
    let spent = instant(&row.completed_at)?.as_millisecond() - instant(&row.started_at)?.as_millisecond();
    u64::try_from(spent).ok()
}

fn headline(row: &RunRow, results: &Results) -> Option<String> {
    match results {
        Results::LoadTest { .. } | Results::Conversation { .. } => row.headline.clone(),
        Results::LlamaBench { cases } => past_runs::bench_headline(cases),
    }
}

/// Of the run alone; the request's own (`Accepted`, `Applied`) are of another time.
fn conditions(row: &RunRow, results: &Results) -> Vec<Condition> {
    let mut drafts = status_document::conditions(Some(row), None);
    drafts.retain(|draft| draft.kind != "Accepted");
    match results {
        Results::LoadTest { cases } | Results::Conversation { cases } => {
            let figures: Vec<LoadCase> = cases.iter().map(|case| case.figures.clone()).collect();
            drafts.extend(load_status::conditions(&figures, Some(row.state.phase())));
        }
        Results::LlamaBench { .. } => {}
    }
    drafts
        .into_iter()
        .map(|draft| Condition {
            kind: draft.kind,
            status: draft.status,
            reason: draft.reason,
            message: draft.message,
        })
        .collect()
}

fn configuration(row: &RunRow) -> Result<Configuration, ReportError> {
    let blueprint = row.blueprint.as_ref();
    let bench = blueprint.filter(|blueprint| blueprint.load.is_none());
    let mut warnings: Vec<String> = blueprint.map(|found| found.warnings.clone()).unwrap_or_default();
    warnings.extend(row.plan.iter().flat_map(|plan| plan.warnings.iter().cloned()));
    // The enum's own tag says the kind once more.
    let spec =
        serde_json::to_value(&row.spec).map_err(|source| ReportError::Decode { what: "spec", source })?;
    let spec = match spec {
        Value::Object(by_kind) => by_kind.into_iter().next().map_or(Value::Null, |(_, spec)| spec),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            other
        }
    };
    Ok(Configuration {
        service: row.service.clone(),
        model: bench.map(|bench| bench.model.clone()).filter(|model| !model.is_empty()),
        executor: bench.map(|bench| bench.executor.as_str()),
        launches: bench.map(|bench| bench.launches),
        params: bench
            .map(|bench| bench.params.iter().map(|param| (param.flag.clone(), param.value.clone())).collect())
            .unwrap_or_default(),
        command: row.plan.as_ref().map(|plan| plan.command.clone()).filter(|command| !command.is_empty()),
        spec,
        warnings,
        dropped: blueprint.map(|found| found.dropped.clone()).unwrap_or_default(),
    })
}

/// The cases of a run of llama-bench, from their stored texts.
pub fn bench_cases(texts: &[String]) -> Result<Vec<BenchCase>, ReportError> {
    (1..).zip(texts).map(|(number, text)| bench_case(number, text)).collect()
}

fn bench_case(number: u32, text: &str) -> Result<BenchCase, ReportError> {
    let value: Value =
        serde_json::from_str(text).map_err(|source| ReportError::Decode { what: "case", source })?;
    let samples_ts: Vec<Vec<f64>> = value["samples_ts"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|launch| launch.as_array().into_iter().flatten().filter_map(Value::as_f64).collect())
        .collect();
    let varied = value["varied"].as_object().into_iter().flatten();
    Ok(BenchCase {
        case: number,
        test: value["test"].as_str().unwrap_or_default().to_owned(),
        varied: varied
            .map(|(column, value)| {
                (column.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            })
            .collect(),
        avg_ts: value["avg_ts"].as_f64(),
        median_ts: value["median_ts"].as_f64(),
        stddev_ts: value["stddev_ts"].as_f64(),
        summary: Summary::of(samples_ts.concat()),
        samples_ts,
        slow_first: value["slow_first"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|launch| usize::try_from(launch.as_u64()?).ok())
            .collect(),
    })
}

fn load_cases(store: &Store, row: &RunRow, texts: &[String]) -> Result<Vec<LoadCaseReport>, ReportError> {
    let mut cases = Vec::new();
    for text in texts {
        let figures: LoadCase =
            serde_json::from_str(text).map_err(|source| ReportError::Decode { what: "case", source })?;
        let lines = store.request_records(row.id, figures.case)?.unwrap_or_default();
        let requests = request_rows::rows(&lines, figures.case, row.plan.as_ref())
            .map_err(|source| ReportError::Decode { what: "request record", source })?;
        let series = store.series(row.id, figures.case)?;
        cases.push(LoadCaseReport {
            label: figures.label(),
            slowest: request_rows::slowest(&requests),
            requests,
            said: request_rows::said(figures.case, row.plan.as_ref()),
            series: series.into_iter().map(|(name, points)| Series { name, points }).collect(),
            figures,
        });
    }
    Ok(cases)
}
