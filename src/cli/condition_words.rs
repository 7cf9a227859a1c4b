//! Conditions as lists and descriptions show them: a mark beside a phase that would otherwise look good, a table
//! with every message, and the problems of a document that is not accepted. Reads nothing by itself.

use jiff::Timestamp;

use super::error::CliError;
use super::output::{Cell, Console, Style, Table, age, clean};
use super::phase_words::phase_cell;
use crate::request::diagnostic::Located;
use crate::run::phase::Phase;
use crate::store::conditions::NamedCondition;

/// The phase, and what is not so of a run that completed: `Completed (Valid=False)`, with the reasons
/// `Completed (Valid=False: ClientLate)`. One that did not complete says by its phase that it is not whole.
pub fn marked_phase(phase: &str, untrue: &[(String, String)], with_reasons: bool) -> Cell {
    if phase != Phase::Completed.as_str() || untrue.is_empty() {
        return phase_cell(phase);
    }
    let marks: Vec<String> = untrue
        .iter()
        .map(
            |(kind, reason)| {
                if with_reasons { format!("{kind}=False: {reason}") } else { format!("{kind}=False") }
            },
        )
        .collect();
    Cell::new(format!("{phase} ({})", marks.join(", "))).style(Style::Busy)
}

/// Every condition with its message.
pub fn table(conditions: Vec<NamedCondition>) -> Table {
    let now = Timestamp::now();
    let mut table = Table::new(&["TYPE", "STATUS", "REASON", "AGE", "MESSAGE"]).indented(2);
    for NamedCondition { kind, condition } in conditions {
        let style = match condition.status.as_str() {
            "False" => Style::Bad,
            "True" => Style::Good,
            _ => Style::Plain,
        };
        table.row(vec![
            kind.into(),
            Cell::new(condition.status).style(style),
            condition.reason.into(),
            age(&condition.changed_at, now).into(),
            Cell::maybe(Some(condition.message)),
        ]);
    }
    table
}

/// Each problem with its place in the file, the text that is there, and what to do.
///
/// # Errors
/// The stream cannot be written.
pub fn print_problems(problems: &[Located], console: &mut Console) -> Result<(), CliError> {
    for problem in problems {
        let place = match (problem.line, problem.column) {
            (Some(line), Some(column)) => format!("{line}:{column}: "),
            (None | Some(_), _) => String::new(),
        };
        console.line(format!("  {place}{}", clean(&problem.message)))?;
        if let Some(text) = &problem.text {
            console.line(format!("    it says: {}", clean(text)))?;
        }
        if let Some(hint) = &problem.hint {
            console.line(format!("    hint: {}", clean(hint)))?;
        }
    }
    Ok(())
}
