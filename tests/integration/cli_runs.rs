//! The verbs that show and steer requests and runs, over a state directory as a controller leaves it.

use std::io::Read as _;
use std::process::Stdio;
use std::time::Duration;

use benchlet::decide::observed::Verb;
use benchlet::files::lock::{Holder, LockFile};
use benchlet::run::phase::{Ending, RunState};
use benchlet::run::reason::Reason;
use serde_json::Value;
use uuid::Uuid;

use crate::cli_state::{Place, Seeded, running};

const BENCH: &str = "{ service: simulated }";

fn short(id: Uuid) -> String {
    id.to_string()[..8].to_owned()
}

/// As a running `serve` holds it.
fn controller(place: &Place) -> LockFile {
    let holder = Holder { pid: std::process::id(), what: "a test".to_owned() };
    LockFile::acquire(&place.state().join("controller.lock"), &holder).unwrap()
}

#[test]
fn get_shows_requests_in_a_table_with_their_figures() {
    let place = Place::new();
    let seeded = Seeded::new(&place);
    let done = seeded.request("done", "LlamaBench", BENCH, true);
    seeded.completed(&done);
    let bad = seeded.request("bad", "LlamaBench", BENCH, true);
    seeded.failed(&bad);
    seeded.request("sleeps", "LlamaBench", "{ service: simulated, suspend: true }", false);
    seeded.request("put", "Apply", "{ from: { request: done } }", false);
    seeded.condition("broken", "Accepted", "False", "Invalid");
    let said = place.say(&["get"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let lines: Vec<String> =
        said.out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let expected = [
        "NAME KIND PHASE REASON SERVICE PP(t/s) TG(t/s) AGE",
        "bad LlamaBench Failed ModelNotFound simulated - -",
        "done LlamaBench Completed Completed simulated 1240.5 (sim) 85.25 (sim)",
        "put Apply Pending NewSpec (done) - -",
        "sleeps LlamaBench Suspended Suspended simulated - -",
        "broken - Invalid Invalid - - -",
    ];
    assert_eq!(lines.len(), expected.len(), "{}", said.out);
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line} and {expected}");
    }
    assert_eq!(
        place.say(&["get", "-o", "name"]).out,
        "llamabench/bad\nllamabench/done\napply/put\nllamabench/sleeps\n"
    );
    assert_eq!(place.say(&["get", "apply", "-o", "name"]).out, "apply/put\n");
    assert_eq!(place.say(&["get", "apply/done"]).code, 0);
    assert_eq!(place.say(&["get", "broken"]).code, 1);
    let one: Value = serde_json::from_str(&place.say(&["get", "done", "-o", "json"]).out).unwrap();
    assert_eq!(one["metadata"]["name"], "done");
    assert_eq!(one["status"]["phase"], "Completed");
    assert_eq!(one["status"]["results"]["cases"][1]["test"], "tg128");
    assert_eq!(one["status"]["history"][0]["simulated"], true);
    let all: Value = serde_json::from_str(&place.say(&["get", "-o", "json"]).out).unwrap();
    assert_eq!(all["items"].as_array().unwrap().len(), 4);
}

#[test]
fn get_without_a_database_says_so_and_is_no_failure() {
    let place = Place::new();
    let said = place.say(&["get"]);
    assert_eq!((said.code, said.out.as_str()), (0, ""));
    assert!(said.err.contains("no requests known"), "{}", said.err);
    let data: Value = serde_json::from_str(&place.say(&["get", "-o", "json"]).out).unwrap();
    assert_eq!(data["items"], serde_json::json!([]));
    assert!(!place.state().exists(), "a look makes nothing");
}

