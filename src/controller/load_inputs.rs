//! What a load test's measuring process finds: its frozen plan in its folder, and copies of the prompts and
//! the tokenizer in the run's, so that an edit of the user's files changes no run.

use std::io;
use std::path::Path;

use sha2::{Digest as _, Sha256};
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

/// The text of a file of prompts, once every line of it is one.
///
/// # Errors
/// A file that cannot be read, or lines that are no prompts.
pub fn read_prompts(path: &Path) -> Result<String, Refusal> {
    let text = bounded::read_text(path, MOST_PROMPTS, "prompts")
        .map_err(|error| Refusal::new(Reason::PromptsUnusable, error.to_string()))?;
    prompt_lines::parse(&text).map_err(|bad| {
        let refusal = bad_lines(&bad);
        Refusal { message: format!("{}: {}", path.display(), refusal.message), ..refusal }
    })?;
    Ok(text)
}

/// Copies the prompts that the request names. Their SHA-256 in hexadecimal; `None` where it names none.
///
/// # Errors
/// They are none, or the copy cannot be written.
pub fn copy_prompts(context: &Context, run: Uuid, load: &LoadBlueprint) -> Result<Option<String>, Refusal> {
    let Some(path) = &load.prompts else { return Ok(None) };
    let text = read_prompts(path)?;
    keep(context, run, COPY, text.as_bytes())
        .map_err(|words| Refusal::new(Reason::PromptsUnusable, words))?;
    Ok(Some(Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect()))
}

/// The bytes of a tokenizer, once they are known to be one. A large one takes a second.
///
/// # Errors
/// A file that cannot be read, or is no tokenizer.
pub fn read_tokenizer(path: &Path) -> Result<Vec<u8>, Refusal> {
    let read = || {
        let bytes = tokenizer_bytes(path)?;
        LocalTokenizer::parse(&bytes).map(|_| bytes)
    };
    read().map_err(|error| no_tokenizer(path, &error.to_string()))
}

fn no_tokenizer(path: &Path, words: &str) -> Refusal {
    Refusal::new(Reason::TokenizerUnusable, format!("{}: {words}", path.display()))
        .hint("the file tokenizer.json of the model, as its repository has it")
}

/// Copies the tokenizer that the request names.
///
/// # Errors
/// It is none, or the copy cannot be written.
pub async fn copy_tokenizer(context: &Context, run: Uuid, load: &LoadBlueprint) -> Result<(), Refusal> {
    let Some(path) = load.tokenizer.clone() else { return Ok(()) };
    let read = path.clone();
    let bytes = tokio::task::spawn_blocking(move || read_tokenizer(&read))
        .await
        .map_err(|error| no_tokenizer(&path, &format!("reading it broke: {error}")))??;
    keep(context, run, TOKENIZER_COPY, &bytes).map_err(|words| no_tokenizer(&path, &words))
}

/// Writes a copy into the run's folder.
fn keep(context: &Context, run: Uuid, name: &str, bytes: &[u8]) -> Result<(), String> {
    let folder = context.spool_root().join(run.to_string());
    private_dir::create(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    atomic_write::replace(&folder.join(name), bytes, 0o600).map_err(|error| error.to_string())
}
