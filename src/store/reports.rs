//! Reports that were written for runs: where, and what was in them.

use rusqlite::{Connection, params};
use uuid::Uuid;

use super::{StoreError, all};

/// A report as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenReport {
    /// Absolute.
    pub path: String,
    pub sha256: String,
}

impl super::Store {
    /// The reports that were written for a run.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn reports(&self, run: Uuid) -> Result<Vec<WrittenReport>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT path, sha256 FROM reports WHERE run_id = ?1 ORDER BY path";
            all(connection, sql, [run.to_string()], |row| {
                Ok(WrittenReport { path: row.get(0)?, sha256: row.get(1)? })
            })
        })
    }
}

/// Notes reports of a run; one that is written anew takes the place of itself.
///
/// # Errors
/// SQLite's own.
pub fn note(connection: &Connection, run: Uuid, written: &[WrittenReport]) -> Result<(), StoreError> {
    let mut insert = connection
        .prepare_cached("INSERT OR REPLACE INTO reports (run_id, path, sha256) VALUES (?1, ?2, ?3)")?;
    for report in written {
        insert.execute(params![run.to_string(), report.path, report.sha256])?;
    }
    Ok(())
}
