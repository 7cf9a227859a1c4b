//! `benchlet cancel`: leaves the order to end a request's run.

use clap::Args;
use uuid::Uuid;

use super::error::CliError;
use super::output::Console;
use super::run_selection::{self, Selected};
use super::{block_on, get, phase_words, state_dir};
use crate::decide::observed::Verb;
use crate::run::phase::{EndPhase, RunState};
use crate::settings::Settings;
use crate::store::Store;

/// Ends a request's run; what it has measured stays.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  benchlet cancel qwen3
  benchlet cancel 3f2a9c1b --wait      come back when it has ended

The request itself stays as it is: `benchlet rerun` or an edit of its file runs it again.")]
pub struct Cancel {
    /// A request's name, or the id of its run
    #[arg(value_name = "NAME|RUN")]
    pub name: String,
    /// Wait until the run has ended
    #[arg(long)]
    pub wait: bool,
}

pub fn run(verb: &Cancel, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    let store = state_dir::open(settings)?;
    let selected = run_selection::select(&store, &verb.name)?;
    let name = selected.request().to_owned();
    let open = store.open_runs()?.into_iter().find(|run| run.request == name).map(|run| run.id);
    if let Selected::Run(row) = &selected
        && open != Some(row.id)
    {
        let phase = row.state.phase().as_str();
        return Err(CliError::no(format!("the run {} has ended already ({phase})", row.id)));
    }
    let waiting = store.commands_for(&name)?.iter().any(|command| match command.verb {
        Verb::Rerun { .. } => true,
        Verb::Cancel => false,
    });
    if open.is_none() && !waiting {
        return Err(CliError::no(format!("the request {name} has no run to cancel"))
            .hint("`spec.state: Cancelled` or `spec.suspend: true` in its file keeps one from starting"));
    }
    let controller = state_dir::controller(settings);
    if verb.wait && controller.is_none() {
        return Err(CliError::usage("no controller is running, so there is nothing to wait for")
            .hint("start `benchlet serve`, or leave --wait out: the order is then kept for it"));
    }
    block_on(async { Ok(store.order(&name, Verb::Cancel, state_dir::now()).await?) })?;
    let what = open.map_or_else(|| "rerun".to_owned(), |run| format!("run {}", phase_words::short_id(run)));
    match controller {
        Some(_) => console.line(format!("the {what} of {name} is being cancelled"))?,
        None => console.line(format!(
            "the {what} of {name} will be cancelled: no controller is running on {}, so the order is kept and \
             carried out by the next `benchlet serve`",
            settings.state.display()
        ))?,
    }
    match open {
        Some(run) if verb.wait => {
            console.flush()?;
            until_ended(&store, run, console)
        }
        Some(_) | None => Ok(()),
    }
}

fn until_ended(store: &Store, run: Uuid, console: &mut Console) -> Result<(), CliError> {
    let mut watcher = store.watcher()?;
    loop {
        if watcher.changed() {
            match store.run(run)?.map(|row| row.state) {
                Some(RunState::Ended(end)) => {
                    return match end.phase {
                        EndPhase::Cancelled => console.line(format!("the run {run} is Cancelled")),
                        EndPhase::Completed | EndPhase::Failed => {
                            Err(CliError::no(format!("the run {run} ended by itself before: {}", end.reason)))
                        }
                    };
                }
                None => return Err(CliError::not_found(format!("the run {run} was deleted"))),
                Some(
                    RunState::Pending
                    | RunState::Preparing { .. }
                    | RunState::Running { .. }
                    | RunState::Collecting { .. },
                ) => {}
            }
        }
        std::thread::sleep(get::POLL);
    }
}
