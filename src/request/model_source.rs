//! Where model files come from, as somebody writes it: `hf://owner/repo[@revision][/file]`, a URL, a
//! path. Parses and prints; reaches nothing.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::{Url, form_urlencoded};

use super::diagnostic::did_you_mean;

/// Where model files come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    Hub(HubSource),
    /// HTTP or HTTPS, without credentials in it.
    Url(String),
    /// A file that is there already; nothing is copied.
    Path(String),
}

/// A repository of a model hub, or one file of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubSource {
    /// `owner/name`.
    pub repo: String,
    /// Branch, tag or commit; the hub's main branch where it is left out.
    pub revision: Option<String>,
    pub file: Option<String>,
}

/// What is wrong with a source, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceError {
    pub message: String,
    pub hint: String,
    /// The text holds a secret: nothing that is shown or kept may quote it.
    pub secret: bool,
}

impl SourceError {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into(), secret: false }
    }

    fn secret(message: &str, hint: &str) -> Self {
        Self { secret: true, ..Self::new(message, hint) }
    }
}

const FORMS: &str = "hf://owner/repo/file, hf://owner/repo@revision, https://…, or a path";
/// Parameters that open a file to whoever has them, as object stores and sites call theirs.
const SECRETS: &[&str] = &[
    "sig",
    "x-sig",
    "policy",
    "key-pair-id",
    "awsaccesskeyid",
    "googleaccessid",
    "key",
    "apikey",
    "api_key",
    "api-key",
    "x-api-key",
    "access_key",
    "auth",
    "authorization",
    "bearer",
    "jwt",
    "code",
    "pwd",
    "hdnea",
    "hdnts",
    "__gda__",
];
/// What stands somewhere in the names of many more: `X-Amz-Signature`, `access_token`, `sharedSecret`.
const SECRET_WORDS: &[&str] = &["signature", "token", "credential", "secret", "passw", "hmac"];
const HUB: &str = "hf://";
/// The hub's own pages, which people copy from the browser.
const HUB_HOSTS: &[&str] = &["huggingface.co", "hf.co", "www.huggingface.co"];

impl Source {
    /// # Errors
    /// What is none, with a hint.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        if text.trim().is_empty() || text.contains(char::is_control) {
            return Err(SourceError::new("is empty or holds control characters", FORMS));
        }
        if holds_secret(text) {
            return Err(SourceError::secret(
                "has a signature or a token in its query, which would be kept wherever the request is",
                "name an address that needs none, or bring the file yourself and give its path",
            ));
        }
        if let Some(rest) = text.strip_prefix(HUB) {
            return hub(rest).map(Self::Hub);
        }
        if let Some(rest) = text.strip_prefix("hf:") {
            let hint = format!("write {HUB}{}", rest.trim_start_matches('/'));
            return Err(SourceError::new(format!("\"{text}\" names no hub"), hint));
        }
        match text.split_once("://") {
            None => Ok(Self::Path(text.to_owned())),
            Some(("http" | "https", _)) => web(text),
            Some((scheme, _)) => {
                let hint = did_you_mean(scheme, ["hf", "https", "http"]).unwrap_or_else(|| FORMS.to_owned());
                Err(SourceError::new(
                    format!("has the scheme {scheme}, and only hf, https and http are known"),
                    hint,
                ))
            }
        }
    }

    pub fn is_single_file(&self) -> bool {
        match self {
            Self::Hub(hub) => hub.file.is_some(),
            Self::Url(_) | Self::Path(_) => true,
        }
    }
}

impl fmt::Display for Source {
    /// As it was meant, without a query, which may be a signature.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hub(hub) => {
                write!(f, "{HUB}{}", hub.repo)?;
                if let Some(revision) = &hub.revision {
                    write!(f, "@{}", revision.replace('/', "%2F"))?;
                }
                hub.file.as_ref().map_or(Ok(()), |file| write!(f, "/{file}"))
            }
            Self::Url(url) => f.write_str(without_query(url)),
            Self::Path(path) => f.write_str(path),
        }
    }
}

/// A URL as it may be shown: a query can be a signature that opens a file to anybody.
pub fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}

/// Whether an address says something, behind its path, that has to stay with whoever knows it.
fn holds_secret(text: &str) -> bool {
    let Some((_, address)) = text.split_once("://") else { return false };
    let behind = address.split_once(['?', '#']).map_or("", |(_, behind)| behind);
    let parts = behind.split(['?', '#', ';']);
    parts.flat_map(|part| form_urlencoded::parse(part.as_bytes())).any(|(name, value)| {
        let name = name.to_ascii_lowercase();
        let named = SECRETS.contains(&name.as_str()) || SECRET_WORDS.iter().any(|word| name.contains(word));
        named && !value.is_empty()
    })
}

