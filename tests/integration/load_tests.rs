//! Load tests through the controller, against the simulated engine: what a saved file yields, how it is
//! edited, cancelled and taken up again.

use std::collections::BTreeSet;
use std::fs;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::load_bench::{ENDLESS, condition, condition_message, measured_requests, only_case, simulated};
use crate::workbench::Workbench;

#[test]
fn a_saved_load_test_is_measured_and_its_figures_are_everywhere() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    bench.save_load("load", &simulated("load: { concurrency: 2, requests: 8 }, slo: { ttft_p95: 30s }"));
    let document = bench.until_phase("load", "Completed");
    for (kind, reason) in [
        ("Accepted", "Valid"),
        ("Succeeded", "Completed"),
        ("Valid", "Trustworthy"),
        ("SLOMet", "ObjectivesMet"),
    ] {
        assert_eq!(condition(&document, kind), ("True", reason), "{kind}");
    }
    let status = &document["status"];
    assert_eq!(status["results"]["simulated"], true);
    assert_eq!(status["run"]["simulated"], true);
    assert!(status["history"][0]["headline"].as_str().unwrap().contains("tok/s at c=2"), "{status:#}");
    let case = only_case(&document);
    assert_eq!((&case["simulated"], &case["valid"]), (&true.into(), &true.into()));
    assert_eq!(case["requests"]["ok"], 8);
    assert_eq!((&case["tokens"]["out"], &case["tokens"]["source"]), (&32.into(), &"usage".into()));
    assert!(case["metrics"]["ttft"]["p50"].as_f64().unwrap() >= 5.0, "{case:#}");
    assert!(case["metrics"]["itl"]["p50"].as_f64().is_some());

    let runs = bench.runs("load");
    let records = bench.records(&runs[0], 1);
    assert_eq!(records.iter().filter(|record| record.warmup).count(), 1);
    let counted = records.iter().filter(|record| !record.warmup);
    assert_eq!(counted.map(|record| record.n).collect::<BTreeSet<_>>(), (0..8).collect());
    bench.until_no_process_is_left();
}

/// What users' own SQL reads.
#[test]
fn a_load_test_has_a_row_a_case_in_benchmark_results_and_none_in_benchmark_runs() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    bench.save_load("rows", &simulated("load: { concurrency: [1, 2], requests: 4 }, cost: { perHour: 3.6 }"));
    bench.until_phase("rows", "Completed");
    let database = bench.database();
    let mut statement = database
        .prepare(
            "SELECT num_workers, num_requests, successful_requests, failed_requests, success_rate, created_at,
                simulated, model_name, avg_completion_tokens, requests_per_second, time_per_request_seconds,
                sample_responses, hardware_info, benchmark_type
             FROM benchmark_results ORDER BY case_number",
        )
        .unwrap();
    let mut rows = statement.query([]).unwrap();
    let now = jiff::Timestamp::now().as_second();
    for workers in [1, 2] {
        let row = rows.next().unwrap().expect("a row a case");
        let whole = |at: usize| row.get::<_, i64>(at).unwrap();
        assert_eq!([0, 1, 2, 3].map(whole), [workers, 4, 4, 0]);
        let real = |at: usize| row.get::<_, f64>(at).unwrap();
        assert_eq!((real(4), real(8)), (100.0, 4.0), "percent, and tokens of an answer");
        assert!((0..600).contains(&(now - whole(5))), "Unix seconds: {}", whole(5));
        assert_eq!(whole(6), 1);
        assert!((real(9) * real(10) - 1.0).abs() < 1e-9);
        let text = |at: usize| row.get::<_, String>(at).unwrap();
        assert_eq!((text(7), text(13)), ("simulated".to_owned(), "load_test".to_owned()));
        let answers: Vec<String> = serde_json::from_str(&text(11)).unwrap();
        assert_eq!(answers.len(), 3, "samples");
        let machine: Value = serde_json::from_str(&text(12)).unwrap();
        assert!(machine["cpu_threads"].as_u64().unwrap() >= 1, "{machine}");
    }
    assert!(rows.next().unwrap().is_none());
    let others: i64 =
        database.query_row("SELECT count(*) FROM benchmark_runs", [], |row| row.get(0)).unwrap();
    assert_eq!(others, 0);
}

