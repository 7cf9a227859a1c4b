//! The body of the hidden subcommand `shim`: the one process between the controller and a task that
//! runs without a container. It holds the task's lock, starts the program, ends it at its deadline,
//! when its output grows too large or when it is asked to, leaves no descendant behind and records
//! the exit. It outlives the controller, talks to nobody and knows no policy.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getppid, kill_process, kill_process_group, set_child_subreaper,
    set_parent_process_death_signal, setsid, wait,
};
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::process_identity::{FOLDER_VARIABLE, ProcessIdentity, TASK_VARIABLE, children_of};
use super::spool::{self, Order, ShimRecord};
use super::{ExecutorError, STDERR, STDOUT};
use crate::run::step::{Exit, ExitCause};

/// From the polite signal to the one that cannot be ignored.
const GRACE: Duration = Duration::from_secs(5);

/// Longer than anything runs, and still a time that can be added to another.
const FAR: Duration = Duration::from_secs(10 * 365 * 86_400);

/// How often the size of the output is looked at.
const SIZE_CHECK: Duration = Duration::from_millis(100);

/// How long a lock that an observer takes for a moment may keep the shim from starting.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// How long dead descendants may take to go: one in the kernel's uninterruptible sleep must not keep
/// the exit from being recorded.
const REAP_PATIENCE: Duration = Duration::from_secs(10);

/// What the shim says on its standard output, once, to the `start` that waits for it.
pub(super) const STARTED: &str = "started";
pub(super) const ALREADY: &str = "already";
pub(super) const FAILED: &str = "error: ";

/// Runs the order in `spool` to its end. To be called on the main thread, before any runtime starts:
/// the program dies with the thread that started it.
pub fn run(spool: &Path) -> ExitCode {
    // Out of the controller's session: its terminal and its process group are none of the task's.
    let _ = setsid();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&format!("the shim's runtime does not start: {error}")),
    };
    runtime.block_on(async {
        match carry_out(spool).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => refuse(&error.to_string()),
        }
    })
}

fn refuse(reason: &str) -> ExitCode {
    announce(&format!("{FAILED}{}", reason.replace('\n', " ")));
    ExitCode::FAILURE
}

/// The one who asked may be gone; that changes nothing here.
fn announce(line: &str) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// The signals that the shim answers, caught before its pid is known to anybody.
struct Signals {
    child: SignalStream,
    terminate: SignalStream,
    interrupt: SignalStream,
    /// End it at once.
    quit: SignalStream,
}

