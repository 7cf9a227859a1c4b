//! benchlet's own form of runs that leave it: what `benchlet export --format json` writes and an import reads
//! back without a loss. Owns the shape and its version; the store's rows become it in `report::export`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::error::{ImportError, Place};
use super::fields::Source;
use super::{Format, ImportedFigures, ImportedRun};
use crate::run::case::Case;
use crate::run::fingerprint::Fingerprint;
use crate::run::llama_bench_row::Row;
use crate::run::load_case::LoadCase;
use crate::run::phase::Ending;
use crate::run::request_record::Record;

/// The form; another version has another name.
pub const SCHEMA: &str = "benchlet/export/v1";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Export {
    pub schema: String,
    /// The benchlet that wrote it.
    pub benchlet: String,
    /// Newest first.
    pub runs: Vec<ExportedRun>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExportedRun {
    pub id: Uuid,
    /// The request's name.
    pub request: String,
    pub service: String,
    pub model: Option<String>,
    /// UTC, RFC 3339.
    pub created_at: String,
    pub started_at: Option<String>,
    pub completed_at: Option<String>,
    /// How it ended.
    pub ending: Ending,
    pub simulated: bool,
    pub headline: Option<String>,
    pub fingerprint: Option<Fingerprint>,
    /// What was asked for, as it was understood; an import shows it nowhere.
    pub spec: Value,
    pub results: ExportedResults,
    /// What an import left open.
    #[serde(default)]
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum ExportedResults {
    LlamaBench {
        cases: Vec<Case>,
        /// llama-bench's own rows of all launches.
        rows: Vec<Map<String, Value>>,
    },
    LoadTest {
        cases: Vec<LoadCase>,
        /// Of each case; empty where they were left out.
        requests: Vec<Vec<Record>>,
    },
    Conversation {
        cases: Vec<LoadCase>,
        requests: Vec<Vec<Record>>,
    },
}

/// # Errors
/// The line and column of what is not of this form.
pub fn runs(text: &str, source: Source<'_>) -> Result<Vec<ImportedRun>, ImportError> {
    let export: Export = serde_json::from_str(text).map_err(|error| {
        let place = Place::Column { line: error.line(), column: error.column() };
        let whole = error.to_string();
        let reason = whole.rsplit_once(" at line ").map_or(whole.as_str(), |(reason, _)| reason);
        source.wrong(place, reason).hint("was it written by a newer benchlet, or changed by hand?")
    })?;
    if export.schema != SCHEMA {
        let reason = format!("its schema is {:?}, and this benchlet reads {SCHEMA}", export.schema);
        return Err(source.wrong(Place::Field("$.schema".to_owned()), reason));
    }
    let runs = export.runs.into_iter().enumerate().map(|(at, run)| {
        let place = Place::Field(format!("$.runs[{at}].results"));
        imported(run, source).map_err(|reason| source.wrong(place, reason))
    });
    runs.collect()
}

fn imported(run: ExportedRun, source: Source<'_>) -> Result<ImportedRun, String> {
    let figures = match run.results {
        ExportedResults::LlamaBench { cases, rows } => {
            let read = rows.into_iter().map(Row::from_object);
            let rows = read.collect::<Option<_>>().ok_or("one of the rows names no test of llama-bench")?;
            ImportedFigures::LlamaBench { rows, cases }
        }
        ExportedResults::LoadTest { cases, requests } | ExportedResults::Conversation { cases, requests } => {
            let records = match requests.len() {
                0 => vec![Vec::new(); cases.len()],
                some if some == cases.len() => requests,
                some => {
                    return Err(format!("it has the requests of {some} cases, and {} cases", cases.len()));
                }
            };
            ImportedFigures::Load { cases, records }
        }
    };
    Ok(ImportedRun {
        format: Format::Export,
        name: run.request,
        id: Some(run.id),
        measured_at: Some(run.created_at),
        started_at: run.started_at,
        completed_at: run.completed_at,
        service: Some(run.service),
        model: run.model,
        fingerprint: run.fingerprint.unwrap_or_default(),
        simulated: run.simulated,
        ending: run.ending,
        notes: run.notes,
        ..ImportedRun::new(Format::Export, source.file, figures)
    })
}
