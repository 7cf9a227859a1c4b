//! Stored runs as the document that leaves benchlet: figures, and the single requests where they are wanted.
//! Gathers from the store; the form is `run::imported::own_export`'s, and `export_table` shows it to people.

use serde_json::{Map, Value};

use super::content::{BenchCase, LoadCaseReport};
use super::gather::ReportError;
use crate::request::imported::Measured;
use crate::request::valid::Spec;
use crate::run::case::Case;
use crate::run::fingerprint::Fingerprint;
use crate::run::imported::own_export::{Export, ExportedResults, ExportedRun, SCHEMA};
use crate::run::load_case::LoadCase;
use crate::run::phase::RunState;
use crate::run::request_record::Record;
use crate::stats::summary::Summary;
use crate::store::Store;
use crate::store::runs::RunRow;

/// These runs in their order, but for those that have not ended or measure nothing.
///
/// # Errors
/// Rows that cannot be read.
pub fn of_runs(store: &Store, rows: &[RunRow], requests: bool) -> Result<Export, ReportError> {
    let runs = rows.iter().map(|row| of_run(store, row, requests));
    Ok(Export {
        schema: SCHEMA.to_owned(),
        benchlet: env!("CARGO_PKG_VERSION").to_owned(),
        runs: runs.filter_map(Result::transpose).collect::<Result<_, _>>()?,
    })
}

fn of_run(store: &Store, row: &RunRow, requests: bool) -> Result<Option<ExportedRun>, ReportError> {
    let RunState::Ended(ending) = &row.state else { return Ok(None) };
    let (measured, notes) = match &row.spec {
        Spec::LlamaBench(_) => (Measured::LlamaBench, Vec::new()),
        Spec::LoadTest(spec) if spec.conversations().is_some() => (Measured::Conversation, Vec::new()),
        Spec::LoadTest(_) => (Measured::LoadTest, Vec::new()),
        Spec::Imported(spec) => (spec.measured, spec.notes.clone()),
        Spec::Apply(_) | Spec::Model(_) | Spec::Baseline(_) | Spec::Comparison(_) => return Ok(None),
    };
    let results = match measured {
        Measured::LlamaBench => {
            ExportedResults::LlamaBench { cases: read(&store.cases(row.id)?)?, rows: raw_rows(store, row)? }
        }
        Measured::LoadTest => {
            let (cases, requests) = load(store, row, requests)?;
            ExportedResults::LoadTest { cases, requests }
        }
        Measured::Conversation => {
            let (cases, requests) = load(store, row, requests)?;
            ExportedResults::Conversation { cases, requests }
        }
    };
    let decode = |what, source| ReportError::Decode { what, source };
    let fingerprint: Option<Fingerprint> = row
        .fingerprint
        .clone()
        .map(serde_json::from_value)
        .transpose()
        .map_err(|source| decode("fingerprint", source))?;
    Ok(Some(ExportedRun {
        id: row.id,
        request: row.request.clone(),
        service: row.service.clone(),
        model: model(row, &results),
        created_at: row.created_at.clone(),
        started_at: row.started_at.clone(),
        completed_at: row.completed_at.clone(),
        ending: ending.clone(),
        simulated: row.simulated,
        headline: row.headline.clone(),
        fingerprint,
        spec: serde_json::to_value(&row.spec).map_err(|source| decode("spec", source))?,
        results,
        notes,
    }))
}

fn model(row: &RunRow, results: &ExportedResults) -> Option<String> {
    if let Spec::Imported(spec) = &row.spec {
        return spec.model.clone();
    }
    let planned = row.blueprint.as_ref().map(|blueprint| blueprint.model.clone());
    let planned = planned.filter(|model| !model.is_empty());
    planned.or_else(|| match results {
        ExportedResults::LlamaBench { .. } => None,
        ExportedResults::LoadTest { cases, .. } | ExportedResults::Conversation { cases, .. } => {
            cases.iter().find_map(|case| case.model.clone())
        }
    })
}

fn read<T: serde::de::DeserializeOwned>(texts: &[String]) -> Result<Vec<T>, ReportError> {
    let cases = texts.iter().map(|text| serde_json::from_str(text));
    cases.collect::<Result<_, _>>().map_err(|source| ReportError::Decode { what: "case", source })
}

fn raw_rows(store: &Store, row: &RunRow) -> Result<Vec<Map<String, Value>>, ReportError> {
    let raw = store.figures(row.id)?.and_then(|figures| figures.raw_output);
    // The output of a run that failed may be no rows.
    Ok(raw.and_then(|raw| serde_json::from_str(&raw).ok()).unwrap_or_default())
}

type Load = (Vec<LoadCase>, Vec<Vec<Record>>);

fn load(store: &Store, row: &RunRow, requests: bool) -> Result<Load, ReportError> {
    let cases: Vec<LoadCase> = read(&store.cases(row.id)?)?;
    let mut all = Vec::new();
    for case in cases.iter().filter(|_| requests) {
        let lines = store.request_records(row.id, case.case)?.unwrap_or_default();
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let records = lines.map(serde_json::from_slice).collect::<Result<_, _>>();
        all.push(records.map_err(|source| ReportError::Decode { what: "request record", source })?);
    }
    Ok((cases, all))
}

/// llama-bench's cases as reports have them.
pub(super) fn bench_cases(cases: &[Case]) -> Vec<BenchCase> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let case = |(number, case): (u32, &Case)| BenchCase {
        case: number,
        test: case.test_name(),
        varied: case.varied.iter().map(|(column, value)| (column.clone(), text(value))).collect(),
        avg_ts: Some(case.avg_ts),
        median_ts: case.median_ts,
        stddev_ts: case.stddev_ts,
        summary: Summary::of(case.samples_ts.concat()),
        samples_ts: case.samples_ts.clone(),
        slow_first: case.slow_first.clone(),
    };
    (1..).zip(cases).map(case).collect()
}

/// A load test's case as reports have it, without its single requests.
pub(super) fn load_case(figures: &LoadCase) -> LoadCaseReport {
    LoadCaseReport {
        label: figures.label(),
        figures: figures.clone(),
        requests: Vec::new(),
        slowest: Vec::new(),
        series: Vec::new(),
        said: Vec::new(),
    }
}
