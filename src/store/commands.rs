//! Commands: orders from the command line and the API, kept until they are carried out.

use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use super::{StoreError, all, decode, encode, first};
use crate::decide::observed::{Command, Verb};

#[derive(Debug, Clone)]
pub struct CommandRow {
    pub id: i64,
    pub request: String,
    pub verb: Verb,
    pub outcome: Option<String>,
    pub run: Option<Uuid>,
}

impl super::Store {
    /// Leaves an order for a request.
    ///
    /// # Errors
    /// SQLite's own.
    pub async fn order(&self, request: &str, verb: Verb, now: String) -> Result<i64, StoreError> {
        let request = request.to_owned();
        self.write(move |connection| {
            connection
                .prepare_cached("INSERT INTO commands (request, verb_json, created_at) VALUES (?1, ?2, ?3)")?
                .execute(params![request, encode(&verb)?, now])?;
            Ok(connection.last_insert_rowid())
        })
        .await
    }

    /// # Errors
    /// SQLite's own, or a row that cannot be decoded.
    pub fn command(&self, id: i64) -> Result<Option<CommandRow>, StoreError> {
        self.read(|connection| first(connection, &select("id = ?1"), [id], command))
    }

    /// Orders that wait, oldest first.
    ///
    /// # Errors
    /// SQLite's own, or a row that cannot be decoded.
    pub fn open_commands(&self) -> Result<Vec<CommandRow>, StoreError> {
        self.read(|connection| all(connection, &select("answered_at IS NULL ORDER BY id"), [], command))
    }

    /// Whether a command asked for the run.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn is_ordered(&self, run: Uuid) -> Result<bool, StoreError> {
        self.read(|connection| {
            Ok(connection
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM commands WHERE run_id = ?1)")?
                .query_row([run.to_string()], |row| row.get(0))?)
        })
    }

    /// Orders that wait for one request, oldest first.
    ///
    /// # Errors
    /// SQLite's own, or a row that cannot be decoded.
    pub fn commands_for(&self, request: &str) -> Result<Vec<Command>, StoreError> {
        self.read(|connection| {
            let sql = select("answered_at IS NULL AND request = ?1 ORDER BY id");
            all(connection, &sql, [request], |row| {
                command(row).map(|row| Command { id: row.id, verb: row.verb })
            })
        })
    }
}

fn select(condition: &str) -> String {
    format!("SELECT id, request, verb_json, outcome, run_id FROM commands WHERE {condition}")
}

/// Closes an order with what came of it.
pub fn answer(
    connection: &Connection,
    id: i64,
    outcome: &str,
    run: Option<Uuid>,
    now: &str,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE commands SET answered_at = ?2, outcome = ?3, run_id = ?4
             WHERE id = ?1 AND answered_at IS NULL",
        )?
        .execute(params![id, now, outcome, run.map(|run| run.to_string())])?;
    Ok(())
}

/// Closes every waiting cancel of a request: its run has ended.
pub fn answer_cancels(connection: &Connection, request: &str, now: &str) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE commands SET answered_at = ?2, outcome = 'cancelled'
             WHERE request = ?1 AND answered_at IS NULL AND verb_json = ?3",
        )?
        .execute(params![request, now, encode(&Verb::Cancel)?])?;
    Ok(())
}

fn command(row: &Row<'_>) -> Result<CommandRow, StoreError> {
    let run: Option<String> = row.get("run_id")?;
    Ok(CommandRow {
        id: row.get("id")?,
        request: row.get("request")?,
        verb: decode("command", &row.get::<_, String>("verb_json")?)?,
        outcome: row.get("outcome")?,
        run: run.and_then(|id| id.parse().ok()),
    })
}
