//! Conditions: what is true of a request, by type, with the words and the run that explain it. One row a
//! request and type; what a file has wrong with it stands under a key of the file.

use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use super::{StoreError, all, decode, encode, first};
use crate::request::diagnostic::Located;

/// A condition as it stands, and when its status last changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionRow {
    pub status: String,
    pub reason: String,
    pub message: String,
    /// Of a document that is not accepted.
    pub problems: Vec<Located>,
    /// The run that it tells of.
    pub run: Option<Uuid>,
    pub changed_at: String,
}

/// A condition of a request, by its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedCondition {
    pub kind: String,
    pub condition: ConditionRow,
}

/// A name that no valid document holds.
#[derive(Debug, Clone)]
pub struct RefusedName {
    pub name: String,
    pub condition: ConditionRow,
}

const COLUMNS: &str =
    "c.request, c.type, c.status, c.reason, c.message, c.problems_json, c.run_id, c.changed_at";

/// A condition of a document that was refused, under a name that no live request has.
pub(super) const REFUSED: &str = "c.type = 'Accepted' AND c.status = 'False' AND NOT EXISTS \
    (SELECT 1 FROM requests q WHERE q.name = c.request AND q.deleted_at IS NULL)";

impl super::Store {
    /// A request's conditions, by type.
    ///
    /// # Errors
    /// SQLite's own, or a row that cannot be decoded.
    pub fn conditions(&self, request: &str) -> Result<Vec<NamedCondition>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM conditions c WHERE c.request = ?1 ORDER BY c.type");
        self.read(|connection| all(connection, &sql, [request], named))
    }

    /// Names whose documents were refused and that no valid one holds.
    ///
    /// # Errors
    /// SQLite's own, or a row that cannot be decoded.
    pub fn refused_names(&self) -> Result<Vec<RefusedName>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM conditions c WHERE {REFUSED} ORDER BY c.request");
        self.read(|connection| all(connection, &sql, [], refused_row))
    }

    /// The one of that name.
    ///
    /// # Errors
    /// SQLite's own, or a row that cannot be decoded.
    pub fn refused_name(&self, name: &str) -> Result<Option<RefusedName>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM conditions c WHERE c.request = ?1 AND {REFUSED}");
        self.read(|connection| first(connection, &sql, [name], refused_row))
    }
}

/// Some of those names, in their order.
pub(super) fn refused(
    connection: &Connection,
    limit: u64,
    offset: u64,
) -> Result<Vec<RefusedName>, StoreError> {
    let sql =
        format!("SELECT {COLUMNS} FROM conditions c WHERE {REFUSED} ORDER BY c.request LIMIT ?1 OFFSET ?2");
    all(connection, &sql, [limit, offset], refused_row)
}

fn refused_row(row: &Row<'_>) -> Result<RefusedName, StoreError> {
    Ok(RefusedName { name: row.get("request")?, condition: named(row)?.condition })
}

fn named(row: &Row<'_>) -> Result<NamedCondition, StoreError> {
    let problems: Option<String> = row.get("problems_json")?;
    let run: Option<String> = row.get("run_id")?;
    let condition = ConditionRow {
        status: row.get("status")?,
        reason: row.get("reason")?,
        message: row.get("message")?,
        problems: problems.map(|text| decode("list of problems", &text)).transpose()?.unwrap_or_default(),
        run: run.and_then(|id| id.parse().ok()),
        changed_at: row.get("changed_at")?,
    };
    Ok(NamedCondition { kind: row.get("type")?, condition })
}

/// Notes a condition; the time of its last transition, `changed_at`, moves only with its status.
///
/// # Errors
/// SQLite's own.
pub fn note(connection: &Connection, request: &str, noted: &NamedCondition) -> Result<(), StoreError> {
    let condition = &noted.condition;
    let problems = if condition.problems.is_empty() { None } else { Some(encode(&condition.problems)?) };
    connection
        .prepare_cached(
            "INSERT INTO conditions (request, type, status, reason, message, problems_json, run_id, changed_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (request, type) DO UPDATE SET reason = excluded.reason, message = excluded.message,
                problems_json = excluded.problems_json, run_id = excluded.run_id, changed_at =
                CASE WHEN status = excluded.status THEN changed_at ELSE excluded.changed_at END,
                status = excluded.status",
        )?
        .execute(params![
            request,
            noted.kind,
            condition.status,
            condition.reason,
            condition.message,
            problems,
            condition.run.map(|id| id.to_string()),
            condition.changed_at,
        ])?;
    Ok(())
}

/// Forgets a condition that is said no more.
///
/// # Errors
/// SQLite's own.
pub fn forget(connection: &Connection, request: &str, kind: &str) -> Result<(), StoreError> {
    let sql = "DELETE FROM conditions WHERE request = ?1 AND type = ?2";
    connection.prepare_cached(sql)?.execute(params![request, kind])?;
    Ok(())
}

/// Forgets all that was said of a request, or of a file, that is no more.
///
/// # Errors
/// SQLite's own.
pub fn forget_all(connection: &Connection, request: &str) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM conditions WHERE request = ?1")?.execute([request])?;
    Ok(())
}
