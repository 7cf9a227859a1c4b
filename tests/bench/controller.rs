//! How fast the controller is: from a save to `Accepted`, a start with 5,000 unchanged requests, idle
//! CPU, planning over 100,000 rows, lists over 100,000 runs and 5,000 requests, and what a run costs over the same
//! `docker run` by hand. Prints figures and ratios measured in
//! one run; asserts none, because absolute times are the machine's.
//!
//! `cargo bench --bench controller [-- save|start|planning|lists|overhead]`; `overhead` needs Docker,
//! `BENCHLET_TEST_IMAGE` and `BENCHLET_TEST_MODEL`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::use_debug)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use benchlet::plan::estimate::Workload;
use benchlet::plan::model_ranking::Order;
use benchlet::report::planning;
use benchlet::request::{tree, valid};
use benchlet::run::phase::{Ending, RunState};
use benchlet::store::request_list::Wanted;
use benchlet::store::{Access, Store};

const SAVES: usize = 100;
const REQUESTS: usize = 5_000;
const LAUNCHES: usize = 10;
const RESULTS: usize = 100_000;
const MODELS: usize = 100;
const SERVICES: usize = 50;

fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wants = |name: &str| chosen.is_empty() || chosen.iter().any(|arg| arg == name);
    if wants("save") {
        save_to_accepted();
    }
    if wants("start") {
        start_with_unchanged_requests();
    }
    if wants("planning") {
        planning_queries();
    }
    if wants("lists") {
        list_queries();
    }
    if wants("overhead") {
        overhead_of_a_run();
    }
}

fn save_to_accepted() {
    let place = Place::new();
    let _serve = place.serve();
    let mut times = Vec::new();
    for number in 0..SAVES {
        let name = format!("r{number}");
        let started = Instant::now();
        place.save(&name, &suspended("simulated"));
        wait_for(&place.status(&name), |text| text.contains("type: Accepted"));
        times.push(started.elapsed());
    }
    println!(
        "save -> Accepted, {SAVES} saves: p50 {:?}, p99 {:?}",
        quantile(&mut times, 0.5),
        quantile(&mut times, 0.99)
    );
}

fn start_with_unchanged_requests() {
    let place = Place::new();
    for number in 0..REQUESTS {
        place.save(&format!("r{number}"), &suspended("simulated"));
    }
    let first = place.serve();
    let cold = first.reconciled();
    drop(first);
    let second = place.serve();
    let warm = second.reconciled();
    println!("{REQUESTS} requests: first start {cold:?}, unchanged {warm:?}");
    let before = cpu_time(second.child.id());
    let window = Duration::from_secs(45);
    std::thread::sleep(window);
    let used = cpu_time(second.child.id()) - before;
    println!(
        "idle with {REQUESTS} requests: {:.3} % of a CPU over {window:?}",
        100.0 * used / window.as_secs_f64()
    );
}

/// Rows of users' own, the hardest of all: every row is looked at by the triggers, and none has a run.
fn planning_queries() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Access::Owner).unwrap();
    let database = rusqlite::Connection::open(dir.path().join("benchlet.db")).unwrap();
    let insert = format!(
        "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {RESULTS})
         INSERT INTO benchmark_results (model_name, num_workers, requests_per_second, created_at, hardware_info,
            benchmark_type, sample_responses)
         SELECT 'model-' || (i % {MODELS}), 1 << (i / {MODELS} % 4), 1 + abs(random() % 1000) / 1000.0, i * 600,
            '{{\"gpu\":\"x\"}}', 'load_test', '[]' FROM n"
    );
    let started = Instant::now();
    database.execute_batch(&insert).unwrap();
    println!("{RESULTS} results of {MODELS} models written in {:?}", started.elapsed());
    let plan = Workload { requests: 50_000, context: None, price: None };
    let queries: [(&str, &dyn Fn()); 5] = [
        ("one row", &|| drop(store.rows_of_model("model-7", false, 1).unwrap())),
        ("models", &|| drop(store.measured_models(None, false).unwrap())),
        ("models show", &|| drop(planning::details(&store, "model-7", false, 10).unwrap())),
        ("estimate", &|| drop(planning::estimate_model(&store, "model-7", None, &plan, false).unwrap())),
        ("rank", &|| drop(planning::rank_models(&store, &plan, Order::Time, false).unwrap())),
    ];
    print_times("reading one row", &queries);
}

