//! `benchlet trend`: a figure over the runs, with its steps, its drift and what the next run should give.

use clap::Args;

use super::error::{CliError, Exit};
use super::output::{Console, Structured, Style, clean};
use super::phase_words::short_params;
use super::{comparison_sides, run_selection, state_dir};
use crate::plan::trend::{Change, FEWEST, HeadVerdict, Trend, Trends, sparkline, trends};
use crate::report::comparison_words::figure;
use crate::report::history::{self, Of, Wanted};
use crate::report::trend_document;
use crate::report::trend_words::{self, Meaning};
use crate::request::measure::Measure;
use crate::request::thresholds::measure_named;
use crate::settings::Settings;

/// Shows how a request's figures went from run to run, and where they changed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  benchlet trend qwen3                               the usual figures of every case
  benchlet trend qwen3 --metric tg_avg_ts --case tg128
  benchlet trend --service llamacpp-qwen3 --metric ttft_p95
  benchlet trend qwen3 --strict                      exit code 1 where the newest step is a regression

Steps are found by a rank CUSUM against simulated histories without one, and have to be 3 % and three
median residuals large; `found` means that they stand among all series that were judged (false discovery
rate 10 %). What the next run should give is a 95 % prediction interval since the last accepted change:
an improvement, or a level at which a baseline was pinned. A regression does not become the norm.

Exit codes: 1 with --strict, for a regression that nobody accepted; 4 no runs.")]
pub struct TrendVerb {
    /// A request's name
    #[arg(required_unless_present = "service")]
    pub name: Option<String>,
    /// All runs of a service instead
    #[arg(long, conflicts_with = "name")]
    pub service: Option<String>,
    /// A figure such as tg_avg_ts or ttft_p95; may be given several times
    #[arg(long = "metric", value_name = "FIGURE", value_parser = measure_named)]
    pub metrics: Vec<Measure>,
    /// Only cases that have this in their names
    #[arg(long)]
    pub case: Option<String>,
    /// Runs to look back
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    pub limit: u32,
    /// Simulated runs instead of measured ones
    #[arg(long)]
    pub simulated: bool,
    /// Exit code 1 where the newest step is a regression
    #[arg(long)]
    pub strict: bool,
    /// Print it as data
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Structured>,
}

pub fn run(verb: &TrendVerb, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    let store = state_dir::open(settings)?;
    let name = match &verb.name {
        Some(name) => Some(run_selection::select(&store, name)?.request().to_owned()),
        None => None,
    };
    let wanted = Wanted {
        measures: verb.metrics.clone(),
        case: verb.case.clone(),
        simulated: verb.simulated,
        limit: verb.limit,
    };
    let (of, words) = match (&name, &verb.service) {
        (Some(name), _) => (Of::Request(name), format!("the request {name}")),
        // clap asks for one of the two.
        (None, service) => {
            let service = service.as_deref().unwrap_or_default();
            (Of::Service(service), format!("the service {service}"))
        }
    };
    let series = history::series(&store, of, &wanted).map_err(comparison_sides::not_comparable)?;
    if series.is_empty() {
        let hint = if verb.simulated { "" } else { "; --simulated shows simulated ones" };
        return Err(CliError::not_found(format!("{words} has no completed run with such a figure"))
            .hint(format!("`benchlet history` lists the runs{hint}")));
    }
    let found = trends(series);
    match verb.output {
        Some(how) => console.structured(&trend_document::document(&found), how)?,
        None => print(&found, console)?,
    }
    let regression = found.trends.iter().any(|trend| trend.regression().is_some());
    if verb.strict && regression { Err(CliError::silent(Exit::No)) } else { Ok(()) }
}

fn print(found: &Trends, console: &mut Console) -> Result<(), CliError> {
    for trend in &found.trends {
        one(trend, console)?;
        console.line("")?;
    }
    let steps = found.trends.iter().filter(|trend| trend.found).count();
    let mut words = format!("{} series judged, {steps} with a step", found.judged);
    if found.not_judged > 0 {
        words.push_str(&format!("; {} too short to be (a step takes {FEWEST} runs)", found.not_judged));
    }
    console.line(words)
}

fn one(trend: &Trend, console: &mut Console) -> Result<(), CliError> {
    let series = &trend.series;
    let measure = series.measure;
    let values: Vec<f64> = series.points.iter().map(|point| point.value).collect();
    let day =
        |at: Option<&Option<String>>| at.and_then(|at| at.as_deref()?.get(..10)).unwrap_or("?").to_owned();
    let first = day(series.points.first().map(|point| &point.at));
    let last = day(series.points.last().map(|point| &point.at));
    let newest = values.last().map(|value| figure(measure, *value)).unwrap_or_default();
    let head = console.painted(&format!("{} {measure}", clean(&series.case)), Style::Bold);
    let runs = if values.len() == 1 { "1 run".to_owned() } else { format!("{} runs", values.len()) };
    console.line(format!("{head}  {runs}, {first} to {last}, newest {newest}"))?;
    // As wide as a terminal; of more runs the newest.
    let shown = &values[values.len().saturating_sub(100)..];
    console.line(format!("  {}", sparkline(shown)))?;
    for change in &trend.changes {
        step(trend, change, console)?;
    }
    if let Some(drift) = trend.drift.filter(|drift| drift.p < 0.05) {
        let way = if trend.drifts_worse { "worse" } else { "better" };
        let slope = figure(measure, drift.slope.abs());
        console.line(format!("  drift  {slope} a run for the {way} (p={:.3})", drift.p))?;
    }
    if let Some(head) = &trend.head {
        let style = match head.verdict {
            HeadVerdict::AsExpected => Style::Good,
            HeadVerdict::Worse => Style::Bad,
            HeadVerdict::Better => Style::Busy,
        };
        let words = console.painted(trend_words::verdict(head), style);
        console.line(format!("  newest {words}: {}", trend_words::expected(measure, head)))?;
    }
    Ok(())
}

fn step(trend: &Trend, change: &Change, console: &mut Console) -> Result<(), CliError> {
    let meaning = Meaning::of(trend, change);
    let style = match meaning {
        Meaning::Chance => Style::Dim,
        Meaning::Regression => Style::Bad,
        Meaning::Accepted => Style::Busy,
        Meaning::Better => Style::Good,
    };
    let levels = trend_words::step(trend.series.measure, &change.step);
    let at = change.at.as_deref().and_then(|at| at.get(..10)).unwrap_or("?");
    let run: String = change.run.chars().take(8).collect();
    let word = console.painted(meaning.as_str(), style);
    console.line(format!("  step   {at} run {run}: {levels}, {word} (p={:.3})", change.step.p))?;
    for differs in &change.differs {
        let pair = [(clean(differs).into_owned(), String::new())];
        console.line(format!("         with it {}", short_params(&pair, 100)))?;
    }
    Ok(())
}
