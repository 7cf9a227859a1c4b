//! A trend in words, the same for every format that people read. Rounds; judges nothing.

use super::comparison_words::{figure, number};
use crate::plan::trend::{Change, Head, HeadVerdict, Trend};
use crate::request::measure::Measure;
use crate::stats::changepoint::Step;

/// What a step is to whoever watches the figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// It does not stand among all series that were judged.
    Chance,
    Regression,
    /// For the worse, and a baseline was pinned at its level.
    Accepted,
    Better,
}

impl Meaning {
    pub fn of(trend: &Trend, change: &Change) -> Self {
        match (trend.found, change.worse, change.accepted) {
            (false, ..) => Self::Chance,
            (true, true, false) => Self::Regression,
            (true, true, true) => Self::Accepted,
            (true, false, _) => Self::Better,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chance => "may be chance",
            Self::Regression => "regression",
            Self::Accepted => "worse, accepted by a baseline",
            Self::Better => "better",
        }
    }
}

/// ` (-19.9 %)`; nothing where the level before was none.
pub fn percentage(step: &Step) -> String {
    let part = step.after / step.before - 1.0;
    if part.is_finite() { format!(" ({:+.1} %)", part * 100.0) } else { String::new() }
}

/// `100.4 to 80.4 tok/s (-19.9 %)`
pub fn step(measure: Measure, step: &Step) -> String {
    format!("{} to {}{}", number(measure, step.before), figure(measure, step.after), percentage(step))
}

/// `100.4 to 80.4 tok/s (-19.9 %), regression`
pub fn change(trend: &Trend, change: &Change) -> String {
    let meaning = Meaning::of(trend, change);
    format!("{}, {}", step(trend.series.measure, &change.step), meaning.as_str())
}

pub fn verdict(head: &Head) -> &'static str {
    match head.verdict {
        HeadVerdict::AsExpected => "as expected",
        HeadVerdict::Worse => "worse than expected",
        HeadVerdict::Better => "better than expected",
    }
}

/// What the newest run should have given: `98.1 to 102 tok/s by 12 runs`.
pub fn expected(measure: Measure, head: &Head) -> String {
    let [low, high] = head.prediction.interval;
    format!("{} to {} by {} runs", number(measure, low), figure(measure, high), head.prediction.points)
}
