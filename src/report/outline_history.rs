//! The headline figure over the last runs: its plot, and where it changed, in words.

use super::content::{Past, Report};
use super::outline::Block;
use super::trend_plot::{self, Words};
use super::trend_words::percentage;
use crate::plan::trend::{Point, Series, Trend, trends};
use crate::request::load_test::{Metric, Statistic};
use crate::request::measure::Measure;
use crate::run::facts::Facts;
use crate::run::load_words::short;

/// Runs with the same figure as the newest one that has any, with its name.
pub struct Known<'a> {
    metric: &'a str,
    /// Of the runs with a value, oldest first.
    trend: Trend,
}

pub fn same_figure(past: &[Past]) -> Option<Known<'_>> {
    let metric = past.iter().rev().find_map(|run| run.metric.as_deref())?;
    let same = past.iter().filter(|run| run.metric.as_deref() == Some(metric));
    let points = same.filter_map(|run| {
        let (run, at, value) = (run.id.clone(), run.completed_at.clone(), run.value?);
        Some(Point { run, at, value, facts: Facts::default(), accepted: false })
    });
    let series = Series { case: metric.to_owned(), measure: measure_of(metric), points: points.collect() };
    let trend = trends(vec![series]).trends.pop()?;
    Some(Known { metric, trend })
}

/// What a headline figure is of, as far as its direction goes.
fn measure_of(metric: &str) -> Measure {
    if metric.ends_with("ms") {
        Measure::Latency(Metric::Ttft, Statistic::P50)
    } else {
        Measure::OutputTokens
    }
}

pub fn figure(report: &Report, known: &Option<Known<'_>>) -> Option<Block> {
    let known = known.as_ref()?;
    let title = format!("{} over the last runs", known.metric);
    let words = Words { title, name: known.metric, unit: known.metric, simulated: report.simulated };
    Some(Block::Figures(vec![trend_plot::figure(&known.trend, words)?]))
}

/// Where it stepped, in words.
pub fn changes(known: &Option<Known<'_>>) -> Option<Block> {
    let known = known.as_ref().filter(|known| known.trend.found)?;
    let lines = known.trend.changes.iter().map(|change| {
        format!(
            "{} step at run {}, {}: {} to {} {}{}",
            if change.worse { "A worse" } else { "A better" },
            change.run.get(..8).unwrap_or(&change.run),
            change.at.as_deref().and_then(|at| at.get(..10)).unwrap_or("unknown day"),
            short(change.step.before),
            short(change.step.after),
            known.metric,
            percentage(&change.step),
        )
    });
    Some(Block::List(lines.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(values: &[f64], metric: &str) -> Vec<Past> {
        let one = |(at, value): (usize, &f64)| Past {
            id: format!("0000000{at}-run"),
            generation: 1,
            phase: "Completed",
            completed_at: Some(format!("2026-03-{:02}T08:00:00Z", at + 1)),
            metric: Some(metric.to_owned()),
            value: Some(*value),
            stddev: None,
            case: None,
            current: false,
        };
        values.iter().enumerate().map(one).collect()
    }

    fn lines(values: &[f64], metric: &str) -> Vec<String> {
        match changes(&same_figure(&past(values, metric))) {
            Some(Block::List(lines)) => lines,
            Some(_) => panic!("no list"),
            None => Vec::new(),
        }
    }

    #[test]
    fn a_step_is_told_with_its_run_its_day_and_which_way_it_went() {
        let values: Vec<f64> =
            (0..24).map(|at| if at < 14 { 100.0 } else { 80.0 } + f64::from(at * 7 % 5) * 0.2).collect();
        let down = lines(&values, "tok/s");
        assert_eq!(down.len(), 1, "{down:?}");
        assert!(
            down[0].starts_with("A worse step at run 00000001, 2026-03-15: 100.4 to 80.4 tok/s"),
            "{down:?}"
        );
        assert!(lines(&values, "ttft p50 ms")[0].starts_with("A better step"));
    }

    #[test]
    fn a_steady_history_has_no_line_of_levels() {
        let values: Vec<f64> = (0..24).map(|at| 100.0 + f64::from(at * 7 % 5)).collect();
        assert_eq!(lines(&values, "tok/s"), Vec::<String>::new());
        assert_eq!(lines(&[1.0], "tok/s"), Vec::<String>::new());
    }
}
