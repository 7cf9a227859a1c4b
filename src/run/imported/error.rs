//! Why a file cannot be taken in: the file, the place in it, the reason, and what to do. Words alone.

use std::fmt;

use super::Format;

/// Where something is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The file as a whole.
    File,
    Line(usize),
    Column {
        line: usize,
        column: usize,
    },
    /// A value in JSON: `$.benchmarks[0].metrics`.
    Field(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => Ok(()),
            Self::Line(line) => write!(f, " line {line}:"),
            Self::Column { line, column } => write!(f, " line {line}, column {column}:"),
            Self::Field(path) => write!(f, " {path}:"),
        }
    }
}

/// One sentence with its place; the hint stands by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{}{place} {reason}", form(.format))]
pub struct ImportError {
    pub file: String,
    /// Where it was recognised.
    pub format: Option<Format>,
    pub place: Place,
    pub reason: String,
    pub hint: Option<String>,
}

fn form(format: &Option<Format>) -> String {
    format.map(|format| format!(" {format}:")).unwrap_or_default()
}

impl ImportError {
    pub fn new(file: &str, format: Option<Format>, place: Place, reason: impl Into<String>) -> Self {
        Self { file: file.to_owned(), format, place, reason: reason.into(), hint: None }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
