//! Models, estimates and rankings at the command line, over a store as controllers and users' own SQL fill it.

use std::collections::BTreeMap;

use benchlet::decide::observed::Record;
use benchlet::run::load_case::{LoadCase, ObjectiveResult, RepeatFigures};
use benchlet::run::phase::{Ending, RunState};
use benchlet::run::reason::Reason;
use benchlet::stats::summary::Summary;
use benchlet::store::load_results::{CaseData, ResultRow};
use benchlet::store::runs::Results;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::cli_state::{Place, Said, Seeded};
use crate::load_bench::simulated;
use crate::workbench::Workbench;

const DAY: i64 = 86_400;
/// 2026-03-01
const START: i64 = 1_772_323_200;

struct Planned {
    place: Place,
    seeded: Seeded,
    request: Record,
}

impl Planned {
    fn new() -> Self {
        let place = Place::new();
        let seeded = Seeded::new(&place);
        let spec = "{ target: { engine: openai, url: 'http://127.0.0.1:1' }, load: { requests: 4 } }";
        let request = seeded.request("load", "LoadTest", spec, true);
        Self { place, seeded, request }
    }

    /// A load test that ended so, with rows of that day.
    fn run(&self, day: i64, ending: Ending, rows: Vec<ResultRow>, cases: &[LoadCase]) -> Uuid {
        let load = (1..)
            .zip(rows)
            .map(|(number, row)| CaseData::pack(number, b"", 0, &BTreeMap::new(), Some(row)).unwrap())
            .collect();
        let cases = cases.iter().map(|case| serde_json::to_string(case).unwrap()).collect();
        let results = Results { load, cases, ..Results::default() };
        let id = self.seeded.run(&self.request, crate::cli_state::running());
        self.seeded.results(id, results, START + day * DAY);
        self.seeded.advance(id, RunState::Ended(ending));
        id
    }

    fn completed(&self, day: i64, rows: Vec<ResultRow>) -> Uuid {
        self.run(day, Ending::completed(""), rows, &[])
    }

    /// What a user's own script does.
    fn sql(&self, sql: &str) {
        let database = rusqlite::Connection::open(self.place.state().join("benchlet.db")).unwrap();
        database.execute_batch(sql).unwrap();
    }

    fn json(&self, line: &[&str]) -> Value {
        let said = self.place.say(&[line, &["-o", "json"]].concat());
        assert_eq!(said.code, 0, "{}", said.err);
        serde_json::from_str(&said.out).unwrap()
    }

    fn say(&self, line: &[&str]) -> Said {
        self.place.say(line)
    }
}

fn row(model: &str, workers: u64, rate: f64) -> ResultRow {
    ResultRow {
        model_name: model.to_owned(),
        model_size_params: Some("8B".to_owned()),
        num_workers: Some(workers),
        context_window: Some(8192),
        num_requests: 100,
        avg_prompt_tokens: Some(300.0),
        avg_completion_tokens: Some(100.0),
        total_time_seconds: Some(100.0 / rate),
        requests_per_second: Some(rate),
        successful_requests: 100,
        success_rate: Some(100.0),
        sample_responses: "[]".to_owned(),
        benchmark_type: "load_test".to_owned(),
        notes: Some("load: on svc".to_owned()),
        hardware_info: "{}".to_owned(),
        valid: true,
        ..ResultRow::default()
    }
}

