//! The jobs around a load test's engines: start one, wait until it is healthy, leave its address for the
//! measuring process; and take it away again, whatever came in between. Each is safe to repeat.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::context::Context;
use super::jobs::Handle;
use super::measure::{self, JobOutcome};
use super::prepare::AGAIN;
use crate::decide::observed::JobResult;
use crate::engine::address::Address;
use crate::engine::wire::Wire;
use crate::executor::{Executor, ExecutorError, STDERR, STDOUT};
use crate::files::{atomic_write, private_dir};
use crate::plan::service::looks_secret;
use crate::run::measure_plan::{ADDRESS_FILE, EngineAddress, TargetPlan};
use crate::run::phase::RunState;
use crate::run::plan::{Blueprint, EngineTask, ExecutorKind, Step};
use crate::run::reason::{Reason, Refusal};
use crate::run::step::{Exit, ExitCause, TaskId, TaskState};
use crate::store::runs::RunRow;

/// A server that loads its model is asked this often.
const LOOK: Duration = Duration::from_millis(150);
/// Longest time that a health question may take.
const HEALTH_LIMIT: Duration = Duration::from_secs(5);
/// What benchlet's own stand-in says first.
const LISTENING: &str = "listening on ";

/// Starts the engine of the current step and waits until it is healthy.
pub async fn start(context: &Context, run: Uuid, handle: &Handle) -> JobOutcome {
    let (row, blueprint) = measure::load(context, run)?;
    let Some((engine, id)) = current(&row) else {
        return Err(Refusal::new(Reason::InternalError, "the step starts no engine"));
    };
    let executor =
        context.executor(engine.executor).await.map_err(|reason| Refusal::new(Reason::NoExecutor, reason))?;
    let spool = context.spool(&id);
    private_dir::create(&spool).map_err(|error| internal(&error.to_string()))?;
    let name = target_of(&blueprint, &engine).map_or("the engine", |target| target.name.as_str()).to_owned();
    handle.note(format!("starting {name}"));
    launch(context, executor.as_ref(), &engine, &id, &spool).await?;
    let end = Instant::now() + Duration::from_millis(engine.start_ms);
    loop {
        let last = match executor.observe(&id, &spool).await {
            TaskState::Running => match healthy(context, &blueprint, &engine, &id, &spool).await {
                Ok(address) => {
                    let bytes = serde_json::to_vec(&address).map_err(|error| internal(&error.to_string()))?;
                    atomic_write::replace(&spool.join(ADDRESS_FILE), &bytes, 0o600)
                        .map_err(|error| internal(&error.to_string()))?;
                    return Ok(JobResult::Finished);
                }
                Err(words) => words,
            },
            TaskState::Unknown { reason } => reason,
            state @ (TaskState::Absent | TaskState::Created { .. } | TaskState::Exited(_)) => {
                return Err(gone(executor.as_ref(), &name, &state, &id, &spool).await);
            }
        };
        if Instant::now() >= end {
            let allowed = crate::run::clock::human_ms(engine.start_ms);
            let message = format!("{name} was not ready within {allowed}: {last}");
            return Err(Refusal::new(
                Reason::EngineFailed,
                with_tail(message, &tail(executor.as_ref(), &id, &spool).await),
            )
            .hint("give it a longer spec.engineStartTimeout, or look at its words with `benchlet logs`"));
        }
        handle.note(format!("waiting for {name}: {last}"));
        tokio::time::sleep(LOOK).await;
    }
}

