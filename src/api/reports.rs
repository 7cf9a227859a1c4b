//! What an ended run measured, as its report tells it: the pictures alone, and the report itself as
//! `benchlet report` writes it.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ApiError;
use super::extract::{Named, Query};
use super::operation::{Content, Operation, schema};
use super::runs::find;
use super::state::Api;
use crate::report::csv::Rows;
use crate::report::gather::{self, ReportError};
use crate::report::plot::{self, Figure};
use crate::report::{format, outline_figures};
use crate::request::report_files::ReportFormat;

/// Pictures of one answer; a load test may have several a case.
const MOST_PLOTS: usize = 60;
/// Largest report that is answered.
const LARGEST: usize = 64 << 20;
/// A report is a text to read: no script, nothing from elsewhere, no frame around it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; sandbox";

pub fn operations() -> Vec<Operation> {
    let key = schema::object(&[("colour", schema::of("integer")), ("name", schema::text())]);
    let plot = schema::object(&[
        ("title", schema::text()),
        ("simulated", schema::of("boolean")),
        ("svg", schema::text()),
        ("legend", schema::list(&key)),
    ]);
    let texts = vec![
        ("text/html", schema::text()),
        ("text/markdown", schema::text()),
        ("text/csv", schema::text()),
        ("application/json", schema::of("object")),
    ];
    vec![
        Operation::new("get", "/api/benchmarks/{id}/plots", "benchmarks", "The pictures of a run's report", get(plots))
            .path_parameter("id", "The run's id, or its first eight characters or more")
            .json(
                200,
                "As SVG to stand inline; none where there is nothing to draw. `left_out` are those beyond the sixtieth",
                schema::object(&[("plots", schema::list(&plot)), ("left_out", schema::of("integer"))]),
            )
            .refuses(404, "There is no such run."),
        Operation::new("get", "/api/benchmarks/{id}/report", "benchmarks", "A run's report", get(report))
            .path_parameter("id", "The run's id, or its first eight characters or more")
            .query("format", "html by default", json!({ "enum": ["md", "html", "csv", "json"] }))
            .answer(200, "The report, as `benchlet report` writes it", Content::Texts(texts))
            .refuses(404, "There is no such run.")
            .refuses(409, "The run has not ended.")
            .refuses(413, "The report is too large to be answered."),
    ]
}

async fn plots(State(api): State<Api>, Named(id): Named<String>) -> Result<axum::Json<Value>, ApiError> {
    let run = find(&api, id).await?.id;
    let drawn = api
        .work(move |store| match gather::report(store, run) {
            Ok(report) => Ok(shown(&outline_figures::figures(&report))),
            Err(ReportError::NotEnded { .. } | ReportError::NothingMeasured) => Ok(shown(&[])),
            Err(error) => Err(error),
        })
        .await?;
    Ok(axum::Json(drawn))
}

fn shown(figures: &[Figure]) -> Value {
    let mut drawn: Vec<Value> = figures.iter().filter_map(picture).collect();
    let left_out = drawn.len().saturating_sub(MOST_PLOTS);
    drawn.truncate(MOST_PLOTS);
    json!({ "plots": drawn, "left_out": left_out })
}

fn picture(figure: &Figure) -> Option<Value> {
    let svg = plot::svg(figure)?;
    let legend = plot::legend(&figure.chart);
    let legend: Vec<Value> =
        legend.into_iter().map(|(colour, name)| json!({ "colour": colour, "name": name })).collect();
    Some(json!({ "title": figure.title, "simulated": figure.simulated, "svg": svg, "legend": legend }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    format: Option<String>,
}

/// As the query spells them, with the media type of each.
const FORMATS: [(&str, ReportFormat, &str); 4] = [
    ("md", ReportFormat::Markdown, "text/markdown; charset=utf-8"),
    ("html", ReportFormat::Html, "text/html; charset=utf-8"),
    ("csv", ReportFormat::Csv, "text/csv; charset=utf-8"),
    ("json", ReportFormat::Json, "application/json"),
];

async fn report(
    State(api): State<Api>,
    Named(id): Named<String>,
    Query(asked): Query<Asked>,
) -> Result<(HeaderMap, String), ApiError> {
    let wanted = asked.format.as_deref().unwrap_or("html");
    let Some((_, format, media)) = FORMATS.into_iter().find(|(name, ..)| *name == wanted) else {
        return Err(ApiError::bad_request("format is one of md, html, csv, json"));
    };
    let run = find(&api, id).await?.id;
    let (name, text) = api
        .work(move |store| -> Result<_, ApiError> {
            let report = gather::report(store, run)?;
            let text =
                format::render(&report, format, Rows::Cases).map_err(|error| ApiError::internal(&error))?;
            Ok((format::file_name(&report, format), text))
        })
        .await?;
    if text.len() > LARGEST {
        let message = format!("it has {} MiB; `benchlet report` writes it into a file", text.len() >> 20);
        return Err(ApiError::new(axum::http::StatusCode::PAYLOAD_TOO_LARGE, "too_large", message));
    }
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CONTENT_DISPOSITION, disposition(&name));
    if format == ReportFormat::Html {
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    }
    Ok((headers, text))
}

/// A name that any browser saves it under: what could end the header's text is a dash.
fn disposition(name: &str) -> HeaderValue {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let name: String = name.chars().map(plain).collect();
    HeaderValue::from_str(&format!("inline; filename=\"{name}\""))
        .unwrap_or(HeaderValue::from_static("inline"))
}

impl From<ReportError> for ApiError {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::Store(error) => error.into(),
            ReportError::NoRun(_) => Self::not_found(error.to_string()),
            ReportError::NotEnded { .. } => Self::conflict("not_ended", error.to_string()),
            ReportError::NothingMeasured => Self::invalid("nothing_measured", error.to_string()),
            ReportError::Decode { .. } => Self::internal(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_name_cannot_end_its_header() {
        assert_eq!(
            disposition("load \"x\"\r\nSet-Cookie: ü.md"),
            "inline; filename=\"load--x---Set-Cookie---.md\""
        );
    }
}
