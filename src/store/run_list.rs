//! Runs as the API lists them: with the columns of `benchmark_runs`, by the status words of that table, and how
//! many there are in all. Reads only.

use rusqlite::{Connection, Row, params_from_iter};
use uuid::Uuid;

use super::overview::{self, RUN_COLUMNS, RunSummary};
use super::{StoreError, all, decode, first};
use crate::request::valid::Spec;
use crate::run::phase::Phase;

/// A run with what its row of `benchmark_runs` says beside the figures.
#[derive(Debug, Clone)]
pub struct ListedRun {
    pub run: RunSummary,
    pub spec: Spec,
    pub model_path: Option<String>,
    pub error_message: Option<String>,
    pub build_commit: Option<String>,
    pub model_type: Option<String>,
    pub model_size: Option<u64>,
    pub model_n_params: Option<u64>,
    pub gpu_info: Option<String>,
    pub cpu_info: Option<String>,
}

/// Which runs; everything given has to hold.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub service: Option<String>,
    pub request: Option<String>,
    pub kind: Option<String>,
    /// As `benchmark_runs.status` has it.
    pub status: Option<String>,
    pub limit: u32,
    pub offset: u32,
}

impl Wanted {
    fn condition(&self) -> (String, Vec<String>) {
        let (mut clauses, mut values) = (Vec::new(), Vec::new());
        for (column, value) in
            [("service", &self.service), ("request_name", &self.request), ("kind", &self.kind)]
        {
            if let Some(value) = value {
                values.push(value.clone());
                clauses.push(format!("r.{column} = ?{}", values.len()));
            }
        }
        if let Some(status) = &self.status {
            let phases = Phase::ALL.into_iter().filter(|phase| phase.as_legacy_status() == status);
            let words: Vec<String> = phases.map(|phase| format!("'{}'", phase.as_str())).collect();
            clauses.push(format!("r.phase IN ({})", words.join(", ")));
        }
        let condition = if clauses.is_empty() { "1".to_owned() } else { clauses.join(" AND ") };
        (condition, values)
    }
}

const MORE: &str = "r.spec_json, b.model_path, b.error_message, b.build_commit, b.model_type, b.model_size, \
    b.model_n_params, b.gpu_info, b.cpu_info";

impl super::Store {
    /// A page of runs, newest first, and how many there are.
    ///
    /// # Errors
    /// SQLite's own, or a row that cannot be decoded.
    pub fn listed_runs(&self, wanted: &Wanted) -> Result<(Vec<ListedRun>, u64), StoreError> {
        let (condition, values) = wanted.condition();
        let page = format!(
            "SELECT {RUN_COLUMNS}, {MORE} FROM runs r LEFT JOIN benchmark_runs b ON b.id = r.id
             WHERE {condition} ORDER BY r.seq DESC LIMIT {} OFFSET {}",
            wanted.limit, wanted.offset
        );
        let count = format!("SELECT count(*) FROM runs r WHERE {condition}");
        self.read(|connection: &Connection| {
            let runs = all(connection, &page, params_from_iter(&values), listed)?;
            let total =
                connection.prepare_cached(&count)?.query_row(params_from_iter(&values), |row| row.get(0))?;
            Ok((runs, total))
        })
    }

    /// One run.
    ///
    /// # Errors
    /// SQLite's own, or a row that cannot be decoded.
    pub fn listed_run(&self, id: Uuid) -> Result<Option<ListedRun>, StoreError> {
        let sql = format!(
            "SELECT {RUN_COLUMNS}, {MORE} FROM runs r LEFT JOIN benchmark_runs b ON b.id = r.id WHERE r.id = ?1"
        );
        self.read(|connection| first(connection, &sql, [id.to_string()], listed))
    }
}

fn listed(row: &Row<'_>) -> Result<ListedRun, StoreError> {
    Ok(ListedRun {
        run: overview::run(row)?,
        spec: decode("spec", &row.get::<_, String>("spec_json")?)?,
        model_path: row.get("model_path")?,
        error_message: row.get("error_message")?,
        build_commit: row.get("build_commit")?,
        model_type: row.get("model_type")?,
        model_size: row.get("model_size")?,
        model_n_params: row.get("model_n_params")?,
        gpu_info: row.get("gpu_info")?,
        cpu_info: row.get("cpu_info")?,
    })
}
