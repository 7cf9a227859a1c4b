//! Single decisions about a load test: its engines, and what it shares with others.

use std::collections::BTreeMap;

use super::observed::{Job, JobResult, JobStatus, Observed, OtherRun, Refusal, Run, TaskEnd, Verb};
use super::simulation::requests::{Wanted, wanted};
use super::single_decisions::{
    at, beside, decide, drained, later, leads_to, look, measured, other, refusal, run, starts,
};
use super::{Action, Decision, admission, next_action};
use crate::run::clock::Deadline;
use crate::run::phase::{EndPhase, Ending, Phase, RunState, TaskProgress};
use crate::run::plan::{ImageFacts, Plan, Prepared, Step};
use crate::run::reason::Reason;
use crate::run::step::{Role, TaskState};

/// Two engines are started for it, and a server that runs is measured before them: the steps are
/// StopService, Load, StartEngine, Load, StopEngine, StartEngine, Load, StopEngine, StartService.
fn two_engines() -> Wanted {
    Wanted { engines: Some(2), stop: true, ..wanted() }
}

const FIRST_START: u32 = 2;
const FIRST_LOAD: u32 = 3;
const FIRST_STOP: u32 = 4;
const SECOND_LOAD: u32 = 6;
const SECOND_STOP: u32 = 7;

fn with_job(state: RunState, job: Job, status: JobStatus) -> Run {
    Run { jobs: BTreeMap::from([(job, status)]), ..run(&two_engines(), state) }
}

fn ending_of(decision: &Decision) -> &Ending {
    match leads_to(decision) {
        RunState::Running { ending: Some(ending), .. } | RunState::Collecting { ending, .. } => ending,
        other => panic!("it does not end: {other:?}"),
    }
}

/// Carries a run on from a state, each job done and no task there, to Collecting: the jobs in their
/// order and how it ends.
fn carried_on(mut state: RunState) -> (Vec<Job>, Ending) {
    let (mut jobs, mut done) = (Vec::new(), BTreeMap::new());
    for _ in 0..60 {
        let observed = Run {
            jobs: std::mem::take(&mut done),
            task: Some(TaskState::Absent),
            ..run(&two_engines(), state.clone())
        };
        match decide(&two_engines(), observed).action {
            Action::StartJob { job, .. } => {
                jobs.push(job);
                done = BTreeMap::from([(job, JobStatus::Done(JobResult::Finished))]);
            }
            Action::Advance { state: next, .. } => state = *next,
            other => panic!("{other:?}"),
        }
        if let RunState::Collecting { ending, .. } = state {
            return (jobs, ending);
        }
    }
    panic!("it does not come to its end: {state:?}")
}

#[test]
fn preparing_looks_for_the_images_and_then_the_machine_and_asks_for_no_llama_bench() {
    let next = |wanted: &Wanted, prepared: Prepared| {
        let state = RunState::Preparing { deadline: later(30_000), prepared };
        decide(wanted, run(wanted, state))
    };
    assert_eq!(starts(&next(&two_engines(), Prepared::default())), Job::Image);
    let images = vec![ImageFacts { id: "sha256:1".to_owned(), digest: None }; 2];
    let found = Prepared { images: images.clone(), ..Prepared::default() };
    assert_eq!(starts(&next(&two_engines(), found)), Job::Machine);
    let ready = Prepared { images, machine: true, ..Prepared::default() };
    assert_eq!(leads_to(&next(&two_engines(), ready)).phase(), Phase::Running);
    let no_engine = Wanted { engines: Some(0), ..wanted() };
    assert_eq!(starts(&next(&no_engine, Prepared::default())), Job::Machine);
}

#[test]
fn the_images_that_were_found_are_kept_before_anything_else_is_looked_at() {
    let images = vec![ImageFacts { id: "sha256:1".to_owned(), digest: None }; 2];
    let state = RunState::Preparing { deadline: later(30_000), prepared: Prepared::default() };
    let found = with_job(state, Job::Image, JobStatus::Done(JobResult::Images(images.clone())));
    let decision = decide(&two_engines(), found);
    let RunState::Preparing { prepared, .. } = leads_to(&decision) else { panic!("{decision:?}") };
    assert_eq!(prepared.images, images);
}

#[test]
fn an_engine_is_journaled_then_started_and_measured_once_it_is_ready() {
    let ordered = decide(&two_engines(), run(&two_engines(), at(FIRST_START, TaskProgress::Ready, None)));
    assert_eq!(leads_to(&ordered), &at(FIRST_START, TaskProgress::Started, None));
    let started = decide(&two_engines(), run(&two_engines(), leads_to(&ordered).clone()));
    assert_eq!(starts(&started), Job::StartEngine);
    let starting = at(FIRST_START, TaskProgress::Started, None);
    let waits = decide(&two_engines(), with_job(starting.clone(), Job::StartEngine, JobStatus::Running));
    assert!(matches!(waits.action, Action::Wait) && waits.reason == Reason::StartingEngine);
    let finished = JobStatus::Done(JobResult::Finished);
    let ready = decide(&two_engines(), with_job(starting, Job::StartEngine, finished));
    assert_eq!(leads_to(&ready), &at(FIRST_LOAD, TaskProgress::Ready, None));
}

