//! Reads a chat template with its special tokens from where models keep one: a file of Jinja, a
//! `tokenizer_config.json`, or the metadata of a GGUF file. Parses no Jinja and looks into no other file
//! than the named one.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::gguf_chat::{self, GgufError};
use super::model_file::open_regular;
use crate::plan::chat_template::{Begin, MOST_SOURCE, TemplateSource};

/// Largest `tokenizer_config.json`, in bytes.
const MOST_CONFIG: u64 = 16 << 20;

#[derive(Debug, thiserror::Error)]
pub enum TemplateFileError {
    #[error("cannot read the chat template in {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} is not a regular file, so it holds no chat template")]
    NotRegular { path: PathBuf },
    #[error("{path} has {bytes} bytes; at most {most} are read of such a file")]
    TooLarge { path: PathBuf, bytes: u64, most: u64 },
    #[error("{path} is no text in UTF-8, so it is no chat template")]
    NotText { path: PathBuf },
    #[error("{path} is no tokenizer_config.json: {words}")]
    NotConfig { path: PathBuf, words: String },
    #[error("{path} is no GGUF file whose chat template can be read: {source}")]
    NotGguf { path: PathBuf, source: GgufError },
    #[error("{path} has no chat template; {hint}")]
    NoTemplate { path: PathBuf, hint: &'static str },
    #[error(
        "{path} has several chat templates and none of them is \"default\": {names}; put one into a .jinja file"
    )]
    Several { path: PathBuf, names: String },
}

/// Reads the template of a file: GGUF by its first bytes, JSON by its name, else Jinja. A template in a file
/// of its own comes without special tokens.
///
/// # Errors
/// What is wrong with the file; it says which.
pub fn read(path: &Path) -> Result<TemplateSource, TemplateFileError> {
    let failed = |source| TemplateFileError::Io { path: path.to_owned(), source };
    let file = open_regular(path)
        .map_err(failed)?
        .ok_or_else(|| TemplateFileError::NotRegular { path: path.to_owned() })?;
    let length = file.metadata().map_err(failed)?.len();
    if begins_as_gguf(&file).map_err(failed)? {
        return from_gguf(path, &file, length);
    }
    let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let most = if is_json { MOST_CONFIG } else { MOST_SOURCE as u64 };
    if length > most {
        return Err(TemplateFileError::TooLarge { path: path.to_owned(), bytes: length, most });
    }
    let mut bytes = Vec::new();
    // It may have grown since.
    (&file).take(most).read_to_end(&mut bytes).map_err(failed)?;
    if is_json {
        return from_config(path, &bytes);
    }
    let text = String::from_utf8(bytes).map_err(|_| TemplateFileError::NotText { path: path.to_owned() })?;
    if text.trim().is_empty() {
        return Err(TemplateFileError::NoTemplate { path: path.to_owned(), hint: "it is empty" });
    }
    Ok(TemplateSource::of(text))
}

fn begins_as_gguf(mut file: &File) -> io::Result<bool> {
    let mut magic = Vec::new();
    file.take(4).read_to_end(&mut magic)?;
    file.rewind()?;
    Ok(magic == b"GGUF")
}

fn from_gguf(path: &Path, file: &File, length: u64) -> Result<TemplateSource, TemplateFileError> {
    let found = gguf_chat::read(file, length, MOST_SOURCE as u64)
        .map_err(|source| TemplateFileError::NotGguf { path: path.to_owned(), source })?;
    let hint = "use a builtin one, or one in a file";
    let text = found.template.ok_or_else(|| TemplateFileError::NoTemplate { path: path.to_owned(), hint })?;
    Ok(TemplateSource {
        text,
        bos_token: found.bos_token,
        eos_token: found.eos_token,
        begin: begin(found.adds_bos),
    })
}

/// A tokenizer that does not say adds one, as most do that have one.
fn begin(adds_bos: Option<bool>) -> Begin {
    match adds_bos {
        Some(false) => Begin::Kept,
        Some(true) | None => Begin::ByServer,
    }
}

fn from_config(path: &Path, bytes: &[u8]) -> Result<TemplateSource, TemplateFileError> {
    let not_config =
        |words: &str| TemplateFileError::NotConfig { path: path.to_owned(), words: words.to_owned() };
    let config: Value = serde_json::from_slice(bytes).map_err(|error| not_config(&error.to_string()))?;
    if !config.is_object() {
        return Err(not_config("it is no JSON object"));
    }
    let text = match &config["chat_template"] {
        Value::String(text) => text.clone(),
        Value::Array(list) => one_of(path, list)?,
        Value::Null => {
            let hint = "newer models have it in chat_template.jinja beside it: name that file";
            return Err(TemplateFileError::NoTemplate { path: path.to_owned(), hint });
        }
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            return Err(not_config("its chat_template is neither a text nor a list of them"));
        }
    };
    Ok(TemplateSource {
        text,
        bos_token: token(&config["bos_token"]),
        eos_token: token(&config["eos_token"]),
        begin: begin(config["add_bos_token"].as_bool()),
    })
}

