//! Applies against real files, a real store and, for the restart, a real container of llama-server.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use benchlet::controller::apply_job::{ApplyContext, carry_out, preview, revert};
use benchlet::decide::action::{NewApply, NewRun};
use benchlet::executor::DockerExecutor;
use benchlet::request::apply::{ApplyOptions, ApplySource, CaseSelector, Metric};
use benchlet::request::flags::Param;
use benchlet::request::llama_bench::{Conflict, ExecutorChoice, LlamaBench, PullPolicy};
use benchlet::request::valid::Spec;
use benchlet::run::case::pool;
use benchlet::run::llama_bench_row::parse_rows;
use benchlet::run::phase::{Ending, RunState};
use benchlet::run::plan::{Blueprint, ExecutorKind, PLAN_VERSION};
use benchlet::run::reason::{Reason, Refusal};
use benchlet::run::step::{Role, TaskId, TaskSpec};
use benchlet::settings::{self, Overrides};
use benchlet::store::applies::{self, ApplyState, Outcome};
use benchlet::store::runs::{self, Results};
use benchlet::store::{Access, Store};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::left_out::{Need, is_left_out};
use crate::polling::until;

const NOW: &str = "2026-01-02T03:04:05.000Z";

const CHAT: &str = "# Serving\r\nx-logging: &logging\r\n  logging: { driver: json-file }   # kept\r\n\r\n\
services:\r\n  chat:\r\n    <<: *logging\r\n    image: example/llama.cpp:server\r\n    command:\r\n      \
- -m   # the model\r\n      - /models/a.gguf\r\n      - -b\r\n      - \"512\"   # by feel\r\n      \
- --no-kv-offload\r\n      - --api-key\r\n      - sk-chat-0123456789\r\n\r\n  other:\r\n    \
<<: *logging\r\n    image: example/llama.cpp:server\r\n    command: [ -m, /models/b.gguf,  -b, \"512\" ]\r\n";

const DOCK: &str = include_str!("../fixtures/services/llm-dock/docker-compose.yml");
const DOCK_JSON: &str = include_str!("../fixtures/services/llm-dock/services.json");

/// A directory with the services' files and a store of its own.
struct Place {
    directory: tempfile::TempDir,
    around: ApplyContext,
}

