//! The Docker executor against the daemon of this machine, with the image that has llama.cpp's tools.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use benchlet::executor::{DockerExecutor, Executor, ExecutorError, STDERR, STDOUT};
use benchlet::run::step::{
    ContainerSpec, Exit, ExitCause, GpuRequest, GpuSelection, Mount, MountSource, Role, TaskId, TaskSpec,
    TaskState,
};
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptions, EventsOptions, KillContainerOptions, RemoveContainerOptions,
    StartContainerOptions,
};
use futures_util::StreamExt as _;
use uuid::Uuid;

use crate::daemon;
use crate::polling::until;

/// An executor under an instance of its own, which takes its containers along when it goes.
struct Bench {
    executor: DockerExecutor,
    instance: String,
    spool: tempfile::TempDir,
}

impl Bench {
    /// `None` where this run of the tests does without Docker.
    async fn open() -> Option<Self> {
        if daemon::is_left_out() {
            return None;
        }
        let instance = format!("test-{}", Uuid::new_v4().simple());
        let executor = DockerExecutor::connect(instance.clone()).await.unwrap();
        let image = daemon::image();
        assert!(executor.image(&image).await.unwrap().is_some(), "the image {image} is not loaded");
        Some(Self { executor, instance, spool: tempfile::tempdir().unwrap() })
    }

    fn spool(&self) -> &Path {
        self.spool.path()
    }

    fn task(&self, argv: &[&str]) -> TaskSpec {
        TaskSpec {
            id: TaskId { run: Uuid::new_v4(), attempt: 1, step: 0, role: Role::Bench },
            argv: argv.iter().map(|argument| (*argument).to_owned()).collect(),
            env: [("GREETING".to_owned(), "hello world".to_owned())].into(),
            container: Some(ContainerSpec { image: daemon::image(), ..Default::default() }),
            deadline_ms: 60_000,
            labels: [("benchlet.request".to_owned(), "a-request".to_owned())].into(),
            inputs: Default::default(),
        }
    }

    fn shell(&self, script: &str) -> TaskSpec {
        self.task(&["sh", "-c", script])
    }

    async fn start(&self, task: &TaskSpec) {
        self.executor.start(task, self.spool()).await.unwrap();
    }

    async fn state(&self, task: &TaskSpec) -> TaskState {
        self.executor.observe(&task.id, self.spool()).await
    }

    async fn exit(&self, task: &TaskSpec) -> Exit {
        until("the container's exit", || async {
            match self.state(task).await {
                TaskState::Exited(exit) => Some(exit),
                _ => None,
            }
        })
        .await
    }

    async fn run(&self, task: &TaskSpec) -> Exit {
        self.start(task).await;
        let exit = self.exit(task).await;
        self.executor.drain(&task.id, self.spool()).await.unwrap();
        exit
    }

    fn stdout(&self) -> String {
        read(self.spool().join(STDOUT))
    }

    fn stderr(&self) -> String {
        read(self.spool().join(STDERR))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let (instance, spool) = (self.instance.clone(), self.spool.path().to_owned());
        // A runtime of its own: this runs while the test's own may be unwinding.
        let cleaner = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let executor = DockerExecutor::connect(instance).await.unwrap();
                for found in executor.list().await.unwrap() {
                    executor.remove(&found.id, &spool).await.unwrap();
                }
            });
        });
        if cleaner.join().is_err() {
            eprintln!("containers of {} may be left", self.instance);
        }
    }
}

fn read(path: PathBuf) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn raw() -> bollard::Docker {
    bollard::Docker::connect_with_defaults().unwrap()
}

#[tokio::test]
async fn a_task_runs_with_its_arguments_environment_and_both_streams_apart() {
    let Some(bench) = Bench::open().await else { return };
    let task =
        bench.task(&["sh", "-c", "printf '%s|%s' \"$GREETING\" \"$1\"; echo oops >&2; exit 3", "sh", "a b"]);
    let exit = bench.run(&task).await;
    assert_eq!(exit.cause, ExitCause::Code(3));
    assert!(!exit.oom_killed);
    assert!(exit.finished_at.unwrap().ends_with('Z'));
    assert_eq!(bench.stdout(), "hello world|a b");
    assert_eq!(bench.stderr(), "oops\n");
}