fn hub(rest: &str) -> Result<HubSource, SourceError> {
    let wrong = |what: String| SourceError::new(what, "hf://owner/repo[@revision][/file]");
    let (owner, rest) =
        rest.split_once('/').ok_or_else(|| wrong(format!("\"{HUB}{rest}\" names no repository")))?;
    let (named, file) = match rest.split_once('/') {
        Some((named, file)) => (named, Some(file)),
        None => (rest, None),
    };
    let (name, revision) = match named.split_once('@') {
        Some((name, revision)) => (name, Some(revision.replace("%2F", "/").replace("%2f", "/"))),
        None => (named, None),
    };
    for part in [owner, name] {
        let good = !part.is_empty()
            && part.len() <= 96
            && !part.starts_with(['.', '-'])
            && !part.contains("..")
            && !part.contains("--")
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        if !good {
            return Err(wrong(format!("has \"{part}\" where an owner or repository has its name")));
        }
    }
    if let Some(revision) = &revision
        && let Some(problem) = revision_problem(revision)
    {
        return Err(wrong(format!("has the revision \"{revision}\", which {problem}")));
    }
    let file = file.filter(|file| !file.is_empty());
    if let Some(problem) = file.and_then(file_name_problem) {
        return Err(wrong(format!("names a file that cannot be: {problem}")));
    }
    Ok(HubSource { repo: format!("{owner}/{name}"), revision, file: file.map(str::to_owned) })
}

fn revision_problem(revision: &str) -> Option<&'static str> {
    if revision.is_empty() {
        return Some("is empty");
    }
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '+');
    if revision.len() > 200 || !revision.chars().all(good) {
        return Some("has characters that no revision has");
    }
    file_name_problem(revision).map(|_| "leads elsewhere")
}

/// Why a name cannot be that of a file beneath a folder, as a repository or a server claims it.
pub fn file_name_problem(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("it is empty");
    }
    if name.len() > 1024 || name.contains(|c: char| c.is_control() || c == '\\') {
        return Some("it is too long or holds characters that no file has");
    }
    let bad = |part: &str| part.is_empty() || part == "." || part == "..";
    name.split('/').any(bad).then_some("it leads elsewhere")
}

fn web(text: &str) -> Result<Source, SourceError> {
    let url = Url::parse(text)
        .map_err(|error| SourceError::new(format!("is no URL: {error}"), "https://host/path/file.gguf"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(SourceError::secret(
            "has a user or password in its URL, which would be kept wherever the request is",
            "take it out; a hub's token comes from HF_TOKEN in the environment",
        ));
    }
    let file = url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default();
    if file.is_empty() {
        return Err(SourceError::new("names no file", "the URL has to end in the file's name"));
    }
    if url.host_str().is_some_and(|host| HUB_HOSTS.contains(&host)) {
        let parts: Vec<&str> = url.path().trim_matches('/').split('/').collect();
        if let [owner, repo, "blob" | "resolve" | "raw", revision, file @ ..] = parts.as_slice() {
            let at = if *revision == "main" { String::new() } else { format!("@{revision}") };
            let hint = format!("{HUB}{owner}/{repo}{at}/{}", file.join("/"));
            return Err(SourceError::new("is a page of the hub", hint));
        }
    }
    Ok(Source::Url(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_prints_as_it_was_written() {
        for text in [
            "hf://Qwen/Qwen2.5-3B-Instruct-GGUF/qwen2.5-3b-instruct-q4_k_m.gguf",
            "hf://o/r",
            "hf://o/r@refs%2Fpr%2F1",
            "hf://o/r@v1/a/b.json",
            "https://example.com/m.gguf",
            "/models/m.gguf",
            "models/m.gguf",
        ] {
            assert_eq!(Source::parse(text).unwrap().to_string(), text);
        }
        let asked = Source::parse("https://example.com/m.gguf?download=true&token=").unwrap();
        assert_eq!(asked.to_string(), "https://example.com/m.gguf");
    }

    #[test]
    fn an_address_that_opens_a_file_to_whoever_has_it_is_refused_without_being_quoted() {
        for query in [
            "X-Amz-Algorithm=AWS4&X-Amz-Credential=opens-it",
            "x-amz-signature=opens-it",
            "X-Goog-Signature=opens-it",
            "a=b&X-Sig=opens-it",
            "SIG=opens-it",
            "Policy=opens-it",
            "Key-Pair-Id=opens-it",
            "access_token=opens-it",
            "to%6ben=opens-it",
            "a=b;token=opens-it",
        ] {
            for text in [format!("https://e.com/m.gguf?{query}"), format!("htps://e.com/m.gguf#{query}")] {
                let error = Source::parse(&text).unwrap_err();
                assert!(error.secret && !format!("{error:?}").contains("opens-it"), "{text}: {error:?}");
            }
        }
        assert!(Source::parse("https://user:opens-it@example.com/m.gguf").unwrap_err().secret);
    }

    #[test]
    fn what_leads_out_of_the_cache_is_no_source() {
        for text in [
            "hf://../r/f",
            "hf://o/..",
            "hf://o/r/../x",
            "hf://o/r//x",
            "hf://o/r@../f",
            "hf://o/r@../../x",
            "hf://o/a--b",
            "hf://o/r/a\\b",
            "hf://o",
            "hf://",
            "hf://o/r@",
        ] {
            assert!(Source::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn near_misses_say_what_would_be_right() {
        for (text, hint) in [
            ("hf:o/r", "write hf://o/r"),
            ("htps://x/y", "did you mean \"https\"?"),
            ("ftp://x/y", FORMS),
            ("https://huggingface.co/o/r/blob/main/m.gguf", "hf://o/r/m.gguf"),
            ("https://huggingface.co/o/r/resolve/v2/a/m.gguf", "hf://o/r@v2/a/m.gguf"),
            ("https://user:word@example.com/m.gguf", "HF_TOKEN"),
            ("https://example.com/", "the file's name"),
        ] {
            let error = Source::parse(text).unwrap_err();
            assert!(error.hint.contains(hint), "{text}: {error:?}");
        }
    }
}
