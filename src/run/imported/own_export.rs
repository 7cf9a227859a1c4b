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
        imported(run).map_err(|reason| source.wrong(place, reason))
    });
    runs.collect()
}

/// # Errors
/// Results that do not fit together, in a sentence.
pub fn imported(run: ExportedRun) -> Result<ImportedRun, String> {
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
        ..ImportedRun::new(Format::Export, "", figures)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::run::fingerprint::Gpu;
    use crate::run::imported::load_results::{blank, count, metrics};
    use crate::run::imported::parse;
    use crate::run::phase::RunState;
    use crate::run::reason::Reason;
    use crate::run::request_record::{ErrorKind, RequestError};
    use crate::stats::summary::Summary;

    fn record(number: u64, times: (u64, u64, u32), failed: bool) -> Record {
        Record {
            n: number,
            scheduled_us: times.0,
            sent_us: times.0 + times.1,
            first_token_us: (!failed).then_some(u64::from(times.2)),
            last_token_us: (!failed).then_some(u64::from(times.2) + 7),
            end_us: u64::from(times.2) + 9,
            chunks: if failed { Vec::new() } else { vec![times.2, 7] },
            tokens_out: Some(2),
            text: Some("\u{202e}\u{1b}[2J \"quoted\" \n".to_owned()),
            error: failed.then(|| RequestError { kind: ErrorKind::Unknown, message: "no".to_owned() }),
            ..Record::default()
        }
    }

    fn exported(run: &ImportedRun) -> ExportedRun {
        let results = match run.figures.clone() {
            ImportedFigures::LlamaBench { rows, cases } => {
                ExportedResults::LlamaBench { cases, rows: rows.into_iter().map(|row| row.raw).collect() }
            }
            ImportedFigures::Load { cases, records } => {
                ExportedResults::LoadTest { cases, requests: records }
            }
        };
        ExportedRun {
            id: run.id.unwrap(),
            request: run.name.clone(),
            service: run.service.clone().unwrap(),
            model: run.model.clone(),
            created_at: run.measured_at.clone().unwrap(),
            started_at: run.started_at.clone(),
            completed_at: run.completed_at.clone(),
            ending: run.ending.clone(),
            simulated: run.simulated,
            headline: None,
            fingerprint: Some(run.fingerprint.clone()),
            spec: Value::Null,
            results,
            notes: run.notes.clone(),
        }
    }

    proptest! {
        #[test]
        fn what_is_exported_is_imported_as_it_was(
            rate in any::<f64>().prop_filter("finite", |rate| rate.is_finite()),
            samples in prop::collection::vec(1e-9..1e12, 0..9),
            times in prop::collection::vec((0..1u64 << 50, 0..1_000_000u64, any::<u32>()), 0..6),
            failed in any::<bool>(),
            simulated in any::<bool>(),
            name in "[a-z][a-z0-9._-]{0,20}",
            words in ".{0,40}",
        ) {
            let records: Vec<Record> =
                (0..).zip(&times).map(|(n, times)| record(n, *times, failed && n == 0)).collect();
            let mut case = blank(1, &words);
            case.throughput.requests_per_s = Some(rate);
            case.metrics = metrics(&records, true);
            case.metrics.ttft = Summary::of(samples);
            case.metrics.itl = Some(Summary { mean: Some(rate), ..Summary::default() });
            count(&mut case, 3, u64::from(failed));
            let mut fingerprint = Fingerprint { memory_bytes: Some(7), ..Fingerprint::default() };
            fingerprint.gpus = Some(vec![Gpu { name: Some(words.clone()), ..Gpu::default() }]);
            let run = ImportedRun {
                format: Format::Export,
                name,
                id: Some(Uuid::from_u128(7)),
                measured_at: Some("2026-03-01T12:00:00.000Z".to_owned()),
                started_at: None,
                completed_at: Some("2026-03-01T12:01:00.000Z".to_owned()),
                service: Some("s".to_owned()),
                model: Some(words.clone()),
                fingerprint,
                simulated,
                ending: if failed {
                    Ending::failed(Reason::TimedOut, words.clone()).hint(Some(words.clone()))
                } else {
                    Ending::completed(words.clone())
                },
                figures: ImportedFigures::Load { cases: vec![case], records: vec![records] },
                notes: vec![words],
            };
            let export =
                Export { schema: SCHEMA.to_owned(), benchlet: "0".to_owned(), runs: vec![exported(&run)] };
            let text = serde_json::to_string_pretty(&export).unwrap();
            let read = parse(text.as_bytes(), "x.json").unwrap();
            prop_assert!(RunState::Ended(read[0].ending.clone()).phase().is_terminal());
            prop_assert_eq!(read, vec![run]);
        }
    }

    #[test]
    fn the_rows_of_llama_bench_come_back_as_they_went() {
        let bytes = include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/llama-cpp/bench/fmt-json.stdout"
        ));
        let mut run = parse(bytes, "a.json").unwrap().remove(0);
        run.format = Format::Export;
        run.id = Some(Uuid::from_u128(9));
        run.service = Some(String::new());
        let export =
            Export { schema: SCHEMA.to_owned(), benchlet: "0".to_owned(), runs: vec![exported(&run)] };
        let text = serde_json::to_string(&export).unwrap();
        assert_eq!(parse(text.as_bytes(), "x.json").unwrap(), [run]);
    }

    #[test]
    fn a_broken_export_says_where_it_is_broken() {
        let text =
            "{\n \"schema\": \"benchlet/export/v1\",\n \"benchlet\": \"0\",\n \"runs\": [{\"id\": 5}]\n}";
        let error = parse(text.as_bytes(), "x.json").unwrap_err();
        assert!(error.to_string().starts_with("x.json: export: line 4, column "), "{error}");
        let newer = text.replace("export/v1", "export/v2");
        let error = parse(newer.as_bytes(), "x.json").unwrap_err();
        assert!(error.to_string().contains("\"benchlet/export/v2\", which cannot be imported"), "{error}");
    }
}