#[tokio::test]
async fn llama_bench_itself_runs_hardened() {
    let Some(bench) = Bench::open().await else { return };
    let exit = bench.run(&bench.task(&["llama-bench", "--help"])).await;
    assert_eq!(exit.cause, ExitCause::Code(0), "{}", bench.stderr());
    assert!(bench.stdout().contains("--n-prompt"), "{}", bench.stdout());
}

#[tokio::test]
async fn started_again_after_a_lost_reply_it_is_the_same_container() {
    let Some(bench) = Bench::open().await else { return };
    let task = bench.shell("echo once; sleep 60");
    bench.start(&task).await;
    let first = raw().inspect_container(&task.id.name(), None).await.unwrap();
    bench.start(&task).await;
    let second = raw().inspect_container(&task.id.name(), None).await.unwrap();
    assert_eq!(first.id, second.id);
    assert_eq!(bench.state(&task).await, TaskState::Running);
    let listed = bench.executor.list().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0].id, &listed[0].state), (&task.id, &TaskState::Running));
}

#[tokio::test]
async fn a_container_that_was_made_and_never_started_is_started() {
    let Some(bench) = Bench::open().await else { return };
    let task = bench.shell("exit 4");
    let labels = HashMap::from([
        ("benchlet.instance".to_owned(), bench.instance.clone()),
        ("benchlet.request".to_owned(), "a-request".to_owned()),
        ("benchlet.run".to_owned(), task.id.run.to_string()),
        ("benchlet.attempt".to_owned(), "1".to_owned()),
        ("benchlet.step".to_owned(), "0".to_owned()),
        ("benchlet.role".to_owned(), "bench".to_owned()),
    ]);
    let body = ContainerCreateBody {
        image: Some(daemon::image()),
        cmd: Some(vec!["sh".into(), "-c".into(), "exit 4".into()]),
        labels: Some(labels),
        host_config: Some(HostConfig { network_mode: Some("none".into()), ..Default::default() }),
        ..Default::default()
    };
    let options = CreateContainerOptions { name: Some(task.id.name()), ..Default::default() };
    raw().create_container(Some(options), body).await.unwrap();
    assert_eq!(bench.state(&task).await, TaskState::Created { error: None });
    bench.start(&task).await;
    assert_eq!(bench.exit(&task).await.cause, ExitCause::Code(4));
    // Its end is a verdict: a start that comes once more does not run it again.
    bench.start(&task).await;
    assert_eq!(bench.exit(&task).await.cause, ExitCause::Code(4));
}

#[tokio::test]
async fn a_foreign_container_of_that_name_is_an_error_and_stays() {
    let Some(bench) = Bench::open().await else { return };
    let Some(other) = Bench::open().await else { return };
    let task = bench.shell("sleep 60");
    bench.start(&task).await;
    let error = other.executor.start(&task, other.spool()).await.unwrap_err().to_string();
    assert!(error.contains(&task.id.name()) && error.contains("benchlet.instance"), "{error}");
    assert_eq!(other.state(&task).await, TaskState::Absent);
    other.executor.stop(&task.id, other.spool()).await.unwrap();
    other.executor.remove(&task.id, other.spool()).await.unwrap();
    assert!(other.executor.list().await.unwrap().is_empty());
    assert_eq!(bench.state(&task).await, TaskState::Running);
}

#[tokio::test]
async fn an_exit_within_milliseconds_keeps_its_log_and_code() {
    let Some(bench) = Bench::open().await else { return };
    let task = bench.shell("echo quick; exit 7");
    bench.start(&task).await;
    bench.executor.follow(&task.id, bench.spool()).await.unwrap();
    assert_eq!(bench.exit(&task).await.cause, ExitCause::Code(7));
    bench.executor.drain(&task.id, bench.spool()).await.unwrap();
    assert_eq!(bench.stdout(), "quick\n");
}

#[tokio::test]
async fn a_reattached_log_goes_on_where_the_spool_ends() {
    let Some(bench) = Bench::open().await else { return };
    let task = bench.shell("seq 1 1000; echo half >&2; sleep 1; seq 1001 2000; echo whole >&2");
    bench.start(&task).await;
    {
        let follow = bench.executor.follow(&task.id, bench.spool());
        let half = until("the first half", || async { (bench.stderr() == "half\n").then_some(()) });
        tokio::select! {
            ended = follow => panic!("it ended before it was cut off: {ended:?}"),
            () = half => {}
        }
    }
    bench.executor.follow(&task.id, bench.spool()).await.unwrap();
    assert_eq!(bench.exit(&task).await.cause, ExitCause::Code(0));
    bench.executor.drain(&task.id, bench.spool()).await.unwrap();
    bench.executor.drain(&task.id, bench.spool()).await.unwrap();
    let expected: String = (1..=2000).map(|number| format!("{number}\n")).collect();
    assert_eq!(bench.stdout(), expected);
    assert_eq!(bench.stderr(), "half\nwhole\n");
}

