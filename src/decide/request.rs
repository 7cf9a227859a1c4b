//! From document and record to runs: generations, reruns, suspension, deletion, what an edit does.

use std::path::Path;

use super::action::{Action, Decision, NewRun};
use super::observed::{Command, Document, Observed, Record, Run, Verb};
use super::{apply, judging};
use crate::plan::load_plan;
use crate::request::control::{Control, DesiredState, OnChange, OnDelete};
use crate::request::flags::Param;
use crate::request::valid::{Spec, ValidRequest};
use crate::run::phase::{EndPhase, Ending, Phase, RunState};
use crate::run::reason::Reason;

/// Brings the record up to what the files say. A document that is not valid changes nothing: a bad
/// edit never ends a good run.
pub fn register(observed: &Observed) -> Option<Decision> {
    let record = match (&observed.document, &observed.record) {
        (Document::Valid { request, path, index, .. }, Some(record)) if !record.deleted => {
            let known =
                record.semantic_hash == request.semantic_hash && record.spec_hash == request.spec_hash;
            if known && record.path == *path && record.index == *index {
                return None;
            }
            // Another version of the hash is recomputed, never a change.
            let changed = !known && same_version(&record.semantic_hash, &request.semantic_hash);
            let satisfied_hash = match &record.satisfied_hash {
                Some(hash) if *hash == record.spec_hash && !changed => Some(request.spec_hash.clone()),
                other => other.clone(),
            };
            let base = described(request, path, *index, record.generation + u64::from(changed), record.uid);
            Record { satisfied_hash, satisfied_rerun: record.satisfied_rerun.clone(), ..base }
        }
        (Document::Valid { request, path, index, .. }, tombstone) => {
            // A new incarnation; what its name has had measured stays measured.
            let base = described(request, path, *index, 1, observed.fresh);
            Record {
                satisfied_hash: tombstone.as_ref().and_then(|old| old.satisfied_hash.clone()),
                satisfied_rerun: tombstone.as_ref().and_then(|old| old.satisfied_rerun.clone()),
                ..base
            }
        }
        (Document::Absent { confirmed: true }, Some(record))
            if !record.deleted && observed.world.degraded.is_none() =>
        {
            Record { deleted: true, ..record.clone() }
        }
        (Document::Invalid { .. } | Document::Unreadable | Document::Absent { .. }, _) => return None,
    };
    Some(Decision::act(Action::Register(Box::new(record)), Reason::Registered))
}

fn described(request: &ValidRequest, path: &Path, index: usize, generation: u64, uid: uuid::Uuid) -> Record {
    Record {
        uid,
        name: request.name.clone(),
        path: path.to_owned(),
        index,
        generation,
        spec_hash: request.spec_hash.clone(),
        semantic_hash: request.semantic_hash.clone(),
        satisfied_hash: None,
        satisfied_rerun: None,
        control: request.control.clone(),
        spec: request.spec.clone(),
        deleted: false,
    }
}

fn same_version(old: &str, new: &str) -> bool {
    old.split(':').next() == new.split(':').next()
}

/// What may end a run from outside: a command, `state: Cancelled`, an edit, the file's removal.
pub fn interrupt(observed: &Observed, run: &Run) -> Option<Decision> {
    if let Some(decision) = cancelled_order(&observed.commands) {
        return Some(decision);
    }
    if let Some(command) = observed.commands.iter().find(|command| command.verb == Verb::Cancel) {
        return Some(if already_ending(&run.state) {
            let outcome = match ending_of(&run.state) {
                Some(ending) if ending.phase == EndPhase::Cancelled => "cancelled; what was measured is kept",
                Some(_) | None => "the run is ending already",
            };
            let outcome = outcome.to_owned();
            Decision::act(Action::Answer { command: command.id, outcome }, Reason::Cancelled)
        } else {
            end(run, Ending::cancelled(Reason::Cancelled, "cancelled by command"))
        });
    }
    if already_ending(&run.state) {
        return None;
    }
    let record = observed.record.as_ref()?;
    if record.deleted {
        let pending = run.state.phase() == Phase::Pending;
        return (pending || record.control.on_delete == OnDelete::Cancel)
            .then(|| end(run, Ending::cancelled(Reason::Deleted, "the request's file was removed")));
    }
    if record.control.desired == DesiredState::Cancelled {
        return Some(end(run, Ending::cancelled(Reason::Cancelled, "the request says state: Cancelled")));
    }
    let Document::Valid { startable_in_ms: 0, .. } = &observed.document else {
        return None;
    };
    edited(record, run)
}

