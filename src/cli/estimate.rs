//! `benchlet estimate`: how long a workload takes on one model, by what was measured of it.

use std::path::{Path, PathBuf};

use clap::Args;

use super::error::CliError;
use super::output::{Console, Format, clean};
use super::planning_words::{day, long_time, money, origin, percent, rate, span};
use super::state_dir;
use crate::plan::estimate::{Cost, Estimate, Price, Spread, Workload};
use crate::report::{planning, planning_document};
use crate::settings::Settings;

/// Says how long a workload takes on a model, and what it costs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  benchlet estimate --model llama-3.1-8b --requests 50000
  benchlet estimate --model qwen3 --requests 50000 --workers 10 --per-hour 1.20
  benchlet estimate --model qwen3 --requests 1000 --context 8000 --per-million-tokens 0.35 -o json

The time is N ÷ the rate of the model's newest run, in it the fastest case of which 99 %
succeeded. The rate counts successes over the time that failed requests took as well, which are
sent again. The interval is where the next run lies in 95 of 100 cases, by the last runs with as
many workers, requests of about the same length and the same machine; it takes three of them.
Where neither price is given, the run's own `cost.perHour` counts.

Exit codes: 1 the workload exceeds the context window, 4 no such model or nothing measured of it.")]
pub struct EstimateVerb {
    /// The model's name, as `benchlet models` lists it
    #[arg(long, value_name = "MODEL")]
    pub model: String,
    /// Answers wanted
    #[arg(long, value_name = "N", value_parser = answers)]
    pub requests: PathBuf,
    /// Plan with the newest run with so many workers
    #[arg(long, value_name = "W", value_parser = clap::value_parser!(u64).range(1..))]
    pub workers: Option<u64>,
    #[command(flatten)]
    pub needs: Needs,
    /// How to print it
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// What a workload needs and costs, for `estimate` and `rank`.
#[derive(Debug, Args)]
pub struct Needs {
    /// Tokens that a prompt and its answer need together; models with a smaller window are refused
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u64).range(1..))]
    pub context: Option<u64>,
    /// What the machine costs an hour
    #[arg(long, value_name = "PRICE", value_parser = price, conflicts_with = "per_million_tokens")]
    pub per_hour: Option<f64>,
    /// What a million tokens cost, those of prompts and answers alike
    #[arg(long, value_name = "PRICE", value_parser = price)]
    pub per_million_tokens: Option<f64>,
    /// Plan with what was simulated, to try it out
    #[arg(long)]
    pub simulated: bool,
}

/// `--requests` of this verb is a number; of all others it is a directory. clap hands a global flag's value from
/// the verb to the flag, so that both have to be of one type.
pub fn answers(text: &str) -> Result<PathBuf, String> {
    match text.parse::<u64>() {
        Ok(1..) => Ok(PathBuf::from(text)),
        Ok(0) | Err(_) => Err("it is the number of requests, 1 or more".to_owned()),
    }
}

/// The number that [`answers`] let through.
///
/// # Errors
/// The directory of the flag before the verb.
pub fn count(requests: &Path) -> Result<u64, CliError> {
    requests.to_str().and_then(|text| text.parse().ok()).ok_or_else(|| {
        CliError::usage("--requests of this verb is a number of requests")
            .hint("the watched directory is not needed here")
    })
}

fn price(text: &str) -> Result<f64, String> {
    let price: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    if price.is_finite() && price >= 0.0 { Ok(price) } else { Err("a price is 0 or more".to_owned()) }
}

impl Needs {
    pub fn workload(&self, requests: u64) -> Workload {
        let by_token = self.per_million_tokens.map(Price::PerMillionTokens);
        Workload { requests, context: self.context, price: self.per_hour.map(Price::PerHour).or(by_token) }
    }
}

pub fn run(verb: &EstimateVerb, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    let store = state_dir::open(settings)?;
    let workload = verb.needs.workload(count(&verb.requests)?);
    let made = planning::estimate_model(&store, &verb.model, verb.workers, &workload, verb.needs.simulated)?;
    match verb.output {
        Some(Format::Json) => console.json(&planning_document::estimate(&made)),
        Some(Format::Yaml) => console.yaml(&planning_document::estimate(&made)),
        Some(Format::Name) => console.line(format!("model/{}", clean(&verb.model))),
        Some(Format::Wide) => print(&made, true, console),
        None => print(&made, false, console),
    }
}

fn print(made: &Estimate, wide: bool, console: &mut Console) -> Result<(), CliError> {
    let row = &made.basis;
    let asked = if made.requests == 1 { "1 request takes" } else { "requests take" };
    let count = if made.requests == 1 { String::new() } else { format!("{} ", made.requests) };
    let mark = if row.simulated { " (simulated)" } else { "" };
    console.line(format!("{}{mark}: {count}{asked} {}", clean(&row.model), long_time(made.seconds)))?;
    let mut line = |name: &str, text: String| console.line(format!("  {name:<11}{}", clean(&text)));
    line("exactly", exactly(made.seconds))?;
    match span(&made.spread) {
        Some(words) => {
            let (Spread::Known { runs, .. } | Spread::Unknown { runs }) = &made.spread;
            line("interval", format!("{words} (95 % of next runs, by the last {runs})"))?;
        }
        None => line("interval", "unknown".to_owned())?,
    }
    if let Some(why) = made.spread.why() {
        line("", why)?;
    }
    let workers = match row.workers {
        Some(1) => "1 worker".to_owned(),
        Some(workers) => format!("{workers} workers"),
        None => "a fixed rate".to_owned(),
    };
    line("rate", format!("{} requests a second at {workers}", rate(made.rate)))?;
    if let (Some(success), Some(sent)) = (percent(row.success()), made.sent) {
        line("success", format!("{success}, so about {sent:.0} are sent for {} answers", made.requests))?;
    }
    match made.cost {
        Cost::Known { .. } => {
            line("cost", format!("{}, {}", money(&made.cost).unwrap_or_default(), price_words(made)))?
        }
        Cost::TokensUnknown(_) => {
            line("cost", "unknown, as nobody counted the tokens of its requests".to_owned())?
        }
        Cost::NotPriced => {}
    }
    line(
        "context",
        row.context_window.map_or_else(|| "unknown".to_owned(), |window| format!("{window} tokens")),
    )?;
    let size = row.requests.map(|requests| format!(" of {requests} requests")).unwrap_or_default();
    line("based on", format!("{}{size}, {}", origin(row), day(row.created_at)))?;
    if let Some(notes) = &row.notes {
        line("", notes.clone())?;
    }
    if wide {
        let tokens =
            |tokens: Option<f64>| tokens.map_or_else(|| "?".to_owned(), |tokens| format!("{tokens:.0}"));
        line(
            "tokens",
            format!("{} in, {} out a request", tokens(row.prompt_tokens), tokens(row.completion_tokens)),
        )?;
        line("machine", row.hardware.clone().unwrap_or_else(|| "unknown".to_owned()))?;
    }
    made.remarks.iter().try_for_each(|remark| line("note", remark.clone()))
}

fn exactly(seconds: f64) -> String {
    format!("{seconds:.1} s, {:.2} h, {:.2} d", seconds / 3_600.0, seconds / 86_400.0)
}

fn price_words(made: &Estimate) -> String {
    match made.cost {
        Cost::Known { price: Price::PerHour(each), .. } => format!("at {each} an hour"),
        Cost::Known { price: Price::PerMillionTokens(each), .. } => format!("at {each} a million tokens"),
        Cost::TokensUnknown(_) | Cost::NotPriced => String::new(),
    }
}
