//! A comparison on the terminal: the figures as benchstat shows them, the verdicts, and what differs between the
//! two sides.

use std::collections::BTreeSet;

use super::error::CliError;
use super::output::{Cell, Console, Style, Table, clean};
use crate::plan::compared_figure::{Policy, Row};
use crate::plan::comparison::{Comparison, Outcome, Side};
use crate::report::comparison_facts;
use crate::report::comparison_words as words;
use crate::request::gate::Rules;
use crate::run::comparand::Comparand;
use crate::stats::evidence::Evidence;

/// Prints everything; `wide` with figures that nobody judges and facts that agree.
///
/// # Errors
/// The output's own.
pub fn print(
    found: &Comparison,
    sides: [&Comparand; 2],
    rules: &Rules,
    wide: bool,
    console: &mut Console,
) -> Result<(), CliError> {
    console.line(format!("baseline   {}", side(&found.baseline)))?;
    console.line(format!("candidate  {}", side(&found.candidate)))?;
    console.line("")?;
    let rows: Vec<&Row> = found.rows.iter().filter(|row| wide || row.threshold.is_some()).collect();
    if !rows.is_empty() {
        figures(&rows).print(console)?;
        console.line("")?;
    }
    let outcome = found.outcome(rules.strict);
    let style = match outcome {
        Outcome::NoRegression => Style::Good,
        Outcome::Regression => Style::Bad,
        Outcome::NotComparable => Style::Busy,
    };
    let policy = console.painted(&clean(&words::policy(found)), style);
    console.line(format!("policy    {policy}"))?;
    console.line(format!("evidence  {}", clean(&words::evidence_of_all(found, rules))))?;
    console.line(format!("          {}", clean(&words::judged_words(found))))?;
    for reason in &found.reasons {
        console.line(format!("          {}", clean(reason)))?;
    }
    facts(found, sides, wide, console)?;
    for line in words::remarks(found) {
        console.line(clean(&line).as_ref())?;
    }
    if outcome == Outcome::NotComparable && !found.comparability.differences.is_empty() {
        let names: Vec<&str> =
            found.comparability.differences.iter().map(|difference| difference.fact.as_str()).collect();
        console.line(format!("If that is what you compare: --varies={}", names.join(",")))?;
    }
    Ok(())
}

fn side(side: &Side) -> String {
    let runs = match side.runs.as_slice() {
        [] => String::new(),
        [run] => format!("  run {}", run.chars().take(8).collect::<String>()),
        several => format!("  {} runs", several.len()),
    };
    let at = side.measured_at.as_deref().map(|at| format!("  {at}")).unwrap_or_default();
    format!("{}{runs}{at}", clean(&side.label))
}

/// A row a figure and case, with the geometric mean of the changes where a figure has several.
pub fn figures(rows: &[&Row]) -> Table {
    let mut table = Table::new(&[
        "FIGURE",
        "CASE",
        "BASELINE",
        "CANDIDATE",
        "CHANGE",
        "95 % INTERVAL",
        "BASIS",
        "EVIDENCE",
        "POLICY",
    ]);
    let mut seen = BTreeSet::new();
    for first in rows {
        if !seen.insert(first.measure) {
            continue;
        }
        let of_measure: Vec<&Row> = rows.iter().copied().filter(|row| row.measure == first.measure).collect();
        for row in &of_measure {
            table.row(cells(row));
        }
        if let Some(mean) = words::geometric_mean(&of_measure) {
            let mean = format!("{:+.1} %", mean * 100.0);
            let mut cells = vec![Cell::new(first.measure.to_string()), Cell::new("geomean")];
            cells.extend([Cell::new(""), Cell::new(""), Cell::new(mean)]);
            table.row(cells);
        }
    }
    table
}

fn cells(row: &Row) -> Vec<Cell> {
    let value = |value: Option<f64>| Cell::maybe(value.map(|value| words::figure(row.measure, value)));
    let evidence = match row.evidence {
        Evidence::Ok { .. } => Style::Good,
        Evidence::Regression { .. } => Style::Bad,
        Evidence::Inconclusive { .. } => Style::Busy,
    };
    let policy = match row.policy {
        Some(Policy::Pass) => Cell::new("Pass").style(Style::Good),
        Some(Policy::Warn) => Cell::new("Warn").style(Style::Busy),
        Some(Policy::Fail) => Cell::new("Fail").style(Style::Bad),
        None => Cell::new("-"),
    };
    vec![
        Cell::new(row.measure.to_string()),
        Cell::new(&row.case),
        value(row.baseline),
        value(row.candidate),
        Cell::maybe(words::change(row)),
        Cell::maybe(words::interval(row)),
        Cell::new(words::basis(row)).style(Style::Dim),
        Cell::new(words::evidence(row)).style(evidence),
        policy,
    ]
}

/// What differs in parameters and environment, marked; with `wide` also what agrees.
fn facts(
    found: &Comparison,
    sides: [&Comparand; 2],
    wide: bool,
    console: &mut Console,
) -> Result<(), CliError> {
    let mut table = Table::new(&["", "FACT", "BASELINE", "CANDIDATE"]);
    for fact in comparison_facts::facts(sides, &found.comparability) {
        if !wide && !fact.differs {
            continue;
        }
        let (mark, style) = match (fact.differs, fact.declared) {
            (true, true) => ("~", Style::Busy),
            (true, false) => ("≠", Style::Bad),
            (false, _) => ("", Style::Plain),
        };
        let cell = |text: Option<String>| match text {
            Some(text) => Cell::new(shortened(&text)).style(style),
            None => Cell::new("-").style(Style::Dim),
        };
        let marked = Cell::new(mark).style(style);
        table.row(vec![marked, Cell::new(&fact.fact), cell(fact.baseline), cell(fact.candidate)]);
    }
    if table.is_empty() {
        return Ok(());
    }
    console.line("")?;
    table.print(console)
}

/// Hashes and command lines are longer than any terminal.
fn shortened(text: &str) -> String {
    const MOST: usize = 60;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    text.chars().take(MOST - 1).chain(['…']).collect()
}