#[test]
fn get_prints_what_changes_until_it_is_ended() {
    let place = Place::new();
    let seeded = Seeded::new(&place);
    let record = seeded.request("a", "LlamaBench", BENCH, true);
    let run = seeded.run(&record, running());
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_benchlet"))
        .args(["get", "-w"])
        .env("BENCHLET_STATE", place.state())
        .current_dir(place.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut seen = String::new();
    let mut read_until = |word: &str| {
        let mut byte = [0u8];
        while !seen.contains(word) {
            assert_eq!(out.read(&mut byte).unwrap(), 1, "ended: {seen}");
            seen.push(char::from(byte[0]));
        }
    };
    read_until("Running");
    seeded.advance(run, RunState::Ended(Ending::completed("")));
    read_until("Completed");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn describe_tells_everything_and_lets_no_control_character_through() {
    let place = Place::new();
    let seeded = Seeded::new(&place);
    let record = seeded.request("qwen3", "LlamaBench", BENCH, true);
    seeded.completed(&record);
    let failed = seeded.failed(&record);
    seeded.condition("qwen3", "Accepted", "True", "Valid");
    let said = place.say(&["describe", "qwen3"]);
    assert_eq!(said.code, 0, "{}", said.err);
    for part in [
        "Name:        qwen3\n",
        "Phase:       Failed (ModelNotFound)\n",
        "Message:     the model\\u{1b}[31m is missing\n",
        "Hint:        put it there\n",
        "Conditions:\n",
        "Last run:\n",
        "Command:     benchlet sim llama-bench -p 512\n",
        "Parameters:  -p 512 -n 128 --no-warmup\n",
        "Simulated:   yes",
        "Took:        1m\n",
        "Warnings:\n  a warning\n",
        "Dropped flags of the service:\n  --metrics",
        "Last runs:\n",
        "Events:\n",
    ] {
        assert!(said.out.contains(part), "{part:?} in\n{}", said.out);
    }
    assert!(!said.out.contains('\u{1b}'));
    let run = place.say(&["describe", &short(failed)]);
    assert_eq!(run.code, 0);
    assert!(run.out.starts_with(&format!("Run:         {failed}\n")), "{}", run.out);
}

#[test]
fn describe_of_a_completed_run_has_its_cases() {
    let place = Place::new();
    let seeded = Seeded::new(&place);
    let record = seeded.request("a", "LlamaBench", BENCH, true);
    let run = seeded.completed(&record);
    let said = place.say(&["describe", &run.to_string()]);
    assert!(said.out.contains("Results (simulated, every figure is made up):\n"), "{}", said.out);
    assert!(said.out.contains("  2      tg128   -        85.25 ± 2.50    85.25    2\n"), "{}", said.out);
    let data: Value =
        serde_json::from_str(&place.say(&["describe", &run.to_string(), "-o", "json"]).out).unwrap();
    assert_eq!(data["results"]["tg_avg_ts"], 85.25);
}

#[test]
fn history_lists_runs_newest_first_and_filters_them() {
    let place = Place::new();
    let seeded = Seeded::new(&place);
    let (a, b) =
        (seeded.request("a", "LlamaBench", BENCH, true), seeded.request("b", "LlamaBench", BENCH, true));
    let first = seeded.completed(&a);
    let second = seeded.failed(&b);
    let names = |line: &[&str]| {
        let said = place.say(line);
        assert_eq!(said.code, 0, "{}", said.err);
        said.out.lines().map(|line| line.trim_start_matches("run/").to_owned()).collect::<Vec<_>>()
    };
    let ids = [second.to_string(), first.to_string()];
    assert_eq!(names(&["history", "-o", "name"]), ids);
    assert_eq!(names(&["history", "a", "-o", "name"]), ids[1..]);
    assert_eq!(names(&["history", "--phase", "failed", "-o", "name"]), ids[..1]);
    assert_eq!(names(&["history", "--service", "simulated", "--limit", "1", "-o", "name"]), ids[..1]);
    assert_eq!(names(&["history", "--service", "other", "-o", "name"]), Vec::<String>::new());
    let table = place.say(&["history", "a"]).out;
    let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..5], [&short(first), "a", "simulated", "Completed", "1240.5"], "{table}");
    assert!(table.contains("-p 512 -n 128 --no-warmup"), "{table}");
}

#[test]
fn logs_print_the_launches_in_order_as_they_are() {
    let place = Place::new();
    let seeded = Seeded::new(&place);
    let record = seeded.request("a", "LlamaBench", BENCH, true);
    let run = seeded.completed(&record);
    seeded.output(run, 0, "row 1\n", "err 1\n");
    seeded.output(run, 1, "row 2\u{1b}", "err 2\n");
    let said = place.say(&["logs", "a"]);
    assert_eq!((said.code, said.out.as_str()), (0, "err 1\nrow 1\nerr 2\nrow 2\u{1b}"));
    assert_eq!(said.err, "==> launch 1 of 2\n==> launch 2 of 2\n");
    assert_eq!(place.say(&["logs", &short(run), "--stdout", "--launch", "2"]).out, "row 2\u{1b}");
    assert_eq!(place.say(&["logs", "a", "--stderr"]).out, "err 1\nerr 2\n");
    assert_eq!(place.say(&["logs", "a", "--launch", "3"]).code, 4);
}

