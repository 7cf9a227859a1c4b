//! `kind: Model`: model files that must be there, whole and with these hashes. Where they come from is a
//! hub, a URL or a path; what a repository holds is nothing that a request can know.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::fields::{Fields, report_duplicates};
use super::model_source::{Source, SourceError, file_name_problem};

/// Most patterns of `include`.
pub const MOST_PATTERNS: usize = 50;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    pub source: Source,
    /// Which files of a repository are taken; empty: all of them.
    pub include: Vec<String>,
    /// Of the one file that the source names, in lower-case hexadecimal.
    pub sha256: Option<String>,
    /// Of files of a repository, by their names in it.
    pub files: BTreeMap<String, String>,
    /// Of the one file that the source names, in bytes.
    pub size: Option<u64>,
}

impl Model {
    /// A model with nothing asked of it but to be there.
    pub fn of(source: Source) -> Self {
        Self { source, include: Vec::new(), sha256: None, files: BTreeMap::new(), size: None }
    }
}

pub fn decode(fields: &Fields<'_>) -> Option<Model> {
    let source = source(fields);
    let include = fields.parsed_list("include", MOST_PATTERNS, pattern).unwrap_or_default();
    let sha256 = fields.parsed("sha256", sha256);
    let size = fields.parsed("size", bytes);
    let files = hashes(fields);
    let source = source?;
    if source.is_single_file() {
        for name in ["include", "files"] {
            fields.refuse(
                name,
                "is for a repository, and the source names one file",
                "leave it out, or name the repository alone: hf://owner/repo",
            );
        }
    } else {
        fields.refuse(
            "sha256",
            "is the hash of one file, and the source is a repository",
            "files: { NAME: SHA-256 }, or name the file: hf://owner/repo/file",
        );
        fields.refuse(
            "size",
            "is the size of one file, and the source is a repository",
            "leave it out: the hub tells the sizes",
        );
    }
    Some(Model { source, include, sha256, files, size })
}

fn source(fields: &Fields<'_>) -> Option<Source> {
    let node = fields.required("source")?;
    match Source::parse(&fields.text("source")?) {
        Ok(source) => Some(source),
        // A problem quotes its place.
        Err(SourceError { message, hint, secret: true }) => {
            fields.refuse_unquoted("source", &message, &hint);
            None
        }
        Err(SourceError { message, hint, secret: false }) => {
            let path = fields.path_of("source");
            fields.problems.error_with_hint(node, format!("{path} {message}"), hint);
            None
        }
    }
}

/// What somebody takes files of a repository by.
///
/// # Errors
/// What would be right.
pub fn pattern(text: &str) -> Result<String, String> {
    let bad = text.is_empty() || text.len() > 256 || text.starts_with('/') || text.contains(char::is_control);
    if bad { Err("a pattern such as *.safetensors or tokenizer*".to_owned()) } else { Ok(text.to_owned()) }
}

/// A SHA-256 in lower-case hexadecimal, from any case and with or without `sha256:` before it.
///
/// # Errors
/// What would be right.
pub fn sha256(text: &str) -> Result<String, String> {
    let plain = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
    if plain.len() == 64 && plain.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(plain);
    }
    Err(match plain.len() {
        40 => "64 hexadecimal digits; one of 40 is a SHA-1".to_owned(),
        length => format!("64 hexadecimal digits, not {length} characters"),
    })
}

fn bytes(text: &str) -> Result<u64, String> {
    text.parse().ok().filter(|size| *size > 0).ok_or_else(|| "a whole number of bytes above zero".to_owned())
}

