//! `benchlet revert`: undoes an apply, where nobody has changed the files since.

use super::apply::around;
use super::error::CliError;
use super::output::{Console, Structured};
use super::{block_on, state_dir};
use crate::controller::apply_job;
use crate::settings::Settings;
use crate::store::Store;
use crate::store::applies::ApplyRow;

/// Undoes an apply
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  benchlet revert 7d0c21aa        the apply's id, as `benchlet apply` and `describe` print it

The files get back what they had before the apply. A file that was changed since is left alone.")]
pub struct Revert {
    /// The apply's id, or its beginning where only one apply has that
    #[arg(value_name = "APPLY")]
    pub apply: String,
    /// Print the whole as JSON or YAML
    #[arg(short, long, value_enum)]
    pub output: Option<Structured>,
}

/// # Errors
/// No such apply, or files that were changed since.
pub fn run(verb: &Revert, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    let store = state_dir::open(settings)?;
    let apply = find(&store, &verb.apply)?;
    let outcome = block_on(async {
        let around = around(settings, store).await?;
        apply_job::revert(&around, apply.id).await.map_err(CliError::from)
    })?;
    if let Some(format) = verb.output {
        return console.structured(&outcome, format);
    }
    for write in &outcome.writes {
        console.line(format!("as before: {}", write.file))?;
    }
    if let Some(command) = outcome.restart_command.as_deref().filter(|_| outcome.restart_needed) {
        console.line(format!("the running service does not have it yet: {command}"))?;
    }
    Ok(())
}

fn find(store: &Store, id: &str) -> Result<ApplyRow, CliError> {
    /// More applies than anybody looks back for.
    const MOST: u32 = 10_000;
    let wanted = id.to_lowercase();
    let mut found: Vec<ApplyRow> =
        store.applies(MOST)?.into_iter().filter(|apply| apply.id.to_string().starts_with(&wanted)).collect();
    match (found.pop(), found.is_empty()) {
        (Some(apply), true) if !wanted.is_empty() => Ok(apply),
        (Some(_), false) => {
            Err(CliError::no(format!("several applies begin with {id}")).hint("give more of the id"))
        }
        (Some(_) | None, _) => Err(CliError::not_found(format!("there is no apply {id}"))
            .hint("`benchlet describe NAME` lists the applies of a request")),
    }
}
