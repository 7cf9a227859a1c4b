//! Runs over HTTP: started, listed, shown, cancelled and deleted, and how they agree with files and store.

use serde_json::{Value, json};

use benchlet::run::phase::Phase;

use crate::api_client::Client;
use crate::workbench::Workbench;

fn serving() -> (Workbench, Client) {
    let mut bench = Workbench::without_docker();
    bench.serve();
    let client = Client::of(&mut bench);
    (bench, client)
}

/// Starts a run of the stand-in and waits for its end.
fn measured(bench: &mut Workbench, client: &Client, params: Value) -> Value {
    let answer = client.post("/api/benchmarks", &json!({ "service_name": "simulated", "params": params }));
    assert_eq!(answer.status, 202, "{answer:?}");
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    bench.until("the run ends", |_| {
        let run = client.get(&format!("/api/benchmarks/{id}")).json();
        ["completed", "failed", "cancelled"].contains(&run["status"].as_str().unwrap()).then_some(run)
    })
}

#[test]
fn a_run_that_is_started_over_http_is_a_file_a_row_and_a_result() {
    let (mut bench, client) = serving();
    let asked =
        json!({ "service_name": "simulated", "params": { "-p": "64", "-n": "16", "--no-warmup": "" } });
    let answer = client.post("/api/benchmarks", &asked);
    assert_eq!(answer.status, 202, "{answer:?}");
    let started = answer.json();
    let id = started["id"].as_str().unwrap();
    assert_eq!(started["status"], "pending");
    assert_eq!(started["service_name"], "simulated");
    assert_eq!(answer.header("location"), Some(format!("/api/benchmarks/{id}").as_str()));
    let name = started["request"].as_str().unwrap();
    let file = bench.request_path(started["file"].as_str().unwrap());
    assert!(file.starts_with(bench.request_path("api")));
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains("\"--no-warmup\": \n") && text.contains("\"-p\": \"64\""), "{text}");

    let status = bench.until_phase(&format!("api/{name}"), "Completed");
    assert_eq!(status["status"]["run"]["id"], id);
    assert_eq!(status["metadata"]["generation"], 1);
    let run = client.get(&format!("/api/benchmarks/{id}")).json();
    assert_eq!(run["status"], "completed");
    assert_eq!(run["params"]["-p"], "64");
    assert_eq!(run["simulated"], true);
    assert!(run["results"]["cases"].as_array().is_some_and(|cases| !cases.is_empty()), "{run}");
    assert!(run["raw_output"].as_str().is_some_and(|text| text.starts_with('[')));
    // The file asks for what has run, so nothing runs again.
    bench.until_caught_up();
    assert_eq!(bench.runs(name).len(), 1);
}

#[test]
fn a_service_has_one_run_at_a_time() {
    let (mut bench, client) = serving();
    let asked = json!({ "service_name": "simulated", "params": { "-r": "1000", "-n": "2000" } });
    let first = client.post("/api/benchmarks", &asked).json();
    let second = client.post("/api/benchmarks", &asked);
    assert_eq!(second.status, 409);
    assert_eq!(second.code(), "already_running");
    assert!(second.text.contains(first["id"].as_str().unwrap()), "{second:?}");
    let files = std::fs::read_dir(bench.request_path("api")).unwrap().flatten();
    let files: Vec<_> = files.filter(|file| !file.file_name().to_string_lossy().contains("status")).collect();
    assert_eq!(files.len(), 1, "what was refused left no file");

    let id = first["id"].as_str().unwrap();
    let cancelled = client.delete(&format!("/api/benchmarks/{id}"));
    assert_eq!((cancelled.status, &cancelled.json()["success"]), (200, &json!(true)));
    let name = first["request"].as_str().unwrap();
    let runs = bench.until_runs_ended(name, 1);
    assert_eq!(runs[0].state.phase(), Phase::Cancelled);
    assert_eq!(client.post("/api/benchmarks", &asked).status, 202, "the service is free again");
}

