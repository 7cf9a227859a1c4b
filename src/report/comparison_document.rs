//! A comparison as data: everything that was computed, with the rules and the outcome.

use serde_json::{Map, Value, json};

use super::comparison_words::outcome_word;
use crate::plan::comparison::{Comparison, Outcome};
use crate::request::gate::Rules;

/// The exit code that goes with an outcome.
pub fn exit_code(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::NoRegression => 0,
        Outcome::Regression => 1,
        Outcome::NotComparable => 3,
    }
}

pub fn document(found: &Comparison, rules: &Rules) -> Value {
    let outcome = found.outcome(rules.strict);
    let mut value = json!({
        "schema": "benchlet/comparison/v1",
        "outcome": outcome_word(outcome),
        "exitCode": exit_code(outcome),
        "rules": rules,
        "moreRuns": found.more_runs(),
    });
    if let (Some(whole), Ok(Value::Object(fields))) = (value.as_object_mut(), serde_json::to_value(found)) {
        whole.extend(fields);
    }
    value
}

/// Bencher Metric Format of the candidate: `{benchmark: {measure: {value, lower_value, upper_value}}}`. The
/// bounds are the baseline's figure times the change's interval, where there is one.
pub fn bencher(found: &Comparison) -> Value {
    let mut all = Map::new();
    for row in &found.rows {
        let Some(value) = row.candidate else { continue };
        let bounds = row.interval.zip(row.baseline).map(|(interval, baseline)| {
            interval.map(|change| match row.measure {
                crate::request::measure::Measure::ErrorRate => baseline + change,
                _ => baseline * (1.0 + change),
            })
        });
        let mut metric = json!({ "value": value });
        if let Some([low, high]) = bounds {
            metric["lower_value"] = json!(low.min(value));
            metric["upper_value"] = json!(high.max(value));
        }
        let name = format!("{} {}", found.candidate.label, row.case);
        let measures = all.entry(name).or_insert_with(|| Value::Object(Map::new()));
        measures[row.measure.to_string()] = metric;
    }
    Value::Object(all)
}
