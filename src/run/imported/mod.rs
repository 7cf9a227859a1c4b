//! Results that were measured elsewhere: the files of other tools, and benchlet's own export, as cases and
//! request records. A file a format; which one it is, is told by its content. Takes what a file says and
//! invents nothing: unknown is null. Reads bytes alone; `controller::imports` makes stored runs of what comes out of here.

pub mod aiperf;
pub mod content_id;
pub mod error;
mod fields;
pub mod guidellm;
mod json_text;
pub mod llama_bench;
mod llama_bench_csv;
mod llama_bench_sql;
pub mod load_results;
pub mod own_export;
pub mod simple_harness;
mod simple_words;
#[cfg(test)]
mod tests;
mod times;
pub mod vllm;

use serde_json::Value;
use uuid::Uuid;

use self::error::{ImportError, Place};
use self::fields::Source;
use self::json_text::Text;
use super::case::Case;
use super::fingerprint::Fingerprint;
use super::llama_bench_row::Row;
use super::load_case::LoadCase;
use super::phase::Ending;
use super::request_record::Record;
pub use crate::request::imported::{Format, Measured};

/// Largest file that is read, in bytes.
pub const LARGEST: u64 = 256 << 20;

/// One run as a file tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportedRun {
    pub format: Format,
    /// The file's stem; of an export the request's name.
    pub name: String,
    /// Of an export: the run's own.
    pub id: Option<Uuid>,
    /// UTC, RFC 3339.
    pub measured_at: Option<String>,
    pub started_at: Option<String>,
    pub completed_at: Option<String>,
    /// Of an export.
    pub service: Option<String>,
    pub model: Option<String>,
    /// What the file tells of the machine.
    pub fingerprint: Fingerprint,
    pub simulated: bool,
    pub ending: Ending,
    pub figures: ImportedFigures,
    /// What the file left open, in sentences.
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ImportedFigures {
    LlamaBench {
        /// As llama-bench printed them; empty of an export that has none.
        rows: Vec<Row>,
        cases: Vec<Case>,
    },
    Load {
        cases: Vec<LoadCase>,
        /// Of each case its requests, in the order of their sending as far as it is told; empty where the
        /// file has nothing of single requests.
        records: Vec<Vec<Record>>,
    },
}

impl ImportedFigures {
    pub fn measured(&self) -> Measured {
        match self {
            Self::LlamaBench { .. } => Measured::LlamaBench,
            Self::Load { cases, .. } if cases.iter().any(|case| case.conversation.is_some()) => {
                Measured::Conversation
            }
            Self::Load { .. } => Measured::LoadTest,
        }
    }
}

impl ImportedRun {
    /// A run of which nothing but its figures is known yet.
    fn new(format: Format, file: &str, figures: ImportedFigures) -> Self {
        Self {
            format,
            name: stem(file).to_owned(),
            id: None,
            measured_at: None,
            started_at: None,
            completed_at: None,
            service: None,
            model: None,
            fingerprint: Fingerprint::default(),
            simulated: false,
            ending: Ending::completed(""),
            figures,
            notes: Vec::new(),
        }
    }
}

/// The file's name without its folders and its ending.
pub fn stem(file: &str) -> &str {
    let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
    match name.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        Some(_) | None => name,
    }
}

/// The runs in a file, in its order; `file` names it.
///
/// # Errors
/// A form that is not known, or a place in the file that is not as its form has it.
pub fn parse(bytes: &[u8], file: &str) -> Result<Vec<ImportedRun>, ImportError> {
    parse_as(bytes, file, None)
}

