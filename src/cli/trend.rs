//! `benchlet trend`: a figure over the runs, with its steps, its drift and what the next run should give.

use clap::Args;
use serde_json::{Value, json};

use super::error::{CliError, Exit};
use super::output::{Console, Structured, Style, clean};
use super::phase_words::short_params;
use super::{comparison_sides, run_selection, state_dir};
use crate::plan::trend::{Change, FALSE_DISCOVERIES, FEWEST, HeadVerdict, Trend, Trends, sparkline, trends};
use crate::report::comparison_words::figure;
use crate::report::history::{self, Of, Wanted};
use crate::request::measure::Measure;
use crate::request::thresholds::Subject;
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
    #[arg(long = "metric", value_name = "FIGURE", value_parser = measure)]
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

/// The figure that a name means.
pub fn measure(text: &str) -> Result<Measure, String> {
    Measure::from_name(text).ok_or_else(|| match Subject::parse(text) {
        Ok(_) => "name one figure, such as e2e_p95, requests_per_s or tg_avg_ts".to_owned(),
        Err(right) => right,
    })
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
        Some(how) => console.structured(&document(&found), how)?,
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
        let [low, high] = head.prediction.interval.map(|bound| figure(measure, bound));
        let (words, style) = match head.verdict {
            HeadVerdict::AsExpected => ("as expected", Style::Good),
            HeadVerdict::Worse => ("worse than expected", Style::Bad),
            HeadVerdict::Better => ("better than expected", Style::Busy),
        };
        let words = console.painted(words, style);
        console.line(format!("  newest {words}: {low} to {high} by {} runs", head.prediction.points))?;
    }
    Ok(())
}

fn step(trend: &Trend, change: &Change, console: &mut Console) -> Result<(), CliError> {
    let measure = trend.series.measure;
    let (before, after) = (figure(measure, change.step.before), figure(measure, change.step.after));
    let part = change.step.after / change.step.before - 1.0;
    let part = if part.is_finite() { format!(" ({:+.1} %)", part * 100.0) } else { String::new() };
    let (word, style) = match (trend.found, change.worse, change.accepted) {
        (false, ..) => ("may be chance", Style::Dim),
        (true, true, false) => ("regression", Style::Bad),
        (true, true, true) => ("worse, accepted by a baseline", Style::Busy),
        (true, false, _) => ("better", Style::Good),
    };
    let at = change.at.as_deref().and_then(|at| at.get(..10)).unwrap_or("?");
    let run: String = change.run.chars().take(8).collect();
    let word = console.painted(word, style);
    console.line(format!(
        "  step   {at} run {run}: {before} to {after}{part}, {word} (p={:.3})",
        change.step.p
    ))?;
    for differs in &change.differs {
        let pair = [(clean(differs).into_owned(), String::new())];
        console.line(format!("         with it {}", short_params(&pair, 100)))?;
    }
    Ok(())
}

fn document(found: &Trends) -> Value {
    json!({
        "falseDiscoveryRate": FALSE_DISCOVERIES,
        "judged": found.judged,
        "notJudged": found.not_judged,
        "series": found.trends.iter().map(series_json).collect::<Vec<_>>(),
    })
}

fn series_json(trend: &Trend) -> Value {
    let points = trend.series.points.iter().map(
        |point| json!({ "run": point.run, "at": point.at, "value": point.value, "accepted": point.accepted }),
    );
    let changes = trend.changes.iter().map(|change| {
        json!({
            "run": change.run, "at": change.at, "point": change.step.at, "before": change.step.before,
            "after": change.step.after, "p": change.step.p, "worse": change.worse,
            "accepted": change.accepted, "differs": change.differs,
        })
    });
    json!({
        "case": trend.series.case,
        "figure": trend.series.measure,
        "points": points.collect::<Vec<_>>(),
        "changes": changes.collect::<Vec<_>>(),
        "found": trend.found,
        "p": trend.p,
        "regression": trend.regression().is_some(),
        "drift": trend.drift.map(|drift| json!({
            "slope": drift.slope, "interval": drift.interval, "p": drift.p, "worse": trend.drifts_worse,
        })),
        "newest": trend.head.map(|head| json!({
            "value": head.value, "expected": head.prediction.expected,
            "interval": head.prediction.interval, "points": head.prediction.points,
            "verdict": match head.verdict {
                HeadVerdict::AsExpected => "AsExpected",
                HeadVerdict::Worse => "Worse",
                HeadVerdict::Better => "Better",
            },
        })),
    })
}
