//! The benchmark page of a service and the runs that come of it, in a real browser on the real controller.

use fantoccini::key::Key;
use serde_json::{Value, json};

use crate::page::{QUICK, Visit};
use crate::workbench::Workbench;

#[test]
fn a_service_is_benchmarked_in_two_clicks_and_its_output_follows() {
    let Some(visit) = Visit::begin(Workbench::without_docker()) else { return };
    let browser = &visit.browser;
    browser.click("[data-service=simulated] a.main");
    browser.click_text("button", "Run");
    browser.wait_text(".toast", "The benchmark of simulated is started.");
    browser.wait_text(".output", "llama-bench: benchmark 1/2");
    browser.wait_text(".output", "\"avg_ts\"");
    browser.wait_text("#status", "completed");
    browser.wait_text(".runs tbody tr", "±");
    assert_eq!(visit.client.get("/api/benchmarks").json()["total"], 1);
    let run = visit.client.get("/api/benchmarks").json()["runs"][0]["id"].as_str().unwrap()[..8].to_owned();
    browser.wait_text(".toast:last-child", &format!("completed. {run}"));
    visit.go("/");
    browser.wait_text("[data-service=simulated]", "generated tokens/s");
}

#[test]
fn only_llama_cpp_services_have_a_benchmark_button() {
    let Some(visit) = Visit::begin(Workbench::without_docker()) else { return };
    let browser = &visit.browser;
    browser.wait_for("[data-service=tiny] a.main");
    assert_eq!(
        browser.script("return document.querySelectorAll('[data-service=chat] a.main').length"),
        json!(0)
    );
    visit.go("/services/chat");
    browser.wait_text("main", "benchlet new LoadTest --service chat");
}

#[test]
fn parameters_are_added_removed_and_reset_and_the_command_follows_them() {
    let Some(mut visit) = Visit::begin(Workbench::without_docker()) else { return };
    visit.measured("simulated", json!({ "-p": "48", "-n": "4", "-r": "1" }));
    visit.go("/services/simulated");
    let browser = &visit.browser;
    browser.wait_text(".command", "-p 48 -n 4 -r 1");
    browser.wait_text(".panel", "the parameters of the newest run");
    visit.add_parameter("-b", "64,128");
    browser.wait_text(".command", "-r 1 -b 64,128");
    browser.wait_text(".panel", "4 figures in one run.");
    browser.click_text("button", "Add a parameter");
    browser.type_into(".parameter:last-child input:first-child", "--no-warmup");
    browser.wait_text(".command", "--no-warmup");
    browser.click(".parameter:first-child button");
    browser.wait_text(".command", "-o jsonl -n 4");

    browser.type_into(".parameter:last-child input:first-child", "-m");
    browser.wait_text("[role=alert]", "reserved");
    assert!(!browser.is_enabled(".buttons .main"), "what is refused cannot be run");
    browser.type_into(".parameter:last-child input:first-child", "-b");
    browser.wait_text("[role=alert]", "-b is there twice");

    browser.click_text("button", "Reset to service defaults");
    browser.wait_text(".command", "-p 512 -n 128 -r 5");
    assert!(browser.is_enabled(".buttons .main"));
}

#[test]
fn one_run_at_a_time_and_it_is_cancelled_where_it_is_seen() {
    let Some(mut visit) = Visit::begin(Workbench::without_docker()) else { return };
    visit.go("/services/simulated");
    let browser = &visit.browser;
    browser.wait_text(".command", "sim llama-bench");
    visit.add_parameter("-d", "0");
    browser.type_into(".parameter:nth-child(2) input:nth-child(2)", "2000");
    browser.type_into(".parameter:nth-child(3) input:nth-child(2)", "1000");
    browser.wait_text(".command", "-n 2000 -r 1000 -d 0");
    browser.click_text("button", "Run");
    browser.wait_text(".output", "prompt run 2/1000");
    assert!(!browser.is_enabled(".panel .buttons .main"), "one run of a service at a time");
    browser.wait_text(".panel .buttons .main", "A benchmark is in progress");

    browser.click_text("button", "Pause");
    let held = browser.text(".output");
    browser.wait_text("[aria-pressed=true]", "new)");
    assert_eq!(browser.text(".output"), held, "what is paused stays");
    browser.click("[aria-pressed=true]");

    browser.click_text(".runs button", "Cancel");
    browser.press(Key::Escape);
    browser.wait_gone("dialog");
    assert_eq!(visit.client.get("/api/benchmarks").json()["runs"][0]["status"], "running", "Escape is no");
    browser.click_text(".runs button", "Cancel");
    browser.click_text("dialog button", "Cancel the run");
    browser.wait_text(".runs tbody tr", "cancelled");
    browser.wait_text(".panel .buttons .main", "Run");
    let client = &visit.client;
    visit.bench.until("the run ends", |_| {
        (client.get("/api/benchmarks").json()["runs"][0]["status"] == "cancelled").then_some(())
    });
}

