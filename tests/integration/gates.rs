//! Gates, baselines and comparisons as request files, carried out by the real controller on real load tests of a
//! server whose failures a test turns on and off. Times decide nothing here: what is judged is the error rate.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::load_bench::condition;
use crate::scripted_server::Server;
use crate::workbench::Workbench;

/// A server that fails every second prompt while it is told to.
struct Flaky {
    server: Server,
    fails: Arc<AtomicBool>,
}

impl Flaky {
    fn new() -> Self {
        let fails = Arc::new(AtomicBool::new(false));
        let (told, count) = (Arc::clone(&fails), AtomicUsize::new(0));
        let server = Server::new(move |exchange| {
            let odd = count.fetch_add(1, Ordering::SeqCst) % 2 == 1;
            if odd && told.load(Ordering::SeqCst) {
                return exchange.status("500 Internal Server Error", "{}");
            }
            exchange.answer()
        });
        Self { server, fails }
    }

    fn break_down(&self) {
        self.fails.store(true, Ordering::SeqCst);
    }
}

/// What is left to judge is the error rate: how fast a machine under test is says nothing here.
const ERRORS_ALONE: &str = "thresholds: { p95_latency: {}, p50_latency: {}, throughput: {} }";

/// At a pace that leaves the client idle, and valid however late it is: a busy machine makes no verdict.
fn spec(server: &Flaky, more: &str) -> String {
    format!(
        "{{ target: {{ engine: openai, url: '{}' }}, load: {{ rate: 100, arrivals: Constant, requests: 8 }}, \
         warmup: {{ requests: 0 }}, validity: {{ clientDelay: 60s, clientCpu: 100% }}{more} }}",
        server.server.url()
    )
}

fn gated(server: &Flaky) -> String {
    spec(server, &format!(", gate: {{ baseline: main, {ERRORS_ALONE} }}"))
}

fn save(bench: &Workbench, name: &str, kind: &str, spec: &str) {
    let text = format!("apiVersion: benchlet/v1\nkind: {kind}\nspec: {spec}\n");
    fs::write(bench.request_path(&format!("{name}.yaml")), text).unwrap();
}

fn verdict(document: &Value) -> &Value {
    &document["status"]["verdict"]
}

fn judged(bench: &Workbench, request: &str) -> u64 {
    let sql = "SELECT count(*) FROM judgements WHERE request_name = ?1";
    bench.database().query_row(sql, [request], |row| row.get(0)).unwrap()
}

fn reason_is(kind: &'static str, reason: &'static str) -> impl Fn(&Value) -> bool {
    move |status| {
        let conditions = status["conditions"].as_array();
        conditions.into_iter().flatten().any(|one| one["type"] == kind && one["reason"] == reason)
    }
}

#[test]
fn the_exit_code_of_a_run_is_that_of_its_gate() {
    let (server, bench) = (Flaky::new(), Workbench::without_docker());
    bench.save_load("load", &gated(&server));
    let path = bench.request_path("load.yaml").display().to_string();
    let first = bench.say(&["run", &path]);
    assert_eq!(first.code, 3, "{}{}", first.out, first.err);
    assert!(first.out.contains("there is no baseline main for load"), "{}", first.out);
    assert!(first.out.contains("benchlet baseline set main --from load"), "{}", first.out);

    bench.say(&["baseline", "set", "main", "--from", "load"]).good();
    let second = bench.say(&["run", &path]);
    assert_eq!(second.code, 0, "{}{}", second.out, second.err);
    assert!(second.out.contains("load: against main: Pass"), "{}", second.out);

    server.break_down();
    let third = bench.say(&["run", &path, "-o", "json"]);
    assert_eq!(third.code, 1, "{}{}", third.out, third.err);
    let told: Value = serde_json::from_str(&third.out).unwrap();
    assert_eq!((&told[0]["phase"], &told[0]["verdict"]["policy"]), (&json!("Completed"), &json!("Fail")));
    let status = bench.status("load").unwrap();
    assert_eq!(condition(&status, "GatePassed"), ("False", "PolicyFail"));
    assert_eq!(condition(&status, "Succeeded"), ("True", "Completed"), "it did run to its end");
    let figure = &verdict(&status)["figures"][0];
    assert_eq!((&figure["figure"], &figure["candidate"]), (&json!("error_rate"), &json!(0.5)));
    assert_eq!(verdict(&status)["against"], "main");
    let shown: Value = serde_json::from_str(&bench.say(&["get", "load", "-o", "json"]).good().out).unwrap();
    assert_eq!(verdict(&shown), verdict(&status), "one shape in the status file and in `get`");

    let told = bench.say(&["describe", "load"]).good().out;
    for expected in [
        "GatePassed",
        "PolicyFail",
        "Verdict:",
        "error_rate",
        "0.00 %",
        "50.00 %",
        "gate:        against main",
    ] {
        assert!(told.contains(expected), "{expected} in {told}");
    }
    let listed = bench.say(&["get"]).good().out;
    assert!(listed.contains("GatePassed=False"), "{listed}");
    assert_eq!(bench.say(&["wait", "load", "--for=GatePassed", "--timeout", "1s"]).code, 1);
    bench.say(&["wait", "load", "--for=GatePassed=False", "--timeout", "10s"]).good();
}

