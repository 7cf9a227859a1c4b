//! The jobs before measuring: bring the image, ask it for llama-bench, hash the model, look at the
//! machine; and stopping and starting the service around a run. Each is safe to repeat.

use std::time::Duration;

use uuid::Uuid;

use super::context::Context;
use super::jobs::Handle;
use super::load_inputs;
use super::measure::{self, JobOutcome};
use crate::collect::{fingerprint, model_file};
use crate::decide::observed::JobResult;
use crate::executor::{Executor, ExecutorError, STDERR, STDOUT};
use crate::files::private_dir;
use crate::request::llama_bench::PullPolicy;
use crate::run::bench_help::BenchHelp;
use crate::run::fingerprint::{Image, Model};
use crate::run::phase::RunState;
use crate::run::plan::{Blueprint, ImageFacts, Step, ToolFacts};
use crate::run::reason::{Reason, Refusal};
use crate::run::step::{Exit, ExitCause, Role, TaskId, TaskSpec, TaskState};
use crate::store::facts::FileIdentity;
use crate::store::runs::{self, RunRow};

/// Most places that are tried for llama-bench.
pub const MOST_CANDIDATES: u32 = 8;
/// Longest time that `llama-bench --help` may take.
const PROBE_LIMIT: Duration = Duration::from_secs(60);
/// A daemon that does not answer is asked again this often.
pub const AGAIN: Duration = Duration::from_secs(1);

/// Looks the image up and pulls it as the policy says.
pub async fn image(context: &Context, run: Uuid, handle: &Handle) -> JobOutcome {
    let (_, blueprint) = measure::load(context, run)?;
    if let Some(load) = &blueprint.load {
        let mut images = Vec::new();
        for container in load.engines.iter().filter_map(|engine| engine.task.container.as_ref()) {
            images.push(bring(context, &container.image, blueprint.pull_policy, handle).await?);
        }
        return Ok(JobResult::Images(images));
    }
    let Some(container) = &blueprint.template.container else {
        return Err(Refusal::new(Reason::InternalError, "the run has no container"));
    };
    Ok(JobResult::Image(bring(context, &container.image, blueprint.pull_policy, handle).await?))
}

async fn bring(
    context: &Context,
    reference: &str,
    policy: PullPolicy,
    handle: &Handle,
) -> Result<ImageFacts, Refusal> {
    let docker = context.docker.get().await.map_err(|reason| unavailable(reference, &reason))?;
    let unavailable = |error: ExecutorError| unavailable(reference, &error.to_string());
    let here = docker.image(reference).await.map_err(unavailable)?;
    let pull = match (policy, &here) {
        (PullPolicy::Always, _) | (PullPolicy::IfNotPresent, None) => true,
        (PullPolicy::IfNotPresent | PullPolicy::Never, Some(_)) => false,
        (PullPolicy::Never, None) => {
            let message = format!("the image {reference} is not here, and spec.imagePullPolicy is Never");
            return Err(Refusal::new(Reason::ImageUnavailable, message).hint(format!(
                "docker pull {reference}, or build it, or set imagePullPolicy: IfNotPresent"
            )));
        }
    };
    if pull {
        handle.note(format!("pulling {reference}"));
        docker
            .pull(reference, |progress| {
                handle.note(format!(
                    "pulling {reference}: {} of {} layers, {:.0} of {:.0} MB",
                    progress.layers_done,
                    progress.layers,
                    progress.bytes_done as f64 / 1e6,
                    progress.bytes as f64 / 1e6,
                ));
            })
            .await
            .map_err(unavailable)?;
    }
    let image = docker.image(reference).await.map_err(unavailable)?.ok_or_else(|| {
        Refusal::new(Reason::ImageUnavailable, format!("the image {reference} is not here after its pull"))
    })?;
    Ok(ImageFacts { id: image.id, digest: image.repo_digests.into_iter().next() })
}

fn unavailable(reference: &str, words: &str) -> Refusal {
    Refusal::new(Reason::ImageUnavailable, format!("the image {reference} cannot be had: {words}"))
        .hint(format!("check its name and tag; try docker pull {reference}, or build it on this machine"))
}

