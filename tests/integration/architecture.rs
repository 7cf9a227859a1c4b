//! Who may import whom, what files are called and what has no place in the tree, read from the
//! source text. The table is the architecture; changing it is a decision, not a repair.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Plain data and functions. Each file below one of these is free of IO, clocks and randomness,
/// which `clippy.toml` holds.
const CORE: &[&str] = &["stats", "request", "run", "plan", "decide"];

/// Each owns one kind of IO.
const ADAPTERS: &[&str] = &[
    "files", "intake", "executor", "engine", "load", "collect", "models", "service", "store", "status",
    "report",
];

/// What a module may import beside itself; `None` for a module that the table does not know.
fn may_import(module: &str) -> Option<Vec<&'static str>> {
    let core_and = |others: &[&'static str]| [CORE, others].concat();
    let allowed = match module {
        "lib" | "stats" => vec![],
        "request" => vec!["stats"],
        "run" => vec!["stats", "request"],
        "plan" => vec!["stats", "request", "run"],
        "decide" => vec!["stats", "request", "run", "plan"],
        "files" => core_and(&[]),
        "intake" | "executor" | "engine" | "collect" | "models" | "service" | "store" | "status" => {
            core_and(&["files"])
        }
        "load" => core_and(&["files", "engine"]),
        "report" => core_and(&["files", "store"]),
        "settings" => core_and(&["files"]),
        "controller" => [CORE, ADAPTERS, &["settings"]].concat(),
        "api" => core_and(&["files", "store", "report", "controller", "settings"]),
        "cli" | "main" => [CORE, ADAPTERS, &["settings", "controller", "api", "cli"]].concat(),
        _ => return None,
    };
    Some(allowed)
}

#[test]
fn modules_import_only_what_the_architecture_allows() {
    let mut problems = Vec::new();
    for file in rust_files("src") {
        let module = module_of(&file);
        let Some(allowed) = may_import(&module) else {
            problems.push(format!("{}: the module {module} is not in the table", file.display()));
            continue;
        };
        for (line, path) in crate_paths(&read(&file)) {
            let imported = path.split("::").next().unwrap_or_default();
            // Items at the crate's root are no modules.
            let is_module = imported.starts_with(|first: char| first.is_ascii_lowercase());
            if is_module && imported != module && !allowed.contains(&imported) {
                problems.push(format!("{}:{line}: {module} imports {imported}", file.display()));
            }
            if module == "api" && is_inside_the_controller(&path) {
                problems.push(format!("{}:{line}: api reaches into {path}", file.display()));
            }
            if module == "cli" && is_handler(&path) {
                problems.push(format!("{}:{line}: cli imports the handler {path}", file.display()));
            }
        }
    }
    assert_no(problems, "imports against the architecture; see `may_import` in this test");
}

/// What the API may have of the controller: handles to ask and to leave orders with. The loop, its passes and its
/// queue are nobody else's.
const HANDLES: &[&str] = &[
    "apply_job",
    "baseline_orders",
    "context",
    "doorbell",
    "live",
    "meter",
    "request_source",
    "run_output",
    "service_states",
    "submit",
    "surroundings",
];

fn is_inside_the_controller(path: &str) -> bool {
    match path.split("::").collect::<Vec<_>>().as_slice() {
        ["controller", part, ..] => !HANDLES.contains(part),
        ["controller"] => true,
        _ => false,
    }
}

/// The command line starts the API and knows none of its resources.
fn is_handler(path: &str) -> bool {
    match path.split("::").collect::<Vec<_>>().as_slice() {
        ["api", part, ..] => {
            part.starts_with(|first: char| first.is_ascii_lowercase()) && !["router", "serve"].contains(part)
        }
        _ => false,
    }
}

/// `super::` as often as a file lies deep leads to the crate's root, past the table. What is indented
/// lies in an inline module (tests, mostly), one deeper.
#[test]
fn no_path_climbs_past_its_own_module() {
    let mut problems = Vec::new();
    for file in rust_files("src") {
        let depth = file.components().count() - 1 - usize::from(file.ends_with("mod.rs"));
        for (number, line) in code_lines(&read(&file)) {
            let inline = usize::from(line.starts_with(' '));
            if depth > 0 && line.contains(&"super::".repeat(depth + inline)) {
                problems.push(format!("{}:{number}: write it with `crate::`", file.display()));
            }
        }
    }
    assert_no(problems, "imports that the table cannot see");
}

#[test]
fn core_modules_deny_clocks_files_environment_and_processes() {
    // Their tests may read fixtures.
    let attribute = "#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]";
    let problems = CORE
        .iter()
        .map(|module| root().join("src").join(module).join("mod.rs"))
        .filter(|file| file.exists() && !read(file).contains(attribute))
        .map(|file| format!("{}: lacks {attribute}", file.display()))
        .collect();
    assert_no(problems, "core modules without the ban of clippy.toml");
}

#[test]
fn every_module_says_what_it_owns() {
    let problems = rust_files("src")
        .into_iter()
        .filter(|file| !file.ends_with("src/main.rs") && !holds_tests(file))
        .filter(|file| !read(file).starts_with("//!"))
        .map(|file| format!("{}: does not open with //!", file.display()))
        .collect();
    assert_no(problems, "modules without a word on what they are for");
}

