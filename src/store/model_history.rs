//! The history by model, for planning: which models there are, their newest, fastest and earlier rows. Reads
//! alone; the triggers of the schema keep what it reads. Real and simulated rows never come together.

use rusqlite::{OptionalExtension as _, Row, params};

use super::{Store, StoreError, all};
use crate::plan::measured_rate::{ENOUGH_SUCCESS, MeasuredRow};

/// Rows of the same kind that a history goes back.
const HISTORY: u32 = 20;
/// Sweeps among which one of several worker counts is looked for.
const SWEEPS: u32 = 200;

/// A model with rows that answer.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasuredModel {
    pub name: String,
    /// Completed runs, and days of rows from elsewhere.
    pub runs: u64,
    /// The rows of its newest run.
    pub newest: Vec<MeasuredRow>,
    /// Of all its runs, with enough successes.
    pub best: Option<MeasuredRow>,
}

const COLUMNS: &str = "r.id, r.run_id, r.case_number, r.sweep, r.model_name, r.model_size_params, \
    r.model_size_bytes, r.num_workers, r.context_window, r.num_requests, r.successful_requests, \
    r.avg_prompt_tokens, r.avg_completion_tokens, r.total_time_seconds, r.requests_per_second, \
    r.success_rate, r.created_at, r.benchmark_type, r.notes, r.hardware_info, r.cost_per_hour, r.simulated, \
    r.valid";
/// That the run of a row is completed, where it has one.
const IN_A_SWEEP: &str = "(r.run_id IS NULL OR EXISTS (SELECT 1 FROM model_sweeps s \
    WHERE s.model_name = r.model_name AND s.simulated = r.simulated AND s.sweep = r.run_id))";

