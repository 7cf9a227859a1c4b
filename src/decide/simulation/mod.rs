//! A small world in memory for the decision to be tried in: files, commands, a store, an executor and
//! a clock. It wakes requests as the controller's loop does and carries orders out as
//! `controller::execute` does, so that a decision which nothing would ever wake again shows as a run
//! that never ends. What must always hold is asserted at every order.

mod engines;
pub mod events;
mod invariants;
mod load_tests;
mod machine;
pub mod requests;
mod rows;

use std::collections::BTreeMap;
use std::path::PathBuf;

use uuid::Uuid;

use super::observed::{Document, Judging, Observed, OtherRun, Run, Verb, World};
use super::{Action, Decision, next_action, overlap, share_service};
use crate::run::clock::Now;
use crate::run::phase::{Phase, RunState};
use crate::run::reason::{Reason, Refusal};
use machine::Machine;
use requests::{SERVICES, Wanted, resolve};
use rows::Rows;

/// An absence is confirmed by two listings.
const CONFIRMED_MS: u64 = 3_000;
/// The executors are listed and the files read so long after a start.
const LISTED_MS: u64 = 300;
/// More passes than this at one moment are a loop without an end.
const MOST_PASSES: u32 = 400;

#[derive(Debug, Clone)]
enum FileState {
    Valid { wanted: Wanted, startable_at: u64, moved: bool },
    Invalid,
    Unreadable,
    Absent { since: u64 },
}

/// What a name was last given a run for, kept apart from the records to hold them to it.
type Consumed = (String, Option<String>);

#[derive(Debug)]
pub struct Sim {
    pub machine: Machine,
    rows: Rows,
    files: BTreeMap<&'static str, FileState>,
    wakes: BTreeMap<String, u64>,
    failures: BTreeMap<String, u32>,
    /// Service and devices of every admitted run.
    held: BTreeMap<Uuid, (String, Vec<String>)>,
    foreign: Option<&'static str>,
    broken_services: bool,
    degraded: bool,
    listed_at: u64,
    boot: u32,
    booted_at: u64,
    ids: u128,
    consumed: BTreeMap<String, Consumed>,
    /// Since when nothing keeps an overdue run from its end.
    unhindered_since: u64,
    passes_now: u32,
    /// Every order but waiting, for messages and to tell whether the world is at rest.
    pub orders: Vec<String>,
    /// The decision that each name got last.
    pub last: BTreeMap<String, Decision>,
}

impl Sim {
    pub fn new(fates: Vec<u8>) -> Self {
        let machine = Machine::new(fates);
        let now = machine.now;
        Self {
            machine,
            rows: Rows::default(),
            files: requests::NAMES.into_iter().map(|name| (name, FileState::Absent { since: 0 })).collect(),
            wakes: BTreeMap::new(),
            failures: BTreeMap::new(),
            held: BTreeMap::new(),
            foreign: None,
            broken_services: false,
            degraded: false,
            listed_at: now,
            boot: 0,
            booted_at: 0,
            ids: 0,
            consumed: BTreeMap::new(),
            unhindered_since: now,
            passes_now: 0,
            orders: Vec::new(),
            last: BTreeMap::new(),
        }
    }

    fn now(&self) -> Now {
        let now = self.machine.now;
        let unix_ms = i64::try_from(now).expect("a short simulation");
        Now { boot_id: format!("boot-{}", self.boot), boot_ms: now - self.booted_at, unix_ms }
    }

    fn wake(&mut self, name: &str) {
        self.wakes.insert(name.to_owned(), self.machine.now);
    }

    fn wake_all(&mut self) {
        for name in requests::NAMES {
            self.wake(name);
        }
    }

    fn is_listed(&self) -> bool {
        self.machine.now >= self.listed_at
    }

    fn document(&self, name: &str) -> Document {
        let now = self.machine.now;
        let Some(file) = self.files.get(name).filter(|_| self.is_listed()) else {
            return Document::Absent { confirmed: false };
        };
        match file {
            FileState::Valid { wanted, startable_at, moved } => Document::Valid {
                request: wanted.request(name),
                path: PathBuf::from(if *moved { "below/x.yaml" } else { "x.yaml" }),
                index: 0,
                startable_in_ms: startable_at.saturating_sub(now),
            },
            FileState::Invalid => Document::Invalid { problems: Vec::new() },
            FileState::Unreadable => Document::Unreadable,
            FileState::Absent { since } => {
                Document::Absent { confirmed: !self.degraded && now >= since + CONFIRMED_MS }
            }
        }
    }

