//! A request's file over HTTP, with what is wrong with it, against `benchlet validate`; and requests that were
//! refused, as they are shown.

use std::fs;

use serde_json::{Value, json};

use crate::api_client::Client;
use crate::workbench::{Workbench, bench_request};

fn serving(files: &[(&str, &str)]) -> (Workbench, Client) {
    let mut bench = Workbench::without_docker();
    for (name, text) in files {
        fs::write(bench.request_path(name), text).unwrap();
        bench.age(name);
    }
    bench.serve();
    let client = Client::of(&mut bench);
    (bench, client)
}

/// What the command line says of a file, without what is the API's own.
fn validated(bench: &Workbench, file: &str) -> Value {
    let line = ["validate", &format!("requests/{file}"), "-o", "json"];
    let output = bench.command(&line).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

const TWO: &str = "# Two of them.\napiVersion: benchlet/v1\nkind: LlamaBench\nspec: { service: simulated, suspend: true }\n---\n\
                   apiVersion: benchlet/v1\nkind: LlamaBench\nmetadata: { name: second }\nspec:\n  sevice: simulated\n";

#[test]
fn a_refused_request_is_shown_with_its_problems_and_their_places() {
    let (mut bench, client) = serving(&[("two.yaml", TWO)]);
    bench.until_phase("two", "Suspended");
    let shown = bench.until("the refused one", |_| {
        let answer = client.get("/api/requests/second");
        (answer.status == 200).then(|| answer.json())
    });
    assert_eq!((&shown["kind"], &shown["metadata"]["name"]), (&Value::Null, &json!("second")));
    assert_eq!(
        (&shown["status"]["phase"], &shown["status"]["reason"]),
        (&json!("Invalid"), &json!("Invalid"))
    );
    assert_eq!(shown["status"]["conditions"][0]["type"], "Accepted");
    assert!(shown["status"]["problems"].to_string().contains("sevice"), "{shown}");

    let source = client.get("/api/requests/second/source").json();
    assert_eq!(
        (&source["path"], &source["text"], &source["document"]),
        (&json!("two.yaml"), &json!(TWO), &json!(1))
    );
    let problems = source["problems"].as_array().unwrap();
    let misspelt = problems.iter().find(|problem| problem["text"] == "sevice").unwrap();
    assert_eq!(
        *misspelt,
        json!({
            "message": misspelt["message"], "hint": "did you mean \"service\"?", "severity": "Error", "document": 1,
            "line": 10, "column": 3, "end_line": 10, "end_column": 9, "text": "sevice",
        })
    );
    assert_eq!(client.get("/api/requests/two/source").json()["document"], 0);
    let said = validated(&bench, "two.yaml");
    let messages = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|problem| problem["message"].to_string()).collect()
    };
    assert_eq!(messages(&source["problems"]), messages(&said["problems"]), "{said}");
}

#[test]
fn what_takes_a_look_around_is_said_of_an_accepted_request_too() {
    let unknown = bench_request("{ service: nowhere, suspend: true }");
    let (mut bench, client) = serving(&[("a.yaml", &unknown)]);
    bench.until_phase("a", "Suspended");
    let source = client.get("/api/requests/a/source").json();
    let problem = &source["problems"][0];
    assert_eq!((&problem["severity"], &problem["text"]), (&json!("Warning"), &json!("nowhere")));
    // The text is the one that is there now, whatever the controller made of the one before.
    fs::write(bench.request_path("a.yaml"), "kind: [\n").unwrap();
    let source = client.get("/api/requests/a/source").json();
    assert_eq!(source["text"], "kind: [\n");
    assert_eq!(source["problems"][0]["severity"], "Error");
}

#[test]
fn a_file_that_cannot_be_parsed_or_is_no_text_is_shown_by_the_name_that_it_is_refused_under() {
    let (mut bench, client) = serving(&[("broken.yaml", "kind: {\n"), ("bytes.yaml", "a: \u{0}")]);
    for (file, text, line) in [("broken.yaml", "kind: {\n", true), ("bytes.yaml", "", false)] {
        let listed = bench.until("both are refused", |_| {
            let list = client.get("/api/requests?phase=Invalid").json();
            (list["total"] == 2).then_some(list)
        });
        let mut lines = listed["requests"].as_array().unwrap().iter();
        let name =
            lines.find(|line| line["name"].as_str().unwrap().starts_with(file)).unwrap()["name"].clone();
        let name = name.as_str().unwrap().replace('#', "%23");
        assert_eq!(client.get(&format!("/api/requests/{name}")).json()["status"]["phase"], "Invalid");
        let source = client.get(&format!("/api/requests/{name}/source")).json();
        assert_eq!((&source["path"], &source["text"]), (&json!(file), &json!(text)));
        assert_eq!(source["problems"][0]["line"].is_u64(), line, "{source}");
    }
}

#[test]
fn nothing_is_read_that_is_gone_too_large_or_outside() {
    let good = bench_request("{ service: simulated, suspend: true }");
    let (mut bench, client) = serving(&[("large.yaml", &good), ("away.yaml", &good), ("link.yaml", &good)]);
    for name in ["large", "away", "link"] {
        bench.until_phase(name, "Suspended");
    }
    fs::write(bench.path("secret"), "sk-never-shown").unwrap();
    // While the controller does not look, so that the answers do not depend on what it has made of it.
    bench.kill();
    fs::write(bench.request_path("large.yaml"), format!("{good}#{}\n", "x".repeat(1 << 20))).unwrap();
    fs::remove_file(bench.request_path("link.yaml")).unwrap();
    std::os::unix::fs::symlink(bench.path("secret"), bench.request_path("link.yaml")).unwrap();
    bench.serve();
    let client = {
        drop(client);
        Client::of(&mut bench)
    };
    let large = client.get("/api/requests/large/source");
    assert_eq!((large.status, large.code().as_str()), (413, "too_large"));
    let link = client.get("/api/requests/link/source");
    assert!(!link.text.contains("sk-never-shown"), "{link:?}");
    assert_eq!(link.json()["text"], "");
    fs::remove_file(bench.request_path("away.yaml")).unwrap();
    let away = client.get("/api/requests/away/source");
    // Until two listings have missed it, its name is known.
    assert!([404, 410].contains(&away.status), "{away:?}");
    assert_eq!(client.get("/api/requests/none/source").status, 404);
    assert_eq!(client.get("/api/requests/..%2Fsecret%230/source").status, 404);
    assert_eq!(client.get("/api/requests/none").status, 404);
}
