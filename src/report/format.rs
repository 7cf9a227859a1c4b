//! The formats of reports: their names, their files' endings, and which renderer makes them. Writes no
//! file.

use serde::Serialize;

use super::content::{Report, Request, Run};
use super::csv::{self, Rows};
use super::{escape, html, markdown};
use crate::request::report_files::ReportFormat;
use crate::run::fingerprint::Fingerprint;

/// The form of the system's own JSON.
pub const SYSTEM_SCHEMA: &str = "benchlet/system/v1";

/// The machine of a run alone.
#[derive(Debug, Serialize)]
struct System<'r> {
    schema: &'static str,
    request: &'r Request,
    run: &'r Run,
    simulated: bool,
    system: &'r Option<Fingerprint>,
}

/// A report as text that ends with a line end.
///
/// # Errors
/// A value that JSON cannot hold.
pub fn render(report: &Report, format: ReportFormat, rows: Rows) -> Result<String, serde_json::Error> {
    Ok(match format {
        ReportFormat::Markdown => markdown::render(report),
        ReportFormat::Html => html::render(report),
        ReportFormat::Csv => csv::render(report, rows),
        ReportFormat::Json => json(report)?,
        ReportFormat::System => {
            let (request, run, system) = (&report.request, &report.run, &report.system);
            let simulated = report.simulated;
            json(&System { schema: SYSTEM_SCHEMA, request, run, simulated, system })?
        }
    })
}

/// The name of its file: `load-3f2a9c1b.md`.
pub fn file_name(report: &Report, format: ReportFormat) -> String {
    format!("{}-{}.{}", report.request.name, report.run.short_id(), format.ending())
}

fn json(value: &impl Serialize) -> Result<String, serde_json::Error> {
    Ok(escape::json(&serde_json::to_string_pretty(value)?).into_owned() + "\n")
}
