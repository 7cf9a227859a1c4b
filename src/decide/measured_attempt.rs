//! Where a run that measures begins again after an attempt that was not enough. Whether it may is `retry`'s.

use super::action::{Action, Decision};
use super::measured_steps::Position;
use super::observed::{Observed, Refusal, Run};
use crate::run::clock::Deadline;
use crate::run::phase::{RunState, TaskProgress};
use crate::run::plan::{Plan, Step};
use crate::run::reason::Reason;

/// A new attempt, from the first step that measures: what was stopped for the run stays stopped. The
/// engine of the attempt that was lost goes first, because it would disturb what is measured before its
/// own turn.
pub fn again(
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
pub fn beginning(observed: &Observed, run: &Run, plan: &Plan) -> RunState {
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
