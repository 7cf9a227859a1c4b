//! The catalogue of models as the settings name it, else the one that is built in.

use super::error::CliError;
use crate::request::diagnostic::did_you_mean;
use crate::request::model::Model;
use crate::request::model_catalogue::{CatalogueEntry, decode};
use crate::request::model_source::{Source, SourceError};
use crate::settings::Settings;

const BUILT_IN: &str = include_str!("../../config/models.yaml");

/// # Errors
/// A file that cannot be read, or that is none.
pub fn load(settings: &Settings) -> Result<Vec<CatalogueEntry>, CliError> {
    let (text, shown) = match &settings.model_catalogue {
        None => (BUILT_IN.to_owned(), "the built-in catalogue".to_owned()),
        Some(path) => {
            let shown = path.display().to_string();
            let text = std::fs::read_to_string(path).map_err(|error| {
                CliError::usage(format!("the catalogue {shown} cannot be read: {error}"))
                    .hint("mend the setting model_catalogue, or take it out for the built-in one")
            })?;
            (text, shown)
        }
    };
    decode(&text).map_err(|problems| {
        let first = problems.first().map(|problem| problem.locate(&text).to_string()).unwrap_or_default();
        CliError::usage(format!("{shown} has problems: {first}"))
    })
}

/// What is meant by a name of the catalogue or by a source.
///
/// # Errors
/// Neither of them, with what may have been meant.
pub fn find(catalogue: &[CatalogueEntry], text: &str) -> Result<Model, CliError> {
    if let Some(entry) = catalogue.iter().find(|entry| entry.name == text) {
        return Ok(entry.model.clone());
    }
    if !text.contains([':', '/']) {
        let names = catalogue.iter().map(|entry| entry.name.as_str());
        return Err(CliError::not_found(format!("the catalogue has no model {text}"))
            .hint("`benchlet model-files list` shows it; a source is written hf://owner/repo/file")
            .maybe_hint(did_you_mean(text, names)));
    }
    let source = Source::parse(text).map_err(|SourceError { message, hint, secret }| {
        let named = if secret { String::new() } else { format!(" {text}") };
        CliError::usage(format!("the source{named} {message}")).hint(hint)
    })?;
    match &source {
        Source::Hub(_) | Source::Url(_) => Ok(Model::of(source)),
        Source::Path(path) => Err(CliError::usage(format!("{path} is a path, which nothing is pulled from"))
            .hint(
                "a request of kind Model checks a file that is there; a hub is written hf://owner/repo/file",
            )),
    }
}
