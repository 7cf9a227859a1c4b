//! Everything that one pass may know, gathered before it decides. Nothing here is looked up later.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::request::apply::ApplyOptions;
use crate::request::control::Control;
use crate::request::diagnostic::Located;
use crate::request::valid::{Spec, ValidRequest};
use crate::run::clock::Now;
use crate::run::phase::{Phase, RunState};
use crate::run::plan::{Blueprint, ImageFacts, Plan, ToolFacts};
pub use crate::run::reason::Refusal;
use crate::run::step::TaskState;

/// One request with all that concerns it.
#[derive(Debug, Clone)]
pub struct Observed {
    pub now: Now,
    pub name: String,
    pub document: Document,
    pub record: Option<Record>,
    /// The request's run that has not ended; there is one at the most.
    pub run: Option<Run>,
    /// Completed runs that still owe the apply that their spec asks for, oldest first.
    pub owed_applies: Vec<OwedApply>,
    /// Applies that have not ended.
    pub applies: Vec<ApplyView>,
    pub commands: Vec<Command>,
    pub judging: Judging,
    pub world: World,
    /// Ids to use where something new is made, since randomness is an argument.
    pub fresh: Uuid,
}

/// What the files say of the name.
#[derive(Debug, Clone)]
pub enum Document {
    Valid {
        request: Arc<ValidRequest>,
        path: PathBuf,
        index: usize,
        /// Milliseconds until the writer counts as done; 0: now.
        startable_in_ms: u64,
    },
    Invalid {
        problems: Vec<Located>,
    },
    /// Behind a syntax error, or the file cannot be read for the moment.
    Unreadable,
    /// `confirmed` after two listings without it.
    Absent {
        confirmed: bool,
    },
}

/// What the store knows of a name: the latest incarnation, deleted or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub uid: Uuid,
    pub name: String,
    pub path: PathBuf,
    pub index: usize,
    pub generation: u64,
    pub spec_hash: String,
    pub semantic_hash: String,
    /// The spec that was last given a run (or let pass), whatever became of the run.
    pub satisfied_hash: Option<String>,
    pub satisfied_rerun: Option<String>,
    pub control: Control,
    pub spec: Spec,
    pub deleted: bool,
}

#[derive(Debug, Clone)]
pub struct Run {
    pub id: Uuid,
    pub spec: Spec,
    pub spec_hash: String,
    pub timeout_ms: u64,
    pub backoff_limit: u32,
    /// From 0; part of the names of tasks.
    pub attempt: u32,
    /// Attempts lost to infrastructure, and to the tool itself.
    pub faults: u32,
    pub failures: u32,
    pub state: RunState,
    pub blueprint: Option<Blueprint>,
    pub plan: Option<Plan>,
    /// Looked at only while Pending.
    pub resolution: Option<Result<Box<Blueprint>, Refusal>>,
    /// Whether a command asked for it, looked at only while Pending.
    pub ordered: bool,
    /// The current step's task, looked at only while Running.
    pub task: Option<TaskState>,
    pub jobs: BTreeMap<Job, JobStatus>,
}

/// Anything else that may take over a second. One of a kind a run at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Job {
    /// Look the image up, pull it if need be.
    Image,
    /// Ask for llama-bench's path and flags.
    Probe,
    /// Hash the model, look at the machine.
    Machine,
    /// Copy output while the task runs.
    Follow,
    /// Complete the output, say how the task ended, remove it.
    Drain,
    StopService,
    StartService,
    /// Start an engine for the run, wait until it is healthy.
    StartEngine,
    /// Take it away, keep what it said.
    StopEngine,
    Collect,
    /// Bring model files, check those that are there.
    Download,
}

impl Job {
    /// Jobs that would disturb a measurement elsewhere on the machine.
    pub fn disturbs(self) -> bool {
        match self {
            Self::Image | Self::Probe | Self::Machine | Self::Download => true,
            Self::Follow
            | Self::Drain
            | Self::StopService
            | Self::StartService
            | Self::StartEngine
            | Self::StopEngine
            | Self::Collect => false,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum JobStatus {
    Running,
    Done(JobResult),
    Failed(Refusal),
}

#[derive(Debug, Clone, PartialEq)]
pub enum JobResult {
    /// Nothing to tell but that it is done.
    Finished,
    Image(ImageFacts),
    /// The images of a load test's engines, in their order.
    Images(Vec<ImageFacts>),
    Probe(ToolFacts),
    Drained(TaskEnd),
    /// The files are whole, in words.
    Model {
        words: String,
    },
}

/// How a task ended, as its output was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum TaskEnd {
    Succeeded,
    Failed(Refusal),
    /// An infrastructure fault: tried again apart from failures.
    Fault(Refusal),
}

/// A finished run whose spec says `apply`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwedApply {
    pub run: Uuid,
    pub options: ApplyOptions,
    /// Why it is not applied all the same: it is not proven better than its baseline.
    pub refused: Option<Refusal>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplyView {
    pub id: Uuid,
    /// Whether this process carries it out at present.
    pub working: bool,
}

/// What there is to judge or to pin, looked up where a request asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Judging {
    /// The request has no gate, and is no Comparison and no Baseline.
    #[default]
    Nothing,
    /// Of a Baseline: the run that it would pin now.
    Pinnable(Result<Uuid, Refusal>),
    /// The newest completed run was not judged by this gate, or only without a baseline that is there now.
    Due { run: Uuid, gate_hash: String },
    /// It was.
    Judged { run: Uuid },
    /// There is none to judge.
    NoRun(Refusal),
}

/// An order from the command line or the API, kept in the store until it is carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    pub id: i64,
    pub verb: Verb,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verb {
    /// Run once more; with flags set for this run alone.
    Rerun {
        set: Vec<crate::request::flags::Param>,
    },
    Cancel,
}

/// What holds beyond the request.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// The executors were listed completely since the start.
    pub listed: bool,
    /// Only what was ordered runs: `benchlet run --set` measures once, and not what the file says besides.
    pub orders_only: bool,
    /// Why the watched root cannot be trusted at present.
    pub degraded: Option<String>,
    pub others: Vec<OtherRun>,
    /// Devices that another controller of this machine holds, with its description.
    pub foreign: Vec<(String, String)>,
    /// The request whose job would disturb a measurement.
    pub disturbing: Option<String>,
}

/// Another request's run that has not ended.
#[derive(Debug, Clone)]
pub struct OtherRun {
    pub request: String,
    pub service: String,
    pub phase: Phase,
    /// It is of a kind that measures.
    pub measures: bool,
    pub claims: Vec<String>,
}
