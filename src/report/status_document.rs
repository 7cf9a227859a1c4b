//! The content of a status: one document a request. Pure rendering of what the store and the last
//! decision say.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::request::diagnostic::Located;
use crate::request::schema::API_VERSION;
use crate::request::valid::Spec;
use crate::run::model_files::ModelFiles;
use crate::run::phase::{EndPhase, Phase, RunState};
use crate::run::reason::Reason;
use crate::store::applies::{ApplyRow, ApplyState};
use crate::store::benchmarks::Figures;
use crate::store::runs::RunRow;

/// One request's status document.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusDocument {
    pub api_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    pub metadata: Metadata,
    pub status: Status,
}

#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spec_hash: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<u64>,
    /// A summary for people; conditions are for machines.
    pub phase: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    pub conditions: Vec<Condition>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Located>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub results: Option<Map<String, Value>>,
    /// Model files, whole or on their way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelFiles>,
    /// Of a gate or a comparison: what came of the newest run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Value>,
    /// Of a Baseline: what it pins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<Applied>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Past>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub status: &'static str,
    pub reason: String,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<u64>,
    pub last_transition_time: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunStatus {
    pub id: String,
    pub phase: &'static str,
    #[serde(skip_serializing_if = "is_zero")]
    pub attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<ProgressStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activity: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub simulated: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tail: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProgressStatus {
    /// Repetitions.
    pub done: u64,
    pub total: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eta: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    pub id: String,
    pub state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    pub params: Map<String, Value>,
    pub skipped: Map<String, Value>,
    pub dry_run: bool,
    pub restart_needed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_command: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub diff: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Past {
    pub id: String,
    pub phase: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    pub completed_at: Option<String>,
    #[serde(flatten)]
    pub figures: PastFigures,
}

/// The figures that stand for a past run.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum PastFigures {
    Bench { pp_avg_ts: Option<f64>, tg_avg_ts: Option<f64> },
    Load { headline: Option<String> },
}

/// A run with what was measured.
#[derive(Debug, Clone)]
pub struct Measured {
    pub run: RunRow,
    pub figures: Option<Figures>,
}

/// A run in progress, as its spool shows it.
#[derive(Debug, Clone, Default)]
pub struct Live {
    pub progress: Option<ProgressStatus>,
    pub activity: Option<String>,
    pub tail: Vec<String>,
}

/// A condition before its last transition is looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    pub kind: &'static str,
    pub status: &'static str,
    pub reason: String,
    pub message: String,
}

impl Draft {
    pub fn new(kind: &'static str, status: &'static str, reason: Reason, message: impl Into<String>) -> Self {
        Self { kind, status, reason: reason.as_str().to_owned(), message: message.into() }
    }
}

/// The conditions of a valid request, from its newest run and apply.
pub fn conditions(newest: Option<&RunRow>, apply: Option<&ApplyRow>) -> Vec<Draft> {
    let mut drafts = vec![Draft::new("Accepted", "True", Reason::Valid, "the request can be carried out")];
    if let Some(run) = newest {
        drafts.push(match &run.state {
            RunState::Ended(end) => {
                let status = if end.phase == EndPhase::Completed { "True" } else { "False" };
                Draft::new("Succeeded", status, end.reason, end.message.clone())
            }
            RunState::Pending
            | RunState::Preparing { .. }
            | RunState::Running { .. }
            | RunState::Collecting { .. } => {
                let message = format!("the run is {}", run.state.phase().as_str());
                let reason = if run.spec.measures() { Reason::Measuring } else { Reason::Downloading };
                Draft::new("Succeeded", "Unknown", reason, message)
            }
        });
    }
    if let Some(apply) = apply {
        drafts.push(match &apply.state {
            ApplyState::Planned | ApplyState::Writing { .. } | ApplyState::Restarting { .. } => {
                Draft::new("Applied", "Unknown", Reason::Applying, "the configuration is being applied")
            }
            ApplyState::Done { outcome } if outcome.dry_run => {
                Draft::new("Applied", "False", Reason::DryRun, "a dry run; nothing was written")
            }
            ApplyState::Done { outcome } => {
                let message = if outcome.restart_needed {
                    "the files are written; the service needs a restart to take it up"
                } else {
                    "the service has the configuration"
                };
                Draft::new("Applied", "True", Reason::Applied, message)
            }
            ApplyState::Reverted { .. } => {
                Draft::new("Applied", "False", Reason::Idle, "the apply was reverted")
            }
            ApplyState::Failed { refusal, .. } => {
                Draft::new("Applied", "False", refusal.reason, refusal.message.clone())
            }
        });
    }
    drafts
}

/// A run in progress or the newest that has ended.
pub fn run_status(run: &RunRow, live: Live) -> RunStatus {
    let completed = run.state.phase() == Phase::Completed;
    let tail = if completed {
        // It would only repeat the progress.
        Vec::new()
    } else if live.tail.is_empty() {
        run.tail.iter().flat_map(|tail| tail.lines()).map(str::to_owned).collect()
    } else {
        live.tail
    };
    RunStatus {
        id: run.id.to_string(),
        phase: run.state.phase().as_str(),
        attempt: run.attempt,
        started_at: run.started_at.clone(),
        completed_at: run.completed_at.clone(),
        progress: live.progress,
        activity: live.activity,
        simulated: run.simulated,
        tail,
    }
}

