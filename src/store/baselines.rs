//! Baselines: runs that are pinned under a name, each for the runs of one request or one service. A run stays
//! pinned, and so cannot be deleted, as long as a baseline names it.

use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use super::{StoreError, all, events, first, uuid_of};

/// Whose runs are compared with a baseline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    Request(String),
    Service(String),
}

impl Scope {
    pub fn subject(&self) -> &str {
        match self {
            Self::Request(name) | Self::Service(name) => name,
        }
    }

    pub fn word(&self) -> &'static str {
        match self {
            Self::Request(_) => "request",
            Self::Service(_) => "service",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Baseline {
    pub name: String,
    pub scope: Scope,
    pub run: Uuid,
    /// The request of kind Baseline that says so; `None` where a command did.
    pub set_by: Option<String>,
    /// UTC, RFC 3339.
    pub created_at: String,
}

const COLUMNS: &str = "name, scope, subject, run_id, set_by, created_at";

impl super::Store {
    /// Every baseline, by name and subject.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn baselines(&self) -> Result<Vec<Baseline>, StoreError> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM baselines ORDER BY name, scope, subject");
            all(connection, &sql, [], baseline)
        })
    }

    /// The baseline that a request of kind Baseline set last.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn baseline_set_by(&self, request: &str) -> Result<Option<Baseline>, StoreError> {
        self.read(|connection| {
            let sql =
                format!("SELECT {COLUMNS} FROM baselines WHERE set_by = ?1 ORDER BY created_at DESC LIMIT 1");
            first(connection, &sql, [request], baseline)
        })
    }

    /// Changes whenever a baseline is set or removed: how many there are, and when the newest was set.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn baselines_mark(&self) -> Result<(u64, Option<String>), StoreError> {
        self.read(|connection| {
            Ok(connection
                .prepare_cached("SELECT count(*), max(created_at) FROM baselines")?
                .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?)
        })
    }

    /// The baseline of that name for a run: the one for its request, else the one for its service.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn baseline_for(
        &self,
        name: &str,
        request: &str,
        service: &str,
    ) -> Result<Option<Baseline>, StoreError> {
        self.read(|connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM baselines WHERE name = ?1
                   AND ((scope = 'request' AND subject = ?2) OR (scope = 'service' AND subject = ?3))
                 ORDER BY scope LIMIT 1"
            );
            first(connection, &sql, [name, request, service], baseline)
        })
    }
}

/// Pins a completed, measured run under a name; one that had the name gives it up.
///
/// # Errors
/// No such run, or SQLite's own.
pub fn set(connection: &Connection, new: &Baseline, now: &str) -> Result<(), StoreError> {
    let id = new.run.to_string();
    let known: bool = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM runs WHERE id = ?1)")?
        .query_row([&id], |row| row.get(0))?;
    if !known {
        return Err(StoreError::Refused(format!("there is no run {id}")));
    }
    connection
        .prepare_cached(
            "INSERT INTO baselines (name, scope, subject, run_id, set_by, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT DO UPDATE SET run_id = excluded.run_id, set_by = excluded.set_by,
                created_at = excluded.created_at",
        )?
        .execute(params![new.name, new.scope.word(), new.scope.subject(), id, new.set_by, now])?;
    pin(connection)?;
    let message = format!("baseline {} of the {} {}", new.name, new.scope.word(), new.scope.subject());
    events::note(connection, new.set_by.as_deref(), Some(new.run), "BaselineSet", &message, now)
}

/// Takes a baseline away; its run stays. Whether there was one.
///
/// # Errors
/// SQLite's own.
pub fn remove(connection: &Connection, name: &str, scope: &Scope) -> Result<bool, StoreError> {
    let removed = connection
        .prepare_cached("DELETE FROM baselines WHERE name = ?1 AND scope = ?2 AND subject = ?3")?
        .execute([name, scope.word(), scope.subject()])?;
    pin(connection)?;
    Ok(removed > 0)
}

/// Only few rows differ, so both statements look at those alone.
fn pin(connection: &Connection) -> Result<(), StoreError> {
    connection.execute(
        "UPDATE runs SET pinned = 1 WHERE pinned = 0 AND id IN (SELECT run_id FROM baselines)",
        [],
    )?;
    connection.execute(
        "UPDATE runs SET pinned = 0 WHERE pinned = 1 AND id NOT IN (SELECT run_id FROM baselines)",
        [],
    )?;
    Ok(())
}

fn baseline(row: &Row<'_>) -> Result<Baseline, StoreError> {
    let subject: String = row.get("subject")?;
    let scope: String = row.get("scope")?;
    Ok(Baseline {
        name: row.get("name")?,
        scope: if scope == "service" { Scope::Service(subject) } else { Scope::Request(subject) },
        run: uuid_of(row, "run_id")?,
        set_by: row.get("set_by")?,
        created_at: row.get("created_at")?,
    })
}