#[test]
fn files_are_named_for_what_they_do() {
    const EMPTY_NAMES: &[&str] =
        &["util", "utils", "common", "helper", "helpers", "manager", "misc", "stuff", "shared"];
    let problems = ["src", "tests", "examples"]
        .into_iter()
        .flat_map(rust_files)
        .filter(|file| {
            file.components().any(|part| {
                let part = part.as_os_str().to_string_lossy();
                EMPTY_NAMES.contains(&part.trim_end_matches(".rs"))
            })
        })
        .map(|file| file.display().to_string())
        .collect();
    assert_no(problems, "names that say nothing");
}

#[test]
fn nothing_is_left_for_later_or_left_out() {
    // In two halves, so that this file does not find itself.
    let banned = [
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("#[ig", "nore"),
        concat!("FIX", "ME"),
        concat!("XX", "X "),
    ];
    let mut problems = Vec::new();
    for file in ["src", "tests", "examples"].into_iter().flat_map(rust_files) {
        for (number, line) in read(&file).lines().enumerate() {
            for word in banned.iter().filter(|word| line.contains(*word)) {
                problems.push(format!("{}:{}: {word}", file.display(), number + 1));
            }
        }
    }
    assert_no(problems, "unfinished code and tests that do not run");
}

#[test]
fn errors_stay_typed_below_main() {
    let mut problems = Vec::new();
    for file in rust_files("src").into_iter().filter(|file| !file.ends_with("src/main.rs")) {
        for (number, line) in code_lines(&read(&file)) {
            if line.contains("anyhow::") || line.contains("use anyhow") {
                problems.push(format!("{}:{number}: {}", file.display(), line.trim()));
            }
        }
    }
    assert_no(problems, "anyhow outside of main");
}

/// Both make an unknown or misspelt key pass in silence.
#[test]
fn request_types_are_neither_flattened_nor_untagged() {
    let mut problems = Vec::new();
    for file in rust_files("src/request") {
        for (number, line) in code_lines(&read(&file)) {
            if line.contains("serde(") && (line.contains("flatten") || line.contains("untagged")) {
                problems.push(format!("{}:{number}: {}", file.display(), line.trim()));
            }
        }
    }
    assert_no(problems, "serde attributes that hide mistakes in requests");
}

#[test]
fn paths_are_found_in_groups_over_several_lines_and_in_expressions() {
    let source = "use crate::{\n    run::step::{TaskId, TaskSpec},\n    store,\n};\n// crate::comment::none\nlet \
                  a = crate::plan::service::x(); // crate::also::none\npub(crate) fn f(v: &mycrate::y::z) {}\n";
    let found = crate_paths(source);
    let paths: Vec<&str> = found.iter().map(|(_, path)| path.as_str()).collect();
    assert_eq!(paths, ["run::step::", "store", "plan::service::x"]);
    assert_eq!(found[2].0, 6);
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &Path) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// All `.rs` files below a folder of the repository, sorted, relative to its root.
fn rust_files(folder: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut BTreeSet<PathBuf>) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for path in entries.map(|entry| entry.expect("a readable folder").path()) {
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.insert(path.strip_prefix(root()).expect("below the root").to_owned());
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(&root().join(folder), &mut found);
    found.into_iter().collect()
}

/// `tests.rs`, `compose_tests.rs`: the module that they test says what there is to say.
fn holds_tests(file: &Path) -> bool {
    file.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("tests"))
}

/// `src/plan/service.rs` → `plan`; `src/settings.rs` → `settings`.
fn module_of(file: &Path) -> String {
    let below_src = file.strip_prefix("src").expect("a file below src");
    let first = below_src.iter().next().expect("a file name").to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// Lines without comments, with their numbers.
fn code_lines(source: &str) -> impl Iterator<Item = (usize, &str)> {
    source.lines().enumerate().map(|(index, line)| {
        let code = match line.find("//") {
            // Not the slashes of a URL.
            Some(at) if !line[..at].ends_with(':') => &line[..at],
            Some(_) | None => line,
        };
        (index + 1, code)
    })
}

/// Every path behind `crate::` with its line; a group gives one path for each of its members.
fn crate_paths(source: &str) -> Vec<(usize, String)> {
    let mut text = String::new();
    for (_, line) in code_lines(source) {
        text.push_str(line);
        text.push('\n');
    }
    let mut found = Vec::new();
    for (at, marker) in text.match_indices("crate::") {
        if text[..at].ends_with(is_name) {
            continue;
        }
        let line = text[..at].matches('\n').count() + 1;
        let rest = &text[at + marker.len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(members(group).into_iter().map(|path| (line, path))),
            None => found.push((line, leading_path(rest))),
        }
    }
    found
}

/// The members of a group of imports, up to the brace that closes it.
fn members(group: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let mut depth = 0;
    let mut member = String::new();
    for character in group.chars() {
        match character {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => paths.push(std::mem::take(&mut member)),
            _ => {}
        }
        if character != ',' || depth > 0 {
            member.push(character);
        }
    }
    paths.push(member);
    paths.iter().map(|path| leading_path(path.trim())).filter(|path| !path.is_empty()).collect()
}

fn leading_path(text: &str) -> String {
    text.chars().take_while(|character| is_name(*character) || *character == ':').collect()
}

fn is_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[track_caller]
fn assert_no(problems: Vec<String>, what: &str) {
    assert!(problems.is_empty(), "{what}:\n{}", problems.join("\n"));
}