impl Store {
    /// The models with rows that answer, by name, or the one of that name.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn measured_models(
        &self,
        name: Option<&str>,
        simulated: bool,
    ) -> Result<Vec<MeasuredModel>, StoreError> {
        let named = if name.is_some() { "AND m.model_name = ?2" } else { "AND ?2 IS NULL" };
        self.read(|connection| {
            // SQLite would read every row first; CROSS JOIN keeps the order as it stands here.
            let newest = format!(
                "SELECT {COLUMNS}, m.sweeps FROM measured_models m
                 CROSS JOIN model_sweeps s ON s.model_name = m.model_name AND s.simulated = m.simulated
                    AND s.sweep = (SELECT n.sweep FROM model_sweeps n WHERE n.model_name = m.model_name
                        AND n.simulated = m.simulated ORDER BY n.created_at DESC, n.newest_row DESC LIMIT 1)
                 CROSS JOIN benchmark_results r ON r.model_name = s.model_name AND r.simulated = s.simulated
                    AND r.sweep = s.sweep AND r.answers = 1
                 WHERE m.simulated = ?1 {named} ORDER BY m.model_name, r.id"
            );
            let rows = all(connection, &newest, params![simulated, name], |row| {
                Ok((measured(row)?, count(row, 23)?.unwrap_or(0)))
            })?;
            let best = format!(
                "SELECT {COLUMNS} FROM measured_models m CROSS JOIN benchmark_results r ON r.id =
                    (SELECT r.id FROM benchmark_results r WHERE r.model_name = m.model_name
                        AND r.simulated = m.simulated AND r.answers = 1
                        AND coalesce(r.success_rate, 100) >= {ENOUGH_SUCCESS} AND {IN_A_SWEEP}
                     ORDER BY r.requests_per_second DESC LIMIT 1)
                 WHERE m.simulated = ?1 {named} ORDER BY m.model_name"
            );
            let best = all(connection, &best, params![simulated, name], measured)?;
            let mut models: Vec<MeasuredModel> = Vec::new();
            for (row, runs) in rows {
                match models.last_mut().filter(|model| model.name == row.model) {
                    Some(model) => model.newest.push(row),
                    None => models.push(MeasuredModel {
                        name: row.model.clone(),
                        runs,
                        newest: vec![row],
                        best: None,
                    }),
                }
            }
            let mut best = best.into_iter().peekable();
            for model in &mut models {
                model.best = best.next_if(|row| row.model == model.name);
            }
            Ok(models)
        })
    }

    /// Rows of the model with as many workers that were measured as this one was, newest first.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn history_like(&self, row: &MeasuredRow) -> Result<Vec<MeasuredRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM benchmark_results r WHERE r.model_name = ?1 AND r.simulated = ?2
                AND r.num_workers IS ?3 AND r.answers = 1 AND r.benchmark_type IS ?4
                AND r.hardware_info IS ?5 AND {IN_A_SWEEP}
             ORDER BY r.created_at DESC, r.id DESC LIMIT {HISTORY}"
        );
        let values = params![row.model, row.simulated, row.workers, row.benchmark_type, row.hardware];
        self.read(|connection| all(connection, &sql, values, measured))
    }

    /// The model's rows with that many workers, of the newest sweep that has some.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn newest_with_workers(
        &self,
        model: &str,
        workers: u64,
        simulated: bool,
    ) -> Result<Vec<MeasuredRow>, StoreError> {
        let condition = "r.model_name = ?1 AND r.simulated = ?2 AND r.num_workers = ?3 AND r.answers = 1";
        let newest = format!(
            "SELECT r.sweep FROM benchmark_results r WHERE {condition} AND {IN_A_SWEEP}
             ORDER BY r.created_at DESC, r.id DESC LIMIT 1"
        );
        let rows = format!(
            "SELECT {COLUMNS} FROM benchmark_results r WHERE {condition} AND r.sweep = ?4 ORDER BY r.id"
        );
        self.read(|connection| {
            let sweep: Option<String> = connection
                .prepare_cached(&newest)?
                .query_row(params![model, simulated, workers], |row| row.get(0))
                .optional()?;
            match sweep {
                None => Ok(Vec::new()),
                Some(sweep) => all(connection, &rows, params![model, simulated, workers, sweep], measured),
            }
        })
    }

    /// The rows of the model's newest sweep over several worker counts; none where there is no such sweep.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn newest_sweep(&self, model: &str, simulated: bool) -> Result<Vec<MeasuredRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM benchmark_results r
             WHERE r.model_name = ?1 AND r.simulated = ?2 AND r.answers = 1 AND r.sweep =
                (SELECT s.sweep FROM (SELECT sweep, created_at, newest_row FROM model_sweeps
                     WHERE model_name = ?1 AND simulated = ?2
                     ORDER BY created_at DESC, newest_row DESC LIMIT {SWEEPS}) s
                 WHERE (SELECT count(DISTINCT x.num_workers) FROM benchmark_results x
                     WHERE x.model_name = ?1 AND x.simulated = ?2 AND x.answers = 1 AND x.sweep = s.sweep) > 1
                 ORDER BY s.created_at DESC, s.newest_row DESC LIMIT 1)
             ORDER BY r.id"
        );
        self.read(|connection| all(connection, &sql, params![model, simulated], measured))
    }

    /// The model's rows whether they answer or not, newest first.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn rows_of_model(
        &self,
        model: &str,
        simulated: bool,
        limit: u32,
    ) -> Result<Vec<MeasuredRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM benchmark_results r WHERE r.model_name = ?1 AND r.simulated = ?2
             ORDER BY r.created_at DESC, r.id DESC LIMIT ?3"
        );
        self.read(|connection| all(connection, &sql, params![model, simulated, limit], measured))
    }

    /// The worker counts at which the model was measured.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn worker_counts(&self, model: &str, simulated: bool) -> Result<Vec<u64>, StoreError> {
        // From each count to the next one by the index, so that rows of the same are not read.
        let sql = "WITH RECURSIVE next (workers) AS (
                SELECT min(num_workers) FROM benchmark_results
                WHERE model_name = ?1 AND simulated = ?2 AND answers = 1
                UNION ALL
                SELECT (SELECT min(num_workers) FROM benchmark_results
                    WHERE model_name = ?1 AND simulated = ?2 AND answers = 1 AND num_workers > workers)
                FROM next WHERE workers IS NOT NULL)
             SELECT workers FROM next WHERE workers IS NOT NULL";
        self.read(|connection| {
            let counts = all(connection, sql, params![model, simulated], |row| Ok(count(row, 0)?))?;
            Ok(counts.into_iter().flatten().collect())
        })
    }

    /// Every model's name that answers, simulated ones included, for what somebody may have meant.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn measured_names(&self) -> Result<Vec<(String, bool)>, StoreError> {
        let sql = "SELECT model_name, simulated FROM measured_models ORDER BY model_name LIMIT 10000";
        self.read(|connection| all(connection, sql, [], |row| Ok((row.get(0)?, row.get(1)?))))
    }
}