/// A rerun that was ordered before a cancel goes with it.
fn cancelled_order(commands: &[Command]) -> Option<Decision> {
    let cancel = commands.iter().rposition(|command| command.verb == Verb::Cancel)?;
    let rerun = commands[..cancel].iter().find(|command| command.verb != Verb::Cancel)?;
    let outcome = "cancelled before it began".to_owned();
    Some(Decision::act(Action::Answer { command: rerun.id, outcome }, Reason::Cancelled))
}

/// An edit or a new token while a run has not ended.
fn edited(record: &Record, run: &Run) -> Option<Decision> {
    let other_spec = record.satisfied_hash.as_deref() != Some(record.spec_hash.as_str());
    let token = new_token(record);
    if !other_spec && token.is_none() {
        return None;
    }
    let satisfy = |reason| {
        let (uid, hash) = (record.uid, record.spec_hash.clone());
        Decision::act(Action::Satisfy { uid, hash, rerun: record.control.rerun.clone() }, reason)
    };
    let superseded =
        || Ending::cancelled(Reason::Superseded, "a newer version of the request takes its place");
    let same_spec = run.spec_hash == record.spec_hash;
    if run.state.phase() == Phase::Pending {
        return match (same_spec, same_flags(&run.spec, &record.spec)) {
            (true, true) => Some(satisfy(Reason::RerunAsked)),
            // Flags of its own were ordered for it: the file's turn comes after it.
            (true, false) => None,
            (false, _) => Some(end(run, superseded())),
        };
    }
    if same_spec && token.is_none() {
        // Nothing was edited since it was made, or it was edited back: no reason to touch it.
        return same_flags(&run.spec, &record.spec).then(|| satisfy(Reason::AlreadyRan));
    }
    match record.control.on_change {
        OnChange::Queue => None,
        OnChange::Replace => Some(end(run, superseded())),
        OnChange::Ignore => Some(satisfy(Reason::ChangeIgnored)),
    }
}

/// Whether a run of the same hash has the file's flags, or those that a command set for it alone.
fn same_flags(of_run: &Spec, of_file: &Spec) -> bool {
    match (of_run, of_file) {
        (Spec::LlamaBench(run), Spec::LlamaBench(file)) => run.params == file.params,
        (Spec::LoadTest(run), Spec::LoadTest(file)) => run == file,
        (Spec::Apply(_), Spec::Apply(_)) | (Spec::Model(_), Spec::Model(_)) => true,
        (Spec::Imported(run), Spec::Imported(file)) => run == file,
        (
            Spec::LlamaBench(_)
            | Spec::LoadTest(_)
            | Spec::Apply(_)
            | Spec::Model(_)
            | Spec::Baseline(_)
            | Spec::Comparison(_)
            | Spec::Imported(_),
            _,
        ) => false,
    }
}

fn already_ending(state: &RunState) -> bool {
    ending_of(state).is_some()
}

fn ending_of(state: &RunState) -> Option<&Ending> {
    match state {
        RunState::Running { ending, .. } => ending.as_ref(),
        RunState::Collecting { ending, .. } | RunState::Ended(ending) => Some(ending),
        RunState::Pending | RunState::Preparing { .. } => None,
    }
}

/// Leads a run to its end: at once where nothing runs, else through its restoring steps.
fn end(run: &Run, ending: Ending) -> Decision {
    let reason = ending.reason;
    match &run.state {
        RunState::Running { deadline, step, task, ending: None } => {
            let state = RunState::Running {
                deadline: deadline.clone(),
                step: *step,
                task: task.clone(),
                ending: Some(ending),
            };
            Decision::act(Action::Advance { run: run.id, state: Box::new(state), plan: None }, reason)
        }
        RunState::Pending
        | RunState::Preparing { .. }
        | RunState::Running { .. }
        | RunState::Collecting { .. }
        | RunState::Ended(_) => Decision::act(Action::EndRun { run: run.id, ending }, reason),
    }
}

