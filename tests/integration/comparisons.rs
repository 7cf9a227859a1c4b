//! `compare`, `baseline`, `trend` and `noise` on stored runs, through the binary: verdicts, exit codes, formats.

use std::ops::Deref;

use benchlet::run::phase::{Ending, RunState};
use benchlet::run::reason::Reason;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::cli_state::{Place, Said};
use crate::judged_runs::{JudgedRuns, Made, STEADY, made, times};

struct Bench {
    place: Place,
    judged: JudgedRuns,
}

impl Deref for Bench {
    type Target = JudgedRuns;

    fn deref(&self) -> &JudgedRuns {
        &self.judged
    }
}

impl Bench {
    fn new() -> Self {
        let place = Place::new();
        let judged = JudgedRuns::at(&place.state());
        Self { place, judged }
    }

    fn say(&self, line: &[&str]) -> Said {
        self.place.say(line)
    }

    #[track_caller]
    fn json(&self, line: &[&str], code: i32) -> Value {
        let said = self.say(&[line, &["-o", "json"]].concat());
        assert_eq!(said.code, code, "{}{}", said.out, said.err);
        serde_json::from_str(&said.out).unwrap()
    }
}

/// Two requests, the second one with launches as fast as said.
fn two(factor: f64) -> (Bench, Uuid, Uuid) {
    let bench = Bench::new();
    let (a, b) = (bench.request("before", ""), bench.request("after", ""));
    let first = bench.run(&a, &made(&STEADY));
    let second = bench.run(&b, &made(&times(&STEADY, factor)));
    (bench, first, second)
}

#[test]
fn the_same_twice_is_no_regression_for_policy_and_evidence() {
    let (bench, ..) = two(1.001);
    let found = bench.json(&["compare", "before", "after", "--strict"], 0);
    assert_eq!((&found["policy"], &found["evidence"]), (&json!("Pass"), &json!("Ok")));
    assert_eq!(found["outcome"], "no regression");
}

#[test]
fn half_the_rate_is_a_regression_for_both_and_the_exit_code() {
    let (bench, first, second) = two(0.5);
    let found = bench.json(&["compare", "before", "after"], 1);
    assert_eq!((&found["policy"], &found["evidence"]), (&json!("Fail"), &json!("Regression")));
    let row = &found["rows"][0];
    assert_eq!((row["measure"].as_str(), row["method"].as_str()), (Some("tg_avg_ts"), Some("exactRankTest")));
    // Five launches a side, apart: 2 ÷ C(10, 5).
    assert!((row["p"].as_f64().unwrap() - 2.0 / 252.0).abs() < 1e-12, "{row}");
    assert!((row["change"].as_f64().unwrap() + 0.5).abs() < 1e-9);
    // By their ids as well, and the other way round it is none.
    let [first, second] = [first, second].map(|id| id.to_string());
    assert_eq!(bench.say(&["compare", &first, &second[..13]]).code, 1);
    assert_eq!(bench.say(&["compare", &second, &first]).code, 0);
}

#[test]
fn a_loss_below_the_thresholds_passes_unless_the_evidence_counts_as_well() {
    let (bench, ..) = two(0.93);
    let found = bench.json(&["compare", "before", "after"], 0);
    assert_eq!((&found["policy"], &found["evidence"]), (&json!("Pass"), &json!("Regression")));
    assert_eq!(bench.say(&["compare", "before", "after", "--strict"]).code, 1);
    assert_eq!(bench.say(&["compare", "before", "after", "--margin", "10%", "--strict"]).code, 0);
    assert_eq!(bench.say(&["compare", "before", "after", "--threshold", "tg_avg_ts=fail:5%"]).code, 1);
    assert_eq!(bench.say(&["compare", "before", "after", "--threshold", "throughput=fail:5%"]).code, 1);
}