/// Finds llama-bench among the candidates and reads its `--help`. Remembered by the image's id.
pub async fn probe(context: &Context, run: Uuid, _handle: &Handle) -> JobOutcome {
    let (row, blueprint) = measure::load(context, run)?;
    let image = match &row.state {
        RunState::Preparing { prepared, .. } => prepared.image.as_ref().map(|image| image.id.clone()),
        RunState::Pending | RunState::Running { .. } | RunState::Collecting { .. } | RunState::Ended(_) => {
            None
        }
    };
    if blueprint.simulated {
        let program = blueprint.tool_candidates.first().cloned().unwrap_or_default();
        return Ok(JobResult::Probe(ToolFacts { program, knows_progress: true, warnings: Vec::new() }));
    }
    if let Some(image) = &image
        && let Some((facts, help)) = context.store.tool(image).map_err(measure::store_refusal)?
    {
        let warnings = check_params(&BenchHelp::parse(&help), &blueprint);
        return Ok(JobResult::Probe(ToolFacts { warnings, ..facts }));
    }
    let executor = context
        .executor(blueprint.executor)
        .await
        .map_err(|reason| Refusal::new(Reason::NoExecutor, reason))?;
    let mut last = None;
    for (step, candidate) in (0..MOST_CANDIDATES).zip(&blueprint.tool_candidates) {
        let id = TaskId { run, attempt: 0, step, role: Role::Probe };
        match ask_help(context, executor.as_ref(), &blueprint, image.as_deref(), id, candidate).await? {
            Asked::Help(text) => {
                let help = BenchHelp::parse(&text);
                let warnings = check_params(&help, &blueprint);
                let facts = ToolFacts {
                    program: candidate.clone(),
                    knows_progress: help.knows_progress,
                    warnings: Vec::new(),
                };
                if let Some(image) = image {
                    let kept = context.store.keep_tool(image, facts.clone(), text).await;
                    kept.map_err(measure::store_refusal)?;
                }
                return Ok(JobResult::Probe(ToolFacts { warnings, ..facts }));
            }
            Asked::Failed(refusal) if refusal.reason == Reason::LlamaBenchMissing => last = Some(refusal),
            Asked::Failed(refusal) => return Err(refusal),
        }
    }
    Err(last.unwrap_or_else(|| {
        Refusal::new(Reason::LlamaBenchMissing, "there is no place to look for llama-bench")
    }))
}

enum Asked {
    Help(String),
    Failed(Refusal),
}

async fn ask_help(
    context: &Context,
    executor: &dyn Executor,
    blueprint: &Blueprint,
    image: Option<&str>,
    id: TaskId,
    candidate: &[String],
) -> Result<Asked, Refusal> {
    let mut argv = candidate.to_vec();
    argv.push("--help".to_owned());
    let deadline_ms = u64::try_from(PROBE_LIMIT.as_millis()).unwrap_or(u64::MAX);
    let mut task = TaskSpec { id: id.clone(), argv, deadline_ms, ..blueprint.template.clone() };
    if let (Some(container), Some(image)) = (&mut task.container, image) {
        container.image = image.to_owned();
    }
    let spool = context.spool(&id);
    private_dir::create(&spool).map_err(|error| Refusal::new(Reason::InternalError, error.to_string()))?;
    let executor_refusal = |error: ExecutorError| Refusal::new(Reason::NoExecutor, error.to_string());
    if let Err(error) = executor.start(&task, &spool).await {
        match error {
            ExecutorError::Refused(words) | ExecutorError::ImageMissing(words) => {
                measure::note_refusal(&spool, &words)
                    .map_err(|error| Refusal::new(Reason::InternalError, error.to_string()))?;
            }
            ExecutorError::Unreachable(_) | ExecutorError::Io { .. } => return Err(executor_refusal(error)),
        }
    }
    // A failure to follow shows in what the drain finds.
    drop(tokio::time::timeout(PROBE_LIMIT, executor.follow(&id, &spool)).await);
    let state = settle(executor, &id, &spool).await;
    executor.drain(&id, &spool).await.map_err(executor_refusal)?;
    let (stdout, stderr) = (measure::read(&spool.join(STDOUT)), measure::read(&spool.join(STDERR)));
    executor.remove(&id, &spool).await.map_err(executor_refusal)?;
    let exit = measure::exit_of(&state, &spool);
    let text = String::from_utf8_lossy(&stdout).into_owned();
    if text.contains("usage:") || text.contains("--n-prompt") {
        return Ok(Asked::Help(text));
    }
    let refusal = measure::classified(&exit, &stdout, &stderr, 0, blueprint, &task);
    Ok(match refusal {
        Some(refusal) => Asked::Failed(refusal),
        None => Asked::Failed(Refusal::new(
            Reason::LlamaBenchMissing,
            format!("{} does not answer --help as llama-bench does", candidate.join(" ")),
        )),
    })
}

