//! Takes an apply back: puts the copies from before it into the files that still are as it left them.
//! Safe to repeat; a file that somebody changed since is left alone.

use std::path::PathBuf;
use std::sync::Arc;

use uuid::Uuid;

use super::apply_files::{self as files, Mask, NewText, Stage};
use super::apply_job::{ApplyContext, add_note, blocking, journal, load, names};
use crate::plan::service::Service;
use crate::plan::text_diff;
use crate::run::reason::{Reason, Refusal};
use crate::service::write::sha256_hex;
use crate::store::applies::{ApplyState, ApplyWrite, FlagChange, Outcome};

/// Undoes the writes of an apply, leaving copies of its own, and says what that changed.
///
/// # Errors
/// `ApplyConflict` where a file was changed since; `NothingToApply` where the apply wrote nothing.
pub async fn revert(around: &ApplyContext, apply: Uuid) -> Result<Outcome, Refusal> {
    let row = load(around, apply)?;
    let nothing = |why: &str| {
        Err(Refusal::new(Reason::NothingToApply, format!("the apply {apply} {why}, so nothing is reverted")))
    };
    let original = match &row.state {
        ApplyState::Done { outcome } | ApplyState::Reverted { outcome } => outcome.clone(),
        ApplyState::Failed { outcome: Some(outcome), .. } => (**outcome).clone(),
        ApplyState::Failed { outcome: None, .. } => return nothing("failed and wrote nothing"),
        ApplyState::Planned | ApplyState::Writing { .. } | ApplyState::Restarting { .. } => {
            return Err(Refusal::new(Reason::Applying, format!("the apply {apply} has not ended yet"))
                .hint("wait for its end, then revert it"));
        }
    };
    if original.writes.is_empty() {
        return nothing(if original.dry_run { "was a dry run" } else { "changed nothing" });
    }
    let (settings, writes, name) =
        (Arc::clone(&around.settings), original.writes.clone(), original.service.clone());
    let plan = blocking(move || {
        let (service, mask) = files::find(&settings, &name);
        planned(&writes, service, mask)
    })
    .await?;
    let label = format!("{}-reverted", files::label(apply));
    let backups = files::backups(&around.settings);
    let mut result = Outcome {
        service: original.service.clone(),
        changes: original.changes.iter().map(inverted).collect(),
        writes: files::planned_writes(&plan.files, &backups, &label),
        diff: plan.diff,
        restart_needed: true,
        restart_command: plan.service.as_ref().and_then(files::restart_command),
        ..Outcome::default()
    };
    if plan.files.is_empty() {
        result.note = Some("the files are as they were before the apply already".to_owned());
    }
    let mut reverted = original;
    if !matches!(row.state, ApplyState::Reverted { .. }) {
        add_note(
            &mut reverted,
            &format!("reverted; copies from before that are in {}", backups.join(&label).display()),
        );
    }
    reverted.restart_needed = result.restart_needed;
    reverted.restart_command.clone_from(&result.restart_command);
    let message = format!("putting back {}", names(&reverted.writes));
    journal(around, &row, None, ApplyState::Reverted { outcome: reverted }, "Reverted", &message).await?;
    if plan.files.is_empty() {
        return Ok(result);
    }
    let (service, mask, texts) = (plan.service, plan.mask, plan.files);
    let mut writes = std::mem::take(&mut result.writes);
    let written = blocking(move || {
        let lock_for = files::lock_place(service.as_ref(), &writes);
        let written = files::write(&lock_for, &texts, &backups, &label, &mut writes);
        written.map(|()| writes).map_err(|refusal| mask.refusal(refusal))
    })
    .await;
    match written {
        Ok(writes) => Ok(Outcome { writes, ..result }),
        Err(refusal) => {
            // Not reverted after all.
            let message = refusal.message.clone();
            journal(around, &row, None, row.state.clone(), refusal.reason.as_str(), &message).await?;
            Err(refusal)
        }
    }
}

struct Plan {
    service: Option<Service>,
    mask: Mask,
    files: Vec<NewText>,
    diff: String,
}

fn planned(writes: &[ApplyWrite], service: Option<Service>, mask: Mask) -> Result<Plan, Refusal> {
    let stages = files::stages(writes);
    let (mut texts, mut diff) = (Vec::new(), String::new());
    for (write, stage) in writes.iter().zip(stages) {
        match stage {
            Stage::Before => {}
            Stage::After => {
                let (file, old) = copy_of(write)?;
                diff.push_str(&mask.diff(&text_diff::unified(
                    write.file.trim_start_matches('/'),
                    &old,
                    &file.text,
                )));
                texts.push(file);
            }
            Stage::Neither => {
                let message = format!("{} was changed since the apply, so it is left as it is", write.file);
                return Err(Refusal::new(Reason::ApplyConflict, message).hint(format!(
                    "nothing was written; the file from before the apply is {}",
                    write.backup
                )));
            }
        }
    }
    Ok(Plan { service, mask, files: texts, diff })
}

/// The file as it was before the apply, and as it is.
fn copy_of(write: &ApplyWrite) -> Result<(NewText, String), Refusal> {
    let failed = |why: String| {
        let message = format!("{} cannot be put back: {why}", write.file);
        Refusal::new(Reason::ApplyFailed, message).hint("change the flags back by hand")
    };
    let read = |path: &str| std::fs::read_to_string(path).map_err(|error| failed(format!("{path}: {error}")));
    let text = read(&write.backup)?;
    if sha256_hex(text.as_bytes()) != write.before {
        return Err(failed(format!("its copy {} is not as it was made", write.backup)));
    }
    let now = read(&write.file)?;
    let file = NewText {
        path: PathBuf::from(&write.file),
        before: write.after.clone(),
        after: write.before.clone(),
        text,
    };
    Ok((file, now))
}

fn inverted(change: &FlagChange) -> FlagChange {
    FlagChange { flag: change.flag.clone(), old: change.new.clone(), new: change.old.clone() }
}
