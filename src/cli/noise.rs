//! `benchlet noise`: measures a request against itself, and keeps how far its runs lie apart on this host.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Value, json};

use super::error::{CliError, Exit};
use super::output::{Cell, Console, Format, Table};
use super::{block_on, comparison_sides as sides, rerun, run_selection, state_dir, wait};
use crate::decide::observed::Verb;
use crate::report::comparands;
use crate::report::comparison_words::figure;
use crate::request::measure::Measure;
use crate::request::valid::Spec;
use crate::run::comparand::Comparand;
use crate::settings::Settings;
use crate::stats::noise_floor::{FEWEST, noise_floor};
use crate::store::Store;
use crate::store::judgements::{self, NoiseFloor};
use crate::store::runs::RunRow;

/// Measures how much a request's figures differ from run to run on this host.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  benchlet noise load --runs 8               eight runs of it, one after the other
  benchlet noise load --runs 8 --stored      by its last eight runs, without a new one

The floor of a figure is the part by which two runs of the same thing differ at most in 95 of 100 cases.
Gates and `benchlet compare` on this host count no change below it as a regression of the evidence.
`benchlet serve` has to be at work, since it runs them; --stored needs none.

Exit codes: 1 a run did not complete, or too few completed; 4 no such request.")]
pub struct Noise {
    /// The request
    pub name: String,
    /// How many runs
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(3..=1_000))]
    pub runs: u32,
    /// By its last runs, without making new ones
    #[arg(long)]
    pub stored: bool,
    /// How to print it
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

pub fn run(verb: &Noise, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    let store = state_dir::open(settings)?;
    let name = run_selection::select(&store, &verb.name)?.request().to_owned();
    if !verb.stored {
        measure(&store, settings, &name, verb.runs, console)?;
    }
    let rows = sides::newest_runs(&store, &name, verb.runs, None)?;
    if let Some(simulated) = rows.iter().find(|row| row.simulated) {
        let message = format!("the run {} is simulated, so its noise is made up", simulated.id);
        return Err(CliError::new(Exit::NotComparable, message));
    }
    let floors = floors(&store, &name, &rows)?;
    let kept: Vec<NoiseFloor> = floors.iter().map(|(floor, _)| floor.clone()).collect();
    block_on(async { Ok(store.write(move |connection| judgements::save_noise(connection, &kept)).await?) })?;
    print(&floors, rows.len(), verb.output, console)
}

/// Has the controller run it so often, one after the other.
fn measure(
    store: &Store,
    settings: &Settings,
    name: &str,
    runs: u32,
    console: &mut Console,
) -> Result<(), CliError> {
    let record = store.request(name)?.filter(|record| !record.deleted);
    let record = record.ok_or_else(|| {
        CliError::not_found(format!("the file of the request {name} was removed, so it cannot run again"))
            .hint("bring the file back, or use --stored")
    })?;
    match &record.spec {
        Spec::LlamaBench(_) | Spec::LoadTest(_) => {}
        Spec::Apply(_) | Spec::Model(_) | Spec::Baseline(_) | Spec::Comparison(_) | Spec::Imported(_) => {
            return Err(CliError::usage(format!(
                "{name} is of kind {}, which measures nothing",
                record.spec.kind()
            )));
        }
    }
    if state_dir::controller(settings).is_none() {
        return Err(CliError::usage("no controller is running, so nothing can be measured")
            .hint("start `benchlet serve`, or use --stored with runs that there are"));
    }
    for number in 1..=runs {
        let order = Verb::Rerun { set: Vec::new() };
        let id = block_on(async { Ok(store.order(name, order, state_dir::now()).await?) })?;
        let run = rerun::until_made(store, settings, id)?;
        let (_, words) = wait::until_completed(store, run)?;
        console.note(format!("{number} of {runs}: {words}"));
    }
    Ok(())
}

/// The floor of every figure of every case, with the median of the runs.
fn floors(store: &Store, name: &str, rows: &[RunRow]) -> Result<Vec<(NoiseFloor, f64)>, CliError> {
    let all: Result<Vec<Comparand>, CliError> =
        rows.iter().map(|row| comparands::figures_of(store, row).map_err(sides::not_comparable)).collect();
    let all = all?;
    let mut values: BTreeMap<(String, Measure), Vec<f64>> = BTreeMap::new();
    for case in all.iter().flat_map(|side| &side.cases).filter(|case| case.invalid.is_empty()) {
        for (measure, figure) in &case.figures {
            values.entry((case.key.clone(), *measure)).or_default().push(figure.value);
        }
    }
    let host = rows.last().map(comparands::host_of).unwrap_or_default();
    let now = state_dir::now();
    let floors: Vec<(NoiseFloor, f64)> = values
        .into_iter()
        .filter_map(|((case_key, measure), mut figures)| {
            let relative = noise_floor(&figures)?;
            figures.sort_unstable_by(f64::total_cmp);
            let runs = u32::try_from(figures.len()).unwrap_or(u32::MAX);
            let floor = NoiseFloor {
                host: host.clone(),
                request: name.to_owned(),
                case_key,
                measure,
                relative,
                runs,
                measured_at: now.clone(),
            };
            Some((floor, figures[figures.len() / 2]))
        })
        .collect();
    if floors.is_empty() {
        return Err(CliError::no(format!("no figure of {name} is known of {FEWEST} runs or more"))
            .hint("more runs, or runs that are valid"));
    }
    Ok(floors)
}

fn print(
    floors: &[(NoiseFloor, f64)],
    runs: usize,
    format: Option<Format>,
    console: &mut Console,
) -> Result<(), CliError> {
    let item = |(floor, median): &(NoiseFloor, f64)| -> Value {
        json!({
            "case": floor.case_key, "figure": floor.measure, "relative": floor.relative,
            "median": median, "runs": floor.runs, "host": floor.host,
        })
    };
    let items = || json!({ "items": floors.iter().map(item).collect::<Vec<_>>() });
    match format {
        Some(Format::Json) => return console.json(&items()),
        Some(Format::Yaml) => return console.yaml(&items()),
        Some(Format::Name) => {
            return floors.iter().try_for_each(|(floor, _)| console.line(floor.measure.to_string()));
        }
        Some(Format::Wide) | None => {}
    }
    let usual = crate::request::thresholds::Thresholds::default();
    let mut table = Table::new(&["CASE", "FIGURE", "NOISE FLOOR", "MEDIAN", "RUNS"]);
    for (floor, median) in floors {
        let judged = usual.of(floor.measure, false).or_else(|| usual.of(floor.measure, true)).is_some();
        if format.is_none() && !judged {
            continue;
        }
        table.row(vec![
            Cell::new(&floor.case_key),
            Cell::new(floor.measure.to_string()),
            Cell::new(format!("{:.1} %", floor.relative * 100.0)),
            Cell::new(figure(floor.measure, *median)),
            Cell::new(floor.runs.to_string()),
        ]);
    }
    table.print(console)?;
    console.line(format!(
        "By {runs} runs; comparisons on this host count no change below it as a regression of the evidence."
    ))
}