impl Place {
    fn new(compose: &str, services: Option<&str>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("docker-compose.yml"), compose).unwrap();
        let listed = services.map(|text| {
            std::fs::write(path("services.json"), text).unwrap();
            path("services.json")
        });
        std::fs::create_dir(path("state")).unwrap();
        let overrides = Overrides {
            state: Some(path("state")),
            compose: vec![path("docker-compose.yml")],
            services: listed.into_iter().collect(),
            config: Some(path("benchlet.toml")),
            ..Overrides::default()
        };
        std::fs::write(path("benchlet.toml"), "").unwrap();
        let settings = Arc::new(settings::load(&overrides, |_| None).unwrap());
        let store = Store::open(&path("state"), Access::Owner).unwrap();
        Self { around: ApplyContext { settings, store, docker: None }, directory }
    }

    fn dock() -> Self {
        Self::new(DOCK, Some(DOCK_JSON))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().canonicalize().unwrap().join(name)
    }

    fn compose(&self) -> String {
        std::fs::read_to_string(self.path("docker-compose.yml")).unwrap()
    }

    fn services(&self) -> String {
        std::fs::read_to_string(self.path("services.json")).unwrap()
    }

    /// Locks as LLM-Dock does while it writes.
    fn lock(&self) -> std::fs::File {
        let file = std::fs::File::create(self.path("docker-compose.yml.lock")).unwrap();
        file.lock().unwrap();
        file
    }

    /// A run of a request named `bench` that ended in this phase.
    async fn run(&self, service: &str, params: &[(&str, &str)], cells: &[Value]) -> Uuid {
        self.run_that(service, params, cells, Ending::completed("done"), false).await
    }

    async fn run_that(
        &self,
        service: &str,
        params: &[(&str, &str)],
        cells: &[Value],
        ending: Ending,
        simulated: bool,
    ) -> Uuid {
        let id = Uuid::new_v4();
        let new = NewRun {
            id,
            request_uid: Uuid::new_v4(),
            request: "bench".into(),
            path: "bench.yaml".into(),
            generation: 1,
            spec: Spec::LlamaBench(LlamaBench {
                service: service.into(),
                params: None,
                params_from: None,
                launches: None,
                preset: None,
                gpus: None,
                conflict: Conflict::Share,
                executor: ExecutorChoice::Auto,
                image_pull_policy: PullPolicy::IfNotPresent,
                apply: None,
            }),
            spec_hash: "v1:x".into(),
            timeout_ms: 1000,
            backoff_limit: 0,
            service: service.into(),
            satisfied_hash: None,
            satisfied_rerun: None,
            command: None,
        };
        let template = TaskSpec {
            id: TaskId { run: id, attempt: 0, step: 0, role: Role::Bench },
            argv: Vec::new(),
            env: Default::default(),
            container: None,
            deadline_ms: 1000,
            labels: Default::default(),
            inputs: Default::default(),
        };
        let blueprint = Blueprint {
            version: PLAN_VERSION,
            service: service.into(),
            executor: ExecutorKind::Docker,
            simulated,
            model: "/models/a.gguf".into(),
            model_host_path: None,
            params: params
                .iter()
                .map(|(flag, value)| Param { flag: (*flag).into(), value: (*value).into() })
                .collect(),
            dropped: Vec::new(),
            warnings: Vec::new(),
            launches: 1,
            template,
            tool_candidates: Vec::new(),
            pull_policy: PullPolicy::IfNotPresent,
            preparing_ms: 1000,
            claims: Vec::new(),
            stop: Vec::new(),
            load: None,
        };
        let cases = cases(cells);
        let mut results = Results { cases: cases.0, ..Results::default() };
        (results.figures.pp_avg_ts, results.figures.tg_avg_ts) = cases.1;
        self.around
            .store
            .write(move |connection| {
                runs::create(connection, &new, NOW)?;
                runs::set_blueprint(connection, id, &blueprint)?;
                runs::set_results(connection, id, &results, 0)?;
                runs::advance(connection, id, &RunState::Ended(ending), NOW)
            })
            .await
            .unwrap();
        id
    }

    async fn plan(&self, source: ApplySource, options: ApplyOptions) -> Uuid {
        let id = Uuid::new_v4();
        let new = NewApply {
            refused: None,
            id,
            request: Some((Uuid::new_v4(), "bench".into())),
            source,
            options,
            token: id.to_string(),
            satisfied: None,
            command: None,
        };
        self.around.store.write(move |connection| applies::create(connection, &new, NOW)).await.unwrap();
        id
    }

    async fn apply(&self, run: Uuid, options: ApplyOptions) -> (Uuid, Result<Outcome, Refusal>) {
        let id = self.plan(ApplySource::Run(run), options).await;
        (id, carry_out(&self.around, id).await)
    }

    fn state(&self, id: Uuid) -> ApplyState {
        self.around.store.apply(id).unwrap().unwrap().state
    }

    /// Sets the journal back, as if the program had ended right after that entry.
    async fn crashed_at(&self, id: Uuid, state: ApplyState) {
        let write = move |connection: &_| applies::advance(connection, id, None, &state, NOW);
        self.around.store.write(write).await.unwrap();
    }

    fn events(&self) -> Vec<String> {
        self.around.store.events("bench", 100).unwrap().into_iter().map(|event| event.reason).collect()
    }

    fn copies(&self) -> usize {
        fn count(folder: &Path) -> usize {
            let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
            entries.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
        }
        count(&self.path("state/backups"))
    }
}

/// JSON texts of a prompt and a generation case a cell, and the figures of a run of one cell.
fn cases(cells: &[Value]) -> (Vec<String>, (Option<f64>, Option<f64>)) {
    let mut text = String::new();
    for columns in cells {
        for (n_prompt, n_gen, rate) in [(512, 0, "pp"), (0, 128, "tg")] {
            let mut row = columns.as_object().unwrap().clone();
            let (pp, tg) = (row.remove("pp").unwrap(), row.remove("tg").unwrap());
            let rate = if rate == "pp" { pp } else { tg };
            for (column, value) in [
                ("n_prompt", json!(n_prompt)),
                ("n_gen", json!(n_gen)),
                ("avg_ts", rate.clone()),
                ("stddev_ts", json!(0.1)),
                ("samples_ts", json!([rate])),
            ] {
                row.insert(column.into(), value);
            }
            text.push_str(&format!("{}\n", Value::Object(row)));
        }
    }
    let cases = pool(&[parse_rows(text.as_bytes()).rows]);
    let headline = benchlet::run::case::headline(&cases);
    let texts = cases.iter().map(|case| serde_json::to_string(case).unwrap()).collect();
    (texts, (headline.pp_avg_ts, headline.tg_avg_ts))
}

