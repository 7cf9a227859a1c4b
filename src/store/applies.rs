//! Applies: the journal of every change to a service's files, with the hashes before and after.

use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{StoreError, all, commands, decode, encode, events, first, requests, uuid_of};
use crate::decide::action::NewApply;
use crate::request::apply::{ApplyOptions, ApplySource};
use crate::run::reason::Refusal;

/// How far an apply has come. Written before each act, so that a controller that comes back can tell
/// what was done: the file has the hash before (write it), the one after (done), or neither (conflict).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ApplyState {
    Planned,
    Writing {
        outcome: Outcome,
    },
    Restarting {
        outcome: Outcome,
    },
    Done {
        outcome: Outcome,
    },
    /// With an outcome, files were written before it failed: they can be reverted.
    Failed {
        refusal: Refusal,
        #[serde(default)]
        outcome: Option<Box<Outcome>>,
    },
    Reverted {
        outcome: Outcome,
    },
}

/// What an apply does, and did.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Outcome {
    pub service: String,
    /// Flags with their values as they were set, also where they were so already.
    pub applied: Vec<(String, String)>,
    pub skipped: Vec<(String, String)>,
    /// Old and new value of each flag that changes; null: absent.
    pub changes: Vec<FlagChange>,
    pub writes: Vec<ApplyWrite>,
    pub diff: String,
    pub dry_run: bool,
    pub restart_needed: bool,
    /// What to type where benchlet cannot restart by itself.
    pub restart_command: Option<String>,
    pub note: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlagChange {
    pub flag: String,
    pub old: Option<String>,
    pub new: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplyWrite {
    pub file: String,
    /// SHA-256 of the file before and after.
    pub before: String,
    pub after: String,
    pub backup: String,
}

#[derive(Debug, Clone)]
pub struct ApplyRow {
    pub id: Uuid,
    pub request: Option<String>,
    pub source: ApplySource,
    pub options: ApplyOptions,
    pub token: String,
    pub run: Option<Uuid>,
    pub state: ApplyState,
    pub created_at: String,
    pub ended_at: Option<String>,
}

const COLUMNS: &str =
    "id, request_name, source_json, options_json, token, run_id, state_json, created_at, ended_at";

impl super::Store {
    /// # Errors
    /// SQLite's own, or a row that cannot be decoded.
    pub fn apply(&self, id: Uuid) -> Result<Option<ApplyRow>, StoreError> {
        self.read(|connection| {
            first(
                connection,
                &format!("SELECT {COLUMNS} FROM applies WHERE id = ?1"),
                [id.to_string()],
                apply,
            )
        })
    }

    /// Applies that have not ended, oldest first.
    ///
    /// # Errors
    /// SQLite's own, or a row that cannot be decoded.
    pub fn open_applies(&self) -> Result<Vec<ApplyRow>, StoreError> {
        self.read(|connection| {
            all(
                connection,
                &format!("SELECT {COLUMNS} FROM applies WHERE ended_at IS NULL ORDER BY seq"),
                [],
                apply,
            )
        })
    }

    /// A request's applies that have not ended, oldest first.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn open_applies_of(&self, request: &str) -> Result<Vec<Uuid>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT id FROM applies WHERE ended_at IS NULL AND request_name = ?1 ORDER BY seq";
            all(connection, sql, [request], |row| Ok(uuid_of(row, "id")?))
        })
    }

    /// A request's applies, newest first.
    ///
    /// # Errors
    /// SQLite's own, or a row that cannot be decoded.
    pub fn applies_of(&self, request: &str, most: u32) -> Result<Vec<ApplyRow>, StoreError> {
        self.read(|connection| {
            let sql =
                format!("SELECT {COLUMNS} FROM applies WHERE request_name = ?1 ORDER BY seq DESC LIMIT ?2");
            all(connection, &sql, params![request, most], apply)
        })
    }

    /// Applies of all requests, newest first.
    ///
    /// # Errors
    /// SQLite's own, or a row that cannot be decoded.
    pub fn applies(&self, most: u32) -> Result<Vec<ApplyRow>, StoreError> {
        self.read(|connection| {
            all(
                connection,
                &format!("SELECT {COLUMNS} FROM applies ORDER BY seq DESC LIMIT ?1"),
                [most],
                apply,
            )
        })
    }

    /// Whether a run was applied through this token before.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn has_apply(&self, run: Uuid, token: &str) -> Result<bool, StoreError> {
        self.read(|connection| {
            Ok(connection
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM applies WHERE run_id = ?1 AND token = ?2)")?
                .query_row(params![run.to_string(), token], |row| row.get(0))?)
        })
    }
}

