//! Load tests against a real llama-server: started for the run, running already, with a key, in
//! conflict; and whether the figures are those of the server itself.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use benchlet::run::request_record::Record;
use serde_json::Value;

use crate::daemon::{self, serve_service};
use crate::load_bench::{condition, failed, only_case};
use crate::workbench::{Workbench, tiny_model};

/// Its command in the compose file, with more behind it.
fn command(more: &[&str]) -> Vec<String> {
    let words = ["llama-server", "-m", "/models/tiny.gguf", "-t", "1", "--host", "0.0.0.0", "--port", "8080"];
    words.iter().chain(more).map(|word| (*word).to_owned()).collect()
}

/// Adds a service that does not run.
fn define(bench: &Workbench, name: &str, command: &[String], port: Option<u16>) {
    let ports = port.map(|port| format!("    ports: ['127.0.0.1:{port}:8080']\n")).unwrap_or_default();
    let words: Vec<String> = command.iter().map(|word| format!("'{word}'")).collect();
    let text = format!(
        "    image: {}\n    command: [{}]\n{ports}    volumes: ['{}:/models/tiny.gguf:ro']\n",
        daemon::image(),
        words.join(", "),
        tiny_model()
    );
    bench.add_service(name, &text);
}

/// Adds a service and starts it; gives its container and its port on the loopback address.
fn run_service(bench: &mut Workbench, name: &str, more: &[&str]) -> (String, u16) {
    let command = command(more);
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let (id, port) = serve_service(&bench.project(), name, &words, &tiny_model());
    define(bench, name, &command, Some(port));
    bench.until("the server is ready", |_| get(port, "/health").filter(|said| said.contains("\"ok\"")));
    (id, port)
}

/// What a server answers, if it does.
fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut said = String::new();
    stream.read_to_string(&mut said).ok()?;
    said.starts_with("HTTP/1.1 200").then_some(said)
}

fn counter(port: u16, name: &str) -> u64 {
    let said = get(port, "/metrics").expect("its metrics");
    let line = said.lines().find_map(|line| line.strip_prefix(&format!("llamacpp:{name} ")));
    line.unwrap_or_else(|| panic!("{name} in {said}")).parse().unwrap()
}

/// The engine's container that runs now.
fn until_engine(bench: &mut Workbench) -> String {
    bench.until("an engine that runs", |bench| {
        let mut list = bench.containers().into_iter();
        list.find(|found| found.role == "engine" && found.running).map(|found| found.id)
    })
}

fn all_records(bench: &Workbench, name: &str) -> Vec<Record> {
    let run = bench.runs(name).pop().unwrap();
    let cases = bench.status(name).unwrap()["status"]["results"]["cases"].as_array().unwrap().len();
    (1..=cases as u32).flat_map(|case| bench.records(&run, case)).collect()
}

/// So many that a test has the time to do something to it.
const ENDLESS: &str = "load: { concurrency: 2, requests: 100000 }, output: { maxTokens: 16 }";
const FEW: &str = "load: { requests: 5 }, output: { maxTokens: 8 }, warmup: { requests: 1 }";

#[test]
fn a_managed_service_is_a_container_of_its_own_that_goes_when_the_run_is_cancelled() {
    let Some(mut bench) = Workbench::open() else { return };
    bench.serve();
    let target =
        "{ service: tiny, lifecycle: Managed, preset: SingleUser, params: { ctx_size: 1024, b: 64 } }";
    bench.save_load("managed", &format!("{{ target: {target}, {ENDLESS} }}"));
    let id = until_engine(&mut bench);
    bench.until_requests("managed", 5);
    let run = bench.runs("managed").pop().unwrap();
    let found = daemon::inspect(&id);
    assert_eq!(found.name.unwrap(), format!("/benchlet-{}-0-0-engine", run.id.simple()));
    let config = found.config.unwrap();
    let arguments = config.cmd.unwrap().join(" ");
    for part in
        ["-m /models/tiny.gguf", "--port 8080", "--host 0.0.0.0", "--parallel 1", "--ctx-size 1024", "-b 64"]
    {
        assert!(arguments.contains(part), "{part} in {arguments}");
    }
    let labels = config.labels.unwrap();
    let label = |name: &str| labels.get(&format!("benchlet.{name}")).map(String::as_str);
    assert_eq!(label("run"), Some(run.id.to_string().as_str()));
    assert_eq!((label("request"), label("role")), (Some("managed"), Some("engine")));
    assert_eq!(label("instance"), Some(bench.instance.as_str()));
    let ports = found.network_settings.unwrap().ports.unwrap();
    let bindings = ports["8080/tcp"].as_ref().unwrap();
    let hosts: Vec<_> = bindings.iter().filter_map(|binding| binding.host_ip.as_deref()).collect();
    assert_eq!(hosts, ["127.0.0.1"], "nobody else can reach it");

    bench.say(&["cancel", "managed"]).good();
    let document = bench.until_status("managed", "its end with its figures", |status| {
        status["phase"] == "Cancelled" && status["results"]["cases"].is_array()
    });
    assert_eq!(bench.containers(), []);
    assert_eq!(condition(&document, "Valid"), ("False", "CutShort"));
    assert!(only_case(&document)["requests"]["ok"].as_u64().unwrap() >= 3);
    assert!(document["status"]["command"].as_str().unwrap().contains("docker run"), "{document:#}");
    bench.until_no_process_is_left();
}