fn one_cell() -> Vec<Value> {
    vec![json!({"pp": 1000.0, "tg": 80.0})]
}

fn two_batches() -> Vec<Value> {
    vec![json!({"n_batch": 256, "pp": 900.0, "tg": 90.0}), json!({"n_batch": 1024, "pp": 1100.0, "tg": 80.0})]
}

fn plain() -> ApplyOptions {
    ApplyOptions::default()
}

fn restart() -> ApplyOptions {
    ApplyOptions { restart: true, ..plain() }
}

fn dry() -> ApplyOptions {
    ApplyOptions { dry_run: true, ..plain() }
}

fn hash_of(refusal: &Refusal) -> (Reason, &str) {
    (refusal.reason, refusal.message.as_str())
}

#[tokio::test]
async fn exactly_the_flags_change_and_every_other_byte_stays() {
    let place = Place::new(CHAT, None);
    let params = [("-p", "512"), ("-r", "5"), ("-b", "1024"), ("-nkvo", "0"), ("-fa", "on")];
    let run = place.run("chat", &params, &one_cell()).await;
    let (id, outcome) = place.apply(run, plain()).await;
    let outcome = outcome.unwrap();
    let expected = CHAT
        .replacen("\"512\"   # by feel", "\"1024\"   # by feel", 1)
        .replacen("      - --no-kv-offload\r\n", "", 1)
        .replacen("sk-chat-0123456789\r\n", "sk-chat-0123456789\r\n      - -fa\r\n      - \"on\"\r\n", 1);
    assert_eq!(place.compose(), expected);
    let changes: Vec<_> = outcome
        .changes
        .iter()
        .map(|change| (change.flag.as_str(), change.old.as_deref(), change.new.as_deref()))
        .collect();
    assert_eq!(
        changes,
        [("-b", Some("512"), Some("1024")), ("--no-kv-offload", Some(""), None), ("-fa", None, Some("on"))]
    );
    let skipped: Vec<&str> = outcome.skipped.iter().map(|(flag, _)| flag.as_str()).collect();
    assert_eq!(skipped, ["-p", "-r"]);
    assert_eq!(outcome.applied.len(), 3);
    assert!(outcome.restart_needed);
    let file = place.path("docker-compose.yml").display().to_string();
    assert_eq!(outcome.writes[0].file, file);
    let typed = outcome.restart_command.unwrap();
    assert!(typed.starts_with("docker compose -f /") && typed.ends_with(" up -d --no-deps chat"), "{typed}");
    assert!(!format!("{:?}", place.state(id)).contains("sk-chat"), "a secret reached the store");
    assert!(outcome.diff.contains("***") && outcome.diff.contains("+      - \"1024\"   # by feel"));
    let backup = Path::new(&outcome.writes[0].backup);
    assert_eq!(std::fs::read_to_string(backup).unwrap(), CHAT);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(backup), mode(backup.parent().unwrap())), (0o600, 0o700));
    assert_eq!(place.events(), ["RunCreated", "ApplyCreated", "Applying", "Applied"]);
    assert_eq!(carry_out(&place.around, id).await.unwrap().writes, outcome.writes, "done is not done again");
    assert_eq!(place.copies(), 1);
}

#[tokio::test]
async fn an_llm_dock_service_gets_its_flags_in_both_files() {
    let place = Place::dock();
    let run = place.run("llamacpp-qwen3", &[("-b", "4096"), ("-ub", "1024")], &one_cell()).await;
    let (id, outcome) = place.apply(run, plain()).await;
    let outcome = outcome.unwrap();
    let compose = DOCK.replacen("--batch-size 512", "--batch-size 4096", 1).replacen(
        "      --no-kv-offload\n",
        "      --no-kv-offload\n      -ub 1024\n",
        1,
    );
    let json = DOCK_JSON.replacen("\"--batch-size\": \"512\"", "\"--batch-size\": \"4096\"", 1).replacen(
        "\"env:GGML_CUDA_NO_PINNED\": \"1\"",
        "\"env:GGML_CUDA_NO_PINNED\": \"1\",\n      \"-ub\": \"1024\"",
        1,
    );
    assert_eq!((place.compose(), place.services()), (compose, json));
    let flags: Vec<&str> = outcome.changes.iter().map(|change| change.flag.as_str()).collect();
    assert_eq!((flags, outcome.writes.len()), (vec!["--batch-size", "-ub"], 2));
    let stored = format!("{:?}", place.state(id));
    assert!(!stored.contains("sk-dock") && !stored.contains("keep-me-secret"), "{stored}");
}

