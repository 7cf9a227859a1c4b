//! A figure over the runs as a picture: a dot a run, and where a step was found the levels as a second line.
//! Chooses what is drawn; `plot` draws it.

use super::plot::{Chart, Curve, Figure, Mark, Plot, Scale};
use crate::plan::trend::Trend;

/// How a history is called.
pub struct Words<'a> {
    pub title: String,
    /// Of the curve.
    pub name: &'a str,
    /// Of what stands at the side.
    pub unit: &'a str,
    pub simulated: bool,
}

/// The picture; `None` of fewer than two runs.
pub fn figure(trend: &Trend, words: Words<'_>) -> Option<Figure> {
    let runs = trend.series.points.as_slice();
    if runs.len() < 2 {
        return None;
    }
    let points: Vec<[f64; 2]> = (1..).zip(runs).map(|(at, run)| [f64::from(at), run.value]).collect();
    // Not from zero: what is looked for here is a change.
    let values = || points.iter().map(|point| point[1]);
    let (low, high) = (values().reduce(f64::min)?, values().reduce(f64::max)?);
    let room = (high - low).max(high * 0.05);
    let ticks = (1..).zip(runs).map(|(at, run)| {
        let day = run.at.as_deref().and_then(|at| at.get(..10)).unwrap_or_default();
        (f64::from(at), day.to_owned())
    });
    let ticks = ticks.collect();
    let mut curves = vec![Curve { name: words.name.to_owned(), points, mark: Mark::LineAndDots, colour: 0 }];
    if trend.found {
        let points = levels(trend, runs.len());
        curves.push(Curve { name: "level".to_owned(), points, mark: Mark::Line, colour: 1 });
    }
    let plot = Plot {
        x_title: "runs, oldest first".to_owned(),
        y_title: words.unit.to_owned(),
        x_scale: Scale::Linear,
        x_ticks: Some(ticks),
        y_range: Some([(low - room).max(0.0), high + room]),
        curves,
    };
    Some(Figure { title: words.title, simulated: words.simulated, chart: Chart::Lines(plot) })
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
