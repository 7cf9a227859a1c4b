//! `llama-bench -o csv`: a line of columns, then a line a test, every value in quotes. Splits lines; what
//! the columns mean is `llama_bench`'s.

use super::error::{ImportError, Place};
use super::fields::Source;
use super::llama_bench::{RawRows, object};

/// The first line names the columns of a test.
pub fn is_it(text: &str) -> bool {
    let head = text.lines().next().unwrap_or_default();
    let names: Vec<&str> = head.split(',').map(|name| name.trim().trim_matches('"')).collect();
    ["n_prompt", "n_gen", "avg_ts"].iter().all(|name| names.contains(name))
}

/// Every row with its line.
///
/// # Errors
/// A line with more or fewer values than there are columns, or with a quote that is not closed.
pub fn rows(text: &str, source: Source<'_>) -> Result<RawRows, ImportError> {
    let mut lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let Some((_, head)) = lines.next() else { return Ok(Vec::new()) };
    let wrong = |line, reason: String| source.wrong(Place::Line(line), reason);
    let columns = values(head).map_err(|reason| wrong(1, reason))?;
    lines
        .map(|(at, line)| {
            let values = values(line).map_err(|reason| wrong(at, reason))?;
            if values == columns {
                return Ok(None);
            }
            if values.len() != columns.len() {
                let reason = format!("it has {} values for {} columns", values.len(), columns.len());
                return Err(
                    wrong(at, reason).hint("was it cut off, or does a value have a comma outside of quotes?")
                );
            }
            Ok(Some((at, object(&columns, values))))
        })
        // Outputs that were put together begin with the columns again.
        .filter_map(Result::transpose)
        .collect()
}

fn values(line: &str) -> Result<Vec<String>, String> {
    let mut values = Vec::new();
    let mut value = String::new();
    let mut quoted = false;
    let mut chars = line.trim_end_matches('\r').chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quoted) {
            ('"', true) if chars.peek() == Some(&'"') => {
                chars.next();
                value.push('"');
            }
            ('"', _) => quoted = !quoted,
            (',', false) => values.push(std::mem::take(&mut value)),
            (c, _) => value.push(c),
        }
    }
    if quoted {
        return Err("a quote is not closed".to_owned());
    }
    values.push(value);
    Ok(values)
}