#[tokio::test]
async fn what_is_so_already_is_applied_without_a_write() {
    let place = Place::dock();
    let run = place.run("llamacpp-qwen3", &[("-b", "512"), ("-nkvo", "1")], &one_cell()).await;
    let (_, outcome) = place.apply(run, restart()).await;
    let outcome = outcome.unwrap();
    assert_eq!((outcome.applied.len(), outcome.changes.len(), outcome.writes.len()), (2, 0, 0));
    assert!(!outcome.restart_needed && outcome.diff.is_empty());
    assert_eq!((place.compose().as_str(), place.services().as_str(), place.copies()), (DOCK, DOCK_JSON, 0));
    assert!(!place.path("docker-compose.yml.lock").exists());
}

#[tokio::test]
async fn a_dry_run_and_a_preview_write_nothing() {
    let place = Place::dock();
    let run = place.run("llamacpp-qwen3", &[("-b", "4096")], &one_cell()).await;
    let before = place.around.store.applies(10).unwrap().len();
    let shown = preview(&place.around, run, &plain()).await.unwrap();
    assert_eq!(place.around.store.applies(10).unwrap().len(), before);
    let (id, outcome) = place.apply(run, dry()).await;
    let outcome = outcome.unwrap();
    assert_eq!(outcome, shown);
    assert!(outcome.dry_run && outcome.writes.is_empty());
    assert!(outcome.diff.contains("-      --batch-size 512\n+      --batch-size 4096\n"), "{}", outcome.diff);
    assert!(outcome.diff.contains("+      \"--batch-size\": \"4096\",\n"), "{}", outcome.diff);
    assert!(matches!(place.state(id), ApplyState::Done { .. }));
    assert_eq!((place.compose().as_str(), place.services().as_str(), place.copies()), (DOCK, DOCK_JSON, 0));
    assert!(!place.path("docker-compose.yml.lock").exists());
    assert_eq!(revert(&place.around, id).await.unwrap_err().reason, Reason::NothingToApply);
}

#[tokio::test]
async fn a_matrix_without_a_case_is_refused_with_the_cells_named() {
    let place = Place::new(CHAT, None);
    let run = place.run("chat", &[("-b", "256,1024")], &two_batches()).await;
    let (id, refused) = place.apply(run, plain()).await;
    let refusal = refused.unwrap_err();
    assert_eq!(refusal.reason, Reason::CaseNeeded);
    assert!(refusal.message.contains("1/2 (n_batch=256), 3/4 (n_batch=1024)"), "{}", refusal.message);
    assert_eq!(place.compose(), CHAT);
    assert_eq!(place.state(id), ApplyState::Failed { refusal, outcome: None });
    assert_eq!(place.events().last().unwrap(), "CaseNeeded");
}

#[tokio::test]
async fn a_metric_or_a_case_picks_the_winner() {
    for (options, value) in [
        (ApplyOptions { metric: Some(Metric::PromptRate), ..plain() }, "1024"),
        (ApplyOptions { metric: Some(Metric::GenerationRate), ..plain() }, "256"),
        (ApplyOptions { case: Some(CaseSelector::Number(4)), ..plain() }, "1024"),
    ] {
        let place = Place::new(CHAT, None);
        let run = place.run("chat", &[("-b", "256,1024")], &two_batches()).await;
        let outcome = place.apply(run, options).await.1.unwrap();
        assert_eq!(place.compose(), CHAT.replacen("\"512\"   #", &format!("\"{value}\"   #"), 1));
        assert_eq!(outcome.applied, [("-b".to_owned(), value.to_owned())]);
        assert!(outcome.note.unwrap().contains(&format!("n_batch={value}")));
    }
}

#[tokio::test]
async fn a_file_that_is_edited_between_plan_and_write_is_a_conflict_and_llm_docks_lock_is_waited_for() {
    let place = Place::dock();
    let run = place.run("llamacpp-qwen3", &[("-b", "4096")], &one_cell()).await;
    let id = place.plan(ApplySource::Run(run), plain()).await;
    let theirs = place.lock();
    let around = place.around.clone();
    let work = tokio::spawn(async move { carry_out(&around, id).await });
    until("the journaled write", || async {
        matches!(place.state(id), ApplyState::Writing { .. }).then_some(())
    })
    .await;
    assert_eq!(place.compose(), DOCK, "written in spite of the lock");
    let edited = DOCK.replace("-c 32768", "-c 16384");
    std::fs::write(place.path("docker-compose.yml"), &edited).unwrap();
    theirs.unlock().unwrap();
    let refusal = work.await.unwrap().unwrap_err();
    assert_eq!(refusal.reason, Reason::ApplyConflict);
    assert_eq!((place.compose(), place.services().as_str()), (edited.clone(), DOCK_JSON));
    let (_, again) = place.apply(run, plain()).await;
    again.unwrap();
    assert_eq!(place.compose(), edited.replace("--batch-size 512", "--batch-size 4096"));
}

