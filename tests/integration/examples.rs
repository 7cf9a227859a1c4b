//! What lies in `examples/` to be copied is at least well-formed; what it says is checked where the
//! kinds and services are.

use std::fs;
use std::path::{Path, PathBuf};

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