/// Takes the engine of the current step away and keeps what it said.
pub async fn stop(context: &Context, run: Uuid) -> JobOutcome {
    let (row, _) = measure::load(context, run)?;
    let RunState::Running { step, .. } = &row.state else {
        return Ok(JobResult::Finished);
    };
    let steps = row.plan.as_ref().map(|plan| plan.steps.as_slice()).unwrap_or_default();
    let Some(Step::StopEngine { step: started }) = steps.get(*step as usize) else {
        return Ok(JobResult::Finished);
    };
    let Some(Step::StartEngine { engine }) = steps.get(*started as usize) else {
        return Ok(JobResult::Finished);
    };
    for attempt in 0..=row.attempt {
        let id = TaskId { run, attempt, ..engine.task.id.clone() };
        let spool = context.spool(&id);
        if !spool.exists() {
            continue;
        }
        // An engine that is left behind holds its devices, so a daemon that is away is waited for.
        loop {
            if let Ok(executor) = context.executor(engine.executor).await {
                if let Err(error) = executor.stop(&id, &spool).await
                    && matches!(error, ExecutorError::Unreachable(_))
                {
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
                wait_for_end(executor.as_ref(), &id, &spool).await;
                take_away(context, executor.as_ref(), &id).await;
                break;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
    Ok(JobResult::Finished)
}

/// A server that ends politely closes its log itself.
async fn wait_for_end(executor: &dyn Executor, id: &TaskId, spool: &Path) {
    let end = Instant::now() + Duration::from_secs(10);
    while executor.observe(id, spool).await == TaskState::Running && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

fn current(row: &RunRow) -> Option<(EngineTask, TaskId)> {
    let RunState::Running { step, .. } = &row.state else { return None };
    match row.plan.as_ref()?.steps.get(*step as usize)? {
        Step::StartEngine { engine } => {
            let id = TaskId { run: row.id, attempt: row.attempt, ..engine.task.id.clone() };
            Some((engine.as_ref().clone(), id))
        }
        Step::StopService { .. }
        | Step::Bench { .. }
        | Step::StartService { .. }
        | Step::Load { .. }
        | Step::StopEngine { .. } => None,
    }
}

fn target_of<'a>(blueprint: &'a Blueprint, engine: &EngineTask) -> Option<&'a TargetPlan> {
    blueprint.load.as_ref()?.measure.targets.get(engine.target)
}

async fn launch(
    context: &Context,
    executor: &dyn Executor,
    engine: &EngineTask,
    id: &TaskId,
    spool: &Path,
) -> Result<(), Refusal> {
    if executor.observe(id, spool).await == TaskState::Running {
        return Ok(());
    }
    let mut task = engine.task.clone();
    task.id = id.clone();
    if let Some(service) = &engine.service {
        // Tokens for model hubs, from the files as they are now: no plan holds them. Not the server's own
        // key: on the loopback address nobody needs one.
        let found = super::surroundings::find_service(&context.settings, service).await?;
        let own = found.kind.key_variables();
        let wanted = |name: &str| looks_secret(name) && !own.contains(&name);
        task.env.extend(found.env.into_iter().filter(|(name, _)| wanted(name)));
    }
    match executor.start(&task, spool).await {
        Ok(()) => Ok(()),
        Err(ExecutorError::Refused(words) | ExecutorError::ImageMissing(words)) => {
            Err(Refusal::new(Reason::EngineFailed, format!("the engine could not be started: {words}"))
                .hint("start the service itself to see whether it has the same trouble"))
        }
        Err(error) => Err(Refusal::new(Reason::NoExecutor, error.to_string())),
    }
}

/// The address of an engine that answers that it is ready; else what it says.
async fn healthy(
    context: &Context,
    blueprint: &Blueprint,
    engine: &EngineTask,
    id: &TaskId,
    spool: &Path,
) -> Result<EngineAddress, String> {
    let address = match engine.executor {
        ExecutorKind::Docker => {
            let port = engine.task.container.as_ref().and_then(|container| container.serving.as_ref());
            let port = port.map(|serving| serving.port).ok_or("its container serves nothing")?;
            let docker = context.docker.get().await?;
            let found = docker.serving_at(id, port).await.map_err(|error| error.to_string())?;
            let (host, container) = found.ok_or("its port is not published yet")?;
            EngineAddress { url: format!("http://127.0.0.1:{host}"), container: Some(container), pid: None }
        }
        ExecutorKind::Process => {
            let said = measure::read(&spool.join(STDOUT));
            let said = String::from_utf8_lossy(&said);
            let line = said.lines().find_map(|line| line.strip_prefix(LISTENING));
            let url = line.ok_or("it has not said where it listens")?.trim().to_owned();
            EngineAddress { url, container: None, pid: context.process.program_of(spool) }
        }
    };
    let target = target_of(blueprint, engine).ok_or("the plan has no such target")?;
    let parsed = Address::parse(&address.url).map_err(|error| error.to_string())?;
    let wire = Wire { dialect: target.dialect.clone(), api: target.api, address: parsed, key: None };
    wire.health(HEALTH_LIMIT).await.map_err(|error| error.to_string())?;
    Ok(address)
}

/// An engine that ended before it was ready.
async fn gone(executor: &dyn Executor, name: &str, state: &TaskState, id: &TaskId, spool: &Path) -> Refusal {
    let tail = tail(executor, id, spool).await;
    let how = match state {
        TaskState::Exited(Exit { cause: ExitCause::Code(code), oom_killed, .. }) => {
            let memory = if *oom_killed { ", killed for want of memory" } else { "" };
            format!("it ended with exit code {code}{memory}")
        }
        TaskState::Exited(Exit { cause: ExitCause::NotStarted(words), .. })
        | TaskState::Created { error: Some(words) } => format!("it could not be started: {words}"),
        TaskState::Exited(Exit {
            cause: ExitCause::DeadlineExceeded | ExitCause::OutputTooLarge | ExitCause::Lost,
            ..
        })
        | TaskState::Absent
        | TaskState::Created { error: None }
        | TaskState::Running
        | TaskState::Unknown { .. } => "it is gone".to_owned(),
    };
    Refusal::new(Reason::EngineFailed, with_tail(format!("{name} did not become ready: {how}"), &tail)).hint(
        "its words are in `benchlet logs`; start the service itself to see whether it has the same trouble",
    )
}

/// The last lines of its output.
async fn tail(executor: &dyn Executor, id: &TaskId, spool: &Path) -> String {
    if let Err(error) = executor.drain(id, spool).await {
        tracing::debug!(%error, "the engine's output may be incomplete");
    }
    measure::last_lines(&measure::read(&spool.join(STDERR)), &measure::read(&spool.join(STDOUT)))
}

/// The last line that says something, behind a message.
fn with_tail(message: String, tail: &str) -> String {
    match tail.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => format!("{message}: {}", line.trim()),
        None => message,
    }
}

/// Completes its output and removes it. What cannot be removed now is found by its labels later.
async fn take_away(context: &Context, executor: &dyn Executor, id: &TaskId) {
    let spool = context.spool(id);
    if let Err(error) = executor.drain(id, &spool).await {
        tracing::debug!(task = id.name(), %error, "an engine's output may be incomplete");
    }
    if let Err(error) = executor.remove(id, &spool).await {
        tracing::warn!(task = id.name(), %error, "an engine could not be removed");
    }
}

fn internal(words: &str) -> Refusal {
    Refusal::new(Reason::InternalError, words)
}