#[tokio::test]
async fn a_crash_before_during_and_after_the_write_ends_in_the_same_state() {
    let place = Place::dock();
    let run = place.run("llamacpp-qwen3", &[("-b", "4096")], &one_cell()).await;
    let (id, outcome) = place.apply(run, plain()).await;
    let outcome = outcome.unwrap();
    let done = (place.compose(), place.services());
    let writing = || ApplyState::Writing { outcome: outcome.clone() };
    for (compose, services) in
        [(DOCK, DOCK_JSON), (done.0.as_str(), DOCK_JSON), (DOCK, done.1.as_str()), (&done.0, &done.1)]
    {
        std::fs::write(place.path("docker-compose.yml"), compose).unwrap();
        std::fs::write(place.path("services.json"), services).unwrap();
        place.crashed_at(id, writing()).await;
        let again = carry_out(&place.around, id).await.unwrap();
        assert_eq!((place.compose(), place.services()), done);
        assert_eq!(again.changes, outcome.changes);
        for (write, old) in again.writes.iter().zip([DOCK, DOCK_JSON]) {
            assert_eq!(std::fs::read_to_string(&write.backup).unwrap(), old, "{}", write.backup);
        }
        assert!(matches!(place.state(id), ApplyState::Done { .. }));
    }
    place.crashed_at(id, ApplyState::Planned).await;
    assert!(carry_out(&place.around, id).await.unwrap().changes.is_empty());
}

#[tokio::test]
async fn two_that_carry_out_the_same_apply_write_it_once() {
    let place = Place::dock();
    let run = place.run("llamacpp-qwen3", &[("-b", "4096")], &one_cell()).await;
    let id = place.plan(ApplySource::Run(run), plain()).await;
    let theirs = place.lock();
    let work: Vec<_> = (0..2)
        .map(|_| {
            let around = place.around.clone();
            tokio::spawn(async move { carry_out(&around, id).await })
        })
        .collect();
    until("both are at the lock", || async {
        (place.events().iter().filter(|reason| *reason == "Applying").count() == 2).then_some(())
    })
    .await;
    theirs.unlock().unwrap();
    for one in work {
        assert_eq!(one.await.unwrap().unwrap().writes.len(), 2);
    }
    assert_eq!(place.copies(), 2);
    assert!(matches!(place.state(id), ApplyState::Done { .. }));
}

#[tokio::test]
async fn a_file_that_is_edited_during_a_crash_is_a_conflict_in_words() {
    let place = Place::dock();
    let run = place.run("llamacpp-qwen3", &[("-b", "4096")], &one_cell()).await;
    let (id, outcome) = place.apply(run, plain()).await;
    let outcome = outcome.unwrap();
    place.crashed_at(id, ApplyState::Writing { outcome: outcome.clone() }).await;
    let edited = DOCK_JSON.replace("99", "98");
    std::fs::write(place.path("services.json"), &edited).unwrap();
    let refusal = carry_out(&place.around, id).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::ApplyConflict);
    assert!(refusal.message.contains("docker-compose.yml has the new flags"), "{}", refusal.message);
    assert!(refusal.message.contains("services.json is neither as it was before"), "{}", refusal.message);
    assert_eq!(place.services(), edited);
    let ApplyState::Failed { outcome: Some(kept), .. } = place.state(id) else {
        panic!("what was written is forgotten");
    };
    assert_eq!(kept.writes, outcome.writes);
}

