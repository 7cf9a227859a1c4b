//! Events: what happened to requests and runs, in order, for `describe` and for people's questions.

use rusqlite::{Connection, params};
use uuid::Uuid;

use super::{StoreError, all};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// UTC, RFC 3339.
    pub at: String,
    pub run: Option<String>,
    pub reason: String,
    pub message: String,
}

impl super::Store {
    /// A request's last events, oldest first.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn events(&self, request: &str, most: u32) -> Result<Vec<EventRow>, StoreError> {
        let mut list = self.read(|connection| {
            let sql =
                "SELECT at, run_id, reason, message FROM events WHERE request = ?1 ORDER BY id DESC LIMIT ?2";
            all(connection, sql, params![request, most], |row| {
                Ok(EventRow { at: row.get(0)?, run: row.get(1)?, reason: row.get(2)?, message: row.get(3)? })
            })
        })?;
        list.reverse();
        Ok(list)
    }
}

/// An event of any request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedEvent {
    pub id: i64,
    pub at: String,
    pub request: Option<String>,
    pub run: Option<String>,
    pub reason: String,
    pub message: String,
}

impl super::Store {
    /// The number of the newest event; 0 where there is none.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn newest_event(&self) -> Result<i64, StoreError> {
        self.read(|connection| {
            let sql = "SELECT coalesce(max(id), 0) FROM events";
            Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
        })
    }

    /// The events after a number, oldest first.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn events_after(&self, id: i64, most: u32) -> Result<Vec<NumberedEvent>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT id, at, request, run_id, reason, message FROM events WHERE id > ?1 ORDER BY id LIMIT ?2";
            all(connection, sql, params![id, most], |row| {
                Ok(NumberedEvent {
                    id: row.get(0)?,
                    at: row.get(1)?,
                    request: row.get(2)?,
                    run: row.get(3)?,
                    reason: row.get(4)?,
                    message: row.get(5)?,
                })
            })
        })
    }
}

pub fn note(
    connection: &Connection,
    request: Option<&str>,
    run: Option<Uuid>,
    reason: &str,
    message: &str,
    now: &str,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO events (at, request, run_id, reason, message) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![now, request, run.map(|run| run.to_string()), reason, message])?;
    Ok(())
}
