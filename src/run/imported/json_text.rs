//! JSON as tools write it: one value, or one a line; with Python's `NaN` and `Infinity`, which are unknown
//! here. Finds the place of what is no JSON; knows no format.

use std::borrow::Cow;

use serde_json::Value;

use super::error::{ImportError, Place};
use super::fields::{At, Source};
use super::{Format, ImportedRun};

/// Values with the lines on which they begin.
#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    pub items: Vec<(usize, Value)>,
    /// One value a line.
    pub lines: bool,
}

/// Where a text is no JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoJson {
    place: Place,
    reason: String,
    hint: Option<&'static str>,
}

impl NoJson {
    pub fn in_file(self, file: &str, format: Option<Format>) -> ImportError {
        let error = ImportError::new(file, format, self.place, self.reason);
        match self.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

impl Text {
    /// # Errors
    /// The place at which it stops being JSON.
    pub fn read(text: &str) -> Result<Self, NoJson> {
        let text = unknown_as_null(text);
        let whole = match serde_json::from_str::<Value>(&text) {
            Ok(value) => return Ok(Self { items: vec![(1, value)], lines: false }),
            Err(error) => error,
        };
        let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        // A first line that is whole begins JSON Lines; what is wrong then is wrong in its own line.
        if !whole.is_eof() && serde_json::from_str::<Value>(first).is_ok() {
            let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
            let items = lines.map(|(at, line)| match serde_json::from_str(line) {
                Ok(value) => Ok((at, value)),
                Err(error) => Err(no_json(&error, at - 1)),
            });
            return Ok(Self { items: items.collect::<Result<_, _>>()?, lines: true });
        }
        Err(no_json(&whole, 0))
    }

    /// The runs of every value, each read by itself.
    ///
    /// # Errors
    /// Of the first one that is not as its form has it.
    pub fn each(
        &self,
        source: Source<'_>,
        read: impl Fn(&At<'_>) -> Result<ImportedRun, ImportError>,
    ) -> Result<Vec<ImportedRun>, ImportError> {
        self.items
            .iter()
            .map(|(line, value)| self.on_its_line(*line, read(&At::root(source, value))))
            .collect()
    }

    /// Where there is a value a line, an error names the line as well.
    pub fn on_its_line<T>(&self, line: usize, read: Result<T, ImportError>) -> Result<T, ImportError> {
        read.map_err(|error| match (&error.place, self.lines) {
            (Place::Field(path), true) => {
                let reason = format!("{path}: {}", error.reason);
                ImportError { place: Place::Line(line), reason, ..error }
            }
            (Place::Field(_) | Place::File | Place::Line(_) | Place::Column { .. }, _) => error,
        })
    }
}

fn no_json(error: &serde_json::Error, lines_before: usize) -> NoJson {
    let (line, column) = (lines_before + error.line(), error.column());
    let whole = error.to_string();
    // serde's own place is of the line alone that it was given.
    let reason = whole.rsplit_once(" at line ").map_or(whole.as_str(), |(reason, _)| reason);
    let cut = error.is_eof();
    NoJson {
        place: Place::Column { line, column },
        reason: if cut { format!("the file ends too early: {reason}") } else { format!("no JSON: {reason}") },
        hint: cut.then_some("it may have been cut off while it was written or copied"),
    }
}

/// `NaN` and the infinities outside of texts, which Python writes and JSON does not have.
fn unknown_as_null(text: &str) -> Cow<'_, str> {
    if !text.contains("NaN") && !text.contains("Infinity") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 64);
    let mut rest = text;
    let mut quoted = false;
    while let Some(c) = rest.chars().next() {
        let word =
            ["-Infinity", "Infinity", "NaN"].into_iter().find(|word| !quoted && rest.starts_with(word));
        let taken = match (word, c) {
            (Some(word), _) => {
                out.push_str("null");
                word.len()
            }
            (None, '\\') if quoted => {
                let escaped = 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
                out.push_str(&rest[..escaped]);
                escaped
            }
            (None, c) => {
                quoted ^= c == '"';
                out.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_a_line_is_read_as_such() {
        let text = Text::read("{\"a\": 1}\n\n{\"a\": 2}\n").unwrap();
        let lines: Vec<usize> = text.items.iter().map(|(line, _)| *line).collect();
        assert_eq!((lines, text.lines), (vec![1, 3], true));
        assert!(!Text::read("{\"a\":\n 1}").unwrap().lines);
    }

    #[test]
    fn what_is_no_json_has_its_line_and_column() {
        let error = Text::read("{\"a\": 1,\n \"b\": oops}").unwrap_err();
        assert_eq!(error.place, Place::Column { line: 2, column: 7 });
        let error = Text::read("{\"a\": 1}\n{\"a\" 2}\n").unwrap_err();
        assert_eq!(error.place, Place::Column { line: 2, column: 6 });
        let cut = Text::read("{\"a\": [1, 2").unwrap_err();
        assert!(cut.reason.contains("ends too early") && cut.hint.is_some(), "{cut:?}");
    }

    #[test]
    fn pythons_unknown_numbers_are_null_and_texts_stay() {
        let text = Text::read(r#"{"a": NaN, "b": [-Infinity, Infinity], "c": "NaN \" NaN"}"#).unwrap();
        let expected = serde_json::json!({ "a": null, "b": [null, null], "c": "NaN \" NaN" });
        assert_eq!(text.items[0].1, expected);
    }
}
