//! When a completed run is judged, and when a run is pinned as a baseline. The verdict itself is
//! `plan::comparison`'s; what there is to judge was looked up before.

use super::action::{Action, Decision, NewBaseline, NewJudgement};
use super::observed::{Command, Judging, Observed, Record};
use crate::request::baseline::Baseline;
use crate::run::reason::Reason;

/// The gate of a request that measures: its newest completed run, once.
pub fn gate(observed: &Observed) -> Option<Decision> {
    let record = observed.record.as_ref().filter(|record| !record.deleted)?;
    record.control.gate.as_ref()?;
    match &observed.judging {
        Judging::Due { run, gate_hash } => Some(judge(NewJudgement {
            uid: record.uid,
            request: record.name.clone(),
            run: *run,
            gate_hash: gate_hash.clone(),
            satisfied: None,
            command: None,
        })),
        Judging::Nothing | Judging::Pinnable(_) | Judging::Judged { .. } | Judging::NoRun(_) => None,
    }
}

/// `kind: Comparison`: every newly completed run of its candidate, once.
pub fn comparison(observed: &Observed, record: &Record) -> Decision {
    match &observed.judging {
        Judging::Due { run, gate_hash } => judge(NewJudgement {
            uid: record.uid,
            request: record.name.clone(),
            run: *run,
            gate_hash: gate_hash.clone(),
            satisfied: Some((record.spec_hash.clone(), token(record))),
            command: None,
        }),
        Judging::Judged { run } => {
            Decision::idle(Reason::Judged, format!("the newest run, {run}, was judged; the next one will be"))
        }
        Judging::NoRun(refusal) => Decision::idle(refusal.reason, refusal.message.clone()),
        Judging::Nothing | Judging::Pinnable(_) => Decision::idle(Reason::Idle, ""),
    }
}

/// An order to judge once more, whatever was judged before.
pub fn comparison_by_command(observed: &Observed, record: &Record, command: &Command) -> Decision {
    let run = match &observed.judging {
        Judging::Due { run, .. } | Judging::Judged { run } => *run,
        Judging::NoRun(refusal) => return answer(command, &refusal.message, refusal.reason),
        Judging::Nothing | Judging::Pinnable(_) => {
            return answer(command, "there is nothing to judge", Reason::Idle);
        }
    };
    judge(NewJudgement {
        uid: record.uid,
        request: record.name.clone(),
        run,
        gate_hash: format!("command-{}", command.id),
        satisfied: Some((record.spec_hash.clone(), token(record))),
        command: Some(command.id),
    })
}

/// `kind: Baseline`. Without a run it waits for one.
pub fn pin(
    observed: &Observed,
    record: &Record,
    spec: &Baseline,
    reason: Reason,
    command: Option<&Command>,
) -> Decision {
    let refusal = match &observed.judging {
        Judging::Pinnable(Ok(run)) => {
            let pinned = NewBaseline {
                uid: record.uid,
                request: record.name.clone(),
                name: spec.name.clone(),
                tied_to: spec.tied_to,
                run: *run,
                satisfied: (record.spec_hash.clone(), token(record)),
                command: command.map(|command| command.id),
            };
            return Decision::act(Action::Pin(Box::new(pinned)), reason);
        }
        Judging::Pinnable(Err(refusal)) | Judging::NoRun(refusal) => refusal,
        Judging::Nothing | Judging::Due { .. } | Judging::Judged { .. } => {
            return Decision::idle(Reason::Idle, "");
        }
    };
    match command {
        Some(command) => answer(command, &refusal.message, refusal.reason),
        None => Decision::idle(refusal.reason, refusal.message.clone()),
    }
}

fn token(record: &Record) -> Option<String> {
    record.control.rerun.clone().or_else(|| record.satisfied_rerun.clone())
}

fn judge(new: NewJudgement) -> Decision {
    Decision::act(Action::Judge(Box::new(new)), Reason::Judging)
}

fn answer(command: &Command, outcome: &str, reason: Reason) -> Decision {
    Decision::act(Action::Answer { command: command.id, outcome: outcome.to_owned() }, reason)
}