#[tokio::test]
async fn a_revert_puts_the_files_back_and_leaves_copies() {
    let place = Place::dock();
    let run = place.run("llamacpp-qwen3", &[("-b", "4096"), ("-nkvo", "0")], &one_cell()).await;
    let (id, outcome) = place.apply(run, plain()).await;
    outcome.unwrap();
    let applied = place.compose();
    let back = revert(&place.around, id).await.unwrap();
    assert_eq!((place.compose().as_str(), place.services().as_str()), (DOCK, DOCK_JSON));
    assert_eq!(std::fs::read_to_string(&back.writes[0].backup).unwrap(), applied);
    let changes: Vec<_> =
        back.changes.iter().map(|change| (change.old.as_deref(), change.new.as_deref())).collect();
    assert_eq!(changes, [(Some("4096"), Some("512")), (None, Some(""))]);
    assert!(back.restart_needed && back.restart_command.is_some() && !back.diff.contains("sk-dock"));
    assert!(matches!(place.state(id), ApplyState::Reverted { .. }));
    assert_eq!(place.events().last().unwrap(), "Reverted");
    let copies = place.copies();
    let again = revert(&place.around, id).await.unwrap();
    assert!(again.note.unwrap().contains("already"));
    assert_eq!((place.copies(), place.compose().as_str()), (copies, DOCK));
}

#[tokio::test]
async fn a_revert_leaves_a_file_alone_that_was_changed_since() {
    let place = Place::dock();
    let run = place.run("llamacpp-qwen3", &[("-b", "4096")], &one_cell()).await;
    let (id, outcome) = place.apply(run, plain()).await;
    outcome.unwrap();
    let edited = place.services().replace("99", "98");
    std::fs::write(place.path("services.json"), &edited).unwrap();
    let refusal = revert(&place.around, id).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::ApplyConflict);
    assert!(refusal.hint.unwrap().contains("backups"));
    assert!(place.compose().contains("--batch-size 4096"));
    assert_eq!(place.services(), edited);
    assert!(matches!(place.state(id), ApplyState::Done { .. }));
}

#[tokio::test]
async fn only_completed_runs_of_the_real_thing_are_applied() {
    let place = Place::new(CHAT, None);
    let batch = |value: &'static str| [("-b", value)];
    let latest = || ApplySource::LatestOf { request: "bench".into() };
    let unknown = place.plan(latest(), plain()).await;
    assert_eq!(carry_out(&place.around, unknown).await.unwrap_err().reason, Reason::RunUnknown);
    let absent = place.apply(Uuid::new_v4(), plain()).await.1.unwrap_err();
    assert_eq!(absent.reason, Reason::RunUnknown);

    let failing = Ending::failed(Reason::ToolFailed, "no");
    let failed = place.run_that("chat", &batch("1"), &one_cell(), failing, false).await;
    let refusal = place.apply(failed, plain()).await.1.unwrap_err();
    assert_eq!(
        hash_of(&refusal),
        (Reason::RunNotCompleted, format!("the run {failed} is Failed and not Completed").as_str())
    );
    let open = place.plan(latest(), plain()).await;
    assert_eq!(carry_out(&place.around, open).await.unwrap_err().reason, Reason::RunNotCompleted);

    let fast = vec![json!({"pp": 5000.0, "tg": 500.0})];
    let fastest = place.run("chat", &batch("2"), &fast).await;
    let newest = place.run("chat", &batch("3"), &one_cell()).await;
    let faster = vec![json!({"pp": 9000.0, "tg": 900.0})];
    let simulated = place.run_that("chat", &batch("4"), &faster, Ending::completed("done"), true).await;
    let refusal = place.apply(simulated, plain()).await.1.unwrap_err();
    assert_eq!(refusal.reason, Reason::NothingToApply);
    assert_eq!(place.compose(), CHAT);

    let id = place.plan(latest(), plain()).await;
    assert_eq!(carry_out(&place.around, id).await.unwrap().applied[0].1, "3");
    assert_eq!(place.around.store.apply(id).unwrap().unwrap().run, Some(newest));
    let best = ApplySource::BestOf { request: "bench".into(), metric: Metric::GenerationRate };
    let id = place.plan(best, plain()).await;
    assert_eq!(carry_out(&place.around, id).await.unwrap().applied[0].1, "2");
    assert_eq!(place.around.store.apply(id).unwrap().unwrap().run, Some(fastest));
}

#[tokio::test]
async fn a_service_that_cannot_take_it_is_refused_with_a_reason() {
    let place = Place::dock();
    let gone = place.run("llamacpp-qwen", &[("-b", "1")], &one_cell()).await;
    let refusal = place.apply(gone, plain()).await.1.unwrap_err();
    assert_eq!(refusal.reason, Reason::ServiceUnknown);
    assert!(refusal.message.contains("llamacpp-qwen3"), "{}", refusal.message);
    let escaping = place.run("../../etc/passwd", &[("-b", "1")], &one_cell()).await;
    assert_eq!(place.apply(escaping, plain()).await.1.unwrap_err().reason, Reason::ServiceUnknown);
    let vllm = place.run("vllm-phi3", &[("-b", "1")], &one_cell()).await;
    assert_eq!(place.apply(vllm, plain()).await.1.unwrap_err().reason, Reason::ServiceNotLlamaCpp);
    let nothing = place.run("llamacpp-qwen3", &[("-p", "512")], &one_cell()).await;
    assert_eq!(place.apply(nothing, plain()).await.1.unwrap_err().reason, Reason::NothingToApply);
    assert_eq!(place.compose(), DOCK);
}