#[test]
fn repeats_are_interleaved_and_told_apart() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    bench.save_load("twice", &simulated("load: { concurrency: [1, 2], requests: 3 }, repeats: 2"));
    let document = bench.until_phase("twice", "Completed");
    let run = &bench.runs("twice")[0];
    let records = fs::read_to_string(bench.spool(run).join("0-1-load/records.jsonl")).unwrap();
    let plan: Value =
        serde_json::from_slice(&fs::read(bench.spool(run).join("0-1-load/plan.json")).unwrap()).unwrap();
    let lines = records.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let order: Vec<(u64, u64)> = lines
        .filter_map(|line| line["started"]["index"].as_u64())
        .map(|index| &plan["cases"][index as usize])
        .map(|case| (case["repeat"].as_u64().unwrap(), case["case"].as_u64().unwrap()))
        .collect();
    let repeats: Vec<u64> = order.iter().map(|(repeat, _)| *repeat).collect();
    assert_eq!(repeats, [1, 1, 2, 2], "the whole matrix, then once more");
    assert_eq!(order.iter().copied().collect::<BTreeSet<_>>().len(), 4);
    for (case, number) in document["status"]["results"]["cases"].as_array().unwrap().iter().zip(1..) {
        assert_eq!(case["requests"]["ok"], 6);
        let repeats = case["repeats"].as_array().unwrap();
        let numbers: Vec<&Value> = repeats.iter().map(|repeat| &repeat["repeat"]).collect();
        assert_eq!(numbers, [1, 2]);
        assert!(repeats.iter().all(|repeat| repeat["ttft_p50"].as_f64().unwrap() >= 5.0), "{repeats:?}");
        assert_eq!(bench.records(run, number).iter().filter(|record| !record.warmup).count(), 6);
    }
}

#[test]
fn an_open_loop_says_the_rate_that_was_asked_for_and_the_one_that_was_kept() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    bench.save_load("open", &simulated("load: { rate: [20/s, 50/s], arrivals: Constant, requests: 20 }"));
    let document = bench.until_phase("open", "Completed");
    let cases = document["status"]["results"]["cases"].as_array().unwrap();
    for (case, rate) in cases.iter().zip([20.0, 50.0]) {
        assert_eq!((&case["rate"], &case["concurrency"]), (&rate.into(), &Value::Null));
        let asked = case["client"]["requests_asked_per_s"].as_f64().unwrap();
        assert!((asked / rate - 1.0).abs() < 0.01, "{asked}");
        let achieved = case["client"]["achieved_per_s"].as_f64().unwrap();
        assert!(achieved > 0.0 && case["metrics"]["client_delay"]["p50"].as_f64().is_some());
    }
    let database = bench.database();
    let kinds: Vec<(String, Option<i64>)> = database
        .prepare("SELECT benchmark_type, num_workers FROM benchmark_results")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(kinds, vec![("load_test_open".to_owned(), None); 2]);
}

#[test]
fn an_edit_while_it_measures_is_measured_after_it() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    bench.save_load("edited", &simulated("load: { concurrency: 1, requests: 120 }"));
    bench.until_requests("edited", 3);
    bench.save_load("edited", &simulated("load: { concurrency: 3, requests: 4 }"));
    let runs = bench.until_runs_ended("edited", 2);
    assert_ne!(runs[0].spec_hash, runs[1].spec_hash);
    assert_eq!(bench.records(&runs[0], 1).len(), 121, "the first one was left to its end");
    let document = bench.until_status("edited", "the edit's own figures", |status| {
        status["phase"] == "Completed" && status["results"]["cases"][0]["concurrency"] == 3
    });
    assert_eq!(document["status"]["observedGeneration"], 2);
    let history = document["status"]["history"].as_array().unwrap();
    assert_eq!(history.len(), 2);
}

#[test]
fn a_cancelled_one_keeps_what_it_measured_and_leaves_no_process() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    bench.save_load("ended", &simulated(ENDLESS));
    bench.until_requests("ended", 5);
    bench.save_load("ended", &simulated(&format!("{ENDLESS}, state: Cancelled")));
    let document = bench.until_status("ended", "Cancelled with its figures", |status| {
        status["phase"] == "Cancelled" && status["results"]["cases"].is_array()
    });
    bench.until_no_process_is_left();
    assert_eq!(condition(&document, "Valid"), ("False", "CutShort"));
    assert!(condition_message(&document, "Valid").contains("stopped early"));
    assert_eq!(condition(&document, "Succeeded"), ("False", "Cancelled"));
    let case = only_case(&document);
    assert!(case["requests"]["ok"].as_u64().unwrap() >= 4, "{case:#}");
    let run = &bench.runs("ended")[0];
    let counted = bench.records(run, 1).iter().filter(|record| !record.warmup).count();
    assert_eq!(case["requests"]["total"], counted);
    let valid: i64 =
        bench.database().query_row("SELECT valid FROM benchmark_results", [], |row| row.get(0)).unwrap();
    assert_eq!(valid, 0);
}

