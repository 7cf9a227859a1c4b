//! Single decisions about a run: one look, one order. What they have in common with those about a
//! request is `Case`, the look to begin with.

use std::collections::BTreeMap;
use std::path::PathBuf;

use uuid::Uuid;

use super::observed::{
    Document, Job, JobResult, JobStatus, Judging, Observed, OtherRun, Record, Refusal, Run, TaskEnd, World,
};
use super::simulation::requests::{Wanted, freeze, resolve, wanted};
use super::{Action, Decision, next_action, retry};
use crate::run::clock::{Deadline, Now};
use crate::run::phase::{EndPhase, Ending, Phase, RunState, TaskProgress};
use crate::run::plan::{ImageFacts, Prepared, ToolFacts};
use crate::run::reason::Reason;
use crate::run::step::{Exit, ExitCause, TaskState};

const RUN: Uuid = Uuid::from_u128(7);

pub fn now() -> Now {
    Now { boot_id: "boot".to_owned(), boot_ms: 100_000, unix_ms: 0 }
}

pub fn later(ms: u64) -> Deadline {
    Deadline::after(&now(), ms)
}

/// A request as it is recorded once `wanted` was given its run.
pub fn record(wanted: &Wanted) -> Record {
    let request = wanted.request("a");
    Record {
        uid: Uuid::from_u128(1),
        name: "a".to_owned(),
        path: PathBuf::from("x.yaml"),
        index: 0,
        generation: 3,
        satisfied_hash: Some(request.spec_hash.clone()),
        satisfied_rerun: None,
        spec_hash: request.spec_hash.clone(),
        semantic_hash: request.semantic_hash.clone(),
        control: request.control.clone(),
        spec: request.spec.clone(),
        deleted: false,
    }
}

/// The request, recorded and satisfied, its file unchanged, without a run.
pub fn look(wanted: &Wanted) -> Observed {
    let path = PathBuf::from("x.yaml");
    Observed {
        judging: Judging::Nothing,
        now: now(),
        name: "a".to_owned(),
        document: Document::Valid { request: wanted.request("a"), path, index: 0, startable_in_ms: 0 },
        record: Some(record(wanted)),
        run: None,
        owed_applies: Vec::new(),
        applies: Vec::new(),
        commands: Vec::new(),
        world: World { listed: true, ..World::default() },
        fresh: Uuid::from_u128(99),
    }
}

fn prepared() -> Prepared {
    Prepared {
        image: Some(ImageFacts { id: "sha256:1".to_owned(), digest: None }),
        tool: Some(ToolFacts { program: vec!["b".to_owned()], knows_progress: false, warnings: Vec::new() }),
        machine: true,
        images: vec![ImageFacts { id: "sha256:2".to_owned(), digest: None }; 2],
    }
}

pub fn run(wanted: &Wanted, state: RunState) -> Run {
    let blueprint = resolve(RUN, &wanted.spec(), wanted.control.timeout_ms, true).expect("it resolves");
    Run {
        id: RUN,
        spec: wanted.request("a").spec.clone(),
        spec_hash: wanted.request("a").spec_hash.clone(),
        timeout_ms: wanted.control.timeout_ms,
        backoff_limit: wanted.control.backoff_limit,
        attempt: 0,
        faults: 0,
        failures: 0,
        plan: Some(freeze(&blueprint, &prepared())),
        blueprint: Some((*blueprint).clone()),
        resolution: Some(Ok(blueprint)),
        ordered: false,
        task: None,
        jobs: BTreeMap::new(),
        state,
    }
}

pub fn preparing() -> RunState {
    RunState::Preparing { deadline: later(30_000), prepared: Prepared::default() }
}

pub fn at(step: u32, task: TaskProgress, ending: Option<Ending>) -> RunState {
    RunState::Running { deadline: later(20_000), step, task, ending }
}

pub fn decide(wanted: &Wanted, run: Run) -> Decision {
    next_action(&Observed { run: Some(run), ..look(wanted) })
}

