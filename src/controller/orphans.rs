//! Tasks that nobody waits for: left by a run that has ended or that the store does not know. Only
//! those with this installation's label, and only after a look at the store.

use super::context::Context;
use crate::run::plan::ExecutorKind;

/// Lists an executor completely and removes what belongs to no open run.
///
/// # Errors
/// Why the executor or the store could not be asked; nothing may be admitted on a half list.
pub async fn sweep(context: &Context, kind: ExecutorKind) -> Result<usize, String> {
    let executor = context.executor(kind).await?;
    // The store after the list would miss a run that begins in between.
    let open = context.store.open_runs().map_err(|error| error.to_string())?;
    let found = executor.list().await.map_err(|error| error.to_string())?;
    let mut removed = 0;
    for task in found {
        if open.iter().any(|run| run.id == task.id.run) {
            continue;
        }
        let known = context.store.run(task.id.run).map_err(|error| error.to_string())?;
        if known.is_some_and(|run| !run.state.phase().is_terminal()) {
            continue;
        }
        let spool = context.spool(&task.id);
        match executor.remove(&task.id, &spool).await {
            Ok(()) => removed += 1,
            Err(error) => tracing::warn!(task = task.id.name(), %error, "a leftover could not be removed"),
        }
    }
    Ok(removed)
}
