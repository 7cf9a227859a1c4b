//! Import and export through the binary: every form, once each, bad files by their place, databases with either
//! table, and what was imported as a run like any other.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::cli_state::{Place, Said, Seeded};
use crate::load_bench::simulated;
use crate::workbench::Workbench;

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name).display().to_string()
}

const BENCH: &str = "tests/fixtures/llama-cpp/bench/";

trait Asked {
    fn json(&self, line: &[&str]) -> Value;
    fn imported(&self, files: &[&str]) -> Value;
}

impl Asked for Place {
    fn json(&self, line: &[&str]) -> Value {
        let said = self.say(&[line, &["-o", "json"]].concat());
        assert_eq!(said.code, 0, "{}", said.err);
        serde_json::from_str(&said.out).unwrap()
    }

    fn imported(&self, files: &[&str]) -> Value {
        self.json(&[&["import"], files].concat())["files"].take()
    }
}

fn database(place: &Place, name: &str, sql: &str) -> PathBuf {
    let path = place.path().join(name);
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    path
}

#[test]
fn every_form_is_told_by_its_content_and_taken_in_once() {
    let place = Place::new();
    let files = [
        ("examples/import/results.json", "simple", "LoadTest"),
        ("tests/fixtures/imports/vllm-bench-serve.recorded.json", "vllm", "LoadTest"),
        ("tests/fixtures/imports/vllm-detailed.documented.json", "vllm", "LoadTest"),
        ("tests/fixtures/imports/guidellm.documented.json", "guidellm", "LoadTest"),
        ("tests/fixtures/imports/aiperf.documented.json", "aiperf", "LoadTest"),
        ("tests/fixtures/imports/aiperf-requests.documented.jsonl", "aiperf", "LoadTest"),
        (&format!("{BENCH}fmt-json.stdout"), "llama-bench", "LlamaBench"),
        (&format!("{BENCH}fmt-jsonl.stdout"), "llama-bench", "LlamaBench"),
        (&format!("{BENCH}fmt-csv.stdout"), "llama-bench", "LlamaBench"),
        (&format!("{BENCH}fmt-sql.stdout"), "llama-bench", "LlamaBench"),
    ];
    let paths: Vec<String> = files.iter().map(|(file, _, _)| fixture(file)).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let first = place.imported(&paths);
    let second = place.imported(&paths);
    for (at, (file, format, kind)) in files.iter().enumerate() {
        let told = |all: &Value| {
            let run = &all[at]["runs"][0];
            let told = [&all[at]["format"], &run["kind"], &run["became"]];
            (told.map(|text| text.as_str().unwrap().to_owned()), run["id"].clone())
        };
        let (became, id) = told(&first);
        assert_eq!(became, [*format, *kind, "added"], "{file}");
        assert_eq!(told(&second), ([*format, *kind, "alreadyThere"].map(str::to_owned), id), "{file}");
    }
    let runs = place.json(&["history"]);
    let runs = runs["items"].as_array().unwrap();
    assert_eq!(runs.len(), files.len());
    assert!(runs.iter().all(|run| run["phase"] == "Completed" && run["simulated"] == false));
    assert_eq!(runs.last().unwrap()["createdAt"], "2026-03-01T12:00:00.000Z", "when it was measured");
    let said = place.say(&["import", paths[0]]);
    assert!(said.code == 0 && said.out.contains("1 run already there"), "{}", said.out);
}

#[test]
fn a_dry_run_says_what_it_would_do_and_makes_nothing() {
    let place = Place::new();
    let said = place.say(&["import", "--dry-run", &fixture("examples/import/results.json")]);
    assert!(said.code == 0 && said.out.contains("1 run would be added"), "{}{}", said.out, said.err);
    assert!(!place.state().exists());
}

