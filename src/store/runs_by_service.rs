//! What became of each service last: its newest run, and the newest that measured something. Reads only.

use rusqlite::Connection;

use super::overview::{RUN_COLUMNS, RunSummary, run};
use super::{StoreError, first};

/// The newest runs of a service.
#[derive(Debug, Clone, Default)]
pub struct NewestRuns {
    /// Whatever it was, and however it ended.
    pub newest: Option<RunSummary>,
    /// Completed, and measured here.
    pub measured: Option<RunSummary>,
}

impl super::Store {
    /// The newest runs of each of these services, in their order.
    ///
    /// # Errors
    /// SQLite's own, or a row that cannot be decoded.
    pub fn newest_runs(&self, services: &[String]) -> Result<Vec<NewestRuns>, StoreError> {
        // Two steps into an index a service, whatever the number of their runs.
        let of_any = newest("r.service = ?1");
        let of_measured = newest(
            "r.phase = 'Completed' AND r.service = ?1 AND r.kind IN ('LlamaBench', 'LoadTest', 'Conversation')",
        );
        let both = |connection: &Connection, service: &String| {
            Ok(NewestRuns {
                newest: first(connection, &of_any, [service], run)?,
                measured: first(connection, &of_measured, [service], run)?,
            })
        };
        self.read(|connection| services.iter().map(|service| both(connection, service)).collect())
    }
}

fn newest(condition: &str) -> String {
    format!(
        "SELECT {RUN_COLUMNS} FROM runs r LEFT JOIN benchmark_runs b ON b.id = r.id
         WHERE {condition} ORDER BY r.seq DESC LIMIT 1"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Access, Store};

    /// How SQLite goes about a query, a line a step.
    fn steps(connection: &Connection, sql: &str) -> Vec<String> {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let rows = statement.query_map(["a"], |row| row.get("detail")).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn the_newest_run_of_a_service_is_looked_up_and_not_searched_for() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path(), Access::Owner).unwrap();
        let plans = store.read(|connection| {
            Ok([
                steps(connection, &newest("r.service = ?1")),
                steps(
                    connection,
                    &newest("r.phase = 'Completed' AND r.service = ?1 AND r.kind IN ('LoadTest')"),
                ),
            ])
        });
        for (plan, index) in plans.unwrap().iter().zip(["runs_service ", "runs_phase_service "]) {
            assert!(plan[0].contains(&format!("SEARCH r USING INDEX {index}")), "{plan:?}");
            assert!(!plan.iter().any(|step| step.contains("SCAN") || step.contains("TEMP")), "{plan:?}");
        }
    }
}
