//! What a load test's measuring process finds: its frozen plan in its folder, and copies of the prompts and
//! the tokenizer in the run's, so that an edit of the user's files changes no run.

use std::io;
use std::path::Path;

use uuid::Uuid;

use super::context::Context;
use crate::files::{atomic_write, bounded, private_dir};
use crate::load::{LocalTokenizer, bad_lines, tokenizer_bytes};
use crate::plan::prompt_lines;
use crate::run::plan::LoadBlueprint;
use crate::run::reason::{Reason, Refusal};
use crate::run::step::TaskSpec;

/// Largest file of prompts, in bytes.
const MOST_PROMPTS: u64 = 256 << 20;
/// The copies in the run's folder.
const COPY: &str = "prompts.jsonl";
const TOKENIZER_COPY: &str = "tokenizer.json";

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
    let text =
        bounded::read_text(path, MOST_PROMPTS, "prompts").map_err(|error| unusable(error.to_string()))?;
    prompt_lines::parse(&text).map_err(|bad| {
        let refusal = bad_lines(&bad);
        Refusal { message: format!("{shown}: {}", refusal.message), ..refusal }
    })?;
    keep(context, run, COPY, text.as_bytes()).map_err(unusable)
}

/// Copies the tokenizer that the request names, once it is known to be one.
///
/// # Errors
/// A file that cannot be read, or is no tokenizer.
pub async fn copy_tokenizer(context: &Context, run: Uuid, load: &LoadBlueprint) -> Result<(), Refusal> {
    let Some(path) = load.tokenizer.clone() else { return Ok(()) };
    let shown = path.display().to_string();
    let unusable = |words: String| {
        Refusal::new(Reason::TokenizerUnusable, format!("{shown}: {words}"))
            .hint("the file tokenizer.json of the model, as its repository has it")
    };
    // A large one takes a second.
    let read = tokio::task::spawn_blocking(move || {
        let bytes = tokenizer_bytes(&path)?;
        LocalTokenizer::parse(&bytes).map(|_| bytes)
    });
    let bytes = read
        .await
        .map_err(|error| unusable(format!("reading it broke: {error}")))?
        .map_err(|error| unusable(error.to_string()))?;
    keep(context, run, TOKENIZER_COPY, &bytes).map_err(unusable)
}

/// Writes a copy into the run's folder.
fn keep(context: &Context, run: Uuid, name: &str, bytes: &[u8]) -> Result<(), String> {
    let folder = context.spool_root().join(run.to_string());
    private_dir::create(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    atomic_write::replace(&folder.join(name), bytes, 0o600).map_err(|error| error.to_string())
}
