//! How load tests fail: the reason, the words and the hint that the status gives, and that no key is
//! written anywhere.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use crate::load_bench::{condition, condition_message, failed, only_case, simulated};
use crate::workbench::Workbench;

/// A request per target that fails, each with why.
#[test]
fn what_cannot_be_measured_fails_with_the_reason_and_what_to_do() {
    let mut bench = Workbench::without_docker();
    // Bound for as long as it is asked, so that nobody else gets the port, and never listening.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let nobody = socket.local_addr().unwrap().to_string();
    std::fs::write(
        bench.path("benchlet.toml"),
        format!(
            "[keys.absent]\nhosts = [\"localhost:{}\"]\nenv = \"OUR_ABSENT_KEY\"\n",
            socket.local_addr().unwrap().port()
        ),
    )
    .unwrap();
    bench.serve();
    let load = "load: { requests: 2 }";
    let port = socket.local_addr().unwrap().port();
    let all = [
        (
            "dead-url",
            format!("{{ target: {{ url: 'http://{nobody}' }}, {load} }}"),
            "EngineUnreachable",
            vec![&nobody, "refused"],
            vec!["start the server"],
        ),
        (
            "no-service",
            format!("{{ target: {{ service: tinny }}, {load} }}"),
            "ServiceUnknown",
            vec!["tinny", "docker-compose.yml"],
            vec!["did you mean \"tiny\"?"],
        ),
        (
            "no-engine",
            format!("{{ target: {{ engine: mine, url: 'http://{nobody}' }}, {load} }}"),
            "EngineUnknown",
            vec!["mine"],
            vec!["[engines.mine]"],
        ),
        (
            "no-port",
            format!("{{ target: {{ service: tiny }}, {load} }}"),
            "ServiceUnusable",
            vec!["tiny", "publishes no port"],
            vec!["lifecycle: Managed"],
        ),
        (
            "no-docker",
            format!("{{ target: {{ service: tiny, lifecycle: Managed }}, {load} }}"),
            "NoExecutor",
            vec!["tiny", "Docker cannot be used"],
            vec!["start the daemon"],
        ),
        (
            "no-key",
            format!("{{ target: {{ url: 'http://localhost:{port}' }}, {load} }}"),
            "KeyMissing",
            vec!["OUR_ABSENT_KEY"],
            vec!["set the variable"],
        ),
    ];
    for (name, spec, ..) in &all {
        bench.save_load(name, spec);
    }
    for (name, _, reason, message, hint) in &all {
        let document = bench.until_phase(name, "Failed");
        failed(&document, reason, message, hint);
    }
    bench.until_no_process_is_left();
}

#[test]
fn prompts_that_cannot_be_used_are_told_with_their_file_and_lines() {
    let mut bench = Workbench::without_docker();
    std::fs::write(bench.path("outside.jsonl"), "{\"prompt\": \"hello\"}\n").unwrap();
    std::fs::write(bench.request_path("bad.jsonl"), "{\"prompt\": \"hello\"}\n{\"promt\": 1}\nno\n").unwrap();
    bench.serve();
    let of = |file: &str| simulated(&format!("load: {{ requests: 2 }}, prompts: {{ file: {file} }}"));
    bench.save_load("missing", &of("nowhere.jsonl"));
    bench.save_load("outside", &of("../outside.jsonl"));
    bench.save_load("bad", &of("bad.jsonl"));
    let document = bench.until_phase("missing", "Failed");
    failed(&document, "PromptsUnusable", &["nowhere.jsonl", "is not there"], &["read_dirs"]);
    let document = bench.until_phase("bad", "Failed");
    failed(&document, "PromptsUnusable", &["bad.jsonl", "line 2", "line 3"], &["{\"prompt\""]);
    let document = bench.until_status("outside", "refused", |status| {
        status["phase"] == "Failed" || status["phase"] == "Invalid"
    });
    let told = document["status"].to_string();
    assert!(told.contains("outside") && !told.contains("hello"), "{told}");
    assert!(document["status"]["results"].is_null());
}

