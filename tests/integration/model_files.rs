//! `benchlet model-files` against servers that break off, lie about sizes, refuse, redirect and ignore what
//! they are asked, through the real binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::file_server::{FileServer, Repository, content, sha256};
use crate::scripted_server::Gate;

const FILE: &str = "hf://owner/repo/m.gguf";

/// An empty cache and benchlet with it.
struct Place {
    home: tempfile::TempDir,
    endpoint: String,
    token: Option<&'static str>,
}

impl Place {
    fn with(hub: &FileServer) -> Self {
        Self { home: tempfile::tempdir().unwrap(), endpoint: hub.url(), token: None }
    }

    fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_benchlet"));
        command.args(line).current_dir(self.home.path()).stdin(Stdio::null());
        alone(&mut command);
        command.env("HF_ENDPOINT", &self.endpoint).env("HOME", self.home.path());
        command.env("BENCHLET_MODELS", self.cache()).env("BENCHLET_DOWNLOAD_TRIES", "3");
        command.envs(self.token.map(|token| ("HF_TOKEN", token)));
        command
    }

    fn say(&self, line: &[&str]) -> Said {
        Said::of(self.command(line).output().unwrap())
    }

    fn pull(&self, line: &[&str]) -> Said {
        self.say(&[&["model-files", "pull"], line].concat())
    }

    fn cache(&self) -> PathBuf {
        self.home.path().join("cache")
    }

    fn repository(&self) -> PathBuf {
        self.cache().join("models--owner--repo")
    }

    /// What is in the folder of contents.
    fn blobs(&self) -> Vec<String> {
        names(&self.repository().join("blobs"))
    }
}

/// Without what the environment of the tests says of hubs and proxies.
fn alone(command: &mut Command) {
    for name in ["http_proxy", "https_proxy", "all_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    for name in
        ["HF_ENDPOINT", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HOME", "XDG_CACHE_HOME"]
    {
        command.env_remove(name);
    }
}

#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    fn fails(&self, code: i32, reason: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.err.contains(&format!("({reason})")), "{self:?}");
    }
}

fn names(folder: &Path) -> Vec<String> {
    let list = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut list: Vec<String> = list.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    list.sort();
    list
}

fn one_file() -> (Vec<u8>, Repository) {
    let whole = content(300_000, 1);
    (whole.clone(), Repository::new(&[("m.gguf", whole)]))
}

#[test]
fn a_file_of_a_hub_comes_in_the_layout_of_the_hubs_tools_and_only_once() {
    let (whole, repository) = one_file();
    let commit = repository.commit.clone();
    let hub = repository.serve();
    let place = Place::with(&hub);
    let said = place.pull(&[FILE]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains(&sha256(&whole)), "{said:?}");
    assert!(said.err.contains("downloading m.gguf: 0 B of 300.0 kB\n"), "{said:?}");
    let link = place.repository().join("snapshots").join(&commit).join("m.gguf");
    assert_eq!(std::fs::read_link(&link).unwrap(), Path::new("../../blobs").join(sha256(&whole)));
    assert_eq!(std::fs::read(&link).unwrap(), whole);
    assert_eq!(std::fs::read_to_string(place.repository().join("refs/main")).unwrap(), commit);
    assert_eq!(place.blobs(), [sha256(&whole)]);
    assert_eq!(place.pull(&[FILE]).code, 0);
    assert_eq!(hub.contents().len(), 1, "the second time nothing is downloaded");
    let listed: Value = serde_json::from_str(&place.say(&["model-files", "list", "-o", "json"]).out).unwrap();
    assert_eq!(listed["cached"][0]["name"], FILE);
    assert_eq!(
        (&listed["cached"][0]["whole"], &listed["cached"][0]["bytes"]),
        (&true.into(), &300_000.into())
    );
}

