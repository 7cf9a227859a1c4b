//! Two runs against each other over HTTP, against what `benchlet compare` says of the same two.

use benchlet::run::phase::{Ending, RunState};
use benchlet::run::reason::Reason;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::api_client::{Answer, Client};
use crate::judged_runs::{JudgedRuns, Made, STEADY, made, times};
use crate::workbench::Workbench;

fn serving(seed: impl FnOnce(&JudgedRuns) -> [Uuid; 2]) -> (Workbench, Client, [Uuid; 2]) {
    let mut bench = Workbench::without_docker();
    let runs = seed(&JudgedRuns::at(&bench.path("state")));
    bench.serve();
    let client = Client::of(&mut bench);
    (bench, client, runs)
}

fn compared(client: &Client, [baseline, candidate]: [Uuid; 2]) -> Answer {
    client.get(&format!("/api/comparisons?baseline={baseline}&candidate={candidate}"))
}

#[test]
fn a_comparison_is_the_one_of_the_command_line_with_words_and_facts_beside_it() {
    let (bench, client, runs) = serving(|runs| {
        let before = runs.run(&runs.request("before", ""), &made(&STEADY));
        [before, runs.run(&runs.request("after", ""), &made(&times(&STEADY, 0.5)))]
    });
    let answer = compared(&client, runs);
    assert_eq!(answer.status, 200, "{answer:?}");
    let found = answer.json();
    let [first, second] = runs.map(|id| id.to_string());
    let output = bench.command(&["compare", &first, &second, "-o", "json"]).output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    for (name, value) in said.as_object().unwrap().iter().filter(|(name, _)| *name != "rows") {
        assert_eq!(&found[name], value, "{name}");
    }
    assert_eq!((&found["outcome"], &found["policy"]), (&json!("regression"), &json!("Fail")));
    let row = &found["rows"][0];
    assert_eq!(row["p"], said["rows"][0]["p"]);
    assert_eq!(
        row["text"],
        json!({ "baseline": "100.0 tok/s", "candidate": "50.0 tok/s", "change": "-50.0 %", "evidence": "Regression" })
    );
    for (name, run, request) in [("baseline", &first, "before"), ("candidate", &second, "after")] {
        let mut side = found["sides"][name].clone();
        assert_eq!(side["measured_at"].take(), found[name]["measuredAt"]);
        assert_eq!(
            side,
            json!({
                "run": run, "request": request, "service_name": "simulated", "measured_at": null, "simulated": false,
            })
        );
    }
    let facts = found["facts"].as_array().unwrap();
    let fact = |name: &str| facts.iter().find(|fact| fact["fact"] == name).unwrap().clone();
    assert_eq!(
        fact("cpu"),
        json!({ "fact": "cpu", "baseline": "EPYC", "candidate": "EPYC", "differs": false, "declared": false })
    );
    assert!(facts.iter().all(|fact| fact["differs"] == false), "{facts:?}");
    // The beginnings of the ids are as good, and the other way round it is no regression.
    let turned = client.get(&format!("/api/comparisons?baseline={}&candidate={}", &second[..8], &first[..8]));
    assert_eq!(turned.json()["outcome"], "no regression");
}

#[test]
fn what_is_not_comparable_is_an_answer_with_its_reasons() {
    let (_bench, client, runs) = serving(|runs| {
        let before = runs.run(&runs.request("before", ""), &made(&STEADY));
        [before, runs.run(&runs.request("after", ""), &Made { threads: 1, ..made(&STEADY) })]
    });
    let answer = compared(&client, runs);
    assert_eq!(answer.status, 200, "{answer:?}");
    let found = answer.json();
    assert_eq!((&found["outcome"], &found["policy"]), (&json!("not comparable"), &Value::Null));
    assert!(found["reasons"].to_string().contains("n_threads"), "{found}");
    let facts = found["facts"].as_array().unwrap();
    let differing: Vec<&Value> = facts.iter().filter(|fact| fact["differs"] == true).collect();
    assert_eq!(
        differing,
        [&json!({
            "fact": "n_threads", "baseline": "2", "candidate": "1", "differs": true, "declared": false,
        })]
    );
}

#[test]
fn the_candidates_gate_and_its_hosts_noise_judge_and_strict_is_asked_for() {
    let (bench, client, runs) = serving(|runs| {
        let before = runs.run(&runs.request("before", ""), &made(&STEADY));
        let gate = ", gate: { baseline: main, thresholds: { tg_avg_ts: { warn: 2% } } }";
        [before, runs.run(&runs.request("after", gate), &made(&times(&STEADY, 0.97)))]
    });
    let found = compared(&client, runs).json();
    assert_eq!((&found["policy"], &found["outcome"]), (&json!("Warn"), &json!("no regression")), "{found}");
    let [first, second] = runs;
    let strict = |word: &str| {
        client.get(&format!("/api/comparisons?baseline={first}&candidate={second}&strict={word}"))
    };
    assert_eq!(strict("true").json()["outcome"], "regression");
    assert_eq!(strict("false").json()["outcome"], "no regression");
    assert_eq!(strict("perhaps").code(), "invalid_request");
    assert_eq!(found["rows"][0]["margin"], 0.05);
    bench
        .database()
        .execute_batch(
            "INSERT INTO noise_floors VALUES ('box', 'after', 'tg16', 'tg_avg_ts', 0.08, 5, '2026-01-01')",
        )
        .unwrap();
    assert_eq!(compared(&client, runs).json()["rows"][0]["margin"], 0.08);
}

#[test]
fn a_run_that_is_no_side_and_a_run_that_is_not_there_are_refused() {
    let (_bench, client, [good, failed]) = serving(|runs| {
        let record = runs.request("load", "");
        let good = runs.run(&record, &made(&STEADY));
        let end = Ending::failed(Reason::ModelNotFound, "gone");
        [good, runs.seeded.run(&record, RunState::Ended(end))]
    });
    for runs in [[good, failed], [failed, good]] {
        let answer = compared(&client, runs);
        assert_eq!((answer.status, answer.code().as_str()), (400, "not_comparable"), "{answer:?}");
    }
    assert_eq!(compared(&client, [good, Uuid::nil()]).status, 404);
    let good = good.to_string();
    let short = client.get(&format!("/api/comparisons?baseline={}&candidate={good}", &good[..7]));
    assert_eq!(short.status, 404, "a beginning of seven characters is a slip");
    assert_eq!(client.get(&format!("/api/comparisons?baseline={good}")).code(), "invalid_request");
}
