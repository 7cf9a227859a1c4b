//! A run that measures and is Running: one step of its plan after the other, and what has to be put right again on
//! the way out.

use std::collections::BTreeSet;

use super::action::{Action, Decision};
use super::measured_attempt::{again, beginning};
use super::measured_run::{COLLECTING_MS, JOB_MS, LOOK_MS, advance_to, broken, failed};
use super::observed::{Job, JobResult, JobStatus, Observed, Run, TaskEnd};
use super::retry;
use crate::run::clock::{Deadline, human_ms};
use crate::run::measure_plan::{CasePlan, PromptPlan};
use crate::run::phase::{Ending, RunState, TaskProgress};
use crate::run::plan::{Plan, Step};
use crate::run::reason::Reason;
use crate::run::step::{TaskId, TaskSpec, TaskState};

/// A task whose output has ended is looked at this often, in milliseconds.
const ENDING_MS: u64 = 30;

/// Where a Running run stands.
pub struct Position<'a> {
    pub plan: &'a Plan,
    pub deadline: &'a Deadline,
    pub step: u32,
    pub task: &'a TaskProgress,
    pub ending: Option<&'a Ending>,
}

impl Position<'_> {
    fn at(&self, task: TaskProgress) -> RunState {
        RunState::Running {
            deadline: self.deadline.clone(),
            step: self.step,
            task,
            ending: self.ending.cloned(),
        }
    }

    fn next_step(&self, ending: Option<Ending>) -> RunState {
        RunState::Running {
            deadline: self.deadline.clone(),
            step: self.step + 1,
            task: TaskProgress::Ready,
            ending,
        }
    }
}

pub fn running(observed: &Observed, run: &Run, position: &Position<'_>) -> Decision {
    let Some(step) = position.plan.steps.get(position.step as usize) else {
        let ending =
            position.ending.cloned().unwrap_or_else(|| Ending::completed(completed_message(position.plan)));
        let deadline = Deadline::after(&observed.now, COLLECTING_MS);
        return Decision::act(
            advance_to(run.id, RunState::Collecting { deadline, ending }),
            Reason::Collecting,
        );
    };
    let untouched = *position.task == TaskProgress::Ready;
    if position.ending.is_some() && !step.restores() && untouched {
        return Decision::act(
            advance_to(run.id, position.next_step(position.ending.cloned())),
            Reason::NextStep,
        );
    }
    match step {
        Step::StopService { .. } => {
            service_step(observed, run, position, Job::StopService, Reason::StoppingService)
        }
        Step::StartService { .. } => {
            service_step(observed, run, position, Job::StartService, Reason::StartingService)
        }
        Step::StartEngine { .. } if position.ending.is_some() => {
            // Whatever it has started by now, its own stop takes away.
            Decision::act(advance_to(run.id, position.next_step(position.ending.cloned())), Reason::NextStep)
        }
        Step::StartEngine { .. } => {
            service_step(observed, run, position, Job::StartEngine, Reason::StartingEngine)
        }
        Step::StopEngine { .. } => {
            service_step(observed, run, position, Job::StopEngine, Reason::StoppingEngine)
        }
        Step::Bench { task, .. } | Step::Load { task, .. } => bench_step(observed, run, position, task),
    }
}

fn completed_message(plan: &Plan) -> String {
    // Which of them fit is known to their records alone.
    let is_talk = |step: &Step| match step {
        Step::Load { plan, .. } => matches!(plan.prompts, PromptPlan::Conversations(_)),
        Step::StopService { .. }
        | Step::Bench { .. }
        | Step::StartService { .. }
        | Step::StartEngine { .. }
        | Step::StopEngine { .. } => false,
    };
    if plan.steps.iter().any(is_talk) {
        return "held the conversations that were chosen and fit".to_owned();
    }
    let cases: BTreeSet<u32> = plan.steps.iter().flat_map(cases_of).map(|case| case.case).collect();
    let n = cases.len();
    if n > 0 {
        return format!("measured {n} case{}", if n == 1 { "" } else { "s" });
    }
    let launches = plan.steps.iter().filter(|step| matches!(step, Step::Bench { .. })).count();
    format!("measured in {launches} launch{}", if launches == 1 { "" } else { "es" })
}

