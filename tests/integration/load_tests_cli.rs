//! Load tests at the command line: tried out, run once, steered and shown, beside a controller and
//! without one.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;

use crate::load_bench::{ENDLESS, Words, condition, only_case, request, simulated};
use crate::workbench::Workbench;

/// Without the blanks that align columns.
fn spaced(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_quick_start_measures_both_kinds_and_says_that_they_are_made_up() {
    let bench = Workbench::without_docker();
    for file in ["load-test.yaml", "simulated.yaml"] {
        let from = format!("{}/requests/quickstart/{file}", env!("CARGO_MANIFEST_DIR"));
        fs::create_dir_all(bench.request_path("quickstart")).unwrap();
        fs::copy(from, bench.request_path("quickstart").join(file)).unwrap();
    }
    let said = bench.command(&["run", "requests/quickstart"]).env("BENCHLET_LOG", "warn").output().unwrap();
    let said = Words::of(said).good();
    assert_eq!(said.err, "", "nothing to worry about");
    let out = spaced(&said.out);
    for part in [
        "NAME PHASE CASE TEST PARAMETERS",
        "NAME PHASE CASE LOAD OK ERRORS",
        "quickstart Completed 1 pp512",
        "quickstart-load Completed 1 c=1 simulated/simulated",
        "quickstart-load Completed 3 c=16 simulated/simulated",
        "quickstart-load: the server was simulated; its figures are made up",
        "quickstart: these figures are simulated; nothing was measured",
    ] {
        assert!(out.contains(part), "{part:?} in\n{}", said.out);
    }
    let document = bench.status("quickstart/load-test").unwrap();
    for kind in ["Accepted", "Succeeded"] {
        assert_eq!(condition(&document, kind).0, "True", "{kind}");
    }
    // A machine that is busy with other tests may make the client late or the engine slow, and says so.
    for kind in ["Valid", "SLOMet"] {
        assert_ne!(condition(&document, kind).0, "Unknown", "{kind}");
    }
    let database = bench.database();
    let rows: (i64, i64, f64) = database
        .query_row("SELECT count(*), min(simulated), min(success_rate) FROM benchmark_results", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .unwrap();
    assert_eq!(rows, (3, 1, 100.0));
    let services: Vec<String> = database
        .prepare("SELECT status FROM benchmark_runs")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(services, ["completed"], "llama-bench's alone");
    let run = &bench.runs("quickstart-load")[0];
    assert!(bench.records(run, 3).len() > 16);
    let store = benchlet::store::Store::open(&bench.path("state"), benchlet::store::Access::Guest).unwrap();
    let names: Vec<String> =
        (1..=3).flat_map(|case| store.series(run.id, case).unwrap().into_keys()).collect();
    for series in ["host_cpu_percent", "host_memory_bytes", "engine_memory_bytes"] {
        assert!(names.iter().any(|name| name == series), "{series} in {names:?}");
    }
    assert_eq!(bench.processes(), Vec::<u32>::new());
}

#[test]
fn what_new_prints_runs_as_it_is() {
    let bench = Workbench::without_docker();
    let new = bench
        .say(&[
            "new",
            "LoadTest",
            "--engine",
            "simulated",
            "--concurrency",
            "1,2",
            "--num-requests",
            "4",
            "--max-tokens",
            "3",
            "--prompt",
            "say: \"hello\" # please",
            "--name",
            "made",
        ])
        .good();
    let mut run = bench
        .command(&["run", "-", "-o", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    run.stdin.take().unwrap().write_all(new.out.as_bytes()).unwrap();
    let said = Words::of(run.wait_with_output().unwrap()).good();
    let ended: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&ended[0]["name"], &ended[0]["phase"]), (&"made".into(), &"Completed".into()));
    let cases = ended[0]["cases"].as_array().unwrap();
    let loads: Vec<&Value> = cases.iter().map(|case| &case["concurrency"]).collect();
    assert_eq!(loads, [1, 2]);
    assert!(cases.iter().all(|case| case["requests"]["ok"] == 4), "{cases:#?}");
}

#[test]
fn every_form_of_new_is_a_valid_request() {
    let bench = Workbench::without_docker();
    let forms: [&[&str]; 6] = [
        &["--engine", "llama.cpp"],
        &["--engine", "vllm", "--url", "http://10.0.0.7:8000", "--model", "a/b,c", "--duration", "30s"],
        &["--url", "http://localhost:1234", "--rate", "5/s,10/s", "--duration", "20s"],
        &["--service", "tiny"],
        &["--service", "tiny", "--managed", "--num-requests", "10,20"],
        &["--engine", "simulated"],
    ];
    for (number, form) in forms.iter().enumerate() {
        let line = [&["new", "LoadTest"], *form].concat();
        let said = bench.say(&line).good();
        let file = bench.path(&format!("new-{number}.yaml"));
        fs::write(&file, &said.out).unwrap();
        bench.say(&["validate", file.to_str().unwrap()]).good();
    }
    let said = bench.say(&["new", "LoadTest"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("--url, --engine or --service") && said.err.contains("hint:"), "{}", said.err);
}

#[test]
fn a_wrong_setting_is_refused_before_anything_runs() {
    let bench = Workbench::without_docker();
    bench.save_load("set", &simulated("load: { requests: 2 }"));
    for (set, hint) in [("concurency=2", "concurrency"), ("concurrency=0", "concurrency"), ("-b=512", "-b")] {
        let said = bench.say(&["run", "requests/set.yaml", "--set", set]);
        assert_eq!(said.code, 2, "{set}: {}{}", said.out, said.err);
        assert!(said.err.contains(hint), "{set}: {}", said.err);
    }
    let database = bench.database();
    let runs: i64 = database.query_row("SELECT count(*) FROM runs", [], |row| row.get(0)).unwrap();
    assert_eq!(runs, 0);
}

#[test]
fn run_says_how_it_ended_and_leaves_what_has_not_changed_alone() {
    let bench = Workbench::without_docker();
    bench.save_load("once", &simulated("load: { requests: 3 }"));
    bench.say(&["run", "requests/once.yaml", "--if-changed"]).good();
    let said = bench.say(&["run", "requests/once.yaml", "--if-changed"]).good();
    assert!(said.out.contains("Unchanged"), "{}", said.out);
    let said = bench.say(&["run", "requests/once.yaml", "--set", "concurrency=2", "-o", "json"]).good();
    let ended: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(ended[0]["cases"][0]["concurrency"], 2);
    assert_eq!(bench.runs("once").len(), 2);
    let bad = "{ target: { engine: simulated, simulated: { errorRate: 100% } }, load: { requests: 2 } }";
    bench.save_load("bad", bad);
    let said = bench.say(&["run", "requests/bad.yaml"]);
    assert_eq!(said.code, 1);
    for part in ["bad: NoSuccess: no request succeeded", "hint:"] {
        assert!(said.out.contains(part), "{part:?} in {}", said.out);
    }
}

#[test]
fn an_interrupt_cancels_what_run_began_and_keeps_what_was_measured() {
    let mut bench = Workbench::without_docker();
    bench.save_load("long", &simulated(ENDLESS));
    let run = bench
        .command(&["run", "requests/long.yaml"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    bench.until_requests("long", 5);
    let pid = rustix::process::Pid::from_child(&run);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let said = Words::of(run.wait_with_output().unwrap());
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    let out = spaced(&said.out);
    for part in ["long Cancelled 1 c=2 simulated/simulated", "long: Cancelled:"] {
        assert!(out.contains(part), "{part:?} in {}", said.out);
    }
    bench.until_no_process_is_left();
    let document = bench.status("long").unwrap();
    assert_eq!(condition(&document, "Valid"), ("False", "CutShort"));
    assert!(only_case(&document)["requests"]["ok"].as_u64().unwrap() >= 4);
}

#[test]
fn every_verb_shows_a_load_test_that_has_run() {
    let bench = Workbench::without_docker();
    bench
        .save_load("shown", &simulated("load: { concurrency: [1, 2], requests: 3 }, slo: { ttft_p95: 30s }"));
    bench.say(&["run", "requests/shown.yaml"]).good();
    let get = bench.say(&["get"]).good().out;
    assert!(get.lines().any(|line| line.starts_with("shown") && line.contains("LoadTest")), "{get}");
    let one: Value = serde_json::from_str(&bench.say(&["get", "shown", "-o", "json"]).good().out).unwrap();
    assert_eq!(one["status"]["phase"], "Completed");
    assert_eq!(one["status"]["results"]["cases"][1]["concurrency"], 2, "{one:#}");
    assert_eq!(one["status"]["results"]["cases"][1]["simulated"], true);
    let described = bench.say(&["describe", "shown"]).good().out;
    for part in [
        "Kind: LoadTest",
        "Phase: Completed",
        "SLOMet True ObjectivesMet",
        "Results (simulated, every figure is made up):",
        "2 c=2 simulated/simulated 3 0",
    ] {
        assert!(spaced(&described).contains(part), "{part:?} in\n{described}");
    }
    let history = bench.say(&["history", "shown"]).good().out;
    assert!(history.contains("tok/s at c=2") || history.contains("tok/s at c=1"), "{history}");
    let history: Value =
        serde_json::from_str(&bench.say(&["history", "shown", "-o", "json"]).good().out).unwrap();
    assert_eq!(history["items"].as_array().map(Vec::len), Some(1), "{history:#}");
    let logs = bench.say(&["logs", "shown"]).good();
    assert!(logs.out.contains("listening on http://127.0.0.1:"), "{}{}", logs.out, logs.err);
    bench.say(&["wait", "shown", "--for=Succeeded"]).good();
    bench.say(&["delete", "run", &bench.runs("shown")[0].id.to_string()]).good();
    let database = bench.database();
    for table in ["benchmark_results", "request_records", "series", "cases"] {
        let left: i64 =
            database.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0, "{table}");
    }
}

#[test]
fn a_plan_starts_nothing_and_shows_the_cases_in_their_order() {
    let bench = Workbench::without_docker();
    bench.save_load("planned", &simulated("load: { concurrency: [1, 2, 8], requests: 5 }, repeats: 2"));
    let text = bench.say(&["plan", "requests/planned.yaml"]).good().out;
    for part in [
        "Request:   planned\n",
        "Claims:    cpu\n",
        "sim serve",
        "Cases (6, in this order):\n",
        "8 at a time",
    ] {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
    let plan: Value =
        serde_json::from_str(&bench.say(&["plan", "requests/planned.yaml", "-o", "json"]).good().out)
            .unwrap();
    assert_eq!((&plan["caseCount"], &plan["simulated"]), (&6.into(), &true.into()));
    let cases: Vec<(u64, u64)> = plan["cases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|case| (case["repeat"].as_u64().unwrap(), case["concurrency"].as_u64().unwrap()))
        .collect();
    let mut sorted = cases.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, [(1, 1), (1, 2), (1, 8), (2, 1), (2, 2), (2, 8)]);
    assert_eq!(cases.iter().map(|(repeat, _)| *repeat).collect::<Vec<_>>(), [1, 1, 1, 2, 2, 2]);
    let said = bench.say(&["plan", "requests/planned.yaml", "-o", "json"]).good();
    assert_eq!(
        serde_json::from_str::<Value>(&said.out).unwrap()["cases"],
        plan["cases"],
        "the same each time"
    );
    assert_eq!(bench.processes(), Vec::<u32>::new());
    fs::write(
        bench.request_path("dead.yaml"),
        request("{ target: { service: nosuch }, load: { requests: 1 } }"),
    )
    .unwrap();
    let said = bench.say(&["plan", "requests/dead.yaml"]);
    assert!(said.code != 0 && said.err.contains("nosuch") && said.err.contains("hint:"), "{}", said.err);
}

#[test]
fn beside_a_controller_it_is_waited_for_cancelled_and_rerun() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    bench.save_load("steered", &simulated(ENDLESS));
    bench.until_requests("steered", 4);
    let waiting = bench.say(&["wait", "steered", "--for=Succeeded", "--timeout", "200ms"]);
    assert_eq!(waiting.code, 5, "{}{}", waiting.out, waiting.err);
    let said = bench.say(&["cancel", "steered"]).good();
    assert!(said.out.contains("is being cancelled"), "{}", said.out);
    let said = bench.say(&["wait", "steered", "--for=Succeeded", "--timeout", "60s"]);
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    let document = bench.until_status("steered", "its figures", |status| {
        status["phase"] == "Cancelled" && status["results"]["cases"].is_array()
    });
    assert_eq!(condition(&document, "Valid"), ("False", "CutShort"));
    assert!(only_case(&document)["requests"]["ok"].as_u64().unwrap() >= 3);
    bench.until_no_process_is_left();
    let said = bench.say(&["rerun", "steered", "--set", "nothing=1"]);
    assert_eq!(said.code, 2, "{}{}", said.out, said.err);
    bench.say(&["rerun", "steered", "--set", "concurrency=3", "--set", "requests=6", "--wait"]).good();
    let document = bench.until_phase("steered", "Completed");
    let case = only_case(&document);
    assert_eq!((&case["concurrency"], &case["requests"]["ok"]), (&3.into(), &6.into()));
    // What was set was for that run alone.
    let said = bench.say(&["history", "steered", "-o", "json"]).good();
    let history: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(history["items"].as_array().map(Vec::len), Some(2));
    let said = bench.say(&["run", "requests/steered.yaml", "--set", "requests=2"]).good();
    assert!(spaced(&said.out).contains("steered Completed 1 c=2 simulated/simulated 2 0 "), "{}", said.out);
}

#[test]
fn strict_runs_end_with_1_where_an_objective_was_missed() {
    let bench = Workbench::without_docker();
    // A busy machine makes the client late, which is another matter.
    let lenient = "validity: { clientDelay: 1h, clientCpu: 100% }";
    let spec =
        |slo: &str| request(&simulated(&format!("load: {{ requests: 4 }}, {lenient}, slo: {{ {slo} }}")));
    for (slo, strict, code) in [
        // Nothing is faster than this, and nothing slower than an hour.
        ("ttft_p50: 0.001ms", true, 1),
        ("ttft_p50: 0.001ms", false, 0),
        ("ttft_p50: 1h", true, 0),
    ] {
        fs::write(bench.request_path("strict.yaml"), spec(slo)).unwrap();
        let mut line = vec!["run", "requests/strict.yaml"];
        line.extend(strict.then_some("--strict"));
        let said = bench.say(&line);
        assert_eq!(said.code, code, "{slo}, {line:?}: {}{}", said.out, said.err);
    }
}
