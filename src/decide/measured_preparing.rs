//! A run that measures and is Preparing: image, tool and machine are looked at one after the other, and nothing of
//! that disturbs another run.

use super::action::{Action, Decision};
use super::measured_run::{JOB_MS, LOOK_MS, advance_to, broken, failed};
use super::observed::{Job, JobResult, JobStatus, Observed, Run};
use crate::plan::{llama_bench_command, load_steps};
use crate::run::clock::{Deadline, human_ms};
use crate::run::phase::{Ending, Phase, RunState, TaskProgress};
use crate::run::plan::{Blueprint, ExecutorKind, Prepared};
use crate::run::reason::Reason;

pub fn preparing(observed: &Observed, run: &Run, deadline: &Deadline, prepared: &Prepared) -> Decision {
    let Some(blueprint) = &run.blueprint else {
        return broken(run, "the run is Preparing without a blueprint");
    };
    if deadline.passed(&observed.now) {
        let message = format!("preparing took longer than {}", human_ms(deadline.allowed_ms));
        return Decision::act(
            Action::EndRun { run: run.id, ending: Ending::failed(Reason::PreparingTimedOut, message) },
            Reason::PreparingTimedOut,
        );
    }
    let Some((job, reason)) = next_preparation(blueprint, prepared) else {
        return start_running(observed, run, blueprint, deadline, prepared);
    };
    match run.jobs.get(&job) {
        None => {
            // Nothing is hashed, pulled or probed while anything measures; a run that collects has not let go.
            let measuring =
                observed.world.others.iter().find(|other| {
                    other.measures && matches!(other.phase, Phase::Running | Phase::Collecting)
                });
            if let Some(other) = measuring {
                let message = format!("waits until {} has measured", other.request);
                return wait_for_quiet(observed, run, deadline, message, JOB_MS);
            }
            Decision::act(Action::StartJob { run: run.id, job }, reason)
        }
        Some(JobStatus::Running) => {
            Decision::wait(reason, "", LOOK_MS.min(deadline.left_ms(&observed.now).max(1)))
        }
        Some(JobStatus::Failed(refusal)) => {
            Decision::act(Action::EndRun { run: run.id, ending: failed(refusal) }, refusal.reason)
        }
        Some(JobStatus::Done(result)) => match with_result(prepared, job, result) {
            Some(prepared) => {
                let state = RunState::Preparing { deadline: deadline.clone(), prepared };
                Decision::act(advance_to(run.id, state), Reason::Prepared)
            }
            None => broken(run, "a job of Preparing gave another job's result"),
        },
    }
}

/// Waits for others. Their time is not the run's own, so its deadline is written anew before it passes.
pub fn wait_for_quiet(
    observed: &Observed,
    run: &Run,
    deadline: &Deadline,
    message: String,
    recheck_ms: u64,
) -> Decision {
    let left_ms = deadline.left_ms(&observed.now);
    if left_ms > deadline.allowed_ms / 2 {
        return Decision::wait(Reason::MachineBusy, message, recheck_ms.min(left_ms / 2).max(1));
    }
    let action = advance_to(run.id, run.state.renewed(&observed.now));
    Decision { message, ..Decision::act(action, Reason::MachineBusy) }
}

fn next_preparation(blueprint: &Blueprint, prepared: &Prepared) -> Option<(Job, Reason)> {
    if let Some(load) = &blueprint.load {
        let containers = load.engines.iter().filter(|engine| engine.executor == ExecutorKind::Docker).count();
        if prepared.images.len() < containers {
            return Some((Job::Image, Reason::PullingImage));
        }
        return (!prepared.machine).then_some((Job::Machine, Reason::HashingModel));
    }
    if blueprint.executor == ExecutorKind::Docker && prepared.image.is_none() {
        return Some((Job::Image, Reason::PullingImage));
    }
    if prepared.tool.is_none() {
        return Some((Job::Probe, Reason::ProbingTool));
    }
    (!prepared.machine).then_some((Job::Machine, Reason::HashingModel))
}

fn with_result(prepared: &Prepared, job: Job, result: &JobResult) -> Option<Prepared> {
    let mut next = prepared.clone();
    match (job, result) {
        (Job::Image, JobResult::Image(image)) => next.image = Some(image.clone()),
        (Job::Image, JobResult::Images(images)) => next.images.clone_from(images),
        (Job::Probe, JobResult::Probe(tool)) => next.tool = Some(tool.clone()),
        (Job::Machine, JobResult::Finished) => next.machine = true,
        (
            Job::Image
            | Job::Probe
            | Job::Machine
            | Job::Follow
            | Job::Drain
            | Job::StopService
            | Job::StartService
            | Job::StartEngine
            | Job::StopEngine
            | Job::Collect
            | Job::Download,
            JobResult::Finished
            | JobResult::Image(_)
            | JobResult::Images(_)
            | JobResult::Probe(_)
            | JobResult::Drained(_)
            | JobResult::Model { .. },
        ) => return None,
    }
    Some(next)
}

fn start_running(
    observed: &Observed,
    run: &Run,
    blueprint: &Blueprint,
    deadline: &Deadline,
    prepared: &Prepared,
) -> Decision {
    if let Some(request) = &observed.world.disturbing {
        let message = format!("waits until {request} has pulled, hashed or probed");
        return wait_for_quiet(observed, run, deadline, message, LOOK_MS);
    }
    let plan = match &blueprint.load {
        Some(load) => load_steps::freeze(blueprint, load, prepared),
        None => llama_bench_command::freeze(blueprint, prepared),
    };
    let state = RunState::Running {
        deadline: Deadline::after(&observed.now, run.timeout_ms),
        step: 0,
        task: TaskProgress::Ready,
        ending: None,
    };
    Decision::act(
        Action::Advance { run: run.id, state: Box::new(state), plan: Some(Box::new(plan)) },
        Reason::Prepared,
    )
}
