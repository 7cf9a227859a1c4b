//! How lists show a phase, an id, flags and rates in a cell. Reads nothing.

use super::output::{Cell, Style, rate};
pub use crate::report::phase_summary::{Summary, of_apply, of_request, of_run, of_state};
use crate::run::phase::{EndPhase, RunState};
use crate::store::overview::RunSummary;

pub fn phase_cell(phase: &str) -> Cell {
    let style = match phase {
        "Completed" => Style::Good,
        "Failed" | "Invalid" => Style::Bad,
        "Preparing" | "Running" | "Collecting" => Style::Busy,
        "Suspended" | "Cancelled" | "Idle" | "Reverted" => Style::Dim,
        _ => Style::Plain,
    };
    Cell::new(phase).style(style)
}

/// A rate, or why there is none: a matrix has several.
pub fn rate_cell(run: &RunSummary, value: Option<f64>, other: Option<f64>) -> Cell {
    let completed = match &run.state {
        RunState::Ended(end) => end.phase == EndPhase::Completed,
        RunState::Pending
        | RunState::Preparing { .. }
        | RunState::Running { .. }
        | RunState::Collecting { .. } => false,
    };
    match value {
        Some(value) if run.simulated => Cell::new(format!("{} (sim)", rate(value))).style(Style::Dim),
        Some(value) => Cell::new(rate(value)),
        None if completed && other.is_none() && run.kind == "LlamaBench" => {
            Cell::new("matrix").style(Style::Dim)
        }
        None => Cell::new("-"),
    }
}

/// The beginning of an id that lists show.
pub fn short_id(id: uuid::Uuid) -> String {
    id.to_string()[..8].to_owned()
}

/// `-p 512 -n 128`, shortened.
pub fn short_params(params: &[(String, String)], most: usize) -> String {
    let words: Vec<String> = params
        .iter()
        .map(|(flag, value)| if value.is_empty() { flag.clone() } else { format!("{flag} {value}") })
        .collect();
    let text = words.join(" ");
    if text.chars().count() <= most {
        return text;
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}
