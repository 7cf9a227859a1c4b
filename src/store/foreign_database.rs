//! A database of somebody else's with `benchmark_runs` or `benchmark_results`: read, never changed, whatever
//! columns it has. A row that cannot be read is named by its table and rowid and takes no other with it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rusqlite::types::Value as Column;
use rusqlite::{Connection, OpenFlags};
use uuid::Uuid;

use super::benchmarks::Figures;
use super::foreign_rows;
use super::imports::NewRow;
use super::{Access, Store};
use crate::run::imported::ImportedRun;

#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    #[error("{path}: sqlite: it cannot be opened: {source}")]
    Open { path: PathBuf, source: rusqlite::Error },
    #[error("{path}: sqlite: {source}")]
    Read { path: PathBuf, source: rusqlite::Error },
    #[error("{path}: sqlite: {error}")]
    Store { path: PathBuf, error: String },
    #[error("{path}: sqlite: it has neither a table benchmark_runs nor benchmark_results; it has {tables}")]
    NoTable { path: PathBuf, tables: String },
}

/// What both tables hold.
#[derive(Debug, Default)]
pub struct Contents {
    pub runs: Vec<ForeignRun>,
    pub rows: Vec<NewRow>,
    /// Rows that cannot be read: `benchmark_runs, rowid 7: created_at is no point in time`.
    pub bad: Vec<String>,
    /// Runs that had not ended.
    pub open: u64,
    pub notes: Vec<String>,
}

/// A row of `benchmark_runs`.
#[derive(Debug)]
pub struct ForeignRun {
    pub id: Uuid,
    pub run: ImportedRun,
    /// As its columns have them.
    pub figures: Figures,
    pub params: Option<String>,
}