    pub fn observe(&mut self, name: &str) -> Observed {
        self.ids += 1;
        let others = self.rows.open().filter(|run| run.request != name).map(|run| OtherRun {
            request: run.request.clone(),
            service: run.service.clone(),
            phase: run.state.phase(),
            measures: run.spec.measures(),
            claims: run.blueprint.as_ref().map(|blueprint| blueprint.claims.clone()).unwrap_or_default(),
        });
        let mut world = World {
            listed: self.is_listed(),
            orders_only: false,
            degraded: self.degraded.then(|| "half of it is gone".to_owned()),
            others: others.collect(),
            foreign: self.foreign.iter().map(|device| ((*device).to_owned(), "another".to_owned())).collect(),
            disturbing: None,
        };
        let own = self.rows.open().find(|run| run.request == name).cloned();
        let run = own.map(|row| {
            world.disturbing = self.machine.disturbing(row.id);
            let resolution = match &row.state {
                RunState::Pending if self.broken_services => {
                    Some(Err(Refusal::new(Reason::ServiceUnknown, "there is no such service")))
                }
                RunState::Pending => Some(resolve(row.id, &row.spec, row.timeout_ms, self.machine.reachable)),
                RunState::Preparing { .. }
                | RunState::Running { .. }
                | RunState::Collecting { .. }
                | RunState::Ended(_) => None,
            };
            let task = machine::current_task(&row).map(|id| self.machine.observe(&id));
            Run {
                ordered: row.state == RunState::Pending && self.rows.is_ordered(row.id),
                jobs: self.machine.statuses(row.id),
                id: row.id,
                spec: row.spec,
                spec_hash: row.spec_hash,
                timeout_ms: row.timeout_ms,
                backoff_limit: row.backoff_limit,
                attempt: row.attempt,
                faults: row.faults,
                failures: row.failures,
                state: row.state,
                blueprint: row.blueprint,
                plan: row.plan,
                resolution,
                task,
            }
        });
        Observed {
            judging: Judging::Nothing,
            now: self.now(),
            name: name.to_owned(),
            document: self.document(name),
            record: self.rows.record(name).cloned(),
            run,
            owed_applies: Vec::new(),
            applies: Vec::new(),
            commands: self.rows.commands_for(name),
            world,
            fresh: Uuid::from_u128(self.ids),
        }
    }

    /// Lets the world go on for a while.
    pub fn run_for(&mut self, ms: u64) {
        let until = self.machine.now + ms;
        loop {
            for name in self.machine.step(&self.rows) {
                self.wake(&name);
            }
            let now = self.machine.now;
            let due = self.wakes.iter().filter(|(_, at)| **at <= now).map(|(name, _)| name.clone());
            let due: Vec<String> = due.collect();
            if !due.is_empty() {
                self.passes(due);
                continue;
            }
            let Some(at) = self.next_time().filter(|at| *at <= until) else {
                self.move_to(until);
                return;
            };
            self.move_to(at);
        }
    }

    fn next_time(&self) -> Option<u64> {
        let files = self.files.values().filter_map(|file| match file {
            FileState::Valid { startable_at, .. } => Some(*startable_at),
            FileState::Absent { since } => Some(since + CONFIRMED_MS),
            FileState::Invalid | FileState::Unreadable => None,
        });
        let times = files.chain(self.wakes.values().copied()).chain([self.listed_at]);
        times.filter(|at| *at > self.machine.now).chain(self.machine.next_time()).min()
    }

    /// The files and the first listing wake what they change when their time comes.
    fn move_to(&mut self, at: u64) {
        let before = self.machine.now;
        self.machine.now = at;
        self.passes_now = 0;
        let passed = |moment: u64| before < moment && moment <= at;
        let changed: Vec<&str> = self
            .files
            .iter()
            .filter(|(_, file)| match file {
                FileState::Valid { startable_at, .. } => passed(*startable_at),
                FileState::Absent { since } => passed(since + CONFIRMED_MS),
                FileState::Invalid | FileState::Unreadable => false,
            })
            .map(|(name, _)| *name)
            .collect();
        for name in changed {
            self.wake(name);
        }
        if passed(self.listed_at) {
            self.machine.sweep(&self.rows);
            self.wake_all();
        }
        self.check_deadlines();
    }

    /// One pass of each, at the same time: all of them look before any of them acts.
    fn passes(&mut self, names: Vec<String>) {
        self.passes_now += u32::try_from(names.len()).expect("few names");
        let last = &self.orders[self.orders.len().saturating_sub(8)..];
        assert!(self.passes_now < MOST_PASSES, "it goes round for ever: {last:#?}");
        let looked: Vec<Observed> = names.iter().map(|name| self.observe(name)).collect();
        for name in &names {
            self.wakes.remove(name);
        }
        for observed in looked {
            let decision = next_action(&observed);
            self.check_decision(&observed, &decision);
            let (name, now) = (observed.name.clone(), self.machine.now);
            let again = match self.execute(&observed, &decision) {
                Ok(()) => {
                    self.failures.remove(&name);
                    decision.recheck_ms
                }
                Err(_) => {
                    let count = self.failures.entry(name.clone()).or_default();
                    *count += 1;
                    Some((100 << (*count).min(10)).min(4_000))
                }
            };
            if let Some(delay) = again {
                let at = self.wakes.entry(name.clone()).or_insert(now + delay);
                *at = (*at).min(now + delay);
            }
            self.last.insert(name, decision);
            self.check_world();
        }
    }

