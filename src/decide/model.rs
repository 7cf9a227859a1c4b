//! A run that brings model files, from Pending to its end. It measures nothing and keeps still while
//! anything does: it gives way to a benchmark that is about to begin, and goes on from where it was.

use super::action::{Action, Decision};
use super::measured_preparing::wait_for_quiet;
use super::measured_run::{advance_to, broken, failed, suspended};
use super::observed::{Job, JobResult, JobStatus, Observed, OtherRun, Run};
use super::retry;
use crate::run::clock::{Deadline, human_ms};
use crate::run::phase::{Ending, Phase, RunState, TaskProgress};
use crate::run::reason::{Reason, Refusal};

/// How often a download is looked at, in milliseconds: its progress, and who wants to measure.
const LOOK_MS: u64 = 1_000;
/// How often a waiting one looks whether it may begin, in milliseconds; the end of a run wakes it earlier.
const RECHECK_MS: u64 = 5_000;

pub fn advance(observed: &Observed, run: &Run) -> Decision {
    match &run.state {
        RunState::Pending => pending(observed, run),
        RunState::Running { ending: Some(ending), .. } => {
            Decision::act(Action::EndRun { run: run.id, ending: ending.clone() }, ending.reason)
        }
        RunState::Running { deadline, ending: None, .. } => downloading(observed, run, deadline),
        RunState::Preparing { .. } | RunState::Collecting { .. } => {
            broken(run, "a Model is neither prepared nor collected")
        }
        RunState::Ended(_) => Decision::idle(Reason::Idle, ""),
    }
}

fn pending(observed: &Observed, run: &Run) -> Decision {
    if let Some(decision) = suspended(observed, run) {
        return decision;
    }
    if let Some(other) = measuring(observed) {
        return Decision::wait(Reason::MachineBusy, waits_for(other), RECHECK_MS);
    }
    Decision::act(advance_to(run.id, downloads_now(observed, run)), Reason::Downloading)
}

fn downloads_now(observed: &Observed, run: &Run) -> RunState {
    RunState::Running {
        deadline: Deadline::after(&observed.now, run.timeout_ms),
        step: 0,
        task: TaskProgress::Started,
        ending: None,
    }
}

fn downloading(observed: &Observed, run: &Run, deadline: &Deadline) -> Decision {
    let job = Job::Download;
    match run.jobs.get(&job) {
        Some(JobStatus::Done(JobResult::Model { words })) => {
            let ending = Ending::completed(words.clone());
            Decision::act(Action::EndRun { run: run.id, ending }, Reason::Completed)
        }
        Some(JobStatus::Done(
            JobResult::Finished
            | JobResult::Image(_)
            | JobResult::Images(_)
            | JobResult::Probe(_)
            | JobResult::Drained(_),
        )) => broken(run, "the download gave another job's result"),
        Some(JobStatus::Failed(refusal)) => failure(observed, run, refusal),
        Some(JobStatus::Running) | None if deadline.passed(&observed.now) => timed_out(run, deadline),
        Some(JobStatus::Running) => match measuring(observed) {
            Some(other) => Decision {
                message: waits_for(other),
                ..Decision::act(Action::StopJob { run: run.id, job }, Reason::MachineBusy)
            },
            None => {
                Decision::wait(Reason::Downloading, "", LOOK_MS.min(deadline.left_ms(&observed.now).max(1)))
            }
        },
        None => match measuring(observed) {
            Some(other) => wait_for_quiet(observed, run, deadline, waits_for(other), RECHECK_MS),
            None => Decision::act(Action::StartJob { run: run.id, job }, Reason::Downloading),
        },
    }
}

/// Another run that measures, is on its way to it, or has not kept its results yet. It would wait for the
/// end of a download that can take hours, where a download loses nothing by waiting for it.
fn measuring(observed: &Observed) -> Option<&OtherRun> {
    observed.world.others.iter().find(|other| {
        other.measures
            && match other.phase {
                Phase::Preparing | Phase::Running | Phase::Collecting => true,
                Phase::Pending | Phase::Completed | Phase::Failed | Phase::Cancelled => false,
            }
    })
}

fn waits_for(other: &OtherRun) -> String {
    format!("waits until {} has measured", other.request)
}

fn failure(observed: &Observed, run: &Run, refusal: &Refusal) -> Decision {
    if !retry::after_failure(run.failures, run.backoff_limit) {
        let ending = failed(refusal);
        return Decision::act(Action::EndRun { run: run.id, ending }, refusal.reason);
    }
    let action = Action::Retry {
        run: run.id,
        state: Box::new(downloads_now(observed, run)),
        attempt: run.attempt + 1,
        faults: run.faults,
        failures: run.failures + 1,
    };
    Decision { message: refusal.message.clone(), ..Decision::act(action, Reason::Retrying) }
}

