//! `benchmark_runs`: the table whose columns users' own SQL knows. One row a run of llama-bench,
//! written in the transactions that move the run.

use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{StoreError, all, encode};
use crate::decide::action::NewRun;
use crate::request::valid::Spec;
use crate::run::phase::RunState;
use crate::run::plan::Blueprint;

/// What a run yielded, in the columns' own terms: rates in tokens a second, sizes in bytes, null
/// where unknown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    pub pp_avg_ts: Option<f64>,
    pub pp_stddev_ts: Option<f64>,
    pub tg_avg_ts: Option<f64>,
    pub tg_stddev_ts: Option<f64>,
    /// A JSON array of llama-bench's rows, or its stdout as it was where that could not be parsed.
    pub raw_output: Option<String>,
    pub build_commit: Option<String>,
    pub model_type: Option<String>,
    pub model_size: Option<u64>,
    pub model_n_params: Option<u64>,
    pub gpu_info: Option<String>,
    pub cpu_info: Option<String>,
}

impl super::Store {
    /// A run's figures; `None` where it has no row.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn figures(&self, run: Uuid) -> Result<Option<Figures>, StoreError> {
        self.read(|connection| {
            Ok(connection
                .prepare_cached(
                    "SELECT pp_avg_ts, pp_stddev_ts, tg_avg_ts, tg_stddev_ts, raw_output, build_commit,
                        model_type, model_size, model_n_params, gpu_info, cpu_info
                     FROM benchmark_runs WHERE id = ?1",
                )?
                .query_row([run.to_string()], |row| {
                    Ok(Figures {
                        pp_avg_ts: row.get(0)?,
                        pp_stddev_ts: row.get(1)?,
                        tg_avg_ts: row.get(2)?,
                        tg_stddev_ts: row.get(3)?,
                        raw_output: row.get(4)?,
                        build_commit: row.get(5)?,
                        model_type: row.get(6)?,
                        model_size: row.get(7)?,
                        model_n_params: row.get(8)?,
                        gpu_info: row.get(9)?,
                        cpu_info: row.get(10)?,
                    })
                })
                .optional()?)
        })
    }

    /// A run's cases as JSON texts, by number.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn cases(&self, run: Uuid) -> Result<Vec<String>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT case_json FROM cases WHERE run_id = ?1 ORDER BY number";
            all(connection, sql, [run.to_string()], |row| Ok(row.get(0)?))
        })
    }

    /// The completed run of a request with the highest value of a rate; matrices are left out,
    /// because they have no one figure, and so is what was only simulated.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn best_run(&self, request: &str, column: &str) -> Result<Option<Uuid>, StoreError> {
        let column = match column {
            "pp_avg_ts" => "pp_avg_ts",
            "tg_avg_ts" => "tg_avg_ts",
            other => return Err(StoreError::Refused(format!("{other} is no rate"))),
        };
        self.read(|connection| {
            let sql = format!(
                "SELECT r.id FROM runs r JOIN benchmark_runs b ON b.id = r.id
                 WHERE r.request_name = ?1 AND r.phase = 'Completed' AND b.{column} IS NOT NULL
                   AND b.simulated = 0
                 ORDER BY b.{column} DESC, r.seq DESC LIMIT 1"
            );
            let id: Option<String> =
                connection.prepare_cached(&sql)?.query_row([request], |row| row.get(0)).optional()?;
            Ok(id.and_then(|id| id.parse().ok()))
        })
    }
}

/// A row for a run of llama-bench; other kinds have none, and what follows changes nothing for them.
pub(super) fn create(connection: &Connection, new: &NewRun, now: &str) -> Result<(), StoreError> {
    match &new.spec {
        Spec::LlamaBench(_) => {}
        Spec::LoadTest(_)
        | Spec::Apply(_)
        | Spec::Model(_)
        | Spec::Baseline(_)
        | Spec::Comparison(_)
        | Spec::Imported(_) => {
            return Ok(());
        }
    }
    connection
        .prepare_cached(
            "INSERT INTO benchmark_runs (id, service_name, status, created_at) VALUES (?1, ?2, 'pending', ?3)",
        )?
        .execute(params![new.id.to_string(), new.service, now])?;
    Ok(())
}

pub(super) fn set_blueprint(
    connection: &Connection,
    id: Uuid,
    blueprint: &Blueprint,
) -> Result<(), StoreError> {
    let mut params = Map::new();
    for param in &blueprint.params {
        params.insert(param.flag.clone(), Value::String(param.value.clone()));
    }
    connection
        .prepare_cached(
            "UPDATE benchmark_runs SET model_path = ?2, params_json = ?3, simulated = ?4 WHERE id = ?1",
        )?
        .execute(params![id.to_string(), blueprint.model, encode(&params)?, blueprint.simulated])?;
    Ok(())
}

/// Keeps status, error and times in step with the run.
pub(super) fn follow(
    connection: &Connection,
    id: Uuid,
    state: &RunState,
    now: &str,
) -> Result<(), StoreError> {
    let error = state.failure();
    let phase = state.phase();
    connection
        .prepare_cached(
            "UPDATE benchmark_runs SET status = ?2, error_message = coalesce(?3, error_message),
                started_at = CASE WHEN ?4 THEN coalesce(started_at, ?6) ELSE started_at END,
                completed_at = CASE WHEN ?5 THEN ?6 ELSE completed_at END
             WHERE id = ?1",
        )?
        .execute(params![
            id.to_string(),
            phase.as_legacy_status(),
            error,
            phase == crate::run::phase::Phase::Running,
            phase.is_terminal(),
            now,
        ])?;
    Ok(())
}

pub(super) fn set_figures(connection: &Connection, id: Uuid, figures: &Figures) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE benchmark_runs SET pp_avg_ts = ?2, pp_stddev_ts = ?3, tg_avg_ts = ?4, tg_stddev_ts = ?5,
                raw_output = ?6, build_commit = ?7, model_type = ?8, model_size = ?9, model_n_params = ?10,
                gpu_info = ?11, cpu_info = ?12 WHERE id = ?1",
        )?
        .execute(params![
            id.to_string(),
            figures.pp_avg_ts,
            figures.pp_stddev_ts,
            figures.tg_avg_ts,
            figures.tg_stddev_ts,
            figures.raw_output,
            figures.build_commit,
            figures.model_type,
            figures.model_size,
            figures.model_n_params,
            figures.gpu_info,
            figures.cpu_info,
        ])?;
    Ok(())
}