/// Figures and cases of a run, without the single samples, which the store and `-o json` have.
pub fn results(figures: &Figures, cases: &[String], simulated: bool) -> Map<String, Value> {
    let mut map = Map::new();
    for (name, value) in [
        ("pp_avg_ts", figures.pp_avg_ts),
        ("pp_stddev_ts", figures.pp_stddev_ts),
        ("tg_avg_ts", figures.tg_avg_ts),
        ("tg_stddev_ts", figures.tg_stddev_ts),
    ] {
        map.insert(name.to_owned(), rounded(value));
    }
    if simulated {
        map.insert("simulated".to_owned(), Value::Bool(true));
    }
    let shown =
        cases.iter().filter_map(|text| serde_json::from_str::<Value>(text).ok()).map(compact).collect();
    map.insert("cases".to_owned(), Value::Array(shown));
    map
}

fn compact(mut case: Value) -> Value {
    if let Some(fields) = case.as_object_mut() {
        let launches = fields.remove("samples_ts").unwrap_or_default();
        let counts: Vec<usize> =
            launches.as_array().into_iter().flatten().filter_map(Value::as_array).map(Vec::len).collect();
        fields.insert("launches".to_owned(), counts.len().into());
        fields.insert("samples".to_owned(), counts.iter().sum::<usize>().into());
        for name in ["avg_ts", "median_ts", "stddev_ts"] {
            if let Some(value) = fields.get_mut(name) {
                *value = rounded(value.as_f64());
            }
        }
        if fields.get("slow_first").and_then(Value::as_array).is_some_and(Vec::is_empty) {
            fields.shift_remove("slow_first");
        }
    }
    case
}

fn rounded(value: Option<f64>) -> Value {
    value.map_or(Value::Null, |value| Value::from(four_places(value)))
}

/// Four places after the point are more than any benchmark carries.
pub fn four_places(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

pub fn past(measured: &Measured) -> Past {
    let (run, figures) = (&measured.run, measured.figures.as_ref());
    Past {
        id: run.id.to_string(),
        phase: run.state.phase().as_str(),
        reason: match &run.state {
            RunState::Ended(end) if end.phase != EndPhase::Completed => Some(end.reason.as_str()),
            RunState::Pending
            | RunState::Preparing { .. }
            | RunState::Running { .. }
            | RunState::Collecting { .. }
            | RunState::Ended(_) => None,
        },
        completed_at: run.completed_at.clone(),
        figures: match &run.spec {
            Spec::LoadTest(_) | Spec::Model(_) | Spec::Imported(_) => {
                PastFigures::Load { headline: run.headline.clone() }
            }
            Spec::LlamaBench(_) | Spec::Apply(_) | Spec::Baseline(_) | Spec::Comparison(_) => {
                PastFigures::Bench {
                    pp_avg_ts: figures.and_then(|figures| figures.pp_avg_ts).map(four_places),
                    tg_avg_ts: figures.and_then(|figures| figures.tg_avg_ts).map(four_places),
                }
            }
        },
    }
}

pub fn applied(apply: &ApplyRow) -> Applied {
    let (state, outcome, refusal) = match &apply.state {
        ApplyState::Planned => ("Planned", None, None),
        ApplyState::Writing { outcome } => ("Writing", Some(outcome), None),
        ApplyState::Restarting { outcome } => ("Restarting", Some(outcome), None),
        ApplyState::Done { outcome } => ("Done", Some(outcome), None),
        ApplyState::Reverted { outcome } => ("Reverted", Some(outcome), None),
        ApplyState::Failed { refusal, outcome } => ("Failed", outcome.as_deref(), Some(refusal)),
    };
    let map = |pairs: &[(String, String)]| {
        pairs.iter().map(|(name, value)| (name.clone(), Value::String(value.clone()))).collect()
    };
    Applied {
        id: apply.id.to_string(),
        state,
        run: apply.run.map(|run| run.to_string()),
        reason: refusal.map(|refusal| refusal.reason.as_str().to_owned()),
        message: refusal.map(|refusal| refusal.message.clone()),
        service: outcome.map(|outcome| outcome.service.clone()),
        params: outcome.map(|outcome| map(&outcome.applied)).unwrap_or_default(),
        skipped: outcome.map(|outcome| map(&outcome.skipped)).unwrap_or_default(),
        dry_run: outcome.is_some_and(|outcome| outcome.dry_run),
        restart_needed: outcome.is_some_and(|outcome| outcome.restart_needed),
        restart_command: outcome.and_then(|outcome| outcome.restart_command.clone()),
        diff: outcome.map(|outcome| outcome.diff.clone()).unwrap_or_default(),
    }
}

/// The phase of an apply request, in a run's words.
pub fn apply_phase(apply: &ApplyRow) -> Phase {
    match &apply.state {
        ApplyState::Planned => Phase::Pending,
        ApplyState::Writing { .. } | ApplyState::Restarting { .. } => Phase::Running,
        ApplyState::Done { .. } => Phase::Completed,
        ApplyState::Failed { .. } => Phase::Failed,
        ApplyState::Reverted { .. } => Phase::Cancelled,
    }
}

/// A document of a request with its status.
pub fn document(kind: Option<String>, metadata: Metadata, status: Status) -> StatusDocument {
    StatusDocument { api_version: API_VERSION, kind, metadata, status }
}

/// The file's text: its header line, then a stream with one document a request, in the file's order.
///
/// # Errors
/// A value that YAML cannot hold.
pub fn stream(header: &str, documents: &[StatusDocument]) -> Result<String, serde_yaml::Error> {
    let mut text = header.to_owned();
    for (number, document) in documents.iter().enumerate() {
        if number > 0 {
            text.push_str("---\n");
        }
        text.push_str(&serde_yaml::to_string(document)?);
    }
    Ok(text)
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}
