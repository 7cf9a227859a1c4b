//! The store of the simulated world: the same rows and the same rules as `store::{requests, runs,
//! commands}`, in memory.

use uuid::Uuid;

use crate::decide::action::NewRun;
use crate::decide::observed::{Command, Record, Verb};
use crate::request::valid::Spec;
use crate::run::phase::RunState;
use crate::run::plan::{Blueprint, Plan};

#[derive(Debug, Clone)]
pub struct RunRow {
    pub id: Uuid,
    pub request: String,
    pub service: String,
    pub spec: Spec,
    pub spec_hash: String,
    pub timeout_ms: u64,
    pub backoff_limit: u32,
    pub attempt: u32,
    pub faults: u32,
    pub failures: u32,
    pub state: RunState,
    pub blueprint: Option<Blueprint>,
    pub plan: Option<Plan>,
}

#[derive(Debug)]
struct CommandRow {
    request: String,
    command: Command,
    answered: bool,
    run: Option<Uuid>,
}

#[derive(Debug, Default)]
pub struct Rows {
    requests: Vec<Record>,
    pub runs: Vec<RunRow>,
    commands: Vec<CommandRow>,
}

impl Rows {
    /// The live record of a name, else its latest tombstone.
    pub fn record(&self, name: &str) -> Option<&Record> {
        let mut named = self.requests.iter().rev().filter(|record| record.name == name);
        let latest = named.clone().next();
        named.find(|record| !record.deleted).or(latest)
    }

    pub fn save(&mut self, record: Record) {
        match self.requests.iter_mut().find(|known| known.uid == record.uid) {
            Some(known) => *known = record,
            None => self.requests.push(record),
        }
    }

    pub fn satisfy(&mut self, uid: Uuid, hash: Option<&str>, rerun: Option<&str>) {
        let record = self.requests.iter_mut().find(|record| record.uid == uid).expect("a known request");
        if let Some(hash) = hash {
            record.satisfied_hash = Some(hash.to_owned());
        }
        if let Some(rerun) = rerun {
            record.satisfied_rerun = Some(rerun.to_owned());
        }
    }

    pub fn create_run(&mut self, new: &NewRun) {
        self.runs.push(RunRow {
            id: new.id,
            request: new.request.clone(),
            service: new.service.clone(),
            spec: new.spec.clone(),
            spec_hash: new.spec_hash.clone(),
            timeout_ms: new.timeout_ms,
            backoff_limit: new.backoff_limit,
            attempt: 0,
            faults: 0,
            failures: 0,
            state: RunState::Pending,
            blueprint: None,
            plan: None,
        });
        self.satisfy(new.request_uid, new.satisfied_hash.as_deref(), new.satisfied_rerun.as_deref());
        if let Some(id) = new.command {
            let waiting = self.commands.iter_mut().find(|row| row.command.id == id && !row.answered);
            let row = waiting.expect("an open command");
            (row.answered, row.run) = (true, Some(new.id));
        }
    }

    pub fn open(&self) -> impl Iterator<Item = &RunRow> {
        self.runs.iter().filter(|run| !run.state.phase().is_terminal())
    }

    pub fn run(&self, id: Uuid) -> &RunRow {
        self.runs.iter().find(|run| run.id == id).expect("a known run")
    }

    pub fn run_mut(&mut self, id: Uuid) -> &mut RunRow {
        self.runs.iter_mut().find(|run| run.id == id).expect("a known run")
    }

    /// The store would leave an ended run alone; that anybody tries is what the simulation is after.
    pub fn advance(&mut self, id: Uuid, state: RunState) {
        let run = self.run_mut(id);
        assert!(!run.state.phase().is_terminal(), "{id} has ended as {:?} and is to be {state:?}", run.state);
        run.state = state;
    }

    pub fn order(&mut self, request: &str, verb: Verb) {
        let id = i64::try_from(self.commands.len()).expect("few commands") + 1;
        let command = Command { id, verb };
        self.commands.push(CommandRow { request: request.to_owned(), command, answered: false, run: None });
    }

    pub fn answer(&mut self, id: i64) {
        let waiting = self.commands.iter_mut().find(|row| row.command.id == id && !row.answered);
        waiting.expect("an open command").answered = true;
    }

    pub fn answer_cancels(&mut self, request: &str) {
        for row in self.commands.iter_mut().filter(|row| row.request == request) {
            row.answered |= row.command.verb == Verb::Cancel;
        }
    }

    pub fn commands_for(&self, request: &str) -> Vec<Command> {
        let open = self.commands.iter().filter(|row| row.request == request && !row.answered);
        open.map(|row| row.command.clone()).collect()
    }

    /// Whether a command asked for the run.
    pub fn is_ordered(&self, run: Uuid) -> bool {
        self.commands.iter().any(|row| row.run == Some(run))
    }

    /// Deletes what has ended; what is satisfied stays.
    pub fn delete_ended(&mut self, request: &str) {
        self.runs.retain(|run| run.request != request || !run.state.phase().is_terminal());
    }
}
