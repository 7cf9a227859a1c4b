//! Trends as data, as `benchlet trend -o json` and the API give them; for a page also in words and pictures.

use serde_json::{Value, json};

use super::comparison_words::figure;
use super::{plot, trend_plot, trend_words};
use crate::plan::trend::{Change, FALSE_DISCOVERIES, HeadVerdict, Trend, Trends};

pub fn document(found: &Trends) -> Value {
    json!({
        "falseDiscoveryRate": FALSE_DISCOVERIES,
        "judged": found.judged,
        "notJudged": found.not_judged,
        "series": found.trends.iter().map(series).collect::<Vec<_>>(),
    })
}

/// The same with a unit, words and a picture a series, so that whoever shows it formats and draws nothing. At
/// most so many series; `leftOut` counts the others.
pub fn shown(found: &Trends, simulated: bool, most: usize) -> Value {
    let shown: Vec<Value> =
        found.trends.iter().take(most).map(|trend| with_words(trend, simulated)).collect();
    let left_out = found.trends.len() - shown.len();
    let mut value = document(&Trends { trends: Vec::new(), ..*found });
    value["series"] = json!(shown);
    value["leftOut"] = json!(left_out);
    value
}

fn with_words(trend: &Trend, simulated: bool) -> Value {
    let measure = trend.series.measure;
    let mut value = series(trend);
    let changes = value["changes"].as_array_mut().into_iter().flatten();
    for (shown, change) in changes.zip(&trend.changes) {
        shown["text"] = json!(trend_words::change(trend, change));
    }
    let newest = trend.series.points.last().map(|point| figure(measure, point.value));
    let expected = trend
        .head
        .map(|head| format!("{}: {}", trend_words::verdict(&head), trend_words::expected(measure, &head)));
    value["unit"] = json!(measure.unit());
    value["text"] = json!({ "newest": newest, "expected": expected });
    let name = measure.to_string();
    let title = format!("{} {name} over the last runs", trend.series.case);
    let words = trend_plot::Words { title, name: &name, unit: measure.unit(), simulated };
    value["plot"] = json!(trend_plot::figure(trend, words).and_then(|figure| plot::svg(&figure)));
    value
}

fn series(trend: &Trend) -> Value {
    let points = trend.series.points.iter().map(
        |point| json!({ "run": point.run, "at": point.at, "value": point.value, "accepted": point.accepted }),
    );
    json!({
        "case": trend.series.case,
        "figure": trend.series.measure,
        "points": points.collect::<Vec<_>>(),
        "changes": trend.changes.iter().map(change).collect::<Vec<_>>(),
        "found": trend.found,
        "p": trend.p,
        "regression": trend.regression().is_some(),
        "drift": trend.drift.map(|drift| json!({
            "slope": drift.slope, "interval": drift.interval, "p": drift.p, "worse": trend.drifts_worse,
        })),
        "newest": trend.head.map(|head| json!({
            "value": head.value, "expected": head.prediction.expected,
            "interval": head.prediction.interval, "points": head.prediction.points,
            "verdict": match head.verdict {
                HeadVerdict::AsExpected => "AsExpected",
                HeadVerdict::Worse => "Worse",
                HeadVerdict::Better => "Better",
            },
        })),
    })
}

fn change(change: &Change) -> Value {
    json!({
        "run": change.run, "at": change.at, "point": change.step.at, "before": change.step.before,
        "after": change.step.after, "p": change.step.p, "worse": change.worse,
        "accepted": change.accepted, "differs": change.differs,
    })
}
