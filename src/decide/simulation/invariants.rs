//! What must hold at every decision and after every order, whatever happened before.

use std::collections::BTreeSet;

use super::rows::RunRow;
use super::{Sim, requests};
use crate::decide::action::NewRun;
use crate::decide::observed::{Document, JobStatus, Observed};
use crate::decide::{Action, Decision, admission, next_action, retry, share_service};
use crate::request::control::DesiredState;
use crate::request::valid::Spec;
use crate::run::phase::{Phase, RunState};
use crate::run::reason::Reason;

/// An overdue run is brought to its end within this time, once nothing is in the way.
const OVERDUE_MS: u64 = 8_000;

impl Sim {
    /// What a decision may be, given what it was made from.
    pub(super) fn check_decision(&self, observed: &Observed, decision: &Decision) {
        if self.ids.is_multiple_of(16) {
            let again = next_action(observed);
            assert_eq!(format!("{decision:?}"), format!("{again:?}"), "the same look, another decision");
        }
        self.check_wakes_again(observed, decision);
        self.check_untrusted_document(observed, decision);
        self.check_wish(observed, decision);
        check_superseded(observed, decision);
        if let Action::Retry { attempt, faults, failures, .. } = &decision.action {
            let run = observed.run.as_ref().expect("a run is retried");
            assert!(*faults <= retry::MOST_FAULTS && *failures <= run.backoff_limit, "{decision:?}");
            assert_eq!(*attempt, faults + failures, "an attempt for each loss and no other");
        }
    }

    /// Only what is held by somebody's wish may sleep without a time to wake at.
    fn check_wakes_again(&self, observed: &Observed, decision: &Decision) {
        let Some(run) = &observed.run else { return };
        let asleep = matches!(decision.action, Action::Wait) && decision.recheck_ms.is_none();
        let wished = run.state == RunState::Pending && decision.reason == Reason::Suspended;
        assert!(!asleep || wished, "nothing wakes {run:?}: {decision:?}");
    }

    /// A document that is not valid, or not to be trusted yet, changes nothing.
    fn check_untrusted_document(&self, observed: &Observed, decision: &Decision) {
        let unusable = match &observed.document {
            Document::Invalid { .. } | Document::Unreadable | Document::Absent { confirmed: false } => true,
            Document::Valid { .. } | Document::Absent { confirmed: true } => false,
        };
        if !unusable {
            return;
        }
        match &decision.action {
            Action::Register(_) | Action::Satisfy { .. } | Action::CreateApply(_) | Action::Pin(_) => {
                panic!("{decision:?}")
            }
            Action::CreateRun(new) => assert!(new.command.is_some(), "{decision:?}"),
            Action::EndRun { ending, .. } => {
                // What has begun was led to its end before.
                let run = observed.run.as_ref().expect("a run ends");
                let begun = matches!(run.state, RunState::Running { .. } | RunState::Collecting { .. });
                assert!(begun || ending.reason != Reason::Superseded, "{decision:?}");
            }
            Action::Advance { state, .. } => {
                if let RunState::Running { ending: Some(ending), .. } = &**state
                    && let Some(RunState::Running { ending: None, .. }) =
                        observed.run.as_ref().map(|run| &run.state)
                {
                    assert_ne!(ending.reason, Reason::Superseded);
                }
            }
            Action::Wait
            | Action::Judge(_)
            | Action::Admit { .. }
            | Action::Retry { .. }
            | Action::StartJob { .. }
            | Action::StopJob { .. }
            | Action::StartTask { .. }
            | Action::StopTask { .. }
            | Action::StartApply { .. }
            | Action::Answer { .. } => {}
        }
    }

    /// What is suspended, cancelled or deleted begins nothing.
    fn check_wish(&self, observed: &Observed, decision: &Decision) {
        let Some(record) = &observed.record else { return };
        let (desired, ordered) = match &decision.action {
            Action::CreateRun(new) => {
                assert!(!record.deleted, "a run for what is deleted");
                assert!(
                    observed.world.degraded.is_none() || new.command.is_some(),
                    "a run in a degraded root"
                );
                (record.control.desired, new.command.is_some())
            }
            Action::Admit { run, .. } => (record.control.desired, self.rows.is_ordered(*run)),
            Action::StartTask { .. } => {
                assert_ne!(record.control.desired, DesiredState::Cancelled, "a task of what is cancelled");
                return;
            }
            _ => return,
        };
        assert_ne!(desired, DesiredState::Cancelled, "{decision:?}");
        assert!(desired != DesiredState::Suspended || ordered, "{decision:?}");
    }

