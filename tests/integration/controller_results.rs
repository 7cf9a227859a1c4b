//! What a saved file yields in the end: its status, its rows in the tables, its samples.

use std::fs;

use serde_json::Value;

use crate::workbench::Workbench;

#[test]
fn a_saved_file_is_measured_and_its_figures_are_everywhere() {
    let Some(mut bench) = Workbench::open() else { return };
    bench.serve();
    bench.save("first", "{ service: tiny, launches: 2, params: { -p: 16, -n: 8, -r: 3, -t: 1 } }");
    let document = bench.until_phase("first", "Completed");

    let (metadata, status) = (&document["metadata"], &document["status"]);
    assert_eq!(document["apiVersion"], "benchlet/v1");
    assert_eq!(metadata["name"], "first");
    assert_eq!(metadata["generation"], 1);
    assert!(metadata["specHash"].as_str().unwrap().starts_with("v1:"));
    assert_eq!(status["observedGeneration"], 1);
    assert_eq!(condition(status, "Accepted")["status"], "True");
    assert_eq!(condition(status, "Succeeded")["status"], "True");
    let command = status["command"].as_str().unwrap();
    for part in ["docker run", "llama-bench", "-m /models/tiny.gguf", "-o jsonl", "-p 16", "-n 8", "-r 3"] {
        assert!(command.contains(part), "{part} in {command}");
    }
    let cases = status["results"]["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 2);
    for (case, test) in cases.iter().zip(["pp16", "tg8"]) {
        assert_eq!(case["test"], test);
        assert_eq!((&case["launches"], &case["samples"]), (&Value::from(2), &Value::from(6)));
        assert!(case["avg_ts"].as_f64().unwrap() > 0.0);
    }
    assert_eq!(status["history"][0]["id"], status["run"]["id"]);

    let runs = bench.runs("first");
    assert_eq!(runs.len(), 1);
    let id = runs[0].id.to_string();
    assert_eq!(status["run"]["id"], id);
    let fingerprint = runs[0].fingerprint.as_ref().unwrap();
    assert!(fingerprint["cpu"]["threads"].as_u64().unwrap() >= 1, "{fingerprint}");
    assert!(fingerprint["memory_bytes"].as_u64().unwrap() > 0);
    assert!(fingerprint["image"]["id"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(fingerprint["model"]["path"], "/models/tiny.gguf");
    assert_eq!(fingerprint["model"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(fingerprint["request"]["path"], "first.yaml");

    let samples = samples(&bench, &id);
    assert_eq!(samples.len(), 2, "two cases");
    for case in samples {
        assert_eq!(case.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3], "three repetitions a launch");
        assert!(case.iter().flatten().all(|sample| *sample > 0.0));
    }
    check_legacy_row(&bench, &id);
    assert_eq!(bench.containers(), []);
}

fn condition<'a>(status: &'a Value, kind: &str) -> &'a Value {
    status["conditions"].as_array().unwrap().iter().find(|condition| condition["type"] == kind).unwrap()
}

/// The samples of every case, by launch.
fn samples(bench: &Workbench, run: &str) -> Vec<Vec<Vec<f64>>> {
    let database = bench.database();
    let mut statement =
        database.prepare("SELECT case_json FROM cases WHERE run_id = ?1 ORDER BY number").unwrap();
    let cases = statement.query_map([run], |row| row.get::<_, String>(0)).unwrap();
    cases
        .map(|case| {
            let case: Value = serde_json::from_str(&case.unwrap()).unwrap();
            serde_json::from_value(case["samples_ts"].clone()).unwrap()
        })
        .collect()
}

/// Every column that users' SQL knows has what it says.
fn check_legacy_row(bench: &Workbench, id: &str) {
    let database = bench.database();
    let read = |sql: &str| -> Vec<rusqlite::types::Value> {
        let mut statement = database.prepare(sql).unwrap();
        let columns = statement.column_count();
        statement.query_row([id], |row| (0..columns).map(|column| row.get(column)).collect()).unwrap()
    };
    let text = |value: &rusqlite::types::Value| match value {
        rusqlite::types::Value::Text(text) => text.clone(),
        other => panic!("{other:?} is no text"),
    };
    let row = read(
        "SELECT service_name, model_path, status, params_json, raw_output, created_at, started_at, completed_at,
            build_commit, model_type, cpu_info, error_message, gpu_info
         FROM benchmark_runs WHERE id = ?1",
    );
    assert_eq!(row[..3].iter().map(text).collect::<Vec<_>>(), ["tiny", "/models/tiny.gguf", "completed"]);
    let params: Value = serde_json::from_str(&text(&row[3])).unwrap();
    assert_eq!(params, serde_json::json!({ "-p": "16", "-n": "8", "-r": "3", "-t": "1" }));
    let raw: Vec<Value> = serde_json::from_str(&text(&row[4])).unwrap();
    assert_eq!(raw.len(), 4, "two rows a launch");
    assert!(raw.iter().all(|row| row["samples_ts"].as_array().unwrap().len() == 3));
    let times: Vec<String> = row[5..8].iter().map(text).collect();
    assert!(times.iter().all(|time| time.parse::<jiff::Timestamp>().is_ok() && time.ends_with('Z')));
    assert!(times.is_sorted(), "{times:?}");
    assert!(row[8..11].iter().map(text).all(|text| !text.is_empty()));
    assert_eq!(row[11], rusqlite::types::Value::Null);
    // A machine without a GPU has an empty text here, one with a GPU its name.
    text(&row[12]);

    let figures: Vec<f64> = database
        .query_row(
            "SELECT pp_avg_ts, pp_stddev_ts, tg_avg_ts, tg_stddev_ts FROM benchmark_runs WHERE id = ?1",
            [id],
            |row| (0..4).map(|column| row.get(column)).collect(),
        )
        .unwrap();
    assert!(figures[0] > 0.0 && figures[2] > 0.0, "{figures:?}");
    for (case, (average, deviation)) in
        samples(bench, id).iter().zip([(figures[0], figures[1]), (figures[2], figures[3])])
    {
        let all: Vec<f64> = case.iter().flatten().copied().collect();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        let variance = all.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>() / (all.len() - 1) as f64;
        assert!((mean - average).abs() < 1e-6 * mean, "{mean} and {average}");
        assert!((variance.sqrt() - deviation).abs() < 1e-6 * mean, "{} and {deviation}", variance.sqrt());
    }
    let sizes: Vec<u64> = database
        .query_row("SELECT model_size, model_n_params FROM benchmark_runs WHERE id = ?1", [id], |row| {
            Ok(vec![row.get(0)?, row.get(1)?])
        })
        .unwrap();
    assert!(sizes.iter().all(|size| *size > 0), "{sizes:?}");
}

#[test]
fn a_matrix_has_a_case_a_cell_and_no_headline() {
    let Some(mut bench) = Workbench::open() else { return };
    bench.serve();
    bench.save("matrix", "{ service: tiny, params: { -p: 8, -n: 0, -b: [8, 16], -r: 1, -t: 1 } }");
    let document = bench.until_phase("matrix", "Completed");
    let results = &document["status"]["results"];
    assert_eq!(results["pp_avg_ts"], Value::Null);
    let varied: Vec<&Value> =
        results["cases"].as_array().unwrap().iter().map(|case| &case["varied"]["n_batch"]).collect();
    assert_eq!(varied, [8, 16]);
    let headline: Option<f64> =
        bench.database().query_row("SELECT pp_avg_ts FROM benchmark_runs", [], |row| row.get(0)).unwrap();
    assert_eq!(headline, None);
}

#[test]
fn parameters_that_a_request_leaves_out_are_the_services() {
    let Some(mut bench) = Workbench::open() else { return };
    bench.serve();
    bench.save("service-own", "{ service: tiny, params: { -p: 8, -n: 0, -r: 1 }, paramsFrom: Service }");
    let document = bench.until_phase("service-own", "Completed");
    let command = document["status"]["command"].as_str().unwrap();
    assert!(command.contains(" -t 1 ") && !command.contains("8080"), "{command}");
    let dropped = document["status"]["dropped"].to_string();
    assert!(dropped.contains("--port"), "{dropped}");
}

#[test]
fn a_status_that_somebody_edits_or_removes_is_written_again() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    bench.save("kept", "{ service: tiny, suspend: true }");
    bench.until_reason("kept", "Suspended");
    let path = bench.request_path("kept.status.yaml");
    let written = fs::read_to_string(&path).unwrap();
    fs::write(&path, "phase: Completed\n").unwrap();
    bench.until("the status is written again", |_| {
        (fs::read_to_string(&path).unwrap() == written).then_some(())
    });
    fs::remove_file(&path).unwrap();
    bench.until("the status is back", |_| {
        (fs::read_to_string(&path).ok().as_deref() == Some(&written)).then_some(())
    });
}
