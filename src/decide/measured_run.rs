//! A run that measures, by llama-bench or by load, from Pending to its end, one action at a time.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::action::{Action, Decision};
use super::observed::{Job, JobResult, JobStatus, Observed, Refusal, Run, TaskEnd};
use super::{admission, retry};
use crate::plan::{llama_bench_command, load_steps};
use crate::request::control::DesiredState;
use crate::run::clock::{Deadline, human_ms};
use crate::run::measure_plan::CasePlan;
use crate::run::measure_plan::PromptPlan;
use crate::run::phase::{EndPhase, Ending, Phase, RunState, TaskProgress};
use crate::run::plan::{Blueprint, ExecutorKind, Plan, Prepared, Step};
use crate::run::reason::Reason;
use crate::run::step::{TaskId, TaskSpec, TaskState};

/// Longest time to turn the spool into results, in milliseconds.
pub const COLLECTING_MS: u64 = 5 * 60 * 1000;
/// A running task is looked at this often at least, in milliseconds; its end wakes earlier.
const LOOK_MS: u64 = 1_000;
/// A task whose output has ended is looked at this often, in milliseconds.
const ENDING_MS: u64 = 30;
/// A job's end wakes the request; this is the net below it, in milliseconds.
const JOB_MS: u64 = 5_000;

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

fn preparing(observed: &Observed, run: &Run, deadline: &Deadline, prepared: &Prepared) -> Decision {
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

/// Where a Running run stands.
struct Position<'a> {
    plan: &'a Plan,
    deadline: &'a Deadline,
    step: u32,
    task: &'a TaskProgress,
    ending: Option<&'a Ending>,
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

fn running(observed: &Observed, run: &Run, position: &Position<'_>) -> Decision {
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

/// A new attempt, from the first step that measures: what was stopped for the run stays stopped. The
/// engine of the attempt that was lost goes first, because it would disturb what is measured before its
/// own turn.
fn again(
    observed: &Observed,
    run: &Run,
    position: &Position<'_>,
    refusal: &Refusal,
    fault: u32,
    failure: u32,
) -> Decision {
    let state = match stop_of_current_engine(position) {
        Some(step) => RunState::Running {
            deadline: Deadline::after(&observed.now, run.timeout_ms),
            step,
            task: TaskProgress::Clearing,
            ending: None,
        },
        None => beginning(observed, run, position.plan),
    };
    Decision {
        message: refusal.message.clone(),
        ..Decision::act(
            Action::Retry {
                run: run.id,
                state: Box::new(state),
                attempt: run.attempt + 1,
                faults: run.faults + fault,
                failures: run.failures + failure,
            },
            Reason::Retrying,
        )
    }
}

/// Where an attempt begins, with the whole time before it.
fn beginning(observed: &Observed, run: &Run, plan: &Plan) -> RunState {
    let first = plan.steps.iter().position(Step::measures).unwrap_or(0);
    RunState::Running {
        deadline: Deadline::after(&observed.now, run.timeout_ms),
        step: u32::try_from(first).unwrap_or(0),
        task: TaskProgress::Ready,
        ending: None,
    }
}

/// The step that takes away the engine which the current one measures.
fn stop_of_current_engine(position: &Position<'_>) -> Option<u32> {
    let numbered = (0u32..).zip(&position.plan.steps).skip_while(|(number, _)| *number <= position.step);
    let mut stops = numbered.filter_map(|(number, step)| match step {
        Step::StopEngine { step } => (*step < position.step).then_some(number),
        Step::StopService { .. }
        | Step::Bench { .. }
        | Step::StartService { .. }
        | Step::StartEngine { .. }
        | Step::Load { .. } => None,
    });
    stops.next()
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