#[tokio::test]
async fn a_service_that_only_services_json_knows_is_changed_there() {
    let place = Place::dock();
    let run = place.run("llamacpp-only-listed", &[("-ngl", "50")], &one_cell()).await;
    let outcome = place.apply(run, restart()).await.1.unwrap();
    let expected =
        DOCK_JSON.replacen("\"-ngl\": \"99\"\n    }\n  }\n}", "\"-ngl\": \"50\"\n    }\n  }\n}", 1);
    assert_eq!((place.compose().as_str(), place.services()), (DOCK, expected));
    assert!(outcome.restart_needed && outcome.restart_command.is_none());
}

#[tokio::test]
async fn without_a_place_for_copies_nothing_is_written() {
    let place = Place::new(CHAT, None);
    std::fs::write(place.path("state/backups"), "in the way").unwrap();
    let run = place.run("chat", &[("-b", "1024")], &one_cell()).await;
    let refusal = place.apply(run, plain()).await.1.unwrap_err();
    assert_eq!(refusal.reason, Reason::ApplyFailed);
    assert!(refusal.message.contains("backups"), "{}", refusal.message);
    assert_eq!(place.compose(), CHAT);
}

#[tokio::test]
async fn without_docker_a_restart_is_left_to_the_user() {
    let place = Place::new(CHAT, None);
    let run = place.run("chat", &[("-b", "1024")], &one_cell()).await;
    let outcome = place.apply(run, restart()).await.1.unwrap();
    assert!(outcome.restart_needed && outcome.restart_command.is_some());
    assert!(outcome.note.unwrap().contains("Docker does not answer"));
}

/// A llama-server of a compose project of its own, which goes when this does.
struct Stack {
    place: Place,
    port: u16,
}

impl Stack {
    /// `None` where `tests/run` has said that there is no Docker, or no compose plugin.
    async fn start() -> Option<Self> {
        if is_left_out(Need::Docker)
            || std::env::var("BENCHLET_TEST_COMPOSE").is_ok_and(|path| path.is_empty())
        {
            eprintln!("not possible: no Docker with a compose plugin, as tests/run has said");
            return None;
        }
        let image = std::env::var("BENCHLET_TEST_IMAGE")
            .unwrap_or_else(|_| "benchlet-test/llama.cpp:local".to_owned());
        let model = std::env::var("BENCHLET_TEST_MODEL").map(PathBuf::from).unwrap_or_else(|_| {
            PathBuf::from(std::env::var("HOME").unwrap()).join(".cache/benchlet-tests/tiny.gguf")
        });
        assert!(model.is_file(), "{} is missing; tests/run makes it", model.display());
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // The host's network, because a test machine may have no bridge.
        let compose = format!(
            "name: benchlet-apply-{}\nservices:\n  tiny:\n    image: {image}\n    network_mode: host\n    \
             init: true\n    entrypoint: [llama-server]\n    ports: [\"{port}:{port}\"]\n    volumes: \
             [\"{}:/models:ro\"]\n    command:\n      - -m\n      - /models/{}\n      - --host\n      \
             - 127.0.0.1\n      - --port\n      - \"{port}\"\n      - --api-key\n      - sk-tiny-0123456789\n      \
             - -b\n      - \"512\"   # by feel\n",
            Uuid::new_v4().simple(),
            model.parent().unwrap().display(),
            model.file_name().unwrap().to_string_lossy(),
        );
        let mut place = Place::new(&compose, None);
        let docker = DockerExecutor::connect("apply-tests").await.expect("Docker answers; see tests/run");
        place.around.docker = Some(Arc::new(docker));
        let stack = Self { place, port };
        stack.compose(&["up", "-d"]);
        Some(stack)
    }