fn timed_out(run: &Run, deadline: &Deadline) -> Decision {
    let message = format!("it took longer than its timeout of {}", human_ms(deadline.allowed_ms));
    let hint = "what has come is kept: a longer spec.timeout with a new spec.rerun goes on from there";
    let ending = Ending::failed(Reason::TimedOut, message).hint(Some(hint.to_owned()));
    Decision::act(Action::EndRun { run: run.id, ending }, Reason::TimedOut)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::simulation::requests::wanted;
    use super::super::single_decisions::{look, other, run};
    use super::super::{next_action, observed::World};
    use super::*;
    use crate::request::model::Model;
    use crate::request::model_source::Source;
    use crate::request::valid::Spec;

    fn model_run(state: RunState, job: Option<JobStatus>) -> Run {
        let spec = Spec::Model(Model::of(Source::parse("hf://o/r").unwrap()));
        let jobs: BTreeMap<Job, JobStatus> = job.map(|status| (Job::Download, status)).into_iter().collect();
        Run { spec, jobs, ..run(&wanted(), state) }
    }

    fn running(observed: &Observed) -> RunState {
        downloads_now(observed, &model_run(RunState::Pending, None))
    }

    fn decided(others: Vec<OtherRun>, job: Option<JobStatus>) -> Decision {
        let observed = look(&wanted());
        let run = model_run(running(&observed), job);
        let world = World { others, ..observed.world.clone() };
        next_action(&Observed { run: Some(run), world, ..observed })
    }

    #[test]
    fn a_download_begins_at_once_where_nothing_measures() {
        let observed = look(&wanted());
        let pending = Observed { run: Some(model_run(RunState::Pending, None)), ..observed };
        let decision = next_action(&pending);
        assert!(matches!(decision.action, Action::Advance { .. }), "{decision:?}");
        let decision = decided(Vec::new(), None);
        assert!(matches!(decision.action, Action::StartJob { job: Job::Download, .. }), "{decision:?}");
    }

    #[test]
    fn nothing_is_downloaded_while_another_run_measures_or_is_about_to() {
        for phase in [Phase::Preparing, Phase::Running, Phase::Collecting] {
            let decision = decided(vec![other(phase, "a", &[])], None);
            assert!(matches!(decision.action, Action::Wait), "{decision:?}");
            assert_eq!(decision.reason, Reason::MachineBusy);
            let decision = decided(vec![other(phase, "a", &[])], Some(JobStatus::Running));
            assert!(matches!(decision.action, Action::StopJob { job: Job::Download, .. }), "{decision:?}");
        }
    }

    #[test]
    fn a_run_that_does_not_measure_holds_no_download_up() {
        let download = OtherRun { measures: false, ..other(Phase::Running, "a", &[]) };
        let decision = decided(vec![download, other(Phase::Pending, "b", &[])], None);
        assert!(matches!(decision.action, Action::StartJob { .. }), "{decision:?}");
    }

    #[test]
    fn time_that_others_measure_in_is_not_the_downloads_own() {
        let mut observed = look(&wanted());
        let run = model_run(running(&observed), None);
        observed.now.boot_ms += run.timeout_ms / 2 + 1;
        observed.world.others = vec![other(Phase::Running, "a", &[])];
        let decision = next_action(&Observed { run: Some(run), ..observed });
        assert!(matches!(decision.action, Action::Advance { .. }), "{decision:?}");
        assert_eq!(decision.reason, Reason::MachineBusy);
    }

    #[test]
    fn a_failure_ends_the_run_or_is_tried_again_as_the_request_says() {
        let refusal = Refusal::new(Reason::HashDiffers, "no");
        let decision = decided(Vec::new(), Some(JobStatus::Failed(refusal.clone())));
        assert!(matches!(decision.action, Action::EndRun { .. }), "{decision:?}");
        assert_eq!(decision.reason, Reason::HashDiffers);
        let observed = look(&wanted());
        let mut run = model_run(running(&observed), Some(JobStatus::Failed(refusal)));
        run.backoff_limit = 1;
        let decision = next_action(&Observed { run: Some(run), ..observed });
        assert!(matches!(decision.action, Action::Retry { failures: 1, .. }), "{decision:?}");
    }

    #[test]
    fn what_is_late_ends_and_what_is_done_does_not() {
        let mut observed = look(&wanted());
        let state = running(&observed);
        observed.now.boot_ms += 1 + model_run(RunState::Pending, None).timeout_ms;
        let late = model_run(state.clone(), Some(JobStatus::Running));
        let decision = next_action(&Observed { run: Some(late), ..observed.clone() });
        assert_eq!(decision.reason, Reason::TimedOut);
        let words = "1 file, 3 B".to_owned();
        let done = model_run(state, Some(JobStatus::Done(JobResult::Model { words })));
        let decision = next_action(&Observed { run: Some(done), ..observed });
        assert_eq!(decision.reason, Reason::Completed);
    }
}
