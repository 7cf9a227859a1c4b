//! Requests of kind Model through the real controller: what the status says meanwhile, what a crash, a cancel
//! and a benchmark do to a download, and how it fails.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::file_server::{FileServer, Repository, content, sha256};
use crate::scripted_server::{Gate, Server};
use crate::workbench::Workbench;

const SIZE: usize = 400_000;
const HALF: usize = 200_000;

/// An installation whose hub this is.
fn bench(hub: &FileServer) -> Workbench {
    let mut bench = Workbench::without_docker();
    let cache = bench.path("models").display().to_string();
    bench.set("BENCHLET_MODELS", &cache);
    bench.set("BENCHLET_DOWNLOAD_TRIES", "2");
    bench.set("HF_ENDPOINT", &hub.url());
    bench.set("HF_TOKEN", "secret-word");
    // An empty one stands for none.
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        bench.set(name, "");
    }
    bench
}

fn save(bench: &Workbench, name: &str, spec: &str) {
    let text = format!("apiVersion: benchlet/v1\nkind: Model\nspec: {spec}\n");
    std::fs::write(bench.request_path(&format!("{name}.yaml")), text).unwrap();
}

const FILE: &str = "{ source: 'hf://owner/repo/m.gguf' }";

/// A hub whose file comes to its half, and to its end once the gate is open.
fn halting(gate: &Gate) -> (Vec<u8>, FileServer) {
    let whole = content(SIZE, 11);
    let repository = Repository::new(&[("m.gguf", whole.clone())]);
    let gate = gate.clone();
    let hub = FileServer::new(move |asked, answer| match repository.named(asked) {
        Some((_, content)) if asked.method == "GET" && asked.from().is_none() => {
            let (length, etag) = (content.len().to_string(), "\"one\"");
            answer.send("200 OK", &[("Content-Length", &length), ("ETag", etag)], &content[..HALF]);
            gate.wait();
            answer.more(&content[HALF..]);
        }
        Some((_, content)) if asked.method == "GET" => {
            let from = asked.from().unwrap();
            assert_eq!(asked.header("if-range"), Some("\"one\""));
            let range = format!("bytes {from}-{}/{}", content.len() - 1, content.len());
            let length = (content.len() - from).to_string();
            let headers = [("Content-Range", &*range), ("Content-Length", &*length), ("ETag", "\"one\"")];
            answer.send("206 Partial Content", &headers, &content[from..]);
        }
        Some(_) | None => repository.answer(asked, answer),
    });
    (whole, hub)
}

fn blob(bench: &Workbench, whole: &[u8]) -> std::path::PathBuf {
    bench.path("models/models--owner--repo/blobs").join(sha256(whole))
}

/// Waits until half of the file is on the disk.
fn until_half(bench: &mut Workbench, whole: &[u8]) {
    let partial = blob(bench, whole).with_extension("incomplete");
    bench.until("half of the file", |_| {
        std::fs::metadata(&partial).is_ok_and(|found| found.len() == HALF as u64).then_some(())
    });
}

