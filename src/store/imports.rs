//! Runs that were measured elsewhere, written as ended ones in one go, and rows of `benchmark_results` that
//! came without a run. What is there already is left alone: an import adds, and never twice.

use rusqlite::types::Value as Column;
use rusqlite::{Connection, OptionalExtension as _, params, params_from_iter};
use serde_json::Value;
use uuid::Uuid;

use super::runs::Results;
use super::{StoreError, encode, events, runs};
use crate::request::imported::{Imported, Measured};
use crate::request::valid::Spec;
use crate::run::phase::RunState;

/// A run to be taken in.
#[derive(Debug, Clone)]
pub struct NewImport {
    pub id: Uuid,
    /// The name under which it stands.
    pub request: String,
    /// Empty where nobody says one.
    pub service: String,
    pub imported: Imported,
    /// An ended one.
    pub state: RunState,
    /// UTC, RFC 3339; when it was measured, else when it was imported.
    pub created_at: String,
    pub started_at: Option<String>,
    pub completed_at: Option<String>,
    /// `created_at` as Unix time in seconds.
    pub unix: i64,
    pub fingerprint: Option<Value>,
    pub simulated: bool,
    pub results: Results,
    /// JSON of llama-bench's flags.
    pub params: Option<String>,
}

/// A row of `benchmark_results` from elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRow {
    pub key: Uuid,
    /// The run and case that it came from, in the other database.
    pub of: Option<(String, i64)>,
    /// By columns of the table.
    pub values: Vec<(&'static str, Column)>,
}

impl super::Store {
    /// The request's name under which a run stands, if it is there.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn known_run(&self, id: Uuid) -> Result<Option<String>, StoreError> {
        self.read(|connection| request_of(connection, id))
    }

    /// Whether a row is there already.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn has_row(&self, row: &NewRow) -> Result<bool, StoreError> {
        self.read(|connection| has_row(connection, row))
    }
}

fn request_of(connection: &Connection, id: Uuid) -> Result<Option<String>, StoreError> {
    Ok(connection
        .prepare_cached("SELECT request_name FROM runs WHERE id = ?1")?
        .query_row([id.to_string()], |row| row.get(0))
        .optional()?)
}

fn has_row(connection: &Connection, row: &NewRow) -> Result<bool, StoreError> {
    let (run, case) = row.of.clone().unzip();
    Ok(connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM benchmark_results WHERE import_key = ?1)
                OR EXISTS (SELECT 1 FROM benchmark_results WHERE run_id = ?2 AND case_number IS ?3)",
        )?
        .query_row(params![row.key.to_string(), run, case], |row| row.get(0))?)
}

/// Adds a run; false where it is there already.
///
/// # Errors
/// SQLite's own.
pub fn add(connection: &Connection, new: &NewImport, now: &str) -> Result<bool, StoreError> {
    if request_of(connection, new.id)?.is_some() {
        return Ok(false);
    }
    let id = new.id.to_string();
    let spec = Spec::Imported(new.imported.clone());
    connection
        .prepare_cached(
            "INSERT INTO runs (id, request_uid, request_name, request_path, kind, generation, service, spec_json,
                spec_hash, timeout_ms, backoff_limit, phase, state_version, state_json, fingerprint_json,
                simulated, created_at, started_at, completed_at)
             VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6, ?7, 'imported', 0, 0, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        )?
        .execute(params![
            id,
            Uuid::nil().to_string(),
            new.request,
            new.imported.file,
            spec.kind(),
            new.service,
            encode(&spec)?,
            new.state.phase().as_str(),
            runs::STATE_VERSION,
            encode(&new.state)?,
            new.fingerprint.as_ref().map(encode).transpose()?,
            new.simulated,
            new.created_at,
            new.started_at,
            new.completed_at,
        ])?;
    match new.imported.measured {
        Measured::LlamaBench => {
            let error = match &new.state {
                RunState::Ended(end) => Some(end.message.clone()),
                RunState::Pending
                | RunState::Preparing { .. }
                | RunState::Running { .. }
                | RunState::Collecting { .. } => None,
            };
            let failed = new.state.phase() != crate::run::phase::Phase::Completed;
            connection
                .prepare_cached(
                    "INSERT INTO benchmark_runs (id, service_name, model_path, status, params_json,
                        error_message, created_at, started_at, completed_at, simulated)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                )?
                .execute(params![
                    id,
                    new.service,
                    new.imported.model,
                    new.state.phase().as_legacy_status(),
                    new.params,
                    error.filter(|_| failed),
                    new.created_at,
                    new.started_at,
                    new.completed_at,
                    new.simulated,
                ])?;
        }
        Measured::LoadTest | Measured::Conversation => {}
    }
    runs::set_results(connection, new.id, &new.results, new.unix)?;
    connection
        .prepare_cached("INSERT INTO imports (run_id, format, file, imported_at) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![id, new.imported.format.as_str(), new.imported.file, now])?;
    events::note(connection, Some(&new.request), Some(new.id), "RunImported", &new.imported.file, now)?;
    Ok(true)
}

/// Adds a row; false where it is there already.
///
/// # Errors
/// SQLite's own.
pub fn add_row(connection: &Connection, row: &NewRow) -> Result<bool, StoreError> {
    if has_row(connection, row)? {
        return Ok(false);
    }
    let key = ("import_key", Column::Text(row.key.to_string()));
    let (names, values): (Vec<&str>, Vec<&Column>) =
        row.values.iter().chain([&key]).map(|(name, value)| (*name, value)).unzip();
    let marks: Vec<String> = (1..=names.len()).map(|at| format!("?{at}")).collect();
    let sql = format!("INSERT INTO benchmark_results ({}) VALUES ({})", names.join(", "), marks.join(", "));
    connection.prepare_cached(&sql)?.execute(params_from_iter(values))?;
    Ok(true)
}
