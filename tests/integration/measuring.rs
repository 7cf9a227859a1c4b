//! `benchlet measure` as the tests run it: a plan by hand into a folder, the real process, and what it
//! left there.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use benchlet::load::{PROGRESS_FILE, Progress};
use benchlet::request::load_test::{Api, CachePolicy, Content, Output, Prompt};
use benchlet::run::measure_plan::{
    CaseAmount, CaseLoad, CasePlan, Dialect, Endpoint, KeySource, MEASURE_VERSION, MeasurePlan, PLAN_FILE,
    PromptPlan, RECORDS_FILE, REFUSAL_FILE, TargetPlan,
};
use benchlet::run::reason::Refusal;
use benchlet::run::request_record::{CaseEnded, ErrorKind, Line, Record, TargetFacts};

/// A short time-out. Tests wait for it, never against it.
pub const SHORT_MS: u64 = 300;
/// Longer than any test: what would wait so long was not meant to.
pub const NEVER_MS: u64 = 3_600_000;

/// So many requests, one after the other, with a time-out that nothing meets by accident, unsalted.
pub fn plan(url: &str, requests: u32) -> MeasurePlan {
    let target = TargetPlan { name: "scripted".to_owned(), ..target(&Dialect::OpenAi, Api::Chat, url, None) };
    let prompt =
        Prompt { content: Content::Text("count to two".to_owned()), max_tokens: None, temperature: None };
    MeasurePlan {
        index_from: 0,
        version: MEASURE_VERSION,
        targets: vec![target],
        cases: vec![case(CaseLoad::Closed { concurrency: 1 }, CaseAmount::Requests(requests))],
        prompts: PromptPlan::Inline(vec![prompt]),
        output: Output { max_tokens: 16, temperature: 0.0, ignore_eos: false },
        stream: true,
        warmup: 0,
        request_timeout_ms: NEVER_MS,
        pause_ms: 0,
        cache: CachePolicy::Keep,
        samples: 100,
        seed: 1,
        salt: 1,
        threads: None,
        sample_every_ms: 100,
        collectors: Vec::new(),
        tokenizer: None,
    }
}

pub fn target(dialect: &Dialect, api: Api, url: &str, key: Option<KeySource>) -> TargetPlan {
    TargetPlan {
        name: format!("{} {api:?}", dialect.as_str()),
        dialect: dialect.clone(),
        api,
        endpoint: Endpoint::Url(url.to_owned()),
        key,
        simulated: false,
        container: None,
    }
}

pub fn case(load: CaseLoad, amount: CaseAmount) -> CasePlan {
    CasePlan {
        case: 1,
        repeat: 1,
        target: 0,
        model: None,
        load,
        amount,
        ramp_up_ms: 0,
        input_tokens: None,
        conversation: None,
    }
}

/// What it says on stdout and stderr, beside its folder.
const SAID: &str = "said";
const TASK: &str = "task";

/// A measuring process; killed where the test ends before it.
pub struct Measuring {
    place: tempfile::TempDir,
    child: Child,
}

/// What is left of one that has ended.
pub struct Measured {
    place: tempfile::TempDir,
    pub code: Option<i32>,
    pub signal: Option<i32>,
}

/// Measures by the plan to the end.
#[track_caller]
pub fn measure(plan: &MeasurePlan) -> Measured {
    Measuring::start(plan).wait()
}

/// The same with variables in its environment.
#[track_caller]
pub fn measure_with(plan: &MeasurePlan, environment: &[(&str, &str)]) -> Measured {
    Measuring::spawn(plan, None, environment, |_| {}).wait()
}

/// Measures by the plan to its end, which is a good one, and gives the requests in their order.
#[track_caller]
pub fn requests(plan: &MeasurePlan) -> Vec<Record> {
    let measured = measure(plan);
    assert_eq!(measured.code, Some(0), "{:?}", measured.refusal());
    measured.requests()
}

impl Measuring {
    pub fn start(plan: &MeasurePlan) -> Self {
        Self::start_in(plan, None, |_| {})
    }

    /// `limit` is the most file descriptors that it may have; `prepare` puts more into its folder.
    pub fn start_in(plan: &MeasurePlan, limit: Option<u32>, prepare: impl FnOnce(&Path)) -> Self {
        Self::spawn(plan, limit, &[], prepare)
    }

