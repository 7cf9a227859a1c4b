//! What an edit of a request does, and what it does not: before its run, while it runs and after.

use std::fs;
use std::io::Write as _;
use std::process::Command;

use benchlet::run::phase::{Phase, RunState};
use benchlet::run::reason::Reason;
use benchlet::store::runs::RunRow;

use crate::daemon::Paused;
use crate::workbench::{Workbench, bench_request};

/// Waits so long between its tests that it must be ended.
const ENDLESS: &str = "{ service: tiny, params: { -p: 8, -n: 0, -r: 1, -t: 1, --delay: 300 } }";
/// Long enough to be paused in.
const LONG: &str = "{ service: tiny, params: { -p: 8, -n: 0, -r: 1, -t: 1, --delay: 4 } }";

fn of(prompt: u32) -> String {
    format!("{{ service: tiny, params: {{ -p: {prompt}, -n: 0, -r: 1, -t: 1 }} }}")
}

fn phases(runs: &[RunRow]) -> Vec<Phase> {
    runs.iter().map(|run| run.state.phase()).collect()
}

fn reason(run: &RunRow) -> Reason {
    match &run.state {
        RunState::Ended(end) => end.reason,
        other => panic!("it has not ended: {other:?}"),
    }
}

fn command(run: &RunRow) -> &str {
    &run.plan.as_ref().expect("it got as far as a plan").command
}

fn generation(bench: &Workbench, name: &str) -> u64 {
    let sql = "SELECT generation FROM requests WHERE name = ?1 AND deleted_at IS NULL";
    bench.database().query_row(sql, [name], |row| row.get(0)).unwrap_or(0)
}

fn until_generation(bench: &mut Workbench, name: &str, wanted: u64) {
    bench.until(&format!("generation {wanted} of {name}"), |bench| {
        (generation(bench, name) == wanted).then_some(())
    });
}

#[test]
fn only_an_edit_of_what_is_measured_runs_again() {
    let Some(mut bench) = Workbench::open() else { return };
    bench.serve();
    bench.save("edited", &of(8));
    bench.until_phase("edited", "Completed");
    let path = bench.request_path("edited.yaml");
    let idle_edits = [
        format!("# why this one matters\n{}", bench_request(&of(8))),
        "kind: LlamaBench\napiVersion: benchlet/v1\nspec:\n\n  params:\n    -t: 1\n    -r: 1\n    -n: 0\n    \
         -p: 8   # tokens\n  service: tiny\n"
            .to_owned(),
        format!("{}metadata: {{ name: edited }}\n", bench_request(&of(8))),
        bench_request("{ service: 'tiny', params: { -p: '8', -n: \"0\", -r: 1, -t: 1 } }"),
    ];
    for text in idle_edits {
        fs::write(&path, text).unwrap();
        bench.until_caught_up();
        assert_eq!(generation(&bench, "edited"), 1);
        assert_eq!(bench.runs("edited").len(), 1);
    }
    bench.save("edited", "{ service: tiny, timeout: 5m, params: { -p: 8, -n: 0, -r: 1, -t: 1 } }");
    let document = bench.until_status("edited", "generation 2", |status| status["observedGeneration"] == 2);
    assert_eq!(document["status"]["phase"], "Completed");
    assert_eq!(bench.runs("edited").len(), 1);

    bench.save("edited", &of(16));
    let runs = bench.until_runs_ended("edited", 2);
    assert_eq!(phases(&runs), [Phase::Completed; 2]);
    assert!(command(&runs[0]).contains("-p 8") && command(&runs[1]).contains("-p 16"));
    let document = bench.until_status("edited", "both in its history", |status| {
        status["history"].as_array().is_some_and(|history| history.len() == 2)
    });
    assert_eq!(document["status"]["history"][0]["id"], runs[1].id.to_string());
    assert_eq!(document["status"]["history"][1]["id"], runs[0].id.to_string());
    assert_eq!(document["metadata"]["generation"], 3);
}

