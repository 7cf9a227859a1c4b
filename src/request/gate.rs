//! What runs are judged by: `spec.gate` inside any request that measures, and `kind: Comparison`. Reads the
//! words; what they mean for figures is `plan::comparison`'s.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::fields::{Fields, Problems, report_duplicates};
use super::quantities;
use super::schema;
use super::thresholds::{Limit, Subject, Threshold, Thresholds};
use super::tree::Node;
use super::valid::{NAME_RULE, is_name};

/// What is asked of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rules {
    pub thresholds: Thresholds,
    /// A change for the worse up to this part of the baseline is none that evidence is asked about.
    pub margin: f64,
    /// Facts that may differ: what the comparison is about.
    pub varies: Vec<String>,
    /// Warnings and what the evidence leaves open count as failures.
    pub strict: bool,
}

impl Rules {
    pub const MARGIN: f64 = 0.05;
}

impl Default for Rules {
    fn default() -> Self {
        Self { thresholds: Thresholds::default(), margin: Self::MARGIN, varies: Vec::new(), strict: false }
    }
}

/// `spec.gate`: every completed run of the request is held against a baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// The baseline's name.
    pub baseline: String,
    pub rules: Rules,
}

/// A run by its id, or the newest completed one of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunSource {
    Run(Uuid),
    LatestOf { request: String },
}

/// The other side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ComparedWith {
    /// A baseline, by its name.
    Baseline(String),
    Run(RunSource),
}

/// `kind: Comparison`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    pub baseline: ComparedWith,
    pub candidate: RunSource,
    pub rules: Rules,
}

pub fn decode_gate(node: &Node, problems: &Problems) -> Option<Gate> {
    let fields = Fields::new(node, "spec.gate", schema::GATE_FIELDS, problems)?;
    let baseline = fields.required("baseline").and_then(|node| baseline_name(node, "baseline", &fields));
    let rules = rules(&fields);
    Some(Gate { baseline: baseline?, rules })
}

pub fn decode_comparison(fields: &Fields<'_>) -> Option<Comparison> {
    let baseline = fields.required("baseline").and_then(|node| {
        let side = Fields::new(node, "spec.baseline", schema::COMPARED_WITH, fields.problems)?;
        match side.get("name") {
            Some(name) if side.get("request").is_some() || side.get("run").is_some() => {
                fields.problems.error_with_hint(
                    name,
                    "spec.baseline names a baseline and a run",
                    "keep name, or request with run",
                );
                None
            }
            Some(name) => baseline_name(name, "name", &side).map(ComparedWith::Baseline),
            None => run_source(&side).map(ComparedWith::Run),
        }
    });
    let candidate = fields.required("candidate").and_then(|node| {
        run_source(&Fields::new(node, "spec.candidate", schema::RUN_SOURCE, fields.problems)?)
    });
    let rules = rules(fields);
    Some(Comparison { baseline: baseline?, candidate: candidate?, rules })
}

/// `{ request: NAME, run: Latest }`, `{ run: ID }`.
pub fn run_source(side: &Fields<'_>) -> Option<RunSource> {
    let request = side.text("request");
    match (request, side.text("run").as_deref()) {
        (Some(request), None | Some("Latest")) => Some(RunSource::LatestOf { request }),
        (request, Some(id)) => match (id.parse(), side.get("run")) {
            (Ok(id), _) => Some(RunSource::Run(id)),
            (Err(_), Some(node)) => {
                let right = match request {
                    Some(_) => "Latest, or the id of a run as `benchlet history` lists it",
                    None => {
                        "the id of a run as `benchlet history` lists it; Latest takes a request beside it"
                    }
                };
                side.wrong(node, "run", id, right);
                None
            }
            (Err(_), None) => None,
        },
        (None, None) => {
            side.problems.error_with_hint(
                side.node(),
                format!("{} names no run", side.path_of("").trim_end_matches('.')),
                "{ request: NAME, run: Latest }, or { run: ID }",
            );
            None
        }
    }
}

/// A baseline's name, under the rule that requests' names have.
pub fn baseline_name(node: &Node, field: &str, fields: &Fields<'_>) -> Option<String> {
    let name = node.text().unwrap_or_default();
    if is_name(name) {
        return Some(name.to_owned());
    }
    fields.wrong(node, field, name, NAME_RULE);
    None
}

/// A margin's greatest part: half as fast again is no margin any more.
pub const LARGEST_MARGIN: f64 = 50.0;
const MOST_FACTS: usize = 50;

fn rules(fields: &Fields<'_>) -> Rules {
    let mut rules = Rules::default();
    let margin = fields.parsed("margin", |text| quantities::percent(text, LARGEST_MARGIN));
    rules.margin = margin.map_or(Rules::MARGIN, |percent| percent / 100.0);
    let fact = |text: &str| match text {
        "" => Err("the name of a fact, such as image or n_threads".to_owned()),
        text => Ok(text.to_owned()),
    };
    rules.varies = fields.parsed_list("varies", MOST_FACTS, fact).unwrap_or_default();
    rules.strict = fields.boolean("strict").unwrap_or(false);
    if let Some(node) = fields.get("thresholds") {
        thresholds(node, fields, &mut rules.thresholds);
    }
    rules
}

fn thresholds(node: &Node, fields: &Fields<'_>, thresholds: &mut Thresholds) {
    let path = fields.path_of("thresholds");
    let Some(entries) = node.entries() else {
        let message = format!("{path} has to be a map, not {}", node.kind_name());
        fields.problems.error_with_hint(node, message, "p95_latency: { fail: 20%, warn: 10% }");
        return;
    };
    report_duplicates(entries, &path, fields.problems);
    for entry in entries {
        let name = entry.key.text().unwrap_or_default();
        let subject = Subject::parse(name).inspect_err(|right| {
            let message = format!("unknown figure \"{name}\" in {path}");
            fields.problems.error_with_hint(&entry.key, message, right.as_str());
        });
        let of = format!("{path}.{name}");
        let Some(limits) = Fields::new(&entry.value, &of, schema::THRESHOLD, fields.problems) else {
            continue;
        };
        let threshold = Threshold {
            fail: limits.parsed("fail", Limit::parse),
            warn: limits.parsed("warn", Limit::parse),
        };
        if let Ok(subject) = subject {
            thresholds.set(subject, threshold);
        }
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
