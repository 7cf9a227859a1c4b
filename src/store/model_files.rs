//! Model files of a run, whole or as far as they came.

use rusqlite::{Connection, params};
use uuid::Uuid;

use super::{StoreError, all};
use crate::run::model_files::{ModelFile, ModelFiles};

impl super::Store {
    /// What a run has brought; `None` where it came to no file.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn model_files(&self, run: Uuid) -> Result<Option<ModelFiles>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT name, bytes, total, sha256, path, commit_id, directory FROM model_files
                 WHERE run_id = ?1 ORDER BY number";
            let mut common = None;
            let rows = all(connection, sql, [run.to_string()], |row| {
                let file = ModelFile {
                    name: row.get("name")?,
                    bytes: row.get("bytes")?,
                    total: row.get("total")?,
                    sha256: row.get("sha256")?,
                    path: row.get("path")?,
                };
                Ok((file, row.get("commit_id")?, row.get("directory")?))
            })?;
            let files = rows.into_iter().map(|(file, commit, directory)| {
                common.get_or_insert((commit, directory));
                file
            });
            let files: Vec<ModelFile> = files.collect();
            Ok(common.map(|(commit, directory)| ModelFiles { commit, directory, files }))
        })
    }
}

/// Keeps what a run has brought, in place of what was kept of it before, and what lists say of it.
pub fn set(connection: &Connection, run: Uuid, model: &ModelFiles, headline: &str) -> Result<(), StoreError> {
    let id = run.to_string();
    connection.prepare_cached("DELETE FROM model_files WHERE run_id = ?1")?.execute([&id])?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO model_files (run_id, number, name, bytes, total, sha256, path, commit_id, directory)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    for (number, file) in (1i64..).zip(&model.files) {
        insert.execute(params![
            id,
            number,
            file.name,
            file.bytes,
            file.total,
            file.sha256,
            file.path,
            model.commit,
            model.directory
        ])?;
    }
    connection
        .prepare_cached("UPDATE runs SET headline = ?2 WHERE id = ?1")?
        .execute(params![id, headline])?;
    Ok(())
}
