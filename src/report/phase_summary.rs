//! What stored states say of a request, a run or an apply in a word or two: phase, reason, message. Reads
//! nothing.

use crate::request::control::DesiredState;
use crate::run::phase::{Phase, RunState};
use crate::run::reason::Reason;
use crate::store::applies::ApplyState;
use crate::store::overview::RequestSummary;

/// Phase, reason and message of a request, as people read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    pub phase: String,
    pub reason: String,
    pub message: String,
    pub hint: Option<String>,
}

impl Summary {
    pub fn new(phase: impl Into<String>, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { phase: phase.into(), reason: reason.into(), message: message.into(), hint: None }
    }
}

pub fn of_request(request: &RequestSummary) -> Summary {
    if let Some(run) = &request.run
        && !run.state.phase().is_terminal()
    {
        let known = request.succeeded.as_ref().filter(|condition| condition.status == "Unknown");
        let mut summary = of_run(&run.kind, &run.state);
        if let Some(condition) = known {
            summary.reason.clone_from(&condition.reason);
        }
        return summary;
    }
    if let Some(refused) = request.accepted.as_ref().filter(|condition| condition.status == "False") {
        let message = match refused.message.as_str() {
            "" => "the file cannot be carried out as it is now",
            said => said,
        };
        return Summary::new("Invalid", refused.reason.clone(), message);
    }
    if request.waiting {
        match request.control.desired {
            DesiredState::Suspended => {
                return Summary::new("Suspended", Reason::Suspended.as_str(), "spec.suspend is true");
            }
            DesiredState::Cancelled => {
                return Summary::new("Cancelled", Reason::Cancelled.as_str(), "spec.state is Cancelled");
            }
            DesiredState::Active => {
                let reason = request.succeeded.as_ref().map_or("NewSpec", |condition| &condition.reason);
                return Summary::new(Phase::Pending.as_str(), reason, "what the file asks for has not begun");
            }
        }
    }
    match (&request.run, &request.apply) {
        (Some(run), _) => of_state(&run.state),
        (None, Some(apply)) => of_apply(&apply.state),
        (None, None) if request.succeeded.as_ref().is_some_and(|condition| condition.status == "True") => {
            let reason = request.succeeded.as_ref().map_or("Idle", |condition| &condition.reason);
            Summary::new(Phase::Completed.as_str(), reason, "")
        }
        (None, None) => {
            let reason = request.succeeded.as_ref().map_or("AlreadyRan", |condition| &condition.reason);
            Summary::new("Idle", reason, "what the file asks for was dealt with before")
        }
    }
}

pub fn of_state(state: &RunState) -> Summary {
    let phase = state.phase().as_str();
    match state {
        RunState::Pending => Summary::new(phase, phase, "waits for its turn"),
        RunState::Preparing { .. } => Summary::new(phase, Reason::Preparing.as_str(), ""),
        RunState::Running { .. } => Summary::new(phase, Reason::Measuring.as_str(), ""),
        RunState::Collecting { .. } => Summary::new(phase, Reason::Collecting.as_str(), ""),
        RunState::Ended(end) => Summary {
            hint: end.hint.clone(),
            ..Summary::new(phase, end.reason.as_str(), end.message.clone())
        },
    }
}

/// A run's state in the words of its kind.
pub fn of_run(kind: &str, state: &RunState) -> Summary {
    let mut summary = of_state(state);
    if kind == "Model" && state.phase() == Phase::Running {
        Reason::Downloading.as_str().clone_into(&mut summary.reason);
    }
    summary
}

pub fn of_apply(state: &ApplyState) -> Summary {
    match state {
        ApplyState::Planned => Summary::new("Pending", Reason::Applying.as_str(), ""),
        ApplyState::Writing { .. } => {
            Summary::new("Running", Reason::Applying.as_str(), "the files are written")
        }
        ApplyState::Restarting { .. } => {
            Summary::new("Running", Reason::Applying.as_str(), "the service is recreated")
        }
        ApplyState::Done { outcome } => {
            let reason = if outcome.dry_run { Reason::DryRun } else { Reason::Applied };
            Summary::new("Completed", reason.as_str(), outcome.note.clone().unwrap_or_default())
        }
        ApplyState::Failed { refusal, .. } => Summary {
            hint: refusal.hint.clone(),
            ..Summary::new("Failed", refusal.reason.as_str(), refusal.message.clone())
        },
        ApplyState::Reverted { .. } => {
            Summary::new("Reverted", Reason::Applied.as_str(), "it was taken back")
        }
    }
}
