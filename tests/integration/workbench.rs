//! A whole installation for one test: a watched tree, a compose file with real services on a tiny
//! model, a state and a lock directory of its own, and the real `benchlet serve` on it. Takes
//! everything along when it goes, its containers and its controller too, however the test ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use uuid::Uuid;

use benchlet::store::runs::{Filter, RunRow};
use benchlet::store::{Access, Store};

use crate::daemon;

/// Only what hangs reaches this.
const DEADLINE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(20);

pub struct Workbench {
    home: tempfile::TempDir,
    /// Labels its containers, known before the controller first starts.
    pub instance: String,
    environment: Vec<(String, String)>,
    controller: Option<Child>,
    uses_docker: bool,
}

impl Workbench {
    /// With Docker; `None` where this run of the tests does without.
    pub fn open() -> Option<Self> {
        if daemon::is_left_out() {
            return None;
        }
        daemon::check();
        Some(Self::new(true))
    }

    /// For what needs no container: there is no daemon for this one.
    pub fn without_docker() -> Self {
        let mut bench = Self::new(false);
        let nowhere = format!("unix://{}", bench.path("no-docker.sock").display());
        bench.set("DOCKER_HOST", &nowhere);
        bench
    }

    fn new(uses_docker: bool) -> Self {
        let home = tempfile::Builder::new().prefix("benchlet-test-").tempdir().unwrap();
        for folder in ["requests", "state", "locks"] {
            fs::create_dir(home.path().join(folder)).unwrap();
        }
        let mut bench = Self {
            home,
            instance: format!("test-{}", Uuid::new_v4().simple()),
            environment: Vec::new(),
            controller: None,
            uses_docker,
        };
        bench.name_instance();
        let compose = bench.compose_text();
        fs::write(bench.path("docker-compose.yml"), compose).unwrap();
        for (name, path) in [
            ("REQUESTS", "requests"),
            ("STATE", "state"),
            ("LOCK_DIR", "locks"),
            ("COMPOSE", "docker-compose.yml"),
        ] {
            let path = bench.path(path).display().to_string();
            bench.set(&format!("BENCHLET_{name}"), &path);
        }
        bench.set("BENCHLET_LOG", "debug");
        bench.set("BENCHLET_LISTEN", "127.0.0.1:0");
        bench
    }

    /// Gives the state its instance before any controller can, so that the label is known even
    /// where the first one dies early.
    fn name_instance(&self) {
        Store::open(&self.path("state"), Access::Owner).unwrap();
        let database = rusqlite::Connection::open(self.path("state/benchlet.db")).unwrap();
        database.execute("INSERT INTO meta (key, value) VALUES ('instance', ?1)", [&self.instance]).unwrap();
    }

    fn compose_text(&self) -> String {
        let (tiny, slow) = (tiny_model(), model("BENCHLET_TEST_MODEL_SLOW", "tiny-slow.gguf"));
        let image = daemon::image();
        format!(
            "name: {project}\n\
             services:\n\
             \x20 tiny:\n\
             \x20   image: {image}\n\
             \x20   command: [llama-server, -m, /models/tiny.gguf, -t, '1', --port, '8080']\n\
             \x20   volumes: ['{tiny}:/models/tiny.gguf:ro']\n\
             \x20 slow:\n\
             \x20   image: {image}\n\
             \x20   command: [llama-server, -m, /models/slow.gguf]\n\
             \x20   volumes: ['{slow}:/models/slow.gguf:ro']\n\
             \x20 chat:\n\
             \x20   image: vllm/vllm-openai:latest\n\
             \x20   command: [--model, some/model]\n",
            project = self.project(),
        )
    }

    /// The compose project, which is this workbench's alone.
    pub fn project(&self) -> String {
        self.instance.clone()
    }

    /// Adds a service to the compose file; `text` is its body, four blanks in.
    pub fn add_service(&self, name: &str, text: &str) {
        let file = self.path("docker-compose.yml");
        let whole = format!("{}  {name}:\n{text}", fs::read_to_string(&file).unwrap());
        fs::write(file, whole).unwrap();
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.home.path().join(relative)
    }

    pub fn request_path(&self, file: &str) -> PathBuf {
        self.path("requests").join(file)
    }

    /// An environment variable of the controllers that are started from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    // --- Requests ---------------------------------------------------------------------------------

    /// Saves `requests/NAME.yaml` with this spec, as a person does.
    pub fn save(&self, name: &str, spec: &str) {
        fs::write(self.request_path(&format!("{name}.yaml")), bench_request(spec)).unwrap();
    }