#[test]
fn prompts_of_a_file_are_asked_and_an_edit_of_it_changes_no_run() {
    let mut bench = Workbench::without_docker();
    let lines = "{\"prompt\": \"one\", \"max_tokens\": 2}\n{\"messages\": [{\"role\": \"user\", \"content\": \"two\"}]}\n";
    std::fs::write(bench.request_path("prompts.jsonl"), lines).unwrap();
    bench.serve();
    bench.save_load("asked", &simulated("load: { requests: 80 }, prompts: { file: prompts.jsonl }"));
    bench.until_requests("asked", 1);
    std::fs::write(bench.request_path("prompts.jsonl"), "not a prompt\n").unwrap();
    let document = bench.until_phase("asked", "Completed");
    // 40 × 2 tokens and 40 × the 4 of the request's own limit.
    assert_eq!(only_case(&document)["tokens"]["out"], 240);
    let run = &bench.runs("asked")[0];
    let asked: std::collections::BTreeSet<u32> =
        bench.records(run, 1).iter().map(|record| record.max_tokens).collect();
    assert_eq!(asked, std::collections::BTreeSet::from([2, 4]));
}

#[test]
fn a_run_without_one_answer_has_failed_and_keeps_its_cases() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    let spec = "{ target: { engine: simulated, simulated: { ttft: 2ms, itl: 0s, errorRate: 100% } }, \
                load: { requests: 6 }, output: { maxTokens: 2 } }";
    bench.save_load("all-bad", spec);
    let document = bench.until_status("all-bad", "its end with its cases", |status| {
        status["phase"] == "Failed" && status["results"]["cases"].is_array()
    });
    failed(&document, "NoSuccess", &["no request succeeded", "6 × httpStatus"], &["benchlet describe"]);
    assert_eq!(condition(&document, "Valid"), ("False", "NoSuccess"));
    let case = only_case(&document);
    assert_eq!((&case["requests"]["ok"], &case["requests"]["failed"]), (&0.into(), &6.into()));
    assert!(case["metrics"]["ttft"].is_null() && case["throughput"]["output_tokens_per_s"].is_null());
    let run = &bench.runs("all-bad")[0];
    assert!(bench.records(run, 1).iter().all(|record| record.error.is_some()));
}

#[test]
fn too_many_errors_make_figures_that_are_not_valid() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    let spec = "{ target: { engine: simulated, simulated: { ttft: 2ms, itl: 0s, errorRate: 20% } }, \
                load: { concurrency: 2, requests: 60 }, output: { maxTokens: 2 } }";
    bench.save_load("some-bad", spec);
    let document = bench.until_phase("some-bad", "Completed");
    assert_eq!(condition(&document, "Succeeded"), ("True", "Completed"));
    assert_eq!(condition(&document, "Valid"), ("False", "ErrorRate"));
    let case = only_case(&document);
    let failed = case["requests"]["failed"].as_u64().unwrap();
    assert!((1..60).contains(&failed), "{failed}");
    assert!(condition_message(&document, "Valid").contains(&format!("{failed} of 60 requests failed")));
    assert_eq!(case["requests"]["ok"].as_u64().unwrap() + failed, 60);
}

#[test]
fn a_missed_objective_is_told_with_its_figure() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    bench.save_load("missed", &simulated("load: { requests: 5 }, slo: { ttft_p95: 1ms, e2e_max: 60s }"));
    let document = bench.until_phase("missed", "Completed");
    assert_eq!(condition(&document, "SLOMet"), ("False", "ObjectivesMissed"));
    let result = &only_case(&document)["slo"]["ttft_p95"];
    let value = result["value"].as_f64().unwrap();
    assert!(value >= 5.0 && result["met"] == false, "{result}");
    let told = condition_message(&document, "SLOMet");
    let whole = bench.figures(&bench.runs("missed")[0], 1).slo["ttft_p95"].value.unwrap();
    assert!((whole - value).abs() < 0.0001, "{whole} and {value}");
    let figure = benchlet::run::load_words::ms(whole);
    assert!(told.contains(&format!("ttft_p95 is {figure} ms, at most 1.00 ms")), "{told} and {figure}");
    assert!(told.contains("1 of 2 missed"), "{told}");
    assert_eq!(only_case(&document)["goodput"], 0.0);
}

/// OpenAI's stream does not say how many tokens a chunk has, and here they are not one each.
#[test]
fn an_objective_that_cannot_be_measured_is_unknown_and_says_why() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    let spec = "{ target: { engine: simulated, simulated: { dialect: openai, ttft: 2ms, itl: 1ms, tokensPerChunk: 2 } }, \
                load: { requests: 4 }, output: { maxTokens: 5 }, slo: { itl_p95: 10s } }";
    bench.save_load("unknown", spec);
    let document = bench.until_phase("unknown", "Completed");
    assert_eq!(condition(&document, "SLOMet"), ("Unknown", "ObjectivesUnknown"));
    assert!(condition_message(&document, "SLOMet").contains("icl"));
}

