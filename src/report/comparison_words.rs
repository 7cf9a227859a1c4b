//! A comparison in sentences, the same for every format that people read. Rounds; judges nothing.

use crate::plan::compared_figure::{Policy, Row};
use crate::plan::comparison::{Comparison, EvidenceVerdict, FALSE_DISCOVERIES, Outcome};
use crate::plan::figure_evidence::Method;
use crate::request::gate::Rules;
use crate::request::measure::Measure;
use crate::run::load_words::{ms, short};
use crate::stats::evidence::Evidence;
use crate::stats::rank_shift::FEWEST;

/// A figure with its unit, as many places as it carries.
pub fn figure(measure: Measure, value: f64) -> String {
    let unit = if measure.is_share() { "%" } else { measure.unit() };
    format!("{} {unit}", number(measure, value))
}

/// The same before another one, which has the unit of both.
pub fn number(measure: Measure, value: f64) -> String {
    match measure {
        Measure::ErrorRate => format!("{:.2}", value * 100.0),
        Measure::Latency(..) => ms(value),
        Measure::PromptRate
        | Measure::GenerationRate
        | Measure::CombinedRate
        | Measure::OutputTokens
        | Measure::Requests
        | Measure::Goodput => short(value),
    }
}

/// `+25.3 %`; of an error rate in percentage points; `~` where it is next to nothing.
pub fn change(row: &Row) -> Option<String> {
    let change = row.change?;
    let unit = if row.measure == Measure::ErrorRate { "pp" } else { "%" };
    if change.abs() < 5e-5 {
        return Some("~".to_owned());
    }
    Some(format!("{:+.1} {unit}", change * 100.0))
}

/// `+20.1 to +30.4 %`
pub fn interval(row: &Row) -> Option<String> {
    let [low, high] = row.interval?;
    let unit = if row.measure == Measure::ErrorRate { "pp" } else { "%" };
    Some(format!("{:+.1} to {:+.1} {unit}", low * 100.0, high * 100.0))
}

/// `Regression`, `Inconclusive, 3 more`
pub fn evidence(row: &Row) -> String {
    match row.evidence {
        Evidence::Ok { .. } => "Ok".to_owned(),
        Evidence::Regression { .. } => "Regression".to_owned(),
        Evidence::Inconclusive { more_runs: Some(more) } => format!("Inconclusive, {more} more"),
        Evidence::Inconclusive { more_runs: None } => "Inconclusive".to_owned(),
    }
}

/// `p=0.029 n=4+4`, or how many requests within one run.
pub fn basis(row: &Row) -> String {
    let [before, after] = row.n;
    let n = if before == after { before.to_string() } else { format!("{before}+{after}") };
    match (row.method, row.p) {
        (Method::None, _) => format!("n={n}"),
        (_, Some(p)) => format!("p={p:.3} n={n}"),
        (Method::BlockBootstrap | Method::GroupBootstrap, None) => format!("within-run n={n}"),
        (Method::ExactRankTest | Method::RankTest | Method::ShareDifference, None) => format!("n={n}"),
    }
}

