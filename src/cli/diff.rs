//! `benchlet diff`: what applying a run would change in its service, nothing written.

use super::apply::{Choice, around};
use super::error::CliError;
use super::output::{Console, Structured};
use super::{block_on, run_selection, state_dir};
use crate::controller::apply_job;
use crate::settings::Settings;
use crate::store::applies::Outcome;

/// Shows what applying a run would change in its service
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  benchlet diff 3f2a9c1b
  benchlet diff qwen3 --metric tg_avg_ts        the best cell of the request's newest run

Nothing is written. Exit code 0 whether there is a difference or not.")]
pub struct Diff {
    /// A run's id or its beginning, or a request for its newest run
    #[arg(value_name = "RUN")]
    pub run: String,
    #[command(flatten)]
    pub choice: Choice,
    /// Print the whole as JSON or YAML
    #[arg(short, long, value_enum)]
    pub output: Option<Structured>,
}

/// # Errors
/// A run that cannot be applied, with the reason.
pub fn run(verb: &Diff, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    let store = state_dir::open(settings)?;
    let run = run_selection::run_of(&store, &verb.run)?;
    let options = verb.choice.options(true, false)?;
    let outcome = block_on(async {
        let around = around(settings, store).await?;
        apply_job::preview(&around, run.id, &options).await.map_err(CliError::from)
    })?;
    match verb.output {
        Some(format) => console.structured(&outcome, format),
        None => show(&outcome, console),
    }
}

/// The difference for people: the diff, then what stays out of it and why.
pub fn show(outcome: &Outcome, console: &mut Console) -> Result<(), CliError> {
    if outcome.diff.is_empty() {
        console.line(format!("the service {} has this configuration already", outcome.service))?;
    } else {
        console.raw(crate::report::escape::visible(&outcome.diff).as_bytes())?;
    }
    for (flag, reason) in &outcome.skipped {
        console.line(format!("skipped {flag}: {reason}"))?;
    }
    Ok(())
}