#[test]
fn the_status_tells_how_far_a_download_is_and_then_what_is_there() {
    let gate = Gate::default();
    let (whole, hub) = halting(&gate);
    let mut bench = bench(&hub);
    bench.serve();
    save(&bench, "m", FILE);
    let at_half = bench.until_status("m", "half of it", |status| status["run"]["progress"]["done"] == 50);
    let status = &at_half["status"];
    assert_eq!((&status["phase"], &status["reason"]), (&"Running".into(), &"Downloading".into()));
    let file = &status["model"]["files"][0];
    assert_eq!((&file["bytes"], &file["total"]), (&HALF.into(), &SIZE.into()));
    assert_eq!((&file["path"], &file["sha256"]), (&Value::Null, &Value::Null));
    assert_eq!(status["run"]["activity"], "downloading m.gguf: 200.0 kB of 400.0 kB");
    // Whoever asks another process sees it as well.
    bench.until("get tells how far it is", |bench| {
        let said = String::from_utf8(bench.command(&["get"]).output().unwrap().stdout).unwrap();
        said.contains("Running   Downloading 50%").then_some(())
    });
    let said = String::from_utf8(bench.command(&["describe", "m"]).output().unwrap().stdout).unwrap();
    assert!(said.contains("Progress:    downloading m.gguf: 200.0 kB of 400.0 kB, 50 %"), "{said}");
    gate.open();
    let done = bench.until_phase("m", "Completed");
    let file = &done["status"]["model"]["files"][0];
    assert_eq!(file["sha256"], sha256(&whole).as_str());
    assert_eq!(std::fs::read(file["path"].as_str().unwrap()).unwrap(), whole);
    assert_eq!(done["status"]["message"], "1 file, 400.0 kB");
    assert_eq!(done["status"]["history"][0]["headline"], "1 file, 400.0 kB");
    let text = |line: &[&str]| String::from_utf8(bench.command(line).output().unwrap().stdout).unwrap();
    assert!(text(&["describe", "m"]).contains(&sha256(&whole)));
    let json: Value = serde_json::from_str(&text(&["get", "m", "-o", "json"])).unwrap();
    assert_eq!(json["status"]["model"]["files"][0]["name"], "m.gguf");
    let token = b"secret-word";
    for (path, bytes) in bench.everything_written() {
        assert!(!bytes.windows(token.len()).any(|window| window == token), "{}", path.display());
    }
}

#[test]
fn a_controller_that_was_killed_goes_on_from_where_the_download_was() {
    let gate = Gate::default();
    let (whole, hub) = halting(&gate);
    let mut bench = bench(&hub);
    bench.serve();
    save(&bench, "m", FILE);
    until_half(&mut bench, &whole);
    bench.kill();
    bench.serve();
    bench.until_phase("m", "Completed");
    assert_eq!(std::fs::read(blob(&bench, &whole)).unwrap(), whole);
    let asked: Vec<_> = hub.contents().iter().map(|asked| asked.from()).collect();
    assert_eq!(asked, [None, Some(HALF)]);
    assert_eq!(bench.runs("m").len(), 1);
    gate.open();
}

#[test]
fn a_suspended_model_is_left_alone_and_a_cancelled_one_keeps_what_has_come() {
    let gate = Gate::default();
    let (whole, hub) = halting(&gate);
    let mut bench = bench(&hub);
    bench.serve();
    save(&bench, "m", "{ source: 'hf://owner/repo/m.gguf', suspend: true }");
    bench.until_reason("m", "Suspended");
    assert_eq!(hub.seen().len(), 0);
    save(&bench, "m", FILE);
    until_half(&mut bench, &whole);
    save(&bench, "m", "{ source: 'hf://owner/repo/m.gguf', state: Cancelled }");
    bench.until_phase("m", "Cancelled");
    assert!(!blob(&bench, &whole).exists());
    save(&bench, "m", "{ source: 'hf://owner/repo/m.gguf', rerun: again }");
    bench.until_phase("m", "Completed");
    assert_eq!(hub.contents().last().unwrap().from(), Some(HALF));
    gate.open();
}

#[test]
fn a_deleted_file_ends_the_download_where_it_says_so() {
    let gate = Gate::default();
    let (whole, hub) = halting(&gate);
    let mut bench = bench(&hub);
    bench.set("BENCHLET_RELIST_SECONDS", "1");
    bench.serve();
    save(&bench, "m", "{ source: 'hf://owner/repo/m.gguf', onDelete: Cancel }");
    until_half(&mut bench, &whole);
    std::fs::remove_file(bench.request_path("m.yaml")).unwrap();
    let runs = bench.until_runs_ended("m", 1);
    assert_eq!(runs[0].state.phase().as_str(), "Cancelled");
    assert!(!blob(&bench, &whole).exists());
    gate.open();
}

