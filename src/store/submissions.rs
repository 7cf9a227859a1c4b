//! Requests that came over the API. Their text is journaled with the run that they ask for, and stays until
//! their file is there, so that a crash between the two loses neither.

use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use super::{StoreError, all, requests, runs, uuid_of};
use crate::decide::action::NewRun;
use crate::decide::observed::Record;
use crate::decide::share_service;

/// A request whose file may not be there yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    pub name: String,
    /// Relative to the watched root.
    pub path: String,
    pub text: String,
}

/// The run that has the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Busy {
    pub run: Uuid,
    pub request: String,
    pub phase: String,
}

impl super::Store {
    /// Those whose files may not be there yet, of requests that still are.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn submissions(&self) -> Result<Vec<Submission>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT name, path, text FROM submissions s WHERE EXISTS
                (SELECT 1 FROM requests q WHERE q.name = s.name AND q.deleted_at IS NULL) ORDER BY created_at";
            all(connection, sql, [], |row| {
                Ok(Submission { name: row.get(0)?, path: row.get(1)?, text: row.get(2)? })
            })
        })
    }
}

/// Records a request with its Pending run and its text, unless a run that measures has the service: one
/// transaction, so that of two that come at once one is refused.
pub fn start(
    connection: &Connection,
    record: &Record,
    new: &NewRun,
    text: &str,
    now: &str,
) -> Result<Option<Busy>, StoreError> {
    let sql = "SELECT id, request_name, phase, service FROM runs
        WHERE phase IN ('Pending', 'Preparing', 'Running', 'Collecting')
          AND kind IN ('LlamaBench', 'LoadTest', 'Conversation')";
    let open = all(connection, sql, [], |row: &Row<'_>| {
        let busy = Busy { run: uuid_of(row, "id")?, request: row.get(1)?, phase: row.get(2)? };
        Ok((busy, row.get::<_, String>(3)?))
    })?;
    if let Some((busy, _)) = open.into_iter().find(|(_, service)| share_service(service, &new.service)) {
        return Ok(Some(busy));
    }
    requests::save(connection, record, now)?;
    runs::create(connection, new, now)?;
    connection
        .prepare_cached("INSERT INTO submissions (name, path, text, created_at) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![record.name, record.path.to_string_lossy(), text, now])?;
    Ok(None)
}

/// The file is there, or never will be.
pub fn settle(connection: &Connection, name: &str) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM submissions WHERE name = ?1")?.execute([name])?;
    Ok(())
}