#[test]
fn few_launches_leave_the_evidence_open_and_say_what_is_missing() {
    let bench = Bench::new();
    for name in ["before", "after"] {
        bench.run(&bench.request(name, ""), &made(&STEADY[..3]));
    }
    let said = bench.say(&["compare", "before", "after"]);
    assert_eq!(said.code, 0);
    assert!(said.out.contains("need 4 runs a side"), "{}", said.out);
    assert_eq!(bench.say(&["compare", "before", "after", "--strict"]).code, 1);
}

#[test]
fn several_runs_of_a_request_are_observations_of_its_own() {
    let bench = Bench::new();
    let (a, b) = (bench.request("before", ""), bench.request("after", ""));
    for rate in STEADY {
        bench.run(&a, &made(&[rate]));
        bench.run(&b, &made(&[rate * 0.6]));
    }
    let found = bench.json(&["compare", "before", "after", "--runs", "5"], 1);
    assert_eq!((&found["evidence"], &found["rows"][0]["n"]), (&json!("Regression"), &json!([5, 5])));
    let said = bench.say(&["compare", "before", "after", "--runs", "6"]);
    assert!(said.code == 1 && said.err.contains("has 5 completed runs"), "{}", said.err);
    // Of the same request on both sides, the runs before are the baseline.
    let found = bench.json(&["compare", "before", "before"], 0);
    assert_eq!(found["baseline"]["label"], "before before");
}

#[test]
fn what_differs_is_listed_and_refused_unless_it_is_what_varies() {
    let bench = Bench::new();
    let (a, b) = (bench.request("before", ""), bench.request("after", ""));
    bench.run(&a, &made(&STEADY));
    bench.run(&b, &Made { threads: 1, ..made(&times(&STEADY, 0.5)) });
    let said = bench.say(&["compare", "before", "after"]);
    assert_eq!(said.code, 3, "{}", said.out);
    for expected in
        ["NotComparable", "n_threads differs: 2, then 1", "≠   n_threads   2", "--varies=n_threads"]
    {
        assert!(said.out.contains(expected), "{expected} in {}", said.out);
    }
    for word in ["--varies=-t", "--varies=n_threads", "--varies=flags", "--varies=image,flags"] {
        assert_eq!(bench.say(&["compare", "before", "after", word]).code, 1, "{word}");
    }
}

#[test]
fn figures_that_were_made_up_are_compared_with_their_like_alone() {
    let bench = Bench::new();
    let (a, b) = (bench.request("before", ""), bench.request("after", ""));
    bench.run(&a, &made(&STEADY));
    bench.run(&b, &Made { simulated: true, ..made(&STEADY) });
    let said = bench.say(&["compare", "before", "after"]);
    assert!(said.code == 3 && said.out.contains("after is simulated"), "{}", said.out);
    bench.run(&a, &Made { simulated: true, ..made(&STEADY) });
    let said = bench.say(&["compare", "before", "after"]);
    assert!(said.code == 0 && said.out.contains("both sides are simulated"), "{}", said.out);
}

#[test]
fn a_run_that_did_not_complete_is_no_side_and_what_is_not_there_has_its_code() {
    let (bench, first, _) = two(1.0);
    let failed = bench.request("failed", "");
    let id = bench.seeded.run(&failed, RunState::Ended(Ending::failed(Reason::ModelNotFound, "gone")));
    let said = bench.say(&["compare", &first.to_string(), &id.to_string()]);
    assert!(said.code == 3 && said.err.contains("Failed and not Completed"), "{}", said.err);
    let said = bench.say(&["compare", "before", "failed"]);
    assert!(said.code == 4 && said.err.contains("no completed run"), "{}", said.err);
    assert_eq!(bench.say(&["compare", "before", "nothing"]).code, 4);
    assert_eq!(bench.say(&["compare", "before", "after", "--threshold", "speed=fail:1%"]).code, 2);
    assert_eq!(bench.say(&["compare", "before", "after", "--margin", "5"]).code, 2);
}

#[test]
fn quiet_prints_on_a_regression_alone() {
    let (bench, ..) = two(1.0);
    let said = bench.say(&["compare", "before", "after", "--quiet"]);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, "", ""));
    let (bench, ..) = two(0.5);
    let said = bench.say(&["compare", "before", "after", "--quiet"]);
    assert!(said.code == 1 && said.out.contains("Fail"), "{}", said.out);
}

