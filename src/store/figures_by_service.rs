//! What there is to watch from outside: runs by phase, and the figures of each service's last completed run.
//! Reads only.

use rusqlite::Row;

use super::{Store, StoreError, all};
use crate::run::phase::Phase;

/// The last completed run of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct LastFigures {
    pub service: String,
    pub simulated: bool,
    pub pp_avg_ts: Option<f64>,
    pub tg_avg_ts: Option<f64>,
    /// Of a load test: its fastest valid case.
    pub requests_per_second: Option<f64>,
    /// UTC, RFC 3339.
    pub completed_at: Option<String>,
}

impl Store {
    /// How many runs are in each phase.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn runs_by_phase(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.read(|connection| {
            // One count a phase is a walk along its index; grouping compares every row with the next.
            let sql = "SELECT count(*) FROM runs WHERE phase = ?1";
            let mut statement = connection.prepare_cached(sql)?;
            let count = |phase: Phase| {
                let count = statement.query_row([phase.as_str()], |row| row.get(0))?;
                Ok((phase.as_str().to_owned(), count))
            };
            Phase::ALL.into_iter().map(count).collect()
        })
    }

    /// How many requests there are.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn count_requests(&self) -> Result<u64, StoreError> {
        self.read(|connection| {
            let sql = "SELECT count(*) FROM requests WHERE deleted_at IS NULL";
            Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
        })
    }

    /// The last figures by service, at most so many services.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn last_figures(&self, most: u32) -> Result<Vec<LastFigures>, StoreError> {
        self.read(|connection| {
            // From one service to the next along the index, whatever the number of their runs.
            let sql = "WITH RECURSIVE s (service) AS (
                    SELECT min(service) FROM runs WHERE phase = 'Completed'
                    UNION ALL
                    SELECT (SELECT min(service) FROM runs WHERE phase = 'Completed' AND service > s.service)
                    FROM s WHERE s.service IS NOT NULL LIMIT ?1
                )
                SELECT r.service, r.simulated, b.pp_avg_ts, b.tg_avg_ts, r.completed_at,
                    (SELECT max(x.requests_per_second) FROM benchmark_results x
                     WHERE x.run_id = r.id AND x.valid = 1) AS requests_per_second
                FROM s
                CROSS JOIN runs r ON r.seq =
                    (SELECT max(seq) FROM runs WHERE phase = 'Completed' AND service = s.service)
                LEFT JOIN benchmark_runs b ON b.id = r.id
                WHERE r.kind IN ('LlamaBench', 'LoadTest', 'Conversation') AND r.service <> ''
                ORDER BY r.service";
            all(connection, sql, [most], last)
        })
    }
}

fn last(row: &Row<'_>) -> Result<LastFigures, StoreError> {
    Ok(LastFigures {
        service: row.get("service")?,
        simulated: row.get("simulated")?,
        pp_avg_ts: row.get("pp_avg_ts")?,
        tg_avg_ts: row.get("tg_avg_ts")?,
        requests_per_second: row.get("requests_per_second")?,
        completed_at: row.get("completed_at")?,
    })
}
