//! Carries one order out: one `match`, no policy, no waiting for anything long. The journal entry
//! comes before the act.

use super::context::{Context, timestamp};
use super::{apply_task, crash, engines, judge, load_inputs, measure, model_job, prepare, report_files};
use crate::decide::action::{Action, Decision};
use crate::decide::observed::{Job, Observed};
use crate::executor::ExecutorError;
use crate::files::private_dir;
use crate::run::phase::RunState;
use crate::run::plan::ExecutorKind;
use crate::run::step::{Role, TaskId};
use crate::store::{StoreError, applies, commands, events, requests, runs};

#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    #[error("{device} is held by {holder}")]
    Claimed { device: String, holder: String },
    #[error("{0}")]
    Unavailable(String),
    #[error("{path}: {source}")]
    Io { path: String, source: std::io::Error },
}

/// # Errors
/// The order could not be carried out; the request is looked at again with a delay.
pub async fn execute(
    context: &Context,
    observed: &Observed,
    decision: &Decision,
) -> Result<(), ExecuteError> {
    if matches!(decision.action, Action::Wait) {
        return Ok(());
    }
    crash::point();
    let outcome = carry_out(context, observed, decision).await;
    crash::point();
    outcome
}

async fn carry_out(context: &Context, observed: &Observed, decision: &Decision) -> Result<(), ExecuteError> {
    let now = timestamp(observed.now.unix_ms);
    let name = observed.name.clone();
    let (reason, message) = (decision.reason, decision.message.clone());
    match decision.action.clone() {
        Action::Wait => {}
        Action::Register(record) => {
            context.store.write(move |connection| requests::save(connection, &record, &now)).await?;
        }
        Action::CreateRun(new) => {
            context.store.write(move |connection| runs::create(connection, &new, &now)).await?;
        }
        Action::Satisfy { uid, hash, rerun } => {
            context
                .store
                .write(move |connection| {
                    requests::satisfy(connection, &uid, Some(&hash), rerun.as_deref())?;
                    events::note(connection, Some(&name), None, reason.as_str(), &message, &now)
                })
                .await?;
        }
        Action::Admit { run, blueprint, state } => {
            context
                .claims
                .take(run, &name, &blueprint.service, &blueprint.claims)
                .map_err(|(device, holder)| ExecuteError::Claimed { device, holder })?;
            context
                .store
                .write(move |connection| {
                    runs::set_blueprint(connection, run, &blueprint)?;
                    runs::advance(connection, run, &state, &now)?;
                    events::note(connection, Some(&name), Some(run), reason.as_str(), &message, &now)
                })
                .await?;
        }
        Action::Advance { run, state, plan } => {
            if plan.is_some() {
                context.jobs.begin_measuring(run).map_err(|request| {
                    ExecuteError::Unavailable(format!("{request} pulls, hashes or probes just now"))
                })?;
            }
            let from = observed.run.as_ref().map(|run| run.state.phase());
            let phase = state.phase();
            context
                .store
                .write(move |connection| {
                    if let Some(plan) = &plan {
                        runs::set_plan(connection, run, plan)?;
                    }
                    runs::advance(connection, run, &state, &now)?;
                    if from != Some(phase) {
                        events::note(connection, Some(&name), Some(run), phase.as_str(), &message, &now)?;
                    }
                    Ok(())
                })
                .await?;
            // What the jobs so far have found is in the state now.
            context.jobs.forget_finished(run);
        }
        Action::Retry { run, state, attempt, faults, failures } => {
            context
                .store
                .write(move |connection| {
                    runs::set_attempt(connection, run, attempt, faults, failures)?;
                    runs::advance(connection, run, &state, &now)?;
                    events::note(connection, Some(&name), Some(run), reason.as_str(), &message, &now)
                })
                .await?;
            context.jobs.cancel(run, |_| true);
        }
        Action::StartJob { run, job } => start_job(context, observed, run, job),
        Action::StopJob { run, job } => context.jobs.cancel(run, |other| other == job),
        Action::StartTask { run, task, started } => {
            let kind = executor_kind(observed);
            let spool = context.spool(&task.id);
            private_dir::create(&spool)
                .map_err(|source| ExecuteError::Io { path: spool.display().to_string(), source })?;
            load_inputs::write(&spool, &task)
                .map_err(|source| ExecuteError::Io { path: spool.display().to_string(), source })?;
            let executor = context.executor(kind).await.map_err(ExecuteError::Unavailable)?;
            match executor.start(&task, &spool).await {
                Ok(()) => {}
                // Its words are what the next look finds.
                Err(ExecutorError::Refused(words) | ExecutorError::ImageMissing(words)) => {
                    measure::note_refusal(&spool, &words)?;
                }
                Err(error) => return Err(error.into()),
            }
            crash::point();
            context.store.write(move |connection| runs::advance(connection, run, &started, &now)).await?;
        }
        Action::StopTask { id } => {
            let executor =
                context.executor(executor_kind(observed)).await.map_err(ExecuteError::Unavailable)?;
            executor.stop(&id, &context.spool(&id)).await?;
        }
        Action::EndRun { run, ending } => {
            context.jobs.cancel(run, |_| true);
            let tail = measure::message_of(&ending);
            let state = RunState::Ended(ending);
            remove_probe(context, observed, run).await;
            context
                .store
                .write(move |connection| {
                    runs::advance(connection, run, &state, &now)?;
                    commands::answer_cancels(connection, &name, &now)?;
                    events::note(connection, Some(&name), Some(run), reason.as_str(), &tail, &now)
                })
                .await?;
            context.claims.release(run);
            context.jobs.end_measuring(run);
            wake_waiting(context, observed);
            wake_judging(context)?;
            report_files::write(context, &observed.name, run).await;
        }
        Action::CreateApply(new) => {
            context.store.write(move |connection| applies::create(connection, &new, &now)).await?;
        }
        Action::StartApply { id } => apply_task::start(context, id, &observed.name),
        Action::Pin(new) => {
            judge::pin(context, observed, *new).await?;
            wake_judging(context)?;
        }
        Action::Judge(new) => judge::judge(context, observed, &new).await?,
        Action::Answer { command, outcome } => {
            context
                .store
                .write(move |connection| commands::answer(connection, command, &outcome, None, &now))
                .await?;
        }
    }
    Ok(())
}

