//! A report for people: headings, tables, texts and plots in their order, the same for every format that
//! is read rather than parsed. Chooses and rounds; escapes nothing, which is the renderers'.

use super::content::{Report, Results};
use super::plot::Figure;
use super::{outline_bench, outline_conversation, outline_history, outline_load, outline_setup};
use crate::run::clock::human_ms;
use crate::run::load_words::{ms, short};

/// A piece of a report. Texts are foreign until a renderer has escaped them.
#[derive(Debug, Clone)]
pub enum Block {
    /// Level 1 is the title.
    Heading(u8, String),
    /// What must not be overlooked.
    Notice(String),
    Text(String),
    /// Names and values.
    Facts(Vec<(String, String)>),
    List(Vec<String>),
    Table(Table),
    /// Text as it is.
    Verbatim(String),
    /// Side by side where there is room. Formats without pictures leave them out.
    Figures(Vec<Figure>),
    /// A section of pictures alone, with its heading.
    Gallery(String, Vec<Figure>),
    /// What only some readers want.
    Fold(String, Vec<Block>),
}

#[derive(Debug, Clone)]
pub struct Table {
    pub title: String,
    /// Every figure in it is made up.
    pub simulated: bool,
    pub columns: Vec<Column>,
    /// As many cells as columns.
    pub rows: Vec<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    /// Numbers stand to the right.
    pub number: bool,
}

pub const fn words(name: &'static str) -> Column {
    Column { name, number: false }
}

pub const fn number(name: &'static str) -> Column {
    Column { name, number: true }
}

/// A table of the report's own figures, where there is a row to show.
pub fn table(report: &Report, title: &str, columns: Vec<Column>, rows: Vec<Vec<String>>) -> Option<Block> {
    if rows.is_empty() {
        return None;
    }
    Some(Block::Table(Table { title: title.to_owned(), simulated: report.simulated, columns, rows }))
}

/// What is shown where nothing is known.
pub const UNKNOWN: &str = "—";

pub fn or_unknown(text: Option<String>) -> String {
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| UNKNOWN.to_owned())
}

/// `low–high`, or the mark for unknown where the samples were too few.
pub fn interval(bounds: Option<[f64; 2]>, show: fn(f64) -> String) -> String {
    or_unknown(bounds.map(|[low, high]| format!("{}–{}", show(low), show(high))))
}

/// The whole report.
pub fn blocks(report: &Report) -> Vec<Block> {
    let mut blocks = vec![Block::Heading(1, format!("{}: {}", report.request.name, report.request.kind))];
    if report.simulated {
        blocks.push(Block::Notice(SIMULATED.to_owned()));
    }
    blocks.push(Block::Facts(run_facts(report)));
    blocks.push(Block::Heading(2, "Summary".to_owned()));
    blocks.extend(conditions(report));
    blocks.extend(measured(report));
    history(report, &mut blocks);
    outline_setup::system(report.system.as_ref(), &mut blocks);
    outline_setup::configuration(report, &mut blocks);
    blocks
}

/// What the run measured, without what is around it.
pub fn measured(report: &Report) -> Vec<Block> {
    let mut blocks = Vec::new();
    match &report.results {
        Results::LlamaBench { cases } => outline_bench::cases(report, cases, &mut blocks),
        Results::LoadTest { cases } => outline_load::cases(report, cases, &mut blocks),
        Results::Conversation { cases } => outline_conversation::cases(report, cases, &mut blocks),
    }
    blocks
}

const SIMULATED: &str = "Simulated: no model was loaded, every figure in this report is made up.";

fn run_facts(report: &Report) -> Vec<(String, String)> {
    let run = &report.run;
    let mut ended = if run.reason == run.phase {
        run.phase.to_owned()
    } else {
        format!("{} ({})", run.phase, run.reason)
    };
    if !run.message.is_empty() {
        ended.push_str(&format!(": {}", run.message));
    }
    let facts = [
        ("Result", report.summary.headline.clone()),
        ("Ended as", Some(ended)),
        ("Hint", run.hint.clone()),
        ("Completed", run.completed_at.clone()),
        ("Took", run.took_ms.map(human_ms)),
        ("Request", Some(format!("{}, generation {}", report.request.path, report.request.generation))),
        ("Run", Some(run.id.clone())),
        (
            "Attempt",
            (run.attempt > 1).then(|| format!("{}; earlier ones did not reach the end", run.attempt)),
        ),
    ];
    known(facts)
}

fn conditions(report: &Report) -> Option<Block> {
    let rows: Vec<Vec<String>> = report
        .summary
        .conditions
        .iter()
        .map(|condition| {
            let message = or_unknown(Some(condition.message.clone()));
            vec![condition.kind.to_owned(), condition.status.to_owned(), condition.reason.clone(), message]
        })
        .collect();
    table(
        report,
        "Conditions",
        vec![words("Condition"), words("Status"), words("Reason"), words("Message")],
        rows,
    )
}

/// The tool's last words, where the run did not succeed.
pub fn output_tail(report: &Report) -> Option<Block> {
    let tail = report.tail.as_ref().filter(|tail| !tail.is_empty() && report.run.phase != "Completed")?;
    Some(Block::Fold("Last lines of output".to_owned(), vec![Block::Verbatim(tail.clone())]))
}

fn history(report: &Report, blocks: &mut Vec<Block>) {
    let past = &report.history;
    if past.len() < 2 {
        return;
    }
    blocks.push(Block::Heading(2, "History".to_owned()));
    let known = outline_history::same_figure(past);
    blocks.extend(outline_history::figure(report, &known));
    blocks.extend(outline_history::changes(&known));
    let rows = past
        .iter()
        .rev()
        .map(|run| {
            let mark = if run.current { " (this one)" } else { "" };
            let spread = run.stddev.map(|stddev| format!(" ± {}", short(stddev))).unwrap_or_default();
            let value = run.value.zip(run.metric.as_ref());
            vec![
                format!("{}{mark}", run.id.get(..8).unwrap_or(&run.id)),
                run.generation.to_string(),
                run.phase.to_owned(),
                or_unknown(run.completed_at.clone()),
                or_unknown(value.map(|(value, metric)| format!("{}{spread} {metric}", short(value)))),
                or_unknown(run.case.clone()),
            ]
        })
        .collect();
    blocks.extend(table(
        report,
        "The request's last runs, newest first",
        vec![
            words("Run"),
            number("Generation"),
            words("Ended as"),
            words("Completed"),
            number("Best figure"),
            words("Of the case"),
        ],
        rows,
    ));
}

/// A rate that may be unknown.
pub fn rate_of(value: Option<f64>) -> String {
    or_unknown(value.map(short))
}

/// Those of the facts that are known.
pub fn known<const N: usize>(facts: [(&str, Option<String>); N]) -> Vec<(String, String)> {
    facts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// Milliseconds of what may be unknown.
pub fn ms_of(value: Option<f64>) -> String {
    or_unknown(value.map(ms))
}