impl Signals {
    fn catch() -> io::Result<Self> {
        Ok(Self {
            child: signal(SignalKind::child())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }
}

async fn carry_out(spool: &Path) -> Result<(), ExecutorError> {
    let here = |error| spool::io_error(spool, error);
    let mut signals = Signals::catch().map_err(here)?;
    let Some(lock) = take_lock(spool).await? else {
        announce(ALREADY);
        return Ok(());
    };
    if spool::exists(spool, spool::SHIM) || spool::exists(spool, spool::EXIT) {
        announce(ALREADY);
        return Ok(());
    }
    let order: Order = spool::read(spool, spool::TASK)?.ok_or_else(|| {
        ExecutorError::Refused(format!("{}: there is no task to start", spool.join(spool::TASK).display()))
    })?;
    if order.version != spool::TASK_VERSION {
        return Err(ExecutorError::Refused(format!(
            "{}: version {} is not version {}, which this benchlet runs; run it with the benchlet that wrote it",
            spool.join(spool::TASK).display(),
            order.version,
            spool::TASK_VERSION
        )));
    }
    let identity = ProcessIdentity::of_self().map_err(here)?;
    spool::write(spool, spool::SHIM, &ShimRecord { identity })?;
    // Without it (an old kernel), descendants that detach escape the shim, and nothing else changes.
    let _ = set_child_subreaper(Some(rustix::process::getpid()));
    let cause = match Child::start(&order, spool) {
        Ok(child) => {
            announce(STARTED);
            child.supervise(&order, spool, &mut signals).await
        }
        Err(reason) => {
            announce(STARTED);
            ExitCause::NotStarted(reason)
        }
    };
    end_descendants().await;
    let cause = cut_output(&order, spool, cause);
    record(spool, cause).await?;
    drop(lock);
    Ok(())
}

async fn take_lock(spool: &Path) -> Result<Option<File>, ExecutorError> {
    let give_up = Instant::now() + LOCK_PATIENCE;
    loop {
        match spool::lock(spool)? {
            Some(lock) => return Ok(Some(lock)),
            None if Instant::now() >= give_up || spool::exists(spool, spool::SHIM) => return Ok(None),
            None => sleep(Duration::from_millis(5)).await,
        }
    }
}

/// The program, from its start until it was waited for.
struct Child {
    pid: Pid,
    started: Instant,
}

/// Why the shim ended a program; first come, first recorded.
enum Ended {
    Deadline,
    TooLarge,
}

impl Child {
    /// The error says which program and why, in the kernel's words.
    fn start(order: &Order, spool: &Path) -> Result<Self, String> {
        let Some((program, arguments)) = order.spec.argv.split_first() else {
            return Err("the task names no program".to_owned());
        };
        let output = |name: &str| {
            let stream = File::options().create(true).append(true).open(spool::stream_path(spool, name))?;
            stream.set_len(0)?;
            Ok::<_, io::Error>(Stdio::from(stream))
        };
        let (stdout, stderr) = match (output(STDOUT), output(STDERR)) {
            (Ok(stdout), Ok(stderr)) => (stdout, stderr),
            (Err(error), _) | (_, Err(error)) => {
                return Err(format!("{}: no output file can be made: {error}", spool.display()));
            }
        };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(stdout).stderr(stderr).process_group(0);
        // The controller's own settings and tokens are none of the task's.
        for name in std::env::vars_os().map(|(name, _)| name).filter(is_own_setting) {
            command.env_remove(name);
        }
        command.envs(&order.spec.env).env(TASK_VARIABLE, order.spec.id.name()).env(FOLDER_VARIABLE, spool);
        let shim = rustix::process::getpid();
        // SAFETY: between fork and exec only two system calls are made, both async-signal-safe, and
        // nothing is allocated.
        unsafe {
            command.pre_exec(move || {
                set_parent_process_death_signal(Some(Signal::KILL))?;
                // A shim that died before the line above cannot send the signal any more.
                if getppid() != Some(shim) {
                    return Err(io::Error::from_raw_os_error(rustix::io::Errno::SRCH.raw_os_error()));
                }
                Ok(())
            });
        }
        let child = command.spawn().map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::NotFound => "; install it or give its full path",
                io::ErrorKind::PermissionDenied => "; is it executable?",
                _ => "",
            };
            format!("{program} cannot be started: {error}{hint}")
        })?;
        // A pid that was just given out is a positive number.
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        pid.map(|pid| Self { pid, started: Instant::now() })
            .ok_or_else(|| format!("{program} started under no usable pid"))
    }

    /// Watches the program until it ended.
    async fn supervise(self, order: &Order, spool: &Path, signals: &mut Signals) -> ExitCause {
        let deadline = sleep_until(self.started + Duration::from_millis(order.spec.deadline_ms).min(FAR));
        tokio::pin!(deadline);
        let kill = sleep_until(self.started + FAR);
        tokio::pin!(kill);
        let mut size_check = interval(SIZE_CHECK);
        size_check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ended = None;
        let (mut past_deadline, mut politely_asked, mut killed) = (false, false, false);
        loop {
            let mut ask = false;
            let mut end_now = false;
            tokio::select! {
                _ = signals.child.recv() => {
                    if let Some(status) = self.reap() {
                        return match ended {
                            Some(Ended::Deadline) => ExitCause::DeadlineExceeded,
                            Some(Ended::TooLarge) => ExitCause::OutputTooLarge,
                            None => ExitCause::Code(code(status)),
                        };
                    }
                }
                _ = signals.terminate.recv() => ask = true,
                _ = signals.interrupt.recv() => ask = true,
                _ = signals.quit.recv() => end_now = true,
                () = &mut deadline, if !past_deadline => {
                    past_deadline = true;
                    ask = true;
                    if !politely_asked {
                        ended = ended.or(Some(Ended::Deadline));
                    }
                }
                () = &mut kill, if politely_asked && !killed => end_now = true,
                _ = size_check.tick(), if !killed => {
                    if over_limit(spool, order.output_limit) {
                        ended = ended.or(Some(Ended::TooLarge));
                        end_now = true;
                    }
                }
            }
            if ask && !politely_asked {
                politely_asked = true;
                kill.as_mut().reset(Instant::now() + GRACE);
                self.signal(Signal::TERM);
            }
            if end_now {
                killed = true;
                self.signal(Signal::KILL);
            }
        }
    }

    /// The program leads its own group; until it was waited for, its pid is nobody else's.
    fn signal(&self, signal: Signal) {
        let _ = kill_process_group(self.pid, signal);
        let _ = kill_process(self.pid, signal);
    }

    /// Waits for whatever died; the program's own status if it is among it.
    fn reap(&self) -> Option<WaitStatus> {
        let mut own = None;
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == self.pid {
                own = Some(status);
            }
        }
        own
    }
}