#[test]
fn a_removed_file_lets_it_finish_unless_it_says_cancel() {
    let mut bench = Workbench::without_docker();
    bench.set("BENCHLET_RELIST_SECONDS", "1");
    bench.serve();
    bench.save_load("finishes", &simulated("load: { concurrency: 1, requests: 60 }"));
    bench.until_requests("finishes", 2);
    fs::remove_file(bench.request_path("finishes.yaml")).unwrap();
    let runs = bench.until_runs_ended("finishes", 1);
    assert_eq!(runs[0].state.phase().as_str(), "Completed");
    assert_eq!(bench.records(&runs[0], 1).len(), 61);
    bench.save_load("ends", &simulated(&format!("{ENDLESS}, onDelete: Cancel")));
    bench.until_requests("ends", 2);
    fs::remove_file(bench.request_path("ends.yaml")).unwrap();
    let runs = bench.until_runs_ended("ends", 1);
    assert_eq!(runs[0].state.phase().as_str(), "Cancelled");
    bench.until_no_process_is_left();
}

#[test]
fn a_run_over_its_timeout_fails_with_what_it_measured() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    bench.save_load("late", &simulated(&format!("{ENDLESS}, timeout: 4s")));
    let document = bench.until_status("late", "its figures after the timeout", |status| {
        status["phase"] == "Failed" && status["results"]["cases"].is_array()
    });
    assert_eq!(document["status"]["reason"], "TimedOut");
    assert!(document["status"]["hint"].as_str().unwrap().contains("spec.timeout"));
    assert_eq!(condition(&document, "Valid").1, "CutShort");
    assert!(only_case(&document)["requests"]["ok"].as_u64().unwrap() > 0);
    bench.until_no_process_is_left();
}

#[test]
fn two_simulated_targets_are_measured_one_after_the_other() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    let target = |name: &str, ttft: u32| {
        format!(
            "{{ name: {name}, engine: simulated, simulated: {{ dialect: llama.cpp, ttft: {ttft}ms, itl: 1ms }} }}"
        )
    };
    let spec = format!(
        "{{ targets: [{}, {}], output: {{ maxTokens: 3 }}, load: {{ requests: 4 }}, warmup: {{ requests: 0 }} }}",
        target("quick", 2),
        target("slow", 40)
    );
    bench.save_load("pair", &spec);
    let document = bench.until_phase("pair", "Completed");
    let cases = document["status"]["results"]["cases"].as_array().unwrap();
    let names: Vec<&Value> = cases.iter().map(|case| &case["target"]).collect();
    assert_eq!(names, ["quick", "slow"]);
    let ttft = |at: usize| cases[at]["metrics"]["ttft"]["p50"].as_f64().unwrap();
    assert!(ttft(0) < 40.0 && ttft(1) >= 40.0, "{} and {}", ttft(0), ttft(1));
    let run = &bench.runs("pair")[0];
    let mut folders: Vec<String> = fs::read_dir(bench.spool(run))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort();
    assert_eq!(folders, ["0-0-engine", "0-1-load", "0-3-engine", "0-4-load"]);
    bench.until_no_process_is_left();
}

// --- Deaths ---------------------------------------------------------------------------------------

/// Some seconds of measuring, of which every request is missed if it gets lost.
const COUNTED: &str = "load: { concurrency: 1, requests: 300 }";
/// More than any test waits for.
const MANY: &str = "load: { concurrency: 1, requests: 5000 }";

fn check_whole(bench: &Workbench, name: &str, attempt: u32) {
    let runs = bench.runs(name);
    assert_eq!((runs.len(), runs[0].attempt), (1, attempt));
    let records = bench.records(&runs[0], 1);
    let mut numbers: Vec<u64> =
        records.iter().filter(|record| !record.warmup).map(|record| record.n).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..300).collect::<Vec<_>>(), "every request once");
}

#[test]
fn what_measures_outlives_a_killed_controller_and_the_next_one_adopts_it() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    bench.save_load("kept", &simulated(COUNTED));
    bench.until_requests("kept", 5);
    let measuring = bench.process_with(" measure ").expect("it measures");
    bench.kill();
    // It goes on without anybody.
    bench.until_requests("kept", 20);
    assert!(bench.process_with(" measure ").is_none_or(|pid| pid == measuring));
    bench.serve();
    let document = bench.until_phase("kept", "Completed");
    assert_eq!(only_case(&document)["requests"]["ok"], 300);
    assert_eq!(condition(&document, "Valid").0, "True");
    check_whole(&bench, "kept", 0);
    bench.until_no_process_is_left();
}

#[test]
fn what_ends_while_no_controller_is_there_is_collected_by_the_next() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    bench.save_load("kept", &simulated(COUNTED));
    bench.until_requests("kept", 5);
    bench.kill();
    bench.until("it has measured", |bench| bench.process_with(" measure ").is_none().then_some(()));
    assert!(!bench.processes().is_empty(), "its engine is still there, as nobody has taken it away");
    bench.serve();
    bench.until_phase("kept", "Completed");
    check_whole(&bench, "kept", 0);
    bench.until_no_process_is_left();
}

