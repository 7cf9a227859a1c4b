//! What a history of one figure says: its steps, its drift, and whether its newest point is as expected. Puts
//! the statistics together and says which way is worse; reads no store.

use std::collections::BTreeMap;

use crate::request::measure::Measure;
use crate::run::facts::Facts;
use crate::stats::changepoint::{Calibration, Gates, Step, steps};
use crate::stats::drift::{self, Drift};
use crate::stats::evidence::Better;
use crate::stats::false_discovery::{Discoveries, discoveries};
use crate::stats::prediction::{Prediction, next_point};

/// The shortest segment that is worth a word; of those that somebody should be woken for it is five.
const SHORTEST_SEGMENT: usize = 3;
/// Among all series that were judged.
pub const FALSE_DISCOVERIES: f64 = 0.10;
/// A history of so many points or more can have a step.
pub const FEWEST: usize = 2 * SHORTEST_SEGMENT;
const SEED: u64 = 0x0074_7265_6e64;

/// One run's figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    pub run: String,
    /// UTC, RFC 3339.
    pub at: Option<String>,
    pub value: f64,
    pub facts: Facts,
    /// A baseline pins the run: from here on its level is what was wanted.
    pub accepted: bool,
}

/// A figure of one case over the runs, oldest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub case: String,
    pub measure: Measure,
    pub points: Vec<Point>,
}

/// A step with what it means.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub step: Step,
    /// The first run of the new level.
    pub run: String,
    pub at: Option<String>,
    pub worse: bool,
    /// A baseline was pinned at this level.
    pub accepted: bool,
    /// Facts that differ between the run before and this one: `image: a, then b`.
    pub differs: Vec<String>,
}