/// A run whose current task looks like `task` and that has these jobs.
pub fn measured(wanted: &Wanted, state: RunState, task: TaskState, jobs: &[(Job, JobStatus)]) -> Run {
    Run { task: Some(task), jobs: jobs.iter().cloned().collect(), ..run(wanted, state) }
}

fn exited(code: i64) -> TaskState {
    TaskState::Exited(Exit { cause: ExitCause::Code(code), oom_killed: false, finished_at: None })
}

pub fn drained(end: TaskEnd) -> [(Job, JobStatus); 1] {
    [(Job::Drain, JobStatus::Done(JobResult::Drained(end)))]
}

pub fn refusal() -> Refusal {
    Refusal::new(Reason::Crashed, "it crashed")
}

pub fn other(phase: Phase, service: &str, claims: &[&str]) -> OtherRun {
    let claims = claims.iter().map(|claim| (*claim).to_owned()).collect();
    OtherRun { request: "b".to_owned(), service: service.to_owned(), phase, measures: true, claims }
}

pub fn beside(others: Vec<OtherRun>, wanted: &Wanted, state: RunState) -> Decision {
    let world = World { listed: true, others, ..World::default() };
    next_action(&Observed { run: Some(run(wanted, state)), world, ..look(wanted) })
}

/// The state that an order leads to.
pub fn leads_to(decision: &Decision) -> &RunState {
    match &decision.action {
        Action::Advance { state, .. } | Action::Retry { state, .. } | Action::Admit { state, .. } => state,
        other => panic!("it leads to no state: {other:?}"),
    }
}

pub fn starts(decision: &Decision) -> Job {
    match &decision.action {
        Action::StartJob { job, .. } => *job,
        other => panic!("it starts no job: {other:?}"),
    }
}

fn two_launches_with_a_stop() -> Wanted {
    Wanted { stop: true, launches: 2, ..wanted() }
}

#[test]
fn an_ended_run_is_left_alone() {
    let ended = RunState::Ended(Ending::completed(""));
    assert!(matches!(decide(&wanted(), run(&wanted(), ended)).action, Action::Wait));
}

#[test]
fn nothing_is_admitted_before_the_executors_were_listed() {
    let world = World::default();
    let decision =
        next_action(&Observed { run: Some(run(&wanted(), RunState::Pending)), world, ..look(&wanted()) });
    assert_eq!((decision.reason, decision.recheck_ms), (Reason::NotListed, Some(1_000)));
}

#[test]
fn who_waits_says_for_whom_and_for_what() {
    let both = Wanted { service: 2, ..wanted() };
    let message = |others, wanted: &Wanted| beside(others, wanted, RunState::Pending).message;
    let measuring = other(Phase::Running, "one", &["gpu:0"]);
    assert_eq!(message(vec![measuring.clone()], &wanted()), "waits for b, which measures the service one");
    assert_eq!(message(vec![measuring], &both), "waits for b, which has gpu:0");
    assert_eq!(
        message(vec![other(Phase::Preparing, "x", &["gpu:all"])], &wanted()),
        "waits for b, which has gpu:all"
    );
}

#[test]
fn gpu_all_clashes_with_every_gpu_and_with_nothing_else() {
    let clash = |held: &[&str], service| {
        let wanted = Wanted { service, ..wanted() };
        beside(vec![other(Phase::Running, "x", held)], &wanted, RunState::Pending).reason
            == Reason::DeviceBusy
    };
    let table = [
        (&["gpu:all"][..], 0, true),
        (&["gpu:1"], 2, true),
        (&["gpu:1"], 0, false),
        (&["gpu:0"], 0, true),
        (&["cpu"], 2, false),
        (&["gpu:all"], 3, false),
        (&["cpu"], 3, true),
    ];
    for (held, service, expected) in table {
        assert_eq!(clash(held, service), expected, "{held:?} and the service {service}");
    }
}

#[test]
fn who_waits_itself_holds_nobody_up() {
    let waiting = other(Phase::Pending, "one", &["gpu:0"]);
    let decision = beside(vec![waiting], &wanted(), RunState::Pending);
    assert!(matches!(leads_to(&decision), RunState::Preparing { .. }));
}

