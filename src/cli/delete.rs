//! `benchlet delete run`: forgets an ended run with its output.

use clap::{Args, Subcommand};

use super::error::{CliError, Exit};
use super::output::Console;
use super::{block_on, run_selection, state_dir};
use crate::settings::Settings;
use crate::store::runs;

/// Deletes a run that has ended.
#[derive(Debug, Args)]
pub struct Delete {
    #[command(subcommand)]
    pub what: What,
}

#[derive(Debug, Subcommand)]
pub enum What {
    /// Deletes an ended run: its record, its results and its output. It is not measured again for that.
    #[command(after_help = "\
Example:
  benchlet delete run 3f2a9c1b

A request is deleted by removing its file.")]
    Run {
        /// The run's id, or its beginning where only one run has that
        #[arg(value_name = "RUN", required = true)]
        runs: Vec<String>,
    },
}

pub fn run(verb: &Delete, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    let What::Run { runs } = &verb.what;
    runs.iter().try_for_each(|id| delete_run(id, settings, console))
}

fn delete_run(id: &str, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    let store = state_dir::open(settings)?;
    let row = run_selection::run(&store, id)?;
    let id = row.id;
    if !row.state.phase().is_terminal() {
        let phase = row.state.phase().as_str();
        return Err(CliError::no(format!("the run {id} has not ended ({phase})"))
            .hint(format!("`benchlet cancel {id} --wait` ends it")));
    }
    let now = state_dir::now();
    block_on(async { Ok(store.write(move |connection| runs::delete(connection, id, &now)).await?) })?;
    let spool = state_dir::spool(settings, id);
    match std::fs::remove_dir_all(&spool) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            let message =
                format!("the run {id} is deleted, and its output {} is not: {error}", spool.display());
            return Err(CliError::new(Exit::Usage, message).hint("remove that directory by hand"));
        }
    }
    console.line(format!("the run {id} of {} is deleted", row.request))
}
