//! A state directory with requests and runs in it, for the verbs that show and steer them, and the
//! binary to ask.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use benchlet::decide::action::NewRun;
use benchlet::decide::observed::Record;
use benchlet::request::flags::Param;
use benchlet::request::{tree, valid};
use benchlet::run::clock::Deadline;
use benchlet::run::phase::{Ending, RunState, TaskProgress};
use benchlet::run::plan::{Blueprint, ExecutorKind, PLAN_VERSION, Plan, Step};
use benchlet::run::reason::Reason;
use benchlet::run::step::{Role, TaskId, TaskSpec};
use benchlet::store::benchmarks::Figures;
use benchlet::store::conditions::{self, ConditionRow, NamedCondition};
use benchlet::store::runs::Results;
use benchlet::store::{Access, Store, requests, runs};
use uuid::Uuid;

/// What a verb said.
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// A directory of one test.
pub struct Place {
    pub dir: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_benchlet"));
        command.current_dir(self.path()).args(line).timeout(std::time::Duration::from_secs(60));
        for name in ["CONFIG", "STATE", "REQUESTS", "COMPOSE", "SERVICES", "STATUS_DIR", "LOG"] {
            command.env_remove(format!("BENCHLET_{name}"));
        }
        command.env("BENCHLET_STATE", self.state());
        command
    }

    pub fn say(&self, line: &[&str]) -> Said {
        said(self.command(line).output().unwrap())
    }

    pub fn say_with_input(&self, line: &[&str], input: &str) -> Said {
        said(self.command(line).write_stdin(input).output().unwrap())
    }
}

fn said(output: std::process::Output) -> Said {
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// What a controller would have written.
pub struct Seeded {
    pub store: Store,
    state: PathBuf,
}

const NOW: &str = "2026-01-01T00:00:00.000Z";

/// A condition without words.
pub fn condition(status: &str, reason: &str) -> ConditionRow {
    ConditionRow {
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: String::new(),
        problems: Vec::new(),
        run: None,
        changed_at: NOW.to_owned(),
    }
}

impl Seeded {
    pub fn new(place: &Place) -> Self {
        Self::at(&place.state())
    }

    /// In any state directory that no controller has.
    pub fn at(state: &Path) -> Self {
        std::fs::create_dir_all(state).unwrap();
        Self { store: Store::open(state, Access::Owner).unwrap(), state: state.to_owned() }
    }

    fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&rusqlite::Connection) -> Result<T, benchlet::store::StoreError> + Send + 'static,
    ) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.store.write(work)).unwrap()
    }

    /// Registers a request; `spec` is the YAML behind `spec:`.
    pub fn request(&self, name: &str, kind: &str, spec: &str, satisfied: bool) -> Record {
        let text =
            format!("apiVersion: benchlet/v1\nkind: {kind}\nmetadata: {{ name: {name} }}\nspec: {spec}\n");
        let stream = tree::parse(&text);
        let request = valid::validate(stream.documents[0].root.as_ref().unwrap(), 0, "x").unwrap();
        let record = Record {
            uid: Uuid::new_v4(),
            name: name.to_owned(),
            path: format!("{name}.yaml").into(),
            index: 0,
            generation: 1,
            satisfied_hash: satisfied.then(|| request.spec_hash.clone()),
            spec_hash: request.spec_hash,
            semantic_hash: request.semantic_hash,
            satisfied_rerun: None,
            control: request.control,
            spec: request.spec,
            deleted: false,
        };
        let saved = record.clone();
        self.write(move |connection| requests::save(connection, &saved, NOW));
        record
    }

    /// A condition as the controller notes it.
    pub fn condition(&self, request: &str, kind: &str, status: &str, reason: &str) {
        self.told(request, kind, condition(status, reason));
    }

    /// The same with all that is known of it.
    pub fn told(&self, request: &str, kind: &str, condition: ConditionRow) {
        let (request, noted) = (request.to_owned(), NamedCondition { kind: kind.to_owned(), condition });
        self.write(move |connection| conditions::note(connection, &request, &noted));
    }

    /// A simulated run of a request, at the given state, with two launches planned.
    pub fn run(&self, record: &Record, state: RunState) -> Uuid {
        let id = Uuid::new_v4();
        let new = NewRun {
            id,
            request_uid: record.uid,
            request: record.name.clone(),
            path: record.path.clone(),
            generation: 1,
            spec: record.spec.clone(),
            spec_hash: record.spec_hash.clone(),
            timeout_ms: 600_000,
            backoff_limit: 0,
            service: "simulated".to_owned(),
            satisfied_hash: Some(record.spec_hash.clone()),
            satisfied_rerun: None,
            command: None,
        };
        let (blueprint, plan) = (blueprint(id), plan(id));
        self.write(move |connection| {
            runs::create(connection, &new, NOW)?;
            runs::set_blueprint(connection, id, &blueprint)?;
            runs::set_plan(connection, id, &plan)?;
            runs::advance(connection, id, &running(), NOW)?;
            runs::advance(connection, id, &state, "2026-01-01T00:01:30.000Z")
        });
        id
    }

    pub fn completed(&self, record: &Record) -> Uuid {
        let id = self.run(record, RunState::Ended(Ending::completed("")));
        let case = |number: u32, test: &str, rate: f64| {
            format!(
                "{{\"case\":{number},\"test\":\"{test}\",\"varied\":{{}},\"avg_ts\":{rate},\"stddev_ts\":2.5,\
                 \"median_ts\":{rate},\"samples_ts\":[[{rate}],[{rate}]],\"simulated\":true}}"
            )
        };
        let results = Results {
            cases: vec![case(1, "pp512", 1240.5), case(2, "tg128", 85.25)],
            figures: Figures { pp_avg_ts: Some(1240.5), tg_avg_ts: Some(85.25), ..Figures::default() },
            tail: Some("the last line".to_owned()),
            ..Results::default()
        };
        self.write(move |connection| runs::set_results(connection, id, &results, 0));
        id
    }

    pub fn failed(&self, record: &Record) -> Uuid {
        let ending = Ending::failed(Reason::ModelNotFound, "the model\u{1b}[31m is missing")
            .hint(Some("put it there".to_owned()));
        self.run(record, RunState::Ended(ending))
    }

    /// Output of a launch, from 0.
    pub fn output(&self, run: Uuid, launch: u32, stdout: &str, stderr: &str) {
        let folder = self.state.join("spool").join(run.to_string()).join(task(run, launch).folder());
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("stdout"), stdout).unwrap();
        std::fs::write(folder.join("stderr"), stderr).unwrap();
    }

    /// What a run yielded, at that Unix time.
    pub fn results(&self, run: Uuid, results: Results, unix: i64) {
        self.write(move |connection| runs::set_results(connection, run, &results, unix));
    }

    pub fn advance(&self, run: Uuid, state: RunState) {
        self.write(move |connection| runs::advance(connection, run, &state, NOW));
    }
}

