//! The README is held to what it says: its steps are run to the letter, its tables name every verb.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

const README: &str = include_str!("../../README.md");

#[test]
fn the_steps_for_the_real_thing_end_with_the_winning_flag_in_the_compose_file() {
    if crate::daemon::is_left_out() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("first");
    let model = std::env::var("BENCHLET_TEST_MODEL").expect("BENCHLET_TEST_MODEL; `tests/run` sets it");
    let image = std::env::var("BENCHLET_TEST_IMAGE").expect("BENCHLET_TEST_IMAGE; `tests/run` sets it");
    let steps = blocks("## The real thing in five minutes")
        .replace("/tmp/first", folder.to_str().unwrap())
        .replace("cargo run --release --example tiny_model --", &format!("cp {model}"))
        .replace("image=benchlet-test/llama.cpp:local", &format!("image={image}"));
    let binary = Path::new(env!("CARGO_BIN_EXE_benchlet")).parent().unwrap();
    // A run outlives its controller, so what `init` has set going is ended before the controller is.
    let tidy = "for name in $(benchlet get -o name); do benchlet cancel \"$name\" --wait 2>&1 || true; done";
    let script = format!("set -euo pipefail\ntrap '{tidy}; kill %1; wait' EXIT\n{steps}");
    let ran = Command::new("bash")
        .args(["-c", &script])
        .env("PATH", format!("{}:{}", binary.display(), std::env::var("PATH").unwrap()))
        .env("BENCHLET_LOCK_DIR", place.path().join("locks"))
        // Whoever tests may have the usual port in use.
        .env("BENCHLET_LISTEN", "127.0.0.1:0")
        .env("CARGO_MANIFEST_DIR", place.path())
        .output()
        .unwrap();
    let said = format!("{}\n{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{said}");
    let compose = std::fs::read_to_string(folder.join("docker-compose.yml")).unwrap();
    let applied = compose.contains("--port 8080 -b 512") || compose.contains("--port 8080 -b 64");
    assert!(applied, "{compose}\n{said}");
    assert!(compose.contains("# the batch size was somebody's guess"), "{compose}");
    crate::measuring::until("nothing of it runs any more", || {
        command_lines_with(&folder).is_empty().then_some(())
    });
}

/// The command lines of all processes that name this folder.
fn command_lines_with(folder: &Path) -> Vec<String> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = pids.filter_map(|pid| std::fs::read(pid.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(folder.to_str().unwrap())).collect()
}

#[test]
fn the_table_of_commands_has_every_verb_and_no_other() {
    let table = section("## Commands");
    let mut told = BTreeSet::new();
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let cell = row.split(" | ").next().unwrap();
        for command in cell.split('`').skip(1).step_by(2) {
            let words = command.trim_start_matches("benchlet ");
            told.extend(
                words.split(", ").filter_map(|part| part.split_whitespace().next()).map(str::to_owned),
            );
        }
    }
    let help = Command::new(env!("CARGO_BIN_EXE_benchlet")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let verbs: BTreeSet<String> = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|verb| *verb != "help")
        .map(str::to_owned)
        .collect();
    assert_eq!(told, verbs);
}

/// What stands between a heading and the next of its rank.
fn section(heading: &str) -> &'static str {
    let start = README.find(heading).unwrap_or_else(|| panic!("the README has no {heading}"));
    let rest = &README[start + heading.len()..];
    &rest[..rest.find("\n## ").unwrap_or(rest.len())]
}

/// The shell blocks of a section, one after the other.
fn blocks(heading: &str) -> String {
    let mut parts = section(heading).split("```sh\n").skip(1);
    let mut text = String::new();
    for part in &mut parts {
        text.push_str(part.split("```").next().unwrap());
    }
    text
}
