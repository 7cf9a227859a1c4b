//! How true and how cheap the client of a load test is: `benchlet measure` against a simulated server on
//! the same machine that logs its own times, and its rate beside `oha`'s on the same server. Prints
//! figures and ratios measured in one run with the design's limits beside them; asserts none, because
//! absolute times are the machine's.
//!
//! `cargo bench --bench client [-- accuracy|cost|rate]`; a number picks accuracy's streams. The rate needs
//! `oha` on the PATH.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use benchlet::engine::simulated::Truth;
use benchlet::request::load_test::{Api, CachePolicy, Content, Output, Prompt};
use benchlet::run::measure_plan::{
    CaseAmount, CaseLoad, CasePlan, Dialect, Endpoint, MEASURE_VERSION, MeasurePlan, PLAN_FILE, PromptPlan,
    RECORDS_FILE, TargetPlan,
};
use benchlet::run::request_record::{CaseEnded, Line, Record};

const STREAMS: [u32; 5] = [1, 10, 100, 500, 1000];
const PROMPT: &str = "What is the capital of Australia?";
/// Each figure is measured so often; oha's and ours in turn.
const ROUNDS: usize = 5;
const RATE_STREAMS: u32 = 32;

fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let streams: Vec<u32> = chosen.iter().filter_map(|arg| arg.parse().ok()).collect();
    let wants = |name: &str| {
        chosen.iter().all(|arg| arg.parse::<u32>().is_ok()) || chosen.iter().any(|arg| arg == name)
    };
    println!("load of the machine before: {}", load());
    if wants("accuracy") {
        accuracy(if streams.is_empty() { &STREAMS } else { &streams });
    }
    if wants("cost") {
        cost();
    }
    if wants("rate") {
        rate();
    }
    println!("load of the machine after: {}", load());
}

/// The client's times against the server's own, distribution by distribution.
fn accuracy(streams: &[u32]) {
    println!("\ntruth: 50 ms to the first token, 10 ms between tokens, 100 tokens, starts spread over 10 ms");
    for &streams in streams {
        let asked = Asked { streams, requests: streams.max(10), tokens: 100, stream: true, threads: None };
        println!(
            "\n{streams} streams, {} requests, median (least to most) of {ROUNDS} rounds",
            asked.requests
        );
        let rounds: Vec<Vec<Figure>> = (0..ROUNDS).map(|_| truth_of_a_round(&asked)).collect();
        for (at, (what, _, limit)) in rounds[0].iter().enumerate() {
            let mut values: Vec<f64> = rounds.iter().map(|round| round[at].1).collect();
            let (least, most) = (quantile(&mut values, 0.0), quantile(&mut values, 1.0));
            println!("  {what:<34} {:>9.3} ({least:.3} to {most:.3})  {limit}", median(&mut values));
        }
    }
}

/// What it is, how much, and the design's limit.
type Figure = (&'static str, f64, &'static str);

fn truth_of_a_round(asked: &Asked) -> Vec<Figure> {
    let server = Server::start(&["--ttft", "50ms", "--itl", "10ms"]);
    let client = measure(&server, asked, Dialect::OpenAi);
    let truth = server.truth();
    assert_eq!((client.failed(), truth.len()), (0, asked.requests as usize), "not all was answered");
    let served: Vec<f64> = truth
        .iter()
        .filter_map(|truth| Some((truth.first_token_us? - truth.received_us) as f64 / 1e3))
        .collect();
    let seen: Vec<f64> =
        client.records.iter().filter_map(|record| Some(record.first_token_us? as f64 / 1e3)).collect();
    let mut true_gaps: Vec<f64> = truth.iter().flat_map(|truth| of_us(&truth.gaps_us)).collect();
    let mut gaps: Vec<f64> =
        client.records.iter().flat_map(|record| of_us(record.chunks.get(1..).unwrap_or(&[]))).collect();
    let mut delays: Vec<f64> = client
        .records
        .iter()
        .map(|record| (record.sent_us - record.scheduled_us.min(record.sent_us)) as f64 / 1e3)
        .collect();
    let few = asked.streams <= 100;
    let p99s = [quantile(&mut gaps, 0.99), quantile(&mut true_gaps, 0.99)];
    let mut figures = vec![
        ("mean TTFT, client - server, ms", mean(&seen) - mean(&served), if few { "< 1" } else { "< 5" }),
        ("  of the server", mean(&served), ""),
        ("p99 ITL, client / server", p99s[0] / p99s[1], if few { "< 1.05" } else { "< 1.20" }),
        ("  client, ms", p99s[0], ""),
        ("  server, ms", p99s[1], ""),
        ("mean ITL, client / server", mean(&gaps) / mean(&true_gaps), ""),
        ("sigma of ITL, client, ms", sigma(&gaps), ""),
        ("sigma of ITL, server, ms", sigma(&true_gaps), ""),
        ("client delay p50, ms", quantile(&mut delays, 0.5), ""),
        ("client delay p99, ms", quantile(&mut delays, 0.99), ""),
    ];
    figures.extend(client.cost(if asked.streams == 1000 { "< 64" } else { "" }, ""));
    figures
}