#[test]
fn a_failure_says_why_and_what_to_do_and_a_token_tries_again() {
    let whole = content(1_000, 3);
    let repository = Repository::new(&[("m.gguf", whole.clone())]);
    let answers = Arc::new(AtomicUsize::new(0));
    let state = Arc::clone(&answers);
    let hub = FileServer::new(move |asked, answer| match state.load(Ordering::SeqCst) {
        0 => answer.status("404 Not Found"),
        1 => answer.status("403 Forbidden"),
        _ => repository.answer(asked, answer),
    });
    let mut bench = bench(&hub);
    bench.serve();
    save(&bench, "m", FILE);
    let failed = bench.until_reason("m", "ModelNotFound");
    assert_eq!(failed["status"]["phase"], "Failed");
    assert!(failed["status"]["hint"].as_str().unwrap().contains("check owner, repository"), "{failed}");
    let said = String::from_utf8(bench.command(&["history", "m"]).output().unwrap().stdout).unwrap();
    assert!(said.contains("m.gguf is not there (HTTP 404)") && !said.contains("0 B"), "{said}");
    answers.store(1, Ordering::SeqCst);
    save(&bench, "m", "{ source: 'hf://owner/repo/m.gguf', rerun: one }");
    let failed = bench.until_reason("m", "NoAccess");
    assert!(failed["status"]["hint"].as_str().unwrap().contains("HF_TOKEN"), "{failed}");
    answers.store(2, Ordering::SeqCst);
    let wrong = format!("{{ source: 'hf://owner/repo/m.gguf', sha256: '{}' }}", "1".repeat(64));
    save(&bench, "m", &wrong);
    bench.until_reason("m", "HashDiffers");
    assert!(!blob(&bench, &whole).exists());
    save(&bench, "m", "{ source: 'hf://owner/repo/m.gguf', rerun: two }");
    bench.until_phase("m", "Completed");
}

#[test]
fn run_prints_the_files_of_a_model_and_no_columns_of_a_benchmark() {
    let whole = content(1_000, 3);
    let hub = Repository::new(&[("m.gguf", whole.clone())]).serve();
    let bench = bench(&hub);
    save(&bench, "m", FILE);
    let said = bench.command(&["run", "requests/m.yaml"]).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.starts_with("NAME   PHASE       FILE     SIZE     SHA256"), "{said}");
    assert!(said.contains(&format!("m      Completed   m.gguf   1.0 kB   {}", sha256(&whole))), "{said}");
    assert!(!said.contains("T/S"), "{said}");
}

#[test]
fn a_path_is_checked_where_it_is_and_only_where_requests_may_read() {
    let hub = FileServer::new(|_, answer| answer.status("404 Not Found"));
    let mut bench = bench(&hub);
    let whole = content(5_000, 4);
    std::fs::write(bench.request_path("m.gguf"), &whole).unwrap();
    std::fs::write(bench.path("outside.gguf"), &whole).unwrap();
    bench.serve();
    save(&bench, "good", &format!("{{ source: m.gguf, sha256: '{}', size: 5000 }}", sha256(&whole)));
    save(&bench, "other", &format!("{{ source: m.gguf, sha256: '{}' }}", "2".repeat(64)));
    save(&bench, "outside", "{ source: ../outside.gguf }");
    let done = bench.until_phase("good", "Completed");
    let found = bench.request_path("m.gguf").canonicalize().unwrap();
    assert_eq!(done["status"]["model"]["files"][0]["path"], found.to_str().unwrap());
    bench.until_reason("other", "HashDiffers");
    let refused = bench.until_reason("outside", "ModelNotFound");
    assert!(
        refused["status"]["message"].as_str().unwrap().contains("outside of the directories"),
        "{refused}"
    );
    assert!(found.exists(), "a file that is not ours stays, whatever its hash");
}