fn is_own_setting(name: &OsString) -> bool {
    name.to_str().is_some_and(|name| name.starts_with("BENCHLET_"))
}

/// As a shell shows it.
fn code(status: WaitStatus) -> i64 {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => i64::from(code),
        (None, Some(signal)) => 128 + i64::from(signal),
        (None, None) => 255,
    }
}

/// Kills and waits for everything that the program left running. Orphans come to the subreaper, so
/// when it has no child left, nothing is left.
async fn end_descendants() {
    let give_up = Instant::now() + REAP_PATIENCE;
    let own = rustix::process::getpid().as_raw_nonzero().get();
    loop {
        for pid in children_of(own).into_iter().filter_map(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
        if Instant::now() >= give_up {
            return;
        }
        sleep(Duration::from_millis(2)).await;
    }
}

fn over_limit(spool: &Path, limit: u64) -> bool {
    [STDOUT, STDERR].iter().any(|name| length(spool, name) > limit)
}

fn length(spool: &Path, name: &str) -> u64 {
    std::fs::metadata(spool::stream_path(spool, name)).map_or(0, |metadata| metadata.len())
}

/// Cuts what passed the limit, also by a program that ended before anybody looked, and brings the
/// output to the disk before the exit says that it is complete.
fn cut_output(order: &Order, spool: &Path, cause: ExitCause) -> ExitCause {
    let too_large = over_limit(spool, order.output_limit);
    for name in [STDOUT, STDERR] {
        if length(spool, name) > order.output_limit
            && let Ok(stream) = spool::open_stream(spool, name)
        {
            let _ = stream.set_len(order.output_limit);
        }
    }
    // A disk that does not take it will not take the exit either, and that one is tried for longer.
    let _ = spool::sync_streams(spool);
    if too_large { ExitCause::OutputTooLarge } else { cause }
}

/// A full disk may be emptied again: an exit that is lost costs a whole run.
async fn record(spool: &Path, cause: ExitCause) -> Result<(), ExecutorError> {
    let exit = Exit { cause, oom_killed: false, finished_at: Some(jiff::Timestamp::now().to_string()) };
    let mut tries = 0;
    loop {
        match spool::write(spool, spool::EXIT, &exit) {
            Ok(()) => return Ok(()),
            Err(error) if tries >= 60 || !spool.exists() => return Err(error),
            Err(_) => tries += 1,
        }
        sleep(Duration::from_secs(1)).await;
    }
}