/// Without the blanks that align columns.
fn spaced(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn near(value: &Value, expected: f64) -> bool {
    (value.as_f64().unwrap() - expected).abs() < 1e-3 * expected.abs().max(1.0)
}

#[test]
fn models_are_listed_with_their_newest_and_their_best_run() {
    let planned = Planned::new();
    planned.completed(0, vec![row("ns/llama:8b", 1, 0.3), row("ns/llama:8b", 5, 0.9)]);
    let newest = planned.completed(1, vec![row("ns/llama:8b", 1, 0.31), row("ns/llama:8b", 5, 0.52)]);
    planned.completed(2, vec![row("qwen", 4, 0.23)]);
    let list = planned.json(&["models"]);
    assert_eq!(list["total"], 2);
    let llama = &list["models"][0];
    let told =
        ["model", "rate_req_per_sec", "workers", "last_benchmarked", "runs", "context_window", "simulated"];
    let told = told.map(|name| llama[name].clone());
    let expected = [
        json!("ns/llama:8b"),
        json!(0.52),
        json!(5),
        json!(START + DAY),
        json!(2),
        json!(8192),
        json!(false),
    ];
    assert_eq!(told, expected);
    assert_eq!((&llama["best"]["rate_req_per_sec"], &llama["best"]["workers"]), (&json!(0.9), &json!(5)));
    let said = planned.say(&["models"]);
    assert!(spaced(&said.out).contains("ns/llama:8b 2 0.52 5 100% 0.90 5 8192 8B"), "{}", said.out);
    assert_eq!(planned.say(&["models", "-o", "name"]).out, "model/ns/llama:8b\nmodel/qwen\n");
    let wide = planned.say(&["models", "-o", "wide"]).out;
    assert!(wide.contains(&newest.to_string()), "{wide}");
}

#[test]
fn a_model_is_shown_with_the_worker_count_that_is_enough() {
    let planned = Planned::new();
    let sweep = [(1, 1.0), (5, 1.89), (10, 1.91), (20, 2.0)].map(|(workers, rate)| row("m", workers, rate));
    planned.completed(0, sweep.to_vec());
    planned.completed(1, vec![row("m", 5, 1.8)]);
    let said = planned.say(&["models", "show", "m"]);
    assert!(
        said.out.contains("The best worker count is 20; 10 come within 5 % of it"),
        "{}{}",
        said.out,
        said.err
    );
    let shown = planned.json(&["models", "show", "m", "--limit", "2"]);
    assert_eq!((&shown["total"], &shown["benchmarks"][0]["num_workers"]), (&json!(2), &json!(5)));
    let best = &shown["worker_optimisation"];
    assert_eq!((&best["best_workers"], &best["sufficient_workers"]), (&json!(20), &json!(10)));
    assert_eq!(best["by_workers"].as_array().unwrap().len(), 4);
    let missing = planned.say(&["models", "show", "n"]);
    assert_eq!(missing.code, 4);
    assert!(
        missing.err.contains("there is no model n") && missing.err.contains("did you mean \"m\"?"),
        "{}",
        missing.err
    );
}

#[test]
fn fifty_thousand_requests_take_as_long_as_the_newest_run_says() {
    let planned = Planned::new();
    let run = planned.completed(0, vec![row("m", 1, 0.2), row("m", 10, 0.52)]);
    let made = planned.json(&["estimate", "--model", "m", "--requests", "50000"]);
    let time = &made["estimate"];
    assert!(near(&time["total_time_seconds"], 96_153.846), "{made}");
    assert!(near(&time["total_time_hours"], 26.7094) && near(&time["total_time_days"], 1.1129), "{made}");
    assert_eq!((&time["rate_req_per_sec"], &made["num_requests"]), (&json!(0.52), &json!(50_000)));
    let basis = &made["based_on_benchmark"];
    let told = ["test_size", "workers", "success_rate_pct", "run"].map(|name| basis[name].clone());
    assert_eq!(told, [json!(100), json!(10), json!(100.0), json!(run.to_string())]);
    assert_eq!(made["interval"]["total_time_seconds"], Value::Null);
    assert!(made["interval"]["why"].as_str().unwrap().contains("there is 1"), "{made}");
    assert_eq!(made["cost"], Value::Null);
    let said = planned.say(&["estimate", "--model", "m", "--requests", "50000", "--per-hour", "1.2"]);
    for part in [
        "m: 50000 requests take 26h 42m",
        "96153.8 s, 26.71 h, 1.11 d",
        "32.05, at 1.2 an hour",
        &run.to_string(),
    ] {
        assert!(said.out.contains(part), "{part:?} in\n{}{}", said.out, said.err);
    }
    let yaml = planned.say(&["estimate", "--model", "m", "--requests", "1", "-o", "yaml"]).out;
    assert!(yaml.starts_with("model: m\n"), "{yaml}");
}

#[test]
fn the_history_of_three_runs_gives_an_interval() {
    let planned = Planned::new();
    for (day, rate) in [(0, 9.0), (1, 10.0), (2, 11.0)] {
        planned.completed(day, vec![row("m", 5, rate), row("m", 1, 1.0)]);
    }
    let made = planned.json(&["estimate", "--model", "m", "--requests", "1100"]);
    let interval = &made["interval"];
    assert_eq!((&interval["runs"], &made["estimate"]["total_time_seconds"]), (&json!(3), &json!(100.0)));
    // 10 ± 4.303 · 1 · √(4/3)
    assert!(
        near(&interval["rate_req_per_sec"][0], 5.0317) && near(&interval["rate_req_per_sec"][1], 14.9683)
    );
    assert!(near(&interval["total_time_seconds"][0], 73.489), "{interval}");
    let other = planned.json(&["estimate", "--model", "m", "--requests", "1100", "--workers", "1"]);
    assert_eq!(
        (&other["estimate"]["total_time_seconds"], &other["interval"]["runs"]),
        (&json!(1100.0), &json!(3))
    );
    let missing = planned.say(&["estimate", "--model", "m", "--requests", "1", "--workers", "7"]);
    assert_eq!(missing.code, 4);
    assert!(missing.err.contains("it was measured with 1, 5"), "{}", missing.err);
}

#[test]
fn only_valid_rows_of_completed_runs_count_and_simulated_ones_when_asked_for() {
    let planned = Planned::new();
    planned.completed(0, vec![row("m", 1, 1.0), ResultRow { valid: false, ..row("m", 5, 9.0) }]);
    planned.run(1, Ending::failed(Reason::TimedOut, "too long"), vec![row("m", 1, 7.0)], &[]);
    let talk = ResultRow { benchmark_type: "conversation".to_owned(), ..row("m", 1, 8.0) };
    planned.completed(2, vec![talk]);
    let made = planned.json(&["estimate", "--model", "m", "--requests", "10"]);
    assert_eq!(made["estimate"]["total_time_seconds"], 10.0);
    assert_eq!(planned.json(&["models", "show", "m"])["total"], 4, "shown all the same");

    planned.completed(3, vec![ResultRow { valid: false, ..row("bad", 1, 1.0) }]);
    let bad = planned.say(&["estimate", "--model", "bad", "--requests", "10"]);
    assert_eq!(bad.code, 4);
    assert!(bad.err.contains("no valid and completed run"), "{}", bad.err);

    planned.completed(4, vec![ResultRow { simulated: true, ..row("toy", 1, 2.0) }]);
    let refused = planned.say(&["estimate", "--model", "toy", "--requests", "10"]);
    assert_eq!(refused.code, 4);
    assert!(refused.err.contains("only simulated") && refused.err.contains("--simulated"), "{}", refused.err);
    let said = planned.say(&["estimate", "--model", "toy", "--requests", "10", "--simulated"]);
    assert!(said.out.contains("toy (simulated)") && said.out.contains("made up"), "{}", said.out);
    assert_eq!(planned.json(&["models", "--simulated"])["models"][0]["simulated"], true);
    assert_eq!(planned.json(&["rank", "--requests", "10", "--simulated"])["models"][0]["simulated"], true);
    assert_eq!(planned.json(&["models"])["total"], 1);
}

#[test]
fn models_are_ranked_for_a_workload_and_those_with_a_small_window_are_refused() {
    let planned = Planned::new();
    planned.completed(0, vec![row("middle", 10, 0.52)]);
    planned.completed(1, vec![ResultRow { cost_per_hour: Some(9.0), ..row("quick", 10, 0.92) }]);
    planned.completed(2, vec![ResultRow { context_window: Some(2048), ..row("slow", 10, 0.23) }]);
    let whole = planned.json(&["rank", "--requests", "200000"]);
    let models = whole["models"].as_array().unwrap();
    let names: Vec<&str> = models.iter().map(|model| model["model"].as_str().unwrap()).collect();
    assert_eq!((names, &whole["total_models"]), (vec!["quick", "middle", "slow"], &json!(3)));
    for (model, hours) in models.iter().zip([60.386, 106.838, 241.546]) {
        assert!(near(&model["estimated_time_hours"], hours), "{model}");
    }
    assert!(near(&models[0]["speedup_vs_slowest"], 4.0) && near(&models[0]["time_saved_hours"], 181.159));
    assert_eq!(models[2]["time_saved_hours"], 0.0);
    assert!(near(&models[0]["cost"]["amount"], 543.478), "the run's own price");

    let said = planned.say(&["rank", "--requests", "200000", "--context", "4000"]);
    assert!(
        said.out.contains("slow: refused: its context window has 2048 tokens, and the workload needs 4000"),
        "{}",
        said.out
    );
    assert!(
        spaced(&said.out).contains("quick 2d 12h - 0.92 10 100% 1.77x 46h 27m 543.48 8192"),
        "{}",
        said.out
    );
    let cheap = planned.say(&["rank", "--requests", "200000", "--sort", "cost", "-o", "name"]);
    assert_eq!(cheap.out, "model/quick\nmodel/middle\nmodel/slow\n", "the only one with a price");
    let priced = planned.json(&["rank", "--requests", "1000000", "--per-million-tokens", "0.5"]);
    assert_eq!(priced["models"][1]["cost"]["amount"], 200.0);

    let none = planned.say(&["rank", "--requests", "1", "--context", "9000"]);
    assert_eq!(none.code, 1);
    assert!(none.err.contains("no model's context window"), "{}", none.err);
    let refused = planned.say(&["estimate", "--model", "slow", "--requests", "1", "--context", "4000"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("2048 tokens") && refused.err.contains("hint:"), "{}", refused.err);
}

#[test]
fn rows_of_users_own_count_with_what_they_tell() {
    let planned = Planned::new();
    planned.sql(&format!(
        "INSERT INTO benchmark_results (model_name, num_workers, requests_per_second, created_at) VALUES
            ('theirs', 1, 0.5, {START}), ('theirs', 8, 0.8, {START}), ('theirs', 8, 0.7, {START} - {DAY});
         INSERT INTO benchmark_results (model_name, created_at) VALUES ('bare', {START});"
    ));
    let made = planned.json(&[
        "estimate",
        "--model",
        "theirs",
        "--requests",
        "8",
        "--context",
        "100",
        "--per-million-tokens",
        "1",
    ]);
    assert_eq!(made["estimate"]["total_time_seconds"], 10.0);
    let unknown = ["test_size", "success_rate_pct", "run", "avg_prompt_tokens"]
        .map(|name| &made["based_on_benchmark"][name]);
    assert!(unknown.iter().all(|value| value.is_null()), "{made}");
    assert_eq!(made["cost"]["amount"], Value::Null);
    let remarks = made["remarks"].to_string();
    assert!(remarks.contains("succeed is not known") && remarks.contains("window is not known"), "{remarks}");
    let shown = planned.json(&["models", "show", "theirs"]);
    assert_eq!(shown["worker_optimisation"]["best_workers"], 8, "rows of a day are a sweep");
    let bare = planned.say(&["estimate", "--model", "bare", "--requests", "8"]);
    assert_eq!(bare.code, 4);
    assert_eq!(planned.json(&["models"])["models"][0]["runs"], 2);

    planned.sql(&format!(
        "UPDATE benchmark_results SET valid = 0 WHERE num_workers = 8 AND created_at = {START}"
    ));
    let made = planned.json(&["estimate", "--model", "theirs", "--requests", "8"]);
    assert_eq!(made["estimate"]["total_time_seconds"], 16.0);
    planned.sql("DELETE FROM benchmark_results");
    assert_eq!(planned.json(&["models"])["total"], 0);
}

#[test]
fn what_the_triggers_keep_is_what_a_recount_finds() {
    let planned = Planned::new();
    let kept = planned.completed(0, vec![row("m", 1, 1.0), row("m", 2, 1.0), row("n", 1, 1.0)]);
    let gone = planned.completed(1, vec![row("m", 1, 1.0), row("n", 1, 1.0)]);
    planned.seeded.results(kept, Results::default(), START);
    planned.sql(&format!(
        "PRAGMA foreign_keys = on;
         INSERT INTO benchmark_results (model_name, requests_per_second, created_at) VALUES ('m', 1, 1), ('m', 2, 90000);
         UPDATE benchmark_results SET model_name = 'o' WHERE created_at = 90000;
         UPDATE benchmark_results SET requests_per_second = NULL WHERE run_id = '{gone}' AND model_name = 'n';"
    ));
    let same = "SELECT count(*) FROM
        (SELECT model_name, simulated, count(DISTINCT sweep) AS sweeps FROM benchmark_results r WHERE answers = 1
            AND (run_id IS NULL OR EXISTS (SELECT 1 FROM runs WHERE id = run_id AND phase = 'Completed'))
            GROUP BY 1, 2) counted
        FULL JOIN measured_models m USING (model_name, simulated) WHERE counted.sweeps IS NOT m.sweeps";
    let database = rusqlite::Connection::open(planned.place.state().join("benchlet.db")).unwrap();
    let count = |sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count(same), 0);
    assert_eq!(count("SELECT sum(sweeps) FROM measured_models"), 3);
    planned.sql(&format!("PRAGMA foreign_keys = on; DELETE FROM runs WHERE id = '{gone}'"));
    assert_eq!(count(same), 0);
    assert_eq!(count("SELECT sum(sweeps) FROM measured_models"), 2);
}

/// 100 answers around these milliseconds, and three repeats around that rate.
fn case(number: u32, target: &str, ttft: f64, rate: f64) -> LoadCase {
    let whole = json!({
        "case": number, "target": target, "engine": "openai", "model": "m", "concurrency": 4, "rate": null,
        "arrivals": null, "input_tokens": null, "requests_asked": 100, "duration_s": 10.0, "percentiles": "",
        "success_rate": 1.0, "error_rate": 0.0, "goodput": null, "good_fraction": null, "metrics": {}, "slo": {},
        "valid": true, "invalid": [], "cache": null, "system": {}, "samples": [],
        "requests": { "total": 100, "ok": 100, "failed": 0, "errors": {}, "http_status": {}, "finish_reasons": {} },
        "tokens": {}, "client": {}, "repeats": [], "context_window": null, "simulated": false, "throughput": {},
    });
    let mut case: LoadCase = serde_json::from_value(whole).unwrap();
    case.metrics.ttft = Summary::of((0..100).map(|at| ttft * (0.9 + 0.002 * f64::from(at))).collect());
    case.throughput.requests_per_s = Some(rate);
    case.repeats = (1..=3)
        .map(|repeat| RepeatFigures {
            repeat,
            ttft_p50: None,
            tpot_p50: None,
            output_tokens_per_s: None,
            requests_per_s: Some(rate + f64::from(repeat) * 0.1 - 0.2),
        })
        .collect();
    let met = ttft < 100.0;
    let result = ObjectiveResult { at_most_ms: 100.0, value: Some(ttft), met: Some(met) };
    case.slo.insert("ttft_p95".to_owned(), result);
    case
}

#[test]
fn a_runs_targets_are_ranked_metric_by_metric_with_the_evidence() {
    let planned = Planned::new();
    let cases = [case(1, "vllm", 20.0, 10.0), case(2, "llama", 40.0, 10.1), case(3, "late", 200.0, 50.0)];
    let run = planned.run(0, Ending::completed(""), vec![row("m", 4, 10.0)], &cases);
    let whole = planned.json(&["rank", "--run", "load"]);
    assert_eq!((&whole["run"], &whole["objectives"]), (&json!(run.to_string()), &json!(["ttft_p95"])));
    let metric = |name: &str| {
        let metrics = whole["metrics"].as_array().unwrap();
        metrics.iter().find(|metric| metric["metric"] == name).unwrap().clone()
    };
    let ttft = metric("ttft_p95");
    assert_eq!((&ttft["best"], &ttft["verdict"]), (&json!("vllm m"), &json!("better")));
    assert!(ttft["candidates"][0]["interval"][1].as_f64() < ttft["candidates"][1]["interval"][0].as_f64());
    let rate = metric("requests_per_s");
    assert_eq!(
        (&rate["best"], &rate["verdict"]),
        (&json!("llama m"), &json!("tie")),
        "not the one that was late"
    );
    assert_eq!(rate["tied_with"], json!(["vllm m"]));
    let said = planned.say(&["rank", "--run", &run.to_string()[..8]]);
    for part in ["c=4 late/m: left out: missed ttft_p95", "Only cases that met ttft_p95 count."] {
        assert!(said.out.contains(part), "{part:?} in\n{}{}", said.out, said.err);
    }
    let late = planned.run(1, Ending::completed(""), vec![row("m", 4, 10.0)], &cases[2..]);
    assert_eq!(planned.say(&["rank", "--run", &late.to_string()]).code, 1);
    let bench = planned.seeded.request("bench", "LlamaBench", "{ service: simulated }", true);
    planned.seeded.completed(&bench);
    let wrong = planned.say(&["rank", "--run", "bench"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.contains("is no load test"), "{}", wrong.err);
    assert_eq!(planned.say(&["rank", "--run", "lod"]).code, 4);
}

#[test]
fn a_load_test_that_ran_is_there_to_plan_with() {
    let bench = Workbench::without_docker();
    // A machine that is busy with other tests may make the client late.
    let lenient = "validity: { clientDelay: 1h, clientCpu: 100% }, cost: { perHour: 2 }";
    bench.save_load("tried", &simulated(&format!("load: {{ requests: 8, concurrency: [1, 4] }}, {lenient}")));
    bench.say(&["run", "requests/tried.yaml"]);
    let said = bench.say(&["rank", "--requests", "1000", "--simulated", "-o", "json"]).good();
    let whole: Value = serde_json::from_str(&said.out).unwrap();
    let model = &whole["models"][0];
    let told = (&whole["total_models"], &model["simulated"], &model["cost"]["per_hour"]);
    assert_eq!(told, (&json!(1), &json!(true), &json!(2.0)));
    let run = bench.runs("tried")[0].id.to_string();
    assert_eq!(model["based_on_benchmark"]["run"], run);
    assert_eq!(bench.say(&["rank", "--requests", "1000"]).code, 4, "nothing was measured");
}

#[test]
fn a_number_of_requests_is_no_directory() {
    let planned = Planned::new();
    planned.completed(0, vec![row("m", 1, 2.0)]);
    for line in [
        &["--requests", "dir", "estimate", "--model", "m", "--requests", "10"][..],
        &["estimate", "--model", "m", "--requests", "10"],
    ] {
        assert_eq!(planned.json(line)["estimate"]["total_time_seconds"], 5.0);
    }
    planned.run(0, Ending::completed(""), vec![row("m", 1, 2.0)], &[case(1, "a", 20.0, 10.0)]);
    assert_eq!(planned.say(&["--requests", "dir", "rank", "--run", "load"]).code, 0);
}

#[test]
fn wrong_usage_and_an_empty_store_have_their_codes_and_hints() {
    let place = Place::new();
    let said = place.say(&["models"]);
    assert_eq!((said.code, said.out.as_str()), (0, ""));
    assert!(said.err.contains("no model was measured yet"), "{}", said.err);
    assert_eq!(place.say(&["estimate", "--model", "m", "--requests", "1"]).code, 4);
    let planned = Planned::new();
    assert_eq!(planned.say(&["rank", "--requests", "1"]).code, 4);
    for line in [
        &["estimate", "--model", "m", "--requests", "0"][..],
        &["estimate", "--model", "m", "--requests", "many"],
        &["estimate", "--model", "m", "--requests", "1", "--per-hour", "-1"],
        &["estimate", "--model", "m", "--requests", "1", "--per-hour", "1", "--per-million-tokens", "1"],
        &["--requests", "dir", "estimate", "--model", "m"],
        &["rank"],
        &["rank", "--run", "load", "--requests", "1"],
    ] {
        assert_eq!(planned.say(line).code, 2, "{line:?}");
    }
}