#[test]
fn what_was_imported_is_shown_reported_and_planned_with_like_any_run() {
    let place = Place::new();
    let said = place.say(&["import", &fixture("examples/import/results.json"), "--service", "demo"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let made = place.json(&["estimate", "--model", "llama-3.1-8b", "--requests", "50000"]);
    assert_eq!(made["estimate"]["total_time_seconds"], 4000.0);
    assert_eq!(made["based_on_benchmark"]["workers"], 10);
    assert_eq!(place.json(&["models"])["models"][0]["last_benchmarked"], 1_772_366_400);
    assert_eq!(place.json(&["rank", "--requests", "10"])["models"][0]["model"], "llama-3.1-8b");
    let described = place.json(&["describe", "results"]);
    assert_eq!(described["imported"]["format"], "simple");
    let e2e = &described["results"]["cases"][0]["metrics"]["e2e"];
    let told = ["mean", "p50", "p90", "p95", "p99"].map(|part| e2e[part].clone());
    assert_eq!(told, [json!(793.4), json!(780.1), Value::Null, json!(1120.6), json!(1345.2)]);
    for format in ["md", "html", "csv", "json"] {
        let said = place.say(&["report", "results", "--format", format]);
        assert!(said.code == 0 && said.out.contains("1120.6"), "{format}: {}{}", said.out, said.err);
    }
    assert!(place.say(&["history", "results"]).out.contains("1604 tok/s"));
    place.say(&["import", &fixture(&format!("{BENCH}fmt-csv.stdout")), "--name", "by-hand"]);
    let said = place.say(&["report", "by-hand"]);
    assert!(said.out.contains("pp32 64393 t/s"), "{}", said.out);
    let database = Connection::open(place.state().join("benchlet.db")).unwrap();
    let row: (String, f64) = database
        .query_row("SELECT status, pp_avg_ts FROM benchmark_runs", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!(row, ("completed".to_owned(), 64392.994301));
    for line in [&["rerun", "by-hand"][..], &["diff", "by-hand"], &["apply", "by-hand", "--yes"]] {
        let said = place.say(line);
        assert!(said.code == 1 && said.err.contains("was imported"), "{line:?}: {} {}", said.code, said.err);
    }
    let id = place.json(&["history", "by-hand"])["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(place.say(&["delete", "run", &id]).code, 0);
    let again = place.say(&["import", &fixture(&format!("{BENCH}fmt-csv.stdout")), "--name", "by-hand"]);
    assert!(again.out.contains("1 run added"), "{}", again.out);
}

#[test]
fn the_requests_of_a_detailed_file_are_rows_of_a_report() {
    let place = Place::new();
    place.imported(&[&fixture("tests/fixtures/imports/vllm-detailed.documented.json"), "--name", "v"]);
    let said = place.say(&["report", "v", "--format", "csv", "--rows", "requests"]);
    assert_eq!(said.out.lines().count(), 5, "{}", said.out);
    assert!(said.out.contains("ConnectionError: refused"), "{}", said.out);
    let report: Value = serde_json::from_str(&place.say(&["report", "v", "--format", "json"]).out).unwrap();
    let schema: Value =
        serde_json::from_str(&std::fs::read_to_string(fixture("config/schema/report.json")).unwrap())
            .unwrap();
    let problems: Vec<String> = jsonschema::validator_for(&schema)
        .unwrap()
        .iter_errors(&report)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(problems.is_empty(), "{problems:?}");
}

#[test]
fn a_bad_file_says_where_and_the_others_are_taken_in() {
    let place = Place::new();
    place.write("cut.json", "{\"date\": \"20260301-120000\",\n \"completed\": 3");
    place.write("odd.json", "{\"backend\": \"vllm\", \"request_throughput\": 1.0, \"completed\": -3}");
    place.write("other.json", "{\"hello\": 1}");
    let good = fixture("examples/import/results.json");
    let said = place.say(&["import", "cut.json", "odd.json", "other.json", &good, "-o", "json"]);
    assert_eq!(said.code, 1);
    for part in [
        "cut.json: line 2, column 15: the file ends too early",
        "odd.json: vllm: $.completed: -3 is below 0",
        "other.json: it is JSON, but of no form that is known here",
        "understood are: benchlet's own export",
    ] {
        assert!(said.err.contains(part), "{part:?} in {}", said.err);
    }
    let files: Value = serde_json::from_str(&said.out).unwrap();
    assert!(files["files"][0]["error"].as_str().unwrap().contains("ends too early"));
    assert_eq!(files["files"][3]["runs"][0]["became"], "added");
    assert_eq!(place.say(&["import", "nowhere.json"]).code, 4);
    assert_eq!(place.say(&["import", &good, "--format", "guidellm"]).code, 1);
    assert_eq!(place.say(&["import", &good, "--name", "a b"]).code, 2);
    assert_eq!(place.say(&["import"]).code, 2);
    let piped = place.say_with_input(&["import", "-", "--name", "piped"], "{\"rps\": 2, \"model\": \"p\"}");
    assert!(piped.code == 0 && piped.out.contains("piped"), "{}{}", piped.out, piped.err);
}

#[test]
fn what_a_file_leaves_open_is_said_and_kept() {
    let place = Place::new();
    place.write("a.json", "{\"ok\": 9, \"failed\": 1, \"rps\": 2, \"wobble\": 7, \"latency\": {\"p50\": 3}}");
    let said = place.say(&["import", "a.json"]);
    assert!(said.err.contains("not understood: wobble, latency.p50 (without a unit"), "{}", said.err);
    assert!(place.json(&["describe", "a"])["imported"]["notes"][0].as_str().unwrap().contains("wobble"));
}

#[test]
fn what_is_imported_keeps_apart_from_a_request_of_the_same_name() {
    let place = Place::new();
    let seeded = Seeded::new(&place);
    let request = seeded.request("results", "LlamaBench", "{ service: simulated }", true);
    seeded.completed(&request);
    let file = fixture("examples/import/results.json");
    let taken = place.imported(&[&file]);
    assert_eq!(taken[0]["runs"][0]["name"], "results-imported");
    let said = place.say(&["import", &file, "--name", "results"]);
    assert!(said.code == 2 && said.err.contains("a request is called results"), "{}", said.err);
    assert_eq!(place.json(&["history", "results"])["items"].as_array().unwrap().len(), 1);
}

const RUNS: &str = "CREATE TABLE benchmark_runs (id TEXT PRIMARY KEY, service_name TEXT, model_path TEXT, status TEXT,
        params_json TEXT, pp_avg_ts REAL, tg_avg_ts REAL, tg_stddev_ts REAL, created_at TEXT, completed_at TEXT,
        cpu_info TEXT);
    INSERT INTO benchmark_runs VALUES
        ('0b0e7a52-6a0b-4d0a-9b4e-000000000001', 'qwen', '/m/q.gguf', 'completed', '{\"-p\": \"512\", \"-n\": \"128\"}',
            1240.5, 85.25, 0.5, '2026-02-01T10:00:00', '2026-02-01T10:01:00', 'Some CPU'),
        ('17', 'qwen', '/m/q.gguf', 'failed', '{}', NULL, NULL, NULL, '2026-02-02T10:00:00', NULL, NULL),
        ('18', 'qwen', '/m/q.gguf', 'running', '{}', NULL, NULL, NULL, '2026-02-03T10:00:00', NULL, NULL);";
const RESULTS: &str =
    "CREATE TABLE benchmark_results (id INTEGER PRIMARY KEY, model_name TEXT, num_workers INTEGER,
        requests_per_second REAL, success_rate REAL, num_requests INTEGER, successful_requests INTEGER,
        created_at INTEGER, unheard_of TEXT);
    INSERT INTO benchmark_results VALUES (1, 'old-model', 5, 0.5, 100, 20, 20, 1770000000, 'x'),
        (2, 'old-model', 1, 0.2, 100, 20, 20, 1770000000, NULL);";

#[test]
fn a_database_gives_the_rows_of_either_table_once() {
    let place = Place::new();
    let runs = database(&place, "runs.db", RUNS);
    let results = database(&place, "results.db", RESULTS);
    let both = database(&place, "both.db", &format!("{RUNS}{RESULTS}"));
    let before = std::fs::read(&both).unwrap();
    let paths = [&runs, &results].map(|path| path.display().to_string());
    let taken = place.imported(&[&paths[0], &paths[1]]);
    assert_eq!(taken[0]["format"], "sqlite");
    let told = |run: &Value| [run["id"].clone(), run["name"].clone(), run["figures"].clone()];
    assert_eq!(
        told(&taken[0]["runs"][0]),
        [json!("0b0e7a52-6a0b-4d0a-9b4e-000000000001"), json!("qwen"), json!("pp 1240.5 t/s, tg 85.25 t/s")]
    );
    assert_eq!(taken[0]["runs"].as_array().unwrap().len(), 2);
    assert!(taken[0]["notes"][0].as_str().unwrap().contains("1 runs had not ended"));
    assert_eq!(taken[1]["rows"]["added"], 2);
    let history = place.json(&["history", "--service", "qwen"]);
    let phases: Vec<&Value> = history["items"].as_array().unwrap().iter().map(|run| &run["phase"]).collect();
    assert_eq!(phases, ["Failed", "Completed"]);
    let cases = place.json(&["describe", "0b0e7a52"])["results"]["cases"].clone();
    assert_eq!((&cases[0]["test"], &cases[1]["test"]), (&json!("pp512"), &json!("tg128")));
    let made = place.json(&["estimate", "--model", "old-model", "--requests", "100"]);
    assert_eq!(made["estimate"]["total_time_seconds"], 200.0);

    let again = place.imported(&[both.to_str().unwrap(), &paths[1]]);
    assert_eq!(again[0]["runs"][0]["became"], "alreadyThere");
    assert_eq!(again[0]["rows"], json!({ "added": 0, "alreadyThere": 2, "wouldBeAdded": 0 }));
    assert_eq!(again[1]["rows"]["alreadyThere"], 2);
    assert_eq!(std::fs::read(&both).unwrap(), before, "it is the user's");
    let beside: Vec<String> = std::fs::read_dir(place.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains(".db-"))
        .collect();
    assert!(beside.is_empty(), "{beside:?}");
}

#[test]
fn a_row_that_cannot_be_read_is_named_and_takes_no_other_with_it() {
    let place = Place::new();
    let bad = "INSERT INTO benchmark_runs (id, status, created_at) VALUES ('a', 'melted', '2026-02-01T10:00:00');
        INSERT INTO benchmark_runs (id, status, created_at) VALUES ('b', 'completed', 'yesterday');
        INSERT INTO benchmark_results (model_name, requests_per_second, created_at) VALUES ('m', 'fast', 1770000000);
        INSERT INTO benchmark_results (requests_per_second, created_at) VALUES (1.0, 1770000000);";
    let path = database(&place, "bad.db", &format!("{RUNS}{RESULTS}{bad}"));
    let said = place.say(&["import", path.to_str().unwrap()]);
    assert_eq!(said.code, 1, "{}", said.err);
    for part in [
        "benchmark_runs, rowid 4: status is \"melted\"",
        "benchmark_runs, rowid 5: created_at is \"yesterday\"",
        "benchmark_results, rowid 3: requests_per_second is no number",
        "benchmark_results, rowid 4: model_name is empty",
    ] {
        assert!(said.err.contains(part), "{part:?} in {}", said.err);
    }
    assert!(
        said.out.contains("2 runs added") && said.out.contains("2 rows of benchmark_results added"),
        "{}",
        said.out
    );
    let none = database(&place, "none.db", "CREATE TABLE songs (title TEXT)");
    let said = place.say(&["import", none.to_str().unwrap()]);
    assert!(said.code == 1 && said.err.contains("it has songs"), "{}", said.err);
    place.write("torn.db", "SQLite format 3\0 and then nothing of it");
    let said = place.say(&["import", "torn.db"]);
    assert!(said.code == 1 && said.err.contains("torn.db: sqlite:"), "{}", said.err);
    let own = place.state().join("benchlet.db").display().to_string();
    let said = place.say(&["import", &own]);
    assert!(said.code == 2 && said.err.contains("would be imported into"), "{}", said.err);
}

#[test]
fn a_database_that_somebody_is_writing_is_read_with_what_its_log_has() {
    let place = Place::new();
    let path = place.path().join("live.db");
    let writer = Connection::open(&path).unwrap();
    writer.pragma_update(None, "journal_mode", "WAL").unwrap();
    writer.execute_batch(RESULTS).unwrap();
    let taken = place.imported(&[path.to_str().unwrap()]);
    assert_eq!(taken[0]["rows"]["added"], 2);
    writer
        .execute_batch("INSERT INTO benchmark_results (model_name, created_at) VALUES ('m', 1770000001)")
        .unwrap();
    let taken = place.imported(&[path.to_str().unwrap()]);
    assert_eq!(taken[0]["rows"], json!({ "added": 1, "alreadyThere": 2, "wouldBeAdded": 0 }));
}

/// Runs of the binary's own, exported, imported elsewhere and exported once more.
#[test]
fn an_export_is_imported_elsewhere_without_a_loss() {
    let bench = Workbench::without_docker();
    let lenient = "validity: { clientDelay: 1h, clientCpu: 100% }";
    bench.save_load("load", &simulated(&format!("load: {{ requests: 6, concurrency: [1, 2] }}, {lenient}")));
    bench.say(&["run", "requests/load.yaml"]);
    let spec = "apiVersion: benchlet/v1\nkind: LlamaBench\nspec: { service: simulated, launches: 2, params: { -p: 64, -n: 16, -r: 2 } }\n";
    std::fs::write(bench.path("requests/bench.yaml"), spec).unwrap();
    bench.say(&["run", "requests/bench.yaml"]);
    let exported = bench.say(&["export", "--with-requests"]).good();
    let place = Place::new();
    place.write("all.json", &exported.out);
    let taken = place.imported(&["all.json"]);
    assert_eq!(taken[0]["format"], "export");
    let runs = taken[0]["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2, "{taken:#}");
    assert!(runs.iter().all(|run| run["simulated"] == true), "what is made up stays made up");
    let again = place.say(&["export", "--with-requests"]);
    let read = |said: &str| {
        let mut export: Value = serde_json::from_str(said).unwrap();
        let runs = export["runs"].as_array_mut().unwrap();
        runs.iter_mut().for_each(|run| run["spec"] = Value::Null);
        runs.sort_by_key(|run| run["id"].as_str().unwrap().to_owned());
        export
    };
    assert_eq!(read(&again.out), read(&exported.out));
    let back = bench.path("all.json");
    std::fs::write(&back, &again.out).unwrap();
    let said = bench.say(&["import", back.to_str().unwrap()]).good();
    assert!(said.out.contains("2 runs already there"), "{}", said.out);
    assert_eq!(place.say(&["estimate", "--model", "sim", "--requests", "1"]).code, 4, "nothing was measured");
}

#[test]
fn the_database_of_another_benchlet_gives_whole_runs() {
    let bench = Workbench::without_docker();
    let lenient = "validity: { clientDelay: 1h, clientCpu: 100% }";
    bench.save_load("load", &simulated(&format!("load: {{ requests: 4, concurrency: [1, 2] }}, {lenient}")));
    bench.say(&["run", "requests/load.yaml"]);
    let spec = "apiVersion: benchlet/v1\nkind: LlamaBench\nspec: { service: simulated, launches: 2, params: { -p: 64, -n: 16, -r: 2 } }\n";
    std::fs::write(bench.path("requests/bench.yaml"), spec).unwrap();
    bench.say(&["run", "requests/bench.yaml"]);
    let place = Place::new();
    let file = bench.path("state/benchlet.db");
    let taken = place.imported(&[file.to_str().unwrap()]);
    let ids: Vec<String> = ["load", "bench"].map(|name| bench.runs(name)[0].id.to_string()).to_vec();
    let mut came: Vec<&str> =
        taken[0]["runs"].as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap()).collect();
    came.sort_unstable();
    let mut expected: Vec<&str> = ids.iter().map(String::as_str).collect();
    expected.sort_unstable();
    assert_eq!(came, expected, "{taken:#}");
    assert_eq!(taken[0]["bad"], json!([]));
    assert_eq!(taken[0]["rows"]["added"], 0, "they came with their run");
    let cases = place.json(&["describe", &ids[1]])["results"]["cases"].clone();
    assert_eq!(cases[0]["samples_ts"].as_array().unwrap().len(), 2, "a list a launch");
    let models = place.json(&["models", "--simulated"]);
    assert_eq!(models["models"][0]["runs"], 1);
    let said = place.say(&["report", &ids[0], "--format", "csv", "--rows", "requests"]);
    assert!(said.out.lines().count() > 8, "{}{}", said.out, said.err);
    let again = place.imported(&[file.to_str().unwrap()]);
    assert!(again[0]["runs"].as_array().unwrap().iter().all(|run| run["became"] == "alreadyThere"));
    assert_eq!(again[0]["rows"]["added"], 0);
}

fn exported(place: &Place, line: &[&str]) -> Said {
    let said = place.say(&[&["export"], line].concat());
    assert_eq!(said.code, 0, "{}", said.err);
    said
}

#[test]
fn an_export_has_the_runs_that_were_asked_for_in_the_form_that_was_asked_for() {
    let place = Place::new();
    place.imported(&[&fixture("examples/import/results.json"), "--service", "=cmd()"]);
    place.imported(&[&fixture(&format!("{BENCH}fmt-json.stdout")), "--service", "a|b"]);
    let count = |line: &[&str]| {
        let export: Value = serde_json::from_str(&exported(&place, line).out).unwrap();
        assert_eq!(export["schema"], "benchlet/export/v1");
        export["runs"].as_array().unwrap().len()
    };
    assert_eq!(count(&[]), 2);
    assert_eq!(count(&["results"]), 1);
    assert_eq!(count(&["results", "results", "fmt-json"]), 2);
    assert_eq!(count(&["--service", "a|b"]), 1);
    assert_eq!(count(&["--since", "2026-05-01"]), 1);
    assert_eq!(count(&["--limit", "1"]), 1);
    assert_eq!([count(&["--kind", "imported"]), count(&["--kind", "LoadTest"])], [2, 0]);
    assert_eq!([count(&["--phase", "completed"]), count(&["--phase", "Failed"])], [2, 0]);

    let csv = exported(&place, &["--format", "csv"]).out;
    assert_eq!(csv.lines().count(), 4, "{csv}");
    assert!(
        csv.starts_with("request,run,kind,service,phase,created_at") && csv.contains(",'=cmd(),"),
        "{csv}"
    );
    let md = exported(&place, &["--format", "md"]).out;
    assert!(md.contains("| fmt-json |") && md.contains("a\\|b") && md.contains("| 1604 |"), "{md}");
    let bmf: Value = serde_json::from_str(&exported(&place, &["--format", "bmf"]).out).unwrap();
    assert_eq!(bmf["fmt-json/pp32"]["tokens_per_second"]["value"], 55133.586535);
    let load = &bmf["results/c=10 http://localhost:8000/llama-3.1-8b"];
    assert_eq!(load["latency"], json!({ "value": 780_100_000.0 }));
    assert_eq!((&load["throughput"]["value"], &load["error_rate"]["value"]), (&json!(12.5), &json!(0.004)));

    let file = place.path().join("out.json");
    let said = exported(&place, &["--output", file.to_str().unwrap()]);
    assert!(said.out.is_empty() && said.err.contains("has 2 runs"), "{}", said.err);
    assert!(file.exists());
    assert_eq!(place.say(&["export", "nobody"]).code, 4);
    assert_eq!(place.say(&["export", "--since", "tomorrow"]).code, 2);
    assert_eq!(place.say(&["export", "--format", "csv", "--with-requests"]).code, 2);
    assert_eq!(Place::new().say(&["export"]).code, 0, "nothing is an answer");
}

#[test]
fn an_import_beside_a_controller_goes_through() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    let said = bench.say(&["import", &fixture("examples/import/results.json")]).good();
    assert!(said.out.contains("1 run added"), "{}{}", said.out, said.err);
    assert!(bench.say(&["history", "results"]).good().out.contains("Completed"));
}
