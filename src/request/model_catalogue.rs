//! The catalogue of models to choose from by name: a YAML file, decoded like a request, with every problem
//! at its place.

use super::diagnostic::{Diagnostic, Place};
use super::fields::{Fields, Problems};
use super::model::{self, MOST_PATTERNS, Model};
use super::schema::{Field, Shape, field, required};
use super::tree::{self, Node};

/// A model by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogueEntry {
    pub name: String,
    pub model: Model,
    /// Tokens.
    pub context: Option<u32>,
    /// What it is good for, in words.
    pub purpose: String,
    pub is_default: bool,
}

const CATALOGUE: &[Field] = &[required("models", Shape::Any, "The models, in the order of their list.")];

const ENTRY: &[Field] = &[
    required("name", Shape::Text, "What it is called by."),
    required("source", Shape::Text, "Where it comes from."),
    field("sha256", Shape::Sha256, "Of the one file."),
    field("size", Shape::Bytes, "Of the one file, in bytes."),
    field("include", Shape::OneOrMore(&Shape::Text, MOST_PATTERNS), "Which files of a repository."),
    field("files", Shape::Hashes, "Hashes of files of a repository."),
    field("context", Shape::Integer { least: 1, most: u32::MAX }, "Tokens that it was made for."),
    field("for", Shape::Text, "What it is good for."),
    field("default", Shape::Boolean, "The one that is taken where none is named."),
];

/// # Errors
/// Every problem of the text, in order.
pub fn decode(text: &str) -> Result<Vec<CatalogueEntry>, Vec<Diagnostic>> {
    let stream = tree::parse(text);
    let root = match stream.documents.into_iter().next().map(|document| document.root) {
        Some(Ok(root)) => root,
        Some(Err(problem)) => return Err(vec![problem]),
        None => return Err(vec![Diagnostic::error(Place::whole_file(), "the catalogue is empty")]),
    };
    let problems = Problems::default();
    let entries = entries(&root, &problems).unwrap_or_default();
    if problems.has_errors() { Err(problems.into_sorted()) } else { Ok(entries) }
}

fn entries(root: &Node, problems: &Problems) -> Option<Vec<CatalogueEntry>> {
    let fields = Fields::new(root, "the catalogue", CATALOGUE, problems)?;
    fields.required("models")?;
    let mut found: Vec<CatalogueEntry> = Vec::new();
    for node in fields.list("models")? {
        let Some(entry) = entry(node, problems) else { continue };
        if found.iter().any(|known| known.name == entry.name) {
            problems.error(node, format!("the name {} is there twice", entry.name));
        }
        if entry.is_default && found.iter().any(|known| known.is_default) {
            problems.error_with_hint(node, "a second model is the default", "keep one of them");
        }
        found.push(entry);
    }
    Some(found)
}

fn entry(node: &Node, problems: &Problems) -> Option<CatalogueEntry> {
    let fields = Fields::new(node, "model", ENTRY, problems)?;
    fields.required("name");
    let (name, model) = (fields.text("name"), model::decode(&fields));
    Some(CatalogueEntry {
        name: name?,
        model: model?,
        context: fields.integer("context", 1, u32::MAX),
        purpose: fields.text("for").unwrap_or_default(),
        is_default: fields.boolean("default").unwrap_or(false),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::model_source::Source;

    #[test]
    fn the_catalogue_of_this_repository_can_be_used_and_has_one_default() {
        let entries = decode(include_str!("../../config/models.yaml")).unwrap();
        assert_eq!(entries.iter().filter(|entry| entry.is_default).count(), 1);
        for entry in &entries {
            assert!(entry.context.is_some() && !entry.purpose.is_empty(), "{}", entry.name);
            assert!(matches!(entry.model.source, Source::Hub(_)), "{}", entry.name);
        }
    }

    #[test]
    fn what_is_wrong_in_a_catalogue_is_told_at_its_place() {
        let text = "models:\n- { name: a, source: 'hf://o/r', default: true }\n- { name: a, source: ftp://x/y }\n\
                    - { name: b, source: 'hf://o/r/f', default: true }\n- { nam: c, source: 'hf://o/r' }\n";
        let said: Vec<String> =
            decode(text).unwrap_err().iter().map(|problem| problem.locate(text).to_string()).collect();
        for words in ["3:22: model.source has the scheme ftp", "a second model", "did you mean \"name\"?"] {
            assert!(said.iter().any(|line| line.contains(words)), "{words}: {said:#?}");
        }
        assert!(decode("models: 3\n").is_err() && decode("").is_err());
    }
}
