//! Where the system under test runs. An executor starts a task (idempotent by its name), says what
//! it sees of it, brings its output into the spool, stops and removes it. It retries nothing and
//! decides nothing; `decide` does.

pub mod docker;
mod docker_connection;
mod docker_container;
mod docker_logs;
mod docker_pull;
mod docker_services;
pub mod process;
mod process_identity;
pub mod shim;
mod spool;

use std::path::Path;

use futures_util::future::BoxFuture;

use crate::run::step::{TaskId, TaskSpec, TaskState};

pub use docker::DockerExecutor;
pub use docker_pull::{ImageInfo, PullProgress};
pub use docker_services::{ContainerRunState, RunningContainer, ServiceState};
pub use process::ProcessExecutor;

/// Output of one stream beyond this ends the task with `OutputTooLarge`, in bytes.
pub const OUTPUT_LIMIT: u64 = 256 << 20;

/// The files of a task's output in its spool folder.
pub const STDOUT: &str = "stdout";
pub const STDERR: &str = "stderr";

#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// The executor does not answer. Says nothing about the tasks.
    #[error("{0}")]
    Unreachable(String),
    /// The image is not there.
    #[error("{0}")]
    ImageMissing(String),
    /// It answered, and refused: its own words.
    #[error("{0}")]
    Refused(String),
    #[error("{path}: {source}")]
    Io { path: String, source: std::io::Error },
}

/// A task that an executor found to be ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub id: TaskId,
    pub state: TaskState,
}

/// Contract: every call is safe to repeat. `spool` is the task's own folder, which exists.
pub trait Executor: Send + Sync {
    /// Starts the task; where one of its name exists already, that one is it.
    fn start<'a>(&'a self, task: &'a TaskSpec, spool: &'a Path) -> BoxFuture<'a, Result<(), ExecutorError>>;

    fn observe<'a>(&'a self, id: &'a TaskId, spool: &'a Path) -> BoxFuture<'a, TaskState>;

    /// Copies output into the spool while the task runs and returns when it ended. May be dropped at
    /// any time; the next call goes on where the spool ends.
    fn follow<'a>(&'a self, id: &'a TaskId, spool: &'a Path) -> BoxFuture<'a, Result<(), ExecutorError>>;

    /// Completes the spool after the task has exited: what is there after this is all there is.
    fn drain<'a>(&'a self, id: &'a TaskId, spool: &'a Path) -> BoxFuture<'a, Result<(), ExecutorError>>;

    /// Ends the task: politely, then for sure. Returns once it is asked for; `observe` tells the end.
    fn stop<'a>(&'a self, id: &'a TaskId, spool: &'a Path) -> BoxFuture<'a, Result<(), ExecutorError>>;

    /// Removes the task, running or not. Removing what is not there is no error.
    fn remove<'a>(&'a self, id: &'a TaskId, spool: &'a Path) -> BoxFuture<'a, Result<(), ExecutorError>>;

    /// All tasks of this instance.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Found>, ExecutorError>>;
}