/// Prints how long each query takes, and how much longer than the first.
fn print_times(first: &str, queries: &[(&str, &dyn Fn())]) {
    let mut one = None;
    for (name, query) in queries {
        query();
        let mut times: Vec<Duration> = (0..50)
            .map(|_| {
                let started = Instant::now();
                query();
                started.elapsed()
            })
            .collect();
        let (half, worst) = (quantile(&mut times, 0.5), quantile(&mut times, 1.0));
        let one = *one.get_or_insert(half);
        let ratio = half.as_secs_f64() / one.as_secs_f64();
        println!("{name}: p50 {half:?}, max {worst:?}, {ratio:.1} times {first}");
    }
}

/// 100,000 runs of 50 services by 5,000 requests, each of which ran twenty times.
fn list_queries() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Access::Owner).unwrap();
    let database = rusqlite::Connection::open(dir.path().join("benchlet.db")).unwrap();
    let text = "apiVersion: benchlet/v1\nkind: LlamaBench\nspec:\n  service: a\n  launches: 3\n  timeout: 10m\n  \
                params: { -p: 512, -n: 128, -r: 5, -b: [512, 1024], -fa: on, -t: 8 }\n";
    let stream = tree::parse(text);
    let request = valid::validate(stream.documents[0].root.as_ref().unwrap(), 0, "a").unwrap();
    let spec = serde_json::to_string(&request.spec).unwrap();
    let control = serde_json::to_string(&request.control).unwrap();
    let state = serde_json::to_string(&RunState::Ended(Ending::completed(""))).unwrap();
    let numbers = |most: usize| {
        format!("WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {most})")
    };
    let started = Instant::now();
    let requests = format!(
        "{} INSERT INTO requests SELECT printf('u%d', i), printf('request-%05d', i), 'LlamaBench', 'a.yaml', 0, 1, 'h',
            'h', 'h', NULL, ?1, ?2, '2026-01-01T00:00:00.000Z', NULL FROM n",
        numbers(REQUESTS)
    );
    database.execute(&requests, [&control, &spec]).unwrap();
    let conditions = format!(
        "{} INSERT INTO conditions (request, type, status, reason, changed_at)
         SELECT printf('request-%05d', i), t.column1, 'True', 'Valid', '2026-01-01T00:00:00.000Z'
         FROM n, (VALUES ('Accepted'), ('Succeeded')) t",
        numbers(REQUESTS)
    );
    database.execute(&conditions, []).unwrap();
    let runs = format!(
        "{} INSERT INTO runs (id, request_uid, request_name, request_path, kind, generation, service, spec_json, spec_hash,
            timeout_ms, backoff_limit, phase, state_version, state_json, created_at, completed_at)
         SELECT printf('%08x-0000-4000-8000-000000000000', i), 'u', printf('request-%05d', i % {REQUESTS}), 'a.yaml',
            'LlamaBench', 1, printf('service-%d', i % {SERVICES}), ?1, 'h', 1, 0, 'Completed', 1, ?2,
            '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z' FROM n",
        numbers(RESULTS)
    );
    database.execute(&runs, [&spec, &state]).unwrap();
    database
        .execute_batch(
            "INSERT INTO benchmark_runs (id, service_name, status, params_json, pp_avg_ts, tg_avg_ts, created_at)
             SELECT id, service, 'completed', '{\"-p\":\"512\"}', 1000.0, 100.0, created_at FROM runs",
        )
        .unwrap();
    println!(
        "{RESULTS} runs of {REQUESTS} requests and {SERVICES} services written in {:?}",
        started.elapsed()
    );
    let services: Vec<String> = (0..SERVICES).map(|number| format!("service-{number}")).collect();
    let page = |offset: usize, phase: Option<&str>| {
        let phase = phase.map(str::to_owned);
        let offset = u32::try_from(offset).unwrap();
        let page = store.listed_requests(&Wanted { phase, limit: 100, offset, ..Wanted::default() }).unwrap();
        assert!(!page.requests.is_empty());
    };
    let queries: [(&str, &dyn Fn()); 6] = [
        ("a page of 100 requests", &|| page(0, None)),
        ("the last page", &|| page(REQUESTS - 100, None)),
        ("a page of one phase", &|| page(0, Some("Completed"))),
        ("the last page of one phase", &|| page(REQUESTS - 100, Some("Completed"))),
        ("all requests decoded", &|| drop(store.request_summaries(None).unwrap())),
        ("the newest runs of 50 services", &|| {
            let newest = store.newest_runs(&services).unwrap();
            assert!(newest.iter().all(|runs| runs.newest.is_some() && runs.measured.is_some()));
        }),
    ];
    print_times("a page", &queries);
}

