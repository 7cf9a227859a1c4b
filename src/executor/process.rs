//! Tasks as plain processes on this machine, where there is no Docker: each runs under a shim
//! (`shim.rs`) that outlives the controller. This side writes the order, spawns the shim, and reads
//! from the spool folder what became of it. It waits for no child and decides nothing.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::process_identity::{children_of, kill_stragglers};
use super::spool::{self, Order, ShimRecord};
use super::{Executor, ExecutorError, Found, OUTPUT_LIMIT, shim};
use crate::run::step::{Exit, ExitCause, TaskId, TaskSpec, TaskState};

/// How long a shim may take to say that the program runs.
const START_LIMIT: Duration = Duration::from_secs(15);

/// How long a task may take to go once it was killed.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// How often a task that cannot be waited for is looked at.
const POLL: Duration = Duration::from_millis(100);

pub struct ProcessExecutor {
    instance: String,
    shim: PathBuf,
    spool_root: PathBuf,
    output_limit: u64,
}

impl ProcessExecutor {
    /// The program that is running now, also when its file was replaced meanwhile.
    pub const OWN_PROGRAM: &'static str = "/proc/self/exe";

    /// `shim` is a program that takes `shim --spool DIR`; below `spool_root` a task's folder is
    /// `<run uuid>/<TaskId::folder()>`.
    pub fn new(
        instance: impl Into<String>,
        shim: impl Into<PathBuf>,
        spool_root: impl Into<PathBuf>,
    ) -> Self {
        Self {
            instance: instance.into(),
            shim: shim.into(),
            spool_root: spool_root.into(),
            output_limit: OUTPUT_LIMIT,
        }
    }

    /// Another limit than `OUTPUT_LIMIT` for one stream's output, in bytes.
    pub fn with_output_limit(mut self, bytes: u64) -> Self {
        self.output_limit = bytes;
        self
    }

    /// The process that a task's shim started, for watching what it uses. `None` where it does not run.
    pub fn program_of(&self, spool: &Path) -> Option<u32> {
        let record = spool::read::<ShimRecord>(spool, spool::SHIM).ok()??;
        let child = children_of(record.identity.pid).into_iter().next()?;
        u32::try_from(child).ok()
    }

    async fn start_shim(&self, task: &TaskSpec, spool: &Path) -> Result<(), ExecutorError> {
        if task.container.is_some() {
            return Err(ExecutorError::Refused(format!(
                "{} needs a container, and the process executor has none; use `executor: docker`",
                task.id.name()
            )));
        }
        let order = Order {
            version: spool::TASK_VERSION,
            instance: self.instance.clone(),
            output_limit: self.output_limit,
            spec: task.clone(),
        };
        let folder = spool.to_owned();
        let already = blocking(move || {
            if spool::exists(&folder, spool::SHIM)
                || spool::exists(&folder, spool::EXIT)
                || spool::lock_held(&folder)?
            {
                return Ok(true);
            }
            spool::write(&folder, spool::TASK, &order).map(|()| false)
        })
        .await?;
        if already {
            return Ok(());
        }
        let mut child = Command::new(&self.shim)
            .arg0("benchlet-shim")
            .arg("shim")
            .arg("--spool")
            .arg(spool)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| spool::io_error(&self.shim, error))?;
        let answer = child.stdout.take();
        // A shim outlives this call and, mostly, this process; while this process lives it must be
        // waited for, or it stays behind as a zombie.
        tokio::spawn(async move { child.wait().await });
        let line = match answer {
            Some(answer) => timeout(START_LIMIT, BufReader::new(answer).lines().next_line()).await,
            None => Ok(Ok(None)),
        };
        let name = task.id.name();
        match line {
            Ok(Ok(Some(line))) if line == shim::STARTED || line == shim::ALREADY => Ok(()),
            Ok(Ok(Some(line))) => {
                let words = line.strip_prefix(shim::FAILED).unwrap_or(&line);
                Err(ExecutorError::Refused(format!("{name} was not started: {words}")))
            }
            Ok(Ok(None)) => Err(ExecutorError::Refused(format!(
                "{name} was not started: {} ended without a word; is it benchlet?",
                self.shim.display()
            ))),
            Ok(Err(error)) => Err(spool::io_error(&self.shim, error)),
            Err(_) => Err(ExecutorError::Unreachable(format!(
                "the shim of {name} did not say within {} s that it started",
                START_LIMIT.as_secs()
            ))),
        }
    }

    async fn end(&self, id: &TaskId, spool: &Path) -> Result<(), ExecutorError> {
        signal_shim(spool, Signal::TERM).await?;
        let (name, folder) = (id.name(), spool.to_owned());
        // Where the shim itself was killed, nobody else ends what it left.
        blocking(move || {
            if spool::exists(&folder, spool::SHIM) && !spool::lock_held(&folder)? {
                kill_stragglers(&name);
            }
            Ok(())
        })
        .await
    }

    async fn clear(&self, id: &TaskId, spool: &Path) -> Result<(), ExecutorError> {
        for signal in [Signal::QUIT, Signal::KILL] {
            if !spool::lock_held(spool)? {
                break;
            }
            signal_shim(spool, signal).await?;
            wait_unlocked(spool, KILL_LIMIT).await?;
        }
        let (name, folder) = (id.name(), spool.to_owned());
        blocking(move || {
            if spool::exists(&folder, spool::SHIM) {
                kill_stragglers(&name);
            }
            Ok(())
        })
        .await?;
        // Held while the records go, so that no late shim reads half of them.
        let lock = lock_patiently(id, spool).await?;
        let folder = spool.to_owned();
        blocking(move || {
            // The exit goes last: a removal that is cut short must not look like a lost task.
            for record in [spool::TASK, spool::SHIM, spool::EXIT, spool::LOCK] {
                spool::delete(&folder, record)?;
            }
            drop(lock);
            Ok(())
        })
        .await
    }

    fn scan(&self) -> Result<Vec<Found>, ExecutorError> {
        let mut found = Vec::new();
        for (run_name, run_path) in folders(&self.spool_root)? {
            let Ok(run) = Uuid::parse_str(&run_name) else { continue };
            for (name, path) in folders(&run_path)? {
                let Some(id) = TaskId::from_folder(run, &name) else { continue };
                match spool::read::<Order>(&path, spool::TASK) {
                    Ok(Some(order)) if order.instance == self.instance => {
                        found.push(Found { id, state: look(&path) });
                    }
                    Ok(Some(_) | None) => {}
                    Err(error) => tracing::warn!(%error, "a task's order cannot be read"),
                }
            }
        }
        Ok(found)
    }
}

