//! When an apply is due: a request of that kind, `spec.apply` of a completed run, a command. How it
//! is carried out is a job with a journal of its own.

use super::action::{Action, Decision, NewApply};
use super::observed::{Observed, Record};
use crate::request::apply::{Apply, ApplySource};
use crate::run::reason::Reason;

/// A working apply is looked at this often, in milliseconds; its end wakes earlier.
const RECHECK_MS: u64 = 5_000;

/// Applies that have not ended, then those that completed runs owe.
pub fn carry_out(observed: &Observed) -> Option<Decision> {
    if let Some(apply) = observed.applies.iter().find(|apply| !apply.working) {
        return Some(Decision::act(Action::StartApply { id: apply.id }, Reason::Applying));
    }
    if !observed.applies.is_empty() {
        return Some(Decision::wait(Reason::Applying, "the configuration is being applied", RECHECK_MS));
    }
    let owed = observed.owed_applies.first()?;
    Some(create(NewApply {
        id: observed.fresh,
        request: observed.record.as_ref().map(|record| (record.uid, record.name.clone())),
        refused: owed.refused.clone(),
        source: ApplySource::Run(owed.run),
        options: owed.options.clone(),
        // One a run: an old branch that is checked out again redeploys nothing.
        token: "inline".to_owned(),
        satisfied: None,
        command: None,
    }))
}

pub fn from_request(
    observed: &Observed,
    record: &Record,
    spec: &Apply,
    token: Option<String>,
    reason: Reason,
) -> Decision {
    let apply = new_apply(observed, record, spec, token.clone().unwrap_or_default());
    let satisfied = Some((record.spec_hash.clone(), token));
    Decision { reason, ..create(NewApply { satisfied, ..apply }) }
}

/// A command's token is its own number, so that each order applies once.
pub fn by_command(observed: &Observed, record: &Record, spec: &Apply, command: i64) -> Decision {
    let token = format!("command-{command}");
    create(NewApply { command: Some(command), ..new_apply(observed, record, spec, token) })
}

fn new_apply(observed: &Observed, record: &Record, spec: &Apply, token: String) -> NewApply {
    NewApply {
        id: observed.fresh,
        refused: None,
        request: Some((record.uid, record.name.clone())),
        source: spec.source.clone(),
        options: spec.options.clone(),
        token,
        satisfied: None,
        command: None,
    }
}

fn create(apply: NewApply) -> Decision {
    Decision::act(Action::CreateApply(Box::new(apply)), Reason::Applying)
}
