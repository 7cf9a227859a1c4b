//! A run that measures, by llama-bench or by load, from Pending to its end, one action at a time. Preparing and
//! Running are decided in files of their own.

use uuid::Uuid;

use super::action::{Action, Decision};
use super::admission;
use super::measured_preparing::preparing;
use super::measured_steps::{Position, running};
use super::observed::{Job, JobStatus, Observed, Refusal, Run};
use crate::request::control::DesiredState;
use crate::run::clock::Deadline;
use crate::run::phase::{EndPhase, Ending, RunState};
use crate::run::plan::Prepared;
use crate::run::reason::Reason;

/// Longest time to turn the spool into results, in milliseconds.
pub const COLLECTING_MS: u64 = 5 * 60 * 1000;
/// A running task is looked at this often at least, in milliseconds; its end wakes earlier.
pub const LOOK_MS: u64 = 1_000;
/// A job's end wakes the request; this is the net below it, in milliseconds.
pub const JOB_MS: u64 = 5_000;

pub fn advance(observed: &Observed, run: &Run) -> Decision {
    if let Some(decision) = restarted(observed, run) {
        return decision;
    }
    match &run.state {
        RunState::Pending => pending(observed, run),
        RunState::Preparing { deadline, prepared } => preparing(observed, run, deadline, prepared),
        RunState::Running { deadline, step, task, ending } => {
            let Some(plan) = &run.plan else {
                return broken(run, "the run is Running without a plan");
            };
            running(observed, run, &Position { plan, deadline, step: *step, task, ending: ending.as_ref() })
        }
        RunState::Collecting { deadline, ending } => collecting(observed, run, deadline, ending),
        RunState::Ended(_) => Decision::idle(Reason::Idle, ""),
    }
}

/// A deadline of another boot would never pass.
pub fn restarted(observed: &Observed, run: &Run) -> Option<Decision> {
    run.state.deadline().filter(|deadline| deadline.boot_id != observed.now.boot_id)?;
    let decision = Decision::act(advance_to(run.id, run.state.renewed(&observed.now)), Reason::Restarted);
    Some(Decision { message: "the machine was restarted; its time counts anew".to_owned(), ..decision })
}

/// A run of a kind that has none.
pub fn not_runnable(run: &Run) -> Decision {
    broken(run, "the run's kind is not one that runs")
}

pub fn broken(run: &Run, what: &str) -> Decision {
    let ending = Ending::failed(Reason::InternalError, what);
    Decision::act(Action::EndRun { run: run.id, ending }, Reason::InternalError)
}

fn pending(observed: &Observed, run: &Run) -> Decision {
    if let Some(decision) = suspended(observed, run) {
        return decision;
    }
    let blueprint = match &run.resolution {
        None => return Decision::wait(Reason::NotListed, "the services have not been read yet", 1_000),
        Some(Err(refusal)) => {
            let ending = failed(refusal);
            return Decision::act(Action::EndRun { run: run.id, ending }, refusal.reason);
        }
        Some(Ok(blueprint)) => blueprint,
    };
    if let Some(wait) = admission::blocked(&observed.world, blueprint) {
        return wait;
    }
    let state = RunState::Preparing {
        deadline: Deadline::after(&observed.now, blueprint.preparing_ms),
        prepared: Prepared::default(),
    };
    let action = Action::Admit { run: run.id, blueprint: blueprint.clone(), state: Box::new(state) };
    Decision::act(action, Reason::Admitted)
}

/// A pending run whose request says `suspend`. An explicit order goes ahead of it.
pub fn suspended(observed: &Observed, run: &Run) -> Option<Decision> {
    let record = observed.record.as_ref()?;
    (!run.ordered && record.control.desired == DesiredState::Suspended)
        .then(|| Decision::idle(Reason::Suspended, "spec.suspend is true"))
}

fn collecting(observed: &Observed, run: &Run, deadline: &Deadline, ending: &Ending) -> Decision {
    match run.jobs.get(&Job::Collect) {
        None if deadline.passed(&observed.now) => collecting_timed_out(run, ending),
        None => Decision::act(Action::StartJob { run: run.id, job: Job::Collect }, Reason::Collecting),
        Some(JobStatus::Running) if deadline.passed(&observed.now) => collecting_timed_out(run, ending),
        Some(JobStatus::Running) => {
            Decision::wait(Reason::Collecting, "", JOB_MS.min(deadline.left_ms(&observed.now).max(1)))
        }
        Some(JobStatus::Done(_)) => {
            Decision::act(Action::EndRun { run: run.id, ending: ending.clone() }, ending.reason)
        }
        Some(JobStatus::Failed(refusal)) => uncollected(run, ending, refusal),
    }
}

fn collecting_timed_out(run: &Run, ending: &Ending) -> Decision {
    let message = "the output could not be read in time; it is kept in the spool";
    uncollected(run, ending, &Refusal::new(Reason::CollectingTimedOut, message))
}

/// Without results a run is not completed; what had ended it before says more than their lack.
fn uncollected(run: &Run, ending: &Ending, refusal: &Refusal) -> Decision {
    let ending = match ending.phase {
        EndPhase::Completed => failed(refusal),
        EndPhase::Failed | EndPhase::Cancelled => ending.clone(),
    };
    Decision::act(Action::EndRun { run: run.id, ending }, refusal.reason)
}

pub fn advance_to(run: Uuid, state: RunState) -> Action {
    Action::Advance { run, state: Box::new(state), plan: None }
}

pub fn failed(refusal: &Refusal) -> Ending {
    Ending::failed(refusal.reason, refusal.message.clone()).hint(refusal.hint.clone())
}
