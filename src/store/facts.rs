//! Facts that cost something to find: a model file's hash, an image's llama-bench. Kept by what they
//! depend on, so that a change of that asks again.

use rusqlite::{OptionalExtension as _, params};

use super::{StoreError, decode, encode};
use crate::run::plan::ToolFacts;

/// A file as its hash depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdentity {
    pub device: u64,
    pub inode: u64,
    pub size: u64,
    pub mtime_ns: i64,
}

impl super::Store {
    /// # Errors
    /// SQLite's own.
    pub fn model_hash(&self, file: FileIdentity) -> Result<Option<String>, StoreError> {
        self.read(|connection| {
            Ok(connection
                .prepare_cached(
                    "SELECT sha256 FROM model_hashes WHERE device = ?1 AND inode = ?2 AND size = ?3 AND mtime_ns = ?4",
                )?
                .query_row(params![file.device.cast_signed(), file.inode.cast_signed(), file.size, file.mtime_ns], |row| row.get(0))
                .optional()?)
        })
    }

    /// # Errors
    /// SQLite's own.
    pub async fn keep_model_hash(&self, file: FileIdentity, sha256: String) -> Result<(), StoreError> {
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO model_hashes (device, inode, size, mtime_ns, sha256)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![
                    file.device.cast_signed(),
                    file.inode.cast_signed(),
                    file.size,
                    file.mtime_ns,
                    sha256
                ])?;
            Ok(())
        })
        .await
    }

    /// llama-bench as an image has it, with its `--help`.
    ///
    /// # Errors
    /// SQLite's own, or a row that cannot be decoded.
    pub fn tool(&self, image: &str) -> Result<Option<(ToolFacts, String)>, StoreError> {
        let row: Option<(String, Option<String>)> = self.read(|connection| {
            Ok(connection
                .prepare_cached("SELECT facts_json, help FROM tools WHERE image_id = ?1")?
                .query_row([image], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?)
        })?;
        row.map(|(facts, help)| Ok((decode("tool", &facts)?, help.unwrap_or_default()))).transpose()
    }

    /// # Errors
    /// SQLite's own.
    pub async fn keep_tool(&self, image: String, facts: ToolFacts, help: String) -> Result<(), StoreError> {
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO tools (image_id, facts_json, help) VALUES (?1, ?2, ?3)",
                )?
                .execute(params![image, encode(&facts)?, help])?;
            Ok(())
        })
        .await
    }
}