#[test]
fn every_format_tells_the_regression() {
    let (bench, ..) = two(0.5);
    let of = |format: &str| {
        let said = bench.say(&["compare", "before", "after", "-o", format]);
        assert_eq!(said.code, 1, "{format}: {}", said.err);
        said.out
    };
    let markdown = of("markdown");
    assert!(markdown.starts_with("### ❌ after against before: regression\n"), "{markdown}");
    assert!(markdown.contains("| tg_avg_ts | tg16 |") && markdown.contains("**Fail**"), "{markdown}");
    let github = of("github");
    assert!(
        github.lines().next().unwrap().starts_with("::error title=after against before::tg16 tg_avg_ts"),
        "{github}"
    );
    assert!(github.contains("-50.0 %25"), "{github}");
    let junit = of("junit");
    assert!(junit.contains("failures=\"1\"") && junit.contains("type=\"Fail\""), "{junit}");
    let bmf: Value = serde_json::from_str(&of("bmf")).unwrap();
    let exported = bench.say(&["export", "after", "--format", "bmf"]);
    assert_eq!(
        bmf,
        serde_json::from_str::<Value>(&exported.out).unwrap(),
        "the candidate, as export writes it"
    );
    assert!(of("yaml").contains("outcome: regression"));
    let wide = of("wide");
    assert!(wide.contains("n_batch") && wide.contains("-50.0 %"), "{wide}");
}

/// What a script wrote of a load test.
fn script(p95: f64, errors: f64) -> String {
    json!({
        "total_requests": 1000, "concurrency": 4, "duration_s": 100.0, "throughput_rps": 10.0, "error_rate": errors,
        "latency_ms": { "min": 10.0, "mean": 60.0, "p50": 50.0, "p95": p95, "p99": 150.0, "max": 200.0 },
    })
    .to_string()
}

#[test]
fn files_of_results_are_compared_without_a_database_by_what_they_tell() {
    let place = Place::new();
    for (name, p95, errors) in [
        ("old.json", 100.0, 0.0),
        ("same.json", 101.0, 0.001),
        ("slow.json", 130.0, 0.0),
        ("bad.json", 100.0, 0.02),
    ] {
        place.write(name, &script(p95, errors));
    }
    let compare = |line: &[&str]| place.say(&[&["compare"], line].concat());
    let same = compare(&["old.json", "same.json"]);
    assert_eq!(same.code, 0, "{}{}", same.out, same.err);
    assert!(same.out.contains("e2e_p95") && same.out.contains("100.0 ms"), "{}", same.out);
    let slow = compare(&["old.json", "slow.json"]);
    assert!(slow.code == 1 && slow.out.contains("e2e_p95 +30.0 % (fail 20%, warn 10%)"), "{}", slow.out);
    assert_eq!(compare(&["old.json", "bad.json"]).code, 1);
    // Of one figure a side nothing can be proven.
    assert_eq!(compare(&["old.json", "same.json", "--strict"]).code, 1);
    assert_eq!(compare(&["old.json", "missing.json"]).code, 4);
    place.write("broken.json", "{\"latency_ms\": ");
    let broken = compare(&["old.json", "broken.json"]);
    assert!(broken.code != 0 && broken.err.contains("broken.json"), "{}", broken.err);
}

