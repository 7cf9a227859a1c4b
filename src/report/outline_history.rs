//! The headline figure over the last runs: its plot with the levels that it had, and where it changed.

use super::content::{Past, Report};
use super::outline::Block;
use super::plot::{Chart, Curve, Figure, Mark, Plot, Scale};
use crate::plan::trend::{Point, Series, Trend, trends};
use crate::request::load_test::{Metric, Statistic};
use crate::request::measure::Measure;
use crate::run::facts::Facts;
use crate::run::load_words::short;

/// Runs with the same figure as the newest one that has any, with its name.
pub struct Known<'a> {
    metric: &'a str,
    /// With a value, oldest first.
    runs: Vec<(&'a Past, f64)>,
    trend: Trend,
}

pub fn same_figure(past: &[Past]) -> Option<Known<'_>> {
    let metric = past.iter().rev().find_map(|run| run.metric.as_deref())?;
    let same = past.iter().filter(|run| run.metric.as_deref() == Some(metric));
    let runs: Vec<(&Past, f64)> = same.filter_map(|run| Some((run, run.value?))).collect();
    let points = runs.iter().map(|(run, value)| Point {
        run: run.id.clone(),
        at: run.completed_at.clone(),
        value: *value,
        facts: Facts::default(),
        accepted: false,
    });
    let series = Series { case: metric.to_owned(), measure: measure_of(metric), points: points.collect() };
    let trend = trends(vec![series]).trends.pop()?;
    Some(Known { metric, runs, trend })
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
    let known = known.as_ref().filter(|known| known.runs.len() >= 2)?;
    let points: Vec<[f64; 2]> =
        (1..).zip(&known.runs).map(|(at, (_, value))| [f64::from(at), *value]).collect();
    // Not from zero: what is looked for here is a change.
    let values = || points.iter().map(|point| point[1]);
    let (low, high) = (values().reduce(f64::min)?, values().reduce(f64::max)?);
    let room = (high - low).max(high * 0.05);
    let ticks = (1..).zip(&known.runs).map(|(at, (run, _))| {
        let day = run.completed_at.as_deref().and_then(|at| at.get(..10)).unwrap_or_default();
        (f64::from(at), day.to_owned())
    });
    let ticks = ticks.collect();
    let mut curves =
        vec![Curve { name: known.metric.to_owned(), points, mark: Mark::LineAndDots, colour: 0 }];
    if known.trend.found {
        let points = levels(&known.trend, known.runs.len());
        curves.push(Curve { name: "level".to_owned(), points, mark: Mark::Line, colour: 1 });
    }
    let plot = Plot {
        x_title: "runs, oldest first".to_owned(),
        y_title: known.metric.to_owned(),
        x_scale: Scale::Linear,
        x_ticks: Some(ticks),
        y_range: Some([(low - room).max(0.0), high + room]),
        curves,
    };
    Some(Block::Figures(vec![Figure {
        title: format!("{} over the last runs", known.metric),
        simulated: report.simulated,
        chart: Chart::Lines(plot),
    }]))
}

/// A line that jumps between two runs.
fn levels(trend: &Trend, runs: usize) -> Vec<[f64; 2]> {
    let Some(first) = trend.changes.first() else { return Vec::new() };
    let mut points = vec![[1.0, first.step.before]];
    for change in &trend.changes {
        let between = change.step.at as f64 + 0.5;
        points.extend([[between, change.step.before], [between, change.step.after]]);
    }
    let last = points.last().map_or(first.step.before, |point| point[1]);
    points.push([runs as f64, last]);
    points
}

/// Where it stepped, in words.
pub fn changes(known: &Option<Known<'_>>) -> Option<Block> {
    let known = known.as_ref().filter(|known| known.trend.found)?;
    let lines = known.trend.changes.iter().map(|change| {
        let part = change.step.after / change.step.before - 1.0;
        let part = if part.is_finite() { format!(" ({:+.1} %)", part * 100.0) } else { String::new() };
        format!(
            "{} step at run {}, {}: {} to {} {}{part}",
            if change.worse { "A worse" } else { "A better" },
            change.run.get(..8).unwrap_or(&change.run),
            change.at.as_deref().and_then(|at| at.get(..10)).unwrap_or("unknown day"),
            short(change.step.before),
            short(change.step.after),
            known.metric,
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
