//! `benchlet baseline`: pins runs under names, lists them, takes them away.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::json;

use super::comparison_sides::{self as sides, Named};
use super::error::CliError;
use super::output::{Cell, Console, Format, Table, age};
use super::phase_words::short_id;
use super::{block_on, state_dir};
use crate::controller::baseline_orders::{self, BaselineError, FIT, Whose};
use crate::report::judgement_document;
use crate::request::valid::{NAME_RULE, is_name};
use crate::settings::Settings;
use crate::store::Store;
use crate::store::baselines::{Baseline, Scope};
use crate::store::runs::RunRow;

/// Pins runs as baselines, which later runs are compared with.
#[derive(Debug, Args)]
pub struct BaselineVerb {
    #[command(subcommand)]
    pub what: What,
}

#[derive(Debug, Subcommand)]
pub enum What {
    /// Pins a run under a name
    #[command(after_help = "\
Examples:
  benchlet baseline set main --from load               the newest run of a request
  benchlet baseline set v1.4 --from 3f2a9c1b           a run
  benchlet baseline set main --from load --for-service for all runs of its service
  benchlet baseline set old --from results.json --for load

Only a completed, valid run that really measured can be one. It cannot be deleted as long as it is pinned.
Without --for a baseline is for the runs of its run's own request.

Exit codes: 3 the run cannot be a baseline; 4 no such run.")]
    Set(Set),
    /// Lists them
    List(List),
    /// Takes one away; its run stays
    Rm(Remove),
}

#[derive(Debug, Args)]
pub struct Set {
    /// The baseline's name: main, v1.4, before-upgrade
    #[arg(value_parser = name)]
    pub name: String,
    /// A run, a request whose newest completed run is meant, or a file of results
    #[arg(long, value_name = "RUN|NAME|FILE")]
    pub from: String,
    /// The request whose runs are compared with it
    #[arg(long = "for", value_name = "REQUEST")]
    pub request: Option<String>,
    /// For all runs of the run's service
    #[arg(long, conflicts_with = "request")]
    pub for_service: bool,
}

#[derive(Debug, Args)]
pub struct List {
    /// How to print it
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

#[derive(Debug, Args)]
pub struct Remove {
    /// The baseline's name
    pub name: String,
    /// Of several of the name, the one for this request or service
    #[arg(long = "for", value_name = "REQUEST|SERVICE")]
    pub subject: Option<String>,
}

fn name(text: &str) -> Result<String, String> {
    if is_name(text) { Ok(text.to_owned()) } else { Err(NAME_RULE.to_owned()) }
}

pub fn run(verb: &BaselineVerb, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    match &verb.what {
        What::Set(verb) => set(verb, settings, console),
        What::List(verb) => list(verb, settings, console),
        What::Rm(verb) => remove(verb, settings, console),
    }
}

fn set(verb: &Set, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    let store = state_dir::open(settings)?;
    let row = run_of(&store, verb)?;
    let whose = match &verb.request {
        Some(request) => Whose::Request(request.clone()),
        None if verb.for_service => Whose::OwnService,
        None => Whose::OwnRequest,
    };
    let planned = baseline_orders::planned(&store, &row, &verb.name, whose, state_dir::now())
        .map_err(|error| of_baseline(&store, error))?;
    let said = block_on(async { Ok(baseline_orders::set(&store, planned).await?) })?;
    console.line(said)
}

fn run_of(store: &Store, verb: &Set) -> Result<RunRow, CliError> {
    match sides::named(Some(store), &verb.from)? {
        Named::Run(row) => Ok(*row),
        Named::Request(request) => {
            let newest = sides::newest_runs(store, &request, 1, None)?.pop();
            newest.ok_or_else(|| CliError::not_found(format!("the request {request} has no completed run")))
        }
        Named::Baselines(found) => match found.as_slice() {
            [only] => super::run_selection::run(store, &only.run.to_string()),
            [] | [..] => Err(CliError::usage(format!("there are several baselines {}", verb.from))
                .hint("name the run; `benchlet baseline list` shows them")),
        },
        Named::File => sides::imported(store, &verb.from),
    }
}

fn list(verb: &List, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    let all = match state_dir::open_if_there(settings)? {
        Some(store) => store.baselines()?,
        None => Vec::new(),
    };
    let items =
        || json!({ "items": all.iter().map(judgement_document::listed_baseline).collect::<Vec<_>>() });
    match verb.output {
        Some(Format::Json) => console.json(&items()),
        Some(Format::Yaml) => console.yaml(&items()),
        Some(Format::Name) => all.iter().try_for_each(|one| console.line(format!("baseline/{}", one.name))),
        Some(Format::Wide) | None if all.is_empty() => {
            console.note("no baselines");
            Ok(())
        }
        Some(Format::Wide) | None => table(&all, verb.output.is_some()).print(console),
    }
}

fn table(all: &[Baseline], wide: bool) -> Table {
    let mut table = Table::new(&["NAME", "FOR", "RUN", "SET BY", "AGE"]);
    let now = Timestamp::now();
    for one in all {
        table.row(vec![
            Cell::new(&one.name),
            Cell::new(format!("{}/{}", one.scope.word(), one.scope.subject())),
            Cell::new(if wide { one.run.to_string() } else { short_id(one.run) }),
            Cell::maybe(one.set_by.as_deref()),
            age(&one.created_at, now).into(),
        ]);
    }
    table
}

fn remove(verb: &Remove, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    let store = state_dir::open(settings)?;
    let is_meant = |scope: &Scope| verb.subject.as_ref().is_none_or(|subject| scope.subject() == subject);
    let one =
        baseline_orders::named(&store, &verb.name, is_meant).map_err(|error| of_baseline(&store, error))?;
    let gone = block_on(async { Ok(baseline_orders::remove(&store, one).await?) })?;
    console.line(gone.said)?;
    if let Some(note) = gone.note {
        console.note(note);
    }
    Ok(())
}

fn of_baseline(store: &Store, error: BaselineError) -> CliError {
    let said = error.to_string();
    match error {
        BaselineError::Store(error) => error.into(),
        BaselineError::Unfit(why) => sides::not_comparable(why).hint(FIT),
        BaselineError::Name => CliError::usage(said),
        BaselineError::NoService => CliError::usage(said).hint("name a request with --for"),
        BaselineError::Unknown { name } => sides::no_baseline(store, &name),
        BaselineError::Several { of, .. } => {
            CliError::usage(said).hint(format!("say which with --for: {}", of.join(", ")))
        }
    }
}
