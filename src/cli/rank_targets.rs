//! `benchlet rank --run`: which target of a load test is best in which metric, with the evidence for it.

use super::error::CliError;
use super::output::{Cell, Console, Format, Style, Table, clean};
use super::run_selection;
use crate::plan::target_ranking::{Candidate, MeasureRanking, TargetRanking, Verdict};
use crate::report::planning_document::verdict_word;
use crate::report::{planning, planning_document};
use crate::request::measure::Measure;
use crate::run::load_words::{ms, short};
use crate::store::Store;

/// Metrics of the narrow table.
const USUAL: [&str; 10] = [
    "output_tokens_per_s",
    "requests_per_s",
    "goodput",
    "ttft_p50",
    "ttft_p95",
    "tpot_p50",
    "itl_p95",
    "icl_p95",
    "e2e_p50",
    "e2e_p95",
];

pub fn run(store: &Store, name: &str, format: Option<Format>, console: &mut Console) -> Result<(), CliError> {
    let run = run_selection::run_of(store, name)?;
    let ranking = planning::rank_targets(store, &run)?;
    match format {
        Some(Format::Json) => console.json(&planning_document::targets(&run, &ranking))?,
        Some(Format::Yaml) => console.yaml(&planning_document::targets(&run, &ranking))?,
        Some(Format::Name) => {
            for target in &ranking.targets {
                console.line(format!("target/{}", clean(target)))?;
            }
        }
        Some(Format::Wide) => print(&ranking, true, console)?,
        None => print(&ranking, false, console)?,
    }
    if run.simulated && matches!(format, Some(Format::Wide) | None) {
        console.line("The server was simulated; these figures are made up.")?;
    }
    if ranking.rankings.is_empty() {
        return Err(CliError::no("no case is valid and met its objectives, so no target is best")
            .hint("`benchlet describe` shows what each of them missed"));
    }
    Ok(())
}

fn print(ranking: &TargetRanking, wide: bool, console: &mut Console) -> Result<(), CliError> {
    let several = ranking.rankings.iter().any(|one| one.workload.is_some());
    let mut headers = vec!["METRIC", "BEST", "VALUE", "95 % INTERVAL", "VERDICT", "CASE", "OTHERS"];
    if several {
        headers.insert(0, "WORKLOAD");
    }
    let mut table = Table::new(&headers);
    for one in &ranking.rankings {
        if !wide && !USUAL.contains(&one.measure.to_string().as_str()) {
            continue;
        }
        let Some((first, others)) = one.candidates.split_first() else { continue };
        let mut cells = row(one, first, others);
        if several {
            cells.insert(0, Cell::maybe(one.workload.as_ref()));
        }
        table.row(cells);
    }
    if !table.is_empty() {
        table.print(console)?;
    }
    for (case, why) in &ranking.left_out {
        console.line(format!("{}: left out: {}", clean(case), clean(&why.words())))?;
    }
    if ranking.objectives.is_empty() {
        console.line("The request has no slo, so every valid case counts.")?;
    } else {
        console.line(format!("Only cases that met {} count.", ranking.objectives.join(", ")))?;
    }
    Ok(())
}

fn row(ranking: &MeasureRanking, first: &Candidate, others: &[Candidate]) -> Vec<Cell> {
    let measure = ranking.measure;
    let style = match ranking.verdict {
        Verdict::Better => Style::Good,
        Verdict::Tie { .. } | Verdict::Unproven => Style::Busy,
        Verdict::Alone => Style::Dim,
    };
    let others: Vec<String> = others
        .iter()
        .map(|one| {
            let bounds =
                bounds(measure, one.interval).map(|bounds| format!(" ({bounds})")).unwrap_or_default();
            format!("{} {}{bounds}", one.target, figure(measure, one.value))
        })
        .collect();
    vec![
        Cell::new(measure.to_string()),
        Cell::new(&first.target),
        Cell::new(format!("{} {}", figure(measure, first.value), measure.unit())),
        Cell::maybe(bounds(measure, first.interval)),
        Cell::new(verdict_word(&ranking.verdict)).style(style),
        Cell::new(&first.label),
        Cell::maybe(Some(others.join(", "))),
    ]
}

fn figure(measure: Measure, value: f64) -> String {
    match measure {
        Measure::OutputTokens
        | Measure::Requests
        | Measure::Goodput
        | Measure::ErrorRate
        | Measure::PromptRate
        | Measure::GenerationRate
        | Measure::CombinedRate => short(value),
        Measure::Latency(..) => ms(value),
    }
}

fn bounds(measure: Measure, interval: Option<[f64; 2]>) -> Option<String> {
    interval.map(|[low, high]| format!("{}–{}", figure(measure, low), figure(measure, high)))
}