/// What a token costs the client when the server writes as fast as it can.
fn cost() {
    for (name, dialect) in [("openai", Dialect::OpenAi), ("vllm, usage in every chunk", Dialect::Vllm)] {
        let server = Server::start(&["--ttft", "0ms", "--itl", "0ms"]);
        let asked = Asked { streams: 64, requests: 4_000, tokens: 500, stream: true, threads: None };
        let client = measure(&server, &asked, dialect);
        println!("\nunpaced, {name}: 64 streams, 500 tokens, {} failed", client.failed());
        row("tokens/s", client.tokens() as f64 / client.seconds(), "");
        for (what, figure, limit) in client.cost("", "<= 1.6") {
            row(what, figure, limit);
        }
    }
}

/// Requests a second beside oha's, in turn on the same server.
fn rate() {
    if Command::new("oha").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("\nrate: not measured, there is no oha on the PATH (`cargo install oha`)");
        return;
    }
    // As many as oha, which takes every core.
    let threads = std::thread::available_parallelism().ok().and_then(|count| u32::try_from(count.get()).ok());
    for (name, limit, asked) in [
        (
            "unstreamed, 4 tokens",
            ">= 0.8",
            Asked { streams: RATE_STREAMS, requests: 30_000, tokens: 4, stream: false, threads },
        ),
        (
            "streamed, 64 chunks",
            ">= 1.0",
            Asked { streams: RATE_STREAMS, requests: 15_000, tokens: 64, stream: true, threads },
        ),
    ] {
        let server = Server::start(&["--ttft", "0ms", "--itl", "0ms"]);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            theirs.push(oha(&server, &asked));
            let client = measure(&server, &asked, Dialect::OpenAi);
            assert_eq!(client.failed(), 0, "requests failed");
            ours.push(f64::from(asked.requests) / client.seconds());
        }
        println!(
            "\nrate, {name}, {RATE_STREAMS} at a time, {ROUNDS} rounds in turn: {}",
            shown(&ours, &theirs)
        );
        row("requests/s, ours / oha's", median(&mut ours) / median(&mut theirs), limit);
    }
}

/// What is asked of the server.
struct Asked {
    streams: u32,
    requests: u32,
    tokens: u32,
    stream: bool,
    /// Of the client; `None`: as many as it takes by itself.
    threads: Option<u32>,
}

/// What `benchlet measure` saw, and what it took.
struct Client {
    records: Vec<Record>,
    ended: CaseEnded,
    /// Peak of the resident memory.
    rss_mib: f64,
    /// CPU of the whole process: start, recording and sampling included.
    process_cpu_us: f64,
}

impl Client {
    fn failed(&self) -> usize {
        self.records.iter().filter(|record| record.error.is_some()).count()
    }

    /// One a chunk.
    fn tokens(&self) -> usize {
        self.records.iter().map(|record| record.chunks.len()).sum()
    }

    fn seconds(&self) -> f64 {
        self.ended.wall_us as f64 / 1e6
    }

    fn cost(&self, limit_rss: &'static str, limit_cpu: &'static str) -> [Figure; 3] {
        let tokens = self.tokens() as f64;
        [
            ("client CPU a token, us", self.ended.client_cpu_us as f64 / tokens, limit_cpu),
            ("  whole process, us", self.process_cpu_us / tokens, ""),
            ("peak RSS, MiB", self.rss_mib, limit_rss),
        ]
    }
}

