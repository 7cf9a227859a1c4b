//! Problems of a document: a place, a reason and a suggestion. Places are byte ranges until they
//! are printed, when the source turns them into line and column.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Where in the source a problem is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub span: Option<Range<usize>>,
}

impl Place {
    pub fn at(span: Range<usize>) -> Self {
        Self { span: Some(span) }
    }

    /// The file as a whole, where no place within it can be named (not UTF-8, too large).
    pub fn whole_file() -> Self {
        Self { span: None }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Severity {
    Error,
    Warning,
}

/// One problem, not yet tied to a source text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    pub place: Place,
    pub message: String,
    pub hint: Option<String>,
}

impl Diagnostic {
    pub fn error(place: Place, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, place, message: message.into(), hint: None }
    }

    pub fn warning(place: Place, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, place, message: message.into(), hint: None }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Ties the problem to its source: line and column from 1 (columns in characters), and the
    /// offending text.
    pub fn locate(&self, source: &str) -> Located {
        let (line, column, text) = match &self.place.span {
            None => (None, None, None),
            Some(span) => {
                let start = floor_char(source, span.start);
                let end = floor_char(source, span.end.max(span.start));
                let (line, column) = position(source, start);
                let text = source[start..end].lines().next().unwrap_or("").trim_end();
                (Some(line), Some(column), (!text.is_empty()).then(|| shortened(text)))
            }
        };
        Located {
            severity: self.severity,
            line,
            column,
            text,
            message: self.message.clone(),
            hint: self.hint.clone(),
        }
    }

    /// Line and column behind the offending text, its last line's end apart.
    pub fn end(&self, source: &str) -> Option<(usize, usize)> {
        let span = self.place.span.as_ref()?;
        let start = floor_char(source, span.start);
        let end = floor_char(source, span.end.max(span.start));
        Some(position(source, start + source[start..end].trim_end().len()))
    }
}

/// Line and column of a byte, from 1, columns in characters.
fn position(source: &str, at: usize) -> (usize, usize) {
    let line_start = source[..at].rfind('\n').map_or(0, |at| at + 1);
    (source[..at].matches('\n').count() + 1, source[line_start..at].chars().count() + 1)
}

/// A problem with line and column, as status files, the store and `validate` show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Located {
    pub severity: Severity,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub column: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text: Option<String>,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
}

impl std::fmt::Display for Located {
    /// `12:5: unknown field "sevice" (did you mean "service"?)`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, "{line}:{column}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// `did you mean "service"?`, where one of the candidates is close enough to be meant.
pub fn did_you_mean<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let lower = given.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().min(given.len()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| format!("did you mean \"{candidate}\"?"))
}

fn floor_char(source: &str, at: usize) -> usize {
    source.floor_char_boundary(at.min(source.len()))
}

fn shortened(text: &str) -> String {
    const LONGEST: usize = 80;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST).chain(['…']).collect()
}
