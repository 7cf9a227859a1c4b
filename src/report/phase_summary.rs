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

#[cfg(test)]
mod tests {
    use rusqlite::params;

    use super::*;
    use crate::run::clock::{Deadline, Now};
    use crate::run::phase::{Ending, TaskProgress};
    use crate::run::plan::Prepared;
    use crate::run::reason::Refusal;
    use crate::store::request_list::Wanted;
    use crate::store::{Access, Store};

    fn run_states() -> Vec<Option<RunState>> {
        let now = Now { boot_id: "boot".to_owned(), boot_ms: 0, unix_ms: 0 };
        let deadline = Deadline::after(&now, 1_000);
        let ended = |ending: Ending| Some(RunState::Ended(ending));
        vec![
            None,
            Some(RunState::Pending),
            Some(RunState::Preparing { deadline: deadline.clone(), prepared: Prepared::default() }),
            Some(RunState::Running {
                deadline: deadline.clone(),
                step: 0,
                task: TaskProgress::Ready,
                ending: None,
            }),
            Some(RunState::Collecting { deadline, ending: Ending::completed("") }),
            ended(Ending::completed("")),
            ended(Ending::failed(Reason::ModelNotFound, "")),
            ended(Ending::cancelled(Reason::Cancelled, "")),
        ]
    }

    fn apply_states() -> Vec<Option<(&'static str, ApplyState)>> {
        let refusal = || Refusal::new(Reason::ApplyFailed, "");
        let outcome = crate::store::applies::Outcome::default;
        vec![
            None,
            Some(("Planned", ApplyState::Planned)),
            Some(("Writing", ApplyState::Writing { outcome: outcome() })),
            Some(("Restarting", ApplyState::Restarting { outcome: outcome() })),
            Some(("Done", ApplyState::Done { outcome: outcome() })),
            Some(("Reverted", ApplyState::Reverted { outcome: outcome() })),
            Some(("Failed", ApplyState::Failed { refusal: refusal(), outcome: None })),
        ]
    }

    /// The store finds requests by their phases without decoding them; both have to say the same of every one.
    #[test]
    fn a_request_is_found_by_the_phase_that_it_is_shown_with() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path(), Access::Owner).unwrap();
        let database = rusqlite::Connection::open(home.path().join("benchlet.db")).unwrap();
        let text = "apiVersion: benchlet/v1\nkind: LlamaBench\nspec: { service: a }\n";
        let stream = crate::request::tree::parse(text);
        let root = stream.documents[0].root.as_ref().unwrap();
        let request = crate::request::valid::validate(root, 0, "a").unwrap();
        let spec = serde_json::to_string(&request.spec).unwrap();
        let (mut number, mut control) = (0, request.control);
        database.execute_batch("BEGIN").unwrap();
        for run in run_states() {
            for apply in apply_states() {
                for desired in [DesiredState::Active, DesiredState::Suspended, DesiredState::Cancelled] {
                    control.desired = desired;
                    for (satisfied, accepted, succeeded) in conditions() {
                        number += 1;
                        let name = format!("r{number}");
                        database
                            .prepare_cached(
                                "INSERT INTO requests VALUES (?1, ?1, 'LlamaBench', 'a.yaml', 0, 1, 'h', 'h', ?2,
                                    NULL, ?3, ?4, '', NULL)",
                            )
                            .unwrap()
                            .execute(params![name, satisfied, serde_json::to_string(&control).unwrap(), spec])
                            .unwrap();
                        if let Some(state) = &run {
                            let id = uuid::Uuid::from_u128(number).to_string();
                            let json = serde_json::to_string(state).unwrap();
                            database
                                .prepare_cached(
                                    "INSERT INTO runs (id, request_uid, request_name, request_path, kind, generation,
                                        service, spec_json, spec_hash, timeout_ms, backoff_limit, phase,
                                        state_version, state_json, created_at)
                                     VALUES (?1, ?2, ?2, '', 'LlamaBench', 1, '', ?3, 'h', 1, 0, ?4, 1, ?5, '')",
                                )
                                .unwrap()
                                .execute(params![id, name, spec, state.phase().as_str(), json])
                                .unwrap();
                        }
                        if let Some((word, state)) = &apply {
                            let json = serde_json::to_string(state).unwrap();
                            database
                                .prepare_cached(
                                    "INSERT INTO applies (id, request_name, source_json, options_json, token, state,
                                        state_json, created_at) VALUES (?1, ?1, '', '', '', ?2, ?3, '')",
                                )
                                .unwrap()
                                .execute(params![name, word, json])
                                .unwrap();
                        }
                        for (kind, status) in [("Accepted", accepted), ("Succeeded", succeeded)] {
                            if let Some(status) = status {
                                let sql = "INSERT INTO conditions (request, type, status, reason, changed_at)
                                    VALUES (?1, ?2, ?3, 'X', '')";
                                let mut statement = database.prepare_cached(sql).unwrap();
                                statement.execute(params![name, kind, status]).unwrap();
                            }
                        }
                    }
                }
            }
        }
        database.execute_batch("COMMIT").unwrap();
        let all = store.request_summaries(None).unwrap();
        let total = all.len();
        let mut shown: std::collections::BTreeMap<String, Vec<String>> = Default::default();
        for request in all {
            shown.entry(of_request(&request).phase).or_default().push(request.name);
        }
        assert_eq!(shown.len(), 11, "{:?}", shown.keys());
        let mut found = 0;
        for (phase, names) in shown {
            let wanted = Wanted { phase: Some(phase.clone()), limit: u32::MAX, ..Wanted::default() };
            let page = store.listed_requests(&wanted).unwrap();
            found += page.requests.len();
            let same: Vec<String> = page.requests.into_iter().map(|request| request.name).collect();
            assert_eq!((page.total as usize, same), (names.len(), names), "{phase}");
        }
        assert_eq!(found, total);
    }

    /// What is satisfied, accepted, succeeded.
    fn conditions() -> Vec<(Option<&'static str>, Option<&'static str>, Option<&'static str>)> {
        let mut all = Vec::new();
        for satisfied in [None, Some("h"), Some("other")] {
            for accepted in [None, Some("True"), Some("False")] {
                for succeeded in [None, Some("True"), Some("False"), Some("Unknown")] {
                    all.push((satisfied, accepted, succeeded));
                }
            }
        }
        all
    }
}
