//! `benchlet compare`: two sides against each other, with both verdicts and the exit codes of a gate.

use clap::{Args, ValueEnum};

use super::comparison_rules::JudgingFlags;
use super::comparison_sides::{self as sides, Found, Named};
use super::error::{CliError, Exit};
use super::output::Console;
use super::{comparison_table, state_dir};
use crate::plan::compared_figure::NoiseFloors;
use crate::plan::comparison::{Comparison, Outcome, compare};
use crate::report::{
    comparands, comparison_document, comparison_github, comparison_junit, comparison_markdown, judged_by,
};
use crate::request::gate::Rules;
use crate::settings::Settings;
use crate::store::Store;

/// Compares two runs, requests, baselines or result files: is it slower, and is that real?
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  benchlet compare load                        its newest run against its baseline
  benchlet compare main load                   the baseline `main` of it, and its newest run
  benchlet compare 3f2a9c1b 8d01e7aa           two runs
  benchlet compare before after --runs 5       the last five runs of two requests
  benchlet compare old.json new.json --strict  two result files
  benchlet compare before after --varies=-t    what differs on purpose
  benchlet compare load -o markdown >> \"$GITHUB_STEP_SUMMARY\"

A plain word is a request, a run or a baseline; `baseline/main` and `run/3f2a` say which. Two verdicts
are given: the policy, by thresholds (p95 latency: fail +20%, warn +10%; error rate: fail 1%; p50
latency and throughput: warn ±15%; llama-bench's rates: fail -20%, warn -10%), and the evidence, by
95 % intervals against the margin. Four runs a side (repeats, launches or --runs) are tested by ranks;
of one run a side percentiles are resampled in blocks, which says nothing of what differs between runs.

Exit codes, by the policy: 0 no regression, 1 regression, 2 error, 3 not comparable, 4 not found.
--strict adds warnings and whatever the evidence leaves open.")]
pub struct Compare {
    /// The baseline; alone: the candidate, whose baseline is looked up
    pub a: String,
    /// The candidate
    pub b: Option<String>,
    #[command(flatten)]
    pub judging: JudgingFlags,
    /// Of a request, so many of its newest runs
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub runs: u32,
    /// Print nothing unless there is a regression
    #[arg(short, long)]
    pub quiet: bool,
    /// How to print it
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<ComparisonFormat>,
}

/// How a comparison is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ComparisonFormat {
    /// The table with every figure, and all facts of both sides
    Wide,
    Json,
    Yaml,
    /// A table for a pull request or a job summary
    Markdown,
    /// Annotations of a GitHub workflow
    Github,
    /// A test report
    Junit,
    /// Bencher Metric Format, of the candidate
    Bmf,
}

pub fn run(verb: &Compare, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    let store = state_dir::open_if_there(settings)?;
    let (before, after, rules) = both(verb, store.as_ref())?;
    let noise = noise(store.as_ref(), &after)?;
    let everything = match verb.output {
        Some(ComparisonFormat::Wide | ComparisonFormat::Json | ComparisonFormat::Yaml) => true,
        Some(
            ComparisonFormat::Markdown
            | ComparisonFormat::Github
            | ComparisonFormat::Junit
            | ComparisonFormat::Bmf,
        )
        | None => false,
    };
    let found = compare(&before.side, &after.side, &rules, &noise, everything);
    let outcome = found.outcome(rules.strict);
    if !(verb.quiet && outcome == Outcome::NoRegression) {
        print(verb.output, &found, [&before, &after], store.as_ref(), &rules, console)?;
    }
    match outcome {
        Outcome::NoRegression => Ok(()),
        Outcome::Regression => Err(CliError::silent(Exit::No)),
        Outcome::NotComparable => Err(CliError::silent(Exit::NotComparable)),
    }
}

fn print(
    format: Option<ComparisonFormat>,
    found: &Comparison,
    [before, after]: [&Found; 2],
    store: Option<&Store>,
    rules: &Rules,
    console: &mut Console,
) -> Result<(), CliError> {
    match format {
        None => comparison_table::print(found, [&before.side, &after.side], rules, false, console),
        Some(ComparisonFormat::Wide) => {
            comparison_table::print(found, [&before.side, &after.side], rules, true, console)
        }
        Some(ComparisonFormat::Json) => console.json(&comparison_document::document(found, rules)),
        Some(ComparisonFormat::Yaml) => console.yaml(&comparison_document::document(found, rules)),
        Some(ComparisonFormat::Markdown) => console.raw(comparison_markdown::render(found, rules).as_bytes()),
        Some(ComparisonFormat::Github) => console.raw(comparison_github::render(found, rules).as_bytes()),
        Some(ComparisonFormat::Junit) => {
            let text = comparison_junit::render(found, rules)
                .map_err(|error| CliError::usage(format!("the report cannot be written: {error}")))?;
            console.raw(text.as_bytes())
        }
        Some(ComparisonFormat::Bmf) => console.json(&sides::bencher(after, store)?),
    }
}

