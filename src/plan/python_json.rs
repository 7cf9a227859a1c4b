//! JSON as Python's `json.dumps(value, ensure_ascii=False)` writes it, which is what models have seen of
//! tools and arguments: a blank after each comma and colon. Writes values; reads none.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter};

/// The text of a value; over several lines, so many blanks a level, where `indent` says so.
///
/// # Errors
/// The value has no JSON.
pub(super) fn dumps(value: &impl Serialize, indent: Option<usize>) -> serde_json::Result<String> {
    let mut bytes = Vec::new();
    match indent {
        None => value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, OneLine))?,
        Some(indent) => {
            let blanks = " ".repeat(indent.min(MOST_INDENT));
            let formatter = PrettyFormatter::with_indent(blanks.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))?;
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Nobody indents further.
const MOST_INDENT: usize = 32;

struct OneLine;

impl Formatter for OneLine {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_has_the_blanks_that_python_writes() {
        let value = json!({ "a": [1, 2.5, null], "b": { "c": "é<&>'\"" }, "d": {} });
        let text = dumps(&value, None).unwrap();
        assert_eq!(text, r#"{"a": [1, 2.5, null], "b": {"c": "é<&>'\""}, "d": {}}"#);
        assert_eq!(
            dumps(&json!({ "a": [1], "b": [] }), Some(4)).unwrap(),
            "{\n    \"a\": [\n        1\n    ],\n    \"b\": []\n}"
        );
    }
}
