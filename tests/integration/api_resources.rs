//! Services, requests, planning, metrics and applies over HTTP, against what files and the command line say.

use serde_json::{Value, json};

use crate::api_client::Client;
use crate::workbench::Workbench;

fn serving() -> (Workbench, Client) {
    let mut bench = Workbench::without_docker();
    bench.serve();
    let client = Client::of(&mut bench);
    (bench, client)
}

/// What the command line says in this installation, as JSON.
fn said(bench: &Workbench, line: &[&str]) -> Value {
    let output = bench.command(line).output().unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn measured(bench: &mut Workbench, client: &Client, service: &str, params: Value) -> Value {
    let answer = client.post("/api/benchmarks", &json!({ "service_name": service, "params": params }));
    assert_eq!(answer.status, 202, "{answer:?}");
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    bench.until("the run ends", |_| {
        let run = client.get(&format!("/api/benchmarks/{id}")).json();
        (run["completed_at"] != Value::Null).then_some(run)
    })
}

#[test]
fn services_are_listed_as_the_command_line_lists_them_and_no_key_is_shown() {
    let (bench, client) = serving();
    bench.add_service(
        "keyed",
        "    image: ghcr.io/ggml-org/llama.cpp:server\n    command: [-m, /models/a.gguf, --api-key, sk-never-shown-0123, -b, '512']\n",
    );
    let answer = client.get("/api/services");
    assert!(!answer.text.contains("sk-never-shown"), "{}", answer.text);
    let listed = answer.json();
    let names = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|service| service["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&listed["services"]), names(&said(&bench, &["services", "-o", "json"])["items"]));
    let of = |name: &str| {
        listed["services"].as_array().unwrap().iter().find(|service| service["name"] == name).unwrap().clone()
    };
    assert_eq!(of("keyed")["measurable"], true);
    assert_eq!(of("chat")["measurable"], false);
    let defaults = client.get("/api/services/keyed/defaults");
    assert!(!defaults.text.contains("sk-never-shown"));
    let defaults = defaults.json();
    assert_eq!(defaults["source"], "service");
    assert_eq!(defaults["params"]["-b"], "512");
    assert_eq!(defaults["params"]["-p"], "512");
}

#[test]
fn defaults_are_those_of_the_last_run_and_lead_back_to_the_services_own() {
    let (mut bench, client) = serving();
    let run = measured(&mut bench, &client, "simulated", json!({ "-p": "48", "-n": "4", "-r": "1" }));
    let defaults = client.get("/api/services/simulated/defaults").json();
    assert_eq!((&defaults["source"], &defaults["run"]), (&json!("run"), &run["id"]));
    assert_eq!(defaults["params"], json!({ "-p": "48", "-n": "4", "-r": "1" }));
    assert_eq!(defaults["service_params"], json!({ "-p": "512", "-n": "128", "-r": "5" }));
}

#[test]
fn a_preview_is_the_command_that_would_run_and_starts_nothing() {
    let (_bench, client) = serving();
    let preview =
        |params: Value| client.post("/api/services/simulated/preview", &json!({ "params": params }));
    let answer = preview(json!({ "-p": "64,128", "-n": "16", "-b": "x" }));
    assert_eq!(answer.status, 200, "{answer:?}");
    let told = answer.json();
    assert!(told["command"].as_str().unwrap().contains("-p 64,128 -n 16"), "{told}");
    assert_eq!(told["cases"], 3);
    assert!(told["warnings"].to_string().contains("may refuse -b"), "{told}");
    assert_eq!(preview(json!({ "-m": "x" })).code(), "invalid_parameters");
    let own = client.call("POST", "/api/services/simulated/preview", None).json();
    assert_eq!(own["params"], json!({ "-p": "512", "-n": "128", "-r": "5" }));
    assert_eq!(client.post("/api/services/chat/preview", &json!({})).code(), "service_not_llama_cpp");
    assert_eq!(client.post("/api/services/none/preview", &json!({})).code(), "service_unknown");
    assert_eq!(client.get("/api/benchmarks").json()["total"], 0);
}

#[test]
fn a_request_is_shown_rerun_and_cancelled_as_by_the_command_line() {
    let (mut bench, client) = serving();
    bench.save("quick", "{ service: simulated, params: { -p: 16, -n: 4, -r: 1 } }");
    bench.save("broken", "{ service: simulated, parms: {} }");
    bench.until_phase("quick", "Completed");
    bench.until_reason("broken", "Invalid");
    assert_eq!(client.get("/api/requests/quick").json(), said(&bench, &["get", "quick", "-o", "json"]));
    let list = client.get("/api/requests").json();
    assert_eq!(list["total"], 2);
    assert_eq!(client.get("/api/requests?phase=Invalid").json()["requests"][0]["name"], "broken");
    assert_eq!(client.get("/api/requests?kind=LlamaBench&limit=1").json()["requests"][0]["name"], "quick");

    let before = std::fs::read(bench.request_path("quick.yaml")).unwrap();
    let answer = client.post("/api/requests/quick/rerun", &json!({ "set": { "-p": "32" } }));
    assert_eq!(answer.status, 202, "{answer:?}");
    let runs = bench.until_runs_ended("quick", 2);
    let second = client.get(&format!("/api/benchmarks/{}", runs[1].id)).json();
    assert_eq!(second["params"]["-p"], "32");
    assert_eq!(client.call("POST", "/api/requests/quick/rerun", None).status, 202, "a body is not needed");
    bench.until_runs_ended("quick", 3);
    assert_eq!(std::fs::read(bench.request_path("quick.yaml")).unwrap(), before, "the file is its author's");

    let refused = client.post("/api/requests/quick/rerun", &json!({ "set": { "-m": "x" } }));
    assert_eq!((refused.status, refused.code().as_str()), (400, "invalid_parameters"));
    assert_eq!(client.post("/api/requests/quick/cancel", &json!({})).code(), "nothing_runs");
    assert_eq!(client.post("/api/requests/none/rerun", &json!({})).status, 404);
    let long = json!({ "set": { "-n": "2000", "-r": "1000" } });
    assert_eq!(client.post("/api/requests/quick/rerun", &long).status, 202);
    bench.until_phase("quick", "Running");
    assert_eq!(client.post("/api/requests/quick/cancel", &json!({})).status, 202);
    let runs = bench.until_runs_ended("quick", 4);
    assert_eq!(runs[3].state.phase().as_str(), "Cancelled");
}

#[test]
fn a_pinned_run_is_not_deleted() {
    let (mut bench, client) = serving();
    let run = measured(&mut bench, &client, "simulated", json!({ "-p": "16", "-n": "4", "-r": "1" }));
    let id = run["id"].as_str().unwrap();
    let pinned = bench.command(&["baseline", "set", "main", id]).output().unwrap();
    if !pinned.status.success() {
        bench.database().execute("UPDATE runs SET pinned = 1 WHERE id = ?1", [id]).unwrap();
    }
    let answer = client.delete(&format!("/api/benchmarks/{id}"));
    assert_eq!((answer.status, answer.code().as_str()), (409, "refused"));
    assert_eq!(client.get(&format!("/api/benchmarks/{id}")).status, 200);
}

#[test]
fn planning_answers_in_the_shapes_that_its_clients_know() {
    let (bench, client) = serving();
    bench
        .database()
        .execute_batch(
            "INSERT INTO benchmark_results (model_name, num_workers, num_requests, requests_per_second,
                successful_requests, failed_requests, success_rate, total_time_seconds, created_at, benchmark_type)
             VALUES ('org/fast:1b', 4, 100, 0.92, 100, 0, 100.0, 108.7, 1772323200, 'mixed'),
                    ('middle', 2, 100, 0.52, 100, 0, 100.0, 192.3, 1772323200, 'mixed'),
                    ('slow', 1, 100, 0.23, 100, 0, 100.0, 434.8, 1772323200, 'mixed');",
        )
        .unwrap();
    let models = client.get("/v1/benchmarks/models").json();
    assert_eq!(models["total"], 3);
    assert_eq!(models["models"][0]["last_benchmarked"], 1_772_323_200);
    for path in ["/v1/benchmarks/models/org/fast:1b", "/v1/benchmarks/models/org%2Ffast%3A1b?limit=5"] {
        let model = client.get(path).json();
        assert_eq!((&model["model"], &model["total"]), (&json!("org/fast:1b"), &json!(1)), "{path}");
        assert_eq!(model["benchmarks"][0]["rate_req_per_sec"], 0.92);
    }
    let estimate = client.get("/v1/benchmarks/estimate?model=middle&num_requests=50000").json();
    let close = |value: &Value, to: f64| (value.as_f64().unwrap() - to).abs() < 0.05;
    assert!(close(&estimate["estimate"]["total_time_seconds"], 96_153.8), "{estimate}");
    assert!(close(&estimate["estimate"]["total_time_hours"], 26.7));
    assert!(close(&estimate["estimate"]["total_time_days"], 1.11));
    assert_eq!(estimate["based_on_benchmark"]["test_size"], 100);
    let compared = client.get("/v1/benchmarks/compare?num_requests=200000").json();
    let hours: Vec<f64> = compared["models"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["estimated_time_hours"].as_f64().unwrap())
        .collect();
    assert!(hours.iter().zip([60.4, 106.8, 241.5]).all(|(is, to)| (is - to).abs() < 0.06), "{hours:?}");
    assert_eq!(compared["total_models"], 3);
    assert_eq!(client.get("/v1/benchmarks/models/none").code(), "not_found");
}

/// Each metric with its labels, and its value.
fn scraped(client: &Client) -> Vec<(String, f64)> {
    let answer = client.get("/metrics");
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    assert!(answer.text.ends_with("# EOF\n"));
    let lines = answer.text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

#[test]
fn metrics_tell_of_the_queue_of_passes_of_runs_and_of_the_last_figures() {
    let (mut bench, client) = serving();
    measured(&mut bench, &client, "simulated", json!({ "-p": "16", "-n": "4", "-r": "1" }));
    let metrics = bench.until("an empty queue", |_| {
        let metrics = scraped(&client);
        metrics.contains(&("benchlet_queue_depth".to_owned(), 0.0)).then_some(metrics)
    });
    let value = |name: &str| {
        metrics.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("{name}: {metrics:?}")).1
    };
    assert_eq!(value("benchlet_ready"), 1.0);
    assert_eq!(value("benchlet_runs{phase=\"Completed\"}"), 1.0);
    assert_eq!(value("benchlet_runs{phase=\"Failed\"}"), 0.0);
    assert!(value("benchlet_reconcile_seconds_count") > 3.0);
    let rate = "benchlet_last_generation_tokens_per_second{service=\"simulated\",simulated=\"true\"}";
    assert!(value(rate) > 0.0);
    assert!(value("benchlet_last_run_timestamp_seconds{service=\"simulated\",simulated=\"true\"}") > 1e9);
}

/// The dashboard and the rules speak of metrics that there are.
#[test]
fn the_examples_for_grafana_name_metrics_that_there_are() {
    let (mut bench, client) = serving();
    measured(&mut bench, &client, "simulated", json!({ "-p": "16", "-n": "4", "-r": "1" }));
    // As a load test leaves it.
    bench
        .database()
        .execute_batch(
            "INSERT INTO benchmark_results (model_name, requests_per_second, created_at, run_id)
             SELECT 'm', 1.5, 1772323200, id FROM runs",
        )
        .unwrap();
    let text = client.get("/metrics").text;
    let mut known: Vec<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect();
    known.extend(scraped(&client).into_iter().map(|(name, _)| name.split('{').next().unwrap().to_owned()));
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/grafana");
    for file in ["dashboard.json", "alerts.yaml"] {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let names: std::collections::BTreeSet<&str> = text
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .filter(|word| word.starts_with("benchlet_"))
            .collect();
        assert!(names.len() >= 4, "{file}: {names:?}");
        let strangers: Vec<&&str> =
            names.iter().filter(|name| !known.iter().any(|metric| metric == **name)).collect();
        assert!(strangers.is_empty(), "{file}: {strangers:?}\n{known:?}");
    }
    let dashboard = std::fs::read_to_string(folder.join("dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() >= 6);
    let rules: Value =
        serde_yaml::from_str(&std::fs::read_to_string(folder.join("alerts.yaml")).unwrap()).unwrap();
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    assert!(rules.iter().all(|rule| rule["expr"].is_string() && rule["annotations"]["summary"].is_string()));
}

/// Makes a run of the stand-in one of a real service, which needs no llama.cpp to apply.
fn as_if_of(bench: &Workbench, id: &str, service: &str) {
    bench
        .database()
        .execute(
            "UPDATE runs SET simulated = 0, service = ?2, blueprint_json =
                json_set(blueprint_json, '$.service', ?2, '$.simulated', json('false')) WHERE id = ?1",
            [id, service],
        )
        .unwrap();
}

#[test]
fn an_apply_changes_the_service_and_says_what_it_did() {
    let (mut bench, client) = serving();
    bench.add_service(
        "served",
        "    image: ghcr.io/ggml-org/llama.cpp:server\n    command: [-m, /models/a.gguf, -b, '2048']   # by feel\n",
    );
    let run =
        measured(&mut bench, &client, "simulated", json!({ "-p": "16", "-n": "4", "-r": "1", "-b": "512" }));
    let path = format!("/api/benchmarks/{}/apply", run["id"].as_str().unwrap());
    let refused = client.put(&path, &json!({ "metric": "tg_avg_ts" }));
    assert_eq!((refused.status, refused.code().as_str()), (400, "nothing_to_apply"), "it was simulated");
    as_if_of(&bench, run["id"].as_str().unwrap(), "served");

    let compose = || std::fs::read_to_string(bench.path("docker-compose.yml")).unwrap();
    let before = compose();
    let preview = client.put(&path, &json!({ "metric": "tg_avg_ts", "dry_run": true }));
    assert_eq!(preview.status, 200, "{preview:?}");
    assert_eq!(preview.json()["changes"][0]["new"], "512");
    assert_eq!(compose(), before, "a dry run writes nothing");

    let answer = client.put(&path, &json!({ "metric": "tg_avg_ts" }));
    assert_eq!(answer.status, 200, "{answer:?}");
    let applied = answer.json();
    assert_eq!(applied["success"], true);
    assert_eq!(applied["applied_params"]["-b"], "512");
    assert!(applied["skipped_flags"].as_array().unwrap().contains(&json!("-p")), "{applied}");
    assert!(compose().contains("-b, '512']   # by feel"), "{}", compose());
    let name = applied["request"].as_str().unwrap().to_owned();
    assert!(bench.request_path(&format!("api/{name}.yaml")).exists());
    assert_eq!(client.get(&format!("/api/requests/{name}")).json()["kind"], "Apply");

    let again = client.put(&path, &json!({ "metric": "tg_avg_ts" })).json();
    assert_eq!(again["changes"], json!([]), "{again}");
    bench.until_phase(&format!("api/{name}"), "Completed");
}

#[test]
fn what_has_not_completed_is_not_applied() {
    let (mut bench, client) = serving();
    let asked = json!({ "service_name": "simulated", "params": { "-r": "1000", "-n": "2000" } });
    let started = client.post("/api/benchmarks", &asked).json();
    let path = format!("/api/benchmarks/{}", started["id"].as_str().unwrap());
    let refused = client.call("PUT", &format!("{path}/apply"), None);
    assert_eq!((refused.status, refused.code().as_str()), (400, "run_not_completed"));
    assert_eq!(client.put("/api/benchmarks/0123/apply", &json!({})).status, 404);
    assert_eq!(client.put(&format!("{path}/apply"), &json!({ "case": 0 })).status, 400);
    client.delete(&path);
    bench.until_runs_ended(started["request"].as_str().unwrap(), 1);
}
