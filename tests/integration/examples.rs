//! What lies in `examples/` to be copied is at least well-formed; what it says is checked where the
//! kinds and services are.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use benchlet::request::tree;

#[test]
fn examples_are_well_formed() {
    let mut problems = Vec::new();
    let mut seen = 0;
    for file in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")) {
        let extension = file.extension().unwrap_or_default().to_string_lossy().into_owned();
        let text = || fs::read_to_string(&file).unwrap();
        let problem = match extension.as_str() {
            "yaml" | "yml" => yaml_problem(&text()),
            "json" => serde_json::from_str::<serde_json::Value>(&text()).err().map(|error| error.to_string()),
            "toml" => toml::from_str::<toml::Table>(&text()).err().map(|error| error.to_string()),
            _ => continue,
        };
        seen += 1;
        problems.extend(problem.map(|problem| format!("{}: {problem}", file.display())));
    }
    assert!(seen > 10, "only {seen} files seen");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Flags come and go; a workflow that somebody copied must not be the first to notice.
#[test]
fn every_command_of_the_ci_and_cron_recipes_is_one_that_benchlet_takes() {
    use clap::Parser as _;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut seen = 0;
    for file in [root.join("ci/github-actions.yml"), root.join("cron/crontab")] {
        let text = fs::read_to_string(&file).unwrap();
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let pieces = lines.flat_map(|line| line.split(['|', ';', '>', '&', '{'])).map(str::trim);
        let commands = pieces.filter_map(|piece| piece.find("benchlet ").map(|at| &piece[at..]));
        for command in commands.filter(|command| !command.starts_with("benchlet install")) {
            let words = command.split_whitespace().map(|word| word.trim_matches('"'));
            let parsed = benchlet::cli::Cli::try_parse_from(words);
            assert!(parsed.is_ok(), "{}: {command}: {}", file.display(), parsed.unwrap_err());
            seen += 1;
        }
    }
    assert!(seen >= 8, "only {seen} commands seen");
}

fn yaml_problem(text: &str) -> Option<String> {
    let stream = tree::parse(text);
    let found = stream.documents.iter().find_map(|document| document.root.as_ref().err());
    match found {
        Some(diagnostic) => Some(diagnostic.message.clone()),
        None if stream.broken || stream.documents.is_empty() => Some("no readable document".to_owned()),
        None => None,
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn the_custom_engine_is_measured_as_its_readme_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let binary = Path::new(env!("CARGO_BIN_EXE_benchlet"));
    // Examples are built with the tests, beside the binary.
    let server = binary.parent().unwrap().join("examples/custom_engine");
    let mut server = Command::new(server)
        .arg("127.0.0.1:0")
        .stdout(Stdio::piped())
        .spawn()
        .map(Ended)
        .expect("the example custom_engine, which `cargo test` builds");
    let mut said = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let port = said.trim().rsplit(':').next().unwrap();
    let place = tempfile::tempdir().unwrap();
    let copy = |name: &str| {
        let text = fs::read_to_string(root.join("examples/custom-engine").join(name)).unwrap();
        // Its usual port may be taken on this machine.
        let text = text.replace("port = 9000", &format!("port = {port}"));
        fs::write(place.path().join(name), text).unwrap();
    };
    fs::create_dir(place.path().join("requests")).unwrap();
    for name in ["benchlet.toml", "requests/example.yaml", "requests/prompts.jsonl"] {
        copy(name);
    }
    let run = Command::new(binary)
        .args(["run", "requests/example.yaml", "-o", "json", "--set", "requests=6"])
        .current_dir(place.path())
        .env("BENCHLET_LOCK_DIR", place.path().join("locks"))
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{shown}");
    let json: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    let cases = json[0]["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 2, "{json}");
    for case in cases {
        assert_eq!((&case["engine"], &case["requests"]["ok"]), (&"example".into(), &6.into()), "{case}");
        // Two prompts of 24 tokens and one of 12, in turn.
        assert_eq!((&case["tokens"]["out"], &case["tokens"]["source"]), (&120.into(), &"engine".into()));
    }
}

#[test]
fn the_conversation_of_the_example_is_valid_beside_its_request_and_is_held() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/conversations/requests");
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("requests")).unwrap();
    for name in ["museum.yaml", "visit.yaml"] {
        fs::copy(root.join(name), place.path().join("requests").join(name)).unwrap();
    }
    let say = |line: &[&str]| {
        let said = Command::new(env!("CARGO_BIN_EXE_benchlet"))
            .args(line)
            .current_dir(place.path())
            .env("BENCHLET_LOCK_DIR", place.path().join("locks"))
            .output()
            .unwrap();
        let (out, err) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
        assert!(said.status.success(), "{out}{err}");
        out.into_owned()
    };
    assert_eq!(say(&["validate", "requests"]), "1 valid request and 1 conversations file in 2 files\n");
    let json: serde_json::Value =
        serde_json::from_str(&say(&["run", "requests", "--set", "maxTokens=5", "-o", "json"])).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 1, "the conversations are no request");
    let cases = json[0]["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 2);
    for case in cases {
        assert_eq!(
            (&case["requests"]["ok"], &case["conversation"]["name"]),
            (&8.into(), &"museum-visit".into())
        );
    }
    let page = say(&["report", "museum-visit", "--format", "html"]);
    assert!(page.contains("How late can we come in?"));
}

/// Ended with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
