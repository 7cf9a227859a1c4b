//! Baselines over HTTP: listed, set and taken away by the rules of `benchlet baseline`.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::api_client::Client;
use crate::judged_runs::{JudgedRuns, Made, STEADY, made};
use crate::workbench::Workbench;

fn serving() -> (Workbench, Client, [Uuid; 3]) {
    let mut bench = Workbench::without_docker();
    let runs = JudgedRuns::at(&bench.path("state"));
    let (load, other) = (runs.request("load", ""), runs.request("other", ""));
    let ids = [
        runs.run(&load, &made(&STEADY)),
        runs.run(&other, &made(&STEADY)),
        runs.run(&load, &Made { simulated: true, ..made(&STEADY) }),
    ];
    drop(runs);
    bench.serve();
    let client = Client::of(&mut bench);
    (bench, client, ids)
}

#[test]
fn a_baseline_is_set_listed_and_taken_away_as_by_the_command_line() {
    let (bench, client, [run, ..]) = serving();
    let answer = client.put("/api/baselines/main", &json!({ "run": run.to_string()[..13] }));
    assert_eq!(answer.status, 200, "{answer:?}");
    let set = answer.json();
    let short = &run.to_string()[..8];
    assert_eq!(set["message"], format!("baseline main of the request load is run {short}"));
    assert_eq!((&set["baseline"]["request"], &set["baseline"]["setBy"]), (&json!("load"), &Value::Null));
    let listed = client.get("/api/baselines").json();
    let output = bench.command(&["baseline", "list", "-o", "json"]).output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(listed, json!({ "baselines": said["items"], "total": 1 }));
    assert_eq!(listed["baselines"][0], set["baseline"]);
    assert_eq!(client.delete(&format!("/api/benchmarks/{run}")).status, 409, "it is pinned");

    let gone = client.delete("/api/baselines/main");
    assert_eq!(gone.status, 200, "{gone:?}");
    assert_eq!(gone.json()["message"], "baseline main of the request load is gone; its run stays");
    assert_eq!(client.get("/api/baselines").json()["total"], 0);
    assert_eq!(client.delete("/api/baselines/main").status, 404);
    assert_eq!(client.delete(&format!("/api/benchmarks/{run}")).status, 200);
}

#[test]
fn of_several_of_a_name_the_one_is_taken_away_that_is_meant() {
    let (_bench, client, [run, other, _]) = serving();
    for body in [
        json!({ "run": run }),
        json!({ "run": other, "for": "request" }),
        json!({ "run": run, "for": "service" }),
    ] {
        assert_eq!(client.put("/api/baselines/main", &body).status, 200, "{body}");
    }
    let answer = client.delete("/api/baselines/main");
    assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"));
    assert!(answer.text.contains("load, other, simulated"), "{answer:?}");
    let remove = |query: &str| client.delete(&format!("/api/baselines/main?{query}")).status;
    assert_eq!(remove("request=load&service=simulated"), 400);
    assert_eq!(remove("request=simulated"), 404, "that is a service");
    assert_eq!(remove("service=simulated"), 200);
    assert_eq!(remove("request=load"), 200);
    assert_eq!(client.get("/api/baselines").json()["baselines"][0]["request"], "other");
    assert_eq!(client.delete("/api/baselines/main").status, 200, "one alone needs no other word");
}

#[test]
fn what_cannot_be_a_baseline_is_refused() {
    let (_bench, client, [run, _, made_up]) = serving();
    let refused = |name: &str, body: Value| {
        let answer = client.put(&format!("/api/baselines/{name}"), &body);
        (answer.status, answer.code())
    };
    assert_eq!(refused("main", json!({ "run": made_up })), (400, "unfit".to_owned()));
    assert_eq!(refused("main", json!({ "run": Uuid::nil() })).0, 404);
    assert_eq!(refused("a%20b", json!({ "run": run })), (400, "invalid_request".to_owned()));
    for body in [json!({ "run": run, "for": "everybody" }), json!({}), json!({ "run": run, "x": 1 })] {
        assert_eq!(refused("main", body), (400, "invalid_request".to_owned()));
    }
    assert_eq!(client.get("/api/baselines").json()["total"], 0);
}

#[test]
fn a_gate_judges_once_its_baseline_is_set_over_http() {
    let (mut bench, client, [run, ..]) = serving();
    let spec = "{ service: simulated, params: { -p: 16, -n: 4, -r: 1 }, gate: { baseline: main } }";
    bench.save("gated", spec);
    bench.until_status("gated", "judged without a baseline", |status| {
        status["verdict"]["reasons"].to_string().contains("baseline")
    });
    client.put("/api/baselines/main", &json!({ "run": run, "for": "service" }));
    bench.until_status("gated", "judged", |status| status["verdict"]["baselineRun"] == run.to_string());
}
