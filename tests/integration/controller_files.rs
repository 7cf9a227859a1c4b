//! What happens to requests when their files go, come back, clash or break.

use std::fs;

use benchlet::run::phase::{Phase, RunState};
use benchlet::run::reason::Reason;
use serde_json::Value;

use crate::daemon::{self, Paused};
use crate::workbench::{Workbench, bench_request};

fn endless(more: &str) -> String {
    format!("{{ service: tiny, {more} params: {{ -p: 8, -n: 0, -r: 1, -t: 1, --delay: 300 }} }}")
}

const LONG: &str = "{ service: tiny, params: { -p: 8, -n: 0, -r: 1, -t: 1, --delay: 4 } }";
const QUICK: &str = "{ service: tiny, params: { -p: 8, -n: 0, -r: 1, -t: 1 } }";
const SUSPENDED: &str = "{ service: tiny, suspend: true }";

/// Waits until the deletion of a request has been confirmed.
fn until_deleted(bench: &mut Workbench, name: &str) {
    bench.until(&format!("{name} is deleted"), |bench| {
        let sql = "SELECT count(*) FROM requests WHERE name = ?1 AND deleted_at IS NULL";
        let live: i64 = bench.database().query_row(sql, [name], |row| row.get(0)).unwrap();
        (live == 0).then_some(())
    });
}

#[test]
fn a_removed_file_lets_its_run_finish_and_its_return_runs_nothing() {
    let Some(mut bench) = Workbench::open() else { return };
    bench.serve();
    bench.save("gone", LONG);
    bench.until_phase("gone", "Running");
    let paused = Paused::now(&bench.until_measuring());
    fs::remove_file(bench.request_path("gone.yaml")).unwrap();
    until_deleted(&mut bench, "gone");
    drop(paused);
    let runs = bench.until_runs_ended("gone", 1);
    assert_eq!(runs[0].state.phase(), Phase::Completed);
    let status = bench.request_path("gone.status.yaml");
    bench.until("the status goes with its request", |_| (!status.exists()).then_some(()));
    assert_eq!(bench.containers(), []);

    bench.save("gone", LONG);
    let document = bench.until_reason("gone", "AlreadyRan");
    assert!(document["status"]["message"].as_str().unwrap().contains("spec.rerun"), "{document}");
    assert_eq!(document["status"]["phase"], "Completed");
    assert_ne!(document["metadata"]["uid"], runs[0].request_uid.to_string());
    assert_eq!(document["status"]["history"][0]["id"], runs[0].id.to_string());
    bench.until_caught_up();
    assert_eq!(bench.runs("gone").len(), 1);
    // Something else to measure is measured.
    bench.save("gone", QUICK);
    bench.until_runs_ended("gone", 2);
    bench.until_reason("gone", "Completed");
}

#[test]
fn a_removed_file_that_says_so_takes_its_run_along() {
    let Some(mut bench) = Workbench::open() else { return };
    bench.serve();
    bench.save("gone", &endless("onDelete: Cancel,"));
    bench.until_measuring();
    fs::remove_file(bench.request_path("gone.yaml")).unwrap();
    let runs = bench.until_runs_ended("gone", 1);
    let RunState::Ended(end) = &runs[0].state else { panic!("{:?}", runs[0].state) };
    assert_eq!((runs[0].state.phase(), end.reason), (Phase::Cancelled, Reason::Deleted));
    assert_eq!(bench.containers(), []);
}

#[test]
fn a_file_removed_while_the_controller_is_away_is_noticed_at_its_return() {
    let Some(mut bench) = Workbench::open() else { return };
    bench.serve();
    bench.save("gone", &endless("onDelete: Cancel,"));
    bench.until_measuring();
    bench.kill();
    fs::remove_file(bench.request_path("gone.yaml")).unwrap();
    bench.serve();
    let runs = bench.until_runs_ended("gone", 1);
    assert_eq!(runs[0].state.phase(), Phase::Cancelled);
    assert_eq!(bench.containers(), []);
    let status = bench.request_path("gone.status.yaml");
    bench.until("the status goes with its request", |_| (!status.exists()).then_some(()));
}

#[test]
fn a_moved_file_keeps_its_request_and_its_run() {
    let Some(mut bench) = Workbench::open() else { return };
    bench.serve();
    let text = format!("{}metadata: {{ name: mover }}\n", bench_request(LONG));
    fs::write(bench.request_path("here.yaml"), text).unwrap();
    let paused = Paused::now(&bench.until_measuring());
    let before = bench.until_status("here", "Running", |status| status["phase"] == "Running");
    fs::create_dir(bench.request_path("sub")).unwrap();
    fs::rename(bench.request_path("here.yaml"), bench.request_path("sub/there.yaml")).unwrap();
    let old = bench.request_path("here.status.yaml");
    bench.until("the status moves along", |bench| {
        (!old.exists() && bench.status("sub/there").is_some()).then_some(())
    });
    drop(paused);
    let after = bench.until_phase("sub/there", "Completed");
    assert_eq!(before["metadata"]["uid"], after["metadata"]["uid"]);
    assert_eq!(bench.runs("mover").len(), 1);
}