#[test]
fn a_device_of_another_controller_is_waited_for() {
    let world =
        World { listed: true, foreign: vec![("gpu:0".to_owned(), "pid 5".to_owned())], ..World::default() };
    let decision =
        next_action(&Observed { run: Some(run(&wanted(), RunState::Pending)), world, ..look(&wanted()) });
    assert_eq!(decision.message, "waits for pid 5, which has gpu:0");
}

#[test]
fn preparing_looks_for_image_tool_and_machine_in_this_order() {
    let mut found = Prepared::default();
    let next = |prepared: &Prepared| {
        let state = RunState::Preparing { deadline: later(30_000), prepared: prepared.clone() };
        starts(&decide(&wanted(), run(&wanted(), state)))
    };
    assert_eq!(next(&found), Job::Image);
    found.image = prepared().image;
    assert_eq!(next(&found), Job::Probe);
    found.tool = prepared().tool;
    assert_eq!(next(&found), Job::Machine);
}

#[test]
fn nothing_is_hashed_while_another_measures_and_that_time_is_not_the_runs_own() {
    let measuring = || vec![other(Phase::Running, "x", &["gpu:1"])];
    let state = |left| RunState::Preparing {
        deadline: Deadline { allowed_ms: 30_000, ..later(left) },
        prepared: Prepared::default(),
    };
    let early = beside(measuring(), &wanted(), state(29_000));
    assert_eq!((early.reason, early.message.as_str()), (Reason::MachineBusy, "waits until b has measured"));
    assert!(matches!(early.action, Action::Wait));
    let collecting = beside(vec![other(Phase::Collecting, "x", &["gpu:1"])], &wanted(), state(29_000));
    assert_eq!(collecting.reason, Reason::MachineBusy, "it has not let go of the machine");
    let late = beside(measuring(), &wanted(), state(9_000));
    assert_eq!(leads_to(&late).deadline(), Some(&later(30_000)));
}

#[test]
fn a_phase_that_takes_too_long_ends_with_its_own_reason() {
    let over = || Deadline { boot_ms: 99_000, ..later(0) };
    let ended = |state| match decide(&wanted(), run(&wanted(), state)).action {
        Action::EndRun { ending, .. } => (ending.phase, ending.reason),
        other => panic!("{other:?}"),
    };
    let preparing = RunState::Preparing { deadline: over(), prepared: Prepared::default() };
    assert_eq!(ended(preparing), (EndPhase::Failed, Reason::PreparingTimedOut));
    let collecting = |ending| RunState::Collecting { deadline: over(), ending };
    assert_eq!(ended(collecting(Ending::completed(""))), (EndPhase::Failed, Reason::CollectingTimedOut));
    let cancelled = Ending::cancelled(Reason::Cancelled, "");
    assert_eq!(ended(collecting(cancelled)), (EndPhase::Cancelled, Reason::Cancelled));
}

#[test]
fn past_its_timeout_a_run_starts_nothing_and_what_runs_is_stopped() {
    let table = [
        (TaskProgress::Ready, TaskState::Absent),
        (TaskProgress::Starting, TaskState::Absent),
        (TaskProgress::Starting, TaskState::Created { error: None }),
        (TaskProgress::Started, TaskState::Running),
    ];
    for (task, seen) in table {
        let deadline = Deadline { boot_ms: 99_000, ..later(0) };
        let state = RunState::Running { deadline, step: 0, task: task.clone(), ending: None };
        let decision = decide(&wanted(), measured(&wanted(), state, seen.clone(), &[]));
        let RunState::Running { ending: Some(ending), .. } = leads_to(&decision) else {
            panic!("{task:?} {seen:?}: {decision:?}")
        };
        assert_eq!((ending.phase, ending.reason), (EndPhase::Failed, Reason::TimedOut));
        let next = decide(&wanted(), measured(&wanted(), leads_to(&decision).clone(), seen.clone(), &[]));
        assert!(!matches!(next.action, Action::StartTask { .. }), "{task:?} {seen:?}: {next:?}");
        assert_eq!(seen == TaskState::Running, matches!(next.action, Action::StopTask { .. }));
    }
}