#[test]
fn each_editors_save_of_a_new_spec_is_one_run() {
    let Some(mut bench) = Workbench::open() else { return };
    bench.serve();
    bench.save("saved", &of(8));
    bench.until_runs_ended("saved", 1);
    let path = bench.request_path("saved.yaml");

    // vim
    fs::rename(&path, bench.request_path("saved.yaml~")).unwrap();
    fs::write(&path, bench_request(&of(9))).unwrap();
    fs::remove_file(bench.request_path("saved.yaml~")).unwrap();
    bench.until_runs_ended("saved", 2);

    let sed = Command::new("sed").args(["-i", "s/-p: 9/-p: 10/"]).arg(&path).status().unwrap();
    assert!(sed.success());
    bench.until_runs_ended("saved", 3);

    // Truncated first, and written some time later.
    let mut file = fs::File::create(&path).unwrap();
    bench.until_status("saved", "the empty file has been seen", |status| status["phase"] != "Completed");
    file.write_all(bench_request(&of(11)).as_bytes()).unwrap();
    drop(file);
    let runs = bench.until_runs_ended("saved", 4);
    assert_eq!(phases(&runs), [Phase::Completed; 4]);
    for (run, prompt) in runs.iter().zip(8..) {
        assert!(command(run).contains(&format!("-p {prompt} ")), "{}", command(run));
    }
}

#[test]
fn an_edit_while_it_runs_waits_and_only_the_newest_runs_then() {
    let Some(mut bench) = Workbench::open() else { return };
    bench.serve();
    bench.save("queued", LONG);
    let paused = Paused::now(&bench.until_measuring());
    bench.save("queued", &of(9));
    until_generation(&mut bench, "queued", 2);
    bench.save("queued", &of(10));
    until_generation(&mut bench, "queued", 3);
    drop(paused);
    let runs = bench.until_runs_ended("queued", 2);
    assert_eq!(phases(&runs), [Phase::Completed; 2]);
    assert!(command(&runs[0]).contains("-p 8") && command(&runs[1]).contains("-p 10"));
}

#[test]
fn an_edit_that_replaces_ends_what_runs_and_leaves_no_container_of_it() {
    let Some(mut bench) = Workbench::open() else { return };
    bench.serve();
    bench.save("replaced", ENDLESS);
    bench.until_measuring();
    bench.save("replaced", "{ service: tiny, onChange: Replace, params: { -p: 9, -n: 0, -r: 1, -t: 1 } }");
    let runs = bench.until_runs_ended("replaced", 2);
    assert_eq!(phases(&runs), [Phase::Cancelled, Phase::Completed]);
    assert_eq!(reason(&runs[0]), Reason::Superseded);
    assert!(command(&runs[1]).contains("-p 9"));
    assert_eq!(bench.containers(), []);
}

#[test]
fn an_edit_that_is_to_be_ignored_starts_nothing_later_either() {
    let Some(mut bench) = Workbench::open() else { return };
    bench.serve();
    bench.save("ignored", LONG);
    let paused = Paused::now(&bench.until_measuring());
    bench.save("ignored", "{ service: tiny, onChange: Ignore, params: { -p: 9, -n: 0, -r: 1, -t: 1 } }");
    bench.until("the edit is noted", |bench| {
        let sql = "SELECT count(*) FROM events WHERE request = 'ignored' AND reason = 'ChangeIgnored'";
        let count: i64 = bench.database().query_row(sql, [], |row| row.get(0)).unwrap();
        (count == 1).then_some(())
    });
    drop(paused);
    let runs = bench.until_runs_ended("ignored", 1);
    assert_eq!(phases(&runs), [Phase::Completed]);
    bench.until_caught_up();
    assert_eq!(bench.runs("ignored").len(), 1);
}

