//! `report` of a request: which reports are written when a run ends, and where. Decodes and holds it; the
//! controller writes them.

use serde::{Deserialize, Serialize};

use super::fields::{Fields, Problems};
use super::schema::REPORT;
use super::tree::Node;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportFiles {
    /// At least one, none twice.
    pub formats: Vec<ReportFormat>,
    /// Empty where the request does not say.
    pub dir: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReportFormat {
    Markdown,
    Html,
    Csv,
    Json,
    /// The machine alone, as JSON.
    System,
}

impl ReportFormat {
    /// As requests and the command line spell them.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("md", Self::Markdown),
        ("html", Self::Html),
        ("csv", Self::Csv),
        ("json", Self::Json),
        ("system", Self::System),
    ];

    /// What follows the name of a report's file.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Markdown => "md",
            Self::Html => "html",
            Self::Csv => "csv",
            Self::Json => "json",
            Self::System => "system.json",
        }
    }
}

/// `None` where the field is absent or has problems.
pub fn decode(node: &Node, problems: &Problems) -> Option<ReportFiles> {
    let fields = Fields::new(node, "spec.report", REPORT, problems)?;
    let formats = fields.parsed_list("formats", ReportFormat::NAMES.len(), |text| {
        let found = ReportFormat::NAMES.iter().find(|(name, _)| *name == text);
        found.map(|(_, format)| *format).ok_or_else(|| "one of md, html, csv, json, system".to_owned())
    });
    let dir = fields.text("dir").unwrap_or_default();
    if dir.contains('\0') || dir.split('/').any(|part| part == "..") {
        fields.refuse("dir", "leads out of where it begins", "name a directory without ..");
    }
    let mut formats = match formats {
        Some(formats) => formats,
        None if fields.get("formats").is_some() => return None,
        None => vec![ReportFormat::Markdown],
    };
    let mut seen = Vec::new();
    formats.retain(|format| {
        !seen.contains(format) && {
            seen.push(*format);
            true
        }
    });
    Some(ReportFiles { formats, dir })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{tree, valid};

    fn decode(report: &str) -> Result<Option<ReportFiles>, Vec<String>> {
        let text = format!(
            "apiVersion: benchlet/v1\nkind: LlamaBench\nmetadata: {{ name: a }}\nspec: {{ service: a, report: {report} }}\n"
        );
        let stream = tree::parse(&text);
        let request = valid::validate(stream.documents[0].root.as_ref().unwrap(), 0, "x");
        request
            .map(|request| request.control.report)
            .map_err(|problems| problems.iter().map(|problem| problem.locate(&text).to_string()).collect())
    }

    #[test]
    fn formats_are_one_or_several_and_markdown_where_none_is_named() {
        let of = |report: &str| decode(report).unwrap().unwrap();
        assert_eq!(of("{ dir: nightly }").formats, [ReportFormat::Markdown]);
        assert_eq!(of("{ formats: html }").formats, [ReportFormat::Html]);
        let several = of("{ formats: [csv, json, csv, system], dir: /srv/reports }");
        assert_eq!(several.formats, [ReportFormat::Csv, ReportFormat::Json, ReportFormat::System]);
        assert_eq!(several.dir, "/srv/reports");
        assert_eq!(decode("").unwrap(), None);
    }

    #[test]
    fn what_is_no_format_and_what_leads_elsewhere_is_refused_with_a_hint() {
        let refused = |report: &str| decode(report).unwrap_err().join("; ");
        assert!(
            refused("{ formats: [pdf] }").contains("cannot be \"pdf\" (one of md, html, csv, json, system)")
        );
        assert!(refused("{ dir: ../requests }").contains("spec.report.dir leads out of where it begins"));
        assert!(refused("{ format: md }").contains("unknown field \"format\""));
    }
}
