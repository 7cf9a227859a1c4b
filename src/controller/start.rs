//! Opening an installation: one controller a state directory and a root, the store at its version, the
//! executors at hand.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;
use uuid::Uuid;

use super::claims::Claims;
use super::context::{Context, DockerLink};
use super::jobs::Jobs;
use super::meter::Meter;
use crate::executor::ProcessExecutor;
use crate::files::lock::{Holder, LockError, LockFile};
use crate::files::{boot, private_dir};
use crate::settings::Settings;
use crate::store::{Access, Store, StoreError};

/// The lock of a state directory: who has it may write runs.
pub const STATE_LOCK: &str = "controller.lock";

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the state directory {path} cannot be made: {source}")]
    State { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Locked(#[from] LockError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An installation with its locks, held until this is dropped.
pub struct Opened {
    pub context: Context,
    pub wakes: mpsc::UnboundedReceiver<String>,
    locks: Vec<LockFile>,
}

impl Opened {
    /// The channel that wakes requests, and the locks to keep.
    pub fn into_parts(self) -> (mpsc::UnboundedReceiver<String>, Vec<LockFile>) {
        (self.wakes, self.locks)
    }
}

/// Opens the state directory for writing.
///
/// # Errors
/// Another controller has the state or the root: it is named.
pub async fn open(settings: Settings, what: &str) -> Result<Opened, StartError> {
    let state = settings.state.clone();
    private_dir::create(&state).map_err(|source| StartError::State { path: state.clone(), source })?;
    let state = std::fs::canonicalize(&state)
        .map_err(|source| StartError::State { path: settings.state.clone(), source })?;
    let holder = Holder { pid: std::process::id(), what: what.to_owned() };
    let mut locks = vec![LockFile::acquire(&state.join(STATE_LOCK), &holder)?];
    if let Some(path) = root_lock(&settings) {
        locks.push(LockFile::acquire(&path, &holder)?);
    }
    let settings = Settings { state: state.clone(), ..settings };
    let store = Store::open(&state, Access::Owner)?;
    let instance = store.instance(Uuid::new_v4()).await?;
    let (wake, wakes) = mpsc::unbounded_channel();
    let process = ProcessExecutor::new(instance.clone(), ProcessExecutor::OWN_PROGRAM, state.join("spool"));
    let context = Context {
        claims: Claims::new(settings.lock_dir.clone()),
        docker: DockerLink::new(instance.clone()),
        process: Arc::new(process),
        jobs: Jobs::new(wake.clone()),
        applying: Arc::default(),
        expected: Arc::default(),
        meter: Meter::default(),
        settings: Arc::new(settings),
        store,
        instance,
        wake,
        boot_id: boot::id().unwrap_or_else(|_| "unknown".to_owned()),
    };
    Ok(Opened { context, wakes, locks })
}

/// The lock of a watched root lies with the devices' locks, because the root itself may be read-only.
fn root_lock(settings: &Settings) -> Option<PathBuf> {
    use sha2::{Digest as _, Sha256};
    let root = std::fs::canonicalize(&settings.requests).ok()?;
    let digest = Sha256::digest(root.as_os_str().as_encoded_bytes());
    let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    ensure(&settings.lock_dir)?;
    Some(settings.lock_dir.join(format!("root-{name}.lock")))
}

fn ensure(directory: &Path) -> Option<()> {
    std::fs::create_dir_all(directory).ok()
}