/// The limits of a figure: `fail 20%, warn 10%`.
pub fn limits(row: &Row) -> String {
    let Some(threshold) = row.threshold else { return String::new() };
    let one = |word: &str, limit: Option<crate::request::thresholds::Limit>| {
        limit.map(|limit| format!("{word} {}", limit.words()))
    };
    let both = [one("fail", threshold.fail), one("warn", threshold.warn)];
    both.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Rows under a threshold.
pub fn judged(found: &Comparison) -> impl Iterator<Item = &Row> {
    found.rows.iter().filter(|row| row.threshold.is_some())
}

/// The policy verdict with what it rests on.
pub fn policy(found: &Comparison) -> String {
    let Some(policy) = found.policy else { return "Not judged".to_owned() };
    let of_level = judged(found).filter(|row| row.policy == Some(policy));
    let told: Vec<String> = match policy {
        Policy::Pass => Vec::new(),
        Policy::Warn | Policy::Fail => of_level
            .map(|row| {
                // It is judged by itself.
                let itself = row.candidate.filter(|_| row.measure.is_share());
                let change = itself.map(|share| figure(row.measure, share)).or_else(|| change(row));
                format!("{} {} {} ({})", row.case, row.measure, change.unwrap_or_default(), limits(row))
            })
            .collect(),
    };
    let rest = if told.is_empty() { String::new() } else { format!(": {}", told.join("; ")) };
    format!("{}{rest}", policy.as_str())
}

/// The evidence verdict with what would settle it.
pub fn evidence_of_all(found: &Comparison, rules: &Rules) -> String {
    let margin = format!("{:.0} %", rules.margin * 100.0);
    match found.evidence {
        EvidenceVerdict::NotComparable => "NotComparable".to_owned(),
        EvidenceVerdict::Ok => format!("Ok: no figure got worse by more than {margin}"),
        EvidenceVerdict::Regression => {
            let worse = judged(found).filter_map(|row| match row.evidence {
                Evidence::Regression { at_least } => {
                    Some(format!("{} {} by at least {:.1} %", row.case, row.measure, at_least * 100.0))
                }
                Evidence::Ok { .. } | Evidence::Inconclusive { .. } => None,
            });
            format!("Regression: {}", worse.collect::<Vec<_>>().join("; "))
        }
        EvidenceVerdict::Inconclusive => match found.more_runs() {
            Some(more) => {
                format!("Inconclusive: about {more} more run{} a side would settle it", plural(more))
            }
            None if judged(found).any(|row| row.method == Method::None) => format!(
                "Inconclusive: figures without an interval need {FEWEST} runs a side (repeats, launches, or --runs)"
            ),
            None => "Inconclusive: too close to the margin for any reasonable number of runs".to_owned(),
        },
    }
}

fn plural(count: u32) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// How much was judged, and what may be chance.
pub fn judged_words(found: &Comparison) -> String {
    let mut words = format!("{} figure{} judged", found.judged, if found.judged == 1 { "" } else { "s" });
    if found.not_judged > 0 {
        words.push_str(&format!(", {} could not be", found.not_judged));
    }
    if found.withdrawn > 0 {
        words.push_str(&format!(
            "; {} withdrawn as {} of so many may be chance (false discovery rate {:.0} %)",
            found.withdrawn,
            if found.withdrawn == 1 { "it" } else { "they" },
            FALSE_DISCOVERIES * 100.0
        ));
    }
    words
}

/// Why the two are not comparable, what was said to vary, what only one side tells.
pub fn remarks(found: &Comparison) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(found.comparability.remarks.iter().cloned());
    if !found.comparability.unknown.is_empty() {
        lines.push(format!("known of one side only: {}", found.comparability.unknown.join(", ")));
    }
    lines.extend(found.comparability.notes.iter().map(|note| format!("note: {}", note.words())));
    if found.simulated {
        lines.push("both sides are simulated: every figure is made up".to_owned());
    }
    lines
}

/// One word for a whole comparison.
pub fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::NoRegression => "no regression",
        Outcome::Regression => "regression",
        Outcome::NotComparable => "not comparable",
    }
}

/// The geometric mean of candidate ÷ baseline − 1 over a figure's cases, as benchstat has it; `None` of fewer
/// than two, or where one has no ratio.
pub fn geometric_mean(rows: &[&Row]) -> Option<f64> {
    if rows.len() < 2 {
        return None;
    }
    let logs: Option<Vec<f64>> = rows
        .iter()
        .map(|row| {
            let (before, after) = (row.baseline?, row.candidate?);
            (before > 0.0 && after > 0.0).then(|| (after / before).ln())
        })
        .collect();
    let logs = logs?;
    Some((logs.iter().sum::<f64>() / logs.len() as f64).exp() - 1.0)
}