pub fn running() -> RunState {
    let deadline = Deadline { boot_id: "boot".to_owned(), boot_ms: u64::MAX, allowed_ms: 1000 };
    RunState::Running { deadline, step: 0, task: TaskProgress::Started, ending: None }
}

fn task(run: Uuid, step: u32) -> TaskId {
    TaskId { run, attempt: 0, step, role: Role::Bench }
}

fn spec(run: Uuid, step: u32) -> TaskSpec {
    TaskSpec {
        id: task(run, step),
        argv: ["benchlet", "sim", "llama-bench", "-p", "512"].map(str::to_owned).to_vec(),
        env: Default::default(),
        container: None,
        deadline_ms: 600_000,
        labels: Default::default(),
        inputs: Default::default(),
    }
}

fn blueprint(run: Uuid) -> Blueprint {
    let param = |flag: &str, value: &str| Param { flag: flag.to_owned(), value: value.to_owned() };
    Blueprint {
        version: PLAN_VERSION,
        service: "simulated".to_owned(),
        executor: ExecutorKind::Process,
        simulated: true,
        model: "simulated".to_owned(),
        model_host_path: None,
        params: vec![param("-p", "512"), param("-n", "128"), param("--no-warmup", "")],
        dropped: vec!["--metrics (llama-bench has no such flag)".to_owned()],
        warnings: vec!["a warning".to_owned()],
        launches: 2,
        template: spec(run, 0),
        tool_candidates: Vec::new(),
        pull_policy: Default::default(),
        preparing_ms: 1000,
        claims: Vec::new(),
        stop: Vec::new(),
        load: None,
    }
}

fn plan(run: Uuid) -> Plan {
    let step = |launch: u32| Step::Bench { launch, task: Box::new(spec(run, launch)) };
    Plan {
        version: PLAN_VERSION,
        steps: vec![step(0), step(1)],
        warnings: Vec::new(),
        command: "benchlet sim llama-bench -p 512".to_owned(),
    }
}