#[test]
fn a_snapshot_is_held_to_a_hash_a_file_and_to_its_patterns() {
    let (weights, other) = (content(9_000, 8), content(100, 9));
    let files =
        [("model.safetensors", weights.clone()), ("config.json", b"{}".to_vec()), ("other.bin", other)];
    let hub = Repository::new(&files).serve();
    let mut bench = bench(&hub);
    bench.serve();
    let spec = |hash: &str| {
        format!(
            "{{ source: 'hf://owner/repo', include: ['*.json'], files: {{ model.safetensors: '{hash}' }} }}"
        )
    };
    save(&bench, "m", &spec(&"3".repeat(64)));
    bench.until_reason("m", "HashDiffers");
    assert_eq!(hub.contents().len(), 0);
    save(&bench, "m", &spec(&sha256(&weights)));
    let done = bench.until_phase("m", "Completed");
    let names: Vec<_> =
        done["status"]["model"]["files"].as_array().unwrap().iter().map(|file| &file["name"]).collect();
    assert_eq!(names, ["config.json", "model.safetensors"]);
    let folder = std::path::PathBuf::from(done["status"]["model"]["directory"].as_str().unwrap());
    assert_eq!(std::fs::read(folder.join("model.safetensors")).unwrap(), weights);
    save(&bench, "m", "{ source: 'hf://owner/repo', files: { modell.safetensors: '' } }");
    bench.until_status("m", "a problem with a hint", |status| {
        status["problems"][0]["hint"].as_str().is_some_and(|hint| hint.contains("64 hexadecimal digits"))
    });
}

#[test]
fn a_signed_address_is_refused_and_written_nowhere() {
    let hub = FileServer::new(|_, answer| answer.status("404 Not Found"));
    let mut bench = bench(&hub);
    bench.serve();
    save(&bench, "m", &format!("{{ source: '{}/m.gguf?X-Sig=opens-it' }}", hub.url()));
    let refused = bench.until_status("m", "a problem", |status| status["problems"][0]["hint"].is_string());
    let message = refused["status"]["problems"][0]["message"].as_str().unwrap();
    assert!(message.starts_with("spec.source has a signature or a token"), "{refused}");
    let request = bench.request_path("m.yaml");
    for (path, bytes) in bench.everything_written().into_iter().filter(|(path, _)| *path != request) {
        assert!(!bytes.windows(8).any(|window| window == b"opens-it"), "{}", path.display());
    }
    assert_eq!(hub.seen().len(), 0);
}

fn load_test(url: &str) -> String {
    format!(
        "apiVersion: benchlet/v1\nkind: LoadTest\nspec:\n  targets: [{{ engine: openai, url: '{url}' }}]\n  \
         prompts: {{ inline: [hello] }}\n  load: {{ concurrency: 1, requests: 1 }}\n  warmup: {{ requests: 0 }}\n"
    )
}

#[test]
fn nothing_is_downloaded_while_a_load_test_measures() {
    let whole = content(1_000, 5);
    let hub = Repository::new(&[("m.gguf", whole)]).serve();
    let gate = Gate::default();
    let held = gate.clone();
    let engine = Server::new(move |exchange| {
        held.wait();
        exchange.answer()
    });
    let mut bench = bench(&hub);
    bench.serve();
    std::fs::write(bench.request_path("load.yaml"), load_test(&engine.url())).unwrap();
    engine.until("it measures", |sight| sight.in_flight == 1);
    save(&bench, "m", FILE);
    let waits = bench.until_reason("m", "MachineBusy");
    assert_eq!(waits["status"]["message"], "waits until load has measured");
    assert_eq!(hub.seen().len(), 0);
    gate.open();
    bench.until_phase("m", "Completed");
    bench.until_phase("load", "Completed");
}

#[test]
fn a_pull_waits_for_a_load_test_unless_it_is_told_not_to() {
    let hub = Repository::new(&[("m.gguf", content(1_000, 7)), ("n.gguf", content(1_000, 8))]).serve();
    let gate = Gate::default();
    let held = gate.clone();
    let engine = Server::new(move |exchange| {
        held.wait();
        exchange.answer()
    });
    let mut bench = bench(&hub);
    bench.serve();
    std::fs::write(bench.request_path("load.yaml"), load_test(&engine.url())).unwrap();
    engine.until("it measures", |sight| sight.in_flight == 1);
    let now = bench.command(&["model-files", "pull", "hf://owner/repo/n.gguf", "--now"]).output().unwrap();
    assert!(now.status.success(), "{now:?}");
    let asked = hub.seen().len();
    let mut waiting = bench.command(&["model-files", "pull", "hf://owner/repo/m.gguf"]);
    let mut waiting = waiting.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(waiting.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.starts_with("waits until load has measured"), "{line}");
    assert_eq!(hub.seen().len(), asked);
    gate.open();
    std::io::copy(&mut said, &mut std::io::sink()).unwrap();
    assert!(waiting.wait().unwrap().success());
}

