//! `kind: Apply`, and `spec.apply` inside a request: which finished run's configuration goes into its
//! service.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::fields::{Fields, Problems};
use super::gate::baseline_name;
use super::quantities;
use super::schema;
use super::tree::{Node, Value};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Apply {
    pub source: ApplySource,
    pub options: ApplyOptions,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApplySource {
    Run(Uuid),
    LatestOf { request: String },
    BestOf { request: String, metric: Metric },
}

/// How a run is applied, the same for the kind, inside a request and from the command line.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApplyOptions {
    pub case: Option<CaseSelector>,
    pub metric: Option<Metric>,
    pub dry_run: bool,
    pub restart: bool,
}

/// `spec.apply`: after every completed run, or after those that are better than a baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InlineApply {
    pub options: ApplyOptions,
    /// `None`: after every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub improved: Option<Improvement>,
}

/// What a run has to gain to be applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Improvement {
    /// The baseline's name.
    pub against: String,
    pub metric: Metric,
    /// The least gain, as a part of the baseline.
    pub min_gain: f64,
}

/// Below 3 % a gain is hard to tell from the noise of a machine.
const MIN_GAIN: f64 = 0.03;

/// A rate that is better when it is higher, in tokens a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Metric {
    #[serde(rename = "pp_avg_ts")]
    PromptRate,
    #[serde(rename = "tg_avg_ts")]
    GenerationRate,
}

impl Metric {
    pub const ALL: &'static [(&'static str, Metric)] =
        &[("pp_avg_ts", Metric::PromptRate), ("tg_avg_ts", Metric::GenerationRate)];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::PromptRate => "pp_avg_ts",
            Self::GenerationRate => "tg_avg_ts",
        }
    }
}

/// Picks one cell of a matrix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CaseSelector {
    /// As the status numbers them, from 1.
    Number(u32),
    /// By llama-bench's columns.
    Columns(BTreeMap<String, String>),
}

pub fn decode(fields: &Fields<'_>) -> Option<Apply> {
    let options = options(fields);
    let from = fields.get("from");
    let run = fields.get("run").and_then(|node| run_id(node, fields));
    let source = match (from, fields.get("run")) {
        (Some(_), Some(run)) => {
            fields.problems.error_with_hint(run, "spec has both run and from", "keep one of them");
            return None;
        }
        (None, Some(_)) => ApplySource::Run(run?),
        (Some(node), None) => decode_from(node, fields.problems, options.metric)?,
        (None, None) => {
            fields.problems.error_with_hint(
                fields.node(),
                "spec names no run to apply",
                "from: { request: NAME, run: Latest }, or run: ID",
            );
            return None;
        }
    };
    let metric = match &source {
        ApplySource::BestOf { metric, .. } => Some(*metric),
        ApplySource::Run(_) | ApplySource::LatestOf { .. } => options.metric,
    };
    Some(Apply { source, options: ApplyOptions { metric, ..options } })
}

fn decode_from(node: &Node, problems: &Problems, metric: Option<Metric>) -> Option<ApplySource> {
    let from = Fields::new(node, "spec.from", schema::APPLY_FROM, problems)?;
    let request = from.required("request").and_then(|_| from.text("request"))?;
    let best = from.choice("run", &[("Latest", false), ("Best", true)]).unwrap_or(false);
    let metric = from.choice("metric", Metric::ALL).or(metric);
    match (best, metric) {
        (false, _) => Some(ApplySource::LatestOf { request }),
        (true, Some(metric)) => Some(ApplySource::BestOf { request, metric }),
        (true, None) => {
            problems.error_with_hint(node, "Best needs a metric", "metric: tg_avg_ts");
            None
        }
    }
}

pub fn decode_inline(node: &Node, problems: &Problems) -> Option<InlineApply> {
    let fields = Fields::new(node, "spec.apply", schema::INLINE_APPLY, problems)?;
    let options = options(&fields);
    let improved = fields.choice("when", &[("Succeeded", false), ("Improved", true)]).unwrap_or(false);
    if !improved {
        for name in ["against", "minGain"] {
            fields.refuse(name, "is for when: Improved", "add when: Improved, or take it out");
        }
        return Some(InlineApply { options, improved: None });
    }
    let gain = fields.parsed("minGain", |text| quantities::percent(text, 1_000.0));
    let against = fields.required("against").and_then(|node| baseline_name(node, "against", &fields));
    if fields.required("metric").is_none() || options.metric.is_none() {
        return None;
    }
    let improvement = Improvement {
        against: against?,
        metric: options.metric?,
        min_gain: gain.map_or(MIN_GAIN, |percent| percent / 100.0),
    };
    Some(InlineApply { options, improved: Some(improvement) })
}

fn options(fields: &Fields<'_>) -> ApplyOptions {
    ApplyOptions {
        case: fields.get("case").and_then(|node| case_selector(node, fields)),
        metric: fields.choice("metric", Metric::ALL),
        dry_run: fields.boolean("dryRun").unwrap_or(false),
        restart: fields.boolean("restart").unwrap_or(false),
    }
}

fn run_id(node: &Node, fields: &Fields<'_>) -> Option<Uuid> {
    let text = fields.text("run")?;
    match text.parse() {
        Ok(id) => Some(id),
        Err(_) => {
            fields.wrong(node, "run", &text, "the id of a run, as `benchlet history` lists it");
            None
        }
    }
}

fn case_selector(node: &Node, fields: &Fields<'_>) -> Option<CaseSelector> {
    match &node.value {
        Value::Scalar(scalar) => match scalar.text.parse::<u32>() {
            Ok(number) if number >= 1 => Some(CaseSelector::Number(number)),
            Ok(_) | Err(_) => {
                fields.wrong(node, "case", &scalar.text, "a case's number as the status lists it, from 1");
                None
            }
        },
        Value::Map(entries) => {
            let mut columns = BTreeMap::new();
            for entry in entries {
                match (entry.key.text(), entry.value.text()) {
                    (Some(column), Some(value)) => {
                        columns.insert(column.to_owned(), value.to_owned());
                    }
                    _ => fields.problems.error_with_hint(
                        &entry.value,
                        "a case's column needs a single value",
                        "case: { n_batch: 512 }",
                    ),
                }
            }
            Some(CaseSelector::Columns(columns))
        }
        Value::Null | Value::List(_) => {
            fields.problems.error_with_hint(
                node,
                "case cannot be a list",
                "case: 1, or case: { n_batch: 512 }",
            );
            None
        }
    }
}
