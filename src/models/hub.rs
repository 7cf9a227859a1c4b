//! What a hub says of a repository: which commit a revision is, which files it has, how large each is and
//! what its content hashes to.

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;
use url::Url;

use super::error::ModelError;
use super::http::{Follow, Http, Trouble, header, in_words, shown};
use super::patience::Patience;
use crate::plan::model_files::choose;
use crate::request::model::Model;
use crate::request::model_source::{HubSource, file_name_problem};

/// Largest list of a repository's files, in bytes.
const MOST_LISTING: usize = 32 << 20;
/// The revision where none is named.
pub const MAIN: &str = "main";

/// The files of a repository that are wanted, at one commit.
#[derive(Debug, PartialEq, Eq)]
pub struct Resolved {
    pub commit: String,
    pub files: Vec<HubFile>,
}

/// One file as its hub describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubFile {
    pub name: String,
    /// Its content's address at the commit.
    pub url: Url,
    /// The hub's name for the content.
    pub etag: String,
    /// Bytes.
    pub size: Option<u64>,
}

impl HubFile {
    /// The ETag of a large file is its SHA-256.
    pub fn sha256(&self) -> Option<&str> {
        is_hash(&self.etag, 64).then_some(self.etag.as_str())
    }

    /// That of a small one its hash as a Git blob.
    pub fn git_hash(&self) -> Option<&str> {
        is_hash(&self.etag, 40).then_some(self.etag.as_str())
    }
}

fn is_hash(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Asks for the files that a request takes.
///
/// # Errors
/// What the hub refuses, does not have, or says that no hub does.
pub async fn resolve(
    http: &Http,
    hub: &HubSource,
    model: &Model,
    patience: &Patience,
) -> Result<Resolved, ModelError> {
    let revision = hub.revision.as_deref().unwrap_or(MAIN);
    if let Some(name) = &hub.file {
        let (commit, file) = describe(http, &hub.repo, revision, name, patience).await?;
        return Ok(Resolved { commit, files: vec![file] });
    }
    let (commit, listed) = list(http, &hub.repo, revision, patience).await?;
    let names: Vec<&str> = listed.iter().map(|file| file.name.as_str()).collect();
    let mut files = Vec::new();
    for name in choose(model, &names).map_err(ModelError::Choice)? {
        let known = listed.iter().find(|file| file.name == name);
        files.push(match known.and_then(|file| file.known(http, &hub.repo, &commit)) {
            Some(file) => file,
            // A mirror whose list has names alone.
            None => describe(http, &hub.repo, &commit, name, patience).await?.1,
        });
    }
    Ok(Resolved { commit, files })
}

/// A file as a list has it.
#[derive(Debug)]
struct Listed {
    name: String,
    etag: Option<String>,
    size: Option<u64>,
}

impl Listed {
    fn known(&self, http: &Http, repo: &str, commit: &str) -> Option<HubFile> {
        let (etag, size) = (self.etag.clone()?, Some(self.size?));
        let url = address(http, &[repo, "resolve"], commit, &self.name);
        Some(HubFile { name: self.name.clone(), url, etag, size })
    }
}

async fn list(
    http: &Http,
    repo: &str,
    revision: &str,
    patience: &Patience,
) -> Result<(String, Vec<Listed>), ModelError> {
    let mut url = address(http, &["api", "models", repo, "revision"], revision, "");
    url.set_query(Some("blobs=true"));
    let what = shown(&url);
    let text = patience.with(&what, || read_whole(http, &url)).await?;
    let value: Value =
        serde_json::from_slice(&text).map_err(|_| odd(&what, "its list of files is no JSON"))?;
    read_list(&value, &what)
}

async fn read_whole(http: &Http, url: &Url) -> Result<Vec<u8>, Trouble> {
    let mut answer = http.ask(Method::GET, url, &HeaderMap::new(), Follow::Anywhere).await?;
    let mut text = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(piece)) => text.extend_from_slice(&piece),
            Ok(None) => return Ok(text),
            Err(error) => {
                return Err(Trouble::Passing { words: in_words(&error), wait: None, reached: true });
            }
        }
        if text.len() > MOST_LISTING {
            return Err(Trouble::Final(odd(&shown(url), "its list of files is endless")));
        }
    }
}