#[test]
fn two_calls_at_once_start_one_run() {
    let (_bench, client) = serving();
    let asked = json!({ "service_name": "simulated", "params": { "-r": "1000", "-n": "2000" } });
    let mut statuses: Vec<u16> = std::thread::scope(|scope| {
        let calls: Vec<_> =
            (0..8).map(|_| scope.spawn(|| client.post("/api/benchmarks", &asked).status)).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    statuses.sort_unstable();
    assert_eq!(statuses, [202, 409, 409, 409, 409, 409, 409, 409]);
}

#[test]
fn an_ended_run_is_deleted_and_its_file_measures_nothing_again() {
    let (mut bench, client) = serving();
    let run = measured(&mut bench, &client, json!({ "-p": "16", "-n": "4", "-r": "1" }));
    let path = format!("/api/benchmarks/{}", run["id"].as_str().unwrap());
    assert_eq!(client.delete(&path).status, 200);
    assert_eq!(client.get(&path).status, 404);
    assert_eq!(client.delete(&path).code(), "not_found");
    assert!(!bench.path("state/spool").join(run["id"].as_str().unwrap()).exists());
    bench.until_caught_up();
    assert!(bench.runs(run["request"].as_str().unwrap()).is_empty());
    bench.stop();
    bench.serve();
    Client::of(&mut bench);
    bench.until_caught_up();
    assert!(bench.runs(run["request"].as_str().unwrap()).is_empty());
}

#[test]
fn lists_are_filtered_and_come_in_pages() {
    let (mut bench, client) = serving();
    let ids: Vec<Value> = (1..=3)
        .map(|n| measured(&mut bench, &client, json!({ "-p": (n * 8).to_string(), "-n": "4", "-r": "1" })))
        .map(|run| run["id"].clone())
        .collect();
    let list = |query: &str| client.get(&format!("/api/benchmarks{query}")).json();
    let of = |list: &Value| -> Vec<Value> {
        list["runs"].as_array().unwrap().iter().map(|run| run["id"].clone()).collect()
    };
    let all = list("");
    assert_eq!(of(&all), ids.iter().rev().cloned().collect::<Vec<_>>());
    assert_eq!((&all["total"], &all["limit"], &all["offset"]), (&json!(3), &json!(20), &json!(0)));
    assert!(all["runs"][0].get("raw_output").is_none());
    assert_eq!(all["runs"][0]["params"]["-p"], "24");
    let page = list("?limit=1&offset=1&service_name=simulated&status=completed");
    assert_eq!(of(&page), [ids[1].clone()]);
    assert_eq!(page["total"], 3);
    assert_eq!(list("?limit=1000")["limit"], 100);
    assert_eq!(list("?limit=0")["limit"], 1);
    assert_eq!(list("?status=failed")["total"], 0);
    assert_eq!(list("?service_name=none")["runs"], json!([]));
    for query in ["?limit=x", "?offset=-1", "?status=done", "?servce_name=a", "?limit=1&limit=2"] {
        let answer = client.get(&format!("/api/benchmarks{query}"));
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"), "{query}");
    }
}

#[test]
fn what_cannot_be_measured_is_refused_with_what_would_be_right() {
    let (bench, client) = serving();
    for (body, status, code, words) in [
        (json!({ "service_name": "none" }), 404, "service_unknown", "there are"),
        (json!({ "service_name": "chat" }), 400, "service_not_llama_cpp", "vLLM"),
        (
            json!({ "service_name": "simulated", "params": { "-m": "x" } }),
            400,
            "invalid_parameters",
            "reserved",
        ),
        (json!({ "service_name": "simulated", "params": { "p": "1" } }), 400, "invalid_parameters", "-p"),
        (json!({ "service_name": "simulated", "params": { "-p": 1 } }), 400, "invalid_request", "text"),
        (json!({ "service_name": "simulated", "param": {} }), 400, "invalid_request", "unknown field"),
        (json!({}), 400, "invalid_request", "service_name"),
        (json!([]), 400, "invalid_request", "the body is wrong"),
    ] {
        let answer = client.post("/api/benchmarks", &body);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{body}: {answer:?}");
        assert!(answer.text.contains(words), "{body}: {answer:?}");
    }
    assert!(!bench.request_path("api").exists(), "nothing was saved");
}

/// Killed at every point between the call and the answer: the next start has the run once, with its file, or
/// nothing at all.
#[test]
fn a_start_that_is_cut_off_is_whole_or_not_there() {
    let asked = json!({ "service_name": "simulated", "params": { "-p": "16", "-n": "4", "-r": "1" } });
    for point in 1..=4 {
        let mut bench = Workbench::without_docker();
        bench.serve_with(&[("BENCHLET_CRASH_AT", &point.to_string())]);
        let client = Client::of(&mut bench);
        // The answer may come before the end does.
        let call = std::panic::AssertUnwindSafe(|| client.post("/api/benchmarks", &asked).status);
        drop(std::panic::catch_unwind(call));
        bench.until("it is killed", Workbench::has_ended);
        bench.serve();
        let client = Client::of(&mut bench);
        let runs = bench.until("what there is has ended", |_| {
            let list = client.get("/api/benchmarks").json();
            let runs = list["runs"].as_array().unwrap().clone();
            runs.iter().all(|run| run["status"] != "pending" && run["status"] != "running").then_some(runs)
        });
        assert!(runs.len() <= 1, "{point}: {runs:?}");
        assert!(point > 1 || runs.is_empty(), "nothing was recorded yet");
        if point > 1 {
            assert_eq!(runs[0]["status"], "completed", "{point}: {runs:?}");
            let name = runs[0]["request"].as_str().unwrap();
            assert!(bench.request_path(&format!("api/{name}.yaml")).exists(), "{point}");
            bench.until_phase(&format!("api/{name}"), "Completed");
            assert_eq!(bench.runs(name).len(), 1);
        }
    }
}

#[test]
fn what_cannot_be_saved_does_not_run() {
    let (mut bench, client) = serving();
    let asked = json!({ "service_name": "simulated", "params": { "-p": "16", "-n": "4", "-r": "1" } });
    let elsewhere = bench.path("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, bench.request_path("api")).unwrap();
    let answer = client.post("/api/benchmarks", &asked);
    assert_eq!((answer.status, answer.code().as_str()), (500, "not_saved"));
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0, "a link leads out of the tree");
    std::fs::remove_file(bench.request_path("api")).unwrap();
    std::fs::write(bench.request_path("api"), "a file").unwrap();
    assert_eq!(client.post("/api/benchmarks", &asked).code(), "not_saved");
    bench.until_caught_up();
    assert_eq!(client.get("/api/benchmarks").json()["total"], 0);
    std::fs::remove_file(bench.request_path("api")).unwrap();
    assert_eq!(client.post("/api/benchmarks", &asked).status, 202);
}

/// Made anew it would be an empty one, and everything that it had would count as deleted.
#[test]
fn a_watched_directory_that_is_away_is_not_made_by_a_call() {
    let mut bench = Workbench::without_docker();
    bench.set("BENCHLET_RELIST_SECONDS", "1");
    bench.serve();
    let client = Client::of(&mut bench);
    std::fs::rename(bench.path("requests"), bench.path("away")).unwrap();
    let asked = json!({ "service_name": "simulated", "params": { "-p": "16", "-n": "4", "-r": "1" } });
    let answer = client.post("/api/benchmarks", &asked);
    assert!([500, 503].contains(&answer.status), "{answer:?}");
    assert!(!bench.path("requests").exists());
    bench.until("it is noticed", |_| (client.get_openly("/readyz").status == 503).then_some(()));
    assert_eq!(client.post("/api/benchmarks", &asked).code(), "degraded");
    std::fs::rename(bench.path("away"), bench.path("requests")).unwrap();
    bench.until("it is back", |_| (client.get_openly("/readyz").status == 200).then_some(()));
    assert_eq!(client.post("/api/benchmarks", &asked).status, 202);
}

#[test]
fn a_file_that_came_over_http_is_edited_and_removed_as_any_other() {
    let (mut bench, client) = serving();
    let run = measured(&mut bench, &client, json!({ "-p": "16", "-n": "4", "-r": "1" }));
    let name = run["request"].as_str().unwrap();
    let file = bench.request_path(&format!("api/{name}.yaml"));
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("\"16\"", "\"24\"")).unwrap();
    let runs = bench.until_runs_ended(name, 2);
    assert_eq!(client.get(&format!("/api/benchmarks/{}", runs[1].id)).json()["params"]["-p"], "24");

    let long = json!({ "service_name": "simulated", "params": { "-r": "1000", "-n": "2000" } });
    bench.save("first", "{ service: simulated, params: { -p: 16, -n: 2000, -r: 1000 } }");
    bench.until_phase("first", "Running");
    assert_eq!(client.post("/api/benchmarks", &long).code(), "already_running", "whoever started it");
    client.post("/api/requests/first/cancel", &json!({}));
    bench.until_runs_ended("first", 1);
}