    /// The same spec with the same token is measured once, but for a command.
    pub(super) fn note_consumed(&mut self, new: &NewRun) {
        let record = self.rows.record(&new.request).expect("a run has a request");
        let before = self.consumed.get(&new.request);
        let token = record.control.rerun.clone().or_else(|| before.and_then(|known| known.1.clone()));
        let now = (new.spec_hash.clone(), token);
        assert!(new.command.is_some() || before != Some(&now), "{now:?} is measured again for nothing");
        let own_flags = match (&new.spec, &record.spec) {
            (Spec::LlamaBench(of_run), Spec::LlamaBench(of_file)) => of_run.params != of_file.params,
            (Spec::LoadTest(of_run), Spec::LoadTest(of_file)) => of_run != of_file,
            _ => unreachable!("a run is of its file's kind"),
        };
        let hash = match before {
            // Flags of its own satisfy nothing that the file asks for.
            Some(known) if own_flags => known.0.clone(),
            None if own_flags => String::new(),
            _ => now.0,
        };
        self.consumed.insert(new.request.clone(), (hash, now.1));
    }

    /// What holds between any two orders.
    pub(super) fn check_world(&self) {
        let mut names = BTreeSet::new();
        for run in self.rows.open() {
            assert!(names.insert(&run.request), "two open runs of {}", run.request);
        }
        let admitted: Vec<_> = self.rows.open().filter(|run| run.state.phase() != Phase::Pending).collect();
        for (at, run) in admitted.iter().enumerate() {
            for other in &admitted[at + 1..] {
                let shared = share_service(&run.service, &other.service);
                assert!(!shared, "two runs measure one service: {} and {}", run.service, other.service);
                let loads = |run: &RunRow| matches!(run.spec, Spec::LoadTest(_));
                assert!(!loads(run) || !loads(other), "two load tests at the same time");
                let claims = |of: &RunRow| of.blueprint.clone().expect("admitted").claims;
                let shared = admission::overlap(&claims(run), &claims(other)).map(str::to_owned);
                assert_eq!(shared, None, "{} and {} share a device", run.request, other.request);
            }
        }
        self.machine.engines.check(&self.rows);
        for run in &self.rows.runs {
            let ended = run.state.phase().is_terminal();
            assert!(
                !ended || !self.machine.stopped.contains(&run.id) || self.machine.restored.contains(&run.id),
                "the service that {run:?} stopped was not started again"
            );
        }
    }

    /// Nothing that can be ended outlives its deadline for long.
    pub(super) fn check_deadlines(&self) {
        if !self.machine.reachable
            || self.machine.now < self.unhindered_since + OVERDUE_MS
            || !self.is_listed()
        {
            return;
        }
        let now = self.now();
        for run in self.rows.open() {
            let Some(deadline) = run.state.deadline().filter(|deadline| deadline.boot_id == now.boot_id)
            else {
                assert!(run.state == RunState::Pending, "a deadline of another boot: {run:?}");
                continue;
            };
            let ending = matches!(&run.state, RunState::Running { ending: Some(_), .. });
            let jobs = self.machine.statuses(run.id);
            let restoring = jobs.values().any(|status| *status == JobStatus::Running);
            let overdue = now.boot_ms > deadline.boot_ms + OVERDUE_MS;
            assert!(!overdue || ending || restoring, "{run:?} is overdue at {now:?}: {jobs:?}");
        }
    }

    /// After everything has calmed down: nothing is open but what is suspended, every file that asks
    /// for it was measured, and nobody is at work.
    pub fn check_rest(&mut self) {
        for (id, name, state) in self.open_runs() {
            let record = self.rows.record(&name).expect("a run has a request");
            let suspended = record.control.desired == DesiredState::Suspended;
            let held = state == RunState::Pending && suspended && !self.rows.is_ordered(id);
            assert!(held, "{name} does not end: {state:?} {:?}", self.last.get(&name));
        }
        for name in requests::NAMES {
            assert!(
                self.rows.commands_for(name).is_empty() || self.rows.open().any(|run| run.request == name)
            );
            let Document::Valid { request, .. } = self.document(name) else { continue };
            let record = self.rows.record(name).expect("a valid file is registered");
            assert_eq!((&record.spec_hash, record.deleted), (&request.spec_hash, false));
            if request.control.desired == DesiredState::Active {
                assert_eq!(record.satisfied_hash.as_ref(), Some(&request.spec_hash), "{name} was left out");
                let token = &request.control.rerun;
                assert!(token.is_none() || record.satisfied_rerun == *token, "{name}'s token was left out");
            }
        }
        self.machine.engines.check_rest();
        let before = self.orders.len();
        self.run_for(100_000);
        assert_eq!(self.orders.get(before..), Some(&[][..]), "it never comes to rest");
    }
}

/// Only an edit or a new token takes a run's place; what somebody ordered beside the file stays.
fn check_superseded(observed: &Observed, decision: &Decision) {
    let (Some(run), Some(record)) = (&observed.run, &observed.record) else { return };
    let ends = matches!(decision.action, Action::EndRun { .. } | Action::Advance { .. });
    if ends && decision.reason == Reason::Superseded && run.state.phase() != Phase::Collecting {
        let token = record.control.rerun.is_some() && record.control.rerun != record.satisfied_rerun;
        assert!(run.spec_hash != record.spec_hash || token, "{run:?} is superseded by nothing");
    }
}