#[test]
fn a_killed_measuring_process_is_a_fault_that_is_tried_again_from_its_engine() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    bench.save_load("again", &simulated(COUNTED));
    bench.until_requests("again", 5);
    let pid = bench.process_with(" measure ").expect("it measures");
    let engine = bench.process_with(" sim serve").expect("its engine");
    kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
    let document = bench.until_phase("again", "Completed");
    assert_eq!(document["status"]["run"]["attempt"], 1);
    assert_eq!(only_case(&document)["requests"]["total"], 300, "of the second attempt alone");
    assert_eq!(condition(&document, "Valid").0, "True");
    check_whole(&bench, "again", 1);
    let run = &bench.runs("again")[0];
    assert_eq!((run.faults, run.failures), (1, 0));
    assert!(bench.spool(run).join("1-0-engine").is_dir(), "an engine of its own");
    assert!(!std::path::Path::new(&format!("/proc/{engine}")).exists(), "the first engine is gone");
    bench.until_no_process_is_left();
}

#[test]
fn what_is_killed_again_and_again_fails_with_what_the_last_attempt_measured() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    bench.save_load("doomed", &simulated(MANY));
    for attempt in 0..3 {
        let folder = format!("/{attempt}-1-load");
        let pid = bench.until("an attempt that has measured", |bench| {
            let run = bench.runs("doomed").pop()?;
            let records = bench.spool(&run).join(format!("{attempt}-1-load/records.jsonl"));
            let measured = fs::read_to_string(records).is_ok_and(|text| measured_requests(&text) > 5);
            bench.process_with(&folder).filter(|_| measured)
        });
        kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
    }
    let document = bench.until_status("doomed", "its end with its figures", |status| {
        status["phase"] == "Failed" && status["results"]["cases"].is_array()
    });
    assert_eq!(document["status"]["reason"], "Killed");
    assert_eq!(document["status"]["run"]["attempt"], 2);
    assert_eq!(condition(&document, "Valid"), ("False", "CutShort"));
    let ok = only_case(&document)["requests"]["ok"].as_u64().unwrap();
    assert!((1..5000).contains(&ok), "{ok}");
    bench.until_no_process_is_left();
}

/// Two engines that share the machine measure each other.
#[test]
fn a_new_attempt_measures_beside_no_engine_of_the_lost_one() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    let target = |ttft: u32| format!("{{ engine: simulated, simulated: {{ ttft: {ttft}ms, itl: 1ms }} }}");
    let spec = format!(
        "{{ targets: [{}, {}], output: {{ maxTokens: 2 }}, load: {{ requests: 60 }} }}",
        target(5),
        target(30)
    );
    bench.save_load("pair", &spec);
    bench.until_requests("pair", 70);
    let second = bench.until("the second target is measured", |bench| bench.process_with("/0-4-load"));
    kill_process(Pid::from_raw(second as i32).unwrap(), Signal::KILL).unwrap();
    bench.until("the first target is measured again", |bench| bench.process_with("/1-1-load"));
    let engines = bench.processes().into_iter().filter(|pid| {
        let told = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let told = String::from_utf8_lossy(&told).replace('\0', " ");
        told.contains(" sim serve ") && !told.contains(" shim ")
    });
    // None, where it has just gone on to the second.
    assert!(engines.count() <= 1);
    let document = bench.until_phase("pair", "Completed");
    let cases = document["status"]["results"]["cases"].as_array().unwrap();
    assert!(cases.len() == 2 && cases.iter().all(|case| case["requests"]["ok"] == 60), "{cases:#?}");
    bench.until_no_process_is_left();
}

#[test]
fn a_killed_engine_fails_its_run_and_what_was_measured_before_stays() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    bench.save_load("dead", &simulated("load: { concurrency: 1, duration: 4s }"));
    bench.until_requests("dead", 20);
    let engine = bench.process_with(" sim serve").expect("its engine");
    kill_process(Pid::from_raw(engine as i32).unwrap(), Signal::KILL).unwrap();
    let document = bench.until_phase("dead", "Failed");
    assert_eq!(condition(&document, "Succeeded"), ("False", "EngineFailed"));
    assert_eq!(condition(&document, "Valid").0, "False");
    let case = only_case(&document);
    assert!(case["requests"]["ok"].as_u64().unwrap() >= 15, "{case:#}");
    assert!(case["requests"]["errors"]["connect"].as_u64().unwrap() > 0, "{case:#}");
    bench.until_no_process_is_left();
}
