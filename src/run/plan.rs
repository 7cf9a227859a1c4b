//! A run's plan: what was resolved for it, and its steps, frozen when Preparing ends.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::measure_plan::MeasurePlan;
use super::step::TaskSpec;
use crate::request::flags::Param;
use crate::request::llama_bench::PullPolicy;

/// Version of the plan's form in the store.
pub const PLAN_VERSION: u32 = 1;

/// What admission resolved from the service; the basis of everything that follows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Blueprint {
    pub version: u32,
    pub service: String,
    pub executor: ExecutorKind,
    pub simulated: bool,
    /// The model's path as llama-bench is given it.
    pub model: String,
    /// Where it lies on this machine, if that is known.
    pub model_host_path: Option<PathBuf>,
    pub params: Vec<Param>,
    /// The service's flags that llama-bench does not take, with the reason.
    pub dropped: Vec<String>,
    pub warnings: Vec<String>,
    pub launches: u32,
    /// The task but for its program and the image's id; `argv` holds what follows the program.
    pub template: TaskSpec,
    /// Where llama-bench may be, best guess first; program and leading arguments.
    pub tool_candidates: Vec<Vec<String>>,
    pub pull_policy: PullPolicy,
    /// Longest time for Preparing, in milliseconds.
    pub preparing_ms: u64,
    pub claims: Vec<String>,
    /// Containers of the service itself that share its devices; stopped for the run and started after.
    pub stop: Vec<String>,
    /// For a load test: what it measures. Then model, tool and launches are nobody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadBlueprint>,
}

/// What admission resolved for a load test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadBlueprint {
    /// All targets and all cases.
    pub measure: MeasurePlan,
    /// Engines that are started for the run, each for its target.
    pub engines: Vec<EngineTask>,
    /// The user's file of prompts, whose copy is measured.
    pub prompts: Option<PathBuf>,
    /// The user's `tokenizer.json`, whose copy counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<PathBuf>,
}

/// An engine that is started for the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EngineTask {
    /// Index among the measure plan's targets.
    pub target: usize,
    /// The service that it is, for its secrets; `None` for benchlet's own stand-in.
    pub service: Option<String>,
    pub executor: ExecutorKind,
    pub task: TaskSpec,
    /// Longest time until it is healthy, in milliseconds.
    pub start_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExecutorKind {
    Docker,
    Process,
}

impl ExecutorKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Process => "process",
        }
    }
}

/// What Preparing has found so far.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Prepared {
    pub image: Option<ImageFacts>,
    pub tool: Option<ToolFacts>,
    pub machine: bool,
    /// The images of a load test's engines, in the engines' order.
    #[serde(default)]
    pub images: Vec<ImageFacts>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageFacts {
    pub id: String,
    pub digest: Option<String>,
}

/// llama-bench as the image or the machine has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolFacts {
    /// Program and leading arguments.
    pub program: Vec<String>,
    pub knows_progress: bool,
    pub warnings: Vec<String>,
}

/// The frozen steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub version: u32,
    pub steps: Vec<Step>,
    /// The first launch as somebody would type it.
    pub command: String,
    /// What the tool's own help says against the parameters.
    pub warnings: Vec<String>,
}

impl Plan {
    /// What each measuring step of a load test was told.
    pub fn load_plans(&self) -> impl Iterator<Item = &MeasurePlan> {
        self.steps.iter().filter_map(|step| match step {
            Step::Load { plan, .. } => Some(plan.as_ref()),
            Step::StopService { .. }
            | Step::Bench { .. }
            | Step::StartService { .. }
            | Step::StartEngine { .. }
            | Step::StopEngine { .. } => None,
        })
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Step {
    /// Stops containers of the service.
    StopService { containers: Vec<String> },
    /// One launch of llama-bench.
    Bench { launch: u32, task: Box<TaskSpec> },
    /// Starts them again; also after a failure or a cancel.
    StartService { containers: Vec<String> },
    /// Starts an engine and waits until it is healthy.
    StartEngine { engine: Box<EngineTask> },
    /// Makes load by a plan of its own: the cases of some targets.
    Load { task: Box<TaskSpec>, plan: Box<MeasurePlan> },
    /// Takes the engine of that step away; also after a failure or a cancel.
    StopEngine { step: u32 },
}

impl Step {
    /// Steps that restore something are carried out whatever came before.
    pub fn restores(&self) -> bool {
        match self {
            Self::StartService { .. } | Self::StopEngine { .. } => true,
            Self::StopService { .. } | Self::Bench { .. } | Self::StartEngine { .. } | Self::Load { .. } => {
                false
            }
        }
    }

    /// The task that a step waits for until it ends.
    pub fn task(&self) -> Option<&TaskSpec> {
        match self {
            Self::Bench { task, .. } | Self::Load { task, .. } => Some(task),
            Self::StopService { .. }
            | Self::StartService { .. }
            | Self::StartEngine { .. }
            | Self::StopEngine { .. } => None,
        }
    }

    /// Where a new attempt begins: what was stopped for the run stays stopped.
    pub fn measures(&self) -> bool {
        match self {
            Self::Bench { .. } | Self::Load { .. } | Self::StartEngine { .. } => true,
            Self::StopService { .. } | Self::StartService { .. } | Self::StopEngine { .. } => false,
        }
    }
}
