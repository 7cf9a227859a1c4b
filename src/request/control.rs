//! The fields that every kind shares: they steer a run and are no part of what is measured.

use serde::{Deserialize, Serialize};

use super::fields::Fields;
use super::gate::{self, Gate};
use super::report_files::{self, ReportFiles};

/// What an edit does to a run in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum OnChange {
    /// It finishes; then the newest spec runs.
    #[default]
    Queue,
    /// It is cancelled for the new one.
    Replace,
    /// It finishes, and the edit starts nothing.
    Ignore,
}

/// What removing the file does to a run in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum OnDelete {
    #[default]
    Finish,
    Cancel,
}

/// What a request wants of its runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum DesiredState {
    #[default]
    Active,
    Suspended,
    Cancelled,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Control {
    pub desired: DesiredState,
    pub on_change: OnChange,
    pub on_delete: OnDelete,
    pub rerun: Option<String>,
    /// Longest time in Running, in milliseconds.
    pub timeout_ms: u64,
    /// Retries of a failed run.
    pub backoff_limit: u32,
    /// Reports to write when a run ends.
    #[serde(default)]
    pub report: Option<ReportFiles>,
    /// What each completed run is held against.
    #[serde(default)]
    pub gate: Option<Box<Gate>>,
}

/// Longest time in Running where the request does not say.
pub fn default_timeout_ms(kind: &str) -> u64 {
    const MINUTE: u64 = 60 * 1000;
    match kind {
        // A matrix of many cases, each with requests that may take minutes.
        "LoadTest" | "Conversation" => 60 * MINUTE,
        // Hundreds of gigabytes over a line that is not the best.
        "Model" => 24 * 60 * MINUTE,
        _ => 10 * MINUTE,
    }
}

/// Decodes the shared fields that the kind's table has.
pub fn decode(fields: &Fields<'_>, kind: &str) -> Control {
    let cancelled = fields.choice("state", &[("Cancelled", DesiredState::Cancelled)]);
    let suspended = fields.boolean("suspend").filter(|suspend| *suspend).map(|_| DesiredState::Suspended);
    let measures = matches!(kind, "LlamaBench" | "LoadTest" | "Conversation");
    let runs = measures || kind == "Model";
    let timed = runs || kind == "Apply";
    Control {
        desired: cancelled.or(suspended).unwrap_or_default(),
        on_change: runs
            .then(|| {
                fields.choice(
                    "onChange",
                    &[
                        ("Queue", OnChange::Queue),
                        ("Replace", OnChange::Replace),
                        ("Ignore", OnChange::Ignore),
                    ],
                )
            })
            .flatten()
            .unwrap_or_default(),
        on_delete: fields
            .choice("onDelete", &[("Finish", OnDelete::Finish), ("Cancel", OnDelete::Cancel)])
            .unwrap_or_default(),
        rerun: fields.text("rerun").filter(|token| !token.is_empty()),
        timeout_ms: timed
            .then(|| fields.duration_ms("timeout"))
            .flatten()
            .unwrap_or(default_timeout_ms(kind)),
        backoff_limit: runs.then(|| fields.integer("backoffLimit", 0, 10)).flatten().unwrap_or(0),
        report: measures.then(|| report_files::decode(fields.get("report")?, fields.problems)).flatten(),
        gate: measures
            .then(|| gate::decode_gate(fields.get("gate")?, fields.problems).map(Box::new))
            .flatten(),
    }
}
