//! What `describe` says of gates, baselines and comparisons: what is asked for in words, and the last verdict with
//! its figures.

use super::comparison_table;
use super::error::CliError;
use super::output::{Console, Style, clean};
use super::phase_words::short_id;
use crate::plan::compared_figure::Row;
use crate::report::comparison_words as words;
use crate::request::baseline::{Baseline, TiedTo};
use crate::request::gate::{ComparedWith, Comparison, Gate, Rules, RunSource};
use crate::store::Store;
use crate::store::judgements::Judgement;

pub fn of_baseline(spec: &Baseline) -> Vec<(&'static str, String)> {
    let tied_to = match spec.tied_to {
        TiedTo::Request => "the runs of its request",
        TiedTo::Service => "all runs of its service",
    };
    vec![("name", spec.name.clone()), ("from", source(&spec.source)), ("for", tied_to.to_owned())]
}

pub fn of_comparison(spec: &Comparison) -> Vec<(&'static str, String)> {
    let baseline = match &spec.baseline {
        ComparedWith::Baseline(name) => format!("the baseline {name}"),
        ComparedWith::Run(of) => source(of),
    };
    let mut lines = vec![("baseline", baseline), ("candidate", source(&spec.candidate))];
    lines.extend(rules(&spec.rules));
    lines
}

pub fn of_gate(gate: &Gate) -> String {
    let mut text = format!("against {}", gate.baseline);
    for (name, value) in rules(&gate.rules) {
        text.push_str(&format!(", {name} {value}"));
    }
    text
}

fn source(of: &RunSource) -> String {
    match of {
        RunSource::Run(id) => format!("run {}", short_id(*id)),
        RunSource::LatestOf { request } => format!("the newest completed run of {request}"),
    }
}

/// Those that are not as by default.
fn rules(rules: &Rules) -> Vec<(&'static str, String)> {
    let asked: Vec<String> = rules.thresholds.asked().map(|subject| subject.to_string()).collect();
    let mut lines = Vec::new();
    if rules.margin != Rules::MARGIN {
        lines.push(("margin", format!("{} %", rules.margin * 100.0)));
    }
    if !asked.is_empty() {
        lines.push(("thresholds", asked.join(", ")));
    }
    if !rules.varies.is_empty() {
        lines.push(("varies", rules.varies.join(", ")));
    }
    if rules.strict {
        lines.push(("strict", "true".to_owned()));
    }
    lines
}

/// The newest judgement of a request, with every figure under a threshold.
///
/// # Errors
/// The store's, or the output's own.
pub fn verdict(store: &Store, request: &str, console: &mut Console) -> Result<(), CliError> {
    let Some(judged) = store.judgements(request, 1)?.pop() else { return Ok(()) };
    let title = console.painted("Verdict:", Style::Bold);
    console.line(title)?;
    let Judgement { run, against, comparison, .. } = &judged;
    console.line(format!("  Run:         {} against {}", short_id(*run), clean(against)))?;
    let found = match comparison {
        Ok(found) => found,
        Err(why) => return console.line(format!("  None:        {}", clean(why))),
    };
    console.line(format!("  Policy:      {}", clean(&words::policy(found))))?;
    let margin = found.rows.iter().map(|row| row.margin).fold(Rules::MARGIN, f64::max);
    let rules = Rules { margin, ..Rules::default() };
    console.line(format!("  Evidence:    {}", clean(&words::evidence_of_all(found, &rules))))?;
    for reason in &found.reasons {
        console.line(format!("  Because:     {}", clean(reason)))?;
    }
    let rows: Vec<&Row> = words::judged(found).collect();
    if rows.is_empty() {
        return Ok(());
    }
    comparison_table::figures(&rows).indented(2).print(console)
}
