//! Carries out one apply: journals it step by step, writes the service's files, recreates its
//! container and sees that it serves. Safe to repeat after a crash at any point. Decides neither when
//! an apply is due nor what a flag becomes.

use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

use super::apply_files::{self as files, Intent, NewText, Stage};
use super::apply_restart::{self, Restarted};
pub use super::apply_revert::revert;
use super::apply_source::resolve;
use super::context::timestamp_now;
use crate::executor::DockerExecutor;
use crate::plan::apply_plan::translate;
use crate::request::apply::{ApplyOptions, ApplySource};
use crate::request::flags::Param;
use crate::run::case::Case;
use crate::run::reason::{Reason, Refusal};
use crate::settings::Settings;
use crate::store::applies::{self, ApplyRow, ApplyState, ApplyWrite, Outcome};
use crate::store::runs::RunRow;
use crate::store::{Store, StoreError, events};

/// What an apply needs; the command line has it without a controller.
#[derive(Clone)]
pub struct ApplyContext {
    pub settings: Arc<Settings>,
    pub store: Store,
    /// Without it nothing is restarted.
    pub docker: Option<Arc<DockerExecutor>>,
}

/// How an apply came to its end before it was done.
enum Stop {
    /// To be journaled, with what was written all the same.
    Refused(Refusal, Option<Box<Outcome>>),
    /// The journal itself does not take anything.
    Journal(Refusal),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal, None)
    }
}

/// Carries an apply to its end from wherever it is, and says what came of it. One that has ended is
/// not done again.
///
/// # Errors
/// Why it failed, as it is journaled; or that the store does not answer, and then it is still open.
pub async fn carry_out(around: &ApplyContext, id: Uuid) -> Result<Outcome, Refusal> {
    let row = load(around, id)?;
    let done = match row.state.clone() {
        ApplyState::Planned => begin(around, &row).await,
        ApplyState::Writing { outcome } => resume(around, &row, outcome).await,
        ApplyState::Restarting { outcome } => restart(around, &row, outcome).await,
        ApplyState::Done { outcome } | ApplyState::Reverted { outcome } => return Ok(outcome),
        ApplyState::Failed { refusal, .. } => return Err(refusal),
    };
    match done {
        Ok(outcome) => Ok(outcome),
        Err(Stop::Journal(refusal)) => Err(refusal),
        Err(Stop::Refused(refusal, outcome)) => {
            let state = ApplyState::Failed { refusal: refusal.clone(), outcome };
            journal(around, &row, None, state, refusal.reason.as_str(), &refusal.message).await?;
            Err(refusal)
        }
    }
}

/// What applying a run would change. Nothing is written, not even into the store.
///
/// # Errors
/// Why the run cannot be applied.
pub async fn preview(around: &ApplyContext, run: Uuid, options: &ApplyOptions) -> Result<Outcome, Refusal> {
    let run = resolve(around, None, &ApplySource::Run(run))?;
    let intent = intend(around, &run, options).await?;
    Ok(Outcome { dry_run: true, ..intent.outcome })
}

async fn begin(around: &ApplyContext, row: &ApplyRow) -> Result<Outcome, Stop> {
    let run = resolve(around, row.run, &row.source)?;
    let intent = intend(around, &run, &row.options).await?;
    if row.options.dry_run {
        let outcome = Outcome { dry_run: true, ..intent.outcome };
        return finish(around, row, Some(run.id), outcome, Reason::DryRun).await;
    }
    if intent.files.is_empty() {
        return already_so(around, row, run.id, intent).await;
    }
    let backups = files::backups(&around.settings);
    let mut outcome = intent.outcome;
    outcome.writes = files::planned_writes(&intent.files, &backups, &files::label(row.id));
    let writing = ApplyState::Writing { outcome: outcome.clone() };
    let message = format!("changing {}", names(&outcome.writes));
    journal(around, row, Some(run.id), writing, Reason::Applying.as_str(), &message)
        .await
        .map_err(Stop::Journal)?;
    write(around, row, outcome, intent.files).await
}

/// The files have it all. The container may be older than they are, though.
async fn already_so(
    around: &ApplyContext,
    row: &ApplyRow,
    run: Uuid,
    intent: Intent,
) -> Result<Outcome, Stop> {
    let mut outcome = intent.outcome;
    let differing = match &around.docker {
        Some(docker) => apply_restart::differing(docker, &intent.service, &intent.wanted).await,
        None => Vec::new(),
    };
    if differing.is_empty() {
        return finish(around, row, Some(run), outcome, Reason::AlreadyApplied).await;
    }
    outcome.restart_needed = true;
    outcome.restart_command = files::restart_command(&intent.service);
    written(around, row, Some(run), outcome).await
}

