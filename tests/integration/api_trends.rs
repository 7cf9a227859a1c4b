//! Figures over the runs over HTTP, against what `benchlet trend` says of them.

use serde_json::{Value, json};

use crate::api_client::Client;
use crate::judged_runs::{JudgedRuns, Made, made};
use crate::workbench::Workbench;

/// A served installation with a history of the request `load`, a drop in it where said.
fn serving(drop: f64) -> (Workbench, Client) {
    let mut bench = Workbench::without_docker();
    let runs = JudgedRuns::at(&bench.path("state"));
    let record = runs.request("load", "");
    for at in 0..24u32 {
        let level = if at < 14 { 100.0 } else { 100.0 * drop };
        runs.run(&record, &made(&[level + f64::from(at * 7 % 5) * 0.2]));
    }
    runs.run(&record, &Made { simulated: true, ..made(&[7.0]) });
    runs.request("idle", "");
    bench.serve();
    let client = Client::of(&mut bench);
    (bench, client)
}

#[test]
fn a_trend_is_the_one_of_the_command_line_with_words_and_a_picture() {
    let (bench, client) = serving(0.8);
    let answer = client.get("/api/trends?request=load");
    assert_eq!(answer.status, 200, "{answer:?}");
    let found = answer.json();
    let output = bench.command(&["trend", "load", "-o", "json"]).output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    for name in ["falseDiscoveryRate", "judged", "notJudged"] {
        assert_eq!(found[name], said[name], "{name}");
    }
    let (series, same) = (&found["series"][0], &said["series"][0]);
    for (name, value) in same.as_object().unwrap().iter().filter(|(name, _)| *name != "changes") {
        assert_eq!(&series[name], value, "{name}");
    }
    assert_eq!((&series["unit"], &series["regression"]), (&json!("tok/s"), &json!(true)));
    let change = &series["changes"][0];
    assert_eq!(change["run"], same["changes"][0]["run"]);
    assert_eq!(change["text"], "100.4 to 80.4 tok/s (-19.9 %), regression");
    assert!(series["text"]["newest"].as_str().unwrap().ends_with(" tok/s"), "{}", series["text"]);
    assert!(series["text"]["expected"].as_str().unwrap().contains("expected: "), "{}", series["text"]);
    let plot = series["plot"].as_str().unwrap();
    assert!(plot.starts_with("<svg ") && plot.ends_with("</svg>"));
    assert_eq!(plot.matches("<circle").count(), 24);
    assert_eq!(plot.matches("class=\"line ").count(), 2, "the values and their levels");
    // The same runs are those of their service.
    assert_eq!(client.get("/api/trends?service_name=simulated").json()["series"], found["series"]);
}

#[test]
fn a_trend_is_narrowed_by_figure_case_and_runs() {
    let (_bench, client) = serving(1.0);
    let count = |query: &str| {
        let found = client.get(&format!("/api/trends?request=load&{query}")).json();
        let points = found["series"][0]["points"].as_array().map_or(0, Vec::len);
        (found["series"].as_array().unwrap().len(), points)
    };
    assert_eq!(count("metric=tg_avg_ts"), (1, 24));
    assert_eq!(count("metric=pp_avg_ts,%20tg_avg_ts&case=tg16"), (1, 24));
    assert_eq!(count("metric=pp_avg_ts"), (0, 0));
    assert_eq!(count("case=pp512"), (0, 0));
    assert_eq!(count("limit=5"), (1, 5));
    assert_eq!(count("limit=0"), (1, 2));
    assert_eq!(count("simulated=true"), (1, 1));
    let single = client.get("/api/trends?request=load&simulated=true").json();
    assert_eq!(
        (&single["series"][0]["plot"], &single["series"][0]["text"]["expected"]),
        (&Value::Null, &Value::Null)
    );
    let steady = client.get("/api/trends?request=load").json();
    assert_eq!(steady["series"][0]["plot"].as_str().unwrap().matches("class=\"line ").count(), 1);
}

#[test]
fn nothing_to_show_is_an_empty_list_and_a_wrong_question_is_refused() {
    let (_bench, client) = serving(1.0);
    for query in ["service_name=none", "request=idle"] {
        let answer = client.get(&format!("/api/trends?{query}"));
        assert_eq!((answer.status, &answer.json()["series"]), (200, &json!([])), "{query}");
    }
    let refused = |query: &str| {
        let answer = client.get(&format!("/api/trends{query}"));
        (answer.status, answer.code())
    };
    assert_eq!(refused("?request=none"), (404, "not_found".to_owned()));
    for query in
        ["", "?request=load&service_name=simulated", "?request=load&metric=tg_avg", "?request=load&limit=x"]
    {
        assert_eq!(refused(query), (400, "invalid_request".to_owned()), "{query}");
    }
}