/// Records an apply, with what its request counts as satisfied and the answer to its command.
pub fn create(connection: &Connection, new: &NewApply, now: &str) -> Result<(), StoreError> {
    let run = match &new.source {
        ApplySource::Run(run) => Some(run.to_string()),
        ApplySource::LatestOf { .. } | ApplySource::BestOf { .. } => None,
    };
    let (uid, name) = new.request.clone().unzip();
    let (state, ended) = match &new.refused {
        Some(refusal) => (ApplyState::Failed { refusal: refusal.clone(), outcome: None }, true),
        None => (ApplyState::Planned, false),
    };
    connection
        .prepare_cached(
            "INSERT INTO applies (id, request_uid, request_name, source_json, options_json, token, run_id,
                state, state_json, created_at, ended_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            new.id.to_string(),
            uid.map(|uid| uid.to_string()),
            name,
            encode(&new.source)?,
            encode(&new.options)?,
            new.token,
            run,
            if ended { "Failed" } else { "Planned" },
            encode(&state)?,
            now,
            ended.then_some(now),
        ])?;
    if let Some(run) = &run {
        connection.prepare_cached("UPDATE runs SET owes_apply = 0 WHERE id = ?1")?.execute([run])?;
    }
    if let (Some((hash, rerun)), Some(uid)) = (&new.satisfied, uid) {
        requests::satisfy(connection, &uid, Some(hash), rerun.as_deref())?;
    }
    if let Some(command) = new.command {
        commands::answer(connection, command, &format!("apply {} created", new.id), None, now)?;
    }
    match &new.refused {
        Some(why) => events::note(connection, name.as_deref(), None, why.reason.as_str(), &why.message, now),
        None => events::note(connection, name.as_deref(), None, "ApplyCreated", "", now),
    }
}

/// Journals how far an apply has come.
pub fn advance(
    connection: &Connection,
    id: Uuid,
    run: Option<Uuid>,
    state: &ApplyState,
    now: &str,
) -> Result<(), StoreError> {
    let (word, ended, service) = match state {
        ApplyState::Planned => ("Planned", false, None),
        ApplyState::Writing { outcome } => ("Writing", false, Some(&outcome.service)),
        ApplyState::Restarting { outcome } => ("Restarting", false, Some(&outcome.service)),
        ApplyState::Done { outcome } => ("Done", true, Some(&outcome.service)),
        ApplyState::Reverted { outcome } => ("Reverted", true, Some(&outcome.service)),
        ApplyState::Failed { outcome, .. } => {
            ("Failed", true, outcome.as_ref().map(|outcome| &outcome.service))
        }
    };
    connection
        .prepare_cached(
            "UPDATE applies SET state = ?2, state_json = ?3, service = coalesce(?4, service),
                run_id = coalesce(?5, run_id), ended_at = CASE WHEN ?6 THEN ?7 ELSE ended_at END WHERE id = ?1",
        )?
        .execute(params![
            id.to_string(),
            word,
            encode(state)?,
            service,
            run.map(|run| run.to_string()),
            ended,
            now
        ])?;
    Ok(())
}

fn apply(row: &Row<'_>) -> Result<ApplyRow, StoreError> {
    let run: Option<String> = row.get("run_id")?;
    Ok(ApplyRow {
        id: uuid_of(row, "id")?,
        request: row.get("request_name")?,
        source: decode("apply's source", &row.get::<_, String>("source_json")?)?,
        options: decode("apply's options", &row.get::<_, String>("options_json")?)?,
        token: row.get("token")?,
        run: run.and_then(|id| id.parse().ok()),
        state: decode("apply's state", &row.get::<_, String>("state_json")?)?,
        created_at: row.get("created_at")?,
        ended_at: row.get("ended_at")?,
    })
}
