//! Reads the text of `.env` files and `env_file`s. Pure: variables come from an argument.

use super::interpolate::{InterpolateError, interpolate};

/// A line that could not be read, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvFileError {
    /// Without its text, which may be a part of a key.
    #[error("line {line} is no NAME=value")]
    NotAnAssignment { line: usize },
    #[error("line {line}: the quote {quote} is never closed")]
    OpenQuote { line: usize, quote: char },
    #[error("line {line}: {source}")]
    Variable { line: usize, source: InterpolateError },
}

/// The assignments in their order. A bare `NAME` takes its value from `lookup` and is left out where
/// that has none. Later lines see the variables of earlier ones.
///
/// # Errors
/// At the first line that cannot be read.
pub fn parse(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<(String, String)>, EnvFileError> {
    let mut result: Vec<(String, String)> = Vec::new();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut line = 0;
    while !rest.is_empty() {
        line += 1;
        let (first, after) = rest.split_once('\n').unwrap_or((rest, ""));
        let mut statement = first.trim();
        rest = after;
        if statement.is_empty() || statement.starts_with('#') {
            continue;
        }
        statement = statement.strip_prefix("export ").unwrap_or(statement).trim_start();
        let (name, value) = match statement.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(value.trim_start())),
            None => (statement, None),
        };
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(EnvFileError::NotAnAssignment { line });
        }
        let Some(value) = value else {
            result.extend(lookup(name).map(|value| (name.to_owned(), value)));
            continue;
        };
        let known = |wanted: &str| {
            lookup(wanted).or_else(|| {
                result.iter().rev().find(|(name, _)| name == wanted).map(|(_, value)| value.clone())
            })
        };
        let begins = line;
        let replaced = |text: &str| {
            interpolate(text, &known)
                .map(|done| done.text)
                .map_err(|source| EnvFileError::Variable { line: begins, source })
        };
        let value = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                // The value may go on over several lines, up to its quote.
                let from = value.as_ptr() as usize - text.as_ptr() as usize + 1;
                let (inner, end) =
                    quoted(&text[from..], quote).ok_or(EnvFileError::OpenQuote { line, quote })?;
                line += text[from..from + end].matches('\n').count();
                rest = text[from + end..].split_once('\n').map_or("", |(_, after)| after);
                if quote == '"' { replaced(&inner)? } else { inner }
            }
            Some('#') | None => String::new(),
            Some(_) => replaced(value.split(" #").next().unwrap_or(value).trim_end())?,
        };
        result.push((name.to_owned(), value));
    }
    Ok(result)
}

/// The text up to the closing quote with its escapes resolved, and the quote's place.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut inner = String::new();
    let mut chars = text.char_indices();
    while let Some((at, ch)) = chars.next() {
        match ch {
            ch if ch == quote => return Some((inner, at)),
            '\\' if quote == '"' => match chars.next()?.1 {
                'n' => inner.push('\n'),
                't' => inner.push('\t'),
                'r' => inner.push('\r'),
                '$' => inner.push_str("$$"),
                escaped @ ('"' | '\\') => inner.push(escaped),
                other => inner.extend(['\\', other]),
            },
            other => inner.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_comments_exports_and_variables_are_read() {
        let text = "# top\nexport A=1\r\nB = two words # comment\nC='$A'\nD=\"x\\n${A}\"\nE=\nF=\"1\n2\" # c\nG=${B}#x\nSET\nUNSET\n";
        let lookup = |name: &str| (name == "SET").then(|| "outer".to_owned());
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "$A"),
            ("D", "x\n1"),
            ("E", ""),
            ("F", "1\n2"),
            ("G", "two words#x"),
            ("SET", "outer"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(parse(text, &lookup).unwrap(), expected);
    }

    #[test]
    fn a_broken_line_is_named() {
        let error = parse("A=1\nnot this\n", &|_| None).unwrap_err();
        assert_eq!(error.to_string(), "line 2 is no NAME=value");
        assert!(matches!(parse("A=\"1\n", &|_| None), Err(EnvFileError::OpenQuote { line: 1, .. })));
    }
}