#[test]
fn what_was_broken_off_is_gone_on_with_from_where_it_was() {
    let (whole, repository) = one_file();
    let hub = FileServer::new(move |asked, answer| match repository.named(asked) {
        Some((_, content)) if asked.method == "GET" && asked.from() != Some(200_000) => {
            answer.file_until(asked, content, 100_000);
        }
        Some(_) | None => repository.answer(asked, answer),
    });
    let place = Place::with(&hub);
    let said = place.pull(&[FILE]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(place.blobs(), [sha256(&whole)]);
    let asked = hub.contents();
    assert_eq!(
        asked.iter().map(|asked| asked.from()).collect::<Vec<_>>(),
        [None, Some(100_000), Some(200_000)]
    );
    assert!(asked[1].header("if-range").is_some_and(|etag| etag.starts_with('"')), "{asked:?}");
}

#[test]
fn a_server_that_ignores_ranges_is_read_from_the_beginning() {
    let (whole, repository) = one_file();
    let hub = FileServer::new(move |asked, answer| match repository.named(asked) {
        Some((_, content)) if asked.method == "GET" => {
            let length = content.len().to_string();
            let until = if asked.from().is_some() { content.len() } else { 1_000 };
            answer.send("200 OK", &[("Content-Length", &length)], &content[..until]);
        }
        Some(_) | None => repository.answer(asked, answer),
    });
    let place = Place::with(&hub);
    let said = place.pull(&[FILE]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(place.blobs(), [sha256(&whole)]);
}

#[test]
fn a_server_that_breaks_off_again_and_again_fails_and_what_came_is_kept() {
    let (whole, repository) = one_file();
    let mended = Arc::new(AtomicUsize::new(0));
    let is_mended = Arc::clone(&mended);
    let hub = FileServer::new(move |asked, answer| match repository.named(asked) {
        Some((_, content)) if asked.method == "GET" && is_mended.load(Ordering::SeqCst) == 0 => {
            answer.file_until(asked, content, 10_000);
        }
        Some(_) | None => repository.answer(asked, answer),
    });
    let place = Place::with(&hub);
    let said = place.pull(&[FILE]);
    said.fails(1, "DownloadBroken");
    assert!(said.err.contains("3 times"), "{said:?}");
    assert!(place.blobs().contains(&format!("{}.incomplete", sha256(&whole))), "{:?}", place.blobs());
    assert!(!place.repository().join("snapshots").exists());
    let listed = place.say(&["model-files", "list"]).out;
    assert!(listed.contains("partial") && listed.contains("30.0 kB"), "{listed}");
    mended.store(1, Ordering::SeqCst);
    assert_eq!(place.pull(&[FILE]).code, 0);
    assert_eq!(hub.contents().last().unwrap().from(), Some(30_000), "another process goes on");
    assert_eq!(place.blobs(), [sha256(&whole)]);
}

#[test]
fn a_size_that_is_not_what_the_hub_said_leaves_nothing() {
    let (_, repository) = one_file();
    for lie in ["299999", "300001"] {
        let repository = repository.clone();
        let hub = FileServer::new(move |asked, answer| match repository.named(asked) {
            Some((_, content)) if asked.method == "GET" => {
                answer.send("200 OK", &[("Content-Length", lie)], content);
            }
            Some(_) | None => repository.answer(asked, answer),
        });
        let place = Place::with(&hub);
        let said = place.pull(&[FILE]);
        said.fails(1, "SizeDiffers");
        assert!(said.err.contains(lie) && said.err.contains("300000"), "{said:?}");
        assert!(!place.repository().join("snapshots").exists());
    }
}

#[test]
fn more_than_was_announced_is_not_taken() {
    let (whole, repository) = one_file();
    let hub = FileServer::new(move |asked, answer| match repository.named(asked) {
        Some((_, content)) if asked.method == "GET" => {
            // No length, and no end of it.
            answer.send("200 OK", &[("Transfer-Encoding", "chunked")], b"");
            for piece in content.chunks(50_000).cycle().take(100) {
                answer.more(format!("{:x}\r\n", piece.len()).as_bytes());
                answer.more(piece);
                answer.more(b"\r\n");
            }
        }
        Some(_) | None => repository.answer(asked, answer),
    });
    let place = Place::with(&hub);
    let said = place.pull(&[FILE]);
    said.fails(1, "SizeDiffers");
    assert!(said.err.contains("300000 were expected"), "{said:?}");
    assert!(!place.blobs().contains(&sha256(&whole)));
}

#[test]
fn content_with_another_hash_leaves_neither_a_whole_file_nor_a_part_of_it() {
    let (_, repository) = one_file();
    let hub = FileServer::new(move |asked, answer| match repository.named(asked) {
        Some((_, whole)) if asked.method == "GET" => answer.file(asked, &content(whole.len(), 2)),
        Some(_) | None => repository.answer(asked, answer),
    });
    let place = Place::with(&hub);
    let said = place.pull(&[FILE]);
    said.fails(1, "HashDiffers");
    assert_eq!(place.blobs(), [""; 0]);
    assert!(!place.repository().join("snapshots").exists());
}

#[test]
fn a_hash_that_the_hub_does_not_have_is_told_before_a_byte_is_asked_for() {
    let (_, repository) = one_file();
    let hub = repository.serve();
    let place = Place::with(&hub);
    place.pull(&[FILE, "--sha256", &"1".repeat(64)]).fails(1, "HashDiffers");
    assert_eq!(hub.contents().len(), 0);
}

#[test]
fn parts_of_another_version_are_thrown_away_and_the_file_comes_whole() {
    let (whole, repository) = one_file();
    let hub = repository.serve();
    let place = Place::with(&hub);
    let blobs = place.repository().join("blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    std::fs::write(blobs.join(format!("{}.incomplete", sha256(&whole))), content(1_000, 9)).unwrap();
    let said = place.pull(&[FILE]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(place.blobs(), [sha256(&whole)]);
    assert_eq!(hub.contents().iter().map(|asked| asked.from()).collect::<Vec<_>>(), [Some(1_000), None]);
}

#[test]
fn what_is_not_there_and_what_is_not_open_say_so() {
    let (_, repository) = one_file();
    let hub = repository.serve();
    let place = Place::with(&hub);
    place.pull(&["hf://owner/repo/none.gguf"]).fails(4, "ModelNotFound");
    for (status, token, words) in [
        ("401 Unauthorized", None, "set HF_TOKEN"),
        ("403 Forbidden", Some("word"), "the HF_TOKEN of benchlet's environment does not open it"),
    ] {
        let hub = FileServer::new(move |_, answer| answer.status(status));
        let place = Place { token, ..Place::with(&hub) };
        let said = place.pull(&[FILE]);
        said.fails(2, "NoAccess");
        assert!(said.err.contains(words), "{said:?}");
    }
}

#[test]
fn a_server_that_is_not_ready_is_asked_again() {
    let (whole, repository) = one_file();
    let asked_before = AtomicUsize::new(0);
    let hub = FileServer::new(move |asked, answer| {
        // Once for what it says of the file, once for its content.
        if asked_before.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
            answer.send("503 Service Unavailable", &[("Retry-After", "0"), ("Content-Length", "0")], b"");
        } else {
            repository.answer(asked, answer);
        }
    });
    let place = Place::with(&hub);
    let said = place.pull(&[FILE]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!((place.blobs(), hub.seen().len()), (vec![sha256(&whole)], 4));
}

#[test]
fn a_host_that_takes_no_connection_is_told_as_that() {
    let hub = FileServer::new(|_, _| {});
    let place = Place::with(&hub);
    drop(hub);
    let said = place.pull(&[FILE]);
    said.fails(2, "NetworkUnreachable");
    assert!(said.err.contains("HF_ENDPOINT"), "{said:?}");
}

#[test]
fn a_range_beyond_the_end_means_that_all_is_there_or_that_it_begins_anew() {
    let whole = content(50_000, 3);
    for (there, ranges) in
        [(whole.clone(), vec![Some(50_000)]), (content(60_000, 4), vec![Some(60_000), None])]
    {
        let served = whole.clone();
        let server = FileServer::new(move |asked, answer| answer.file(asked, &served));
        let place = Place::with(&server);
        let url = format!("{}/m.gguf", server.url());
        let folder = place.cache().join("downloads").join(&sha256(url.as_bytes())[..16]);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("m.gguf.incomplete"), &there).unwrap();
        let said = place.pull(&[&url, "--sha256", &sha256(&whole)]);
        assert_eq!(said.code, 0, "{said:?}");
        assert_eq!(std::fs::read(folder.join("m.gguf")).unwrap(), whole);
        assert_eq!(server.contents().iter().map(|asked| asked.from()).collect::<Vec<_>>(), ranges);
        assert_eq!(names(&folder), [".m.gguf.lock", "m.gguf"]);
    }
}

#[test]
fn another_version_on_the_server_begins_anew_and_is_not_put_behind_the_old_parts() {
    let (old, new) = (content(50_000, 20), content(50_000, 21));
    let versions = Arc::new(AtomicUsize::new(0));
    let version = Arc::clone(&versions);
    let (first, second) = (old, new.clone());
    let server = FileServer::new(move |asked, answer| match version.load(Ordering::SeqCst) {
        0 => answer.file_until(asked, &first, 10_000),
        _ => answer.file(asked, &second),
    });
    let place = Place::with(&server);
    let url = format!("{}/m.gguf", server.url());
    place.pull(&[&url]).fails(1, "DownloadBroken");
    versions.store(1, Ordering::SeqCst);
    assert_eq!(place.pull(&[&url]).code, 0);
    let folder = place.cache().join("downloads").join(&sha256(url.as_bytes())[..16]);
    assert_eq!(std::fs::read(folder.join("m.gguf")).unwrap(), new);
    assert_eq!(
        server.contents().last().unwrap().from(),
        Some(30_000),
        "the range was asked for, if it is the same"
    );
}

#[test]
fn the_token_goes_to_the_hub_and_not_to_where_it_redirects() {
    let (whole, repository) = one_file();
    let elsewhere = {
        let repository = repository.clone();
        FileServer::new(move |asked, answer| answer.file(asked, &repository.files["m.gguf"]))
    };
    let cdn = format!("{}/cdn/m.gguf?signature=opens-it", elsewhere.url());
    let hub = FileServer::new(move |asked, answer| {
        if let Some(rest) = asked.path.strip_prefix("/old/name/") {
            // A repository that was renamed: the same host.
            answer.redirect(&format!("/owner/repo/{rest}"));
        } else if asked.method == "GET" {
            answer.redirect(&cdn);
        } else {
            repository.answer(asked, answer);
        }
    });
    let place = Place { token: Some("secret-word"), ..Place::with(&hub) };
    let said = place.pull(&["hf://old/name/m.gguf"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(hub.seen().iter().all(|asked| asked.header("authorization") == Some("Bearer secret-word")));
    assert_eq!(hub.seen().len(), 4, "both renamed first: {:?}", hub.seen());
    let asked = elsewhere.seen();
    assert!(
        !asked.is_empty() && asked.iter().all(|asked| asked.header("authorization").is_none()),
        "{asked:?}"
    );
    assert!(
        !format!("{said:?}").contains("secret-word") && !format!("{said:?}").contains("opens-it"),
        "{said:?}"
    );
    assert!(place.cache().join("models--old--name/blobs").join(sha256(&whole)).exists());
}

#[test]
fn redirects_in_a_circle_or_away_from_http_are_refused() {
    for to in ["/m.gguf", "ftp://127.0.0.1/m.gguf", "file:///etc/passwd"] {
        let server = FileServer::new(move |_, answer| answer.redirect(to));
        let place = Place::with(&server);
        place.pull(&[&format!("{}/m.gguf", server.url())]).fails(1, "RedirectRefused");
        assert!(server.seen().len() <= 11, "{}", server.seen().len());
    }
}

#[test]
fn a_snapshot_comes_with_the_files_that_the_patterns_take() {
    let files = [
        ("config.json", b"{}".to_vec()),
        ("model-00001-of-00002.safetensors", content(40_000, 5)),
        ("model-00002-of-00002.safetensors", content(20_000, 6)),
        ("original/weights.pth", content(10, 7)),
        ("sub/tokenizer.json", b"[]".to_vec()),
    ];
    let repository = Repository::new(&files);
    let commit = repository.commit.clone();
    let hub = repository.serve();
    let place = Place::with(&hub);
    let said = place.pull(&[
        "hf://owner/repo@v1",
        "--include",
        "*.safetensors",
        "--include",
        "*.json",
        "-o",
        "json",
    ]);
    assert_eq!(said.code, 0, "{said:?}");
    let brought: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(brought[0]["commit"], commit.as_str());
    let snapshot = place.repository().join("snapshots").join(&commit);
    for (name, content) in files.iter().filter(|(name, _)| !name.ends_with(".pth")) {
        assert_eq!(std::fs::read(snapshot.join(name)).unwrap(), *content, "{name}");
        let listed =
            brought[0]["files"].as_array().unwrap().iter().find(|file| file["name"] == *name).unwrap();
        assert_eq!(listed["sha256"], sha256(content).as_str(), "{name}");
    }
    assert!(!snapshot.join("original").exists());
    assert_eq!(std::fs::read_to_string(place.repository().join("refs/v1")).unwrap(), commit);
    place.pull(&["hf://owner/repo", "--include", "*.bin"]).fails(4, "ModelNotFound");
}

#[test]
fn a_list_that_names_files_elsewhere_brings_nothing() {
    let hub = Repository::new(&[("../../../escaped", b"x".to_vec())]).serve();
    let place = Place::with(&hub);
    place.pull(&["hf://owner/repo"]).fails(1, "DownloadRefused");
    assert_eq!(names(place.home.path()), [""; 0]);
}

#[test]
fn what_does_not_fit_on_the_disk_is_refused_before_it_comes() {
    let (_, repository) = one_file();
    let hub = FileServer::new(move |asked, answer| {
        let (etag, size) = (format!("\"{}\"", "1".repeat(64)), (1_u64 << 60).to_string());
        let headers =
            [("X-Repo-Commit", repository.commit.as_str()), ("ETag", &etag), ("X-Linked-Size", &size)];
        assert_eq!(asked.method, "HEAD");
        answer.send("200 OK", &headers, b"");
    });
    let place = Place::with(&hub);
    let said = place.pull(&[FILE]);
    said.fails(2, "DiskSpaceShort");
    assert!(said.err.contains("are missing in") && said.err.contains("1152921.5 TB to come"), "{said:?}");
    assert_eq!(hub.contents().len(), 0);
}

#[test]
fn two_processes_download_a_file_once() {
    let (whole, repository) = one_file();
    let gate = Gate::default();
    let opened = gate.clone();
    let hub = FileServer::new(move |asked, answer| {
        if asked.is_content() {
            opened.wait();
        }
        repository.answer(asked, answer);
    });
    let place = Place::with(&hub);
    let spawn = || {
        let mut command = place.command(&["model-files", "pull", FILE]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let first = spawn();
    hub.until("the first one downloads", |seen| seen.iter().any(|asked| asked.is_content()));
    let second = spawn();
    hub.until("the second one knows of the file", |seen| {
        seen.iter().filter(|asked| asked.method == "HEAD").count() == 2
    });
    gate.open();
    for child in [first, second] {
        let said = Said::of(child.wait_with_output().unwrap());
        assert_eq!(said.code, 0, "{said:?}");
    }
    assert_eq!((hub.contents().len(), place.blobs()), (1, vec![sha256(&whole)]));
}

#[test]
fn a_page_or_nothing_in_the_place_of_a_model_is_refused_and_leaves_nothing() {
    for (body, words) in [
        (&b"<!DOCTYPE html><title>Log in</title>"[..], "no GGUF file: it begins with \"<!DOCTYPE html>"),
        (&b""[..], "came without a single byte"),
    ] {
        let server = FileServer::new(move |_, answer| {
            answer.send("200 OK", &[("Content-Length", &body.len().to_string())], body);
        });
        let place = Place::with(&server);
        let said = place.pull(&[&format!("{}/m.gguf", server.url())]);
        said.fails(1, "NoModelFile");
        assert!(said.err.contains(words), "{said:?}");
        assert_eq!(names(&place.cache().join("downloads")), Vec::<String>::new());
    }
    // One that an earlier version took for a model is brought anew.
    let whole = content(5_000, 12);
    let served = whole.clone();
    let server = FileServer::new(move |asked, answer| answer.file(asked, &served));
    let place = Place::with(&server);
    let url = format!("{}/m.gguf", server.url());
    let folder = place.cache().join("downloads").join(&sha256(url.as_bytes())[..16]);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("m.gguf"), "<html>").unwrap();
    assert_eq!(place.pull(&[&url]).code, 0);
    assert_eq!(std::fs::read(folder.join("m.gguf")).unwrap(), whole);
}

#[test]
fn a_server_that_is_no_hub_is_nobody_to_have_a_token_for_and_a_refusal_leaves_nothing() {
    let hub = FileServer::new(|_, answer| answer.status("404 Not Found"));
    let server = FileServer::new(|_, answer| answer.status("403 Forbidden"));
    let place = Place::with(&hub);
    let said = place.pull(&[&format!("{}/m.gguf", server.url())]);
    said.fails(2, "NoAccess");
    assert!(!said.err.contains("HF_TOKEN"), "{said:?}");
    assert_eq!(names(&place.cache().join("downloads")), Vec::<String>::new());
    let said = place.pull(&[FILE]);
    said.fails(4, "ModelNotFound");
    assert!(said.err.contains("HF_TOKEN"), "{said:?}");
}

#[test]
fn a_url_without_a_size_wants_one_and_a_small_files_git_hash_is_checked() {
    let server = FileServer::new(|_, answer| answer.send("200 OK", &[], b"all of it"));
    let place = Place::with(&server);
    place.pull(&[&format!("{}/m.gguf", server.url())]).fails(1, "SizeUnknown");
    // A small file has its hash as a Git blob for an ETag: `git hash-object` of "hello\n".
    let serve = |body: &'static [u8]| {
        FileServer::new(move |_, answer| {
            let etag = "\"ce013625030ba8dba906f756967f9e9ca394464a\"";
            let headers = [("X-Repo-Commit", "abc"), ("ETag", etag), ("Content-Length", "6")];
            answer.send("200 OK", &headers, body);
        })
    };
    let good = serve(b"hello\n");
    let place = Place::with(&good);
    assert_eq!(place.pull(&["hf://owner/repo/config.json"]).code, 0);
    // Zeros of the same size, as a crash may leave them, are not what was asked for.
    let blob = place.repository().join("blobs/ce013625030ba8dba906f756967f9e9ca394464a");
    std::fs::write(&blob, [0; 6]).unwrap();
    assert_eq!(place.pull(&["hf://owner/repo/config.json"]).code, 0);
    assert_eq!(std::fs::read(&blob).unwrap(), b"hello\n");
    let bad = serve(b"hallo\n");
    Place::with(&bad).pull(&["hf://owner/repo/config.json"]).fails(1, "HashDiffers");
}

#[test]
fn the_catalogue_lists_names_and_the_default_is_pulled_by_its_flag() {
    let (whole, repository) = one_file();
    let hub = repository.serve();
    let place = Place::with(&hub);
    let file = place.home.path().join("mine.yaml");
    let text = "models:\n- { name: tiny, source: 'hf://owner/repo/m.gguf', context: 512, for: tests, default: true }\n";
    std::fs::write(&file, text).unwrap();
    let say = |line: &[&str]| {
        Said::of(place.command(line).env("BENCHLET_MODEL_CATALOGUE", &file).output().unwrap())
    };
    assert!(say(&["model-files", "list"]).out.contains("absent"));
    let said = say(&["model-files", "pull", "--default"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(place.blobs(), [sha256(&whole)]);
    let listed: Value = serde_json::from_str(&say(&["model-files", "list", "-o", "json"]).out).unwrap();
    assert_eq!(listed["catalogue"][0]["state"], "whole");
    let unknown = say(&["model-files", "pull", "tinny"]);
    assert_eq!(unknown.code, 4, "{unknown:?}");
    assert!(unknown.err.contains("did you mean \"tiny\"?"), "{unknown:?}");
    let built_in = place.say(&["model-files", "list"]).out;
    assert!(built_in.contains("qwen2.5-0.5b (default)"), "{built_in}");
}

#[test]
fn the_list_says_whole_only_of_what_was_brought_as_it_is_asked_for() {
    let files = [("config.json", b"{}".to_vec()), ("m.safetensors", content(1_000, 3)), ("m.bin", vec![1])];
    let hub = Repository::new(&files).serve();
    let server = FileServer::new(|asked, answer| answer.file(asked, b"GGUF of it"));
    let place = Place::with(&hub);
    let file = place.home.path().join("mine.yaml");
    let text = format!(
        "models:\n- {{ name: repo, source: 'hf://owner/repo', include: ['*.json', '*.safetensors'] }}\n\
         - {{ name: commit, source: 'hf://owner/repo@{}' }}\n\
         - {{ name: one, source: 'hf://owner/repo/config.json' }}\n\
         - {{ name: tag, source: 'hf://owner/repo@v1/config.json' }}\n\
         - {{ name: url, source: '{}/u.gguf' }}\n",
        Repository::new(&[]).commit,
        server.url()
    );
    std::fs::write(&file, text).unwrap();
    let say = |line: &[&str]| {
        Said::of(place.command(line).env("BENCHLET_MODEL_CATALOGUE", &file).output().unwrap())
    };
    let states = || {
        let listed: Value = serde_json::from_str(&say(&["model-files", "list", "-o", "json"]).out).unwrap();
        let entries = listed["catalogue"].as_array().unwrap().iter();
        entries.map(|entry| entry["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for (pulled, expected) in [
        ("one", ["partial", "partial", "whole", "absent", "absent"]),
        ("url", ["partial", "partial", "whole", "absent", "whole"]),
        ("repo", ["whole", "partial", "whole", "absent", "whole"]),
        ("tag", ["whole", "partial", "whole", "whole", "whole"]),
        ("commit", ["whole", "whole", "whole", "whole", "whole"]),
    ] {
        let said = say(&["model-files", "pull", pulled]);
        assert_eq!(said.code, 0, "{said:?}");
        assert_eq!(states(), expected, "after {pulled}");
    }
}

#[test]
fn what_cannot_be_pulled_is_wrong_usage_with_a_hint() {
    let hub = FileServer::new(|_, answer| answer.status("404 Not Found"));
    let place = Place::with(&hub);
    for (line, words) in [
        (vec![], "required"),
        (vec![FILE, "--include", "*"], "name the repository alone"),
        (vec!["hf://owner/repo", "--sha256", &"0".repeat(64)], "one file"),
        (vec![FILE, "--sha256", "abc"], "64 hexadecimal digits"),
        (vec!["./m.gguf"], "kind Model"),
        (vec!["ftp://x/y"], "only hf, https and http"),
        (vec!["https://x/m.gguf?X-Sig=opens-it"], "has a signature or a token in its query"),
    ] {
        let said = place.pull(&line);
        assert_eq!(said.code, 2, "{line:?}: {said:?}");
        assert!(said.err.contains(words) && !said.err.contains("opens-it"), "{line:?}: {said:?}");
    }
    assert_eq!(hub.seen().len(), 0);
}