/// Where no run is in progress: is one wanted?
pub fn next_run(observed: &Observed) -> Decision {
    let Some(record) = &observed.record else {
        return unregistered(observed);
    };
    if let Some(decision) = answer_commands(observed, record) {
        return decision;
    }
    if record.deleted {
        return Decision::idle(Reason::Deleted, "the request's file was removed; its history stays");
    }
    match &observed.document {
        Document::Invalid { problems } => {
            let n = problems.len();
            return Decision::idle(Reason::Invalid, format!("{n} problem{}", if n == 1 { "" } else { "s" }));
        }
        Document::Unreadable => return Decision::idle(Reason::Unreadable, "the file has a syntax error"),
        Document::Absent { .. } => {
            if let Some(reason) = &observed.world.degraded {
                return Decision::wait(Reason::Degraded, reason.clone(), RECHECK_DEGRADED_MS);
            }
            return Decision::wait(
                Reason::Deleted,
                "the file is gone; waiting to be sure",
                RECHECK_ABSENT_MS,
            );
        }
        Document::Valid { .. } => {}
    }
    match record.control.desired {
        DesiredState::Suspended => return Decision::idle(Reason::Suspended, "spec.suspend is true"),
        DesiredState::Cancelled => return Decision::idle(Reason::Cancelled, "spec.state is Cancelled"),
        DesiredState::Active => {}
    }
    let other_spec = record.satisfied_hash.as_deref() != Some(record.spec_hash.as_str());
    let token = new_token(record);
    // A comparison is never done: it judges every run that is new.
    let comparison = matches!(record.spec, Spec::Comparison(_));
    if !other_spec && token.is_none() && !comparison {
        return Decision::idle(
            Reason::AlreadyRan,
            "this spec has been dealt with; set spec.rerun to run it again",
        );
    }
    if observed.world.orders_only {
        return Decision::idle(Reason::Idle, "only what was ordered is measured now");
    }
    if let Some(reason) = &observed.world.degraded {
        return Decision::wait(Reason::Degraded, reason.clone(), RECHECK_DEGRADED_MS);
    }
    if let Document::Valid { startable_in_ms, .. } = &observed.document
        && *startable_in_ms > 0
    {
        return still_written(*startable_in_ms);
    }
    let reason = if other_spec { Reason::NewSpec } else { Reason::RerunAsked };
    let token = record.control.rerun.clone().or_else(|| record.satisfied_rerun.clone());
    match &record.spec {
        Spec::LlamaBench(_) | Spec::LoadTest(_) | Spec::Model(_) => {
            let run = NewRun {
                satisfied_hash: Some(record.spec_hash.clone()),
                satisfied_rerun: token,
                ..new_run(observed, record, record.spec.clone())
            };
            Decision::act(Action::CreateRun(Box::new(run)), reason)
        }
        Spec::Apply(spec) => apply::from_request(observed, record, spec, token, reason),
        Spec::Baseline(spec) => judging::pin(observed, record, spec, reason, None),
        Spec::Comparison(_) => judging::comparison(observed, record),
        // No document asks for one; this record came from a store that is not ours.
        Spec::Imported(_) => Decision::idle(Reason::Idle, "what was imported is not measured here"),
    }
}

const RECHECK_ABSENT_MS: u64 = 30_000;
const RECHECK_DEGRADED_MS: u64 = 30_000;

fn unregistered(observed: &Observed) -> Decision {
    if let Some(command) = observed.commands.first() {
        // The order may have come before its file was read.
        if matches!(observed.document, Document::Absent { confirmed: false }) {
            return Decision::wait(Reason::NotListed, "its file has not been read yet", RECHECK_ABSENT_MS);
        }
        let outcome = format!("there is no valid request named {}", observed.name);
        return Decision::act(Action::Answer { command: command.id, outcome }, Reason::Invalid);
    }
    let reason = match &observed.document {
        Document::Invalid { .. } => Reason::Invalid,
        Document::Unreadable => Reason::Unreadable,
        Document::Absent { .. } | Document::Valid { .. } => Reason::Idle,
    };
    Decision::idle(reason, "")
}