#[test]
fn what_ended_by_itself_counts_however_late_it_is_seen() {
    let deadline = Deadline { boot_ms: 99_000, ..later(0) };
    let state = RunState::Running { deadline, step: 0, task: TaskProgress::Started, ending: None };
    let decision = decide(&wanted(), measured(&wanted(), state, exited(0), &[]));
    assert_eq!(starts(&decision), Job::Drain);
}

#[test]
fn after_a_reboot_the_whole_time_counts_once_more_and_no_more() {
    let deadline = Deadline { boot_id: "earlier".to_owned(), ..later(0) };
    let state = RunState::Collecting {
        deadline: Deadline { allowed_ms: 5_000, ..deadline },
        ending: Ending::completed(""),
    };
    let decision = decide(&wanted(), run(&wanted(), state));
    assert_eq!(leads_to(&decision).deadline(), Some(&later(5_000)));
}

#[test]
fn an_executor_that_does_not_answer_is_waited_for_whatever_the_run_is_at() {
    for task in [TaskProgress::Starting, TaskProgress::Started] {
        for ending in [None, Some(Ending::cancelled(Reason::Cancelled, ""))] {
            let unknown = TaskState::Unknown { reason: "no socket".to_owned() };
            let decision = decide(&wanted(), measured(&wanted(), at(0, task.clone(), ending), unknown, &[]));
            assert!(matches!(decision.action, Action::Wait));
            assert_eq!(
                (decision.reason, decision.message.as_str()),
                (Reason::ExecutorUnreachable, "no socket")
            );
            assert!(decision.recheck_ms.is_some());
        }
    }
}

#[test]
fn a_task_is_journaled_then_started_then_followed_then_drained() {
    let next = |task, seen, jobs: &[(Job, JobStatus)]| {
        decide(&wanted(), measured(&wanted(), at(0, task, None), seen, jobs))
    };
    let ordered = next(TaskProgress::Ready, TaskState::Absent, &[]);
    assert_eq!(leads_to(&ordered), &at(0, TaskProgress::Starting, None));
    let Action::StartTask { task, started, .. } = next(TaskProgress::Starting, TaskState::Absent, &[]).action
    else {
        panic!("it is not started")
    };
    assert_eq!((task.id.attempt, task.id.step, *started), (0, 0, at(0, TaskProgress::Started, None)));
    assert_eq!(starts(&next(TaskProgress::Started, TaskState::Running, &[])), Job::Follow);
    assert_eq!(starts(&next(TaskProgress::Started, exited(0), &[])), Job::Drain);
    let done = next(TaskProgress::Started, TaskState::Absent, &drained(TaskEnd::Succeeded));
    assert_eq!(leads_to(&done), &at(0, TaskProgress::Drained, None));
    assert_eq!(
        leads_to(&next(TaskProgress::Drained, TaskState::Absent, &[])),
        &at(1, TaskProgress::Ready, None)
    );
}

#[test]
fn what_was_ordered_and_is_there_is_taken_up_and_not_started_again() {
    for seen in [TaskState::Running, exited(1), TaskState::Created { error: Some("no GPU".to_owned()) }] {
        let decision = decide(&wanted(), measured(&wanted(), at(0, TaskProgress::Starting, None), seen, &[]));
        assert_eq!(leads_to(&decision), &at(0, TaskProgress::Started, None));
    }
}

#[test]
fn while_its_output_is_copied_a_task_is_looked_at_and_at_its_end_soon() {
    let follow = |status| {
        let running = measured(
            &wanted(),
            at(0, TaskProgress::Started, None),
            TaskState::Running,
            &[(Job::Follow, status)],
        );
        decide(&wanted(), running).recheck_ms
    };
    assert_eq!(follow(JobStatus::Running), Some(1_000));
    assert_eq!(follow(JobStatus::Done(JobResult::Finished)), Some(30));
}

