//! What every part of the controller shares: settings, store, executors, jobs, claims. Handles only;
//! the loop owns the state.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use uuid::Uuid;

use super::claims::Claims;
use super::jobs::Jobs;
use super::meter::Meter;
use crate::executor::{DockerExecutor, Executor, ProcessExecutor};
use crate::run::clock::Now;
use crate::run::plan::ExecutorKind;
use crate::run::step::TaskId;
use crate::settings::Settings;
use crate::store::Store;

#[derive(Clone)]
pub struct Context {
    pub settings: Arc<Settings>,
    pub store: Store,
    /// Labels containers as this installation's.
    pub instance: String,
    pub docker: DockerLink,
    pub process: Arc<ProcessExecutor>,
    pub jobs: Jobs,
    pub claims: Claims,
    /// Applies that this process carries out now.
    pub applying: Arc<Mutex<HashSet<Uuid>>>,
    pub wake: mpsc::UnboundedSender<String>,
    /// Requests whose files this process writes, until the loop has taken note of them.
    pub expected: Arc<Mutex<HashMap<String, Expected>>>,
    pub meter: Meter,
    pub boot_id: String,
}

/// A request that is recorded before its file can have been seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Its file is being written.
    Writing,
    /// It is there, at this path below the root.
    Written(PathBuf),
}

impl Context {
    /// Announces a request before its record can be found.
    pub fn expect(&self, request: &str, what: Expected) {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner).insert(request.to_owned(), what);
    }

    pub fn expect_no_more(&self, request: &str) {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner).remove(request);
    }

    /// Whether the request's file is just being written, so that it cannot be absent.
    pub fn is_writing(&self, request: &str) -> bool {
        let expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        expected.get(request) == Some(&Expected::Writing)
    }

    /// The requests whose files have been written since the last call.
    pub fn take_written(&self) -> Vec<(String, PathBuf)> {
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        let mut written = Vec::new();
        expected.retain(|name, what| match what {
            Expected::Writing => true,
            Expected::Written(path) => {
                written.push((name.clone(), std::mem::take(path)));
                false
            }
        });
        written
    }

    pub fn now(&self) -> Now {
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let boot_ms = boot.tv_sec.unsigned_abs() * 1000 + boot.tv_nsec.unsigned_abs() / 1_000_000;
        Now { boot_id: self.boot_id.clone(), boot_ms, unix_ms: jiff::Timestamp::now().as_millisecond() }
    }

    /// The folder of a task's output.
    pub fn spool(&self, id: &TaskId) -> PathBuf {
        self.spool_root().join(id.run.to_string()).join(id.folder())
    }

    pub fn spool_root(&self) -> PathBuf {
        self.settings.state.join("spool")
    }

    /// The executor of a kind.
    ///
    /// # Errors
    /// Why Docker does not answer.
    pub async fn executor(&self, kind: ExecutorKind) -> Result<Arc<dyn Executor>, String> {
        match kind {
            ExecutorKind::Process => Ok(Arc::clone(&self.process) as Arc<dyn Executor>),
            ExecutorKind::Docker => self.docker.get().await.map(|docker| docker as Arc<dyn Executor>),
        }
    }

    /// Looks at a request again, as something about it has changed.
    pub fn wake(&self, request: &str) {
        // Nobody listens only while the controller goes down.
        drop(self.wake.send(request.to_owned()));
    }

    /// Whether this process carries the apply out now.
    pub fn is_applying(&self, id: Uuid) -> bool {
        self.applying.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
    }

    pub fn random(&self) -> Uuid {
        Uuid::new_v4()
    }
}

/// UTC, RFC 3339 with milliseconds, as every table and status file has it.
pub fn timestamp(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms)
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .strftime("%Y-%m-%dT%H:%M:%S.%3fZ")
        .to_string()
}

/// The present time, as [`timestamp`] writes it.
pub fn timestamp_now() -> String {
    timestamp(jiff::Timestamp::now().as_millisecond())
}

/// Docker, connected when first needed and again after the daemon was away.
#[derive(Clone)]
pub struct DockerLink {
    instance: String,
    state: Arc<Mutex<Link>>,
}

enum Link {
    Untried,
    Up(Arc<DockerExecutor>),
    Down { reason: String, since: Instant },
}

/// A daemon that did not answer is not asked again before this.
const RETRY: Duration = Duration::from_secs(1);

impl DockerLink {
    pub fn new(instance: String) -> Self {
        Self { instance, state: Arc::new(Mutex::new(Link::Untried)) }
    }

    /// The connection; whether the daemon still answers shows when it is used.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn get(&self) -> Result<Arc<DockerExecutor>, String> {
        {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            match &*state {
                Link::Up(docker) => return Ok(Arc::clone(docker)),
                Link::Down { reason, since } if since.elapsed() < RETRY => return Err(reason.clone()),
                Link::Untried | Link::Down { .. } => {}
            }
        }
        let (link, result) = match DockerExecutor::connect(self.instance.clone()).await {
            Ok(docker) => {
                let docker = Arc::new(docker);
                (Link::Up(Arc::clone(&docker)), Ok(docker))
            }
            Err(error) => {
                let reason = error.to_string();
                (Link::Down { reason: reason.clone(), since: Instant::now() }, Err(reason))
            }
        };
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = link;
        result
    }

    /// Whether the daemon answers now.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn check(&self) -> Result<(), String> {
        let docker = self.get().await?;
        docker.ping().await.map_err(|error| error.to_string())
    }
}
