//! What a load test's measuring process finds: its frozen plan in its folder, and a copy of the prompts in
//! the run's, so that an edit of the user's file changes no run.

use std::io;
use std::path::Path;

use uuid::Uuid;

use super::context::Context;
use crate::files::{atomic_write, private_dir};
use crate::load::bad_lines;
use crate::plan::prompt_lines;
use crate::run::plan::LoadBlueprint;
use crate::run::reason::{Reason, Refusal};
use crate::run::step::TaskSpec;

/// Largest file of prompts, in bytes.
const MOST_PROMPTS: u64 = 256 << 20;
/// The copy in the run's folder.
const COPY: &str = "prompts.jsonl";

/// Writes a task's inputs into its folder.
pub fn write(spool: &Path, task: &TaskSpec) -> io::Result<()> {
    for (name, text) in &task.inputs {
        atomic_write::replace(&spool.join(name), text.as_bytes(), 0o600)
            .map_err(|error| io::Error::other(error.to_string()))?;
    }
    Ok(())
}

/// Copies the prompts that the request names, once every line of them is one.
///
/// # Errors
/// A file that cannot be read, or lines that are no prompts.
pub fn copy_prompts(context: &Context, run: Uuid, load: &LoadBlueprint) -> Result<(), Refusal> {
    let Some(path) = &load.prompts else { return Ok(()) };
    let unusable = |words: String| Refusal::new(Reason::PromptsUnusable, words);
    let shown = path.display();
    let size = std::fs::metadata(path).map_err(|error| unusable(format!("{shown}: {error}")))?.len();
    if size > MOST_PROMPTS {
        let message =
            format!("{shown} has {} MiB; at most {} MiB of prompts are read", size >> 20, MOST_PROMPTS >> 20);
        return Err(unusable(message));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unusable(format!("{shown}: {error}")))?;
    prompt_lines::parse(&text).map_err(|bad| {
        let refusal = bad_lines(&bad);
        Refusal { message: format!("{shown}: {}", refusal.message), ..refusal }
    })?;
    let folder = context.spool_root().join(run.to_string());
    private_dir::create(&folder).map_err(|error| unusable(format!("{}: {error}", folder.display())))?;
    atomic_write::replace(&folder.join(COPY), text.as_bytes(), 0o600)
        .map_err(|error| unusable(error.to_string()))
}