#[test]
fn logs_without_output_show_the_last_lines_that_were_kept() {
    let place = Place::new();
    let seeded = Seeded::new(&place);
    let record = seeded.request("a", "LlamaBench", BENCH, true);
    seeded.completed(&record);
    let said = place.say(&["logs", "a"]);
    assert_eq!((said.code, said.out.as_str()), (0, "the last line\n"));
    seeded.request("b", "LlamaBench", BENCH, true);
    assert_eq!(place.say(&["logs", "b"]).code, 4);
}

#[test]
fn logs_follow_a_run_until_it_ends() {
    let place = Place::new();
    let seeded = Seeded::new(&place);
    let record = seeded.request("a", "LlamaBench", BENCH, true);
    let run = seeded.run(&record, running());
    seeded.output(run, 0, "", "one\ntw");
    let output = std::thread::scope(|scope| {
        let follow = scope.spawn(|| place.say(&["logs", "a", "-f"]));
        std::thread::sleep(Duration::from_millis(400));
        seeded.output(run, 0, "row\n", "one\ntwo\n");
        seeded.output(run, 1, "", "three");
        seeded.advance(run, RunState::Ended(Ending::completed("")));
        follow.join().unwrap()
    });
    assert_eq!((output.code, output.out.as_str()), (0, "one\ntwo\nrow\nthree"));
}

#[test]
fn wait_tells_by_its_exit_code_how_it_ended() {
    let place = Place::new();
    let seeded = Seeded::new(&place);
    let done = seeded.request("done", "LlamaBench", BENCH, true);
    seeded.completed(&done);
    let bad = seeded.request("bad", "LlamaBench", BENCH, true);
    let failed = seeded.failed(&bad);
    let open = seeded.request("open", "LlamaBench", BENCH, true);
    seeded.run(&open, running());
    seeded.condition("broken", "Accepted", "False", "Invalid");
    for (line, code) in [
        (&["wait", "done", "--for=Succeeded"][..], 0),
        (&["wait", "done", "--for=Completed"][..], 0),
        (&["wait", "done"][..], 0),
        (&["wait", "done", "--for=Failed"][..], 1),
        (&["wait", "done", "--for=Accepted"][..], 0),
        (&["wait", "bad", "--for=Succeeded"][..], 1),
        (&["wait", "bad", "--for=failed"][..], 0),
        (&["wait", &failed.to_string(), "--for=Ended"][..], 0),
        (&["wait", "broken", "--for=Accepted"][..], 1),
        (&["wait", "open", "--timeout", "300ms"][..], 5),
        (&["wait", "nosuch", "--timeout", "300ms"][..], 4),
    ] {
        let said = place.say(line);
        assert_eq!(said.code, code, "{line:?}: {}{}", said.out, said.err);
    }
    let said = place.say(&["wait", "bad", "--for=Succeeded"]);
    assert!(said.err.contains("not Succeeded") && said.err.contains("hint: put it there"), "{}", said.err);
}

#[test]
fn wait_does_not_take_the_last_run_for_one_that_was_ordered_since() {
    let place = Place::new();
    let seeded = Seeded::new(&place);
    let record = seeded.request("a", "LlamaBench", BENCH, false);
    assert_eq!(
        place.say(&["wait", "a", "--for=Succeeded", "--timeout", "300ms"]).code,
        5,
        "it has yet to run"
    );
    seeded.completed(&record);
    assert_eq!(place.say(&["wait", "a", "--for=Succeeded", "--timeout", "2s"]).code, 0);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime
        .block_on(seeded.store.order("a", Verb::Rerun { set: Vec::new() }, "2026-01-01T00:00:00Z".to_owned()))
        .unwrap();
    assert_eq!(place.say(&["wait", "a", "--for=Succeeded", "--timeout", "300ms"]).code, 5);
}

#[test]
fn wait_sees_a_run_end() {
    let place = Place::new();
    let seeded = Seeded::new(&place);
    let record = seeded.request("a", "LlamaBench", BENCH, true);
    let run = seeded.run(&record, running());
    let said = std::thread::scope(|scope| {
        let wait = scope.spawn(|| place.say(&["wait", "a", "--for=Succeeded", "--timeout", "30s"]));
        std::thread::sleep(Duration::from_millis(300));
        seeded.advance(run, RunState::Ended(Ending::cancelled(Reason::Cancelled, "by hand")));
        wait.join().unwrap()
    });
    assert_eq!(said.code, 1);
    assert_eq!(said.err, "error: a is Cancelled (by hand), not Succeeded\n");
}