#[test]
fn the_measuring_task_has_its_own_step_attempt_and_role() {
    let state = at(SECOND_LOAD, TaskProgress::Starting, None);
    let run = Run { attempt: 1, ..measured(&two_engines(), state, TaskState::Absent, &[]) };
    let Action::StartTask { task, .. } = decide(&two_engines(), run).action else {
        panic!("it is not started")
    };
    assert_eq!((task.id.step, task.id.attempt, task.id.role), (SECOND_LOAD, 1, Role::Load));
}

#[test]
fn an_engine_that_does_not_start_fails_the_run_with_its_reason_and_is_still_taken_away() {
    let failed = Refusal::new(Reason::EngineFailed, "one was not ready within 2m").hint("look at its log");
    let starting = at(FIRST_START, TaskProgress::Started, None);
    let decision = decide(&two_engines(), with_job(starting, Job::StartEngine, JobStatus::Failed(failed)));
    assert_eq!(decision.reason, Reason::EngineFailed);
    let ending = ending_of(&decision).clone();
    assert_eq!((ending.phase, ending.reason), (EndPhase::Failed, Reason::EngineFailed));
    assert_eq!(ending.hint.as_deref(), Some("look at its log"));
    let (jobs, kept) = carried_on(leads_to(&decision).clone());
    assert_eq!(jobs, [Job::StopEngine, Job::StopEngine, Job::StartService]);
    assert_eq!(kept, ending);
}

#[test]
fn a_cancel_while_an_engine_starts_waits_for_nothing_and_goes_to_its_stop() {
    let starting =
        with_job(at(FIRST_START, TaskProgress::Started, None), Job::StartEngine, JobStatus::Running);
    let commands = vec![super::observed::Command { id: 1, verb: Verb::Cancel }];
    let observed = Observed { run: Some(starting), commands, ..look(&two_engines()) };
    let cancelled = next_action(&observed);
    let state = leads_to(&cancelled).clone();
    assert_eq!(ending_of(&cancelled).reason, Reason::Cancelled);
    let moved = decide(&two_engines(), with_job(state, Job::StartEngine, JobStatus::Running));
    let RunState::Running { step: FIRST_LOAD, task: TaskProgress::Ready, ending: Some(_), .. } =
        leads_to(&moved)
    else {
        panic!("{moved:?}")
    };
    let (jobs, ending) = carried_on(leads_to(&moved).clone());
    assert_eq!(jobs, [Job::StopEngine, Job::StopEngine, Job::StartService]);
    assert_eq!(ending.phase, EndPhase::Cancelled);
}

#[test]
fn whatever_ends_a_measurement_its_engine_is_taken_away_and_the_service_started_again() {
    for ending in [Ending::cancelled(Reason::Superseded, ""), Ending::failed(Reason::TimedOut, "")] {
        let (jobs, kept) = carried_on(at(FIRST_LOAD, TaskProgress::Drained, Some(ending.clone())));
        assert_eq!((jobs, kept), (vec![Job::StopEngine, Job::StopEngine, Job::StartService], ending));
    }
    let state = at(SECOND_LOAD, TaskProgress::Started, None);
    let failed = measured(&two_engines(), state, TaskState::Absent, &drained(TaskEnd::Failed(refusal())));
    let decision = decide(&two_engines(), failed);
    let (jobs, ending) = carried_on(leads_to(&decision).clone());
    assert_eq!((jobs, ending.reason), (vec![Job::StopEngine, Job::StartService], Reason::Crashed));
}

#[test]
fn that_an_engine_could_not_be_taken_away_is_said_beside_what_ended_the_run() {
    let ending = Ending::failed(Reason::TimedOut, "it ran too long");
    let stopping = at(FIRST_STOP, TaskProgress::Started, Some(ending));
    let stuck = Refusal::new(Reason::InternalError, "the engine is still there");
    let decision = decide(&two_engines(), with_job(stopping, Job::StopEngine, JobStatus::Failed(stuck)));
    let ending = ending_of(&decision);
    assert_eq!(ending.reason, Reason::TimedOut);
    assert_eq!(ending.message, "it ran too long; the engine is still there");
}

#[test]
fn a_new_attempt_takes_the_lost_ones_engine_away_before_it_measures_anything() {
    let state = at(SECOND_LOAD, TaskProgress::Started, None);
    let lost = measured(&two_engines(), state, TaskState::Absent, &drained(TaskEnd::Fault(refusal())));
    let decision = decide(&two_engines(), lost);
    let Action::Retry { attempt: 1, faults: 1, failures: 0, .. } = decision.action else {
        panic!("{decision:?}")
    };
    assert_eq!(leads_to(&decision), &at(SECOND_STOP, TaskProgress::Clearing, None));

    let clearing = leads_to(&decision).clone();
    let next = decide(&two_engines(), run(&two_engines(), clearing.clone()));
    assert_eq!(starts(&next), Job::StopEngine);
    let done = JobStatus::Done(JobResult::Finished);
    let late = match clearing.clone() {
        RunState::Running { step, task, ending, .. } => {
            RunState::Running { deadline: Deadline { boot_ms: 1, ..later(20_000) }, step, task, ending }
        }
        other => panic!("{other:?}"),
    };
    let begun = decide(&two_engines(), with_job(late, Job::StopEngine, done));
    assert_eq!(leads_to(&begun), &at(1, TaskProgress::Ready, None), "the first step that measures");
}

