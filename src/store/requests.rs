//! Requests: one row an incarnation, with what is satisfied. Names are unique among the live ones.

use rusqlite::{Connection, Row, params};

use super::{StoreError, all, decode, encode, first, uuid_of};
use crate::decide::observed::Record;

const COLUMNS: &str = "uid, name, path, document, generation, spec_hash, semantic_hash, satisfied_hash, \
    satisfied_rerun, control_json, spec_json, deleted_at";

impl super::Store {
    /// The live record of a name, else its latest tombstone.
    ///
    /// # Errors
    /// SQLite's own, or a row that cannot be decoded.
    pub fn request(&self, name: &str) -> Result<Option<Record>, StoreError> {
        self.read(|connection| by_name(connection, name))
    }

    /// Every live request, by name.
    ///
    /// # Errors
    /// SQLite's own, or a row that cannot be decoded.
    pub fn live_requests(&self) -> Result<Vec<Record>, StoreError> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM requests WHERE deleted_at IS NULL ORDER BY name");
            all(connection, &sql, [], record)
        })
    }
}

/// The live record of a name, else its latest tombstone.
pub(super) fn by_name(connection: &Connection, name: &str) -> Result<Option<Record>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM requests WHERE name = ?1 ORDER BY deleted_at IS NULL DESC, rowid DESC LIMIT 1"
    );
    first(connection, &sql, [name], record)
}

/// Inserts or updates an incarnation. `now` is UTC, RFC 3339.
pub fn save(connection: &Connection, record: &Record, now: &str) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO requests (uid, name, kind, path, document, generation, spec_hash, semantic_hash,
                satisfied_hash, satisfied_rerun, control_json, spec_json, created_at, deleted_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
             ON CONFLICT (uid) DO UPDATE SET kind = excluded.kind, path = excluded.path,
                document = excluded.document, generation = excluded.generation,
                spec_hash = excluded.spec_hash, semantic_hash = excluded.semantic_hash,
                satisfied_hash = excluded.satisfied_hash, satisfied_rerun = excluded.satisfied_rerun,
                control_json = excluded.control_json, spec_json = excluded.spec_json,
                deleted_at = excluded.deleted_at",
        )?
        .execute(params![
            record.uid.to_string(),
            record.name,
            record.spec.kind(),
            record.path.to_string_lossy(),
            record.index,
            record.generation,
            record.spec_hash,
            record.semantic_hash,
            record.satisfied_hash,
            record.satisfied_rerun,
            encode(&record.control)?,
            encode(&record.spec)?,
            now,
            record.deleted.then_some(now),
        ])?;
    Ok(())
}

/// Counts a spec and a token as dealt with.
pub fn satisfy(
    connection: &Connection,
    uid: &uuid::Uuid,
    hash: Option<&str>,
    rerun: Option<&str>,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE requests SET satisfied_hash = coalesce(?2, satisfied_hash),
                satisfied_rerun = coalesce(?3, satisfied_rerun) WHERE uid = ?1",
        )?
        .execute(params![uid.to_string(), hash, rerun])?;
    Ok(())
}

fn record(row: &Row<'_>) -> Result<Record, StoreError> {
    Ok(Record {
        uid: uuid_of(row, "uid")?,
        name: row.get("name")?,
        path: row.get::<_, String>("path")?.into(),
        index: row.get("document")?,
        generation: row.get("generation")?,
        spec_hash: row.get("spec_hash")?,
        semantic_hash: row.get("semantic_hash")?,
        satisfied_hash: row.get("satisfied_hash")?,
        satisfied_rerun: row.get("satisfied_rerun")?,
        control: decode("control", &row.get::<_, String>("control_json")?)?,
        spec: decode("spec", &row.get::<_, String>("spec_json")?)?,
        deleted: row.get::<_, Option<String>>("deleted_at")?.is_some(),
    })
}