#[test]
fn a_run_of_a_whole_directory_judges_what_it_measured_and_moves_no_baseline() {
    let (server, bench) = (Flaky::new(), Workbench::without_docker());
    bench.save_load("load", &spec(&server, ""));
    save(&bench, "pin", "Baseline", "{ name: main, from: { request: load } }");
    let compares =
        format!("{{ baseline: {{ name: main }}, candidate: {{ request: load }}, {ERRORS_ALONE} }}");
    save(&bench, "check", "Comparison", &compares);
    let directory = bench.path("requests").display().to_string();
    bench.say(&["run", &bench.request_path("load.yaml").display().to_string()]).good();
    let first = bench.runs("load")[0].id.to_string();
    let good = bench.say(&["run", &directory]);
    assert_eq!(good.code, 0, "{}{}", good.out, good.err);
    assert!(good.out.contains("check: against main: Pass"), "{}", good.out);
    server.break_down();
    let bad = bench.say(&["run", &directory]);
    assert_eq!(bad.code, 1, "{}{}", bad.out, bad.err);
    assert!(bad.out.contains("check: against main: Fail (r=100/s error_rate"), "{}", bad.out);
    assert_eq!(bench.status("pin").unwrap()["status"]["baseline"]["run"], first.as_str());
    assert_eq!(bench.runs("load").len(), 3);
}

#[test]
fn a_gate_judges_once_a_baseline_is_there_and_again_when_it_is_edited() {
    let (server, mut bench) = (Flaky::new(), Workbench::without_docker());
    bench.save_load("load", &gated(&server));
    bench.serve();
    let first = bench.until_phase("load", "Completed");
    let first = first["status"]["run"]["id"].as_str().unwrap().to_owned();
    server.break_down();
    bench.say(&["rerun", "load", "--wait"]).good();
    let status =
        bench.until_status("load", "a gate without a baseline", reason_is("GatePassed", "NoBaseline"));
    assert_eq!(condition(&status, "GatePassed").0, "Unknown");

    bench.say(&["baseline", "set", "main", "--from", &first]).good();
    let status = bench.until_status("load", "a gate that failed", reason_is("GatePassed", "PolicyFail"));
    assert_eq!(verdict(&status)["baselineRun"], first.as_str());
    let runs = bench.runs("load").len();

    // Half of the requests may fail now. The run that there is, is judged anew.
    let lenient =
        "thresholds: { p95_latency: {}, p50_latency: {}, throughput: {}, error_rate: { fail: 60% } }";
    bench.save_load("load", &spec(&server, &format!(", gate: {{ baseline: main, {lenient} }}")));
    bench.until_status("load", "a gate that passed", reason_is("GatePassed", "PolicyPass"));
    bench.save_load("load", &gated(&server));
    bench.until_status("load", "a gate that was edited back", reason_is("GatePassed", "PolicyFail"));
    assert_eq!(bench.runs("load").len(), runs, "an edit of the gate measures nothing");
}