#[test]
fn faults_are_retried_twice_and_failures_as_the_backoff_limit_says() {
    let lost = |faults| {
        let state = at(0, TaskProgress::Started, None);
        let run = measured(&wanted(), state, TaskState::Absent, &drained(TaskEnd::Fault(refusal())));
        decide(&wanted(), Run { attempt: faults, faults, ..run }).reason
    };
    assert_eq!(
        [lost(0), lost(1), lost(retry::MOST_FAULTS)],
        [Reason::Retrying, Reason::Retrying, Reason::Crashed]
    );
    let failed = |failures, backoff_limit| {
        let state = at(0, TaskProgress::Started, None);
        let run = measured(&wanted(), state, TaskState::Absent, &drained(TaskEnd::Failed(refusal())));
        decide(&wanted(), Run { failures, backoff_limit, ..run }).reason
    };
    assert_eq!(
        [failed(0, 0), failed(0, 1), failed(1, 1)],
        [Reason::Crashed, Reason::Retrying, Reason::Crashed]
    );
}

#[test]
fn a_new_attempt_begins_at_the_first_launch_with_the_whole_time_and_the_service_still_stopped() {
    let wanted = two_launches_with_a_stop();
    let second_launch = at(2, TaskProgress::Started, None);
    let run = measured(&wanted, second_launch, TaskState::Absent, &drained(TaskEnd::Fault(refusal())));
    let decision = decide(&wanted, run);
    assert_eq!(leads_to(&decision), &at(1, TaskProgress::Ready, None));
    let Action::Retry { attempt, faults, failures, .. } = decision.action else { panic!("no retry") };
    assert_eq!((attempt, faults, failures), (1, 1, 0));
}

#[test]
fn a_service_that_was_stopped_is_started_again_whatever_ended_the_run() {
    let wanted = two_launches_with_a_stop();
    let endings = [
        Ending::cancelled(Reason::Cancelled, ""),
        Ending::failed(Reason::TimedOut, ""),
        Ending::cancelled(Reason::Superseded, ""),
    ];
    for ending in endings {
        let mut state = at(0, TaskProgress::Started, Some(ending.clone()));
        let stopping = Run {
            jobs: BTreeMap::from([(Job::StopService, JobStatus::Running)]),
            ..run(&wanted, state.clone())
        };
        assert_eq!(decide(&wanted, stopping).reason, Reason::StoppingService);
        let done = JobStatus::Done(JobResult::Finished);
        let mut jobs = BTreeMap::from([(Job::StopService, done.clone())]);
        let mut started = false;
        for _ in 0..12 {
            let decision =
                decide(&wanted, Run { jobs: std::mem::take(&mut jobs), ..run(&wanted, state.clone()) });
            match &decision.action {
                Action::StartJob { job: Job::StartService, .. } => {
                    started = true;
                    jobs = BTreeMap::from([(Job::StartService, done.clone())]);
                }
                Action::Advance { state: next, .. } => state = (**next).clone(),
                other => panic!("{other:?}"),
            }
            if let RunState::Collecting { ending: kept, .. } = &state {
                assert_eq!((started, kept), (true, &ending));
                break;
            }
        }
        assert_eq!(state.phase(), Phase::Collecting);
    }
}

#[test]
fn that_a_service_stays_down_is_said_beside_what_ended_the_run() {
    let wanted = two_launches_with_a_stop();
    let down = Refusal::new(Reason::ServiceNotRestored, "it does not start").hint("docker start x");
    let jobs = BTreeMap::from([(Job::StartService, JobStatus::Failed(down))]);
    let ending = Ending::cancelled(Reason::Cancelled, "cancelled by command");
    let state = at(3, TaskProgress::Started, Some(ending));
    let decision = decide(&wanted, Run { jobs, ..run(&wanted, state) });
    let RunState::Running { ending: Some(ending), .. } = leads_to(&decision) else { panic!("{decision:?}") };
    assert_eq!(ending.phase, EndPhase::Cancelled);
    assert_eq!(ending.message, "cancelled by command; it does not start");
    assert_eq!(ending.hint.as_deref(), Some("docker start x"));
}
