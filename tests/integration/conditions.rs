//! What people see of conditions: in `get`, in `describe`, by waiting for one; and that nothing is said any more of
//! what is gone.

use std::fs;

use benchlet::run::phase::{Ending, RunState};

use crate::cli_state::{Place, Seeded, condition, running};
use crate::load_bench::simulated;
use crate::workbench::Workbench;

const LOAD: &str = "{ target: { engine: simulated } }";

/// Conditions that the store lists, by what they are of.
fn conditions_of(bench: &Workbench, key: &str) -> i64 {
    let sql = "SELECT count(*) FROM conditions WHERE request = ?1";
    bench.database().query_row(sql, [key], |row| row.get(0)).unwrap()
}

#[test]
fn a_removed_file_that_never_could_be_read_is_forgotten() {
    let mut bench = Workbench::without_docker();
    fs::write(bench.request_path("away.yaml"), "kind: [\n").unwrap();
    bench.serve();
    fs::write(bench.request_path("broken.yaml"), "kind: [\n").unwrap();
    fs::write(bench.request_path("wrong.yaml"), "apiVersion: benchlet/v1\nkind: Nothing\nspec: {}\n")
        .unwrap();
    for name in ["away", "broken", "wrong"] {
        bench.until_status(name, "its problem", |status| status["problems"].is_array());
    }
    let listed = bench.say(&["get"]).good().out;
    assert!(listed.contains("broken.yaml#0") && listed.contains("wrong"), "{listed}");
    for name in ["broken", "wrong"] {
        fs::remove_file(bench.request_path(&format!("{name}.yaml"))).unwrap();
    }
    bench.until("nothing is said of them", |bench| {
        (conditions_of(bench, "broken.yaml#0") + conditions_of(bench, "wrong") == 0).then_some(())
    });
    let listed = bench.say(&["get"]).good().out;
    assert!(
        listed.contains("away.yaml#0") && !listed.contains("broken") && !listed.contains("wrong"),
        "{listed}"
    );
    // Also of one that went while nobody looked.
    bench.stop();
    fs::remove_file(bench.request_path("away.yaml")).unwrap();
    bench.serve();
    bench.until("nothing is said of it", |bench| (conditions_of(bench, "away.yaml#0") == 0).then_some(()));
}

#[test]
fn a_file_of_data_that_was_broken_and_is_mended_keeps_no_status() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    fs::write(bench.request_path("mine.yaml"), "conversations: [\n").unwrap();
    bench.until_status("mine", "its problem", |status| status["problems"].is_array());
    let mended = "conversations:\n- { name: own, turns: [{ user: hello }] }\n";
    fs::write(bench.request_path("mine.yaml"), mended).unwrap();
    let status = bench.request_path("mine.status.yaml");
    bench.until("its status is gone", |_| (!status.exists()).then_some(()));
    bench.until("nothing is said of it", |bench| (conditions_of(bench, "mine.yaml#0") == 0).then_some(()));
}

#[test]
fn get_marks_what_is_not_so_of_a_completed_run_and_wide_says_why() {
    let place = Place::new();
    let seeded = Seeded::new(&place);
    let record = seeded.request("load", "LoadTest", LOAD, true);
    let run = seeded.run(&record, RunState::Ended(Ending::completed("")));
    for (kind, status, reason) in [
        ("Succeeded", "True", "Completed"),
        ("Valid", "False", "ClientLate"),
        ("SLOMet", "False", "ObjectivesMissed"),
        ("ExpectationsMet", "True", "ExpectationsMet"),
    ] {
        let mut told = condition(status, reason);
        told.run = Some(run);
        seeded.told("load", kind, told);
    }
    let plain = place.say(&["get"]).out;
    assert!(plain.contains("LoadTest   Completed (SLOMet=False, Valid=False)   "), "{plain}");
    let wide = place.say(&["get", "-o", "wide"]).out;
    assert!(wide.contains("Completed (SLOMet=False: ObjectivesMissed, Valid=False: ClientLate)"), "{wide}");
    // What was said of an earlier run says nothing of this one.
    seeded.run(&record, RunState::Ended(Ending::completed("")));
    let again = place.say(&["get"]).out;
    assert!(!again.contains("=False"), "{again}");
}