#[test]
fn a_root_that_goes_away_cancels_nothing_and_goes_on_when_it_is_back() {
    let Some(mut bench) = Workbench::open() else { return };
    bench.serve();
    bench.save("kept", &LONG.replace("service: tiny,", "service: tiny, onDelete: Cancel,"));
    let container = bench.until_measuring();
    let paused = Paused::now(&container);
    fs::rename(bench.path("requests"), bench.path("elsewhere")).unwrap();
    bench.until("the root is degraded", |bench| bench.log().contains("degraded").then_some(()));
    // Two listings confirm an absence, so wait for more than that of looks at the missing root.
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(bench.runs("kept")[0].state.phase(), Phase::Running);
    assert_eq!(bench.containers().len(), 1);
    fs::rename(bench.path("elsewhere"), bench.path("requests")).unwrap();
    bench.until_caught_up();
    drop(paused);
    bench.until_phase("kept", "Completed");
    assert_eq!(bench.runs("kept").len(), 1);
}

#[test]
fn most_requests_gone_at_once_is_a_disaster_and_no_deletion() {
    let mut bench = Workbench::without_docker();
    let names: Vec<String> = (0..6).map(|number| format!("request-{number}")).collect();
    for name in &names {
        bench.save(name, SUSPENDED);
    }
    bench.serve();
    for name in &names {
        bench.until_phase(name, "Suspended");
    }
    for name in &names[..4] {
        fs::remove_file(bench.request_path(&format!("{name}.yaml"))).unwrap();
    }
    bench.until("the loss is noticed", |bench| {
        bench.log().contains("4 of 6 requests are missing").then_some(())
    });
    for name in &names[..4] {
        let document = bench.until_reason(name, "Degraded");
        assert!(document["status"]["message"].as_str().unwrap().contains("4 of 6"), "{document}");
    }
    for name in &names[..4] {
        bench.save(name, SUSPENDED);
    }
    bench.until_caught_up();
    let sql = "SELECT count(*), sum(deleted_at IS NOT NULL) FROM requests WHERE name LIKE 'request-%'";
    let found: (i64, i64) =
        bench.database().query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(found, (6, 0));
}

#[test]
fn of_two_files_with_one_name_the_first_keeps_it_and_the_second_is_told() {
    let mut bench = Workbench::without_docker();
    let text = format!("{}metadata: {{ name: shared }}\n", bench_request(SUSPENDED));
    bench.serve();
    fs::write(bench.request_path("z-first.yaml"), &text).unwrap();
    bench.until_reason("z-first", "Suspended");
    fs::write(bench.request_path("a-second.yaml"), &text).unwrap();
    let document = bench.until_reason("a-second", "Conflict");
    let message = document["status"]["message"].as_str().unwrap();
    assert!(message.contains("shared") && message.contains("z-first.yaml"), "{message}");
    assert_eq!(document["status"]["conditions"][0]["status"], "False");
    assert_eq!(bench.status("z-first").unwrap()["status"]["phase"], "Suspended");
    // A restart is no new chance.
    bench.stop();
    bench.age("a-second.yaml");
    bench.age("z-first.yaml");
    bench.serve();
    bench.until_caught_up();
    assert_eq!(bench.status("a-second").unwrap()["status"]["reason"], "Conflict");
    fs::remove_file(bench.request_path("z-first.yaml")).unwrap();
    bench.until_reason("a-second", "Suspended");
}

#[test]
fn of_two_files_with_one_status_file_the_first_keeps_it_and_tells_of_the_second() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    bench.save("twin", SUSPENDED);
    let first = bench.until_reason("twin", "Suspended");
    fs::write(bench.request_path("twin.yml"), bench_request(SUSPENDED)).unwrap();
    let documents = bench.until("the second is told of", |bench| {
        Some(bench.statuses("twin")).filter(|documents| documents.len() == 2)
    });
    assert_eq!(documents[0]["metadata"]["uid"], first["metadata"]["uid"]);
    assert_eq!(documents[0]["status"]["reason"], "Suspended");
    assert_eq!(documents[1]["status"]["reason"], "Conflict");
    let message = documents[1]["status"]["message"].as_str().unwrap();
    assert!(message.contains("twin.yml is not carried out") && message.contains("twin.yaml"), "{message}");
    fs::remove_file(bench.request_path("twin.yml")).unwrap();
    bench.until("only the first is told of again", |bench| (bench.statuses("twin").len() == 1).then_some(()));
    assert_eq!(bench.status("twin").unwrap()["metadata"]["uid"], first["metadata"]["uid"]);
}

