//! The states of a run, each with its data. None leaves a terminal one.

use serde::{Deserialize, Serialize};

use super::clock::{Deadline, Now};
use super::plan::Prepared;
use super::reason::Reason;
use super::step::TaskState;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunState {
    /// Waits to be admitted.
    Pending,
    /// Image, tool, model and machine are looked at; `prepared` grows.
    Preparing {
        deadline: Deadline,
        prepared: Prepared,
    },
    /// The plan's steps are carried out in order. With an `ending`, only those that restore something.
    Running {
        deadline: Deadline,
        step: u32,
        task: TaskProgress,
        ending: Option<Ending>,
    },
    /// The spool becomes results.
    Collecting {
        deadline: Deadline,
        ending: Ending,
    },
    Ended(End),
}

/// How far the current step's task has come. Journaled before each act upon it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskProgress {
    /// Not yet ordered.
    Ready,
    /// Its start was ordered; it may or may not exist.
    Starting,
    /// It was seen to exist.
    Started,
    /// It has exited, its output is complete.
    Drained,
    /// The engine of an attempt that was lost is taken away, before the next one begins.
    Clearing,
}

/// Why a run goes to its end, and as what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    pub phase: EndPhase,
    pub reason: Reason,
    pub message: String,
    pub hint: Option<String>,
}

pub type End = Ending;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EndPhase {
    Completed,
    Failed,
    Cancelled,
}

/// The phase alone, as status, lists and the store show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Phase {
    Pending,
    Preparing,
    Running,
    Collecting,
    Completed,
    Failed,
    Cancelled,
}

impl Phase {
    pub const ALL: [Phase; 7] = [
        Self::Pending,
        Self::Preparing,
        Self::Running,
        Self::Collecting,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Preparing => "Preparing",
            Self::Running => "Running",
            Self::Collecting => "Collecting",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == text)
    }

    pub fn is_terminal(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Cancelled => true,
            Self::Pending | Self::Preparing | Self::Running | Self::Collecting => false,
        }
    }

    /// The word that `benchmark_runs.status` uses.
    pub fn as_legacy_status(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Preparing | Self::Running | Self::Collecting => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl RunState {
    /// Why it ended as anything but completed: `Reason: message`.
    pub fn failure(&self) -> Option<String> {
        match self {
            Self::Ended(end) if end.phase != EndPhase::Completed => {
                Some(format!("{}: {}", end.reason, end.message))
            }
            Self::Pending
            | Self::Preparing { .. }
            | Self::Running { .. }
            | Self::Collecting { .. }
            | Self::Ended(_) => None,
        }
    }

    pub fn phase(&self) -> Phase {
        match self {
            Self::Pending => Phase::Pending,
            Self::Preparing { .. } => Phase::Preparing,
            Self::Running { .. } => Phase::Running,
            Self::Collecting { .. } => Phase::Collecting,
            Self::Ended(end) => match end.phase {
                EndPhase::Completed => Phase::Completed,
                EndPhase::Failed => Phase::Failed,
                EndPhase::Cancelled => Phase::Cancelled,
            },
        }
    }

    /// The deadline of the phase; Pending and terminal phases have none.
    pub fn deadline(&self) -> Option<&Deadline> {
        match self {
            Self::Preparing { deadline, .. }
            | Self::Running { deadline, .. }
            | Self::Collecting { deadline, .. } => Some(deadline),
            Self::Pending | Self::Ended(_) => None,
        }
    }

    /// The same state with the whole time of its phase before it.
    #[must_use]
    pub fn renewed(&self, now: &Now) -> Self {
        let mut state = self.clone();
        match &mut state {
            Self::Preparing { deadline, .. }
            | Self::Running { deadline, .. }
            | Self::Collecting { deadline, .. } => *deadline = Deadline::after(now, deadline.allowed_ms),
            Self::Pending | Self::Ended(_) => {}
        }
        state
    }
}

impl Ending {
    pub fn completed(message: impl Into<String>) -> Self {
        let (phase, reason) = (EndPhase::Completed, Reason::Completed);
        Self { phase, reason, message: message.into(), hint: None }
    }

    pub fn failed(reason: Reason, message: impl Into<String>) -> Self {
        Self { phase: EndPhase::Failed, reason, message: message.into(), hint: None }
    }

    pub fn cancelled(reason: Reason, message: impl Into<String>) -> Self {
        Self { phase: EndPhase::Cancelled, reason, message: message.into(), hint: None }
    }

    #[must_use]
    pub fn hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }
}

impl TaskState {
    /// Whether the executor can tell anything of it.
    pub fn is_known(&self) -> bool {
        !matches!(self, Self::Unknown { .. })
    }
}