#[test]
fn rerun_leaves_an_order_and_says_whether_anybody_carries_it_out() {
    let place = Place::new();
    let seeded = Seeded::new(&place);
    let record = seeded.request("a", "LlamaBench", BENCH, true);
    let run = seeded.completed(&record);
    let said = place.say(&["rerun", &short(run), "--set", "-b=4096", "--set", "--no-warmup"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("no controller is running"), "{}", said.out);
    let commands = seeded.store.commands_for("a").unwrap();
    let Verb::Rerun { set } = &commands[0].verb else { panic!("{commands:?}") };
    let pairs: Vec<_> = set.iter().map(|param| (param.flag.as_str(), param.value.as_str())).collect();
    assert_eq!(pairs, [("-b", "4096"), ("--no-warmup", "")]);
    assert_eq!(place.say(&["rerun", "a", "--wait"]).code, 2);

    let _controller = controller(&place);
    let said = place.say(&["rerun", "a"]);
    assert_eq!((said.code, said.out.as_str()), (0, "the request a runs once more\n"));
}

#[test]
fn cancel_leaves_an_order_for_an_open_run_alone() {
    let place = Place::new();
    let seeded = Seeded::new(&place);
    let record = seeded.request("a", "LlamaBench", BENCH, true);
    let old = seeded.completed(&record);
    let said = place.say(&["cancel", "a"]);
    assert_eq!(said.code, 1);
    assert!(said.err.starts_with("error: the request a has no run to cancel\n"), "{}", said.err);
    let run = seeded.run(&record, running());
    let said = place.say(&["cancel", &old.to_string()]);
    assert_eq!((said.code, said.err), (1, format!("error: the run {old} has ended already (Completed)\n")));
    let _controller = controller(&place);
    let said = place.say(&["cancel", "a"]);
    assert_eq!(said.out, format!("the run {} of a is being cancelled\n", short(run)));
    assert_eq!(seeded.store.commands_for("a").unwrap()[0].verb, Verb::Cancel);
}

#[test]
fn delete_takes_an_ended_run_with_its_output_and_no_other() {
    let place = Place::new();
    let seeded = Seeded::new(&place);
    let record = seeded.request("a", "LlamaBench", BENCH, true);
    let (ended, open) = (seeded.completed(&record), seeded.run(&record, running()));
    seeded.output(ended, 0, "row\n", "");
    let said = place.say(&["delete", "run", &open.to_string()]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("has not ended") && said.err.contains("benchlet cancel"), "{}", said.err);
    let said = place.say(&["delete", "run", &short(ended)]);
    assert_eq!((said.code, said.out), (0, format!("the run {ended} of a is deleted\n")));
    assert!(!place.state().join("spool").join(ended.to_string()).exists());
    assert_eq!(place.say(&["delete", "run", &short(ended)]).code, 4);
}

#[test]
fn new_is_prefilled_from_the_newest_run_whatever_became_of_it() {
    let place = Place::new();
    let seeded = Seeded::new(&place);
    let record = seeded.request("a", "LlamaBench", BENCH, true);
    let run = seeded.failed(&record);
    let said = place.say(&["new", "LlamaBench", "--service", "simulated", "--set", "-n=64"]);
    assert!(said.out.contains(&format!("Prefilled from run {run}.")), "{}", said.out);
    assert!(said.out.contains("    -p: 512\n    -n: 64\n    --no-warmup:\n"), "{}", said.out);
    let said = place.say(&["new", "LlamaBench", "--service", "simulated", "--from", "service"]);
    assert!(said.out.contains("    -p: 512\n    -n: 128\n    -r: 5\n"), "{}", said.out);
}

#[test]
fn a_reader_that_goes_away_ends_a_list_quietly() {
    let place = Place::new();
    let seeded = Seeded::new(&place);
    for number in 0..3 {
        let record = seeded.request(&format!("r{number}"), "LlamaBench", BENCH, true);
        seeded.completed(&record);
    }
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_benchlet"))
        .args(["get", "-o", "json"])
        .env("BENCHLET_STATE", place.state())
        .current_dir(place.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{output:?}");
}