// --- Keys -----------------------------------------------------------------------------------------

const KEY: &str = "sk-never-to-be-seen-0815";

/// `benchlet sim serve`, as somebody starts it by hand.
struct MockServer {
    child: Child,
    port: u16,
}

impl MockServer {
    fn start(more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_benchlet"))
            .args(["sim", "serve", "--listen", "127.0.0.1:0", "--ttft", "2ms", "--itl", "0"])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().rsplit(':').next().unwrap().parse().unwrap();
        Self { child, port }
    }
}

impl Drop for MockServer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_mock_server_behind_a_url_is_known_again_and_its_figures_are_simulated() {
    let server = MockServer::start(&[]);
    let mut bench = Workbench::without_docker();
    bench.serve();
    let engines = ["llama.cpp", "ollama", "vllm", "openai"];
    for engine in engines {
        let spec = format!(
            "{{ target: {{ engine: {engine}, url: 'http://127.0.0.1:{}' }}, load: {{ requests: 2 }}, \
             output: {{ maxTokens: 2 }}, warmup: {{ requests: 0 }} }}",
            server.port
        );
        bench.save_load(&engine.replace('.', "-"), &spec);
    }
    for engine in engines {
        let name = engine.replace('.', "-");
        let document = bench.until_phase(&name, "Completed");
        assert_eq!(only_case(&document)["requests"]["ok"], 2, "{engine}");
        assert_eq!(only_case(&document)["simulated"], true, "{engine}");
        assert_eq!(document["status"]["results"]["simulated"], true, "{engine}");
        assert!(bench.runs(&name)[0].simulated, "{engine}");
    }
    let count = "SELECT count(*) FROM benchmark_results WHERE simulated = 1";
    let rows: usize = bench.database().query_row(count, [], |row| row.get(0)).unwrap();
    assert_eq!(rows, engines.len());
}

#[test]
fn a_key_opens_the_server_and_is_written_nowhere() {
    let server = MockServer::start(&["--key", KEY]);
    let mut bench = Workbench::without_docker();
    std::fs::write(bench.path("the-key"), format!("{KEY}\n")).unwrap();
    let settings = format!(
        "[keys.file]\nhosts = [\"127.0.0.1:{port}\"]\nfile = \"the-key\"\n\
         [keys.variable]\nhosts = [\"localhost:{port}\"]\nenv = \"OUR_TEST_KEY\"\n",
        port = server.port
    );
    std::fs::write(bench.path("benchlet.toml"), settings).unwrap();
    bench.set("OUR_TEST_KEY", KEY);
    bench.serve();
    for host in ["127.0.0.1", "localhost"] {
        let spec = format!(
            "{{ target: {{ engine: openai, url: 'http://{host}:{}' }}, load: {{ requests: 3 }}, \
             output: {{ maxTokens: 2 }} }}",
            server.port
        );
        bench.save_load(&format!("by-{}", host.replace('.', "-")), &spec);
    }
    for name in ["by-127-0-0-1", "by-localhost"] {
        let document = bench.until_phase(name, "Completed");
        assert_eq!(only_case(&document)["requests"]["ok"], 3);
    }
    let plan = bench.say(&["plan", "requests/by-localhost.yaml", "-o", "json"]);
    assert!(plan.out.contains("\"hasKey\": true"), "{plan:?}");
    let described = bench.say(&["describe", "by-localhost"]);
    for said in [&plan.out, &plan.err, &described.out] {
        assert!(!said.contains(KEY));
    }
    bench.stop();
    let written = bench.everything_written();
    assert!(written.len() > 10);
    for (path, bytes) in written {
        assert!(memchr::memmem::find(&bytes, KEY.as_bytes()).is_none(), "{} has the key", path.display());
    }
}

#[test]
fn a_wrong_key_fails_with_a_hint_at_the_settings() {
    let server = MockServer::start(&["--key", KEY]);
    let mut bench = Workbench::without_docker();
    bench.serve();
    let spec = format!(
        "{{ target: {{ engine: openai, url: 'http://127.0.0.1:{}' }}, load: {{ requests: 3 }} }}",
        server.port
    );
    bench.save_load("locked", &spec);
    let document = bench.until_phase("locked", "Failed");
    let status = &document["status"];
    let told = format!("{} {}", status["message"], status["hint"]);
    assert!(told.contains("401"), "{told}");
    assert!(told.contains("[keys]"), "{told}");
}