#[tokio::test]
async fn a_container_removed_behind_our_back_is_absent() {
    let Some(bench) = Bench::open().await else { return };
    let task = bench.shell("echo there; sleep 60");
    assert_eq!(bench.state(&task).await, TaskState::Absent);
    bench.start(&task).await;
    let force = RemoveContainerOptions { force: true, ..Default::default() };
    raw().remove_container(&task.id.name(), Some(force)).await.unwrap();
    assert_eq!(bench.state(&task).await, TaskState::Absent);
    bench.executor.follow(&task.id, bench.spool()).await.unwrap();
    bench.executor.drain(&task.id, bench.spool()).await.unwrap();
    bench.executor.stop(&task.id, bench.spool()).await.unwrap();
    bench.executor.remove(&task.id, bench.spool()).await.unwrap();
}

#[tokio::test]
async fn out_of_memory_our_stop_and_a_kill_are_told_apart() {
    let Some(bench) = Bench::open().await else { return };
    // Docker hears of the memory by another way than of the exit, and may miss it where both come at once, or
    // where it comes before Docker listens: so it runs out of it again and again.
    let mut greedy =
        bench.shell("trap 'exit ${code-$?}' TERM; while :; do tail /dev/zero; code=$?; sleep 0.2; done");
    greedy.container.as_mut().unwrap().memory = Some(24 << 20);
    let (stopped, killed) = (bench.shell("sleep 60"), bench.shell("sleep 60"));
    for task in [&greedy, &stopped, &killed] {
        bench.start(task).await;
    }
    let began = Instant::now();
    bench.executor.stop(&stopped.id, bench.spool()).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(4), "with an init, SIGTERM is enough");
    assert_eq!(bench.exit(&stopped).await.cause, ExitCause::Code(143));
    raw().kill_container(&killed.id.name(), None).await.unwrap();
    let exit = bench.exit(&killed).await;
    assert_eq!((exit.cause, exit.oom_killed), (ExitCause::Code(137), false));
    let ran_out = EventsOptions {
        since: Some("0".to_owned()),
        filters: Some(HashMap::from([
            ("container".to_owned(), vec![greedy.id.name()]),
            ("event".to_owned(), vec!["oom".to_owned()]),
        ])),
        ..EventsOptions::default()
    };
    let docker = raw();
    let mut events = docker.events(Some(ran_out));
    let heard = tokio::time::timeout(Duration::from_secs(60), events.next()).await;
    heard.expect("in time").expect("Docker hears that memory ran out").unwrap();
    let term = KillContainerOptions { signal: "SIGTERM".to_owned() };
    raw().kill_container(&greedy.id.name(), Some(term)).await.unwrap();
    let exit = bench.exit(&greedy).await;
    assert_eq!((exit.cause, exit.oom_killed), (ExitCause::Code(137), true));
}

#[tokio::test]
async fn a_program_that_ignores_sigterm_is_killed() {
    let Some(bench) = Bench::open().await else { return };
    let task = bench.shell("trap '' TERM; echo ready; while :; do sleep 0.2; done");
    bench.start(&task).await;
    until("the trap", || async {
        bench.executor.drain(&task.id, bench.spool()).await.unwrap();
        (bench.stdout() == "ready\n").then_some(())
    })
    .await;
    bench.executor.stop(&task.id, bench.spool()).await.unwrap();
    assert_eq!(bench.exit(&task).await.cause, ExitCause::Code(137));
}

#[tokio::test]
async fn a_program_that_the_image_lacks_leaves_the_daemons_words() {
    let Some(bench) = Bench::open().await else { return };
    let task = bench.task(&["no-such-bench"]);
    let exit = bench.run(&task).await;
    let ExitCause::NotStarted(words) = &exit.cause else { panic!("{exit:?}") };
    assert!(words.contains("no-such-bench") && words.contains("No such file"), "{words}");
    // Not tried again behind the decision's back.
    bench.start(&task).await;
    assert_eq!(bench.state(&task).await, TaskState::Exited(exit));
    // A shell that misses a program was itself started.
    let shell = bench.shell("no-such-bench");
    bench.start(&shell).await;
    assert_eq!(bench.exit(&shell).await.cause, ExitCause::Code(127));
}