    /// `controller::execute`, arm by arm.
    fn execute(&mut self, observed: &Observed, decision: &Decision) -> Result<(), String> {
        if !matches!(decision.action, Action::Wait) {
            self.orders.push(format!("{} {}: {:?}", self.machine.now, observed.name, decision.action));
        }
        match decision.action.clone() {
            Action::Wait => {}
            Action::Register(record) => self.rows.save(*record),
            Action::CreateRun(new) => {
                self.note_consumed(&new);
                self.rows.create_run(&new);
            }
            Action::Satisfy { uid, hash, rerun } => {
                self.rows.satisfy(uid, Some(&hash), rerun.as_deref());
                let token =
                    rerun.or_else(|| self.consumed.get(&observed.name).and_then(|known| known.1.clone()));
                self.consumed.insert(observed.name.clone(), (hash, token));
            }
            Action::Admit { run, blueprint, state } => {
                self.take(run, &blueprint.service, &blueprint.claims)?;
                let row = self.rows.run_mut(run);
                row.service.clone_from(&blueprint.service);
                row.blueprint = Some(*blueprint);
                self.rows.advance(run, *state);
            }
            Action::Advance { run, state, plan } => {
                if let Some(plan) = plan {
                    self.rows.run_mut(run).plan = Some(*plan);
                }
                self.rows.advance(run, *state);
                self.machine.forget_finished(run);
            }
            Action::Retry { run, state, attempt, faults, failures } => {
                let row = self.rows.run_mut(run);
                (row.attempt, row.faults, row.failures) = (attempt, faults, failures);
                self.rows.advance(run, *state);
                self.machine.cancel_jobs(run, |_| true);
            }
            Action::StopJob { run, job } => self.machine.cancel_jobs(run, |other| other == job),
            Action::StartJob { run, job } => self.machine.start_job(self.rows.run(run), job),
            Action::StartTask { run, task, started } => {
                self.machine.engines.check_start(self.rows.run(run), &task.id);
                self.machine.start_task(&task.id, self.rows.run(run).timeout_ms)?;
                if self.machine.loses_the_start() {
                    return Err("the store failed in between".to_owned());
                }
                self.rows.advance(run, *started);
            }
            Action::StopTask { id } => self.machine.stop_task(&id)?,
            Action::EndRun { run, ending } => {
                self.machine.cancel_jobs(run, |_| true);
                self.rows.advance(run, RunState::Ended(ending));
                self.rows.answer_cancels(&observed.name);
                self.held.remove(&run);
                for other in &observed.world.others {
                    self.wake(&other.request);
                }
            }
            Action::CreateApply(_) | Action::StartApply { .. } | Action::Pin(_) | Action::Judge(_) => {
                unreachable!("nothing here is applied, pinned or judged")
            }
            Action::Answer { command, .. } => self.rows.answer(command),
        }
        Ok(())
    }

    /// `controller::claims`: under one lock, service and devices or nothing.
    fn take(&mut self, run: Uuid, service: &str, devices: &[String]) -> Result<(), String> {
        let foreign = self.foreign.is_some_and(|device| devices.iter().any(|wanted| wanted == device));
        let clashes = |(other, held): &(String, Vec<String>)| {
            share_service(other, service) || overlap(held, devices).is_some()
        };
        if foreign || self.held.values().any(clashes) {
            return Err("held".to_owned());
        }
        self.held.insert(run, (service.to_owned(), devices.to_vec()));
        Ok(())
    }

    /// The controller is killed and started again.
    fn restart(&mut self) {
        self.machine.lose_jobs(&self.rows);
        self.wakes.clear();
        self.failures.clear();
        self.held.clear();
        self.listed_at = self.machine.now + LISTED_MS;
        let open: Vec<_> =
            self.rows.open().map(|run| (run.id, run.request.clone(), run.blueprint.clone())).collect();
        for (id, name, blueprint) in open {
            if let Some(blueprint) = blueprint.filter(|_| self.rows.run(id).state.phase() != Phase::Pending) {
                // As at the start of the controller: a device that is held is only warned of.
                drop(self.take(id, &blueprint.service, &blueprint.claims));
            }
            self.wake(&name);
        }
    }

    /// From now on nothing fails any more, and everything that was in the way is out of it.
    pub fn calm_down(&mut self) {
        self.machine.calm = true;
        self.machine.reachable = true;
        self.machine.disk_full = false;
        self.foreign = None;
        self.broken_services = false;
        self.degraded = false;
        self.unhindered_since = self.machine.now;
        self.wake_all();
    }

    pub fn open_runs(&self) -> Vec<(Uuid, String, RunState)> {
        self.rows.open().map(|run| (run.id, run.request.clone(), run.state.clone())).collect()
    }

    pub fn order(&mut self, name: &str, verb: Verb) {
        self.rows.order(name, verb);
        self.wake(name);
    }

    /// Every service index, for strategies.
    pub fn services() -> std::ops::Range<usize> {
        0..SERVICES.len()
    }
}
