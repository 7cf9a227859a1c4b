//! `benchlet rerun`: leaves the order to run a request once more.

use clap::Args;
use uuid::Uuid;

use super::error::CliError;
use super::output::Console;
use super::run_selection::{self, Selected};
use super::{block_on, get, phase_words, set_flag, state_dir, wait};
use crate::decide::observed::Verb;
use crate::request::flags::Param;
use crate::request::valid::Spec;
use crate::settings::Settings;
use crate::store::Store;

/// Runs a request once more, unchanged or with other flags for this one run.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  benchlet rerun qwen3
  benchlet rerun qwen3 --set -b=4096 --set -ub=1024    for this run alone; the file stays as it is
  benchlet rerun 3f2a9c1b --wait                       the request of that run; exit code 1 if it fails

The order is kept in the state directory until a controller has carried it out.")]
pub struct Rerun {
    /// A request's name, or the id of one of its runs
    #[arg(value_name = "NAME|RUN")]
    pub name: String,
    /// A flag of llama-bench, or a field of a load test (concurrency=1,5) or a conversation
    /// (thinkTime=2s), for this run alone; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = set_flag::parse, allow_hyphen_values = true)]
    pub set: Vec<Param>,
    /// Wait until the run has ended
    #[arg(long)]
    pub wait: bool,
}

pub fn run(verb: &Rerun, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    let store = state_dir::open(settings)?;
    let selected = run_selection::select(&store, &verb.name)?;
    let name = selected.request().to_owned();
    if let Selected::Run(run) = &selected
        && matches!(run.spec, Spec::Imported(_))
    {
        return Err(imported(&name));
    }
    let record = store.request(&name)?.filter(|record| !record.deleted);
    let record = record.ok_or_else(|| {
        CliError::not_found(format!("the file of the request {name} was removed, so it cannot run again"))
            .hint("bring the file back")
    })?;
    match &record.spec {
        Spec::LlamaBench(_) | Spec::LoadTest(_) | Spec::Model(_) => {
            let settable = record.spec.clone().set(&verb.set, record.control.timeout_ms);
            settable.map_err(|reason| CliError::usage(format!("{name} cannot be set so: {reason}")))?;
        }
        Spec::Imported(_) => return Err(imported(&name)),
        Spec::Apply(_) | Spec::Baseline(_) | Spec::Comparison(_) if verb.set.is_empty() && !verb.wait => {}
        Spec::Apply(_) | Spec::Baseline(_) | Spec::Comparison(_) => {
            let kind = record.spec.kind();
            return Err(CliError::usage(format!("{name} is of kind {kind}, which makes no run"))
                .hint("leave --set and --wait out"));
        }
    }
    let controller = state_dir::controller(settings);
    if verb.wait && controller.is_none() {
        return Err(CliError::usage("no controller is running, so there is nothing to wait for")
            .hint("start `benchlet serve`, or leave --wait out: the order is then kept for it"));
    }
    let order = Verb::Rerun { set: verb.set.clone() };
    let id = block_on(async { Ok(store.order(&name, order, state_dir::now()).await?) })?;
    match controller {
        Some(_) => console.line(format!("the request {name} runs once more"))?,
        None => console.line(format!(
            "the request {name} will run once more: no controller is running on {}, so the order is kept and \
             carried out by the next `benchlet serve`",
            settings.state.display()
        ))?,
    }
    if !verb.wait {
        return Ok(());
    }
    console.flush()?;
    wait_for(&store, settings, id, console)
}

fn imported(name: &str) -> CliError {
    CliError::no(format!("{name} was imported: it was measured elsewhere, so it cannot run again here"))
        .hint("`benchlet new` writes a request that measures the same thing")
}

fn wait_for(store: &Store, settings: &Settings, order: i64, console: &mut Console) -> Result<(), CliError> {
    let run = until_made(store, settings, order)?;
    console.line(format!("run {}", phase_words::short_id(run)))?;
    console.flush()?;
    wait::until_ended(store, run, console).map(drop)
}

/// Waits until the controller has made the run that an order asks for.
///
/// # Errors
/// The order made no run, or the controller has stopped.
pub fn until_made(store: &Store, settings: &Settings, order: i64) -> Result<Uuid, CliError> {
    let mut watcher = store.watcher()?;
    loop {
        if watcher.changed()
            && let Some(command) = store.command(order)?
            && let Some(outcome) = command.outcome
        {
            let Some(run) = command.run else {
                return Err(CliError::no(format!("the order made no run: {outcome}")));
            };
            return Ok(run);
        }
        if state_dir::controller(settings).is_none() {
            return Err(CliError::no("the controller has stopped before it carried the order out")
                .hint("the order is kept: the next `benchlet serve` carries it out"));
        }
        std::thread::sleep(get::POLL);
    }
}