#[tokio::test]
async fn a_missing_mount_source_is_an_error_that_names_it_and_is_not_created() {
    let Some(bench) = Bench::open().await else { return };
    let missing = bench.spool().join("models").join("missing.gguf");
    let mut task = bench.shell("true");
    task.container.as_mut().unwrap().mounts = vec![Mount {
        source: MountSource::Bind(missing.clone()),
        target: "/models/m.gguf".into(),
        read_only: true,
    }];
    let error = bench.executor.start(&task, bench.spool()).await.unwrap_err();
    let ExecutorError::Refused(words) = error else { panic!("{error:?}") };
    assert!(words.contains(missing.to_str().unwrap()), "{words}");
    assert!(!missing.exists() && !missing.parent().unwrap().exists());
    assert_eq!(bench.state(&task).await, TaskState::Absent);
}

#[tokio::test]
async fn gpus_where_there_are_none_leave_the_daemons_words() {
    let Some(bench) = Bench::open().await else { return };
    let mut task = bench.shell("true");
    task.container.as_mut().unwrap().gpus = Some(GpuRequest {
        // A driver that no machine has, so that the test says the same on one with a GPU.
        driver: "no-such-driver".into(),
        which: GpuSelection::All,
        capabilities: vec!["gpu".into()],
    });
    bench.start(&task).await;
    let TaskState::Created { error: Some(words) } = bench.state(&task).await else {
        panic!("{:?}", bench.state(&task).await)
    };
    assert!(words.contains("could not select device driver"), "{words}");
}

#[tokio::test]
async fn a_missing_image_is_told_apart() {
    let Some(bench) = Bench::open().await else { return };
    let mut task = bench.shell("true");
    task.container.as_mut().unwrap().image = "benchlet-test/no-such-image:none".into();
    let error = bench.executor.start(&task, bench.spool()).await.unwrap_err();
    assert!(
        matches!(&error, ExecutorError::ImageMissing(words) if words.contains("no-such-image")),
        "{error:?}"
    );
    assert_eq!(bench.executor.image("benchlet-test/no-such-image:none").await.unwrap(), None);
    let image = bench.executor.image(&daemon::image()).await.unwrap().unwrap();
    assert!(image.id.starts_with("sha256:") && image.size > 0);
}

#[tokio::test]
async fn a_pull_that_fails_keeps_the_daemons_words() {
    let Some(bench) = Bench::open().await else { return };
    // Nothing listens on the discard port, so this fails at once wherever it runs.
    let error = bench.executor.pull("localhost:9/benchlet-test/none:1", |_| {}).await.unwrap_err();
    let ExecutorError::Refused(words) = error else { panic!("{error:?}") };
    assert!(words.contains("localhost:9") && words.contains("the daemon says"), "{words}");
}

#[tokio::test]
async fn a_line_of_many_times_16_kib_stays_whole() {
    let Some(bench) = Bench::open().await else { return };
    let task = bench.shell("head -c 100001 /dev/zero | tr '\\0' x; printf '\\nend'");
    bench.start(&task).await;
    bench.executor.follow(&task.id, bench.spool()).await.unwrap();
    bench.executor.drain(&task.id, bench.spool()).await.unwrap();
    assert_eq!(bench.stdout(), format!("{}\nend", "x".repeat(100_001)));
}

#[tokio::test]
async fn twenty_megabytes_arrive_complete() {
    let Some(bench) = Bench::open().await else { return };
    let line = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde";
    let task = bench.shell(&format!("yes {line} | head -c 20000000; echo; seq 1 5 >&2"));
    bench.start(&task).await;
    bench.executor.follow(&task.id, bench.spool()).await.unwrap();
    assert_eq!(bench.exit(&task).await.cause, ExitCause::Code(0));
    bench.executor.drain(&task.id, bench.spool()).await.unwrap();
    let stdout = bench.stdout();
    assert_eq!(stdout.len(), 20_000_001);
    assert!(stdout.lines().take(312_500).all(|found| found == line));
    assert_eq!(bench.stderr(), "1\n2\n3\n4\n5\n");
}

