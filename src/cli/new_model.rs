//! `benchlet new Model`: model files that have to be there, as a request on standard output.

use clap::Args;

use super::error::CliError;
use super::model_catalogue;
use super::new::quoted;
use super::new_load_test::listed;
use crate::request::model::{self, Model};
use crate::request::schema::API_VERSION;
use crate::settings::Settings;

#[derive(Debug, Args)]
pub struct NewModel {
    /// A name of the catalogue, or a source: hf://owner/repo/file, hf://owner/repo[@revision], https://…
    #[arg(long, value_name = "NAME|SOURCE")]
    pub source: String,
    /// Which files of a repository, as '*.safetensors'; may be repeated
    #[arg(long, value_name = "PATTERN", value_parser = model::pattern)]
    pub include: Vec<String>,
    /// SHA-256 that the one file has to have
    #[arg(long, value_name = "HASH", value_parser = model::sha256)]
    pub sha256: Option<String>,
    /// The request's name [default: the catalogue's, or that of the file or repository]
    #[arg(long)]
    pub name: Option<String>,
}

/// # Errors
/// Neither a name of the catalogue nor a source.
pub fn text(new: &NewModel, settings: &Settings) -> Result<String, CliError> {
    let found = model_catalogue::find(&model_catalogue::load(settings)?, &new.source)?;
    let model = Model {
        include: if new.include.is_empty() { found.include.clone() } else { new.include.clone() },
        sha256: new.sha256.clone().or_else(|| found.sha256.clone()),
        ..found
    };
    let name = new.name.clone().unwrap_or_else(|| usual_name(&new.source));
    let mut text = format!(
        "\
# Model files that have to be there, whole. Saved below the watched directory, they are downloaded at once, but
# never while anything measures. Status and progress come beside it, in a file of the same name that ends in
# .status.yaml.
apiVersion: {API_VERSION}
kind: Model
metadata:
  name: {}
spec:
  source: {}
",
        quoted(&name),
        quoted(&model.source.to_string())
    );
    if !model.include.is_empty() {
        text.push_str(&format!("  include: {}\n", listed(&model.include)));
    }
    match &model.sha256 {
        Some(sha256) => text.push_str(&format!("  sha256: {}\n", quoted(sha256))),
        None if model.source.is_single_file() => {
            text.push_str("  # sha256: …           # a hub's own hash is checked anyway\n");
        }
        None => {}
    }
    for (file, sha256) in &model.files {
        if file == model.files.keys().next().unwrap_or(file) {
            text.push_str("  files:\n");
        }
        text.push_str(&format!("    {}: {}\n", quoted(file), quoted(sha256)));
    }
    text.push_str("  # Longest time to download and check, waiting for others apart.\n  timeout: 24h\n");
    Ok(text)
}

/// The last part of a source without its revision and its ending, as a request may be called.
fn usual_name(source: &str) -> String {
    let last = source.trim_end_matches('/').rsplit('/').next().unwrap_or(source);
    let bare = last.split('@').next().unwrap_or(last);
    let bare = bare.strip_suffix(".gguf").unwrap_or(bare);
    bare.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c), "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_called_as_its_file_or_repository() {
        for (source, name) in [
            ("hf://Qwen/Qwen2.5-3B-GGUF/qwen2.5-3b-q4_k_m.gguf", "qwen2.5-3b-q4_k_m"),
            ("hf://Qwen/Qwen2.5-3B@v1", "qwen2.5-3b"),
            ("https://example.com/My%20Model.gguf", "my-20model"),
            ("qwen2.5-3b", "qwen2.5-3b"),
        ] {
            assert_eq!(usual_name(source), name, "{source}");
        }
    }
}