/// The task's state once it is no longer running; a hanging one is stopped.
async fn settle(executor: &dyn Executor, id: &TaskId, spool: &std::path::Path) -> TaskState {
    let mut state = executor.observe(id, spool).await;
    for attempt in 0..100 {
        if state != TaskState::Running {
            return state;
        }
        if attempt == 20
            && let Err(error) = executor.stop(id, spool).await
        {
            tracing::warn!(%error, "a probe that hangs could not be stopped");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        state = executor.observe(id, spool).await;
    }
    TaskState::Exited(Exit { cause: ExitCause::DeadlineExceeded, oom_killed: false, finished_at: None })
}

fn check_params(help: &BenchHelp, blueprint: &Blueprint) -> Vec<String> {
    let params: Vec<(String, String)> =
        blueprint.params.iter().map(|param| (param.flag.clone(), param.value.clone())).collect();
    help.check(&params)
}

/// Looks at the machine and the model and keeps the fingerprint with the run.
pub async fn machine(context: &Context, run: Uuid, handle: &Handle) -> JobOutcome {
    let (row, blueprint) = measure::load(context, run)?;
    let mut prompts_sha256 = None;
    if let Some(load) = &blueprint.load {
        prompts_sha256 = load_inputs::copy_prompts(context, run, load)?;
        load_inputs::copy_tokenizer(context, run, load).await?;
    }
    let model = model_facts(context, &blueprint, handle).await?;
    let image = match &row.state {
        RunState::Preparing { prepared, .. } => {
            prepared.image.clone().or_else(|| prepared.images.first().cloned())
        }
        RunState::Pending | RunState::Running { .. } | RunState::Collecting { .. } | RunState::Ended(_) => {
            None
        }
    };
    let request = context.settings.requests.join(&row.request_path);
    let mut found = tokio::task::spawn_blocking(move || fingerprint::collect(Some(&request)))
        .await
        .map_err(|error| Refusal::new(Reason::InternalError, error.to_string()))?;
    found.request.path = Some(row.request_path.clone());
    found.model = model;
    found.prompts_sha256 = prompts_sha256;
    found.image = Image {
        reference: image_reference(&blueprint),
        id: image.as_ref().map(|image| image.id.clone()),
        digest: image.and_then(|image| image.digest),
    };
    let value = serde_json::to_value(&found)
        .map_err(|error| Refusal::new(Reason::InternalError, error.to_string()))?;
    context
        .store
        .write(move |connection| runs::set_fingerprint(connection, run, &value))
        .await
        .map_err(measure::store_refusal)?;
    Ok(JobResult::Finished)
}

/// The image that measures, or that of the first engine that is started.
fn image_reference(blueprint: &Blueprint) -> Option<String> {
    let engines = blueprint.load.iter().flat_map(|load| &load.engines).map(|engine| &engine.task);
    let container =
        std::iter::once(&blueprint.template).chain(engines).find_map(|task| task.container.as_ref());
    container.map(|container| container.image.clone())
}

/// Size and hash of the model, from the cache where the file has not changed.
async fn model_facts(context: &Context, blueprint: &Blueprint, handle: &Handle) -> Result<Model, Refusal> {
    let path = Some(blueprint.model.clone()).filter(|path| !path.is_empty());
    let Some(host) = blueprint.model_host_path.clone() else {
        return Ok(Model { path, ..Model::default() });
    };
    let mut parts = Vec::new();
    for part in model_file::parts_of(&host) {
        let Ok(identity) = model_file::FileIdentity::of(&part) else {
            // llama-bench will say in its own words that the file is not there.
            return Ok(Model { path, ..Model::default() });
        };
        let key = FileIdentity {
            device: identity.device,
            inode: identity.inode,
            size: identity.size,
            mtime_ns: i64::try_from(identity.mtime_ns).unwrap_or(0),
        };
        let known = context.store.model_hash(key).map_err(measure::store_refusal)?;
        let sha256 = match known {
            Some(sha256) => sha256,
            None => {
                handle.note(format!("hashing {}", part.display()));
                let Some(hash) = hash(part.clone(), handle).await else {
                    return Ok(Model { path, ..Model::default() });
                };
                context.store.keep_model_hash(key, hash.clone()).await.map_err(measure::store_refusal)?;
                hash
            }
        };
        parts.push(model_file::FileHash { sha256, size_bytes: identity.size, identity });
    }
    let whole = model_file::combine(parts);
    Ok(Model { path, size_bytes: Some(whole.size_bytes), sha256: Some(whole.sha256) })
}

async fn hash(path: std::path::PathBuf, handle: &Handle) -> Option<String> {
    let (handle, cancel) = (handle.clone(), handle.cancelled.clone());
    let hashed = tokio::task::spawn_blocking(move || {
        let shown = path.display().to_string();
        let mut progress = |bytes: u64| handle.note(format!("hashing {shown}: {:.1} GB", bytes as f64 / 1e9));
        model_file::hash_file(&path, &cancel, &mut progress)
    })
    .await;
    match hashed {
        Ok(Ok(hash)) => Some(hash.sha256),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the model could not be hashed");
            None
        }
        Err(_) => None,
    }
}