/// A count as users' own rows may have it: one below zero means nothing.
fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    Ok(row.get::<_, Option<i64>>(column)?.and_then(|count| u64::try_from(count).ok()))
}

fn measured(row: &Row<'_>) -> Result<MeasuredRow, StoreError> {
    Ok(MeasuredRow {
        id: row.get(0)?,
        run: row.get(1)?,
        case: count(row, 2)?,
        sweep: row.get(3)?,
        model: row.get(4)?,
        size_params: row.get(5)?,
        size_bytes: count(row, 6)?,
        workers: count(row, 7)?,
        context_window: count(row, 8)?,
        requests: count(row, 9)?,
        successful: count(row, 10)?,
        prompt_tokens: row.get(11)?,
        completion_tokens: row.get(12)?,
        total_seconds: row.get(13)?,
        requests_per_s: row.get(14)?,
        success_percent: row.get(15)?,
        created_at: row.get(16)?,
        benchmark_type: row.get(17)?,
        notes: row.get(18)?,
        hardware: row.get(19)?,
        cost_per_hour: row.get(20)?,
        simulated: row.get(21)?,
        valid: row.get(22)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Access, MIGRATIONS};

    #[test]
    fn what_an_older_benchlet_measured_is_there_to_plan_with() {
        let dir = tempfile::tempdir().unwrap();
        let raw = rusqlite::Connection::open(dir.path().join("benchlet.db")).unwrap();
        MIGRATIONS[..3].iter().for_each(|sql| raw.execute_batch(sql).unwrap());
        let run = |id: &str, phase: &str| {
            format!(
                "INSERT INTO runs (id, request_uid, request_name, request_path, kind, generation, service,
                    spec_json, spec_hash, timeout_ms, backoff_limit, phase, state_version, state_json, created_at)
                 VALUES ('{id}', '', '', '', '', 1, '', '', '', 1, 0, '{phase}', 1, '', '');
                 INSERT INTO cases VALUES ('{id}', 1, '{{\"cost\":{{\"per_hour\":2}}}}');
                 INSERT INTO benchmark_results (model_name, requests_per_second, created_at, run_id, case_number)
                 VALUES ('m', 3.0, 100, '{id}', 1);"
            )
        };
        raw.execute_batch(&run("a", "Completed")).unwrap();
        raw.execute_batch(&run("b", "Cancelled")).unwrap();
        raw.pragma_update(None, "user_version", 3).unwrap();
        drop(raw);
        let store = Store::open(dir.path(), Access::Owner).unwrap();
        let models = store.measured_models(None, false).unwrap();
        assert_eq!((models.len(), models[0].runs, models[0].newest.len()), (1, 1, 1));
        let row = &models[0].newest[0];
        assert_eq!(
            (row.run.as_deref(), row.cost_per_hour, row.requests_per_s),
            (Some("a"), Some(2.0), Some(3.0))
        );
        assert_eq!(store.history_like(row).unwrap().len(), 1, "the other run was not completed");
    }
}
