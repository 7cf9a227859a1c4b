//! From what a file tells to what the store keeps of it: runs with their cases, request records and rows.
//! Writes nothing itself; whoever imports hands all of a file to the store at once.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{load_results, measure};
use crate::request::imported::{Format, Imported, name_of};
use crate::run::fingerprint::Fingerprint;
use crate::run::imported::content_id::content_id;
use crate::run::imported::{ImportedFigures, ImportedRun};
use crate::run::llama_bench_row::Row;
use crate::run::load_words;
use crate::run::phase::RunState;
use crate::run::reason::{Reason, Refusal};
use crate::store::benchmarks::Figures;
use crate::store::foreign_database::ForeignRun;
use crate::store::imports::NewImport;
use crate::store::load_results::CaseData;
use crate::store::runs::Results;

/// What is said at an import beside the file.
#[derive(Debug, Clone, Copy)]
pub struct Said<'s> {
    /// The file's name without its folder.
    pub file: &'s str,
    pub name: Option<&'s str>,
    pub service: Option<&'s str>,
    /// UTC, RFC 3339.
    pub now: &'s str,
}

/// The id of the `at`-th run of a file, unless it brings its own.
pub fn id_of(run: &ImportedRun, bytes: &[u8], at: usize) -> Uuid {
    run.id.unwrap_or_else(|| content_id(&[b"file", bytes, &(at as u64).to_be_bytes()]))
}

/// # Errors
/// What cannot be written as JSON, or compressed.
pub fn stored(id: Uuid, run: ImportedRun, said: Said<'_>) -> Result<NewImport, Refusal> {
    let request = said.name.map_or_else(|| name_of(&run.name), str::to_owned);
    let service = said.service.map(str::to_owned).or(run.service).unwrap_or_default();
    let created_at = run.measured_at.unwrap_or_else(|| said.now.to_owned());
    let unix = created_at.parse::<jiff::Timestamp>().map_or(0, |time| time.as_second());
    let known = run.fingerprint != Fingerprint::default();
    let fingerprint = known.then(|| serde_json::to_value(&run.fingerprint)).transpose().map_err(internal)?;
    let imported = Imported {
        format: run.format,
        file: said.file.to_owned(),
        measured: run.figures.measured(),
        model: run.model,
        notes: run.notes,
    };
    let notes = format!("imported from {}", said.file);
    let results = results(&run.figures, run.simulated, &notes, fingerprint.as_ref())?;
    let mut ending = run.ending;
    // Of our own it stays as it was.
    if ending.message.is_empty() && run.format != Format::Export {
        ending.message = format!("{notes} ({})", run.format);
    }
    Ok(NewImport {
        id,
        request,
        service,
        imported,
        state: RunState::Ended(ending),
        created_at,
        started_at: run.started_at,
        completed_at: run.completed_at,
        unix,
        fingerprint,
        simulated: run.simulated,
        results,
        params: None,
    })
}

/// A row of another database's `benchmark_runs`.
///
/// # Errors
/// As [`stored`].
pub fn stored_row(row: ForeignRun, said: Said<'_>) -> Result<NewImport, Refusal> {
    let own = row.figures;
    let mut new = stored(row.id, row.run, said)?;
    // The row's own columns stand over what its output would give again.
    let made = std::mem::take(&mut new.results.figures);
    new.results.figures = Figures {
        pp_avg_ts: own.pp_avg_ts.or(made.pp_avg_ts),
        pp_stddev_ts: own.pp_stddev_ts.or(made.pp_stddev_ts),
        tg_avg_ts: own.tg_avg_ts.or(made.tg_avg_ts),
        tg_stddev_ts: own.tg_stddev_ts.or(made.tg_stddev_ts),
        raw_output: own.raw_output.or(made.raw_output),
        build_commit: own.build_commit.or(made.build_commit),
        model_type: own.model_type.or(made.model_type),
        model_size: own.model_size.or(made.model_size),
        model_n_params: own.model_n_params.or(made.model_n_params),
        gpu_info: own.gpu_info.or(made.gpu_info),
        cpu_info: own.cpu_info.or(made.cpu_info),
    };
    new.params = row.params;
    Ok(new)
}

fn results(
    figures: &ImportedFigures,
    simulated: bool,
    notes: &str,
    fingerprint: Option<&serde_json::Value>,
) -> Result<Results, Refusal> {
    match figures {
        ImportedFigures::LlamaBench { rows, cases } => {
            let rows: Vec<&Row> = rows.iter().collect();
            let texts = (1..).zip(cases).map(|(number, case)| measure::case_json(number, case, simulated));
            Ok(Results {
                cases: texts.collect::<Result<_, _>>()?,
                figures: measure::figures(&rows, cases),
                simulated,
                ..Results::default()
            })
        }
        ImportedFigures::Load { cases, records } => {
            let mut load = Vec::new();
            for (case, records) in cases.iter().zip(records) {
                let mut lines = Vec::new();
                for record in records {
                    serde_json::to_writer(&mut lines, record).map_err(internal)?;
                    lines.push(b'\n');
                }
                // A conversation that was not begun is no result.
                let skipped = case.conversation.as_ref().is_some_and(|held| held.skipped.is_some());
                let notes = format!("{}: {notes}", case.label());
                let row = (!skipped).then(|| load_results::result_row(case, None, notes, fingerprint));
                let packed = CaseData::pack(case.case, &lines, records.len() as u64, &BTreeMap::new(), row);
                load.push(packed.map_err(|error| Refusal::new(Reason::InternalError, error.to_string()))?);
            }
            let texts = cases.iter().map(serde_json::to_string);
            Ok(Results {
                cases: texts.collect::<Result<_, _>>().map_err(internal)?,
                headline: load_words::headline(cases),
                load,
                simulated,
                ..Results::default()
            })
        }
    }
}

fn internal(error: serde_json::Error) -> Refusal {
    Refusal::new(Reason::InternalError, error.to_string())
}