impl Executor for ProcessExecutor {
    fn start<'a>(&'a self, task: &'a TaskSpec, spool: &'a Path) -> BoxFuture<'a, Result<(), ExecutorError>> {
        self.start_shim(task, spool).boxed()
    }

    fn observe<'a>(&'a self, _id: &'a TaskId, spool: &'a Path) -> BoxFuture<'a, TaskState> {
        async move { look(spool) }.boxed()
    }

    fn follow<'a>(&'a self, _id: &'a TaskId, spool: &'a Path) -> BoxFuture<'a, Result<(), ExecutorError>> {
        // The program writes into the spool itself.
        async move {
            while spool::lock_held(spool)? {
                sleep(POLL).await;
            }
            Ok(())
        }
        .boxed()
    }

    fn drain<'a>(&'a self, _id: &'a TaskId, spool: &'a Path) -> BoxFuture<'a, Result<(), ExecutorError>> {
        let folder = spool.to_owned();
        blocking(move || spool::sync_streams(&folder)).boxed()
    }

    fn stop<'a>(&'a self, id: &'a TaskId, spool: &'a Path) -> BoxFuture<'a, Result<(), ExecutorError>> {
        self.end(id, spool).boxed()
    }

    fn remove<'a>(&'a self, id: &'a TaskId, spool: &'a Path) -> BoxFuture<'a, Result<(), ExecutorError>> {
        self.clear(id, spool).boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Found>, ExecutorError>> {
        async move { self.scan() }.boxed()
    }
}

/// What the spool folder says. The shim takes the lock before it writes its record, and gives it back
/// after it wrote the exit; in this order of looking neither can be missed.
fn look(spool: &Path) -> TaskState {
    let shim_known = spool::exists(spool, spool::SHIM);
    let seen = (|| {
        if spool::lock_held(spool)? {
            return Ok(TaskState::Running);
        }
        if let Some(exit) = spool::read::<Exit>(spool, spool::EXIT)? {
            return Ok(TaskState::Exited(exit));
        }
        if shim_known {
            let lost = Exit { cause: ExitCause::Lost, oom_killed: false, finished_at: None };
            return Ok(TaskState::Exited(lost));
        }
        if spool::exists(spool, spool::TASK) {
            return Ok(TaskState::Created { error: None });
        }
        Ok(TaskState::Absent)
    })();
    seen.unwrap_or_else(|error: ExecutorError| TaskState::Unknown { reason: error.to_string() })
}

/// Signals the shim that this spool folder names, if it is still that one. A shim that holds the lock
/// and has not yet written who it is gets a moment for it.
async fn signal_shim(spool: &Path, signal: Signal) -> Result<(), ExecutorError> {
    let give_up = Instant::now() + Duration::from_secs(1);
    loop {
        if let Some(record) = spool::read::<ShimRecord>(spool, spool::SHIM)? {
            record.identity.signal(signal).map_err(|error| spool::io_error(spool, error))?;
            return Ok(());
        }
        if !spool::lock_held(spool)? || Instant::now() >= give_up {
            return Ok(());
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// Takes the lock of a task that was ended. Somebody who looks at it holds it for a moment too.
async fn lock_patiently(id: &TaskId, spool: &Path) -> Result<File, ExecutorError> {
    let give_up = Instant::now() + Duration::from_secs(2);
    loop {
        if let Some(lock) = spool::lock(spool)? {
            return Ok(lock);
        }
        if Instant::now() >= give_up {
            return Err(ExecutorError::Refused(format!(
                "{} does not end although it was killed; try again, or look for its processes with `ps -ef`",
                id.name()
            )));
        }
        sleep(Duration::from_millis(5)).await;
    }
}

async fn wait_unlocked(spool: &Path, limit: Duration) -> Result<(), ExecutorError> {
    let give_up = Instant::now() + limit;
    while spool::lock_held(spool)? && Instant::now() < give_up {
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// The folders in a folder; none where it does not exist.
fn folders(path: &Path) -> Result<Vec<(String, PathBuf)>, ExecutorError> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(spool::io_error(path, error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| spool::io_error(path, error))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir())
            && let Ok(name) = entry.file_name().into_string()
        {
            found.push((name, entry.path()));
        }
    }
    Ok(found)
}

/// Runs what waits for a disk away from the runtime's own threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ExecutorError> + Send + 'static,
) -> Result<T, ExecutorError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(ExecutorError::Unreachable(format!("the work was cut short: {error}"))),
    }
}
