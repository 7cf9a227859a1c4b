//! A comparison as data: everything that was computed, with the rules and the outcome.

use serde_json::{Value, json};

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