#[test]
fn documents_of_one_file_are_requests_of_their_own_with_a_status_each() {
    let Some(mut bench) = Workbench::open() else { return };
    bench.serve();
    let one = |name: &str, spec: &str| format!("{}metadata: {{ name: {name} }}\n", bench_request(spec));
    let text = format!(
        "{}---\n{}---\n{}",
        one("second-letter", "{ service: tiny, params: { -p: 9, -n: 0, -r: 1, -t: 1 } }"),
        one("first-letter", SUSPENDED),
        one("third", QUICK)
    );
    fs::write(bench.request_path("several.yaml"), text).unwrap();
    let documents = bench.until("all three", |bench| {
        let documents = bench.statuses("several");
        let phases: Vec<&Value> = documents.iter().map(|document| &document["status"]["phase"]).collect();
        (phases == ["Completed", "Suspended", "Completed"]).then_some(documents)
    });
    let names: Vec<&Value> = documents.iter().map(|document| &document["metadata"]["name"]).collect();
    assert_eq!(names, ["second-letter", "first-letter", "third"]);
    assert_eq!((bench.runs("second-letter").len(), bench.runs("third").len()), (1, 1));
}

#[test]
fn a_syntax_error_after_a_good_document_ends_neither_of_them() {
    let Some(mut bench) = Workbench::open() else { return };
    bench.serve();
    let one = |name: &str, spec: &str| format!("{}metadata: {{ name: {name} }}\n", bench_request(spec));
    let good = format!("{}---\n{}", one("upper", SUSPENDED), one("lower", &endless("onDelete: Cancel,")));
    fs::write(bench.request_path("pair.yaml"), &good).unwrap();
    let container = bench.until_measuring();
    fs::write(bench.request_path("pair.yaml"), good.replace("---\n", "---\n]broken: [\n")).unwrap();
    bench.until("the error is told", |bench| {
        let documents = bench.statuses("pair");
        documents.iter().any(|document| document["status"]["problems"].is_array()).then_some(())
    });
    // Longer than two listings need to confirm an absence.
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert!(daemon::is_running(&container));
    fs::write(bench.request_path("pair.yaml"), good).unwrap();
    bench.until_caught_up();
    assert!(daemon::is_running(&container));
    assert_eq!(bench.runs("lower").len(), 1);
}

#[test]
fn a_bad_edit_over_a_good_spec_and_its_revert_run_nothing() {
    let Some(mut bench) = Workbench::open() else { return };
    bench.serve();
    bench.save("steady", QUICK);
    bench.until_phase("steady", "Completed");
    bench.save("steady", "{ service: tiny, params: { -p: 16, launches: 0 }, launches: 0 }");
    let document = bench.until_phase("steady", "Invalid");
    assert_eq!(
        document["status"]["history"].as_array().unwrap().len(),
        1,
        "what was measured stays to be seen"
    );
    bench.save("steady", QUICK);
    bench.until_phase("steady", "Completed");
    bench.until_caught_up();
    assert_eq!(bench.runs("steady").len(), 1);
    assert_eq!(bench.status("steady").unwrap()["metadata"]["generation"], 1);
}

#[test]
fn a_bad_edit_while_it_runs_ends_nothing() {
    let Some(mut bench) = Workbench::open() else { return };
    bench.serve();
    bench.save("steady", LONG);
    let paused = Paused::now(&bench.until_measuring());
    bench.save("steady", "{ sevice: tiny, onChange: Replace }");
    bench.until_phase("steady", "Invalid");
    drop(paused);
    let runs = bench.until_runs_ended("steady", 1);
    assert_eq!(runs[0].state.phase(), Phase::Completed);
}

#[test]
fn an_invalid_document_lists_every_problem_with_its_place() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    let text = "apiVersion: benchlet/v1\nkind: LlamaBench\nspec:\n  sevice: tiny\n  timeout: 10\n  params: { \
                -m: other.gguf }\n";
    fs::write(bench.request_path("wrong.yaml"), text).unwrap();
    let document = bench.until_phase("wrong", "Invalid");
    let problems = document["status"]["problems"].as_array().unwrap();
    let places: Vec<(u64, u64)> = problems
        .iter()
        .map(|problem| (problem["line"].as_u64().unwrap(), problem["column"].as_u64().unwrap()))
        .collect();
    assert_eq!(places, [(4, 3), (4, 3), (5, 12), (6, 13)]);
    let all = document["status"]["problems"].to_string();
    for words in
        ["did you mean \\\"service\\\"", "spec.service is missing", "give it a unit", "-m is reserved"]
    {
        assert!(all.contains(words), "{words} in {all}");
    }
    assert_eq!(document["status"]["conditions"][0]["status"], "False");
    assert!(bench.runs("wrong").is_empty());
}