/// An explicit order goes ahead of `suspend`, as it does for a suspended CronJob.
fn answer_commands(observed: &Observed, record: &Record) -> Option<Decision> {
    let command = observed.commands.first()?;
    if let Some(decision) = cancelled_order(&observed.commands) {
        return Some(decision);
    }
    let answer = |outcome: &str, reason| {
        Decision::act(Action::Answer { command: command.id, outcome: outcome.to_owned() }, reason)
    };
    let set = match &command.verb {
        Verb::Cancel => return Some(answer("nothing runs", Reason::Idle)),
        Verb::Rerun { set } => set,
    };
    if record.deleted {
        return Some(answer("the request's file was removed", Reason::Deleted));
    }
    match &observed.document {
        Document::Invalid { .. } => {
            return Some(answer("the request has problems; mend them first", Reason::Invalid));
        }
        // A slow writer's valid beginning must not run on anybody's order.
        Document::Valid { startable_in_ms, .. } if *startable_in_ms > 0 => {
            return Some(still_written(*startable_in_ms));
        }
        Document::Valid { .. } | Document::Unreadable | Document::Absent { .. } => {}
    }
    // What it would start, the file's wish would end at once.
    if record.control.desired == DesiredState::Cancelled {
        return Some(answer("the request says state: Cancelled; take that out first", Reason::Cancelled));
    }
    Some(match &record.spec {
        Spec::LlamaBench(_) | Spec::LoadTest(_) | Spec::Model(_) => rerun(observed, record, command, set),
        Spec::Apply(spec) => apply::by_command(observed, record, spec, command.id),
        Spec::Baseline(spec) => judging::pin(observed, record, spec, Reason::RerunAsked, Some(command)),
        Spec::Comparison(_) => judging::comparison_by_command(observed, record, command),
        Spec::Imported(_) => answer("what was imported is not measured here", Reason::Idle),
    })
}

fn still_written(startable_in_ms: u64) -> Decision {
    Decision::wait(Reason::StillWritten, "the file may still be written", startable_in_ms)
}

fn rerun(observed: &Observed, record: &Record, command: &Command, set: &[Param]) -> Decision {
    let mut spec = record.spec.clone();
    if let Err(outcome) = spec.set(set, record.control.timeout_ms) {
        return Decision::act(Action::Answer { command: command.id, outcome }, Reason::Invalid);
    }
    // With flags of its own it measures something else, which satisfies nothing that the file asks for.
    let satisfied_hash =
        if set.is_empty() { Some(record.spec_hash.clone()) } else { record.satisfied_hash.clone() };
    let satisfied_rerun = record.control.rerun.clone().or_else(|| record.satisfied_rerun.clone());
    let run = NewRun {
        satisfied_hash,
        satisfied_rerun,
        command: Some(command.id),
        ..new_run(observed, record, spec)
    };
    Decision::act(Action::CreateRun(Box::new(run)), Reason::RerunAsked)
}

fn new_run(observed: &Observed, record: &Record, spec: Spec) -> NewRun {
    let service = match &spec {
        Spec::LlamaBench(spec) => spec.service.clone(),
        Spec::LoadTest(spec) => load_plan::service_words(spec),
        Spec::Apply(_) | Spec::Baseline(_) | Spec::Comparison(_) | Spec::Imported(_) => String::new(),
        // No service; lists show where it comes from in its place.
        Spec::Model(spec) => spec.source.to_string(),
    };
    NewRun {
        id: observed.fresh,
        request_uid: record.uid,
        request: record.name.clone(),
        path: record.path.clone(),
        generation: record.generation,
        spec,
        spec_hash: record.spec_hash.clone(),
        timeout_ms: record.control.timeout_ms,
        backoff_limit: record.control.backoff_limit,
        service,
        satisfied_hash: None,
        satisfied_rerun: None,
        command: None,
    }
}

/// The rerun token where it was not dealt with yet. Taking it out is no change.
fn new_token(record: &Record) -> Option<&str> {
    let Control { rerun, .. } = &record.control;
    rerun.as_deref().filter(|token| record.satisfied_rerun.as_deref() != Some(token))
}
