//! The process executor and its shim: real processes, the benchlet binary as the shim.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use benchlet::executor::{Executor, ExecutorError, ProcessExecutor, STDERR, STDOUT};
use benchlet::run::step::{ContainerSpec, Exit, ExitCause, Role, TaskId, TaskSpec, TaskState};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use uuid::Uuid;

use crate::polling::until;

const SHIM: &str = env!("CARGO_BIN_EXE_benchlet");

struct Bench {
    executor: ProcessExecutor,
    root: tempfile::TempDir,
}

impl Bench {
    fn open() -> Self {
        Self::with_limit(1 << 20)
    }

    fn with_limit(bytes: u64) -> Self {
        let root = tempfile::tempdir().unwrap();
        let executor = ProcessExecutor::new("here", SHIM, root.path()).with_output_limit(bytes);
        Self { executor, root }
    }

    fn task(&self, argv: &[&str]) -> TaskSpec {
        TaskSpec {
            id: TaskId { run: Uuid::new_v4(), attempt: 1, step: 0, role: Role::Bench },
            argv: argv.iter().map(|argument| (*argument).to_owned()).collect(),
            env: [("GREETING".to_owned(), "hello world".to_owned())].into(),
            container: None,
            deadline_ms: 60_000,
            labels: Default::default(),
            inputs: Default::default(),
        }
    }

    fn shell(&self, script: &str) -> TaskSpec {
        self.task(&["sh", "-c", script])
    }

    fn spool(&self, task: &TaskSpec) -> PathBuf {
        let spool = self.root.path().join(task.id.run.to_string()).join(task.id.folder());
        std::fs::create_dir_all(&spool).unwrap();
        spool
    }

    async fn start(&self, task: &TaskSpec) {
        self.executor.start(task, &self.spool(task)).await.unwrap();
    }

    async fn state(&self, task: &TaskSpec) -> TaskState {
        self.executor.observe(&task.id, &self.spool(task)).await
    }

    async fn exit(&self, task: &TaskSpec) -> Exit {
        until("the process's exit", || async {
            match self.state(task).await {
                TaskState::Exited(exit) => Some(exit),
                _ => None,
            }
        })
        .await
    }

    async fn stop(&self, task: &TaskSpec) {
        self.executor.stop(&task.id, &self.spool(task)).await.unwrap();
    }

    async fn remove(&self, task: &TaskSpec) {
        self.executor.remove(&task.id, &self.spool(task)).await.unwrap();
    }

    fn output(&self, task: &TaskSpec, name: &str) -> String {
        std::fs::read_to_string(self.spool(task).join(name)).unwrap_or_default()
    }

    /// The pids that a script wrote to its standard output, once there are as many.
    async fn pids(&self, task: &TaskSpec, count: usize) -> Vec<Pid> {
        until("the pids", || async {
            let text = self.output(task, STDOUT);
            let pids: Vec<Pid> =
                text.split_whitespace().filter_map(|word| Pid::from_raw(word.parse().ok()?)).collect();
            (pids.len() == count && text.ends_with('\n')).then_some(pids)
        })
        .await
    }

    fn shim(&self, task: &TaskSpec) -> Pid {
        let record = std::fs::read(self.spool(task).join("shim.json")).unwrap();
        let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
        Pid::from_raw(record["identity"]["pid"].as_i64().unwrap() as i32).unwrap()
    }
}

impl Drop for Bench {
    /// Whatever a failed test left running under this root.
    fn drop(&mut self) {
        for run in std::fs::read_dir(self.root.path()).unwrap().flatten() {
            for task in std::fs::read_dir(run.path()).unwrap().flatten() {
                let Ok(record) = std::fs::read(task.path().join("shim.json")) else { continue };
                let exited = task.path().join("exit.json").exists();
                let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
                if let (false, Some(pid)) = (exited, record["identity"]["pid"].as_i64())
                    && let Some(pid) = Pid::from_raw(pid as i32)
                {
                    let _ = kill_process(pid, Signal::QUIT);
                }
            }
        }
    }
}

async fn gone(pids: &[Pid]) {
    until("the processes are gone", || async {
        pids.iter().all(|pid| test_kill_process(*pid).is_err() || is_zombie(*pid)).then_some(())
    })
    .await;
}

/// A process that ended and whose parent, which is not ours, does not look.
fn is_zombie(pid: Pid) -> bool {
    std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))
        .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
}

