//! A comparison as data: everything that was computed, with the rules and the outcome; for a page also the words
//! that the table has for each figure, and all facts side by side.

use serde_json::{Value, json};

use super::comparison_facts::{ComparedFact, facts};
use super::comparison_words::{self as words, outcome_word};
use crate::plan::compared_figure::Row;
use crate::plan::comparison::{Comparison, Outcome};
use crate::request::gate::Rules;
use crate::run::comparand::Comparand;

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

/// The same with `facts`, and a `text` a row, so that whoever shows it formats nothing.
pub fn shown(found: &Comparison, rules: &Rules, sides: [&Comparand; 2]) -> Value {
    let mut value = document(found, rules);
    for (shown, row) in value["rows"].as_array_mut().into_iter().flatten().zip(&found.rows) {
        shown["text"] = text(row);
    }
    value["facts"] = facts(sides, &found.comparability).iter().map(fact).collect();
    value
}

/// A figure as the table of the command line has it.
fn text(row: &Row) -> Value {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let value = |value: Option<f64>| or_dash(value.map(|value| words::figure(row.measure, value)));
    json!({
        "baseline": value(row.baseline),
        "candidate": value(row.candidate),
        "change": or_dash(words::change(row)),
        "evidence": words::evidence(row),
    })
}

fn fact(fact: &ComparedFact) -> Value {
    json!({
        "fact": fact.fact,
        "baseline": fact.baseline,
        "candidate": fact.candidate,
        "differs": fact.differs,
        "declared": fact.declared,
    })
}