/// What the newest point is against those before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Head {
    pub prediction: Prediction,
    pub value: f64,
    /// Outside of the interval on the worse side, or on the better.
    pub verdict: HeadVerdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadVerdict {
    AsExpected,
    Worse,
    Better,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Trend {
    pub series: Series,
    pub changes: Vec<Change>,
    pub drift: Option<Drift>,
    /// The drift is towards the worse.
    pub drifts_worse: bool,
    /// Since the last accepted change; `None` with too few points.
    pub head: Option<Head>,
    /// Of the largest split of the whole; `None` where the history is too short to have one.
    pub p: Option<f64>,
    /// Whether the steps stand among all series that were judged together.
    pub found: bool,
}

/// All series of a history, judged together, so that many of them raise no more false alarms than one.
#[derive(Debug, Clone, PartialEq)]
pub struct Trends {
    pub trends: Vec<Trend>,
    pub judged: usize,
    pub not_judged: usize,
}

pub fn trends(all: Vec<Series>) -> Trends {
    let mut calibration = Calibration::new(SEED);
    let mut trends: Vec<Trend> = all.into_iter().map(|series| trend(series, &mut calibration)).collect();
    let p_values: Vec<Option<f64>> = trends.iter().map(|trend| trend.p).collect();
    let Discoveries { judged, not_judged, found, .. } = discoveries(&p_values, FALSE_DISCOVERIES);
    for (trend, found) in trends.iter_mut().zip(found) {
        trend.found = found && !trend.changes.is_empty();
    }
    Trends { trends, judged, not_judged }
}

fn trend(series: Series, calibration: &mut Calibration) -> Trend {
    let values: Vec<f64> = series.points.iter().map(|point| point.value).collect();
    let found = steps(&values, &Gates::new(SHORTEST_SEGMENT, floor(series.measure)), calibration);
    let worse = |from: f64, to: f64| match series.measure.better() {
        Better::Lower => to > from,
        Better::Higher => to < from,
    };
    let accepted_from = series.points.iter().rposition(|point| point.accepted);
    let changes: Vec<Change> = found
        .steps
        .iter()
        .filter_map(|step| {
            let first = series.points.get(step.at)?;
            let before = series.points.get(step.at.checked_sub(1)?)?;
            Some(Change {
                step: *step,
                run: first.run.clone(),
                at: first.at.clone(),
                worse: worse(step.before, step.after),
                accepted: accepted_from.is_some_and(|at| at >= step.at),
                differs: differences(&before.facts, &first.facts),
            })
        })
        .collect();
    // A regression that nobody accepted does not become the norm.
    let begins = changes.iter().rev().find(|change| !change.worse || change.accepted);
    let begins = begins.map_or(0, |change| change.step.at);
    let head = values.split_last().and_then(|(value, before)| {
        let prediction = next_point(before.get(begins..)?)?;
        let [low, high] = prediction.interval;
        let outside = *value < low || *value > high;
        let verdict = match (outside, worse(prediction.expected, *value)) {
            (false, _) => HeadVerdict::AsExpected,
            (true, true) => HeadVerdict::Worse,
            (true, false) => HeadVerdict::Better,
        };
        Some(Head { prediction, value: *value, verdict })
    });
    // A step looks like a drift to the test; what is left after the last one is asked.
    let from = changes.last().map_or(0, |change| change.step.at);
    let drift = values.get(from..).and_then(drift::drift);
    let drifts_worse = drift.is_some_and(|drift| worse(0.0, drift.slope));
    Trend { changes, drift, drifts_worse, head, p: found.p, found: false, series }
}

impl Trend {
    /// The newest change, where it is for the worse, nobody accepted it and it stands among all that were judged.
    pub fn regression(&self) -> Option<&Change> {
        self.changes.last().filter(|change| self.found && change.worse && !change.accepted)
    }
}

/// A step below this is none, whatever part of the level it is: clocks and schedulers differ by as much.
fn floor(measure: Measure) -> f64 {
    match measure {
        Measure::ErrorRate => 0.005,
        Measure::Latency(..) => 0.1,
        Measure::PromptRate
        | Measure::GenerationRate
        | Measure::CombinedRate
        | Measure::OutputTokens
        | Measure::Requests
        | Measure::Goodput => 0.01,
    }
}

fn differences(before: &Facts, after: &Facts) -> Vec<String> {
    let of = |facts: &BTreeMap<String, Option<String>>, name: &String| facts.get(name).cloned().flatten();
    let sides = [(&before.decisive, &after.decisive), (&before.incidental, &after.incidental)];
    let mut all = Vec::new();
    for (from, to) in sides {
        for name in from.keys() {
            if let (Some(old), Some(new)) = (of(from, name), of(to, name))
                && old != new
            {
                all.push(format!("{name}: {old}, then {new}"));
            }
        }
    }
    all
}

/// `▁▂▅█`: the values between their least and their greatest; all the same is a line in the middle.
pub fn sparkline(values: &[f64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    values
        .iter()
        .map(|value| {
            let part = if high > low { (value - low) / (high - low) } else { 0.5 };
            BARS[((part * 7.0).round() as usize).min(7)]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(measure: Measure, values: &[f64]) -> Series {
        let points = values.iter().enumerate().map(|(at, value)| Point {
            run: format!("r{at}"),
            at: None,
            value: *value,
            facts: Facts::default(),
            accepted: false,
        });
        Series { case: "tg16".to_owned(), measure, points: points.collect() }
    }

    /// About `level`, with a spread of one percent that has no pattern.
    fn noisy(level: f64, n: usize) -> Vec<f64> {
        (0..n).map(|i| level * (1.0 + 0.01 * ((i * 37 % 11) as f64 / 5.0 - 1.0))).collect()
    }

    fn stepped() -> Vec<f64> {
        [noisy(100.0, 20), noisy(80.0, 10)].concat()
    }

    #[test]
    fn a_step_is_found_with_its_run_and_its_direction() {
        for (measure, worse) in [
            (Measure::GenerationRate, true),
            (
                Measure::Latency(
                    crate::request::load_test::Metric::Ttft,
                    crate::request::load_test::Statistic::P95,
                ),
                false,
            ),
        ] {
            let found = trends(vec![series(measure, &stepped())]);
            let [change] = found.trends[0].changes.as_slice() else { panic!("{found:?}") };
            assert_eq!((change.run.as_str(), change.worse, found.trends[0].found), ("r20", worse, true));
            assert_eq!(found.trends[0].regression().is_some(), worse);
        }
    }

    #[test]
    fn what_is_steady_has_no_step_and_the_next_point_is_as_expected() {
        let found = trends(vec![series(Measure::GenerationRate, &noisy(100.0, 30))]);
        assert_eq!((found.trends[0].changes.len(), found.trends[0].found), (0, false));
        assert_eq!(found.trends[0].head.unwrap().verdict, HeadVerdict::AsExpected);
    }

    #[test]
    fn a_regression_that_nobody_accepted_does_not_become_the_norm() {
        let mut values = stepped();
        values.extend(noisy(80.0, 4));
        let head = |series: Series| trends(vec![series]).trends[0].head.unwrap().prediction.expected;
        let mut history = series(Measure::GenerationRate, &values);
        assert!(head(history.clone()) > 90.0, "the drop counts as one of the points");
        history.points[25].accepted = true;
        assert!(head(history.clone()) < 85.0);
        let found = trends(vec![history]);
        assert!(found.trends[0].changes[0].accepted && found.trends[0].regression().is_none());
    }

    #[test]
    fn what_changed_with_a_step_is_named() {
        let mut history = series(Measure::GenerationRate, &stepped());
        for (at, point) in history.points.iter_mut().enumerate() {
            let image = if at < 20 { "a" } else { "b" };
            point.facts.decisive.insert("image".to_owned(), Some(image.to_owned()));
        }
        let found = trends(vec![history]);
        assert_eq!(found.trends[0].changes[0].differs, ["image: a, then b"]);
    }

    #[test]
    fn a_short_history_is_counted_as_not_judged() {
        let found = trends(vec![series(Measure::GenerationRate, &[1.0, 2.0])]);
        assert_eq!((found.judged, found.not_judged, found.trends[0].head), (0, 1, None));
    }

    #[test]
    fn a_sparkline_goes_from_the_least_to_the_greatest() {
        assert_eq!(sparkline(&[0.0, 0.5, 1.0]), "▁▅█");
        assert_eq!(sparkline(&[3.0, 3.0]), "▅▅");
        assert_eq!(sparkline(&[]), "");
    }
}