/// A write was journaled and then interrupted: the files' hashes say how far it came.
async fn resume(around: &ApplyContext, row: &ApplyRow, outcome: Outcome) -> Result<Outcome, Stop> {
    let stages = files::stages(&outcome.writes);
    if stages.contains(&Stage::Neither) {
        return Err(foreign(outcome, &stages));
    }
    if stages.iter().all(|stage| *stage == Stage::Before) {
        // Nothing was written, so what the files say today counts.
        return Box::pin(begin(around, row)).await;
    }
    let mut left = Vec::new();
    if stages.contains(&Stage::Before) {
        let run = resolve(around, row.run, &row.source)?;
        left = intend(around, &run, &row.options).await?.files;
        let planned = |file: &NewText| {
            outcome.writes.iter().any(|write| {
                Path::new(&write.file) == file.path
                    && write.before == file.before
                    && write.after == file.after
            })
        };
        if !left.iter().all(planned) {
            return Err(foreign(outcome, &stages));
        }
    }
    write(around, row, outcome, left).await
}

/// Writes what is left of the journaled writes, finds the copies and goes on.
async fn write(
    around: &ApplyContext,
    row: &ApplyRow,
    mut outcome: Outcome,
    left: Vec<NewText>,
) -> Result<Outcome, Stop> {
    let (settings, id) = (Arc::clone(&around.settings), row.id);
    let (outcome, done) = blocking(move || {
        let (backups, label) = (files::backups(&settings), files::label(id));
        let (service, mask) = files::find(&settings, &outcome.service);
        let lock_for = files::lock_place(service.as_ref(), &outcome.writes);
        files::locate_backups(&mut outcome.writes, &backups, &label);
        let done = if left.is_empty() {
            Ok(())
        } else {
            files::write(&lock_for, &left, &backups, &label, &mut outcome.writes)
        };
        if done.is_err() {
            files::locate_backups(&mut outcome.writes, &backups, &label);
        }
        Ok((outcome, done.map_err(|refusal| mask.refusal(refusal))))
    })
    .await?;
    if let Err(refusal) = done {
        let stages = files::stages(&outcome.writes);
        // An earlier try of this apply may have waited for the same lock and been first.
        if !stages.iter().all(|stage| *stage == Stage::After) {
            let some = stages.contains(&Stage::After);
            return Err(Stop::Refused(refusal, some.then(|| Box::new(outcome))));
        }
    }
    written(around, row, None, outcome).await
}

/// The files are as they should be: restarts where that is asked for, else says what to type.
async fn written(
    around: &ApplyContext,
    row: &ApplyRow,
    run: Option<Uuid>,
    outcome: Outcome,
) -> Result<Outcome, Stop> {
    if !row.options.restart {
        return finish(around, row, run, outcome, Reason::Applied).await;
    }
    let restarting = ApplyState::Restarting { outcome: outcome.clone() };
    let message = format!("recreating {}", outcome.service);
    journal(around, row, run, restarting, Reason::Applying.as_str(), &message)
        .await
        .map_err(Stop::Journal)?;
    restart(around, row, outcome).await
}

async fn restart(around: &ApplyContext, row: &ApplyRow, mut outcome: Outcome) -> Result<Outcome, Stop> {
    let (settings, name) = (Arc::clone(&around.settings), outcome.service.clone());
    let (service, mask) = blocking(move || Ok(files::find(&settings, &name))).await?;
    // What was journaled as applied is what the container has to have.
    let params: Vec<Param> = outcome
        .applied
        .iter()
        .map(|(flag, value)| Param { flag: flag.clone(), value: value.clone() })
        .collect();
    let wanted = translate(&params)?.changes;
    let restarted = match (&service, &around.docker) {
        (Some(service), Some(docker)) => apply_restart::recreate(docker, service, &wanted).await,
        (None, _) => Ok(Restarted::No("the service's definition cannot be read any more".to_owned())),
        (Some(_), None) => Ok(Restarted::No("Docker does not answer".to_owned())),
    };
    match restarted {
        Ok(Restarted::Yes(note)) => {
            outcome.restart_needed = false;
            outcome.restart_command = None;
            add_note(&mut outcome, &note);
        }
        Ok(Restarted::No(why)) => {
            outcome.restart_needed = true;
            add_note(&mut outcome, &format!("not restarted: {}", mask.text(&why)));
        }
        Err(why) => {
            let message = format!("the files have the new flags, but {}", mask.text(&why));
            let refusal = Refusal::new(Reason::ApplyUnverified, message).hint(format!(
                "see `docker logs` of the service's container; `benchlet revert {}` puts the files back",
                row.id
            ));
            return Err(Stop::Refused(refusal, Some(Box::new(outcome))));
        }
    }
    finish(around, row, None, outcome, Reason::Applied).await
}

