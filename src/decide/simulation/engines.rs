//! Engines of the simulated world that load tests start and take away: `controller::engines` as far as
//! a decision can tell the difference. What must hold of them is asserted here.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::rows::{Rows, RunRow};
use crate::run::phase::{Phase, RunState};
use crate::run::plan::Step;
use crate::run::step::TaskId;

#[derive(Debug, Default)]
pub struct Engines {
    running: BTreeSet<TaskId>,
    /// Those that were waited for until they were healthy, and not taken away since.
    ready: BTreeSet<TaskId>,
    /// Runs and steps whose engine was begun to be started and is to be taken away.
    owed: BTreeSet<(Uuid, u32)>,
}

/// The step at which a Running run stands.
fn current_step(run: &RunRow) -> Option<(u32, &Step)> {
    let RunState::Running { step, .. } = run.state else { return None };
    Some((step, run.plan.as_ref()?.steps.get(step as usize)?))
}

/// The engine that a Running run is about to start.
pub fn current(run: &RunRow) -> Option<TaskId> {
    match current_step(run)?.1 {
        Step::StartEngine { engine } => {
            Some(TaskId { run: run.id, attempt: run.attempt, ..engine.task.id.clone() })
        }
        Step::StopService { .. }
        | Step::Bench { .. }
        | Step::StartService { .. }
        | Step::Load { .. }
        | Step::StopEngine { .. } => None,
    }
}

impl Engines {
    /// A job has begun that will launch it sooner or later.
    pub fn begin(&mut self, id: &TaskId) {
        self.owed.insert((id.run, id.step));
    }

    /// Those of lost attempts are taken away first.
    pub fn launch(&mut self, id: &TaskId) {
        self.running.retain(|other| (other.run, other.step) != (id.run, id.step) || other == id);
        self.running.insert(id.clone());
    }

    /// Whether it became healthy: one that was killed meanwhile does not.
    pub fn wait_for(&mut self, id: &TaskId) -> bool {
        let runs = self.running.contains(id);
        if runs {
            self.ready.insert(id.clone());
        }
        runs
    }

    /// Takes the engine away that the current step names, of whatever attempt.
    pub fn take_away(&mut self, run: &RunRow) {
        let Some((_, Step::StopEngine { step })) = current_step(run) else { return };
        let stays = |id: &TaskId| (id.run, id.step) != (run.id, *step);
        self.running.retain(stays);
        self.ready.retain(stays);
        self.owed.remove(&(run.id, *step));
    }

    pub fn kill_all(&mut self) {
        self.running.clear();
    }

    /// A task that measures an engine begins only once that one was waited for in the same attempt, and
    /// beside no other engine of its run.
    pub fn check_start(&self, run: &RunRow, task: &TaskId) {
        let steps = &run.plan.as_ref().expect("a Running run has a plan").steps;
        let before = task.step.checked_sub(1).and_then(|before| steps.get(before as usize));
        let own = match before {
            Some(Step::StartEngine { engine }) => {
                Some(TaskId { run: run.id, attempt: task.attempt, ..engine.task.id.clone() })
            }
            _ => None,
        };
        assert!(
            own.as_ref().is_none_or(|own| self.ready.contains(own)),
            "{task:?} begins before its engine is there"
        );
        let beside = self.running.iter().find(|other| other.run == run.id && Some(*other) != own.as_ref());
        assert_eq!(beside, None, "{task:?} measures beside another engine");
    }

    /// An engine runs only while its run is Running, between the step that starts it and the one that
    /// takes it away, and none beside another; none is owed once its run has ended.
    pub fn check(&self, rows: &Rows) {
        assert!(self.running.len() < 2, "two engines share the machine: {:?}", self.running);
        for id in &self.running {
            let run = rows.open().find(|run| run.id == id.run && run.state.phase() == Phase::Running);
            let run = run.unwrap_or_else(|| panic!("{id:?} runs, and its run does not"));
            let steps = &run.plan.as_ref().expect("a Running run has a plan").steps;
            let stops = |step: &Step| matches!(step, Step::StopEngine { step } if *step == id.step);
            let last = steps.iter().position(stops).expect("what is started is taken away");
            let (step, _) = current_step(run).expect("an engine runs within the steps");
            assert!(id.step <= step && step as usize <= last, "{id:?} runs at the step {step}");
        }
        for (run, step) in &self.owed {
            let open = rows.open().any(|open| open.id == *run);
            assert!(open, "{run} has ended, and the engine of its step {step} was never taken away");
        }
    }

    pub fn check_rest(&self) {
        assert!(self.running.is_empty(), "left running: {:?}", self.running);
    }
}