    fn spawn(
        plan: &MeasurePlan,
        limit: Option<u32>,
        environment: &[(&str, &str)],
        prepare: impl FnOnce(&Path),
    ) -> Self {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join(TASK);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join(PLAN_FILE), serde_json::to_vec(plan).unwrap()).unwrap();
        prepare(&folder);
        let mut command = match limit {
            None => Command::new(env!("CARGO_BIN_EXE_benchlet")),
            Some(limit) => {
                let mut command = Command::new("bash");
                let line = format!("ulimit -n {limit}; exec \"$0\" \"$@\"");
                command.args(["-c", &line, env!("CARGO_BIN_EXE_benchlet")]);
                command
            }
        };
        let said = std::fs::File::create(place.path().join(SAID)).unwrap();
        command.current_dir(place.path()).arg("measure").arg("--folder").arg(&folder);
        command.envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said);
        Self { child: command.spawn().unwrap(), place }
    }

    fn folder(&self) -> PathBuf {
        self.place.path().join(TASK)
    }

    #[track_caller]
    pub fn wait(mut self) -> Measured {
        let status = wait_for(&mut self.child);
        // The place goes on to what was measured; the rest of this is only the child, which has ended.
        let place = std::mem::replace(&mut self.place, tempfile::tempdir().unwrap());
        Measured { place, code: status.code(), signal: status.signal() }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Looks at the progress until it is as wanted.
    #[track_caller]
    pub fn until_progress(&self, what: &str, mut wanted: impl FnMut(&Progress) -> bool) -> Progress {
        until(what, || read_progress(&self.folder()).filter(|progress| wanted(progress)))
    }

    /// Looks at the records until they are as wanted.
    #[track_caller]
    pub fn until_requests(&self, what: &str, mut wanted: impl FnMut(&[Record]) -> bool) {
        until(what, || wanted(&requests_of(&read_lines(&self.folder()).0)).then_some(()));
    }
}

impl Drop for Measuring {
    fn drop(&mut self) {
        // Fails where it has ended, which is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Measured {
    /// Everything that it left, and what it was given.
    pub fn place(&self) -> &Path {
        self.place.path()
    }

    fn folder(&self) -> PathBuf {
        self.place.path().join(TASK)
    }

    /// On stdout and stderr.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.place.path().join(SAID)).unwrap()
    }

    pub fn lines(&self) -> Vec<Line> {
        read_lines(&self.folder()).0
    }

    /// Bytes behind the last line's end.
    pub fn torn(&self) -> usize {
        read_lines(&self.folder()).1
    }

    /// All of them, those that warm up too, as they ended.
    pub fn records(&self) -> Vec<Record> {
        requests_of(&self.lines())
    }

    /// Those that count, by number.
    pub fn requests(&self) -> Vec<Record> {
        let mut requests = self.records();
        requests.retain(|request| !request.warmup);
        requests.sort_by_key(|request| request.n);
        requests
    }

    pub fn ended(&self) -> CaseEnded {
        let ended = |line| match line {
            Line::Ended(ended) => Some(ended),
            Line::Target(_)
            | Line::Started(_)
            | Line::Request(_)
            | Line::Turn(_)
            | Line::Skipped(_)
            | Line::Counted(_) => None,
        };
        self.lines().into_iter().find_map(ended).expect("a case that ended")
    }

    /// What the targets said of themselves.
    pub fn facts(&self) -> Vec<TargetFacts> {
        let told = |line| match line {
            Line::Target(facts) => Some(facts),
            Line::Started(_)
            | Line::Request(_)
            | Line::Turn(_)
            | Line::Skipped(_)
            | Line::Counted(_)
            | Line::Ended(_) => None,
        };
        self.lines().into_iter().filter_map(told).collect()
    }

    pub fn refusal(&self) -> Option<Refusal> {
        let text = std::fs::read(self.folder().join(REFUSAL_FILE)).ok()?;
        Some(serde_json::from_slice(&text).unwrap())
    }

    pub fn progress(&self) -> Progress {
        read_progress(&self.folder()).expect("a progress file")
    }

    pub fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.folder().join(file)).unwrap()
    }
}

/// The kind of a request's failure, with its words.
#[track_caller]
pub fn failure(request: &Record) -> (ErrorKind, &str) {
    let error = request.error.as_ref().unwrap_or_else(|| panic!("no failure: {request:?}"));
    (error.kind, &error.message)
}

#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited a minute in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[track_caller]
fn wait_for(child: &mut Child) -> ExitStatus {
    until("the measuring process ends", || child.try_wait().unwrap())
}

fn read_progress(folder: &Path) -> Option<Progress> {
    serde_json::from_slice(&std::fs::read(folder.join(PROGRESS_FILE)).ok()?).ok()
}

/// Every whole line, and how many bytes follow the last.
fn read_lines(folder: &Path) -> (Vec<Line>, usize) {
    let text = std::fs::read(folder.join(RECORDS_FILE)).unwrap_or_default();
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let lines = text[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    (lines.map(|line| serde_json::from_slice(line).unwrap()).collect(), text.len() - whole)
}

fn requests_of(lines: &[Line]) -> Vec<Record> {
    let request = |line: &Line| match line {
        Line::Request(request) => Some(request.clone()),
        Line::Target(_)
        | Line::Started(_)
        | Line::Turn(_)
        | Line::Skipped(_)
        | Line::Counted(_)
        | Line::Ended(_) => None,
    };
    lines.iter().filter_map(request).collect()
}