fn hashes(fields: &Fields<'_>) -> BTreeMap<String, String> {
    let mut known = BTreeMap::new();
    let Some(node) = fields.get("files") else { return known };
    let Some(entries) = node.entries() else {
        let message = format!("spec.files has to be a map, not {}", node.kind_name());
        fields.problems.error_with_hint(node, message, "files: { model.safetensors: SHA-256 }");
        return known;
    };
    report_duplicates(entries, "spec.files", fields.problems);
    for entry in entries {
        let name = entry.key.text().unwrap_or_default();
        if let Some(problem) = file_name_problem(name) {
            let message = format!("\"{name}\" cannot be a file of a repository: {problem}");
            fields.problems.error_with_hint(&entry.key, message, "its name as the hub lists it");
        }
        match entry.value.text().map(sha256) {
            Some(Ok(hash)) => drop(known.insert(name.to_owned(), hash)),
            Some(Err(right)) => {
                let message = format!("the hash of {name} is no SHA-256");
                fields.problems.error_with_hint(&entry.value, message, right);
            }
            None => {
                let message = format!("the hash of {name} has to be a single value");
                fields.problems.error_with_hint(&entry.value, message, "64 hexadecimal digits");
            }
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::model_source::HubSource;
    use crate::request::tree;
    use crate::request::valid::{Spec, validate};

    fn decoded(spec: &str) -> Result<Model, Vec<String>> {
        let text = format!("apiVersion: benchlet/v1\nkind: Model\nspec:\n{spec}");
        let stream = tree::parse(&text);
        match validate(stream.documents[0].root.as_ref().unwrap(), 0, "stem") {
            Ok(request) => match request.spec {
                Spec::Model(model) => Ok(model),
                other => panic!("another kind: {}", other.kind()),
            },
            Err(problems) => Err(problems.iter().map(|problem| problem.locate(&text).to_string()).collect()),
        }
    }

    #[test]
    fn one_file_of_a_hub_comes_with_hash_and_size() {
        let hash = "AB".repeat(32);
        let model =
            decoded(&format!("  source: hf://o/r@v1/m.gguf\n  sha256: sha256:{hash}\n  size: 42\n")).unwrap();
        let hub = HubSource { repo: "o/r".into(), revision: Some("v1".into()), file: Some("m.gguf".into()) };
        assert_eq!(model.source, Source::Hub(hub));
        assert_eq!((model.sha256, model.size), (Some("ab".repeat(32)), Some(42)));
    }

    #[test]
    fn a_snapshot_comes_with_patterns_and_a_hash_a_file() {
        let hash = "0".repeat(64);
        let spec = format!("  source: hf://o/r\n  include: ['*.json']\n  files: {{ a.json: '{hash}' }}\n");
        let model = decoded(&spec).unwrap();
        assert_eq!(model.include, ["*.json"]);
        assert_eq!(model.files["a.json"], hash);
    }

    #[test]
    fn what_does_not_fit_the_source_is_refused_with_what_would() {
        let hash = "0".repeat(64);
        let said = decoded(&format!("  source: hf://o/r\n  sha256: '{hash}'\n  size: 1\n")).unwrap_err();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].contains("5:11: spec.sha256 is the hash of one file"), "{said:?}");
        let said = decoded("  source: hf://o/r/f\n  include: ['*']\n  files: {}\n").unwrap_err();
        assert!(said[0].contains("spec.include is for a repository"), "{said:?}");
    }

    #[test]
    fn every_problem_is_told_at_its_place() {
        let said = decoded(
            "  sorce: x\n  source: hf:/o/r\n  sha256: abc\n  size: -1\n  files: { ../x: y }\n  report: {}\n",
        )
        .unwrap_err();
        for (place, words) in [
            ("4:3", "did you mean \"source\"?"),
            ("5:11", "hf://o/r"),
            ("6:11", "not 3 characters"),
            ("7:9", "bytes above zero"),
            ("8:12", "cannot be a file of a repository"),
            ("8:18", "no SHA-256"),
            ("9:3", "unknown field \"report\""),
        ] {
            let found = said.iter().any(|line| line.starts_with(place) && line.contains(words));
            assert!(found, "{place} {words}: {said:#?}");
        }
    }
}