#[test]
fn a_managed_service_yields_figures_and_what_it_is_and_is_gone_afterwards() {
    let Some(mut bench) = Workbench::open() else { return };
    bench.serve();
    let target = "{ service: tiny, lifecycle: Managed }";
    let spec = format!(
        "{{ target: {target}, load: {{ concurrency: [1, 2], requests: 6 }}, \
                        output: {{ maxTokens: 12, ignoreEos: true }} }}"
    );
    bench.save_load("figures", &spec);
    let document = bench.until_phase("figures", "Completed");
    assert_eq!(bench.containers(), []);
    bench.until_no_process_is_left();
    assert_eq!(condition(&document, "Succeeded").0, "True");
    let cases = document["status"]["results"]["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 2);
    for case in cases {
        assert_eq!((&case["simulated"], &case["engine"]), (&false.into(), &"llama.cpp".into()));
        assert_eq!((&case["requests"]["ok"], &case["tokens"]["out"]), (&6.into(), &72.into()), "{case:#}");
        assert_eq!((&case["tokens"]["source"], &case["tokens"]["cached"]), (&"usage".into(), &0.into()));
        assert!(case["context_window"].as_u64().unwrap() > 0);
        for metric in ["ttft", "itl", "tpot", "e2e"] {
            // On a busy machine the tokens of an answer may come in one piece, without a gap.
            assert!(case["metrics"][metric]["p99"].as_f64().is_some(), "{metric}: {case:#}");
        }
    }
    let run = &bench.runs("figures")[0];
    let fingerprint = run.fingerprint.as_ref().unwrap();
    assert!(fingerprint["image"]["id"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(fingerprint["model"]["sha256"].as_str().unwrap().len(), 64);
    assert!(!run.simulated);
    let (size, simulated): (i64, i64) = bench
        .database()
        .query_row("SELECT min(model_size_bytes), max(simulated) FROM benchmark_results", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert!(size > 0 && simulated == 0, "{size} and {simulated}");
    assert!(bench.say(&["logs", "figures"]).good().out.len() > 100, "the server's own words");
}

#[test]
fn two_managed_services_never_run_at_the_same_time() {
    let Some(mut bench) = Workbench::open() else { return };
    bench.serve();
    let target = |name: &str| format!("{{ service: {name}, lifecycle: Managed }}");
    bench.save_load("both", &format!("{{ targets: [{}, {}], {FEW} }}", target("tiny"), target("slow")));
    let mut seen = std::collections::BTreeSet::new();
    let document = bench.until("both measured", |bench| {
        let list = bench.containers().into_iter().filter(|found| found.role == "engine" && found.running);
        let now: Vec<String> = list.map(|found| found.id).collect();
        assert!(now.len() <= 1, "{now:?}");
        seen.extend(now);
        bench.status("both").filter(|document| document["status"]["phase"] == "Completed")
    });
    assert_eq!(seen.len(), 2);
    let cases = document["status"]["results"]["cases"].as_array().unwrap();
    let targets: Vec<&Value> = cases.iter().map(|case| &case["target"]).collect();
    assert_eq!(targets, ["tiny", "slow"]);
    assert!(cases.iter().all(|case| case["requests"]["ok"] == 5), "{cases:#?}");
    assert_eq!(bench.containers(), []);
}

#[test]
fn a_killed_controllers_engine_is_adopted_with_what_measures_it() {
    let Some(mut bench) = Workbench::open() else { return };
    bench.serve();
    let target = "{ service: tiny, lifecycle: Managed }";
    bench.save_load("kept", &format!("{{ target: {target}, {ENDLESS} }}"));
    let engine = until_engine(&mut bench);
    bench.until_requests("kept", 5);
    let measuring = bench.process_with(" measure ").expect("it measures");
    bench.kill();
    bench.serve();
    bench.until_status("kept", "Measuring", |status| status["phase"] == "Running");
    assert_eq!(until_engine(&mut bench), engine);
    assert_eq!(bench.process_with(" measure "), Some(measuring));
    bench.say(&["cancel", "kept"]).good();
    bench.until_runs_ended("kept", 1);
    assert_eq!(bench.containers(), []);
    bench.until_no_process_is_left();
}

#[test]
fn an_engine_whose_run_was_cancelled_while_no_controller_was_there_goes_too() {
    let Some(mut bench) = Workbench::open() else { return };
    bench.serve();
    let target = "{ service: slow, lifecycle: Managed }";
    bench.save_load("left", &format!("{{ target: {target}, {ENDLESS} }}"));
    // Perhaps before it was healthy, so that the next controller finds it while it starts.
    until_engine(&mut bench);
    bench.kill();
    bench.save_load("left", &format!("{{ target: {target}, {ENDLESS}, state: Cancelled }}"));
    bench.age("left.yaml");
    bench.serve();
    let runs = bench.until_runs_ended("left", 1);
    assert_eq!(runs[0].state.phase().as_str(), "Cancelled");
    assert_eq!(bench.containers(), []);
    bench.until_no_process_is_left();
}

#[test]
fn a_service_that_cannot_start_fails_with_its_last_words() {
    let Some(mut bench) = Workbench::open() else { return };
    define(&bench, "wrong", &command(&["--no-such-flag"]), None);
    bench.add_service(
        "absent",
        "    image: benchlet-test/no-such-image:nowhere\n    command: [llama-server]\n",
    );
    bench.serve();
    bench.save_load("wrong", &format!("{{ target: {{ service: wrong, lifecycle: Managed }}, {FEW} }}"));
    let absent = "{ service: absent, engine: llama.cpp, lifecycle: Managed }";
    bench.save_load("absent", &format!("{{ target: {absent}, {FEW}, imagePullPolicy: Never }}"));
    let document = bench.until_phase("wrong", "Failed");
    failed(
        &document,
        "EngineFailed",
        &["wrong did not become ready", "exit code 1", "--no-such-flag"],
        &["benchlet logs"],
    );
    let logs = bench.say(&["logs", "wrong"]).good();
    assert!(logs.out.contains("invalid argument: --no-such-flag"), "{logs:?}");
    let document = bench.until_phase("absent", "Failed");
    failed(&document, "ImageUnavailable", &["no-such-image"], &["docker pull"]);
    assert_eq!(bench.containers(), []);
}

// --- Against a server that runs -------------------------------------------------------------------

/// Sums of what the records say.
fn sums(records: &[Record]) -> (u64, u64, u64) {
    let sum =
        |of: fn(&Record) -> Option<u64>| records.iter().map(|record| of(record).expect("a count")).sum();
    (sum(|record| record.tokens_in), sum(|record| record.tokens_out), sum(|record| record.tokens_cached))
}

#[test]
fn tokens_are_those_that_the_server_itself_has_counted_streamed_or_not_in_both_apis() {
    let Some(mut bench) = Workbench::open() else { return };
    let (_, port) = run_service(&mut bench, "metered", &["--metrics", "-c", "4096", "-np", "2"]);
    bench.serve();
    let mut before = (0, 0);
    for (api, stream) in [("Chat", true), ("Chat", false), ("Completions", true), ("Completions", false)] {
        let name = format!("{}-{stream}", api.to_lowercase());
        let spec = format!(
            "{{ target: {{ service: metered, api: {api} }}, stream: {stream}, warmup: {{ requests: 2 }}, \
             load: {{ concurrency: 2, requests: 8 }}, output: {{ maxTokens: 9 }} }}"
        );
        bench.save_load(&name, &spec);
        let document = bench.until_phase(&name, "Completed");
        let case = only_case(&document);
        assert_eq!((&case["requests"]["ok"], &case["context_window"]), (&8.into(), &2048.into()), "{name}");
        let source = if api == "Chat" { "usage" } else { "engine" };
        assert_eq!(case["tokens"]["source"], source, "{name}");
        assert_eq!(case["metrics"]["ttft"].is_null(), !stream, "{name}");
        assert!(case["metrics"]["e2e"]["p50"].as_f64().unwrap() > 0.0);
        let records = all_records(&bench, &name);
        assert_eq!(records.len(), 10, "those that warm up too");
        let (tokens_in, tokens_out, cached) = sums(&records);
        assert_eq!(cached, 0, "{name}: salted");
        let now = (counter(port, "prompt_tokens_total"), counter(port, "tokens_predicted_total"));
        assert_eq!((tokens_in, tokens_out), (now.0 - before.0, now.1 - before.1), "{name}");
        before = now;
    }
}

#[test]
fn a_prompt_is_cold_when_salted_and_cached_when_kept() {
    let Some(mut bench) = Workbench::open() else { return };
    let (_, port) = run_service(&mut bench, "cache", &["-c", "4096", "-np", "1"]);
    bench.serve();
    for (policy, says) in [("Salt", "salted"), ("Keep", "kept")] {
        let spec = format!(
            "{{ target: {{ engine: llama.cpp, url: 'http://127.0.0.1:{port}' }}, cache: {policy}, \
             prompts: {{ inline: ['why is the sky blue and why is the sea, and who has asked it before'] }}, \
             warmup: {{ requests: 1 }}, load: {{ requests: 4 }}, output: {{ maxTokens: 3 }} }}"
        );
        let name = policy.to_lowercase();
        bench.save_load(&name, &spec);
        let document = bench.until_phase(&name, "Completed");
        let case = only_case(&document);
        assert_eq!(case["cache"], says);
        let (cached, all) =
            (case["tokens"]["cached"].as_u64().unwrap(), case["tokens"]["in"].as_u64().unwrap());
        if policy == "Salt" {
            assert_eq!(cached, 0);
            assert_eq!(condition(&document, "Valid").0, "True");
        } else {
            assert!(cached > 0 && cached < all, "{cached} of {all}");
            let percent = case["tokens"]["cache_hit_percent"].as_f64().unwrap();
            assert!((percent - 100.0 * cached as f64 / all as f64).abs() < 0.001, "{percent}");
        }
    }
}

#[test]
fn synthetic_prompts_have_the_length_that_was_asked_for() {
    let Some(mut bench) = Workbench::open() else { return };
    run_service(&mut bench, "long", &["-c", "8192", "-np", "2"]);
    bench.serve();
    let spec = "{ target: { service: long }, prompts: { synthetic: { inputTokens: [100, 600] } }, \
                load: { concurrency: 2, requests: [4, 6] }, output: { maxTokens: 2 }, warmup: { requests: 1 } }";
    bench.save_load("matrix", spec);
    let document = bench.until_phase("matrix", "Completed");
    let cases = document["status"]["results"]["cases"].as_array().unwrap();
    let cells: Vec<(u64, u64)> = cases
        .iter()
        .map(|case| (case["input_tokens"].as_u64().unwrap(), case["requests_asked"].as_u64().unwrap()))
        .collect();
    assert_eq!(cells, [(100, 4), (100, 6), (600, 4), (600, 6)]);
    for (case, (asked, requests)) in cases.iter().zip(cells) {
        assert_eq!(case["requests"]["ok"].as_u64().unwrap(), requests, "{case:#}");
        let mean = case["tokens"]["in"].as_u64().unwrap() as f64 / requests as f64;
        assert!((mean / asked as f64 - 1.0).abs() <= 0.1, "{mean} tokens, asked for {asked}");
    }
}

const KEY: &str = "sk-tiny-never-to-be-seen-42";
const TOKEN: &str = "hf_never_to_be_seen_and_longer_than_the_key";

#[test]
fn a_services_own_key_opens_it_and_is_written_nowhere() {
    let Some(mut bench) = Workbench::open() else { return };
    run_service(&mut bench, "keyed", &["--api-key", KEY]);
    // A token that has nothing to do with the server, and is longer than its key.
    let file = bench.path("docker-compose.yml");
    let text =
        std::fs::read_to_string(&file).unwrap() + &format!("    environment: {{ HF_TOKEN: {TOKEN} }}\n");
    std::fs::write(file, text).unwrap();
    bench.serve();
    bench.save_load("running", &format!("{{ target: {{ service: keyed }}, {FEW} }}"));
    let document = bench.until_phase("running", "Completed");
    assert_eq!(only_case(&document)["requests"]["ok"], 5);
    // A second one of its own needs none.
    let target = "{ service: keyed, lifecycle: Managed }";
    bench.save_load("managed", &format!("{{ target: {target}, {FEW}, conflict: Share }}"));
    let document = bench.until_phase("managed", "Completed");
    assert_eq!(only_case(&document)["requests"]["ok"], 5);
    assert!(!document["status"]["command"].as_str().unwrap().contains("api-key"));
    for line in [
        &["plan", "requests/managed.yaml"][..],
        &["describe", "managed"],
        &["logs", "managed"],
        &["get", "running", "-o", "json"],
    ] {
        let said = bench.say(line).good();
        let said = format!("{}{}", said.out, said.err);
        assert!(!said.contains(KEY) && !said.contains(TOKEN), "{line:?}: {said}");
    }
    bench.stop();
    for (path, bytes) in bench.everything_written() {
        for secret in [KEY, TOKEN] {
            let found = memchr::memmem::find(&bytes, secret.as_bytes());
            assert!(found.is_none(), "{} has {secret}", path.display());
        }
    }
}

// --- Conflicts ------------------------------------------------------------------------------------

#[test]
fn a_service_that_runs_already_is_left_alone_used_or_shared_as_the_request_says() {
    let Some(mut bench) = Workbench::open() else { return };
    let (own, port) = run_service(&mut bench, "busy", &["--metrics", "-c", "2048"]);
    let creations = daemon::Creations::watch(&bench.instance);
    bench.serve();
    let spec = |conflict: &str| {
        format!("{{ target: {{ service: busy, lifecycle: Managed }}, {FEW}, conflict: {conflict} }}")
    };
    let made = |bench: &Workbench, name: &str| creations.count(&bench.runs(name)[0].id.to_string(), "engine");
    bench.save_load("fail", &spec("Fail"));
    let document = bench.until_phase("fail", "Failed");
    failed(&document, "ServiceRunning", &["the service busy is running"], &["Stop, Share or UseRunning"]);
    assert_eq!(counter(port, "tokens_predicted_total"), 0);

    bench.save_load("use", &spec("UseRunning"));
    let document = bench.until_phase("use", "Completed");
    assert_eq!(only_case(&document)["requests"]["ok"], 5);
    assert!(document["status"]["warnings"].to_string().contains("measured as it runs"), "{document:#}");
    let (_, used, _) = sums(&all_records(&bench, "use"));
    assert_eq!((counter(port, "tokens_predicted_total"), made(&bench, "use")), (used, 0));

    bench.save_load("share", &spec("Share"));
    let document = bench.until_phase("share", "Completed");
    assert_eq!(only_case(&document)["requests"]["ok"], 5);
    assert!(document["status"]["warnings"].to_string().contains("shares its devices"), "{document:#}");
    assert_eq!((counter(port, "tokens_predicted_total"), made(&bench, "share")), (used, 1));
    assert!(daemon::is_running(&own));
    assert_eq!(bench.containers(), []);
}

#[test]
fn a_service_that_is_stopped_for_the_run_is_started_again_even_when_it_is_cancelled() {
    let Some(mut bench) = Workbench::open() else { return };
    let (own, _) = run_service(&mut bench, "busy", &[]);
    bench.serve();
    let target = "target: { service: busy, lifecycle: Managed }, conflict: Stop";
    bench.save_load("stops", &format!("{{ {target}, {ENDLESS} }}"));
    bench.until_requests("stops", 3);
    assert!(!daemon::is_running(&own));
    bench.save_load("stops", &format!("{{ {target}, {ENDLESS}, state: Cancelled }}"));
    bench.until_runs_ended("stops", 1);
    assert!(daemon::is_running(&own));
    assert_eq!(bench.containers(), []);
    bench.save_load("again", &format!("{{ {target}, {FEW} }}"));
    let document = bench.until_phase("again", "Completed");
    assert_eq!(only_case(&document)["requests"]["ok"], 5);
    assert!(daemon::is_running(&own));
    assert_eq!(bench.containers(), []);
}