/// Passes over cells of a load test's matrix; repeats of a cell are one case.
fn cases_of(step: &Step) -> &[CasePlan] {
    match step {
        Step::Load { plan, .. } => &plan.cases,
        Step::StopService { .. }
        | Step::Bench { .. }
        | Step::StartService { .. }
        | Step::StartEngine { .. }
        | Step::StopEngine { .. } => &[],
    }
}

fn service_step(
    observed: &Observed,
    run: &Run,
    position: &Position<'_>,
    job: Job,
    reason: Reason,
) -> Decision {
    // Once begun it is journaled, so that an ending does not skip a half-stopped service.
    if *position.task == TaskProgress::Ready {
        return Decision::act(advance_to(run.id, position.at(TaskProgress::Started)), reason);
    }
    match run.jobs.get(&job) {
        None => Decision::act(Action::StartJob { run: run.id, job }, reason),
        Some(JobStatus::Running) => Decision::wait(reason, "", JOB_MS),
        Some(JobStatus::Done(_)) if *position.task == TaskProgress::Clearing && position.ending.is_none() => {
            Decision::act(advance_to(run.id, beginning(observed, run, position.plan)), Reason::Retrying)
        }
        Some(JobStatus::Done(_)) => {
            Decision::act(advance_to(run.id, position.next_step(position.ending.cloned())), Reason::NextStep)
        }
        Some(JobStatus::Failed(refusal)) => {
            let ending = match position.ending {
                None => failed(refusal),
                // Also beside a cancel or a failure somebody has to know that the service is down.
                Some(ending) => {
                    let message = format!("{}; {}", ending.message, refusal.message);
                    let hint = refusal.hint.clone().or_else(|| ending.hint.clone());
                    Ending { message, ..ending.clone() }.hint(hint)
                }
            };
            Decision::act(advance_to(run.id, position.next_step(Some(ending))), refusal.reason)
        }
    }
}

fn bench_step(observed: &Observed, run: &Run, position: &Position<'_>, template: &TaskSpec) -> Decision {
    let id = TaskId { run: run.id, attempt: run.attempt, step: position.step, role: template.id.role };
    let unseen = TaskState::Unknown { reason: "not looked at".to_owned() };
    let state = run.task.as_ref().unwrap_or(&unseen);
    let overdue = position.ending.is_none() && position.deadline.passed(&observed.now);
    match (position.task, state) {
        // What has ended by itself is looked at instead, however late.
        (TaskProgress::Ready, _)
        | (TaskProgress::Starting, TaskState::Absent | TaskState::Created { error: None })
        | (TaskProgress::Started, TaskState::Running)
            if overdue =>
        {
            timed_out(run, position)
        }
        (TaskProgress::Ready | TaskProgress::Clearing, _) => {
            Decision::act(advance_to(run.id, position.at(TaskProgress::Starting)), Reason::StartingTask)
        }
        (TaskProgress::Drained, _) => {
            Decision::act(advance_to(run.id, position.next_step(position.ending.cloned())), Reason::NextStep)
        }
        (TaskProgress::Starting | TaskProgress::Started, TaskState::Unknown { reason }) => {
            Decision::wait(Reason::ExecutorUnreachable, reason.clone(), LOOK_MS)
        }
        (TaskProgress::Starting, TaskState::Absent | TaskState::Created { error: None }) => {
            if position.ending.is_some() {
                // Ordered, never begun: there is nothing to stop, but perhaps something to remove.
                return drain(observed, run, position);
            }
            let task = TaskSpec { id, ..template.clone() };
            let started = Box::new(position.at(TaskProgress::Started));
            Decision::act(
                Action::StartTask { run: run.id, task: Box::new(task), started },
                Reason::StartingTask,
            )
        }
        // Kept before it is drained, which removes it: what is gone then must not look never started.
        (
            TaskProgress::Starting,
            TaskState::Running | TaskState::Exited(_) | TaskState::Created { error: Some(_) },
        ) => Decision::act(advance_to(run.id, position.at(TaskProgress::Started)), Reason::Measuring),
        (TaskProgress::Started, TaskState::Running) => measuring(observed, run, position, id),
        (TaskProgress::Started, TaskState::Absent | TaskState::Created { .. } | TaskState::Exited(_)) => {
            drain(observed, run, position)
        }
    }
}