#[test]
fn a_file_of_results_can_be_the_baseline_of_a_request() {
    let bench = Bench::new();
    bench.place.write("old.json", &script(100.0, 0.0));
    bench.place.write("new.json", &script(130.0, 0.0));
    let said = bench.say(&["baseline", "set", "main", "--from", "old.json", "--for", "load"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let found = bench.json(&["compare", "baseline/main", "new.json"], 1);
    assert_eq!((&found["policy"], &found["baseline"]["label"]), (&json!("Fail"), &json!("main")));
    // Again it is the same run, not another one.
    assert_eq!(bench.say(&["baseline", "set", "v1", "--from", "old.json", "--for", "load"]).code, 0);
    let listed = bench.json(&["baseline", "list"], 0);
    assert_eq!(listed["items"][0]["run"], listed["items"][1]["run"]);
}

#[test]
fn a_baseline_is_pinned_found_by_its_name_and_kept_from_deletion() {
    let bench = Bench::new();
    let record = bench.request("load", "");
    let first = bench.run(&record, &made(&STEADY));
    let said = bench.say(&["baseline", "set", "main", "--from", "load"]);
    assert_eq!(
        (said.code, said.out.trim()),
        (0, format!("baseline main of the request load is run {}", &first.to_string()[..8]).as_str())
    );
    bench.run(&record, &made(&times(&STEADY, 0.5)));
    let found = bench.json(&["compare", "load"], 1);
    assert_eq!(
        (&found["baseline"]["label"], &found["baseline"]["runs"]),
        (&json!("main"), &json!([first.to_string()]))
    );
    assert_eq!(bench.say(&["compare", "main", "load"]).code, 1);
    assert_eq!(bench.say(&["compare", "baseline/main", "load"]).code, 1);
    let said = bench.say(&["delete", "run", &first.to_string()]);
    assert!(said.code == 1 && said.err.contains("pinned as a baseline"), "{}", said.err);
    let listed = bench.json(&["baseline", "list"], 0);
    assert_eq!(
        (&listed["items"][0]["name"], &listed["items"][0]["request"]),
        (&json!("main"), &json!("load"))
    );
    assert_eq!(bench.say(&["baseline", "rm", "main"]).code, 0);
    assert_eq!(bench.say(&["delete", "run", &first.to_string()]).code, 0);
    let said = bench.say(&["compare", "load"]);
    assert!(said.code == 4 && said.err.contains("there is no baseline main"), "{}", said.err);
    assert_eq!(bench.say(&["baseline", "rm", "main"]).code, 4);
}

#[test]
fn a_name_may_have_a_baseline_for_each_request_and_one_for_a_service() {
    let bench = Bench::new();
    let (a, b) = (bench.request("a", ""), bench.request("b", ""));
    let slow = bench.run(&a, &made(&times(&STEADY, 0.5)));
    bench.run(&b, &made(&STEADY));
    bench.run(&a, &made(&STEADY));
    for (name, from) in [("a", slow.to_string()), ("b", "b".to_owned())] {
        assert_eq!(bench.say(&["baseline", "set", "main", "--from", &from, "--for", name]).code, 0);
    }
    // Each is compared with its own.
    assert_eq!(bench.json(&["compare", "main", "a"], 0)["baseline"]["runs"], json!([slow.to_string()]));
    let said = bench.say(&["baseline", "rm", "main"]);
    assert!(said.code == 2 && said.err.contains("several baselines main"), "{}", said.err);
    assert_eq!(bench.say(&["baseline", "rm", "main", "--for", "a"]).code, 0);
    assert_eq!(bench.say(&["baseline", "set", "main", "--from", "b", "--for-service"]).code, 0);
    let found = bench.json(&["compare", "a"], 0);
    assert_eq!(found["baseline"]["label"], "main", "of its service, now that it has none of its own");
}

#[test]
fn only_what_was_measured_whole_can_be_a_baseline() {
    let bench = Bench::new();
    let record = bench.request("load", "");
    let made_up = bench.run(&record, &Made { simulated: true, ..made(&STEADY) });
    let said = bench.say(&["baseline", "set", "main", "--from", &made_up.to_string()]);
    assert!(said.code == 3 && said.err.contains("made up"), "{}", said.err);
    let failed = bench.seeded.run(&record, RunState::Ended(Ending::failed(Reason::ModelNotFound, "gone")));
    let said = bench.say(&["baseline", "set", "main", "--from", &failed.to_string()]);
    assert!(said.code == 3 && said.err.contains("not Completed"), "{}", said.err);
    assert_eq!(bench.say(&["baseline", "set", "../main", "--from", "load"]).code, 2);
    assert_eq!(bench.json(&["baseline", "list"], 0)["items"], json!([]));
}

#[test]
fn the_gate_of_a_request_says_what_compare_goes_by() {
    let bench = Bench::new();
    let gate = ", gate: { baseline: v1, thresholds: { tg_avg_ts: { fail: 60% } }, varies: [n_threads] }";
    let record = bench.request("load", gate);
    bench.run(&record, &made(&STEADY));
    assert_eq!(bench.say(&["baseline", "set", "v1", "--from", "load"]).code, 0);
    bench.run(&record, &Made { threads: 1, ..made(&times(&STEADY, 0.5)) });
    let found = bench.json(&["compare", "load"], 0);
    assert_eq!(found["baseline"]["label"], "v1");
    assert_eq!(bench.say(&["compare", "load", "--threshold", "tg_avg_ts=fail:40%"]).code, 1);
}

#[test]
fn noise_is_measured_on_stored_runs_and_raises_the_margin() {
    let bench = Bench::new();
    let record = bench.request("load", "");
    for rate in [100.0, 110.0, 90.0, 104.0, 95.0] {
        bench.run(&record, &made(&[rate]));
    }
    let found = bench.json(&["noise", "load", "--runs", "5", "--stored"], 0);
    let floor = found["items"][0]["relative"].as_f64().unwrap();
    assert!((0.25..0.45).contains(&floor), "{found}");
    assert_eq!(found["items"][0]["host"], "box");
    bench.run(&record, &made(&STEADY));
    assert_eq!(bench.say(&["baseline", "set", "main", "--from", "load"]).code, 0);
    bench.run(&record, &made(&times(&STEADY, 0.85)));
    let found = bench.json(&["compare", "load"], 0);
    assert_eq!((&found["evidence"], &found["rows"][0]["margin"]), (&json!("Ok"), &json!(floor)));
    let said = bench.say(&["noise", "load", "--runs", "3"]);
    assert!(said.code == 2 && said.err.contains("no controller is running"), "{}", said.err);
    let said = bench.say(&["noise", "load", "--runs", "50", "--stored"]);
    assert!(said.code == 1 && said.err.contains("not 50"), "{}", said.err);
}

#[test]
fn a_trend_names_the_step_its_run_and_what_changed_with_it() {
    let bench = Bench::new();
    let record = bench.request("load", "");
    let rate = |at: usize| [100.0, 101.0, 99.5, 100.5, 99.0][at % 5];
    for at in 0..12 {
        bench.run(&record, &made(&[rate(at)]));
    }
    let changed = bench.run(&record, &Made { threads: 1, ..made(&[rate(0) * 0.7]) });
    for at in 1..8 {
        bench.run(&record, &Made { threads: 1, ..made(&[rate(at) * 0.7]) });
    }
    let found = bench.json(&["trend", "load", "--metric", "tg_avg_ts"], 0);
    let series = &found["series"][0];
    assert_eq!((&series["found"], &series["regression"]), (&json!(true), &json!(true)));
    assert_eq!(series["changes"][0]["run"], changed.to_string());
    assert_eq!(series["changes"][0]["differs"], json!(["n_threads: 2, then 1"]));
    let said = bench.say(&["trend", "load", "--strict"]);
    assert_eq!(said.code, 1);
    for expected in
        ["20 runs", "regression", "█", "▁", "n_threads: 2, then 1", "1 series judged, 1 with a step"]
    {
        assert!(said.out.contains(expected), "{expected} in {}", said.out);
    }
    // Pinned, it is what was wanted.
    assert_eq!(bench.say(&["baseline", "set", "main", "--from", "load"]).code, 0);
    assert_eq!(bench.say(&["trend", "load", "--strict"]).code, 0);
    assert_eq!(bench.say(&["trend", "load", "--metric", "speed"]).code, 2);
    assert_eq!(bench.say(&["trend", "load", "--case", "pp9"]).code, 4);
}