#[test]
fn get_says_that_nobody_is_there_to_go_on() {
    let place = Place::new();
    let seeded = Seeded::new(&place);
    let record = seeded.request("load", "LoadTest", LOAD, true);
    let run = seeded.run(&record, running());
    let said = place.say(&["get"]);
    assert_eq!(said.err.lines().count(), 1, "{}", said.err);
    assert!(
        said.err.contains("no controller is at work") && said.err.contains("benchlet serve"),
        "{}",
        said.err
    );
    seeded.advance(run, RunState::Ended(Ending::completed("")));
    let said = place.say(&["get"]);
    assert_eq!(said.err, "", "all has ended, so nobody is missed");
}

#[test]
fn describe_shows_the_messages_of_conditions_and_the_problems_of_a_document() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    let text = "apiVersion: benchlet/v1\nkind: LoadTest\nspec:\n  target: { engine: simulated }\n  lod: {}\n  samples: x\n";
    fs::write(bench.request_path("bad.yaml"), text).unwrap();
    bench.until_status("bad", "its problems", |status| status["problems"].is_array());
    let said = bench.say(&["describe", "bad"]).good().out;
    for part in [
        "MESSAGE\n",
        "2 problems; the first: 5:3: unknown field \"lod\"",
        "Problems:\n  5:3: unknown field \"lod\" in spec\n",
        "    hint: did you mean \"load\"?\n",
        "  6:12: spec.samples cannot be \"x\"\n",
    ] {
        assert!(said.contains(part), "{part:?} in\n{said}");
    }
    let data: serde_json::Value =
        serde_json::from_str(&bench.say(&["describe", "bad", "-o", "json"]).good().out).unwrap();
    assert_eq!(data["status"]["problems"][0]["line"], 5);
    // Of one that was good before, its last run is there as well.
    bench.save_load("bad", &simulated("load: { requests: 2 }"));
    bench.until_phase("bad", "Completed");
    fs::write(bench.request_path("bad.yaml"), text).unwrap();
    bench.until_phase("bad", "Invalid");
    let said = bench.say(&["describe", "bad"]).good().out;
    assert!(said.contains("Problems:\n  5:3:") && said.contains("Succeeded"), "{said}");
    let listed = bench.say(&["get", "bad", "-o", "wide"]).good().out;
    assert!(listed.contains("2 problems; the first: 5:3"), "{listed}");
}

#[test]
fn any_condition_can_be_waited_for_until_it_can_come_no_more() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    bench.save_load("load", &simulated("load: { requests: 4 }, slo: { ttft_p95: 0.5ms }"));
    bench.until_status("load", "a status", |status| status["phase"].is_string());
    let said = bench.say(&["wait", "load", "--for=SLOMet=False", "--timeout", "60s"]).good();
    assert!(said.out.starts_with("load is SLOMet=False (ObjectivesMissed: "), "{}", said.out);
    bench.say(&["wait", "load", "--for=condition=valid"]).good();
    for (goal, words) in [
        ("SLOMet", "not SLOMet=True: SLOMet=False (ObjectivesMissed: "),
        (
            "condition=Vlaid",
            "there is no condition Vlaid, it has Accepted, SLOMet, Succeeded, Valid; did you mean \"Valid\"?",
        ),
    ] {
        let said = bench.say(&["wait", "load", &format!("--for={goal}"), "--timeout", "60s"]);
        assert_eq!(said.code, 1, "{}", said.err);
        assert!(said.err.contains(words), "{}", said.err);
    }
    fs::write(bench.request_path("bad.yaml"), "apiVersion: benchlet/v1\nkind: LoadTest\nspec: {}\n").unwrap();
    bench.until_phase("bad", "Invalid");
    bench.say(&["wait", "bad", "--for=Accepted=False"]).good();
    assert_eq!(bench.say(&["wait", "bad", "--for=Valid"]).code, 1);
    assert_eq!(bench.say(&["wait", "load", "--for=Valid=perhaps"]).code, 2);
    // Of an earlier run nothing is kept.
    let first = bench.runs("load")[0].id.to_string();
    bench.say(&["rerun", "load", "--wait"]).good();
    bench.say(&["wait", "load", "--for=SLOMet=False"]).good();
    assert_eq!(bench.say(&["wait", &first, "--for=Valid"]).code, 2);
}
