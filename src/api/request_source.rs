//! `GET /api/requests/{name}/source`: a request's file as it is now, and what is wrong with it where.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::{Value, json};

use super::error::ApiError;
use super::extract::Named;
use super::operation::{Operation, schema};
use super::state::Api;
use crate::controller::request_source::{self, Problem, SourceError};

/// Problems of one answer; a file may have one a line.
const MOST_PROBLEMS: usize = 500;

pub fn operations() -> Vec<Operation> {
    let (text, maybe) = (schema::text, schema::maybe);
    let problem = schema::object(&[
        ("message", text()),
        ("hint", maybe("string")),
        ("severity", json!({ "enum": ["Error", "Warning"] })),
        ("document", maybe("integer")),
        ("line", maybe("integer")),
        ("column", maybe("integer")),
        ("end_line", maybe("integer")),
        ("end_column", maybe("integer")),
        ("text", maybe("string")),
    ]);
    vec![
        Operation::new(
            "get",
            "/api/requests/{name}/source",
            "requests",
            "The file of a request, and what is wrong with it",
            get(show),
        )
        .path_parameter("name", "The request, also one that was refused")
        .json(
            200,
            "Lines and columns count from 1, columns in characters; the end is behind the last one",
            schema::object(&[
                ("name", text()),
                ("path", text()),
                ("text", text()),
                ("document", schema::of("integer")),
                ("problems", schema::list(&problem)),
            ]),
        )
        .refuses(404, "There is no such request.")
        .refuses(410, "Its file is not there any more.")
        .refuses(413, "The file is too large for a request."),
    ]
}

async fn show(State(api): State<Api>, Named(name): Named<String>) -> Result<axum::Json<Value>, ApiError> {
    let (context, asked) = (api.context.clone(), name.clone());
    let found = api.work(move |store| request_source::source(&context, store, &asked)).await?;
    let problems: Vec<Value> =
        found.problems.iter().take(MOST_PROBLEMS).map(|problem| shown(problem, &found.text)).collect();
    Ok(axum::Json(json!({
        "name": name,
        "path": found.path.display().to_string(),
        "text": &*found.text,
        "document": found.document,
        "problems": problems,
    })))
}

fn shown(found: &Problem, source: &str) -> Value {
    let located = found.problem.locate(source);
    let end = found.problem.end(source);
    json!({
        "message": located.message,
        "hint": located.hint,
        "severity": located.severity,
        "document": found.document,
        "line": located.line,
        "column": located.column,
        "end_line": end.map(|(line, _)| line),
        "end_column": end.map(|(_, column)| column),
        "text": located.text,
    })
}

impl From<SourceError> for ApiError {
    fn from(error: SourceError) -> Self {
        let said = error.to_string();
        match error {
            SourceError::Store(error) => error.into(),
            SourceError::Unknown(_) => Self::not_found(said),
            SourceError::Gone(_) => Self::new(StatusCode::GONE, "gone", said),
            SourceError::TooLarge { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", said),
        }
    }
}