/// Both sides, and the rules that the candidate's gate begins with.
fn both(verb: &Compare, store: Option<&Store>) -> Result<(Found, Found, Rules), CliError> {
    let Some(second) = &verb.b else {
        let store = needed(store)?;
        let after = one(verb, Some(store), &verb.a, None)?;
        let (name, rules) = gate_of(store, &after)?;
        let row = after.row.as_ref().ok_or_else(|| {
            CliError::usage("a result file has no baseline of its own").hint("benchlet compare BASELINE FILE")
        })?;
        let baseline = store
            .baseline_for(&name, &row.request, &row.service)?
            .ok_or_else(|| sides::no_baseline(store, &name))?;
        return Ok((sides::of_baseline(store, &baseline)?, after, verb.judging.over(rules)));
    };
    let after = one(verb, store, second, None)?;
    let before = one(verb, store, &verb.a, Some(&after))?;
    let rules = match store {
        Some(store) => gate_of(store, &after)?.1,
        None => Rules::default(),
    };
    Ok((before, after, verb.judging.over(rules)))
}

fn needed(store: Option<&Store>) -> Result<&Store, CliError> {
    store.ok_or_else(|| {
        CliError::not_found("there is no database yet, so nothing has a baseline")
            .hint("`benchlet run` measures something, `benchlet baseline set` pins it")
    })
}

/// One side. `other` is the candidate, where the baseline is looked for.
fn one(verb: &Compare, store: Option<&Store>, text: &str, other: Option<&Found>) -> Result<Found, CliError> {
    let of_request = other.and_then(|found| found.row.as_ref());
    match (sides::named(store, text)?, store) {
        (Named::File, _) => sides::of_file(text),
        (Named::Run(row), Some(store)) => {
            let label = comparands::label_of(&row);
            sides::of_rows(store, vec![*row], &label)
        }
        (Named::Request(name), Some(store)) => {
            // Of the same request on both sides the runs before are meant.
            let oldest = other.filter(|found| found.row.as_ref().is_some_and(|row| row.request == name));
            let oldest = oldest.and_then(|found| found.side.runs.first());
            let before = match oldest {
                Some(id) => store.find_run(id)?,
                None => None,
            };
            let rows = sides::newest_runs(store, &name, verb.runs, before.as_ref())?;
            let label = if before.is_some() { format!("{name} before") } else { name.clone() };
            sides::of_rows(store, rows, &label)
        }
        (Named::Baselines(found), Some(store)) => {
            let fits = found.iter().find(|baseline| {
                of_request.is_some_and(|row| {
                    let subject = baseline.scope.subject();
                    subject == row.request || subject == row.service
                })
            });
            match (fits, found.as_slice()) {
                (Some(baseline), _) | (None, [baseline]) => sides::of_baseline(store, baseline),
                (None, several) => {
                    let of: Vec<&str> = several.iter().map(|baseline| baseline.scope.subject()).collect();
                    Err(CliError::usage(format!("there are several baselines {text}: of {}", of.join(", ")))
                        .hint("name the run instead; `benchlet baseline list` shows them"))
                }
            }
        }
        (Named::Run(_) | Named::Request(_) | Named::Baselines(_), None) => Err(CliError::not_found(text)),
    }
}

/// The baseline's name and the rules that a candidate is judged by; `main` and the defaults for a file.
fn gate_of(store: &Store, after: &Found) -> Result<(String, Rules), CliError> {
    match &after.row {
        Some(row) => Ok(judged_by::gate_of(store, row)?),
        None => Ok(("main".to_owned(), Rules::default())),
    }
}

fn noise(store: Option<&Store>, after: &Found) -> Result<NoiseFloors, CliError> {
    match (store, &after.row) {
        (Some(store), Some(row)) => Ok(judged_by::noise_of(store, row)?),
        (None, _) | (_, None) => Ok(NoiseFloors::new()),
    }
}