fn read_list(value: &Value, what: &str) -> Result<(String, Vec<Listed>), ModelError> {
    let commit = value["sha"].as_str().filter(|sha| is_commit(sha));
    let commit = commit.ok_or_else(|| odd(what, "its list of files names no commit"))?;
    let siblings = value["siblings"].as_array().ok_or_else(|| odd(what, "its list of files is none"))?;
    let files = siblings.iter().map(|entry| {
        let name = entry["rfilename"].as_str().unwrap_or_default();
        if let Some(problem) = file_name_problem(name) {
            return Err(odd(what, &format!("it lists the file \"{}\": {problem}", name.escape_debug())));
        }
        let large = &entry["lfs"];
        let etag = large["sha256"].as_str().or_else(|| entry["blobId"].as_str());
        Ok(Listed {
            name: name.to_owned(),
            etag: etag.map(str::to_owned),
            size: large["size"].as_u64().or_else(|| entry["size"].as_u64()),
        })
    });
    Ok((commit.to_owned(), files.collect::<Result<_, _>>()?))
}

/// One file by its own address, as the hub answers for it before it sends anybody elsewhere.
async fn describe(
    http: &Http,
    repo: &str,
    revision: &str,
    name: &str,
    patience: &Patience,
) -> Result<(String, HubFile), ModelError> {
    let url = address(http, &[repo, "resolve"], revision, name);
    let (what, none) = (shown(&url), HeaderMap::new());
    let answer = patience.with(&what, || http.ask(Method::HEAD, &url, &none, Follow::OwnHost)).await?;
    let commit = header(&answer, "x-repo-commit").filter(|commit| is_commit(commit));
    let commit = commit.ok_or_else(|| odd(&what, "the answer names no commit (X-Repo-Commit)"))?;
    let etag = header(&answer, "x-linked-etag").or_else(|| header(&answer, "etag"));
    let etag = etag.map(|etag| etag.trim_start_matches("W/").trim_matches('"').to_owned());
    let etag = etag.filter(|etag| !etag.is_empty()).ok_or_else(|| odd(&what, "the answer has no ETag"))?;
    let own = answer.status().is_success().then(|| header(&answer, "content-length")).flatten();
    let size = header(&answer, "x-linked-size").or(own).and_then(|size| size.parse().ok());
    let url = address(http, &[repo, "resolve"], &commit, name);
    Ok((commit, HubFile { name: name.to_owned(), url, etag, size }))
}

fn odd(what: &str, why: &str) -> ModelError {
    ModelError::Answer { what: what.to_owned(), why: why.to_owned() }
}

/// A commit becomes a folder's name.
fn is_commit(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The hub's address of something; a revision's slashes are its own, a file's divide folders.
fn address(http: &Http, before: &[&str], revision: &str, file: &str) -> Url {
    let mut url = http.access().endpoint().clone();
    url.set_query(None);
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty();
        path.extend(before.iter().flat_map(|part| part.split('/')));
        path.push(revision);
        path.extend(file.split('/').filter(|part| !part.is_empty()));
    }
    url
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::access::HubAccess;
    use super::*;

    fn http(endpoint: &str) -> Http {
        Http::new(
            HubAccess::from_environment(|name| (name == "HF_ENDPOINT").then(|| endpoint.to_owned())).unwrap(),
        )
        .unwrap()
    }

    #[test]
    fn addresses_are_those_of_the_hub_also_behind_a_mirrors_path() {
        let hub = http("https://hub.example");
        let file = address(&hub, &["o/r", "resolve"], "refs/pr/1", "a b/c.gguf");
        assert_eq!(file.as_str(), "https://hub.example/o/r/resolve/refs%2Fpr%2F1/a%20b/c.gguf");
        let list =
            address(&http("http://mirror:8080/hub/"), &["api", "models", "o/r", "revision"], "main", "");
        assert_eq!(list.as_str(), "http://mirror:8080/hub/api/models/o/r/revision/main");
    }

    #[test]
    fn a_list_gives_content_hashes_and_refuses_names_that_lead_elsewhere() {
        let sha = "1".repeat(40);
        let list = |name: &str| {
            json!({ "sha": sha, "siblings": [
                { "rfilename": name, "size": 5, "blobId": "b", "lfs": { "sha256": "c", "size": 7 } },
                { "rfilename": "config.json", "size": 5, "blobId": "b" },
                { "rfilename": "old" },
            ] })
        };
        let (commit, files) = read_list(&list("m.safetensors"), "hub").unwrap();
        assert_eq!(commit, sha);
        let seen: Vec<_> = files.iter().map(|file| (file.etag.as_deref(), file.size)).collect();
        assert_eq!(seen, [(Some("c"), Some(7)), (Some("b"), Some(5)), (None, None)]);
        for name in ["../x", "/etc/passwd", "a/../../b", "a\\b", ""] {
            assert!(read_list(&list(name), "hub").is_err(), "{name}");
        }
        assert!(read_list(&json!({ "sha": "../x", "siblings": [] }), "hub").is_err());
    }
}
