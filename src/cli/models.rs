//! `benchlet models`: what was measured of each model, and one of them in full with its best worker count.

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::error::CliError;
use super::output::{Cell, Console, Format, Style, Table, age, clean};
use super::planning_words::{day, percent, rate, rate_cell};
use super::state_dir;
use crate::plan::measured_rate::MeasuredRow;
use crate::plan::worker_sweep::WorkerSweep;
use crate::report::planning::{self, ModelDetails, current};
use crate::report::planning_document;
use crate::settings::Settings;
use crate::store::model_history::MeasuredModel;

/// Lists the models that load tests have measured.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Examples:
  benchlet models                          a row a model
  benchlet models show llama-3.1-8b        its runs, and the best worker count
  benchlet models -o json | jq -r '.models[].model'

RATE is that of the newest run: its fastest case of which 99 % succeeded, else its fastest. BEST
is the fastest of all runs of which 99 % succeeded. Only valid cases of completed load tests
count, and rows that you added to benchmark_results yourself; those of one day count as a run.")]
pub struct Models {
    #[command(subcommand)]
    pub verb: Option<Verb>,
    #[command(flatten)]
    pub list: List,
}

#[derive(Debug, Args)]
pub struct List {
    /// Show what was simulated, in place of what was measured
    #[arg(long)]
    pub simulated: bool,
    /// How to print it
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    Show(Show),
}

/// Shows a model's benchmarks, newest first, and how many workers it should get.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  benchlet models show llama-3.1-8b
  benchlet models show qwen3 --limit 100 -o json | jq .worker_optimisation

The best worker count is that of the highest rate in the newest run over several counts. The
smallest one within 5 % of it answers nearly as many requests, each of them sooner.