#[test]
fn cancelling_a_running_request_keeps_what_was_measured_and_leaves_no_container() {
    let Some(mut bench) = Workbench::open() else { return };
    let spec = |state: &str| {
        // The second test takes minutes.
        format!("{{ service: slow, {state} params: {{ -p: [1, 60000], -n: 0, -r: 1, -t: 1 }} }}")
    };
    bench.serve();
    bench.save("cancelled", &spec(""));
    bench.until_rows(1);
    bench.save("cancelled", &spec("state: Cancelled,"));
    let document = bench.until_phase("cancelled", "Cancelled");
    assert_eq!(document["status"]["reason"], "Cancelled");
    assert_eq!(document["status"]["results"]["cases"][0]["test"], "pp1");
    assert_eq!(document["status"]["results"]["cases"].as_array().unwrap().len(), 1);
    assert_eq!(bench.containers(), []);
    let (status, raw): (String, String) = bench
        .database()
        .query_row("SELECT status, raw_output FROM benchmark_runs", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!(status, "cancelled");
    assert!(raw.contains("samples_ts"), "{raw}");
    // Taken out again, the field alone starts nothing.
    bench.save("cancelled", &spec(""));
    until_generation(&mut bench, "cancelled", 3);
    bench.until_caught_up();
    assert_eq!(bench.runs("cancelled").len(), 1);
}

#[test]
fn a_request_that_waits_names_its_blocker_and_can_be_cancelled_or_runs_after_it() {
    let Some(mut bench) = Workbench::open() else { return };
    bench.serve();
    bench.save("blocker", ENDLESS);
    bench.until_measuring();
    bench.save("patient", &of(8));
    bench.save("unwanted", &of(9));
    for name in ["patient", "unwanted"] {
        bench.until_status(name, "waits for the blocker", |status| {
            let message = status["message"].as_str().unwrap_or_default();
            status["phase"] == "Pending" && message.contains("blocker")
        });
    }
    bench.save("unwanted", "{ service: tiny, state: Cancelled, params: { -p: 9, -n: 0, -r: 1, -t: 1 } }");
    bench.until_phase("unwanted", "Cancelled");
    assert!(bench.runs("unwanted")[0].plan.is_none());
    bench.save(
        "blocker",
        "{ service: tiny, state: Cancelled, params: { -p: 8, -n: 0, -r: 1, -t: 1, --delay: 300 } }",
    );
    bench.until_phase("patient", "Completed");
    assert_eq!(reason(&bench.until_runs_ended("blocker", 1)[0]), Reason::Cancelled);
}

#[test]
fn a_suspended_request_runs_once_it_no_longer_is() {
    let Some(mut bench) = Workbench::open() else { return };
    bench.serve();
    bench.save("later", "{ service: tiny, suspend: true, params: { -p: 8, -n: 0, -r: 1, -t: 1 } }");
    let document = bench.until_phase("later", "Suspended");
    assert_eq!(document["status"]["conditions"][0]["status"], "True");
    assert!(bench.runs("later").is_empty());
    bench.save("later", &of(8));
    bench.until_phase("later", "Completed");
    assert_eq!(bench.runs("later").len(), 1);
}

#[test]
fn a_new_rerun_token_runs_exactly_once_more() {
    let Some(mut bench) = Workbench::open() else { return };
    let with = |token: &str| format!("{{ service: tiny, {token} params: {{ -p: 8, -n: 0, -r: 1, -t: 1 }} }}");
    bench.serve();
    bench.save("again", &with("rerun: a,"));
    bench.until_runs_ended("again", 1);
    bench.save("again", &with("rerun: b,"));
    let runs = bench.until_runs_ended("again", 2);
    assert_eq!(phases(&runs), [Phase::Completed; 2]);
    assert_eq!(runs[0].spec_hash, runs[1].spec_hash);
    fs::write(
        bench.request_path("again.yaml"),
        format!("# once more\n{}", bench_request(&with("rerun: b,"))),
    )
    .unwrap();
    bench.until_caught_up();
    bench.save("again", &with(""));
    until_generation(&mut bench, "again", 3);
    bench.until_caught_up();
    assert_eq!(bench.runs("again").len(), 2);
    // A restart forgets none of it.
    bench.stop();
    bench.serve();
    bench.until_caught_up();
    assert_eq!(bench.runs("again").len(), 2);
}