    /// Saves it as if it had been there for long, for a controller that starts later.
    pub fn save_long_ago(&self, name: &str, spec: &str) {
        self.save(name, spec);
        self.age(&format!("{name}.yaml"));
    }

    /// Makes a request file an old one, which a starting controller need not wait for.
    pub fn age(&self, file: &str) {
        let file = fs::File::open(self.request_path(file)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
    }

    // --- The controller ---------------------------------------------------------------------------

    /// The command that serves this tree.
    pub fn serve_command(&self) -> Command {
        self.command(&["serve"])
    }

    /// benchlet with this installation's settings.
    pub fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_benchlet"));
        command.args(line).current_dir(self.home.path()).stdin(Stdio::null());
        command.env_remove("BENCHLET_CRASH_AT");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts the controller.
    pub fn serve(&mut self) {
        self.serve_with(&[]);
    }

    /// Starts it with more environment.
    pub fn serve_with(&mut self, environment: &[(&str, &str)]) {
        assert!(self.controller.is_none(), "it runs already");
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_path()).unwrap();
        let mut command = self.serve_command();
        command.envs(environment.iter().copied());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.controller = Some(command.spawn().unwrap());
    }

    pub fn controller_pid(&self) -> u32 {
        self.controller.as_ref().expect("it runs").id()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let mut child = self.controller.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Ctrl-C, and waits for its end.
    pub fn stop(&mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(self.controller.as_ref().expect("it runs"));
        // Not SIGINT, which a shell in the background leaves ignored until the controller listens.
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.until("the controller stops", |bench| {
            let ended = bench.controller.as_mut()?.try_wait().unwrap();
            if ended.is_some() {
                bench.controller = None;
            }
            ended
        })
    }

    /// Whether the controller has ended by itself; how, if so.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        let ended = self.controller.as_mut()?.try_wait().unwrap()?;
        self.controller = None;
        Some(ended)
    }

    fn log_path(&self) -> PathBuf {
        self.path("log")
    }

    /// What the controller has logged so far, all of its lives together.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    // --- Waiting ----------------------------------------------------------------------------------

