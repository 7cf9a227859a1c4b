//! A run's report and its pictures over HTTP, against what `benchlet report` writes.

use serde_json::{Value, json};

use crate::api_client::Client;
use crate::workbench::Workbench;

fn serving() -> (Workbench, Client, String) {
    let mut bench = Workbench::without_docker();
    bench.save_long_ago("quick", "{ service: simulated, params: { -p: '16,32', -n: 4, -r: 2 } }");
    bench.serve();
    let client = Client::of(&mut bench);
    bench.until_phase("quick", "Completed");
    let run = bench.runs("quick")[0].id.to_string();
    (bench, client, run)
}

#[test]
fn a_report_is_the_one_of_the_command_line_in_every_format() {
    let (bench, client, run) = serving();
    for (format, media) in [
        ("md", "text/markdown; charset=utf-8"),
        ("html", "text/html; charset=utf-8"),
        ("csv", "text/csv; charset=utf-8"),
        ("json", "application/json"),
    ] {
        let answer = client.get(&format!("/api/benchmarks/{run}/report?format={format}"));
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(media)), "{format}");
        let said = bench.command(&["report", &run, "--format", format]).output().unwrap();
        assert_eq!(answer.text, String::from_utf8(said.stdout).unwrap(), "{format}");
        let name = format!("inline; filename=\"quick-{}.{format}\"", &run[..8]);
        assert_eq!(answer.header("content-disposition"), Some(name.as_str()));
        let policy = answer.header("content-security-policy");
        assert_eq!(policy.is_some(), format == "html");
        assert!(
            policy.is_none_or(|policy| policy.starts_with("default-src 'none'; style-src 'unsafe-inline'"))
        );
    }
    let without = client.get(&format!("/api/benchmarks/{}/report", &run[..8]));
    assert!(without.text.starts_with("<!doctype html>"), "a page unless another format is asked for");
}

#[test]
fn the_pictures_are_those_of_the_report_without_its_history() {
    let (mut bench, client, run) = serving();
    client.post("/api/requests/quick/rerun", &json!({}));
    let second = bench.until_runs_ended("quick", 2)[1].id.to_string();
    for run in [&run, &second] {
        let drawn = client.get(&format!("/api/benchmarks/{run}/plots")).json();
        let plots = drawn["plots"].as_array().unwrap();
        let titles: Vec<&str> = plots.iter().map(|plot| plot["title"].as_str().unwrap()).collect();
        assert_eq!(titles.len(), 3, "a picture a test, and none over the runs: {titles:?}");
        assert!(titles[0].starts_with("pp16: mean"), "{titles:?}");
        let page = client.get(&format!("/api/benchmarks/{run}/report")).text;
        for plot in plots {
            let svg = plot["svg"].as_str().unwrap();
            assert!(svg.starts_with("<svg ") && page.contains(svg), "{svg}");
            assert_eq!((&plot["simulated"], &plot["legend"]), (&json!(true), &json!([])));
        }
    }
    let page = client.get(&format!("/api/benchmarks/{second}/report")).text;
    assert!(page.contains("over the last runs"), "the report has the history");
}

#[test]
fn pictures_of_several_curves_name_them_by_colour_and_those_of_a_case_the_case() {
    let mut bench = Workbench::without_docker();
    let text = "apiVersion: benchlet/v1\nkind: LoadTest\nspec:\n  targets: [{ engine: simulated }]\n  \
                load: { concurrency: [1, 2], requests: 12 }\n  output: { maxTokens: 4 }\n  warmup: { requests: 0 }\n";
    std::fs::write(bench.request_path("load.yaml"), text).unwrap();
    bench.age("load.yaml");
    bench.serve();
    let client = Client::of(&mut bench);
    bench.until_phase("load", "Completed");
    let run = bench.runs("load")[0].id;
    let drawn = client.get(&format!("/api/benchmarks/{run}/plots")).json();
    let plots = drawn["plots"].as_array().unwrap();
    let titled = |words: &str| {
        let mut found = plots.iter().filter(|plot| plot["title"].as_str().unwrap().contains(words));
        found.next().unwrap_or_else(|| panic!("{words}: {drawn}")).clone()
    };
    let legend = titled("distribution by case")["legend"].clone();
    let colours: Vec<&Value> = legend.as_array().unwrap().iter().map(|key| &key["colour"]).collect();
    assert_eq!(colours, [&json!(0), &json!(1)]);
    assert!(titled("Whole answer")["title"].is_string());
    assert!(titled("Case 2: ")["title"].as_str().unwrap().contains(": "), "{drawn}");
}

#[test]
fn a_run_without_a_report_says_so_and_has_no_pictures() {
    let (mut bench, client, _) = serving();
    let asked = json!({ "service_name": "simulated", "params": { "-r": "1000", "-n": "2000" } });
    let started = client.post("/api/benchmarks", &asked).json();
    let path = format!("/api/benchmarks/{}", started["id"].as_str().unwrap());
    let answer = client.get(&format!("{path}/report"));
    assert_eq!((answer.status, answer.code().as_str()), (409, "not_ended"));
    assert_eq!(client.get(&format!("{path}/plots")).json(), json!({ "plots": [], "left_out": 0 }));
    assert_eq!(client.get(&format!("{path}/report?format=pdf")).code(), "invalid_request");
    for end in ["report", "plots"] {
        assert_eq!(client.get(&format!("/api/benchmarks/00000000-0000/{end}")).status, 404);
    }
    client.delete(&path);
    bench.until_runs_ended(started["request"].as_str().unwrap(), 1);
}