#[test]
fn a_run_shows_all_that_is_known_of_it_and_fills_the_form_again() {
    let Some(mut visit) = Visit::begin(Workbench::without_docker()) else { return };
    let run = visit.measured("simulated", json!({ "-p": "40", "-n": "4", "-r": "2", "-b": "64,128" }));
    visit.measured("simulated", json!({ "-p": "8", "-n": "8", "-r": "1" }));
    visit.go(&format!("/runs/{run}"));
    let browser = &visit.browser;
    browser.wait_text("h1", &format!("Run {}", &run[..8]));
    for part in
        ["simulated", "completed", "pp40 n_batch=64", "tg4 n_batch=128", "64,128", "sim llama-bench", &run]
    {
        browser.wait_text("main", part);
    }
    browser.wait_text(".output", "\"avg_ts\"");
    browser.click_text("summary", "Raw output");
    browser.wait_text("details[open] pre", "\"n_batch\": 64");
    browser.click_text("a", "Re-run");
    browser.wait_text(".command", "-p 40 -n 4 -r 2 -b 64,128");
    browser.wait_text(".panel", &format!("the parameters of run {}", &run[..8]));
}

#[test]
fn a_failed_run_says_why_and_is_deleted_only_after_a_question() {
    let bench = Workbench::without_docker();
    bench.save_long_ago("fails", "{ service: tiny, params: { -p: 16 } }");
    let Some(mut visit) = Visit::begin(bench) else { return };
    visit.bench.until_phase("fails", "Failed");
    visit.go("/services/tiny");
    let browser = &visit.browser;
    browser.wait_text(".runs .error", "no-docker.sock");
    browser.click_text(".runs button", "Delete");
    browser.wait_text("dialog", "Its figures, output and records are gone then.");
    browser.click_text("dialog button", "Close");
    browser.wait_gone("dialog");
    assert_eq!(visit.client.get("/api/benchmarks").json()["total"], 1);
    browser.click_text(".runs button", "Delete");
    browser.click_text("dialog button", "Delete");
    browser.wait_text(".toast", "is deleted");
    browser.wait_text("main", "No runs yet.");
    assert_eq!(visit.client.get("/api/benchmarks").json()["total"], 0);
}

#[test]
fn two_runs_are_chosen_and_stand_side_by_side_with_what_differs() {
    let Some(mut visit) = Visit::begin(Workbench::without_docker()) else { return };
    let first = visit.measured("simulated", json!({ "-p": "32", "-n": "4", "-r": "5", "-b": "64" }));
    let second = visit.measured("simulated", json!({ "-p": "32", "-n": "4", "-r": "5", "-b": "128" }));
    visit.go("/runs");
    let browser = &visit.browser;
    browser.click(&format!("input[data-id='{second}']"));
    browser.click(&format!("input[data-id='{first}']"));
    browser.click_text("button", "Compare two runs");
    browser.wait_text("#verdict", "Policy");
    let address = browser.url();
    assert!(address.contains(&format!("baseline={first}")), "the older one is the baseline: {address}");
    let differs = browser.texts("tr.differs");
    assert!(
        differs.iter().any(|row| row.starts_with("-b") && row.contains("64") && row.contains("128")),
        "{differs:?}"
    );
    assert!(differs.iter().all(|row| !row.starts_with("-p")), "{differs:?}");
    browser.wait_text("#verdict", "not comparable");
    browser.click_text("button", "Compare all the same");
    browser.wait_text("#verdict", "Evidence");
    browser.wait_text("main", "n_batch (on purpose)");
    assert!(!browser.text("#verdict").contains("not comparable"));
    browser.click_text("button", "Swap");
    browser.wait_text("#verdict", "Policy");
    assert!(browser.url().contains(&format!("baseline={second}")));
}

