//! The OpenAPI document against the server that answers: every endpoint, its shapes, and calls that nobody
//! thought of.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};

use crate::api_client::{Answer, Client};
use crate::workbench::Workbench;

fn serving() -> (Workbench, Client) {
    let mut bench = Workbench::without_docker();
    bench.set("BENCHLET_API_CALLS_PER_SECOND", "100000");
    bench.save_long_ago("quick", "{ service: simulated, params: { -p: 16, -n: 4, -r: 1 } }");
    bench.serve();
    let client = Client::of(&mut bench);
    bench.until_phase("quick", "Completed");
    (bench, client)
}

struct Document(Value);

impl Document {
    fn of(client: &Client) -> Self {
        Self(client.get("/api/openapi.json").json())
    }

    fn operations(&self) -> Vec<(String, String, &Value)> {
        let paths = self.0["paths"].as_object().unwrap();
        let all = paths.iter().flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter();
            methods.map(move |(method, operation)| (method.to_uppercase(), path.clone(), operation))
        });
        all.collect()
    }

    /// What does not fit the document about an answer.
    fn misfit(&self, operation: &Value, answer: &Answer) -> Option<String> {
        let Some(response) = operation["responses"].get(answer.status.to_string()) else {
            return Some(format!("the status {} is not in the document", answer.status));
        };
        let kind = answer.header("content-type").map(|kind| kind.split(';').next().unwrap().to_owned());
        let Some(content) = response.get("content").and_then(Value::as_object) else {
            return (!answer.text.is_empty()).then(|| "a body where there is to be none".to_owned());
        };
        let kind = kind.unwrap_or_default();
        let Some((_, media)) = content.iter().find(|(known, _)| **known == kind) else {
            return Some(format!("{kind} is not in the document"));
        };
        if kind != "application/json" {
            return None;
        }
        let schema = json!({ "components": self.0["components"], "allOf": [media["schema"]] });
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<String> =
            validator.iter_errors(&answer.json()).map(|error| error.to_string()).collect();
        (!errors.is_empty()).then(|| errors.join("; "))
    }
}

