//! One controller a tree, at rest when there is nothing to do, and quick among many files.

use std::fs;
use std::time::{Duration, Instant};

use crate::workbench::Workbench;

const SUSPENDED: &str = "{ service: tiny, suspend: true }";

#[test]
fn a_second_controller_on_the_tree_or_the_state_names_the_first_and_leaves() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    bench.save("first", SUSPENDED);
    bench.until_phase("first", "Suspended");
    let pid = bench.controller_pid().to_string();
    fs::create_dir(bench.path("other")).unwrap();
    for (variable, shared) in [("BENCHLET_STATE", "the root"), ("BENCHLET_REQUESTS", "the state")] {
        let other = bench.path("other");
        let second = bench.serve_command().env(variable, &other).output().unwrap();
        assert!(!second.status.success(), "{shared}");
        let words = String::from_utf8_lossy(&second.stderr);
        assert!(words.contains(&pid) && words.contains("serve on"), "{shared}: {words}");
    }
    // The first is none the worse for it.
    bench.save("still", SUSPENDED);
    bench.until_phase("still", "Suspended");
}

#[test]
fn the_lock_of_a_killed_controller_is_no_obstacle() {
    let mut bench = Workbench::without_docker();
    for name in ["one", "two", "three"] {
        bench.serve();
        bench.save(name, SUSPENDED);
        bench.until_phase(name, "Suspended");
        bench.kill();
    }
}

#[test]
fn at_rest_nothing_is_decided_and_no_status_is_written() {
    let Some(mut bench) = Workbench::open() else { return };
    bench.set("BENCHLET_LOG", "benchlet=debug");
    // Listings go on while it rests.
    bench.set("BENCHLET_RELIST_SECONDS", "1");
    bench.serve();
    bench.save("done", "{ service: tiny, params: { -p: 8, -n: 0, -r: 1, -t: 1 } }");
    bench.save("suspended", SUSPENDED);
    bench.save("invalid", "{ sevice: tiny }");
    bench.until_phase("done", "Completed");
    bench.until_phase("suspended", "Suspended");
    bench.until_phase("invalid", "Invalid");
    let picture = |bench: &Workbench| {
        let files = ["done", "suspended", "invalid"].map(|name| {
            let path = bench.request_path(&format!("{name}.status.yaml"));
            use std::os::unix::fs::MetadataExt as _;
            let found = fs::metadata(path).unwrap();
            (found.ino(), found.mtime_nsec(), found.mtime())
        });
        (files, bench.log())
    };
    // A last status may still be due within its second.
    let (mut last, mut since) = (picture(&bench), Instant::now());
    bench.until("it comes to rest", |bench| {
        let now = picture(bench);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        (since.elapsed() > Duration::from_secs(2)).then_some(())
    });
    // That nothing happens for this long is the subject; the longest look-again while waiting is 5 s.
    std::thread::sleep(Duration::from_secs(6));
    let now = picture(&bench);
    assert_eq!(now.0, last.0, "a status was written");
    assert_eq!(now.1.strip_prefix(&last.1), Some(""), "something was done");
}

#[test]
fn three_hundred_files_at_once_are_all_taken_up_and_an_edit_among_them_runs() {
    let Some(mut bench) = Workbench::open() else { return };
    bench.set("BENCHLET_LOG", "info");
    bench.serve();
    bench.save("early", SUSPENDED);
    bench.until_phase("early", "Suspended");
    for number in 0..300 {
        bench.save(&format!("many-{number}"), SUSPENDED);
    }
    bench.save("early", "{ service: tiny, params: { -p: 8, -n: 0, -r: 1, -t: 1 } }");
    bench.until_phase("early", "Completed");
    bench.until("a status for each", |bench| {
        (0..300)
            .all(|number| bench.request_path(&format!("many-{number}.status.yaml")).exists())
            .then_some(())
    });
    for number in [0, 150, 299] {
        bench.until_phase(&format!("many-{number}"), "Suspended");
    }
}