/// A row by its columns.
pub struct Foreign {
    pub rowid: i64,
    pub values: Vec<(&'static str, Column)>,
}

const RUNS: [&str; 21] = [
    "id",
    "service_name",
    "model_path",
    "status",
    "params_json",
    "pp_avg_ts",
    "pp_stddev_ts",
    "tg_avg_ts",
    "tg_stddev_ts",
    "raw_output",
    "error_message",
    "created_at",
    "started_at",
    "completed_at",
    "build_commit",
    "model_type",
    "model_size",
    "model_n_params",
    "gpu_info",
    "cpu_info",
    "simulated",
];
const RESULTS: [&str; 25] = [
    "id",
    "model_name",
    "model_size_params",
    "model_size_bytes",
    "num_workers",
    "context_window",
    "num_requests",
    "avg_prompt_tokens",
    "avg_completion_tokens",
    "total_time_seconds",
    "requests_per_second",
    "time_per_request_seconds",
    "successful_requests",
    "failed_requests",
    "success_rate",
    "sample_responses",
    "created_at",
    "benchmark_type",
    "notes",
    "hardware_info",
    "simulated",
    "valid",
    "cost_per_hour",
    "run_id",
    "case_number",
];

/// Reads both tables. `unix` is the time of the import, for rows that tell none.
///
/// # Errors
/// No database, or none with one of these tables.
pub fn read(path: &Path, unix: i64) -> Result<Contents, ForeignError> {
    let mut contents = Contents::default();
    let connection = open(path, &mut contents.notes)?;
    let wrong = |source| ForeignError::Read { path: path.to_owned(), source };
    let tables: Vec<String> = connection
        .prepare("SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name")
        .and_then(|mut all| all.query_map([], |row| row.get(0))?.collect())
        .map_err(wrong)?;
    let has = |table: &str| tables.iter().any(|name| name.eq_ignore_ascii_case(table));
    if !has("benchmark_runs") && !has("benchmark_results") {
        let shown: Vec<&str> = tables.iter().take(10).map(String::as_str).collect();
        let tables = if shown.is_empty() { "no table".to_owned() } else { shown.join(", ") };
        return Err(ForeignError::NoTable { path: path.to_owned(), tables });
    }
    if has("benchmark_runs") {
        for row in rows(&connection, "benchmark_runs", &RUNS).map_err(wrong)? {
            foreign_rows::run(&row, path, &mut contents);
        }
    }
    if has("benchmark_results") {
        let keys = keys(&connection).map_err(wrong)?;
        for row in rows(&connection, "benchmark_results", &RESULTS).map_err(wrong)? {
            let key = keys.get(&row.rowid).copied();
            foreign_rows::result(row, key, unix, &mut contents);
        }
    }
    Ok(contents)
}

/// Another benchlet's database, as a store of its own in this empty directory, brought up to date there. `None`
/// where it is somebody else's.
///
/// # Errors
/// One that cannot be copied, or is of a newer benchlet.
pub fn copy_of_benchlets(path: &Path, into: &Path) -> Result<Option<Store>, ForeignError> {
    let connection = open(path, &mut Vec::new())?;
    let wrong = |source| ForeignError::Read { path: path.to_owned(), source };
    let tables: i64 = connection
        .query_row(
            "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('meta', 'runs', 'cases')",
            [],
            |row| row.get(0),
        )
        .map_err(wrong)?;
    if tables < 3 {
        return Ok(None);
    }
    let copy = into.join("benchlet.db");
    connection.execute("VACUUM INTO ?1", [copy.to_string_lossy()]).map_err(wrong)?;
    let store = Store::open(into, Access::Owner);
    store.map(Some).map_err(|error| ForeignError::Store { path: path.to_owned(), error: error.to_string() })
}

/// Without a trace beside the file. With a write-ahead log that somebody left or is writing, as one reader
/// more; where that needs files that cannot be made, without what the log has.
fn open(path: &Path, notes: &mut Vec<String>) -> Result<Connection, ForeignError> {
    let fail = |source| ForeignError::Open { path: path.to_owned(), source };
    let beside = |ending: &str| {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(ending);
        std::fs::metadata(path.with_file_name(name)).is_ok_and(|found| found.len() > 0)
    };
    let live = beside("-wal") || beside("-journal");
    let plain = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if live {
        let connection = Connection::open_with_flags(path, plain).map_err(fail)?;
        if check(&connection).is_ok() {
            return Ok(connection);
        }
        notes.push("what its log has could not be read, so the newest rows may be missing".to_owned());
    }
    let absolute = std::fs::canonicalize(path)
        .map_err(|error| fail(rusqlite::Error::ToSqlConversionFailure(Box::new(error))))?;
    let escaped: String = absolute
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .map(|byte| match byte {
            b'/' | b'-' | b'_' | b'.' => char::from(*byte).to_string(),
            plain if plain.is_ascii_alphanumeric() => char::from(*plain).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    let uri = format!("file://{escaped}?mode=ro&immutable=1");
    let flags = plain | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri, flags).map_err(fail)?;
    check(&connection).map_err(fail)?;
    Ok(connection)
}

fn check(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(super::BUSY)?;
    connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get::<_, i64>(0)).map(drop)
}

/// A table's rows with the columns that it has.
fn rows(connection: &Connection, table: &str, known: &[&'static str]) -> rusqlite::Result<Vec<Foreign>> {
    let has = columns(connection, table)?;
    let columns: Vec<&'static str> =
        known.iter().copied().filter(|name| has.iter().any(|has| has.eq_ignore_ascii_case(name))).collect();
    let list = columns.join(", ");
    let separator = if columns.is_empty() { "" } else { ", " };
    let sql = format!("SELECT rowid{separator}{list} FROM {table} ORDER BY rowid");
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map([], |row| {
        let values = (1..).zip(&columns).map(|(at, name)| Ok((*name, row.get(at)?)));
        Ok(Foreign { rowid: row.get(0)?, values: values.collect::<rusqlite::Result<_>>()? })
    })?;
    rows.collect()
}

fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare(&format!("SELECT name FROM pragma_table_info('{table}')"))?
        .query_map([], |row| row.get(0))?
        .collect()
}

/// The keys that rows were imported by, where that database imported some itself.
fn keys(connection: &Connection) -> rusqlite::Result<HashMap<i64, Uuid>> {
    if !columns(connection, "benchmark_results")?.iter().any(|name| name == "import_key") {
        return Ok(HashMap::new());
    }
    let mut statement =
        connection.prepare("SELECT rowid, import_key FROM benchmark_results WHERE import_key IS NOT NULL")?;
    let keys = statement.query_map([], |row| {
        let key: String = row.get(1)?;
        Ok((row.get(0)?, key.parse().ok()))
    })?;
    keys.filter_map(|key| key.map(|(rowid, key)| key.map(|key| (rowid, key))).transpose()).collect()
}
