//! What load tests leave beside their cases: the request records, compressed; the system's metrics as
//! series; and a row of `benchmark_results` a case, the table whose columns users' own SQL knows.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, params};
use uuid::Uuid;

use super::{StoreError, all};

/// Version of the blobs: zstd over JSON Lines of `run::request_record::Record`, and over JSON `[[unix_ms,
/// value], …]`.
const VERSION: u32 = 1;
/// Fast, and small enough.
const LEVEL: i32 = 3;

/// What one case leaves, compressed before the store's one writer is held up by it.
#[derive(Debug, Clone)]
pub struct CaseData {
    number: u32,
    records: Vec<u8>,
    record_count: u64,
    series: BTreeMap<String, Vec<u8>>,
    result: Option<ResultRow>,
}

impl CaseData {
    /// `records` are JSON Lines, `series` by name: milliseconds since the Unix epoch, and the value. Takes a
    /// while for a long case.
    ///
    /// # Errors
    /// They cannot be compressed.
    pub fn pack(
        number: u32,
        records: &[u8],
        record_count: u64,
        series: &BTreeMap<String, Vec<(i64, f64)>>,
        result: Option<ResultRow>,
    ) -> Result<Self, StoreError> {
        let points = series.iter().map(|(name, points)| {
            let points =
                serde_json::to_vec(points).map_err(|source| StoreError::Decode { what: "series", source })?;
            Ok((name.clone(), packed(&points)?))
        });
        let series = points.collect::<Result<_, StoreError>>()?;
        Ok(Self { number, records: packed(records)?, record_count, series, result })
    }
}

/// A row of `benchmark_results` in its own terms: seconds, bytes, percent; null where unknown.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ResultRow {
    pub model_name: String,
    pub model_size_params: Option<String>,
    pub model_size_bytes: Option<u64>,
    pub num_workers: Option<u64>,
    pub context_window: Option<u64>,
    pub num_requests: u64,
    pub avg_prompt_tokens: Option<f64>,
    pub avg_completion_tokens: Option<f64>,
    pub total_time_seconds: Option<f64>,
    pub requests_per_second: Option<f64>,
    pub time_per_request_seconds: Option<f64>,
    pub successful_requests: u64,
    pub failed_requests: u64,
    /// Percent.
    pub success_rate: Option<f64>,
    /// JSON array of texts.
    pub sample_responses: String,
    pub benchmark_type: String,
    pub notes: Option<String>,
    /// JSON.
    pub hardware_info: String,
    pub simulated: bool,
    pub valid: bool,
    /// Of the machine, where the request says it.
    pub cost_per_hour: Option<f64>,
}

impl super::Store {
    /// A case's request records as JSON Lines; `None` where there are none.
    ///
    /// # Errors
    /// SQLite's own, or a blob of another version.
    pub fn request_records(&self, run: Uuid, number: u32) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.read(|connection| {
            Ok(connection
                .prepare_cached(
                    "SELECT version, records FROM request_records WHERE run_id = ?1 AND number = ?2",
                )?
                .query_row(params![run.to_string(), number], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?)
        })?;
        found.map(|(version, blob): (u32, Vec<u8>)| unpacked(version, &blob)).transpose()
    }

    /// A case's series by name: milliseconds since the Unix epoch, and values.
    ///
    /// # Errors
    /// SQLite's own, or a blob of another version.
    pub fn series(&self, run: Uuid, number: u32) -> Result<BTreeMap<String, Vec<(i64, f64)>>, StoreError> {
        let rows: Vec<(String, u32, Vec<u8>)> = self.read(|connection| {
            let sql =
                "SELECT name, version, points FROM series WHERE run_id = ?1 AND number = ?2 ORDER BY name";
            all(connection, sql, params![run.to_string(), number], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
        })?;
        rows.into_iter()
            .map(|(name, version, blob)| {
                let points = unpacked(version, &blob)?;
                let points = serde_json::from_slice(&points)
                    .map_err(|source| StoreError::Decode { what: "series", source })?;
                Ok((name, points))
            })
            .collect()
    }
}

/// Writes what the cases of a run leave. Safe to repeat.
pub(super) fn set(
    connection: &Connection,
    run: Uuid,
    data: &[CaseData],
    unix: i64,
) -> Result<(), StoreError> {
    let id = run.to_string();
    for table in ["request_records", "series", "benchmark_results"] {
        connection.prepare_cached(&format!("DELETE FROM {table} WHERE run_id = ?1"))?.execute([&id])?;
    }
    for case in data {
        connection
            .prepare_cached(
                "INSERT INTO request_records (run_id, number, version, count, records) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![id, case.number, VERSION, case.record_count, case.records])?;
        for (name, points) in &case.series {
            connection
                .prepare_cached(
                    "INSERT INTO series (run_id, number, name, version, points) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![id, case.number, name, VERSION, points])?;
        }
        insert(connection, &id, case, unix)?;
    }
    Ok(())
}

fn insert(connection: &Connection, id: &str, case: &CaseData, unix: i64) -> Result<(), StoreError> {
    let Some(row) = &case.result else { return Ok(()) };
    connection
        .prepare_cached(
            "INSERT INTO benchmark_results (model_name, model_size_params, model_size_bytes, num_workers,
                context_window, num_requests, avg_prompt_tokens, avg_completion_tokens, total_time_seconds,
                requests_per_second, time_per_request_seconds, successful_requests, failed_requests,
                success_rate, sample_responses, created_at, benchmark_type, notes, hardware_info, run_id,
                case_number, simulated, valid, cost_per_hour)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20,
                ?21, ?22, ?23, ?24)",
        )?
        .execute(params![
            row.model_name,
            row.model_size_params,
            row.model_size_bytes,
            row.num_workers,
            row.context_window,
            row.num_requests,
            row.avg_prompt_tokens,
            row.avg_completion_tokens,
            row.total_time_seconds,
            row.requests_per_second,
            row.time_per_request_seconds,
            row.successful_requests,
            row.failed_requests,
            row.success_rate,
            row.sample_responses,
            unix,
            row.benchmark_type,
            row.notes,
            row.hardware_info,
            id,
            case.number,
            row.simulated,
            row.valid,
            row.cost_per_hour,
        ])?;
    Ok(())
}

fn packed(bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
    zstd::encode_all(bytes, LEVEL)
        .map_err(|error| StoreError::Refused(format!("a blob cannot be packed: {error}")))
}

fn unpacked(version: u32, blob: &[u8]) -> Result<Vec<u8>, StoreError> {
    if version != VERSION {
        return Err(StoreError::Refused(format!(
            "the records are of version {version}, and this benchlet reads {VERSION}; use the newer benchlet"
        )));
    }
    zstd::decode_all(blob).map_err(|error| StoreError::Refused(format!("a blob cannot be unpacked: {error}")))
}
