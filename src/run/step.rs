//! A run's steps have tasks; a task is one program that an executor starts, watches and removes.
//! What a task is, and every state that an executor can report of one. Holds no policy.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What a task is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// llama-bench itself.
    Bench,
    /// Asks an image for its llama-bench: `--help`.
    Probe,
    /// An inference server that is started for the run.
    Engine,
    /// Makes the load: `benchlet measure`.
    Load,
}

impl Role {
    /// Every role, for reading names and labels back.
    pub const ALL: [Self; 4] = [Self::Bench, Self::Probe, Self::Engine, Self::Load];

    /// The role of that name, as `as_str` writes it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bench => "bench",
            Self::Probe => "probe",
            Self::Engine => "engine",
            Self::Load => "load",
        }
    }
}

/// Names a task for good: the same run, attempt, step and role is always the same container or
/// process, so that a controller that comes back finds what it started.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskId {
    pub run: Uuid,
    pub attempt: u32,
    pub step: u32,
    pub role: Role,
}

impl TaskId {
    /// The container's name: `benchlet-<run>-<attempt>-<step>-<role>`.
    pub fn name(&self) -> String {
        format!("benchlet-{}-{}-{}-{}", self.run.simple(), self.attempt, self.step, self.role.as_str())
    }

    /// The folder of its output below the run's spool: `<attempt>-<step>-<role>`.
    pub fn folder(&self) -> String {
        format!("{}-{}-{}", self.attempt, self.step, self.role.as_str())
    }

    /// The folder's name without its attempt, which a frozen plan does not know: `<step>-<role>`.
    pub fn folder_of_any_attempt(&self) -> String {
        format!("{}-{}", self.step, self.role.as_str())
    }

    /// Reads back what `folder` wrote.
    pub fn from_folder(run: Uuid, folder: &str) -> Option<Self> {
        let mut parts = folder.splitn(3, '-');
        let attempt = parts.next()?.parse().ok()?;
        let step = parts.next()?.parse().ok()?;
        let role = Role::from_name(parts.next()?)?;
        Some(Self { run, attempt, step, role })
    }
}

/// One program to run, in full. Serialised into the run's frozen plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSpec {
    pub id: TaskId,
    /// Program and arguments; nothing passes through a shell.
    pub argv: Vec<String>,
    pub env: BTreeMap<String, String>,
    /// The container around it; `None` for the process executor.
    pub container: Option<ContainerSpec>,
    /// Longest time that it may run, in milliseconds from its start.
    pub deadline_ms: u64,
    /// Labels beyond `benchlet.run`, `.attempt`, `.step`, `.role`, which follow from the id:
    /// `benchlet.instance` and `benchlet.request`.
    pub labels: BTreeMap<String, String>,
    /// Files that it finds in its spool folder, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, String>,
}

/// A container as the compose file describes the service's, hardened for a benchmark.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ContainerSpec {
    pub image: String,
    pub mounts: Vec<Mount>,
    pub gpus: Option<GpuRequest>,
    /// `host`, `private`, `shareable` or `container:NAME`.
    pub ipc: Option<String>,
    /// `uid:gid` or a name.
    pub user: Option<String>,
    /// Bytes of `/dev/shm`.
    pub shm_size: Option<i64>,
    /// Bytes of memory at most.
    pub memory: Option<i64>,
    /// Billionths of a CPU at most.
    pub nano_cpus: Option<i64>,
    pub cpuset: Option<String>,
    /// Host devices, `/dev/kfd` for AMD.
    pub devices: Vec<DeviceMapping>,
    pub group_add: Vec<String>,
    pub ulimits: Vec<Ulimit>,
    pub runtime: Option<String>,
    /// What the service itself loosens of the hardening.
    pub privileged: bool,
    pub cap_add: Vec<String>,
    pub security_opt: Vec<String>,
    /// It is a server that has to be reached, and is no benchmark: what follows from that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<Serving>,
}

/// Devices that are a GPU, whatever the container runtime knows of it.
const RAW_GPUS: [&str; 3] = ["/dev/kfd", "/dev/dri", "/dev/nvidia"];

impl ContainerSpec {
    /// Its GPUs as claims, as `gpu:0` or `gpu:all`.
    pub fn gpu_claims(&self) -> Vec<String> {
        let raw =
            || self.devices.iter().any(|device| RAW_GPUS.iter().any(|gpu| device.host.starts_with(gpu)));
        match self.gpus.as_ref().map(|gpus| &gpus.which) {
            None if raw() => vec!["gpu:all".to_owned()],
            None => Vec::new(),
            Some(GpuSelection::All) => vec!["gpu:all".to_owned()],
            Some(GpuSelection::Count(count)) => (0..*count).map(|index| format!("gpu:{index}")).collect(),
            Some(GpuSelection::Ids(ids)) => ids.iter().map(|id| format!("gpu:{id}")).collect(),
        }
    }
}

/// A container that serves on this machine. It runs as compose would run it: with a network and its own
/// file system, because it is the user's own service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Serving {
    /// Where it listens in the container; published on the loopback address, at a port of the daemon's
    /// choice.
    pub port: u16,
    /// The image's own entry point goes before the task's words, because the service names none.
    pub image_entrypoint: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    pub source: MountSource,
    /// Absolute path in the container.
    pub target: String,
    pub read_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountSource {
    /// A path of the host, absolute.
    Bind(PathBuf),
    /// A named volume, under the name that the daemon knows.
    Volume(String),
    /// Memory.
    Tmpfs,
}

/// GPUs asked of the container runtime, as `deploy.resources.reservations.devices` names them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuRequest {
    pub driver: String,
    pub which: GpuSelection,
    pub capabilities: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GpuSelection {
    All,
    Count(u32),
    /// Indices or UUIDs.
    Ids(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceMapping {
    pub host: String,
    pub container: String,
    pub permissions: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    pub name: String,
    pub soft: i64,
    pub hard: i64,
}

/// What an executor sees of a task when it looks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskState {
    /// There is no such task: never started, or removed.
    Absent,
    /// It exists and was never started, or its start failed: `error` has the daemon's words.
    Created {
        error: Option<String>,
    },
    Running,
    Exited(Exit),
    /// The executor itself does not answer; nothing is known of the task.
    Unknown {
        reason: String,
    },
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    pub cause: ExitCause,
    /// The kernel killed something in it for memory; with cgroup v2 not reliable, and possible
    /// beside a code of 0 where only a child died.
    pub oom_killed: bool,
    /// UTC, RFC 3339, as the executor has it.
    pub finished_at: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitCause {
    /// Exit code as a shell shows it: above 128 also for a signal, where the executor cannot tell.
    Code(i64),
    /// The executor ended it at its deadline.
    DeadlineExceeded,
    /// Its output passed the limit and it was ended.
    OutputTooLarge,
    /// It could not be started: the words of the daemon or the kernel.
    NotStarted(String),
    /// It is gone and left no exit.
    Lost,
}