/// Stops the service's own containers for the run.
pub async fn stop_service(context: &Context, run: Uuid) -> JobOutcome {
    for container in containers(context, run)? {
        let docker = context.docker.get().await.map_err(|reason| Refusal::new(Reason::NoExecutor, reason))?;
        docker.stop_container(&container).await.map_err(|error| {
            Refusal::new(
                Reason::ServiceRunning,
                format!("the service's container cannot be stopped: {error}"),
            )
            .hint("stop it by hand, or set spec.conflict to Share")
        })?;
    }
    Ok(JobResult::Finished)
}

/// Starts them again. Waits for a daemon that is away, because the user's service depends on it.
pub async fn start_service(context: &Context, run: Uuid) -> JobOutcome {
    for container in containers(context, run)? {
        loop {
            let started = match context.docker.get().await {
                Ok(docker) => docker.start_container(&container).await,
                Err(reason) => Err(ExecutorError::Unreachable(reason)),
            };
            match started {
                Ok(()) => break,
                Err(ExecutorError::Unreachable(_)) => tokio::time::sleep(AGAIN).await,
                Err(error) => {
                    let message = format!("the service's container could not be started again: {error}");
                    return Err(Refusal::new(Reason::ServiceNotRestored, message)
                        .hint(format!("docker start {container}")));
                }
            }
        }
    }
    Ok(JobResult::Finished)
}

fn containers(context: &Context, run: Uuid) -> Result<Vec<String>, Refusal> {
    let (row, _) = measure::load(context, run)?;
    let RunRow { plan, state, .. } = row;
    let RunState::Running { step, .. } = state else {
        return Ok(Vec::new());
    };
    Ok(match plan.and_then(|plan| plan.steps.into_iter().nth(step as usize)) {
        Some(Step::StopService { containers } | Step::StartService { containers }) => containers,
        Some(Step::Bench { .. } | Step::Load { .. } | Step::StartEngine { .. } | Step::StopEngine { .. })
        | None => Vec::new(),
    })
}