fn measure(server: &Server, asked: &Asked, dialect: Dialect) -> Client {
    let dir = tempfile::tempdir().unwrap();
    let plan = serde_json::to_string(&plan(server, asked, dialect)).unwrap();
    fs::write(dir.path().join(PLAN_FILE), plan).unwrap();
    let before = cpu_of_children_us();
    let mut child = Command::new(env!("CARGO_BIN_EXE_benchlet"))
        .arg("measure")
        .arg("--folder")
        .arg(dir.path())
        .spawn()
        .unwrap();
    let mut rss_mib = 0.0_f64;
    let status = loop {
        // What grows at the very end is told by the last look before it.
        rss_mib = rss_mib.max(peak_rss_mib(child.id()));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(status.success(), "benchlet measure failed");
    let process_cpu_us = cpu_of_children_us() - before;
    let (mut records, mut ended) = (Vec::new(), None);
    for line in fs::read_to_string(dir.path().join(RECORDS_FILE)).unwrap().lines() {
        match serde_json::from_str(line).unwrap() {
            Line::Request(record) => records.push(record),
            Line::Ended(case) => ended = Some(case),
            Line::Target(_) | Line::Started(_) | Line::Turn(_) | Line::Skipped(_) | Line::Counted(_) => {}
        }
    }
    Client { records, ended: ended.unwrap(), rss_mib, process_cpu_us }
}

fn plan(server: &Server, asked: &Asked, dialect: Dialect) -> MeasurePlan {
    MeasurePlan {
        version: MEASURE_VERSION,
        targets: vec![TargetPlan {
            name: "simulated".to_owned(),
            dialect,
            api: Api::Chat,
            endpoint: Endpoint::Url(server.url.clone()),
            key: None,
            simulated: true,
            container: None,
        }],
        cases: vec![CasePlan {
            case: 1,
            repeat: 1,
            target: 0,
            model: None,
            load: CaseLoad::Closed { concurrency: asked.streams },
            amount: CaseAmount::Requests(asked.requests),
            ramp_up_ms: 10,
            input_tokens: None,
            conversation: None,
        }],
        index_from: 0,
        prompts: PromptPlan::Inline(vec![Prompt {
            content: Content::Text(PROMPT.to_owned()),
            max_tokens: None,
            temperature: None,
        }]),
        output: Output { max_tokens: asked.tokens, temperature: 0.7, ignore_eos: false },
        stream: asked.stream,
        warmup: 0,
        request_timeout_ms: 60_000,
        pause_ms: 0,
        cache: CachePolicy::Keep,
        samples: 0,
        seed: 1,
        salt: 1,
        threads: asked.threads,
        sample_every_ms: 60_000,
        collectors: Vec::new(),
        tokenizer: None,
    }
}

/// Requests a second of oha with the same body.
fn oha(server: &Server, asked: &Asked) -> f64 {
    let options = if asked.stream { r#","stream_options":{"include_usage":true}"# } else { "" };
    let body = format!(
        r#"{{"max_tokens":{},"temperature":0.7,"stream":{},"model":"simulated","messages":[{{"role":"user","content":"{PROMPT}"}}]{options}}}"#,
        asked.tokens, asked.stream
    );
    let output = Command::new("oha")
        .args(["--no-tui", "--output-format", "json", "-m", "POST", "-T", "application/json", "-d", &body])
        .args(["-n", &asked.requests.to_string(), "-c", &asked.streams.to_string()])
        .arg(format!("{}/v1/chat/completions", server.url))
        .output()
        .unwrap();
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("oha says no JSON");
    assert_eq!(said["statusCodeDistribution"]["200"], asked.requests, "oha's requests failed");
    said["summary"]["requestsPerSec"].as_f64().unwrap()
}

/// A simulated server with its log.
struct Server {
    child: Child,
    url: String,
    dir: tempfile::TempDir,
}

impl Server {
    fn start(flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_benchlet"))
            .args(["sim", "serve"])
            .args(flags)
            .arg("--log")
            .arg(log_of(dir.path()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        said.read_line(&mut first).unwrap();
        let url = first.trim().strip_prefix("listening on ").expect("no address").to_owned();
        Self { child, url, dir }
    }

    /// What it logged, once it has ended.
    fn truth(&self) -> Vec<Truth> {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let limit = Instant::now() + Duration::from_secs(10);
        while !fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap().contains(") Z ") {
            assert!(Instant::now() < limit, "the server does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
        let text = fs::read_to_string(log_of(self.dir.path())).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended already is only reaped.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn log_of(dir: &Path) -> PathBuf {
    dir.join("truth.jsonl")
}

fn row(what: &str, figure: f64, limit: &str) {
    println!("  {what:<34} {figure:>10.3}  {limit}");
}

fn shown(ours: &[f64], theirs: &[f64]) -> String {
    let list = |rates: &[f64]| rates.iter().map(|rate| format!("{rate:.0}")).collect::<Vec<_>>().join(", ");
    format!("ours {}, oha {}", list(ours), list(theirs))
}

fn of_us(times: &[u32]) -> impl Iterator<Item = f64> {
    times.iter().map(|us| f64::from(*us) / 1e3)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn sigma(values: &[f64]) -> f64 {
    let mean = mean(values);
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

fn median(values: &mut [f64]) -> f64 {
    quantile(values, 0.5)
}

fn quantile(values: &mut [f64], q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * q).round() as usize]
}

fn peak_rss_mib(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

/// Microseconds of CPU, user and system, of the children that have been waited for.
fn cpu_of_children_us() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[13].parse::<u64>().unwrap() + fields[14].parse::<u64>().unwrap();
    ticks as f64 * 1e4
}

fn load() -> String {
    fs::read_to_string("/proc/loadavg").unwrap().trim().to_owned()
}