#[test]
fn files_pin_a_baseline_and_judge_every_new_run_once() {
    let (server, mut bench) = (Flaky::new(), Workbench::without_docker());
    save(&bench, "pin", "Baseline", "{ name: main, from: { request: load } }");
    let compares =
        format!("{{ baseline: {{ name: main }}, candidate: {{ request: load }}, {ERRORS_ALONE} }}");
    save(&bench, "check", "Comparison", &compares);
    bench.serve();
    // Both are there before what they are about.
    let status = bench.until_status("pin", "a baseline that waits", |status| {
        status["message"].as_str().unwrap_or_default().contains("load does not have a completed run")
    });
    assert_eq!(status["status"]["phase"], "Pending");
    bench.save_load("load", &spec(&server, ""));
    let pinned = bench.until_phase("pin", "Completed");
    let first = bench.runs("load")[0].id.to_string();
    assert_eq!(
        (&pinned["status"]["baseline"]["run"], &pinned["status"]["baseline"]["request"]),
        (&json!(first), &json!("load"))
    );

    // The first run is the baseline itself; the second one passes, the third one does not.
    bench.say(&["rerun", "load", "--wait"]).good();
    let status =
        bench.until_status("check", "a comparison that passed", reason_is("GatePassed", "PolicyPass"));
    assert_eq!(verdict(&status)["baselineRun"], first.as_str());
    server.break_down();
    bench.say(&["rerun", "load", "--wait"]).good();
    bench.until_status("check", "a comparison that failed", reason_is("GatePassed", "PolicyFail"));
    assert_eq!(bench.status("pin").unwrap()["status"]["baseline"]["run"], first.as_str(), "it does not move");

    // What was judged is not judged again, not even by a controller that comes back.
    let before = judged(&bench, "check");
    bench.stop();
    bench.serve();
    bench.until_caught_up();
    assert_eq!(judged(&bench, "check"), before);
    let said = bench.say(&["delete", "run", &first]);
    assert!(said.code == 1 && said.err.contains("pinned"), "{}", said.err);
}

#[test]
fn a_comparison_with_the_run_before_needs_no_baseline() {
    let (server, mut bench) = (Flaky::new(), Workbench::without_docker());
    let compares =
        format!("{{ baseline: {{ request: load }}, candidate: {{ request: load }}, {ERRORS_ALONE} }}");
    save(&bench, "check", "Comparison", &compares);
    bench.save_load("load", &spec(&server, ""));
    bench.serve();
    bench.until_status("check", "a first run without one before it", reason_is("GatePassed", "NoBaseline"));
    server.break_down();
    bench.say(&["rerun", "load", "--wait"]).good();
    let status =
        bench.until_status("check", "a comparison that failed", reason_is("GatePassed", "PolicyFail"));
    assert_eq!(verdict(&status)["against"], "load before");
}

#[test]
fn noise_has_the_controller_measure_a_request_so_often_and_keeps_how_far_its_runs_lie_apart() {
    let (server, mut bench) = (Flaky::new(), Workbench::without_docker());
    bench.save_load("load", &spec(&server, ""));
    bench.serve();
    bench.until_phase("load", "Completed");
    let said = bench.say(&["noise", "load", "--runs", "3", "-o", "json"]).good();
    assert_eq!(bench.runs("load").len(), 4);
    assert!(said.err.contains("3 of 3: the run "), "{}", said.err);
    let told: Value = serde_json::from_str(&said.out).unwrap();
    let items = told["items"].as_array().unwrap();
    let of = |figure: &str| items.iter().find(|item| item["figure"] == figure);
    let p95 = of("response_time_p95").unwrap_or_else(|| panic!("{told:#}"));
    assert_eq!((&p95["case"], &p95["runs"]), (&json!("r=100/s"), &json!(3)));
    assert!(p95["relative"].as_f64().unwrap() >= 0.0);
    let kept: u64 = bench
        .database()
        .query_row("SELECT count(*) FROM noise_floors WHERE request = 'load'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(kept, items.len() as u64);
}