fn overhead_of_a_run() {
    let (Ok(image), Ok(model)) = (std::env::var("BENCHLET_TEST_IMAGE"), std::env::var("BENCHLET_TEST_MODEL"))
    else {
        println!("overhead: not measured, BENCHLET_TEST_IMAGE and BENCHLET_TEST_MODEL are not set");
        return;
    };
    let place = Place::new();
    let models = Path::new(&model).parent().unwrap();
    let file = Path::new(&model).file_name().unwrap().to_str().unwrap();
    place.compose(&format!(
        "services:\n  tiny:\n    image: {image}\n    volumes: ['{}:/models:ro']\n    command: llama-server -m /models/{file} -t 2\n",
        models.display()
    ));
    let _serve = place.serve();
    let request = |token: usize| {
        format!(
            "apiVersion: benchlet/v1\nkind: LlamaBench\nspec:\n  service: tiny\n  rerun: \"{token}\"\n  \
             params: {{ -p: 32, -n: 16, -r: 2, -t: 2 }}\n"
        )
    };
    place.save("tiny", &request(0));
    wait_for(&place.status("tiny"), |text| text.contains("phase: Completed"));
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for number in 1..=LAUNCHES {
        let started = Instant::now();
        let status = Command::new("docker")
            .args(["run", "--rm", "--init", "--network", "none", "--read-only", "--tmpfs", "/tmp", "-v"])
            .arg(format!("{}:/models:ro", models.display()))
            .args([&image, "llama-bench", "-m", &format!("/models/{file}")])
            .args(["-o", "jsonl", "-p", "32", "-n", "16", "-r", "2", "-t", "2"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "docker run failed");
        bare.push(started.elapsed());
        // Moved in, so that the run need not wait for the writer to be done.
        let before = run_id(&fs::read_to_string(place.status("tiny")).unwrap());
        let started = Instant::now();
        place.save("tiny", &request(number));
        wait_for(&place.status("tiny"), |text| {
            run_id(text) != before && text.contains("\n  phase: Completed")
        });
        ours.push(started.elapsed());
    }
    let (ours, bare) = (quantile(&mut ours, 0.5), quantile(&mut bare, 0.5));
    println!(
        "a run, median of {LAUNCHES}: saved file to Completed {ours:?}, docker run by hand {bare:?}, over it {:?} (100 ms of it settling)",
        ours.saturating_sub(bare)
    );
}

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("requests")).unwrap();
        Self { dir }
    }

    fn compose(&self, text: &str) {
        fs::write(self.dir.path().join("docker-compose.yml"), text).unwrap();
    }

    fn save(&self, name: &str, text: &str) {
        let path = self.dir.path().join("requests").join(format!("{name}.yaml"));
        let draft = path.with_extension("draft");
        fs::write(&draft, text).unwrap();
        fs::rename(&draft, &path).unwrap();
    }

    fn status(&self, name: &str) -> PathBuf {
        self.dir.path().join("requests").join(format!("{name}.status.yaml"))
    }

    fn serve(&self) -> Serve {
        let started = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_benchlet"))
            .arg("serve")
            .current_dir(self.dir.path())
            .env("BENCHLET_LOCK_DIR", self.dir.path().join("locks"))
            .env("BENCHLET_LOG", "info")
            .env("NO_COLOR", "1")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let log = child.stderr.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                if sender.send((Instant::now(), line)).is_err() {
                    return;
                }
            }
        });
        Serve { child, lines, started }
    }
}

struct Serve {
    child: Child,
    lines: Receiver<(Instant, String)>,
    started: Instant,
}

impl Serve {
    /// Time from the process's start until every request was looked at.
    fn reconciled(&self) -> Duration {
        loop {
            let (at, line) = self.lines.recv_timeout(Duration::from_secs(120)).expect("serve says nothing");
            if line.contains("every request was looked at") {
                return at - self.started;
            }
        }
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn suspended(service: &str) -> String {
    format!("apiVersion: benchlet/v1\nkind: LlamaBench\nspec: {{ service: {service}, suspend: true }}\n")
}

/// The id of the run that a status shows.
fn run_id(status: &str) -> Option<String> {
    status.lines().find_map(|line| line.strip_prefix("    id: ")).map(str::to_owned)
}

fn wait_for(path: &Path, done: impl Fn(&str) -> bool) {
    let limit = Instant::now() + Duration::from_secs(60);
    while !fs::read_to_string(path).is_ok_and(|text| done(&text)) {
        assert!(Instant::now() < limit, "waited a minute for {}", path.display());
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn quantile(times: &mut [Duration], q: f64) -> Duration {
    times.sort();
    times[((times.len() - 1) as f64 * q).round() as usize]
}

/// Seconds of CPU that a process has used.
fn cpu_time(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    ticks as f64 / 100.0
}
