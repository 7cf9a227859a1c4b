//! `llama-bench -o sql`: a table's definition, then an INSERT a test. Reads INSERTs with their columns and
//! values and runs nothing; what the columns mean is `llama_bench`'s.

use serde_json::{Map, Value};

use super::error::{ImportError, Place};
use super::fields::Source;
use super::llama_bench::{RawRows, object};

/// The tables' names, of newer and of older builds.
const INSERTS: [&str; 2] = ["INSERT INTO llama_bench ", "INSERT INTO test "];

pub fn is_it(text: &str) -> bool {
    INSERTS.iter().any(|insert| text.contains(insert))
}

/// Every row with its line.
///
/// # Errors
/// A statement that does not name its columns and their values.
pub fn rows(text: &str, source: Source<'_>) -> Result<RawRows, ImportError> {
    let inserts = (1..).zip(text.lines()).filter_map(|(at, line)| {
        let rest = INSERTS.iter().find_map(|insert| line.trim_start().strip_prefix(insert))?;
        Some((at, rest))
    });
    inserts
        .map(|(at, rest)| {
            let row = row(rest);
            row.map(|row| (at, row)).map_err(|reason| source.wrong(Place::Line(at), reason))
        })
        .collect()
}

fn row(rest: &str) -> Result<Map<String, Value>, String> {
    let mut rest = rest;
    let columns = list(&mut rest)?;
    let Some(mut after) = rest.trim_start().strip_prefix("VALUES") else {
        return Err("VALUES is missing; the statement has to stand on one line".to_owned());
    };
    let values = list(&mut after)?;
    if !after.trim_start().starts_with(';') {
        return Err("the statement does not end with ;".to_owned());
    }
    if values.len() != columns.len() {
        return Err(format!("it has {} values for {} columns", values.len(), columns.len()));
    }
    Ok(object(&columns, values))
}

/// `(a, 'b', …)`, taken off the text's beginning.
fn list(rest: &mut &str) -> Result<Vec<String>, String> {
    let Some(inside) = rest.trim_start().strip_prefix('(') else {
        return Err("a list in parentheses is missing".to_owned());
    };
    let mut items = Vec::new();
    let mut item = String::new();
    let mut quoted = false;
    let mut chars = inside.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match (c, quoted) {
            ('\'', true) if chars.peek().is_some_and(|(_, next)| *next == '\'') => {
                chars.next();
                item.push('\'');
            }
            ('\'', _) => quoted = !quoted,
            (',' | ')', false) => {
                items.push(std::mem::take(&mut item));
                if c == ')' {
                    *rest = &inside[at + 1..];
                    return Ok(items);
                }
            }
            (' ', false) => {}
            (c, _) => item.push(c),
        }
    }
    Err("a list in parentheses is not closed".to_owned())
}
