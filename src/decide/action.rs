//! The orders that a decision can give. Each is one act with its journal entry; `controller::execute`
//! carries them out without a choice of its own.

use std::path::PathBuf;

use uuid::Uuid;

use super::observed::{Job, Record};
use crate::request::apply::{ApplyOptions, ApplySource};
use crate::request::baseline::TiedTo;
use crate::request::valid::Spec;
use crate::run::phase::{Ending, RunState};
use crate::run::plan::{Blueprint, Plan};
use crate::run::reason::{Reason, Refusal};
use crate::run::step::{TaskId, TaskSpec};

/// One complete order with its reason.
#[derive(Debug, Clone)]
pub struct Decision {
    pub action: Action,
    pub reason: Reason,
    /// For people, beside the reason; may be empty.
    pub message: String,
    /// Look again after this many milliseconds at the latest. `None` only where nothing is pending.
    pub recheck_ms: Option<u64>,
}

#[derive(Debug, Clone)]
pub enum Action {
    /// Nothing to do now.
    Wait,
    /// Write what the files say into the store.
    Register(Box<Record>),
    CreateRun(Box<NewRun>),
    /// Count spec and token as dealt with, without a run.
    Satisfy {
        uid: Uuid,
        hash: String,
        rerun: Option<String>,
    },
    Admit {
        run: Uuid,
        blueprint: Box<Blueprint>,
        state: Box<RunState>,
    },
    /// A run's next state, journaled before anything acts on it.
    Advance {
        run: Uuid,
        state: Box<RunState>,
        plan: Option<Box<Plan>>,
    },
    /// A new attempt: the state is set and the counters grow.
    Retry {
        run: Uuid,
        state: Box<RunState>,
        attempt: u32,
        faults: u32,
        failures: u32,
    },
    StartJob {
        run: Uuid,
        job: Job,
    },
    /// Ends a job before it is done, so that it gives way; it is started again later.
    StopJob {
        run: Uuid,
        job: Job,
    },
    /// Starts a task. Once the executor has it, or has refused it, the run is `started`: what is gone
    /// after that was lost and not left out.
    StartTask {
        run: Uuid,
        task: Box<TaskSpec>,
        started: Box<RunState>,
    },
    StopTask {
        id: TaskId,
    },
    EndRun {
        run: Uuid,
        ending: Ending,
    },
    /// Records an apply; the unique key (service, run, case, token) makes a second one a no-op.
    CreateApply(Box<NewApply>),
    StartApply {
        id: Uuid,
    },
    /// Pins a run as a baseline.
    Pin(Box<NewBaseline>),
    /// Holds a completed run against what it is to be compared with.
    Judge(Box<NewJudgement>),
    Answer {
        command: i64,
        outcome: String,
    },
}

#[derive(Debug, Clone)]
pub struct NewRun {
    pub id: Uuid,
    pub request_uid: Uuid,
    pub request: String,
    pub path: PathBuf,
    pub generation: u64,
    pub spec: Spec,
    pub spec_hash: String,
    pub timeout_ms: u64,
    pub backoff_limit: u32,
    pub service: String,
    /// What the request counts as satisfied from now on.
    pub satisfied_hash: Option<String>,
    pub satisfied_rerun: Option<String>,
    /// The command that asked for it.
    pub command: Option<i64>,
}

#[derive(Debug, Clone)]
pub struct NewApply {
    pub id: Uuid,
    /// It is recorded as failed and nothing is written.
    pub refused: Option<Refusal>,
    pub request: Option<(Uuid, String)>,
    pub source: ApplySource,
    pub options: ApplyOptions,
    pub token: String,
    /// What the request counts as satisfied from now on: spec hash and token.
    pub satisfied: Option<(String, Option<String>)>,
    /// The command that asked for it.
    pub command: Option<i64>,
}

#[derive(Debug, Clone)]
pub struct NewBaseline {
    pub uid: Uuid,
    /// The request of kind Baseline.
    pub request: String,
    pub name: String,
    pub tied_to: TiedTo,
    pub run: Uuid,
    /// What the request counts as satisfied from now on: spec hash and token.
    pub satisfied: (String, Option<String>),
    /// The command that asked for it.
    pub command: Option<i64>,
}

#[derive(Debug, Clone)]
pub struct NewJudgement {
    pub uid: Uuid,
    /// The request that has the gate, or is the Comparison.
    pub request: String,
    /// The candidate.
    pub run: Uuid,
    /// Under this key it is judged once.
    pub gate_hash: String,
    /// What the request counts as satisfied from now on; a gate's request is so by its run.
    pub satisfied: Option<(String, Option<String>)>,
    /// The command that asked for it.
    pub command: Option<i64>,
}

impl Decision {
    pub fn act(action: Action, reason: Reason) -> Self {
        Self { action, reason, message: String::new(), recheck_ms: Some(0) }
    }

    pub fn wait(reason: Reason, message: impl Into<String>, recheck_ms: u64) -> Self {
        Self { action: Action::Wait, reason, message: message.into(), recheck_ms: Some(recheck_ms) }
    }

    /// Nothing is pending: only a change wakes this request again.
    pub fn idle(reason: Reason, message: impl Into<String>) -> Self {
        Self { action: Action::Wait, reason, message: message.into(), recheck_ms: None }
    }
}