Exit codes: 4 no such model.")]
pub struct Show {
    /// The model's name
    #[arg(value_name = "MODEL")]
    pub model: String,
    /// At most so many benchmarks
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// Show what was simulated, in place of what was measured
    #[arg(long)]
    pub simulated: bool,
    /// How to print it
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

pub fn run(verb: &Models, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    match &verb.verb {
        Some(Verb::Show(verb)) => show(verb, settings, console),
        None => list(&verb.list, settings, console),
    }
}

fn list(verb: &List, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    let models = match state_dir::open_if_there(settings)? {
        Some(store) => store.measured_models(None, verb.simulated)?,
        None => Vec::new(),
    };
    match verb.output {
        Some(Format::Json) => console.json(&planning_document::models(&models)),
        Some(Format::Yaml) => console.yaml(&planning_document::models(&models)),
        Some(Format::Name) => {
            models.iter().try_for_each(|model| console.line(format!("model/{}", clean(&model.name))))
        }
        Some(Format::Wide) | None if models.is_empty() => {
            console.note(
                "no model was measured yet; a LoadTest measures one, `benchlet new LoadTest --help` says how",
            );
            Ok(())
        }
        Some(Format::Wide) => table(&models, true).print(console),
        None => table(&models, false).print(console),
    }
}

fn table(models: &[MeasuredModel], wide: bool) -> Table {
    let mut headers = vec![
        "MODEL",
        "RUNS",
        "RATE(req/s)",
        "WORKERS",
        "SUCCESS",
        "BEST(req/s)",
        "AT",
        "CONTEXT",
        "SIZE",
        "AGE",
    ];
    if wide {
        headers.extend(["TOKENS IN", "TOKENS OUT", "BEST ON", "RUN"]);
    }
    let mut table = Table::new(&headers);
    let now = Timestamp::now();
    for model in models {
        let newest = current(model);
        let best = model.best.as_ref();
        let number = |of: fn(&MeasuredRow) -> Option<u64>, row: Option<&MeasuredRow>| {
            Cell::maybe(row.and_then(of).map(|number| number.to_string()))
        };
        let mut cells = vec![
            Cell::new(&model.name),
            Cell::new(model.runs.to_string()),
            rate_cell(newest),
            number(|row| row.workers, newest),
            success_cell(newest),
            rate_cell(best),
            number(|row| row.workers, best),
            number(|row| row.context_window, newest),
            Cell::maybe(newest.and_then(size)),
            Cell::maybe(newest.map(|row| row_age(row, now))),
        ];
        if wide {
            let tokens = |tokens: Option<f64>| Cell::maybe(tokens.map(|tokens| format!("{tokens:.0}")));
            cells.extend([
                tokens(newest.and_then(|row| row.prompt_tokens)),
                tokens(newest.and_then(|row| row.completion_tokens)),
                Cell::maybe(best.map(|row| day(row.created_at))),
                Cell::maybe(newest.and_then(|row| row.run.as_ref())),
            ]);
        }
        table.row(cells);
    }
    table
}

fn success_cell(row: Option<&MeasuredRow>) -> Cell {
    let style = if row.is_some_and(|row| !row.succeeds()) { Style::Bad } else { Style::Plain };
    Cell::maybe(percent(row.and_then(MeasuredRow::success))).style(style)
}

/// As it calls itself, else its bytes.
fn size(row: &MeasuredRow) -> Option<String> {
    let bytes = || row.size_bytes.map(|bytes| format!("{:.1} GB", bytes as f64 / 1e9));
    row.size_params.clone().or_else(bytes)
}

fn row_age(row: &MeasuredRow, now: Timestamp) -> String {
    Timestamp::from_second(row.created_at).map_or_else(|_| "?".to_owned(), |at| age(&at.to_string(), now))
}

fn show(verb: &Show, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    let store = state_dir::open(settings)?;
    let details = planning::details(&store, &verb.model, verb.simulated, verb.limit)?;
    match verb.output {
        Some(Format::Json) => return console.json(&planning_document::model(&verb.model, &details)),
        Some(Format::Yaml) => return console.yaml(&planning_document::model(&verb.model, &details)),
        Some(Format::Name) => return console.line(format!("model/{}", clean(&verb.model))),
        Some(Format::Wide) | None => {}
    }
    let wide = verb.output == Some(Format::Wide);
    benchmarks(&details, wide).print(console)?;
    if let Some(sweep) = &details.sweep {
        console.line("")?;
        optimisation(sweep, console)?;
    }
    if verb.simulated {
        console.line("\nThe server was simulated; these figures are made up.")?;
    }
    Ok(())
}

fn benchmarks(details: &ModelDetails, wide: bool) -> Table {
    let mut headers = vec![
        "RUN",
        "WORKERS",
        "RATE(req/s)",
        "SUCCESS",
        "REQUESTS",
        "TOKENS IN",
        "TOKENS OUT",
        "CONTEXT",
        "TYPE",
        "VALID",
        "AGE",
    ];
    if wide {
        headers.push("NOTES");
    }
    let mut table = Table::new(&headers);
    let now = Timestamp::now();
    for row in &details.rows {
        let number = |number: Option<u64>| Cell::maybe(number.map(|number| number.to_string()));
        let tokens = |tokens: Option<f64>| Cell::maybe(tokens.map(|tokens| format!("{tokens:.0}")));
        let run =
            row.run.as_deref().map(|run| run.chars().take(if wide { 36 } else { 8 }).collect::<String>());
        let mut cells = vec![
            Cell::maybe(run),
            number(row.workers),
            rate_cell(Some(row)),
            success_cell(Some(row)),
            number(row.requests),
            tokens(row.prompt_tokens),
            tokens(row.completion_tokens),
            number(row.context_window),
            Cell::maybe(row.benchmark_type.as_ref()),
            if row.valid { Cell::new("yes") } else { Cell::new("no").style(Style::Bad) },
            row_age(row, now).into(),
        ];
        if wide {
            cells.push(Cell::maybe(row.notes.as_ref()));
        }
        table.row(cells);
    }
    table
}

fn optimisation(sweep: &WorkerSweep, console: &mut Console) -> Result<(), CliError> {
    let rates: Vec<String> = sweep
        .by_workers
        .iter()
        .map(|(workers, row)| format!("{workers}: {}", row.rate().map_or_else(|| "-".to_owned(), rate)))
        .collect();
    console.line(format!("Requests a second by workers: {}", rates.join(", ")))?;
    let mut words = format!("The best worker count is {}", sweep.best);
    if sweep.sufficient < sweep.best {
        words.push_str(&format!(
            "; {} come within 5 % of it, and each answer takes less time",
            sweep.sufficient
        ));
    }
    console.line(format!("{words}."))
}