#[tokio::test]
async fn output_over_the_limit_ends_the_task_and_is_cut_there() {
    let Some(mut bench) = Bench::open().await else { return };
    let limited = DockerExecutor::connect(bench.instance.clone()).await.unwrap().with_output_limit(100_000);
    bench.executor = limited;
    let endless = bench.shell("yes");
    bench.start(&endless).await;
    bench.executor.follow(&endless.id, bench.spool()).await.unwrap();
    assert_eq!(bench.exit(&endless).await.cause, ExitCause::OutputTooLarge);
    assert_eq!(bench.stdout().len(), 100_000);
}

#[tokio::test]
async fn output_over_the_limit_is_noticed_after_the_end_too() {
    let Some(mut bench) = Bench::open().await else { return };
    let limited = DockerExecutor::connect(bench.instance.clone()).await.unwrap().with_output_limit(100_000);
    bench.executor = limited;
    let task = bench.shell("yes | head -c 100001");
    bench.start(&task).await;
    assert_eq!(bench.exit(&task).await.cause, ExitCause::Code(0));
    bench.executor.drain(&task.id, bench.spool()).await.unwrap();
    assert_eq!(bench.exit(&task).await.cause, ExitCause::OutputTooLarge);
    assert_eq!(bench.stdout().len(), 100_000);
}

#[tokio::test]
async fn the_hardening_holds_inside() {
    let Some(bench) = Bench::open().await else { return };
    let script = "touch /root-is-writable 2>/dev/null && echo writable-root
        touch /tmp/ok && echo writable-tmp
        cut -d: -f1 /proc/net/dev | tail -n +3 | tr -d ' ' | while read name; do
            test \"$name\" = lo || { read flags < /sys/class/net/$name/flags; test $((flags & 1)) = 0 || echo up-$name; }
        done
        while read name value; do case $name in CapEff:|CapBnd:|NoNewPrivs:) echo $name $value;; esac; done \
            < /proc/self/status
        cat /proc/1/comm";
    let exit = bench.run(&bench.shell(script)).await;
    assert_eq!(exit.cause, ExitCause::Code(0), "{}", bench.stderr());
    let zero = "0000000000000000";
    assert_eq!(
        bench.stdout(),
        format!("writable-tmp\nCapEff: {zero}\nCapBnd: {zero}\nNoNewPrivs: 1\ndocker-init\n")
    );
}

