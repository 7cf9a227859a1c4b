//! The list of requests over HTTP: its pages, its filters, and the total of each.

use std::fs;

use serde_json::{Value, json};

use crate::api_client::Client;
use crate::workbench::{Workbench, bench_request};

fn names(list: &Value) -> Vec<String> {
    list["requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn pages_hold_every_request_once_by_name_and_the_refused_ones_last() {
    let mut bench = Workbench::without_docker();
    let suspended = bench_request("{ service: simulated, suspend: true }");
    let model = "apiVersion: benchlet/v1\nkind: Model\nspec: { source: /none.gguf, suspend: true }\n";
    let refused = bench_request("{ sevice: simulated }");
    for (name, text) in [
        ("d", suspended.as_str()),
        ("b", &suspended),
        ("c", &suspended),
        ("m", model),
        ("a", &refused),
        ("z", &refused),
    ] {
        fs::write(bench.request_path(&format!("{name}.yaml")), text).unwrap();
        bench.age(&format!("{name}.yaml"));
    }
    bench.save_long_ago("quick", "{ service: simulated, params: { -p: 16, -n: 4, -r: 1 } }");
    bench.serve();
    let client = Client::of(&mut bench);
    bench.until_phase("quick", "Completed");
    let list = |query: &str| client.get(&format!("/api/requests?{query}")).json();
    bench.until("all are told of", |_| {
        (list("")["total"] == 7 && list("phase=Suspended")["total"] == 4).then_some(())
    });

    let all = ["b", "c", "d", "m", "quick", "a", "z"];
    assert_eq!(names(&list("")), all);
    for size in 1..=8 {
        let pages = (0..all.len()).step_by(size).flat_map(|from| {
            let page = list(&format!("limit={size}&offset={from}"));
            assert_eq!(
                (&page["total"], &page["limit"], &page["offset"]),
                (&json!(7), &json!(size), &json!(from))
            );
            names(&page)
        });
        assert_eq!(pages.collect::<Vec<_>>(), all, "pages of {size}");
    }
    let found = |query: &str| {
        let page = list(query);
        (page["total"].as_u64().unwrap(), names(&page))
    };
    let these = |total: u64, names: &[&str]| (total, names.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(found("phase=Suspended&limit=2&offset=1"), these(4, &["c", "d"]));
    assert_eq!(found("phase=Suspended&kind=Model"), these(1, &["m"]));
    assert_eq!(found("kind=LlamaBench"), these(4, &["b", "c", "d", "quick"]));
    assert_eq!(found("phase=Completed"), these(1, &["quick"]));
    assert_eq!(found("phase=Invalid"), these(2, &["a", "z"]));
    assert_eq!(found("phase=Invalid&offset=1"), these(2, &["z"]));
    assert_eq!(
        found("phase=Invalid&kind=LlamaBench"),
        these(0, &[]),
        "of a refused document no kind is sure"
    );
    assert_eq!(found("offset=100"), these(7, &[]));

    // What was good is Invalid too, once its file is not, and counts once.
    fs::write(bench.request_path("quick.yaml"), &refused).unwrap();
    bench.until_phase("quick", "Invalid");
    bench.until("it is found so", |_| (list("phase=Invalid")["total"] == 3).then_some(()));
    assert_eq!(found("phase=Invalid"), these(3, &["quick", "a", "z"]));
    assert_eq!(found("phase=Invalid&kind=LlamaBench"), these(1, &["quick"]));
    assert_eq!(list("")["total"], 7);
}