#[test]
fn the_document_is_sound() {
    let (_bench, client) = serving();
    let document = Document::of(&client);
    assert_eq!(document.0["openapi"], "3.1.0");
    let mut ids = BTreeSet::new();
    for (method, path, operation) in document.operations() {
        let what = format!("{method} {path}");
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{what}: an id twice");
        let declared: BTreeSet<&str> = operation["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        let named: BTreeSet<&str> =
            path.split('{').skip(1).map(|part| part.split('}').next().unwrap()).collect();
        assert_eq!(declared, named, "{what}");
        assert!(
            operation["responses"].as_object().unwrap().keys().any(|status| status.starts_with('2')),
            "{what}"
        );
        let schemas = operation["responses"].as_object().unwrap().values().flat_map(|response| {
            response["content"].as_object().into_iter().flatten().map(|(_, media)| media["schema"].clone())
        });
        for schema in schemas {
            let whole = json!({ "components": document.0["components"], "allOf": [schema] });
            assert!(jsonschema::validator_for(&whole).is_ok(), "{what}: {schema}");
        }
    }
}

#[test]
fn every_endpoint_answers_in_the_shape_of_the_document() {
    let (bench, client) = serving();
    let document = Document::of(&client);
    let run = bench.runs("quick")[0].id.to_string();
    let mut well = 0;
    for (method, path, operation) in document.operations() {
        let place = path.replace("{id}", &run).replace("services/{name}", "services/simulated");
        let place = place.replace("requests/{name}", "requests/quick").replace("{name}", "a/model:1b");
        let query: Vec<String> = operation["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|parameter| parameter["in"] == "query" && parameter["required"] == true)
            .map(|parameter| format!("{}=1", parameter["name"].as_str().unwrap()))
            .collect();
        let place = if query.is_empty() { place } else { format!("{place}?{}", query.join("&")) };
        // The run is needed by those that come after.
        let method = if method == "DELETE" { continue } else { method };
        let body = operation.get("requestBody").map(|_| match path.as_str() {
            "/api/login" => json!({ "token": client.token }),
            "/api/benchmarks" => json!({ "service_name": "simulated" }),
            _ => json!({}),
        });
        let answer = client.call(&method, &place, body.as_ref());
        assert_eq!(document.misfit(operation, &answer), None, "{method} {place}: {answer:?}");
        well += u32::from(answer.status < 300);
    }
    assert!(well >= 15, "only {well} endpoints answered well");
}

#[test]
fn the_readme_names_every_endpoint() {
    let (_bench, client) = serving();
    let readme = include_str!("../../README.md");
    let section = readme.split("## REST API").nth(1).unwrap().split("\n## ").next().unwrap();
    for (method, path, _) in Document::of(&client).operations() {
        let told = path.replace("{id}", "ID").replace("{name}", "NAME");
        let end = told.rsplit('/').next().unwrap();
        let short = [told.clone(), format!("…/{end}"), format!("…/models/{end}")];
        assert!(short.iter().any(|words| section.contains(&format!("{words}`"))), "{method} {told}");
    }
}

/// What calls are made of: words that mean something here, and anything else.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "simulated",
            "tiny",
            "chat",
            "quick",
            "completed",
            "1",
            "0",
            "-1",
            "20",
            "1e3",
            "true",
            "",
            "-p",
            "-m",
            "LlamaBench",
            "Completed",
            "pp_avg_ts",
            "99999999999999999999",
            "NaN",
            "../..",
            "a/b:c",
            "\u{0}",
            "%",
        ])
        .prop_map(str::to_owned),
        ".{0,20}",
    ]
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        word().prop_map(Value::from),
    ];
    let key = prop_oneof![
        prop::sample::select(vec![
            "service_name",
            "params",
            "token",
            "set",
            "case",
            "metric",
            "restart",
            "dry_run",
            "-p",
            "-n",
        ])
        .prop_map(str::to_owned),
        ".{0,8}",
    ];
    leaf.prop_recursive(3, 16, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((key.clone(), inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[test]
fn calls_that_nobody_thought_of_get_answers_of_the_document() {
    let (mut bench, client) = serving();
    let document = Document::of(&client);
    let operations = document.operations();
    let count = operations.len();
    let strategy = (
        0..count,
        prop::collection::vec(word(), 2),
        prop::collection::vec((any::<prop::sample::Index>(), word()), 0..4),
        prop::option::of((".{0,3}", word())),
        prop_oneof![Just(None), json_value().prop_map(Some)],
    );
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 600, failure_persistence: None, ..Default::default() });
    let outcome = runner.run(&strategy, |(which, words, queries, stray, body)| {
        let (method, path, operation) = &operations[which];
        let mut place = path.clone();
        for (name, word) in ["{id}", "{name}"].iter().zip(&words) {
            // An empty segment is another path.
            let word = if word.is_empty() { "x" } else { word };
            place = place.replace(name, &encoded(word));
        }
        let parameters = operation["parameters"].as_array().unwrap();
        let known: Vec<&str> = parameters
            .iter()
            .filter(|parameter| parameter["in"] == "query")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        let mut pairs: Vec<String> = Vec::new();
        for (index, word) in &queries {
            if !known.is_empty() {
                pairs.push(format!("{}={}", index.get(&known), encoded(word)));
            }
        }
        pairs.extend(stray.iter().map(|(name, word)| format!("{}={}", encoded(name), encoded(word))));
        if !pairs.is_empty() {
            place = format!("{place}?{}", pairs.join("&"));
        }
        let answer = client.call(method, &place, body.as_ref());
        // `.` and `..` are paths of their own.
        let elsewhere = answer.status == 404 || answer.status == 405;
        let misfit = document.misfit(operation, &answer).filter(|_| !elsewhere);
        prop_assert!(misfit.is_none(), "{method} {place} {body:?}: {misfit:?} {answer:?}");
        prop_assert!(answer.status < 500, "{method} {place} {body:?}: {answer:?}");
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(bench.has_ended().is_none(), "it lives");
    assert_eq!(client.get("/readyz").status, 200);
}