fn executor_kind(observed: &Observed) -> ExecutorKind {
    let blueprint = observed.run.as_ref().and_then(|run| run.blueprint.as_ref());
    blueprint.map_or(ExecutorKind::Process, |blueprint| blueprint.executor)
}

fn start_job(context: &Context, observed: &Observed, run: uuid::Uuid, job: Job) {
    if job == Job::Drain {
        // One writer of the spool at a time.
        context.jobs.cancel(run, |other| other == Job::Follow);
    }
    if job == Job::StopEngine {
        // It may still wait for the engine that is now taken away.
        context.jobs.cancel(run, |other| other == Job::StartEngine);
    }
    let name = observed.name.clone();
    let context = context.clone();
    let jobs = context.jobs.clone();
    jobs.start(run, job, &name, move |handle| async move {
        match job {
            Job::Image => prepare::image(&context, run, &handle).await,
            Job::Probe => prepare::probe(&context, run, &handle).await,
            Job::Machine => prepare::machine(&context, run, &handle).await,
            Job::Follow => measure::follow(&context, run).await,
            Job::Drain => measure::drain(&context, run).await,
            Job::StopService => prepare::stop_service(&context, run).await,
            Job::StartService => prepare::start_service(&context, run).await,
            Job::StartEngine => engines::start(&context, run, &handle).await,
            Job::StopEngine => engines::stop(&context, run).await,
            Job::Collect => measure::collect(&context, run).await,
            Job::Download => model_job::download(&context, run, &handle).await,
        }
    });
}

/// A probe that was cut short leaves its container; everything else is removed as it is drained.
async fn remove_probe(context: &Context, observed: &Observed, run: uuid::Uuid) {
    let Some(observed_run) = observed.run.as_ref().filter(|observed| observed.id == run) else {
        return;
    };
    if !matches!(observed_run.state, RunState::Preparing { .. }) {
        return;
    }
    if let Ok(executor) = context.executor(executor_kind(observed)).await {
        for step in 0..prepare::MOST_CANDIDATES {
            let id = TaskId { run, attempt: 0, step, role: Role::Probe };
            let spool = context.spool(&id);
            if spool.exists()
                && let Err(error) = executor.remove(&id, &spool).await
            {
                tracing::warn!(%error, "a probe could not be removed");
            }
        }
    }
}

/// Baselines and comparisons look for runs, and gates for baselines.
fn wake_judging(context: &Context) -> Result<(), StoreError> {
    for request in context.store.judging_requests()? {
        context.wake(&request);
    }
    Ok(())
}

/// Whoever waited for the service or the devices may go now.
fn wake_waiting(context: &Context, observed: &Observed) {
    for other in &observed.world.others {
        context.wake(&other.request);
    }
}