/// The same, where somebody says what form it has.
///
/// # Errors
/// As [`parse`].
pub fn parse_as(bytes: &[u8], file: &str, asked: Option<Format>) -> Result<Vec<ImportedRun>, ImportError> {
    let wrong = |place, reason: String| ImportError::new(file, asked, place, reason);
    if bytes.len() as u64 > LARGEST {
        let reason = format!("it has {} MiB, and at most {} are read", bytes.len() >> 20, LARGEST >> 20);
        return Err(
            wrong(Place::File, reason).hint("leave details of single requests out when it is written")
        );
    }
    if is_sqlite(bytes) {
        return Err(wrong(Place::File, "it is a database, which is opened by its path".to_owned()));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        wrong(Place::Line(line), "it is neither text in UTF-8 nor an SQLite database".to_owned())
    })?;
    let text = text.trim_start_matches('\u{feff}');
    if text.trim().is_empty() {
        return Err(wrong(Place::File, "it is empty".to_owned()).hint("was the benchmark still running?"));
    }
    let is_json = text.trim_start().starts_with(['{', '[']);
    let format = match asked {
        Some(format) => format,
        None if is_json => return json_of_any_form(text, file),
        None if llama_bench::looks_like_text(text) => Format::LlamaBench,
        None => return Err(unknown(file, "it is neither JSON nor CSV or SQL of llama-bench")),
    };
    let source = Source { file, format };
    match format {
        Format::LlamaBench if !is_json => llama_bench::of_text(text, source),
        Format::LlamaBench
        | Format::Export
        | Format::Vllm
        | Format::Guidellm
        | Format::Aiperf
        | Format::Simple => {
            let values = Text::read(text).map_err(|error| error.in_file(file, Some(format)))?;
            of_json(text, &values, source)
        }
        Format::Sqlite => Err(wrong(Place::File, "it is no SQLite database".to_owned())),
    }
}

fn json_of_any_form(text: &str, file: &str) -> Result<Vec<ImportedRun>, ImportError> {
    let values = Text::read(text).map_err(|error| error.in_file(file, None))?;
    let Some(first) = values.items.first() else { return Err(unknown(file, "it holds nothing")) };
    match form_of(&first.1) {
        Ok(format) => of_json(text, &values, Source { file, format }),
        Err(words) => Err(unknown(file, &words)),
    }
}

fn of_json(text: &str, values: &Text, source: Source<'_>) -> Result<Vec<ImportedRun>, ImportError> {
    match source.format {
        Format::Export => own_export::runs(text, source),
        Format::LlamaBench => llama_bench::of_json(values, source),
        Format::Vllm => values.each(source, vllm::run),
        Format::Guidellm => values.each(source, guidellm::run),
        Format::Aiperf => aiperf::runs(values, source),
        Format::Simple => values.each(source, simple_harness::run),
        Format::Sqlite => Err(source.wrong(Place::File, "it is JSON and no database")),
    }
}

/// Which form a JSON value has, or what it looks like.
fn form_of(value: &Value) -> Result<Format, String> {
    if let Some(schema) = value["schema"].as_str() {
        return match schema {
            own_export::SCHEMA => Ok(Format::Export),
            other => Err(format!("its schema is {other:?}, which cannot be imported")),
        };
    }
    type IsIt = fn(&Value) -> bool;
    let known: [(Format, IsIt); 5] = [
        (Format::LlamaBench, llama_bench::is_it),
        (Format::Guidellm, guidellm::is_it),
        (Format::Aiperf, aiperf::is_it),
        (Format::Vllm, vllm::is_it),
        (Format::Simple, simple_harness::is_it),
    ];
    let found = known.iter().find(|(_, is_it)| is_it(value)).map(|(format, _)| *format);
    found.ok_or_else(|| "it is JSON, but of no form that is known here".to_owned())
}

fn unknown(file: &str, reason: &str) -> ImportError {
    let forms: Vec<&str> = Format::ALL.iter().map(|format| format.words()).collect();
    let hint = if reason.contains("benchlet/report") {
        "`benchlet export RUN --format json` writes what can be imported".to_owned()
    } else {
        format!("understood are: {}", forms.join("; "))
    };
    ImportError::new(file, None, Place::File, reason).hint(hint)
}

/// A point in time as another tool wrote it, in UTC and RFC 3339.
pub fn utc(text: &str) -> Option<String> {
    times::of_text(text).map(|time| time.utc)
}

pub fn is_sqlite(bytes: &[u8]) -> bool {
    bytes.starts_with(b"SQLite format 3\0")
}