#[test]
fn a_fault_where_no_server_runs_but_the_engines_begins_again_at_the_engine() {
    let wanted = Wanted { engines: Some(1), variant: 1, ..wanted() };
    let state = at(1, TaskProgress::Started, None);
    let lost = measured(&wanted, state, TaskState::Absent, &drained(TaskEnd::Fault(refusal())));
    let retry = decide(&wanted, lost);
    assert_eq!(leads_to(&retry), &at(2, TaskProgress::Clearing, None));
    let jobs = BTreeMap::from([(Job::StopEngine, JobStatus::Done(JobResult::Finished))]);
    let begun = decide(&wanted, Run { jobs, ..run(&wanted, leads_to(&retry).clone()) });
    assert_eq!(leads_to(&begun), &at(0, TaskProgress::Ready, None));
    let starts = decide(&wanted, run(&wanted, leads_to(&begun).clone()));
    assert_eq!(starts.reason, Reason::StartingEngine);
}

#[test]
fn a_cancel_between_two_attempts_begins_no_other_one() {
    let cancelled = Ending::cancelled(Reason::Cancelled, "");
    let clearing = at(SECOND_STOP, TaskProgress::Clearing, Some(cancelled.clone()));
    let (jobs, ending) = carried_on(clearing);
    assert_eq!((jobs, ending), (vec![Job::StopEngine, Job::StartService], cancelled));
}

#[test]
fn a_completed_run_says_how_many_cases_it_measured_however_often() {
    let message = |wanted: &Wanted| {
        let whole = run(wanted, RunState::Pending);
        let Plan { steps, .. } = whole.plan.clone().expect("a plan");
        let after_all = u32::try_from(steps.len()).expect("few steps");
        let ended = decide(wanted, Run { state: at(after_all, TaskProgress::Ready, None), ..whole });
        ending_of(&ended).message.clone()
    };
    // Three targets with two concurrencies each.
    assert_eq!(message(&two_engines()), "measured 6 cases");
    assert_eq!(message(&Wanted { launches: 2, ..two_engines() }), "measured 6 cases");
}

#[test]
fn the_plan_of_two_engines_stops_restores_and_takes_each_engine_in_turn() {
    let steps = run(&two_engines(), RunState::Pending).plan.expect("a plan").steps;
    let starts: Vec<u32> = (0u32..)
        .zip(&steps)
        .filter(|(_, step)| matches!(step, Step::StartEngine { .. }))
        .map(|at| at.0)
        .collect();
    let stopped: Vec<u32> = steps
        .iter()
        .filter_map(|step| match step {
            Step::StopEngine { step } => Some(*step),
            _ => None,
        })
        .collect();
    assert_eq!(starts, [FIRST_START, FIRST_START + 3]);
    assert_eq!(stopped, starts);
}

#[test]
fn two_load_tests_of_one_server_wait_for_each_other_by_its_name() {
    let wanted = Wanted { engines: Some(0), ..wanted() };
    let same = other(Phase::Running, "http://localhost:8080", &[]);
    let decision = beside(vec![same], &wanted, RunState::Pending);
    assert_eq!(decision.reason, Reason::ServiceBusy);
    assert_eq!(decision.message, "waits for b, which measures the service http://localhost:8080");
    let elsewhere = other(Phase::Running, "http://localhost:9999", &["cpu"]);
    let decision = beside(vec![elsewhere], &wanted, RunState::Pending);
    assert_eq!(
        (decision.reason, decision.message.as_str()),
        (Reason::DeviceBusy, "waits for b, which has cpu")
    );
}

#[test]
fn a_service_among_several_is_waited_for_and_one_whose_name_only_begins_alike_is_not() {
    let table = [
        ("one, other", "other", true),
        ("http://localhost:8080, one", "both, one", true),
        ("one", "one-more", false),
        ("one, other", "both", false),
    ];
    for (a, b, expected) in table {
        assert_eq!(admission::share_service(a, b), expected, "{a} and {b}");
        assert_eq!(admission::share_service(b, a), expected, "{b} and {a}");
    }
}

#[test]
fn a_bench_of_a_service_waits_for_a_load_test_that_has_it_among_others() {
    let load: OtherRun = other(Phase::Preparing, "http://localhost:8080, one", &["cpu"]);
    let decision = beside(vec![load], &wanted(), RunState::Pending);
    assert_eq!(decision.reason, Reason::ServiceBusy);
}