#[tokio::test]
async fn a_task_runs_with_its_arguments_environment_and_both_streams_apart() {
    let bench = Bench::open();
    let task =
        bench.task(&["sh", "-c", "printf '%s|%s' \"$GREETING\" \"$1\"; echo oops >&2; exit 3", "sh", "a b"]);
    assert_eq!(bench.state(&task).await, TaskState::Absent);
    bench.start(&task).await;
    bench.executor.follow(&task.id, &bench.spool(&task)).await.unwrap();
    bench.executor.drain(&task.id, &bench.spool(&task)).await.unwrap();
    let exit = bench.exit(&task).await;
    assert_eq!(exit.cause, ExitCause::Code(3));
    assert!(exit.finished_at.unwrap().ends_with('Z'));
    assert_eq!(bench.output(&task, STDOUT), "hello world|a b");
    assert_eq!(bench.output(&task, STDERR), "oops\n");
}

#[tokio::test]
async fn started_twice_at_once_and_again_later_it_runs_once() {
    let bench = Bench::open();
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    let task = bench.shell(&format!("echo once >> {}", mark.display()));
    let spool = bench.spool(&task);
    let (first, second) =
        tokio::join!(bench.executor.start(&task, &spool), bench.executor.start(&task, &spool));
    first.unwrap();
    second.unwrap();
    assert_eq!(bench.exit(&task).await.cause, ExitCause::Code(0));
    bench.start(&task).await;
    assert_eq!(bench.exit(&task).await.cause, ExitCause::Code(0));
    assert_eq!(std::fs::read_to_string(&mark).unwrap(), "once\n");
}

#[tokio::test]
async fn a_program_that_is_not_there_leaves_the_kernels_words() {
    let bench = Bench::open();
    let task = bench.task(&["/nowhere/llama-bench"]);
    bench.start(&task).await;
    let ExitCause::NotStarted(words) = bench.exit(&task).await.cause else { panic!() };
    assert!(words.contains("/nowhere/llama-bench") && words.contains("No such file"), "{words}");
}

#[tokio::test]
async fn a_shim_that_is_not_benchlet_is_an_error_with_a_hint() {
    let root = tempfile::tempdir().unwrap();
    let task = Bench::open().shell("true");
    let silent = ProcessExecutor::new("here", "/bin/true", root.path());
    let error = silent.start(&task, root.path()).await.unwrap_err();
    assert!(matches!(&error, ExecutorError::Refused(words) if words.contains("/bin/true")), "{error:?}");
    assert_eq!(silent.observe(&task.id, root.path()).await, TaskState::Created { error: None });
    let missing = ProcessExecutor::new("here", "/nowhere/benchlet", root.path());
    let error = missing.start(&task, root.path()).await.unwrap_err();
    assert!(matches!(&error, ExecutorError::Io { path, .. } if path == "/nowhere/benchlet"), "{error:?}");
}

#[tokio::test]
async fn a_task_that_needs_a_container_is_refused() {
    let bench = Bench::open();
    let task = TaskSpec { container: Some(ContainerSpec::default()), ..bench.shell("true") };
    let error = bench.executor.start(&task, &bench.spool(&task)).await.unwrap_err();
    assert!(error.to_string().contains("executor: docker"), "{error}");
}

#[tokio::test]
async fn a_killed_shim_takes_its_program_along_and_the_task_is_lost() {
    let bench = Bench::open();
    let task = bench.shell("setsid sleep 60 & echo $$ $!; exec sleep 60");
    bench.start(&task).await;
    let pids = bench.pids(&task, 2).await;
    assert_eq!(bench.state(&task).await, TaskState::Running);
    kill_process(bench.shim(&task), Signal::KILL).unwrap();
    gone(&pids[..1]).await;
    let lost = until("it is seen as lost", || async {
        match bench.state(&task).await {
            TaskState::Running => None,
            other => Some(other),
        }
    })
    .await;
    assert!(matches!(&lost, TaskState::Exited(Exit { cause: ExitCause::Lost, .. })), "{lost:?}");
    // What detached itself had nobody left to end it; it is known by its environment.
    bench.stop(&task).await;
    gone(&pids).await;
    // And a lost task is not started once more.
    bench.start(&task).await;
    assert!(matches!(bench.state(&task).await, TaskState::Exited(Exit { cause: ExitCause::Lost, .. })));
    bench.remove(&task).await;
    assert_eq!(bench.state(&task).await, TaskState::Absent);
}

#[tokio::test]
async fn the_deadline_ends_a_program_and_its_descendants() {
    let bench = Bench::open();
    let mut task = bench.shell("sleep 60 & setsid sleep 60 & echo $$; wait");
    task.deadline_ms = 300;
    bench.start(&task).await;
    let pids = bench.pids(&task, 1).await;
    assert_eq!(bench.exit(&task).await.cause, ExitCause::DeadlineExceeded);
    gone(&pids).await;
}