#[test]
fn a_run_is_pinned_only_where_it_was_really_measured() {
    let Some(mut visit) = Visit::begin(Workbench::without_docker()) else { return };
    let run = visit.measured("simulated", json!({ "-p": "8", "-n": "4", "-r": "1" }));
    visit.go(&format!("/runs/{run}"));
    visit.browser.wait_text("h1", &run[..8]);
    let buttons = visit.browser.texts(".buttons button, .buttons a");
    assert_eq!(buttons, ["Re-run", "Compare with the run before", "Delete"]);
}

#[test]
fn a_request_shows_its_conditions_and_what_is_wrong_stands_below_its_line() {
    let bench = Workbench::without_docker();
    bench.save_long_ago("quick", QUICK);
    std::fs::write(
        bench.request_path("broken.yaml"),
        "apiVersion: benchlet/v1\nkind: LlamaBench\nspec:\n  service: simulated\n  parms:\n    -p: 512\n",
    )
    .unwrap();
    let Some(mut visit) = Visit::begin(bench) else { return };
    visit.bench.until_phase("quick", "Completed");
    visit.bench.until_reason("broken", "Invalid");
    visit.go("/requests");
    let browser = &visit.browser;
    browser.wait_text("[data-request=broken]", "Invalid");
    browser.click("[data-request=broken] a");
    browser.wait_text(".source li.wrong", "parms:");
    browser.wait_text(".source li.wrong + li.said", "did you mean \"params\"?");
    assert_eq!(browser.text(".source mark"), "parms");
    // Mended in the editor, it is mended on the page.
    visit.bench.save("broken", QUICK);
    browser.wait_gone(".source li.wrong");
    browser.wait_text("main", "measured in 1 launch");

    // And spoiled there, it is spoiled here, where no run tells of it.
    visit.bench.save("broken", "{ service: simulated, parms: {} }");
    browser.wait_text(".source li.wrong", "parms");
    std::fs::remove_file(visit.bench.request_path("broken.yaml")).unwrap();
    browser.wait_text("main", "This request is not there any more");

    visit.go("/requests/quick");
    browser.wait_text("main", "the request can be carried out");
    browser.wait_text(".pager", "1–1 of 1");
    browser.click_text("button", "Run once more");
    browser.wait_text(".toast", "The request quick runs once more.");
    visit.bench.until_runs_ended("quick", 2);
    browser.wait_text(".pager", "1–2 of 2");
}

#[test]
fn a_run_that_a_file_starts_appears_on_the_open_page() {
    let Some(mut visit) = Visit::begin(Workbench::without_docker()) else { return };
    visit.go("/services/simulated");
    let browser = &visit.browser;
    browser.wait_text("main", "No runs yet.");
    visit.bench.save("saved", QUICK);
    browser.wait_text(".runs tbody tr", "completed");
    browser.wait_text(".toast", "saved: completed.");
    visit.bench.until_runs_ended("saved", 1);
}

#[test]
fn figures_over_the_runs_and_under_load_are_drawn() {
    let bench = Workbench::without_docker();
    std::fs::write(
        bench.request_path("load.yaml"),
        "apiVersion: benchlet/v1\nkind: LoadTest\nspec: { targets: [{ engine: simulated }], load: { requests: 40, \
         concurrency: [1, 2, 4] }, output: { maxTokens: 8 } }\n",
    )
    .unwrap();
    let Some(mut visit) = Visit::begin(bench) else { return };
    let load = visit.bench.until_runs_ended("load", 1)[0].id;
    for _ in 0..3 {
        visit.measured("simulated", json!({ "-p": "8", "-n": "4", "-r": "1" }));
    }
    visit.go(&format!("/runs/{load}"));
    let browser = &visit.browser;
    browser.wait_for("#plots svg");
    let captions = browser.texts("figcaption").join("\n");
    assert!(captions.contains("Throughput") && captions.contains("Time to first token"), "{captions}");
    let drawn: Value = browser.script("return [...document.querySelectorAll('#plots svg')].every((s) => s.getBoundingClientRect().height > 80)");
    assert_eq!(drawn, json!(true));
    visit.go("/services/simulated");
    browser.wait_text("figcaption", "tg4");
}
