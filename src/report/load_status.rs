//! A load test in a status: its cases in the one shape of figures, a line for people before them, and the
//! conditions that follow. Pure rendering of stored cases.

use serde_json::{Map, Value};

use super::conversation_status;
use super::status_document::{Draft, four_places};
use crate::run::load_case::{InvalidReason, LoadCase};
use crate::run::load_words;
use crate::run::phase::Phase;
use crate::run::reason::Reason;

/// Characters of a sample answer that a status shows; the store has it whole.
const SAMPLE: usize = 160;

/// The cases of a run, from their stored texts.
pub fn cases(texts: &[String]) -> Vec<LoadCase> {
    texts.iter().filter_map(|text| serde_json::from_str(text).ok()).collect()
}

/// `Valid`: whether the figures mean what they say; `SLOMet`, where objectives were given.
/// `phase` is the run's.
pub fn conditions(cases: &[LoadCase], phase: Option<Phase>) -> Vec<Draft> {
    if cases.is_empty() {
        return Vec::new();
    }
    let mut drafts = conversation_status::conditions(cases, phase);
    let bad = cases.iter().find_map(|case| case.invalid.first().map(|invalid| (case, invalid)));
    drafts.push(match bad {
        None => Draft::new(
            "Valid",
            "True",
            Reason::Trustworthy,
            "client, errors and caches were within their limits",
        ),
        Some((case, invalid)) => {
            let count = cases.iter().filter(|case| !case.valid).count();
            let message = format!("{} ({count} of {} cases): {}", case.label(), cases.len(), invalid.message);
            Draft::new("Valid", "False", reason_of(invalid.reason), message)
        }
    });
    let objectives =
        || cases.iter().flat_map(|case| case.slo.iter().map(move |(name, result)| (case, name, result)));
    if objectives().next().is_some() {
        let missed: Vec<_> = objectives().filter(|(_, _, result)| result.met == Some(false)).collect();
        let unknown = objectives().find(|(_, _, result)| result.met.is_none());
        drafts.push(match (missed.first(), unknown) {
            (Some((case, name, result)), _) => {
                let value = result
                    .value
                    .map_or_else(|| "unknown".to_owned(), |value| format!("{} ms", load_words::ms(value)));
                let message = format!(
                    "{}: {name} is {value}, at most {} ms was asked for ({} of {} missed)",
                    case.label(),
                    load_words::ms(result.at_most_ms),
                    missed.len(),
                    objectives().count()
                );
                Draft::new("SLOMet", "False", Reason::ObjectivesMissed, message)
            }
            (None, Some((case, name, _))) => {
                let message = format!("{}: {name} could not be measured{}", case.label(), why(name));
                Draft::new("SLOMet", "Unknown", Reason::ObjectivesUnknown, message)
            }
            (None, None) => {
                Draft::new("SLOMet", "True", Reason::ObjectivesMet, "every case met every objective")
            }
        });
    }
    drafts
}

/// Why an objective's metric is not there, where its name says it.
fn why(objective: &str) -> &'static str {
    if objective.starts_with("itl") {
        ", as the server does not tell the tokens of each chunk; icl, the time between chunks, is measured"
    } else {
        ""
    }
}

pub(super) fn reason_of(reason: InvalidReason) -> Reason {
    match reason {
        InvalidReason::ClientLate => Reason::ClientLate,
        InvalidReason::ClientBusy => Reason::ClientBusy,
        InvalidReason::ErrorRate => Reason::ErrorRate,
        InvalidReason::CacheHits => Reason::CacheHits,
        InvalidReason::OutputLength => Reason::OutputLength,
        InvalidReason::CutShort => Reason::CutShort,
        InvalidReason::NoSuccess => Reason::NoSuccess,
        InvalidReason::BrokenAnswers => Reason::BrokenAnswers,
    }
}

/// A line a case, then the cases; numbers with four places, sample answers cut.
pub fn results(cases: &[LoadCase], simulated: bool) -> Map<String, Value> {
    let mut map = Map::new();
    if simulated {
        map.insert("simulated".to_owned(), Value::Bool(true));
    }
    map.insert("summary".to_owned(), cases.iter().map(load_words::line).collect());
    let shown = cases.iter().filter_map(|case| serde_json::to_value(case).ok()).map(|mut value| {
        round(&mut value);
        for sample in value["samples"].as_array_mut().into_iter().flatten() {
            let text = sample["text"].as_str().unwrap_or_default();
            if text.chars().count() > SAMPLE {
                sample["text"] = text.chars().take(SAMPLE).chain(['…']).collect::<String>().into();
            }
        }
        value
    });
    map.insert("cases".to_owned(), shown.collect());
    map
}

fn round(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            if let Some(rounded) =
                number.as_f64().and_then(|number| serde_json::Number::from_f64(four_places(number)))
            {
                *value = Value::Number(rounded);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(round),
        Value::Object(fields) => fields.values_mut().for_each(round),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
