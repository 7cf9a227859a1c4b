//! From stored runs to the sides of a comparison. Only what completed and measured something is a side.

use serde_json::{Map, Value};

use super::request_rows;
use crate::request::imported::Measured;
use crate::request::valid::Spec;
use crate::run::comparand::{Comparand, ComparedCase};
use crate::run::comparand_load::OfRepeat;
use crate::run::facts::{self, Facts};
use crate::run::fingerprint::Fingerprint;
use crate::run::imported::{ImportedFigures, ImportedRun};
use crate::run::load_case::LoadCase;
use crate::run::phase::Phase;
use crate::run::{comparand_bench, comparand_load};
use crate::store::runs::RunRow;
use crate::store::{Store, StoreError};

/// Why a run is no side.
#[derive(Debug, thiserror::Error)]
pub enum ComparandError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the run {run} is {phase} and not Completed, so it may be a part of what was asked", phase = phase.as_str())]
    NotCompleted { run: uuid::Uuid, phase: Phase },
    #[error("the run {run} is of kind {kind}, which measures nothing")]
    NothingMeasured { run: uuid::Uuid, kind: &'static str },
    #[error("the run {run} cannot be a baseline: {why}")]
    Unfit { run: uuid::Uuid, why: String },
    #[error("a stored {what} of the run {run} cannot be read: {source}")]
    Decode { run: uuid::Uuid, what: &'static str, source: serde_json::Error },
}

/// One run as a side.
///
/// # Errors
/// A run that has not completed, measures nothing, or cannot be read.
pub fn of_run(store: &Store, row: &RunRow, label: &str) -> Result<Comparand, ComparandError> {
    side(store, row, label, true)
}

/// The same without the requests' values, for whoever looks at figures alone.
///
/// # Errors
/// As [`of_run`].
pub fn figures_of(store: &Store, row: &RunRow) -> Result<Comparand, ComparandError> {
    side(store, row, &row.request, false)
}

fn side(store: &Store, row: &RunRow, label: &str, samples: bool) -> Result<Comparand, ComparandError> {
    let phase = row.state.phase();
    if phase != Phase::Completed {
        return Err(ComparandError::NotCompleted { run: row.id, phase });
    }
    let decoded = |what| move |source| ComparandError::Decode { run: row.id, what, source };
    let found: Fingerprint = match &row.fingerprint {
        Some(value) => serde_json::from_value(value.clone()).map_err(decoded("fingerprint"))?,
        None => Fingerprint::default(),
    };
    let texts = store.cases(row.id)?;
    let (cases, facts) = match &row.spec {
        Spec::LlamaBench(_) => bench(store, row, &found, &texts)?,
        Spec::Imported(spec) => match spec.measured {
            Measured::LlamaBench => bench(store, row, &found, &texts)?,
            Measured::LoadTest | Measured::Conversation => load(store, row, &found, &texts, samples)?,
        },
        Spec::LoadTest(_) => load(store, row, &found, &texts, samples)?,
        Spec::Apply(_) | Spec::Model(_) | Spec::Baseline(_) | Spec::Comparison(_) => {
            return Err(ComparandError::NothingMeasured { run: row.id, kind: row.spec.kind() });
        }
    };
    if cases.is_empty() {
        return Err(ComparandError::NothingMeasured { run: row.id, kind: row.spec.kind() });
    }
    Ok(Comparand {
        label: label.to_owned(),
        runs: vec![row.id.to_string()],
        measured_at: Some(row.completed_at.clone().unwrap_or_else(|| row.created_at.clone())),
        simulated: row.simulated,
        facts,
        cases,
    })
}

/// A run out of a file as a side, without a store.
pub fn of_imported(run: &ImportedRun) -> Comparand {
    let (cases, facts) = match &run.figures {
        ImportedFigures::LlamaBench { rows, cases } => {
            let rows: Vec<Map<String, Value>> = rows.iter().map(|row| row.raw.clone()).collect();
            (comparand_bench::cases(cases), facts::of_bench(&run.fingerprint, &rows, None))
        }
        ImportedFigures::Load { cases, records } => {
            let records: Vec<Vec<OfRepeat>> = records
                .iter()
                .map(|of_case| of_case.iter().map(|record| (1, record.clone())).collect())
                .collect();
            let facts = facts::of_load(&run.fingerprint, None, None, cases);
            (comparand_load::cases(cases, &records), facts)
        }
    };
    Comparand {
        label: run.name.clone(),
        runs: run.id.iter().map(ToString::to_string).collect(),
        measured_at: run.measured_at.clone(),
        simulated: run.simulated,
        facts,
        cases,
    }
}

/// Whether a run may be a baseline: whole, valid and really measured.
///
/// # Errors
/// What speaks against it.
pub fn fit_for_baseline(store: &Store, row: &RunRow) -> Result<(), ComparandError> {
    let side = figures_of(store, row)?;
    let unfit = |why: String| ComparandError::Unfit { run: row.id, why };
    if side.simulated {
        return Err(unfit("its figures are made up".to_owned()));
    }
    if let Some((case, found)) = side.cases.iter().find_map(|case| Some((&case.key, case.invalid.first()?))) {
        return Err(unfit(format!("{case} is not valid: {}", found.message)));
    }
    match side.cases.iter().find(|case| case.figures.is_empty()) {
        Some(case) => Err(unfit(format!("{} has no figure", case.key))),
        None => Ok(()),
    }
}

/// How a run is called as a side: its request, and the beginning of its id.
pub fn label_of(row: &RunRow) -> String {
    format!("{} {}", row.request, &row.id.to_string()[..8])
}

/// The host on which a run was measured; empty where it is not known.
pub fn host_of(row: &RunRow) -> String {
    let name = row.fingerprint.as_ref().and_then(|found| found["host"]["hostname"].as_str());
    name.unwrap_or_default().to_owned()
}

/// Several runs as one side, the newest last.
///
/// # Errors
/// As [`of_run`], of any of them.
pub fn of_runs(store: &Store, rows: &[RunRow], label: &str) -> Result<Option<Comparand>, ComparandError> {
    let sides: Result<Vec<Comparand>, ComparandError> =
        rows.iter().map(|row| of_run(store, row, label)).collect();
    Ok(Comparand::merged(label, sides?))
}

fn bench(
    store: &Store,
    row: &RunRow,
    found: &Fingerprint,
    texts: &[String],
) -> Result<(Vec<ComparedCase>, Facts), ComparandError> {
    let cases = texts
        .iter()
        .map(|text| serde_json::from_str(text))
        .collect::<Result<Vec<crate::run::case::Case>, _>>()
        .map_err(|source| ComparandError::Decode { run: row.id, what: "case", source })?;
    let raw = store.figures(row.id)?.and_then(|figures| figures.raw_output);
    // Where the tool's output could not be parsed there are no rows to tell facts.
    let rows: Vec<Map<String, Value>> =
        raw.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let facts = facts::of_bench(found, &rows, row.blueprint.as_ref());
    Ok((comparand_bench::cases(&cases), facts))
}

fn load(
    store: &Store,
    row: &RunRow,
    found: &Fingerprint,
    texts: &[String],
    samples: bool,
) -> Result<(Vec<ComparedCase>, Facts), ComparandError> {
    let decoded = |what| move |source| ComparandError::Decode { run: row.id, what, source };
    let cases = texts
        .iter()
        .map(|text| serde_json::from_str(text))
        .collect::<Result<Vec<LoadCase>, _>>()
        .map_err(decoded("case"))?;
    let mut records = Vec::new();
    for case in cases.iter().filter(|_| samples) {
        let lines = store.request_records(row.id, case.case)?.unwrap_or_default();
        let of_case = request_rows::records(&lines, case.case, row.plan.as_ref());
        records.push(of_case.map_err(decoded("request record"))?);
    }
    let facts = facts::of_load(found, row.blueprint.as_ref(), row.plan.as_ref(), &cases);
    Ok((comparand_load::cases(&cases, &records), facts))
}