async fn finish(
    around: &ApplyContext,
    row: &ApplyRow,
    run: Option<Uuid>,
    outcome: Outcome,
    reason: Reason,
) -> Result<Outcome, Stop> {
    let state = ApplyState::Done { outcome: outcome.clone() };
    let message = describe(&outcome);
    journal(around, row, run, state, reason.as_str(), &message).await.map_err(Stop::Journal)?;
    Ok(outcome)
}

/// A state and its event, in one transaction.
pub(super) async fn journal(
    around: &ApplyContext,
    row: &ApplyRow,
    run: Option<Uuid>,
    state: ApplyState,
    reason: &'static str,
    message: &str,
) -> Result<(), Refusal> {
    let (id, request, message) = (row.id, row.request.clone(), message.to_owned());
    let about = run.or(row.run);
    around
        .store
        .write(move |connection| {
            let now = timestamp_now();
            applies::advance(connection, id, run, &state, &now)?;
            events::note(connection, request.as_deref(), about, reason, &message, &now)
        })
        .await
        .map_err(store_refusal)
}

pub(super) fn load(around: &ApplyContext, id: Uuid) -> Result<ApplyRow, Refusal> {
    around.store.apply(id).map_err(store_refusal)?.ok_or_else(|| {
        Refusal::new(Reason::RunUnknown, format!("there is no apply {id}"))
            .hint("`benchlet describe NAME` lists the applies of a request")
    })
}

async fn intend(around: &ApplyContext, run: &RunRow, options: &ApplyOptions) -> Result<Intent, Refusal> {
    let Some(blueprint) = run.blueprint.clone() else {
        let message = format!("the run {} has no parameters on record", run.id);
        return Err(Refusal::new(Reason::NothingToApply, message));
    };
    let texts = around.store.cases(run.id).map_err(store_refusal)?;
    let cases = texts.iter().map(|text| serde_json::from_str(text)).collect::<Result<Vec<Case>, _>>();
    let cases = cases.map_err(|error| {
        Refusal::new(
            Reason::InternalError,
            format!("a stored case of the run {} is unreadable: {error}", run.id),
        )
    })?;
    let (settings, options) = (Arc::clone(&around.settings), options.clone());
    blocking(move || files::intend(&settings, &blueprint.service, &blueprint.params, &cases, &options)).await
}

/// Files and locks are waited for where nothing else waits.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(Refusal::new(Reason::InternalError, format!("an apply broke: {error}"))))
}

/// Somebody changed a file in the middle of an apply.
fn foreign(outcome: Outcome, stages: &[Stage]) -> Stop {
    let short = |hash: &str| hash.chars().take(12).collect::<String>();
    let words: Vec<String> = outcome
        .writes
        .iter()
        .zip(stages)
        .map(|(write, stage)| match stage {
            Stage::Before => format!("{} is as it was before", write.file),
            Stage::After => format!("{} has the new flags", write.file),
            Stage::Neither => format!(
                "{} is neither as it was before (SHA-256 {}…) nor as the apply leaves it ({}…): somebody changed it",
                write.file,
                short(&write.before),
                short(&write.after)
            ),
        })
        .collect();
    let message = format!("the apply was interrupted, and meanwhile {}", words.join("; "));
    let refusal = Refusal::new(Reason::ApplyConflict, message)
        .hint("nothing more was written; `benchlet diff RUN` shows what is left to change, then apply again");
    let some = stages.contains(&Stage::After);
    Stop::Refused(refusal, some.then(|| Box::new(outcome)))
}

fn describe(outcome: &Outcome) -> String {
    if outcome.changes.is_empty() && !outcome.restart_needed {
        return format!("{} has these flags already", outcome.service);
    }
    let flag = |change: &applies::FlagChange| match &change.new {
        Some(value) if value.is_empty() => change.flag.clone(),
        Some(value) => format!("{} {value}", change.flag),
        None => format!("{} taken out", change.flag),
    };
    let flags: Vec<String> = outcome.changes.iter().map(flag).collect();
    let mut text = format!("{}: {}", outcome.service, flags.join(", "));
    if outcome.restart_needed && !outcome.dry_run {
        text.push_str("; a restart is needed");
    }
    text
}

pub(super) fn names(writes: &[ApplyWrite]) -> String {
    writes.iter().map(|write| write.file.as_str()).collect::<Vec<_>>().join(" and ")
}

pub(super) fn add_note(outcome: &mut Outcome, note: &str) {
    outcome.note = Some(match outcome.note.take() {
        Some(earlier) => format!("{earlier}; {note}"),
        None => note.to_owned(),
    });
}

pub(super) fn store_refusal(error: StoreError) -> Refusal {
    Refusal::new(Reason::InternalError, error.to_string())
}
