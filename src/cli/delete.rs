//! `benchlet delete run`: forgets an ended run with its output, and the reports that were written for it where
//! nobody has changed them since.

use std::path::Path;

use clap::{Args, Subcommand};
use sha2::{Digest as _, Sha256};

use super::error::{CliError, Exit};
use super::output::Console;
use super::{block_on, run_selection, state_dir};
use crate::settings::Settings;
use crate::store::reports::WrittenReport;
use crate::store::runs;

/// Deletes a run that has ended.
#[derive(Debug, Args)]
pub struct Delete {
    #[command(subcommand)]
    pub what: What,
}

#[derive(Debug, Subcommand)]
pub enum What {
    /// Deletes an ended run: its record, its results, its output and its reports. It is not measured again for that.
    #[command(after_help = "\
Example:
  benchlet delete run 3f2a9c1b

A report that benchlet wrote when the run ended goes along; one that was changed since stays, and is named.
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
    let reports = store.reports(id)?;
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
    for report in &reports {
        if let Err(why) = remove_unchanged(report) {
            console.note(format!("{} stays: {why}", report.path));
        }
    }
    console.line(format!("the run {id} of {} is deleted", row.request))
}

/// Removes a report that is as it was written; one that is gone is as good.
fn remove_unchanged(report: &WrittenReport) -> Result<(), String> {
    let words = |error: std::io::Error| error.to_string();
    let path = Path::new(&report.path);
    let found = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(words)?,
    };
    // Behind a link lies a file that benchlet did not write.
    if !found.is_file() || sha256_of(path).map_err(words)? != report.sha256 {
        return Err("it was changed since benchlet wrote it".to_owned());
    }
    std::fs::remove_file(path).map_err(words)
}

fn sha256_of(path: &Path) -> std::io::Result<String> {
    // Reports have some megabytes at most.
    let digest = Sha256::digest(std::fs::read(path)?);
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}
