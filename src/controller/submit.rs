//! Requests that come over the API become files of the watched root, so that files stay the whole truth.
//! Owns the order of things: announced, recorded with run and text in one transaction, written, settled.
//! Validates nothing and never touches a file that is there.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::context::{Context, Expected, timestamp_now};
use super::crash;
use crate::decide::action::NewRun;
use crate::decide::observed::Record;
use crate::files::atomic_write::{self, FileError};
use crate::request::valid::ValidRequest;
use crate::store::StoreError;
use crate::store::submissions::{self, Busy};

#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    #[error("the service is measured by {}, whose run {} is {}", .0.request, .0.run, .0.phase)]
    Busy(Busy),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the request could not be saved: {0}")]
    File(#[from] FileError),
    #[error("the request could not be saved: {} is there already", .0.display())]
    Taken(PathBuf),
    #[error("the watched directory cannot be trusted at present, so nothing is saved there")]
    Degraded,
    #[error("the request could not be saved: {} leads out of the watched directory", .0.display())]
    Outside(PathBuf),
}

/// A request that was validated from this text.
#[derive(Debug, Clone)]
pub struct Asked {
    pub request: ValidRequest,
    pub text: String,
    /// Whose run it becomes.
    pub service: String,
    pub run: Uuid,
}

/// Where the request of a name is saved, below the watched root.
pub fn place(context: &Context, name: &str) -> PathBuf {
    context.settings.api.save_to.join(format!("{name}.yaml"))
}

/// Records the request with its run, and saves it. The run counts as what the file asks for, so the file
/// starts no second one.
///
/// # Errors
/// The service has a run, or the file cannot be written: nothing runs then.
pub async fn start(context: &Context, asked: Asked) -> Result<PathBuf, SubmitError> {
    let name = asked.request.name.clone();
    let path = place(context, &name);
    make_directory(context, &path)?;
    // Before its record can be found: what is not in the tree would count as deleted.
    context.expect(&name, Expected::Writing);
    let outcome = record_and_write(context, asked, &path).await;
    match &outcome {
        Ok(()) => context.expect(&name, Expected::Written(path.clone())),
        // The record, if there is one, is that of a file that is gone, and its run ends by that.
        Err(_) => context.expect_no_more(&name),
    }
    context.wake(&name);
    outcome.map(|()| path)
}

async fn record_and_write(context: &Context, asked: Asked, path: &Path) -> Result<(), SubmitError> {
    let Asked { request, text, service, run } = asked;
    let name = request.name.clone();
    let record = Record {
        uid: context.random(),
        name: name.clone(),
        path: path.to_owned(),
        index: 0,
        generation: 1,
        spec_hash: request.spec_hash.clone(),
        semantic_hash: request.semantic_hash,
        satisfied_hash: None,
        satisfied_rerun: None,
        control: request.control,
        spec: request.spec,
        deleted: false,
    };
    let new = NewRun {
        id: run,
        request_uid: record.uid,
        request: name.clone(),
        path: path.to_owned(),
        generation: 1,
        spec: record.spec.clone(),
        spec_hash: request.spec_hash.clone(),
        timeout_ms: record.control.timeout_ms,
        backoff_limit: record.control.backoff_limit,
        service,
        satisfied_hash: Some(request.spec_hash),
        satisfied_rerun: record.control.rerun.clone(),
        command: None,
    };
    let (journaled, now) = (text.clone(), timestamp_now());
    crash::point();
    let busy = context
        .store
        .write(move |connection| submissions::start(connection, &record, &new, &journaled, &now))
        .await?;
    if let Some(busy) = busy {
        return Err(SubmitError::Busy(busy));
    }
    crash::point();
    let written = write(context, path, text).await;
    crash::point();
    let settled = context.store.write(move |connection| submissions::settle(connection, &name)).await;
    written?;
    Ok(settled?)
}

/// Saves a request that asks for no run of its own.
///
/// # Errors
/// The file cannot be written.
pub async fn save(context: &Context, name: &str, text: String) -> Result<PathBuf, SubmitError> {
    let path = place(context, name);
    make_directory(context, &path)?;
    write(context, &path, text).await?;
    Ok(path)
}

fn make_directory(context: &Context, path: &Path) -> Result<(), SubmitError> {
    let whole = context.settings.requests.join(path);
    let root = &context.settings.requests;
    if context.meter.is_degraded() {
        return Err(SubmitError::Degraded);
    }
    let directory = whole.parent().unwrap_or(root);
    let failed = |source| {
        let (path, doing) = (directory.to_owned(), "make the directory");
        SubmitError::File(FileError::Io {
            path,
            doing,
            source,
            hint: "check permissions of the watched directory",
        })
    };
    // First, because a root that is missing must not be made: what it had would count as deleted.
    let real_root = root.canonicalize().map_err(failed)?;
    std::fs::create_dir_all(directory).map_err(failed)?;
    let inside = directory.canonicalize().map_err(failed)?;
    if !inside.starts_with(real_root) {
        return Err(SubmitError::Outside(directory.to_owned()));
    }
    Ok(())
}

async fn write(context: &Context, path: &Path, text: String) -> Result<(), SubmitError> {
    let whole = context.settings.requests.join(path);
    let created = tokio::task::spawn_blocking(move || {
        atomic_write::create(&whole, text.as_bytes(), 0o644).map(|created| (created, whole))
    });
    match created.await {
        Ok(Ok((true, _))) => Ok(()),
        Ok(Ok((false, whole))) => Err(SubmitError::Taken(whole)),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(StoreError::Closed.into()),
    }
}

/// Writes what an earlier life has recorded and not written, before the root is listed for the first time.
///
/// # Errors
/// The store's own.
pub fn finish_all(context: &Context) -> Result<(), StoreError> {
    for left in context.store.submissions()? {
        let path = Path::new(&left.path);
        let whole = context.settings.requests.join(path);
        let written = make_directory(context, path)
            .and_then(|()| Ok(atomic_write::create(&whole, left.text.as_bytes(), 0o644)?));
        match written {
            Ok(true) => tracing::info!(path = %whole.display(), "a request that came over the API was saved"),
            Ok(false) => {}
            // Tried again at the next start, if its request is still there by then.
            Err(error) => {
                tracing::warn!(%error, "a request that came over the API is not saved");
                continue;
            }
        }
        let store = context.store.clone();
        tokio::spawn(async move {
            if let Err(error) =
                store.write(move |connection| submissions::settle(connection, &left.name)).await
            {
                tracing::warn!(%error, "a submission stays open");
            }
        });
    }
    Ok(())
}