#[tokio::test]
async fn no_descendant_outlives_the_task() {
    let bench = Bench::open();
    let script = "sleep 60 & echo $!; setsid sh -c 'sleep 60 & echo $!; wait' & echo $!; sleep 0.3; exit 5";
    let task = bench.shell(script);
    bench.start(&task).await;
    let pids = bench.pids(&task, 3).await;
    assert_eq!(bench.exit(&task).await.cause, ExitCause::Code(5));
    gone(&pids).await;
}

#[tokio::test]
async fn our_stop_is_polite_first_and_sure_then() {
    let bench = Bench::open();
    let willing = bench.shell("echo $$; exec sleep 60");
    let handler = bench.shell("trap 'echo bye >&2; exit 9' TERM; echo $$; while :; do sleep 0.05; done");
    let deaf = bench.shell("trap '' TERM; echo $$; while :; do sleep 0.05; done");
    for task in [&willing, &handler, &deaf] {
        bench.start(task).await;
        bench.pids(task, 1).await;
    }
    let began = Instant::now();
    for task in [&willing, &handler, &deaf] {
        bench.stop(task).await;
    }
    assert_eq!(bench.exit(&willing).await.cause, ExitCause::Code(143));
    assert_eq!(bench.exit(&handler).await.cause, ExitCause::Code(9));
    assert!(bench.output(&handler, STDERR).ends_with("bye\n"));
    assert!(began.elapsed() < Duration::from_secs(4));
    assert_eq!(bench.exit(&deaf).await.cause, ExitCause::Code(137));
    // Stopping what ended is no error and signals nobody.
    bench.stop(&deaf).await;
}

#[tokio::test]
async fn a_crash_shows_as_a_shell_would_show_it() {
    let bench = Bench::open();
    let task = bench.shell("kill -SEGV $$");
    bench.start(&task).await;
    assert_eq!(bench.exit(&task).await.cause, ExitCause::Code(139));
}

#[tokio::test]
async fn a_controller_that_comes_back_sees_what_runs_and_what_ended() {
    let bench = Bench::open();
    let (running, ended) = (bench.shell("exec sleep 60"), bench.shell("exit 6"));
    bench.start(&running).await;
    bench.start(&ended).await;
    bench.exit(&ended).await;
    let back = ProcessExecutor::new("here", SHIM, bench.root.path());
    let mut found = back.list().await.unwrap();
    found.sort_by_key(|found| found.id != running.id);
    assert_eq!(found.len(), 2);
    assert_eq!((&found[0].id, &found[0].state), (&running.id, &TaskState::Running));
    assert!(matches!(&found[1].state, TaskState::Exited(Exit { cause: ExitCause::Code(6), .. })));
    back.stop(&running.id, &bench.spool(&running)).await.unwrap();
    assert_eq!(bench.exit(&running).await.cause, ExitCause::Code(143));
    let stranger = ProcessExecutor::new("elsewhere", SHIM, bench.root.path());
    assert!(stranger.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn output_over_the_limit_ends_the_task_and_is_cut_there() {
    let bench = Bench::with_limit(50_000);
    let (endless, quick) = (bench.task(&["yes"]), bench.shell("yes | head -c 50001 >&2"));
    for task in [&endless, &quick] {
        bench.start(task).await;
        assert_eq!(bench.exit(task).await.cause, ExitCause::OutputTooLarge);
    }
    assert_eq!(bench.output(&endless, STDOUT).len(), 50_000);
    assert_eq!(bench.output(&quick, STDERR).len(), 50_000);
}

#[tokio::test]
async fn removal_ends_what_runs_keeps_the_output_and_may_be_repeated() {
    let bench = Bench::open();
    let task = bench.shell("trap '' TERM; echo $$; while :; do sleep 0.05; done");
    bench.start(&task).await;
    let pids = bench.pids(&task, 1).await;
    let began = Instant::now();
    bench.remove(&task).await;
    assert!(began.elapsed() < Duration::from_secs(4), "removal does not wait out the grace");
    gone(&pids).await;
    bench.remove(&task).await;
    assert_eq!(bench.state(&task).await, TaskState::Absent);
    let mut left: Vec<_> =
        std::fs::read_dir(bench.spool(&task)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [STDERR, STDOUT]);
    assert!(bench.executor.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_recycled_pid_is_never_signalled() {
    let bench = Bench::open();
    let task = bench.shell("true");
    let mut stranger = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let spool = bench.spool(&task);
    let record = format!(r#"{{"identity":{{"pid":{},"start_time":1,"boot_id":"another"}}}}"#, stranger.id());
    std::fs::write(spool.join("shim.json"), record).unwrap();
    bench.stop(&task).await;
    bench.remove(&task).await;
    assert!(stranger.try_wait().unwrap().is_none(), "it still runs");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}