/// Of several, the one that is called `default`, or the only one.
fn one_of(path: &Path, list: &[Value]) -> Result<String, TemplateFileError> {
    let named = |one: &Value| Some((one["name"].as_str()?.to_owned(), one["template"].as_str()?.to_owned()));
    let all: Vec<(String, String)> = list.iter().filter_map(named).collect();
    if let Some((_, text)) = all.iter().find(|(name, _)| name == "default") {
        return Ok(text.clone());
    }
    match all.as_slice() {
        [] => {
            let hint = "its list of templates has none with a name";
            Err(TemplateFileError::NoTemplate { path: path.to_owned(), hint })
        }
        [(_, only)] => Ok(only.clone()),
        several => {
            let names: Vec<&str> = several.iter().map(|(name, _)| name.as_str()).collect();
            Err(TemplateFileError::Several { path: path.to_owned(), names: names.join(", ") })
        }
    }
}

/// A special token: its text, or an object that has it as `content`.
fn token(value: &Value) -> Option<String> {
    value.as_str().or_else(|| value["content"].as_str()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::gguf_chat::tests::{file as gguf, whole};
    use super::*;

    fn read_as(name: &str, bytes: impl AsRef<[u8]>) -> Result<TemplateSource, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        read(&path).map_err(|error| {
            let words = error.to_string();
            assert!(words.contains(&path.display().to_string()), "{words}");
            words.replace(&folder.path().display().to_string(), "")
        })
    }

    fn source(text: &str, bos: &str, eos: &str, begin: Begin) -> TemplateSource {
        let (bos_token, eos_token) = (Some(bos.to_owned()), Some(eos.to_owned()));
        TemplateSource { text: text.to_owned(), bos_token, eos_token, begin }
    }

    #[test]
    fn a_file_of_jinja_is_the_template() {
        assert_eq!(read_as("mine.jinja", "{{ messages }}\n"), Ok(TemplateSource::of("{{ messages }}\n")));
        assert_eq!(read_as("mine.txt", " \n"), Err("/mine.txt has no chat template; it is empty".to_owned()));
        assert!(read_as("mine.jinja", b"\xff\xfe").unwrap_err().contains("no text in UTF-8"));
        let large = read_as("mine.jinja", vec![b' '; MOST_SOURCE + 1]).unwrap_err();
        assert!(large.contains("at most 1048576"), "{large}");
    }

    #[test]
    fn a_tokenizer_config_has_template_and_tokens_in_either_form() {
        let plain = json!({ "chat_template": "{{ x }}", "bos_token": "<s>", "eos_token": "</s>" });
        let expected = source("{{ x }}", "<s>", "</s>", Begin::ByServer);
        assert_eq!(read_as("tokenizer_config.json", plain.to_string()), Ok(expected));
        let objects = json!({
            "add_bos_token": false,
            "bos_token": { "__type": "AddedToken", "content": "<b>" },
            "eos_token": { "content": "<e>" },
            "chat_template": [
                { "name": "tool_use", "template": "other" },
                { "name": "default", "template": "this" },
            ],
        });
        let expected = source("this", "<b>", "<e>", Begin::Kept);
        assert_eq!(read_as("tokenizer_config.json", objects.to_string()), Ok(expected));
        let null = json!({ "chat_template": [{ "name": "only", "template": "t" }], "bos_token": null });
        assert_eq!(read_as("tokenizer_config.json", null.to_string()), Ok(TemplateSource::of("t")));
    }

    #[test]
    fn a_config_without_a_usable_template_says_why() {
        let words = |config: &str| read_as("tokenizer_config.json", config).unwrap_err();
        assert!(words("{}").contains("chat_template.jinja beside it"));
        assert!(words(r#"{"chat_template":3}"#).contains("neither a text nor a list"));
        assert!(words(r#"{"chat_template":[3]}"#).contains("none with a name"));
        let two = r#"{"chat_template":[{"name":"a","template":""},{"name":"b","template":""}]}"#;
        assert!(words(two).contains("none of them is \"default\": a, b;"));
        assert!(words("[1]").contains("no JSON object"));
        assert!(words("{").contains("EOF"));
        assert!(words(&"[".repeat(100_000)).contains("recursion limit"));
    }

    #[test]
    fn a_gguf_file_is_known_by_its_bytes() {
        let expected = source("{{ messages }}", "<s>", "</s>", Begin::Kept);
        assert_eq!(read_as("model", whole("{{ messages }}")), Ok(expected));
        assert!(read_as("m.gguf", gguf(&[])).unwrap_err().contains("has no chat template; use a builtin"));
        let cut = read_as("m.gguf", &whole("t")[..100]).unwrap_err();
        assert_eq!(
            cut,
            "/m.gguf is no GGUF file whose chat template can be read: its metadata ends too early"
        );
    }

    #[test]
    fn what_is_no_regular_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe.jinja");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [folder.path(), &pipe] {
            let error = read(path).unwrap_err();
            assert!(matches!(error, TemplateFileError::NotRegular { .. }), "{error}");
        }
        let gone = read(&folder.path().join("gone")).unwrap_err();
        assert!(matches!(gone, TemplateFileError::Io { .. }), "{gone}");
    }
}
