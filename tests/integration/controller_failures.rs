//! Everything that can go wrong with a run: each with its own reason, and words that help.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Command, Stdio};

use benchlet::run::phase::Phase;
use serde_json::Value;

use crate::daemon;
use crate::workbench::Workbench;

/// Everything that a status says of a failure, as one text.
fn words(document: &Value) -> String {
    let status = &document["status"];
    let text = |field: &str| status[field].as_str().unwrap_or_default().to_owned();
    format!("{}: {} ({})", text("reason"), text("message"), text("hint"))
}

/// Saves every request, waits until each has failed, and compares reason and words.
fn check_failures(bench: &mut Workbench, cases: &[(&str, &str, &str, &[&str])]) {
    for (name, spec, _, _) in cases {
        bench.save(name, spec);
    }
    for (name, _, reason, parts) in cases {
        let document = bench.until_phase(name, "Failed");
        let words = words(&document);
        assert!(words.starts_with(&format!("{reason}: ")), "{name}: {words}");
        for part in *parts {
            assert!(words.contains(part), "{name}: {part:?} is not in: {words}");
        }
        let conditions = document["status"]["conditions"].to_string();
        assert!(conditions.contains(reason), "{name}: {conditions}");
        let row: (String, String) = bench
            .database()
            .query_row(
                "SELECT b.status, b.error_message FROM benchmark_runs b JOIN runs r ON r.id = b.id
                 WHERE r.request_name = ?1",
                [name],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .unwrap();
        assert_eq!(row.0, "failed");
        assert!(row.1.starts_with(reason), "{name}: {}", row.1);
        assert_eq!(bench.runs(name).len(), 1, "{name} was tried again");
    }
    assert_eq!(bench.containers(), []);
}

#[test]
fn what_cannot_start_says_why_and_what_to_do() {
    let Some(mut bench) = Workbench::open() else { return };
    let absent =
        |image: &str| format!("    image: {image}\n    command: [llama-server, -m, /models/tiny.gguf]\n");
    bench.add_service("absent", &absent("benchlet-test/absent:none"));
    // Nothing listens on the discard port, so this fails at once wherever it runs.
    bench.add_service("unreachable", &absent("localhost:9/benchlet-test/none:1"));
    let image = daemon::image();
    bench.add_service(
        "gpu",
        &format!(
            "    image: {image}\n    command: [llama-server, -m, /models/tiny.gguf]\n    deploy: {{ resources: \
             {{ reservations: {{ devices: [{{ driver: no-such-driver, count: all, capabilities: [gpu] }}] }} }} \
             }}\n"
        ),
    );
    bench.serve();
    check_failures(
        &mut bench,
        &[
            (
                "typo",
                "{ service: tinny }",
                "ServiceUnknown",
                &["tinny", "docker-compose.yml", "did you mean \"tiny\"?"],
            ),
            ("vllm", "{ service: chat }", "ServiceNotLlamaCpp", &["chat", "vLLM", "LoadTest"]),
            (
                "never",
                "{ service: absent, imagePullPolicy: Never }",
                "ImageUnavailable",
                &["benchlet-test/absent:none", "imagePullPolicy is Never", "docker pull"],
            ),
            (
                "pull",
                "{ service: unreachable }",
                "ImageUnavailable",
                &["localhost:9/benchlet-test/none:1", "the daemon says"],
            ),
            ("no-gpu", "{ service: gpu }", "GpuUnavailable", &["no-such-driver", "driver"]),
            ("gpus", "{ service: tiny, gpus: [0] }", "GpuUnavailable", &["tiny", "has none"]),
        ],
    );
}

#[test]
fn what_llama_bench_refuses_is_told_in_its_words_with_a_hint() {
    let Some(mut bench) = Workbench::open() else { return };
    let image = daemon::image();
    let models = bench.path("models");
    fs::create_dir(&models).unwrap();
    fs::set_permissions(&models, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(models.join("secret.gguf"), "GGUF").unwrap();
    fs::set_permissions(models.join("secret.gguf"), fs::Permissions::from_mode(0o600)).unwrap();
    let service = |file: &str, user: &str| {
        format!(
            "    image: {image}\n    command: [llama-server, -m, /models/{file}]\n    volumes: \
             ['{}:/models:ro']\n{user}",
            models.display()
        )
    };
    bench.add_service("missing", &service("none.gguf", ""));
    bench.add_service("unreadable", &service("secret.gguf", "    user: '54321:54321'\n"));
    bench.add_service("broken", &service("secret.gguf", ""));
    bench.serve();
    check_failures(
        &mut bench,
        &[
            (
                "missing",
                "{ service: missing, params: { -p: 8 } }",
                "ModelNotFound",
                &["/models/none.gguf", "mounts"],
            ),
            (
                "unreadable",
                "{ service: unreadable, params: { -p: 8 } }",
                "ModelUnreadable",
                &["/models/secret.gguf", "chmod"],
            ),
            (
                "broken",
                "{ service: broken, params: { -p: 8 } }",
                "ModelNotLoadable",
                &["/models/secret.gguf", "GGUF"],
            ),
            ("flag", "{ service: tiny, params: { --no-such: 1 } }", "InvalidFlag", &["--no-such"]),
            (
                "value",
                "{ service: tiny, params: { -p: abc } }",
                "InvalidValue",
                &["-p", "invalid range format"],
            ),
            (
                "no-repetition",
                "{ service: tiny, params: { -p: 8, -n: 0, -r: 0 } }",
                "NoResults",
                &["no repetition", "-r"],
            ),
            ("no-test", "{ service: tiny, params: { -p: 0, -n: 0 } }", "NoResults", &["no test", "-p"]),
            (
                "late",
                "{ service: tiny, timeout: 1s, params: { -p: 8, -n: 0, --delay: 300 } }",
                "TimedOut",
                &["timeout of 1s", "spec.timeout"],
            ),
        ],
    );
}

/// An image of one file, none of which is llama-bench; gone when this is.
struct BareImage(String);

impl BareImage {
    fn import(bench: &Workbench) -> Self {
        let folder = bench.path("bare");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("README"), "nothing here\n").unwrap();
        let name = format!("benchlet-test/bare:{}", bench.instance);
        let mut tar = Command::new("tar")
            .arg("-C")
            .arg(&folder)
            .args(["-c", "."])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let archive = tar.stdout.take().unwrap();
        let imported = Command::new("docker")
            .args(["import", "-", &name])
            .stdin(archive)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(tar.wait().unwrap().success() && imported.success());
        Self(name)
    }
}

impl Drop for BareImage {
    fn drop(&mut self) {
        let removed = Command::new("docker").args(["rmi", "-f", &self.0]).stdout(Stdio::null()).status();
        if !removed.is_ok_and(|status| status.success()) {
            eprintln!("the image {} may be left", self.0);
        }
    }
}

#[test]
fn an_image_without_llama_bench_is_told_with_a_better_one() {
    let Some(mut bench) = Workbench::open() else { return };
    let image = BareImage::import(&bench);
    bench.add_service(
        "bare",
        &format!("    image: {}\n    command: [llama-server, -m, /models/tiny.gguf]\n", image.0),
    );
    bench.serve();
    check_failures(
        &mut bench,
        &[("bare", "{ service: bare }", "LlamaBenchMissing", &["llama-bench", "`full` image"])],
    );
    // The image can be removed only once no container is of it.
    drop(bench);
}

const SOON: &str = "{ service: tiny, params: { -p: 8, -n: 0, -r: 1, -t: 1, --delay: 3 } }";

/// What happened to a request, in order.
fn events(bench: &Workbench, name: &str) -> Vec<(String, String)> {
    let database = bench.database();
    let mut statement =
        database.prepare("SELECT reason, message FROM events WHERE request = ?1 ORDER BY id").unwrap();
    let rows = statement.query_map([name], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

fn check_retried(bench: &mut Workbench, name: &str, words: &str) {
    let runs = bench.until_runs_ended(name, 1);
    assert_eq!(runs[0].state.phase(), Phase::Completed);
    assert_eq!((runs[0].attempt, runs[0].faults, runs[0].failures), (1, 1, 0));
    let events = events(bench, name);
    let retry = events.iter().find(|(reason, _)| reason == "Retrying");
    assert!(retry.is_some_and(|(_, message)| message.contains(words)), "{events:?}");
    let document = bench.until_phase(name, "Completed");
    assert_eq!(document["status"]["results"]["cases"][0]["samples"], 1);
    assert_eq!(bench.containers(), []);
}

#[test]
fn a_container_that_is_removed_behind_our_back_is_measured_once_more() {
    let Some(mut bench) = Workbench::open() else { return };
    bench.serve();
    bench.save("lost", SOON);
    let container = bench.until_measuring();
    daemon::remove(&container);
    check_retried(&mut bench, "lost", "gone");
}

#[test]
fn a_container_that_somebody_kills_is_measured_once_more() {
    let Some(mut bench) = Workbench::open() else { return };
    bench.serve();
    bench.save("killed", SOON);
    let container = bench.until_measuring();
    daemon::kill(&container);
    check_retried(&mut bench, "killed", "SIGKILL");
}

#[test]
fn a_run_that_is_killed_every_time_fails_in_the_end() {
    let Some(mut bench) = Workbench::open() else { return };
    bench.serve();
    bench.save("poisoned", "{ service: tiny, params: { -p: 8, -n: 0, -r: 1, -t: 1, --delay: 300 } }");
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let container = bench.until("another container that measures", |bench| {
            let mut list = bench.containers().into_iter();
            let fresh =
                |found: &daemon::Listed| found.role == "bench" && found.running && !seen.contains(&found.id);
            list.find(fresh).map(|found| found.id)
        });
        daemon::kill(&container);
        seen.push(container);
    }
    let document = bench.until_phase("poisoned", "Failed");
    assert!(words(&document).starts_with("Killed: "), "{}", words(&document));
    assert!(words(&document).contains("137"), "{}", words(&document));
    assert_eq!(bench.runs("poisoned").len(), 1);
    assert_eq!(bench.containers(), []);
}

#[test]
fn a_failed_run_is_tried_again_as_often_as_its_backoff_limit_says() {
    let Some(mut bench) = Workbench::open() else { return };
    bench.serve();
    bench.save("stubborn", "{ service: tiny, backoffLimit: 2, params: { -p: abc } }");
    let document = bench.until_phase("stubborn", "Failed");
    assert!(words(&document).starts_with("InvalidValue: "), "{}", words(&document));
    let runs = bench.runs("stubborn");
    assert_eq!(runs.len(), 1);
    assert_eq!((runs[0].attempt, runs[0].failures), (2, 2));
}

#[test]
fn a_status_that_cannot_be_written_disturbs_no_run_and_nobody_else() {
    let Some(mut bench) = Workbench::open() else { return };
    let elsewhere = bench.path("elsewhere");
    fs::write(&elsewhere, "precious\n").unwrap();
    symlink(&elsewhere, bench.request_path("linked.status.yaml")).unwrap();
    fs::write(bench.request_path("foreign.status.yaml"), "mine: true\n").unwrap();
    fs::create_dir(bench.request_path("folder.status.yaml")).unwrap();
    bench.serve();
    let spec = |prompt: u32| format!("{{ service: tiny, params: {{ -p: {prompt}, -n: 0, -r: 1, -t: 1 }} }}");
    for (name, prompt) in [("linked", 8), ("foreign", 9), ("folder", 10), ("plain", 11)] {
        bench.save(name, &spec(prompt));
    }
    bench.until_phase("plain", "Completed");
    for name in ["linked", "foreign", "folder"] {
        let runs = bench.until_runs_ended(name, 1);
        assert_eq!(runs[0].state.phase(), Phase::Completed);
        bench.until("the trouble is logged", |bench| {
            let file = format!("{name}.status.yaml");
            bench.log().lines().any(|line| line.contains("WARN") && line.contains(&file)).then_some(())
        });
    }
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "precious\n");
    assert_eq!(fs::read_to_string(bench.request_path("foreign.status.yaml")).unwrap(), "mine: true\n");
    // Moved away, the status comes.
    fs::remove_file(bench.request_path("linked.status.yaml")).unwrap();
    bench.until_phase("linked", "Completed");
}