fn measuring(observed: &Observed, run: &Run, position: &Position<'_>, id: TaskId) -> Decision {
    if position.ending.is_some() {
        return Decision {
            recheck_ms: Some(LOOK_MS),
            ..Decision::act(Action::StopTask { id }, Reason::StoppingTask)
        };
    }
    match run.jobs.get(&Job::Follow) {
        None => return Decision::act(Action::StartJob { run: run.id, job: Job::Follow }, Reason::Measuring),
        // Its output has ended, so its exit is about to be seen.
        Some(JobStatus::Done(_)) => return Decision::wait(Reason::Measuring, "", ENDING_MS),
        Some(JobStatus::Running | JobStatus::Failed(_)) => {}
    }
    Decision::wait(Reason::Measuring, "", LOOK_MS.min(position.deadline.left_ms(&observed.now).max(1)))
}

fn timed_out(run: &Run, position: &Position<'_>) -> Decision {
    let allowed = human_ms(position.deadline.allowed_ms);
    let ending = Ending::failed(Reason::TimedOut, format!("it ran longer than its timeout of {allowed}"))
        .hint(Some("give it a longer spec.timeout, or fewer or smaller tests or requests".to_owned()));
    let state = RunState::Running {
        deadline: position.deadline.clone(),
        step: position.step,
        task: position.task.clone(),
        ending: Some(ending),
    };
    Decision::act(advance_to(run.id, state), Reason::TimedOut)
}

/// The task is over, one way or another: complete its output, learn how it ended, remove it.
fn drain(observed: &Observed, run: &Run, position: &Position<'_>) -> Decision {
    let end = match run.jobs.get(&Job::Drain) {
        None => {
            return Decision::act(Action::StartJob { run: run.id, job: Job::Drain }, Reason::DrainingOutput);
        }
        Some(JobStatus::Running) => return Decision::wait(Reason::DrainingOutput, "", JOB_MS),
        Some(JobStatus::Failed(refusal)) => TaskEnd::Fault(refusal.clone()),
        Some(JobStatus::Done(JobResult::Drained(end))) => end.clone(),
        Some(JobStatus::Done(
            JobResult::Finished
            | JobResult::Image(_)
            | JobResult::Images(_)
            | JobResult::Probe(_)
            | JobResult::Model { .. },
        )) => {
            return broken(run, "the drain gave another job's result");
        }
    };
    if position.ending.is_some() {
        // It was being ended: how its task ended is what we did to it.
        return Decision::act(advance_to(run.id, position.at(TaskProgress::Drained)), Reason::NextStep);
    }
    match end {
        TaskEnd::Succeeded => {
            Decision::act(advance_to(run.id, position.at(TaskProgress::Drained)), Reason::NextStep)
        }
        TaskEnd::Failed(refusal) if retry::after_failure(run.failures, run.backoff_limit) => {
            again(observed, run, position, &refusal, 0, 1)
        }
        TaskEnd::Fault(refusal) if retry::after_fault(run.faults) => {
            again(observed, run, position, &refusal, 1, 0)
        }
        TaskEnd::Failed(refusal) | TaskEnd::Fault(refusal) => {
            Decision::act(advance_to(run.id, position.next_step(Some(failed(&refusal)))), refusal.reason)
        }
    }
}