    /// Looks until there is something; else fails with the log and every status.
    pub fn until<T>(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(Instant::now() < deadline, "waited in vain: {what}\n{}", self.what_there_is());
            std::thread::sleep(LOOK);
        }
    }

    /// The status of a request once `is_it` says so.
    pub fn until_status(&mut self, name: &str, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        self.until(&format!("{name}: {what}"), |bench| {
            bench.status(name).filter(|document| is_it(&document["status"]))
        })
    }

    /// The status of a request once it is in this phase.
    pub fn until_phase(&mut self, name: &str, phase: &str) -> Value {
        self.until_status(name, phase, |status| status["phase"] == phase)
    }

    /// The status of a request once it gives this reason.
    pub fn until_reason(&mut self, name: &str, reason: &str) -> Value {
        self.until_status(name, reason, |status| status["reason"] == reason)
    }

    /// The status once the newest run is the `count`-th and has ended.
    pub fn until_runs_ended(&mut self, name: &str, count: usize) -> Vec<RunRow> {
        self.until(&format!("{count} ended runs of {name}"), |bench| {
            let runs = bench.runs(name);
            assert!(runs.len() <= count, "{} runs of {name}\n{}", runs.len(), bench.what_there_is());
            let all = runs.len() == count && runs.iter().all(|run| run.state.phase().is_terminal());
            all.then_some(runs)
        })
    }

    /// Waits until the controller has seen everything that was saved before: another request, written
    /// now, got its status.
    pub fn until_caught_up(&mut self) {
        let name = format!("marker-{}", Uuid::new_v4().simple());
        self.save(&name, "{ service: tiny, suspend: true }");
        self.until_reason(&name, "Suspended");
        fs::remove_file(self.request_path(&format!("{name}.yaml"))).unwrap();
    }

    /// The container that measures now.
    pub fn until_measuring(&mut self) -> String {
        self.until("a container that measures", |bench| {
            let mut list = bench.containers().into_iter();
            list.find(|found| found.role == "bench" && found.running).map(|found| found.id)
        })
    }

    /// What llama-bench has written so far in any of the runs.
    pub fn until_rows(&mut self, count: usize) {
        self.until(&format!("{count} rows in the spool"), |bench| {
            let spool = bench.path("state/spool");
            let text: String = files_below(&spool)
                .into_iter()
                .filter(|file| file.ends_with("stdout") && !file.to_string_lossy().contains("probe"))
                .map(|file| fs::read_to_string(file).unwrap_or_default())
                .collect();
            (text.matches("avg_ts").count() >= count).then_some(())
        });
    }

    fn what_there_is(&self) -> String {
        let mut text = String::new();
        for file in files_below(&self.path("requests")) {
            text.push_str(&format!(
                "--- {}\n{}\n",
                file.display(),
                fs::read_to_string(&file).unwrap_or_default()
            ));
        }
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(150);
        let lines: Vec<String> = lines[from..].iter().map(|line| line.chars().take(500).collect()).collect();
        format!("{text}--- log\n{}\n--- containers\n{:?}", lines.join("\n"), self.containers())
    }

    // --- What came of it --------------------------------------------------------------------------

    /// The first document of a request file's status.
    pub fn status(&self, stem: &str) -> Option<Value> {
        self.statuses(stem).into_iter().next()
    }

    /// All documents of a request file's status.
    pub fn statuses(&self, stem: &str) -> Vec<Value> {
        use serde::Deserialize as _;
        let Ok(text) = fs::read_to_string(self.request_path(&format!("{stem}.status.yaml"))) else {
            return Vec::new();
        };
        serde_yaml::Deserializer::from_str(&text)
            .map(|document| Value::deserialize(document).unwrap())
            .collect()
    }

    /// The runs of a request, oldest first.
    pub fn runs(&self, request: &str) -> Vec<RunRow> {
        let store = Store::open(&self.path("state"), Access::Guest).unwrap();
        let filter = Filter { request: Some(request.to_owned()), limit: 100, ..Filter::default() };
        let mut runs = store.runs(&filter).unwrap();
        runs.reverse();
        runs
    }

    /// The database, as a user's own SQL reads it.
    pub fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path("state/benchlet.db")).unwrap()
    }

    /// The pids of everything that runs for this installation, its controller apart: what measures, engines
    /// that are processes, the shims around them.
    pub fn processes(&self) -> Vec<u32> {
        let controller = self.controller.as_ref().map(Child::id);
        let pids = fs::read_dir("/proc").unwrap().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| Some(*pid) != controller && self.is_ours(*pid)).collect()
    }

    /// Whether it was told of this installation's state, or writes into it.
    fn is_ours(&self, pid: u32) -> bool {
        let state = self.path("state");
        let told = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let writes = fs::read_link(format!("/proc/{pid}/fd/1")).is_ok_and(|file| file.starts_with(&state));
        writes || String::from_utf8_lossy(&told).contains(&*state.to_string_lossy())
    }

    /// Every file below the state and beside the requests, and the log: nothing of them may hold a secret.
    pub fn everything_written(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = files_below(&self.path("state"));
        files.extend(files_below(&self.path("requests")));
        files.push(self.log_path());
        files.into_iter().filter_map(|file| Some((file.clone(), fs::read(file).ok()?))).collect()
    }

    /// This installation's containers.
    pub fn containers(&self) -> Vec<daemon::Listed> {
        if self.uses_docker { daemon::labelled("benchlet.instance", &self.instance) } else { Vec::new() }
    }
}

impl Drop for Workbench {
    fn drop(&mut self) {
        if let Some(mut child) = self.controller.take() {
            drop(child.kill());
            drop(child.wait());
        }
        for pid in self.processes() {
            // Outlived a test that failed; gone meanwhile is as good.
            if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        if self.uses_docker {
            // A thread of its own, so that a failure here cannot abort a test that is unwinding.
            let labels =
                [("benchlet.instance", &self.instance), ("com.docker.compose.project", &self.instance)]
                    .map(|(label, value)| (label, value.clone()));
            let cleaner = std::thread::spawn(move || {
                for (label, value) in labels {
                    for container in daemon::labelled(label, &value) {
                        daemon::remove(&container.id);
                    }
                }
            });
            if cleaner.join().is_err() {
                eprintln!("containers of {} may be left", self.instance);
            }
        }
    }
}

/// The path of the tiny model.
pub fn tiny_model() -> String {
    model("BENCHLET_TEST_MODEL", "tiny.gguf")
}

/// The path of one that takes long contexts.
pub fn long_model() -> String {
    model("BENCHLET_TEST_MODEL_LONG", "tiny-long.gguf")
}

fn model(variable: &str, name: &str) -> String {
    let home = std::env::var("HOME").unwrap_or_default();
    std::env::var(variable).unwrap_or_else(|_| format!("{home}/.cache/benchlet-tests/{name}"))
}

/// A LlamaBench request with this spec, in YAML's flow or block form.
pub fn bench_request(spec: &str) -> String {
    format!("apiVersion: benchlet/v1\nkind: LlamaBench\nspec: {spec}\n")
}

/// Every file below a folder.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}