    fn compose(&self, arguments: &[&str]) {
        let file = self.place.path("docker-compose.yml");
        let output = std::process::Command::new("docker")
            .arg("compose")
            .arg("-f")
            .arg(file)
            .args(arguments)
            .output()
            .expect("docker; see tests/run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    async fn arguments(&self) -> Vec<String> {
        let text = self.place.compose();
        let project = text.lines().next().unwrap().strip_prefix("name: ").unwrap();
        let docker = self.place.around.docker.as_ref().unwrap();
        docker.service_containers(Some(project), "tiny", None).await.unwrap().remove(0).args
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let file = self.place.path("docker-compose.yml");
        let mut down = std::process::Command::new("docker");
        down.arg("compose").arg("-f").arg(file).args(["down", "-v", "--timeout", "1"]);
        if !down.output().is_ok_and(|output| output.status.success()) {
            eprintln!("a container of {} may be left", self.place.compose());
        }
    }
}

#[tokio::test]
async fn a_restart_recreates_the_container_and_sees_that_it_serves() {
    let Some(stack) = Stack::start().await else { return };
    let place = &stack.place;
    let before = place.compose();
    let run = place.run("tiny", &[("-b", "1024"), ("-t", "1")], &one_cell()).await;
    let (id, outcome) = place.apply(run, restart()).await;
    let outcome = outcome.unwrap();
    assert!(!outcome.restart_needed && outcome.restart_command.is_none(), "{outcome:?}");
    assert!(outcome.note.as_deref().unwrap().contains("/health"));
    let arguments = stack.arguments().await;
    let at = arguments.iter().position(|argument| argument == "-b").unwrap();
    assert_eq!(arguments[at + 1], "1024");
    assert!(std::net::TcpStream::connect(("127.0.0.1", stack.port)).is_ok());

    // A crash after the restart: looks again and does nothing.
    place.crashed_at(id, ApplyState::Restarting { outcome }).await;
    assert!(!carry_out(&place.around, id).await.unwrap().restart_needed);

    // Back by hand: the files are as wanted, the container is not, and that is seen.
    revert(&place.around, id).await.unwrap();
    assert_eq!(place.compose(), before);
    let run = place.run("tiny", &[("-b", "512")], &one_cell()).await;
    let behind = place.apply(run, plain()).await.1.unwrap();
    assert!(behind.changes.is_empty() && behind.restart_needed, "{behind:?}");
    let caught_up = place.apply(run, restart()).await.1.unwrap();
    assert!(!caught_up.restart_needed, "{caught_up:?}");
    assert!(stack.arguments().await.contains(&"512".to_owned()));
}

#[tokio::test]
async fn a_server_that_does_not_come_up_is_unverified_and_can_be_reverted() {
    let Some(stack) = Stack::start().await else { return };
    let place = &stack.place;
    let before = place.compose();
    let run = place.run("tiny", &[("--no-such-flag", "1")], &one_cell()).await;
    let (id, refused) = place.apply(run, restart()).await;
    let refusal = refused.unwrap_err();
    assert_eq!(refusal.reason, Reason::ApplyUnverified);
    assert!(refusal.message.contains("the files have the new flags"), "{}", refusal.message);
    assert!(place.compose().contains("--no-such-flag"));
    assert!(matches!(place.state(id), ApplyState::Failed { outcome: Some(_), .. }));
    revert(&place.around, id).await.unwrap();
    assert_eq!(place.compose(), before);
}

/// Set for the process in which `docker` knows no compose.
const CHILD: &str = "BENCHLET_TEST_APPLY_WITHOUT_PLUGIN";

#[tokio::test]
async fn without_the_compose_plugin_a_restart_is_left_to_the_user() {
    if std::env::var_os(CHILD).is_some() {
        let mut place = Place::new(CHAT, None);
        let docker = DockerExecutor::connect("apply-tests").await.expect("Docker answers; see tests/run");
        place.around.docker = Some(Arc::new(docker));
        let run = place.run("chat", &[("-b", "1024")], &one_cell()).await;
        let outcome = place.apply(run, restart()).await.1.unwrap();
        assert!(outcome.restart_needed && outcome.restart_command.is_some());
        let note = outcome.note.unwrap();
        assert!(note.contains("compose plugin does not answer (unknown command"), "{note}");
        return;
    }
    if is_left_out(Need::Docker) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let docker = directory.path().join("docker");
    std::fs::write(&docker, "#!/bin/sh\necho \"unknown command: $1\" >&2\nexit 1\n").unwrap();
    std::fs::set_permissions(&docker, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap());
    // In a process of its own: the environment is shared by all tests of one.
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "apply::without_the_compose_plugin_a_restart_is_left_to_the_user"])
        .env("PATH", path)
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}