#[tokio::test]
async fn mounts_users_limits_and_memory_files_are_the_containers() {
    let Some(bench) = Bench::open().await else { return };
    let model = bench.spool().join("model.gguf");
    std::fs::write(&model, "weights").unwrap();
    let mut task = bench.shell(
        "cat /models/m.gguf; echo; id -u; id -g; df -k /dev/shm | tail -n 1 | while read a size b; do echo $size; done
         echo x 2>/dev/null > /models/m.gguf || echo read-only; ulimit -n",
    );
    let container = task.container.as_mut().unwrap();
    container.mounts = vec![Mount {
        source: MountSource::Bind(model.clone()),
        target: "/models/m.gguf".into(),
        read_only: true,
    }];
    container.user = Some("1234:4321".into());
    container.shm_size = Some(8 << 20);
    container.ulimits = vec![benchlet::run::step::Ulimit { name: "nofile".into(), soft: 777, hard: 888 }];
    // The test's folder is its owner's alone.
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(bench.spool(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let exit = bench.run(&task).await;
    assert_eq!(exit.cause, ExitCause::Code(0), "{}", bench.stderr());
    assert_eq!(bench.stdout(), "weights\n1234\n4321\n8192\nread-only\n777\n");
}

#[tokio::test]
async fn removal_takes_a_running_container_and_may_be_repeated() {
    let Some(bench) = Bench::open().await else { return };
    let task = bench.shell("sleep 60");
    bench.start(&task).await;
    let (first, second) = tokio::join!(
        bench.executor.remove(&task.id, bench.spool()),
        bench.executor.remove(&task.id, bench.spool()),
    );
    first.unwrap();
    second.unwrap();
    until("it is gone", || async { (bench.state(&task).await == TaskState::Absent).then_some(()) }).await;
    bench.executor.remove(&task.id, bench.spool()).await.unwrap();
}

#[tokio::test]
async fn a_daemon_that_does_not_answer_is_not_a_dead_run() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let address = format!("unix://{}", socket.display());
    let error = DockerExecutor::connect_to(&address, "x").await.err().unwrap();
    assert!(
        matches!(&error, ExecutorError::Unreachable(words) if words.contains("docker.sock")),
        "{error:?}"
    );
    // Accepts in the kernel's queue and never says a word, as a daemon that hangs does.
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let began = Instant::now();
    let error = DockerExecutor::connect_to(&address, "x").await.err().unwrap();
    assert!(matches!(&error, ExecutorError::Unreachable(_)), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_daemon_that_goes_away_leaves_its_tasks_unknown() {
    let daemon = ScriptedDaemon::answering(|path| {
        (path == "/version").then(|| {
            Answer::json(r#"{"ApiVersion":"1.41","Version":"4","Components":[{"Name":"Podman Engine","Version":"4"}]}"#)
        })
    });
    let executor = DockerExecutor::connect_to(&daemon.address(), "x").await.unwrap();
    assert!(executor.is_podman());
    let spool = daemon.leave();
    let id = TaskId { run: Uuid::new_v4(), attempt: 1, step: 0, role: Role::Bench };
    let state = executor.observe(&id, spool.path()).await;
    assert!(matches!(&state, TaskState::Unknown { reason } if !reason.is_empty()), "{state:?}");
    assert!(matches!(executor.list().await, Err(ExecutorError::Unreachable(_))));
    assert!(matches!(executor.ping().await, Err(ExecutorError::Unreachable(_))));
    assert!(matches!(executor.stop(&id, spool.path()).await, Err(ExecutorError::Unreachable(_))));
    assert!(matches!(executor.follow(&id, spool.path()).await, Err(ExecutorError::Unreachable(_))));
}

#[tokio::test]
async fn a_daemon_that_is_too_old_is_told_what_is_needed() {
    let daemon =
        ScriptedDaemon::answering(|_| Some(Answer::json(r#"{"ApiVersion":"1.39","Version":"18.09"}"#)));
    let error = DockerExecutor::connect_to(&daemon.address(), "x").await.err().unwrap();
    assert!(error.to_string().contains("1.41") && error.to_string().contains("18.09"), "{error}");
    let error = DockerExecutor::connect_to("ssh://somewhere", "x").await.err().unwrap();
    assert!(error.to_string().contains("ssh://somewhere"), "{error}");
}

#[tokio::test]
async fn a_log_that_never_closes_holds_nobody_up() {
    let id = TaskId { run: Uuid::new_v4(), attempt: 1, step: 0, role: Role::Bench };
    let labels = format!(
        r#"{{"benchlet.instance":"x","benchlet.run":"{}","benchlet.attempt":"1","benchlet.step":"0","benchlet.role":"bench"}}"#,
        id.run
    );
    let looks = std::sync::atomic::AtomicUsize::new(0);
    let daemon = ScriptedDaemon::answering(move |path| {
        if path == "/version" {
            Some(Answer::json(r#"{"ApiVersion":"1.41"}"#))
        } else if path.ends_with("/wait") {
            Some(Answer::json(r#"{"StatusCode":0}"#))
        } else if path.ends_with("/logs") {
            // One frame of stdout.
            Some(Answer { body: b"\x01\0\0\0\0\0\0\x03hi\n".to_vec(), closes: false })
        } else {
            // It runs when it is first looked at, and has ended after that.
            let first = looks.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
            let status = if first { "running" } else { "exited" };
            Some(Answer::json(&format!(
                r#"{{"State":{{"Status":"{status}","ExitCode":0}},"Config":{{"Labels":{labels}}}}}"#
            )))
        }
    });
    let executor = DockerExecutor::connect_to(&daemon.address(), "x").await.unwrap();
    let spool = tempfile::tempdir().unwrap();
    let follow = executor.follow(&id, spool.path());
    tokio::time::timeout(Duration::from_secs(30), follow).await.expect("it returns").unwrap();
    assert_eq!(read(spool.path().join(STDOUT)), "hi\n");
}

/// What a scripted daemon says to a request.
struct Answer {
    body: Vec<u8>,
    /// Whether the answer ends; else the connection stays open and silent.
    closes: bool,
}

impl Answer {
    fn json(text: &str) -> Self {
        Self { body: text.as_bytes().to_vec(), closes: true }
    }
}

/// A daemon of which only the answers matter, on a socket of its own.
struct ScriptedDaemon {
    folder: tempfile::TempDir,
    serving: tokio::task::JoinHandle<()>,
}

impl ScriptedDaemon {
    /// `None` closes the connection without a word.
    fn answering(answer: impl Fn(&str) -> Option<Answer> + Send + Sync + 'static) -> Self {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let folder = tempfile::tempdir().unwrap();
        let listener = tokio::net::UnixListener::bind(folder.path().join("docker.sock")).unwrap();
        let serving = tokio::spawn(async move {
            let mut silent = Vec::new();
            while let Ok((mut connection, _)) = listener.accept().await {
                let mut request = vec![0; 4096];
                let length = connection.read(&mut request).await.unwrap_or(0);
                let head = String::from_utf8_lossy(&request[..length]).into_owned();
                let target = head.split(' ').nth(1).unwrap_or_default();
                let Some(answer) = answer(target.split('?').next().unwrap_or_default()) else { continue };
                let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
                let _ = connection.write_all(&[head, answer.body.as_slice()].concat()).await;
                if !answer.closes {
                    silent.push(connection);
                }
            }
        });
        Self { folder, serving }
    }

    fn address(&self) -> String {
        format!("unix://{}", self.folder.path().join("docker.sock").display())
    }

    /// Nobody listens any more; the socket's file stays, as a killed daemon leaves it.
    fn leave(self) -> tempfile::TempDir {
        self.serving.abort();
        self.folder
    }
}

#[tokio::test]
async fn a_services_containers_are_found_stopped_and_started_again() {
    let Some(bench) = Bench::open().await else { return };
    let project = format!("project{}", bench.instance);
    let create = |service: &'static str, one_off: &'static str| {
        let labels = HashMap::from([
            ("com.docker.compose.project".to_owned(), project.clone()),
            ("com.docker.compose.service".to_owned(), service.to_owned()),
            ("com.docker.compose.oneoff".to_owned(), one_off.to_owned()),
        ]);
        let body = ContainerCreateBody {
            image: Some(daemon::image()),
            entrypoint: Some(vec!["sleep".into()]),
            cmd: Some(vec!["60".into()]),
            labels: Some(labels),
            host_config: Some(HostConfig {
                network_mode: Some("none".into()),
                init: Some(true),
                ..Default::default()
            }),
            ..Default::default()
        };
        let options = CreateContainerOptions {
            name: Some(format!("{project}-{service}-{one_off}")),
            ..Default::default()
        };
        async move { raw().create_container(Some(options), body).await.unwrap().id }
    };
    let ids = [create("llm", "False").await, create("llm", "True").await, create("other", "False").await];
    let _guard = Removed(ids.to_vec());
    for id in &ids {
        raw().start_container(id, None::<StartContainerOptions>).await.unwrap();
    }
    let found = bench.executor.service_containers(Some(&project), "llm", None).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].id, ids[0]);
    assert_eq!(found[0].args, ["sleep", "60"]);
    assert_eq!(found[0].image, daemon::image());
    assert_eq!(found[0].name, format!("{project}-llm-False"));
    use benchlet::executor::ContainerRunState::{Exited, Running};
    assert_eq!(found[0].state, Running);
    bench.executor.stop_container(&ids[0]).await.unwrap();
    bench.executor.stop_container(&ids[0]).await.unwrap();
    let by_name = format!("{project}-llm-False");
    let found = bench.executor.service_containers(None, "llm", Some(&by_name)).await.unwrap();
    assert_eq!((found.len(), found[0].state), (1, Exited));
    bench.executor.start_container(&ids[0]).await.unwrap();
    bench.executor.start_container(&ids[0]).await.unwrap();
    let found = bench.executor.service_containers(Some(&project), "llm", Some(&by_name)).await.unwrap();
    assert_eq!((found.len(), found[0].state), (1, Running));
}

/// Containers that no executor owns, removed at the end of a test however it ends.
struct Removed(Vec<String>);

impl Drop for Removed {
    fn drop(&mut self) {
        let ids = std::mem::take(&mut self.0);
        let cleaner = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                for id in ids {
                    let force = RemoveContainerOptions { force: true, v: true, ..Default::default() };
                    raw().remove_container(&id, Some(force)).await.unwrap();
                }
            });
        });
        let _ = cleaner.join();
    }
}