#[test]
fn a_pull_gives_way_to_a_load_test_that_begins_meanwhile_and_goes_on_after_it() {
    let gate = Gate::default();
    let (whole, hub) = halting(&gate);
    let (began, go_on) = (Gate::default(), Gate::default());
    let (begins, goes_on) = (began.clone(), go_on.clone());
    let engine = Server::new(move |exchange| {
        begins.open();
        goes_on.wait();
        exchange.answer()
    });
    let mut bench = bench(&hub);
    // Begun where nothing has run yet: the load test is the first thing that does.
    let mut pull = bench.command(&["model-files", "pull", "hf://owner/repo/m.gguf"]);
    let mut pull = pull.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    until_half(&mut bench, &whole);
    bench.serve();
    std::fs::write(bench.request_path("load.yaml"), load_test(&engine.url())).unwrap();
    began.wait();
    let mut said = BufReader::new(pull.stderr.take().unwrap()).lines();
    let waits = said.by_ref().map(Result::unwrap).find(|line| line.starts_with("waits until"));
    assert_eq!(waits.as_deref(), Some("waits until load has measured; --now does not"));
    assert_eq!(hub.contents().len(), 1, "the load test measures, and nothing is downloaded");
    go_on.open();
    said.for_each(drop);
    assert!(pull.wait().unwrap().success());
    assert_eq!(hub.contents().last().unwrap().from(), Some(HALF));
    assert_eq!(std::fs::read(blob(&bench, &whole)).unwrap(), whole);
    gate.open();
}

#[test]
fn a_download_gives_way_to_a_load_test_and_goes_on_after_it() {
    let gate = Gate::default();
    let (whole, hub) = halting(&gate);
    let (began, go_on) = (Gate::default(), Gate::default());
    let (begins, goes_on) = (began.clone(), go_on.clone());
    let engine = Server::new(move |exchange| {
        begins.open();
        goes_on.wait();
        exchange.answer()
    });
    let mut bench = bench(&hub);
    bench.serve();
    save(&bench, "m", FILE);
    until_half(&mut bench, &whole);
    std::fs::write(bench.request_path("load.yaml"), load_test(&engine.url())).unwrap();
    began.wait();
    let waits = bench.until_reason("m", "MachineBusy");
    assert_eq!(waits["status"]["message"], "waits until load has measured");
    assert_eq!(hub.contents().len(), 1, "the load test measures, and nothing is downloaded");
    go_on.open();
    bench.until_phase("load", "Completed");
    bench.until_phase("m", "Completed");
    assert_eq!(hub.contents().last().unwrap().from(), Some(HALF));
    assert_eq!(bench.runs("m")[0].attempt, 0, "giving way is no failure");
    gate.open();
}

#[test]
fn run_brings_a_model_and_its_exit_code_says_how_it_ended() {
    let whole = content(1_000, 6);
    let hub = Repository::new(&[("m.gguf", whole.clone())]).serve();
    let bench = bench(&hub);
    save(&bench, "m", FILE);
    let run = |bench: &Workbench| {
        let mut command = bench.command(&["run", "requests/m.yaml"]);
        command.output().unwrap()
    };
    let said = run(&bench);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!(std::fs::read(blob(&bench, &whole)).unwrap(), whole);
    save(&bench, "m", "{ source: 'hf://owner/repo/none.gguf' }");
    let said = run(&bench);
    assert_eq!(said.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&said.stderr).contains("is not there"), "{said:?}");
}
