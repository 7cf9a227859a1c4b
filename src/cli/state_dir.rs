//! The state directory as verbs use it: the database as a guest, and whether a controller is at work.

use std::path::PathBuf;

use uuid::Uuid;

use super::error::CliError;
use crate::controller::STATE_LOCK;
pub use crate::controller::context::timestamp_now as now;
use crate::files::lock;
use crate::settings::Settings;
use crate::store::{Access, Store, StoreError};

/// The database, or `None` where nothing has run with this state directory yet.
///
/// # Errors
/// A database that cannot be read.
pub fn open_if_there(settings: &Settings) -> Result<Option<Store>, CliError> {
    let missing = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
    match std::fs::symlink_metadata(settings.state.join("benchlet.db")) {
        Err(error) if missing(&error) => return Ok(None),
        Err(_) | Ok(_) => {}
    }
    match Store::open(&settings.state, Access::Guest) {
        Ok(store) => Ok(Some(store)),
        // Made a moment ago by a controller that is just starting.
        Err(StoreError::Version { found: 0, .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The database; that there is none is "not found".
///
/// # Errors
/// None there, or one that cannot be read.
pub fn open(settings: &Settings) -> Result<Store, CliError> {
    open_if_there(settings)?.ok_or_else(|| {
        CliError::not_found(format!(
            "nothing has run with the state directory {} yet",
            settings.state.display()
        ))
        .hint("start `benchlet serve`, or name another directory with --state")
    })
}

/// Who carries requests out at present, in words.
pub fn controller(settings: &Settings) -> Option<String> {
    // A lock that cannot be looked at is as good as none: nobody is known to answer.
    lock::try_read_holder(&settings.state.join(STATE_LOCK)).ok().flatten()
}

/// The folder of a run's output.
pub fn spool(settings: &Settings, run: Uuid) -> PathBuf {
    settings.state.join("spool").join(run.to_string())
}
