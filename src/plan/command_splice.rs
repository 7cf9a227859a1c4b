//! Changes single arguments of a `command` in a compose file's text. Every function gives the whole
//! new text, in which nothing but the argument and what separates it from its neighbours differs, or
//! `None` where the form leaves no room for the change. Knows nothing of flags' meaning.

use std::ops::Range;

use crate::request::tree::Style;

use super::command_text::{Argument, CommandText, Form};
use super::server_flags::FlagAt;
use super::shell_words::quoted;

/// Another text for one argument, quoted as the old one is.
pub fn replace(source: &str, command: &CommandText, at: usize, text: &str) -> Option<String> {
    let old = command.arguments.get(at)?;
    let new = match command.form {
        Form::FlowList | Form::BlockList => item(text, old)?,
        Form::Text(style) => word(text, old.quote, style),
    };
    Some(spliced(source, old.span.clone(), &new))
}

/// Takes arguments out, with their lines where they had lines of their own.
pub fn remove(source: &str, command: &CommandText, which: Range<usize>) -> Option<String> {
    let arguments = &command.arguments;
    let (first, last) = (arguments.get(which.start)?, arguments.get(which.end.checked_sub(1)?)?);
    if which.len() >= arguments.len() {
        return None;
    }
    match command.form {
        Form::BlockList => {
            let mut text = source.to_owned();
            for argument in arguments[which].iter().rev() {
                let lines = line_start(&text, argument.span.start)..line_end(&text, argument.span.end);
                text = without_lines(&text, lines);
            }
            Some(text)
        }
        Form::FlowList => {
            let next = arguments.get(which.end);
            let previous = which.start.checked_sub(1).and_then(|at| arguments.get(at));
            let gap = match (next, previous) {
                (Some(next), _) => first.span.start..next.span.start,
                (None, Some(previous)) if !source[previous.span.end..first.span.start].contains('#') => {
                    previous.span.end..last.span.end
                }
                // A comment stands before it and stays: the comma to go is then the one behind, if any.
                (None, Some(_)) => {
                    let behind = &source[last.span.end..];
                    let comma = behind.trim_start_matches(' ').starts_with(',');
                    let width = if comma { behind.find(',').map_or(0, |at| at + 1) } else { 0 };
                    first.span.start..last.span.end + width
                }
                (None, None) => return None,
            };
            Some(spliced(source, gap, ""))
        }
        Form::Text(_) => {
            let lines = line_start(source, first.span.start)..line_end(source, last.span.end);
            let blank = |range: Range<usize>| source[range].trim().is_empty();
            if lines.start > command.span.start.saturating_sub(first_line_indent(source, command))
                && blank(lines.start..first.span.start)
                && blank(last.span.end..lines.end)
            {
                return Some(without_lines(source, lines));
            }
            let next = arguments
                .get(which.end)
                .filter(|next| !source[last.span.end..next.span.start].contains('\n'));
            let previous = which.start.checked_sub(1).and_then(|at| arguments.get(at));
            let gap = match (next, previous) {
                (Some(next), _) => first.span.start..next.span.start,
                (None, Some(previous)) => previous.span.end..last.span.end,
                (None, None) => return None,
            };
            Some(spliced(source, gap, ""))
        }
    }
}

/// A value for a flag that stands bare.
pub fn insert_value(
    source: &str,
    command: &CommandText,
    flag_at: usize,
    value: &str,
    neighbours: &[FlagAt],
) -> Option<String> {
    let flag = command.arguments.get(flag_at)?;
    let like = value_like(command, neighbours).unwrap_or(flag);
    match command.form {
        Form::FlowList => {
            let new = format!(", {}", item(value, like)?);
            Some(spliced(source, flag.span.end..flag.span.end, &new))
        }
        Form::BlockList => Some(spliced_line(source, flag, &[item(value, like)?])),
        Form::Text(style) => {
            let new = format!(" {}", word(value, None, style));
            Some(spliced(source, flag.span.end..flag.span.end, &new))
        }
    }
}

/// A flag behind all arguments, written as its neighbours are.
pub fn append(
    source: &str,
    command: &CommandText,
    flag: &str,
    value: Option<&str>,
    neighbours: &[FlagAt],
) -> Option<String> {
    let last = command.arguments.last()?;
    let flag_like = neighbours.last().and_then(|flag| command.arguments.get(flag.at)).unwrap_or(last);
    let like = value_like(command, neighbours).unwrap_or(flag_like);
    match command.form {
        Form::BlockList => {
            let items = [Some(item(flag, flag_like)?), optional_item(value, like)?];
            Some(spliced_line(source, last, &items.into_iter().flatten().collect::<Vec<_>>()))
        }
        Form::FlowList => {
            let separator = flow_separator(source, command, flag_like);
            let mut new = format!("{separator}{}", item(flag, flag_like)?);
            if let Some(value) = optional_item(value, like)? {
                new.push_str(", ");
                new.push_str(&value);
            }
            Some(spliced(source, last.span.end..last.span.end, &new))
        }
        Form::Text(style) => {
            let start = line_start(source, flag_like.span.start);
            let indent = &source[start..flag_like.span.start];
            // Flags have lines of their own: so does this one.
            let own_line = indent.chars().all(|ch| ch == ' ' || ch == '\t') && start > command.span.start;
            let mut new = match own_line {
                true => format!("{}{indent}", newline(source)),
                false => " ".to_owned(),
            };
            new.push_str(&word(flag, None, style));
            if let Some(value) = value {
                new.push(' ');
                new.push_str(&word(value, None, style));
            }
            Some(spliced(source, last.span.end..last.span.end, &new))
        }
    }
}

fn value_like<'c>(command: &'c CommandText, neighbours: &[FlagAt]) -> Option<&'c Argument> {
    let flag = neighbours.iter().rev().find(|flag| flag.last() > flag.at)?;
    command.arguments.get(flag.last())
}

fn optional_item(value: Option<&str>, like: &Argument) -> Option<Option<String>> {
    match value {
        None => Some(None),
        Some(value) => item(value, like).map(Some),
    }
}

/// What stands between an argument and the flag behind it.
fn flow_separator(source: &str, command: &CommandText, flag: &Argument) -> String {
    let before = command.arguments.iter().rfind(|argument| argument.span.end <= flag.span.start);
    let gap = before.map_or(", ", |before| &source[before.span.end..flag.span.start]);
    if !gap.contains('#') {
        return gap.to_owned();
    }
    let indent = &source[line_start(source, flag.span.start)..flag.span.start];
    match indent.trim().is_empty() {
        true => format!(",{}{indent}", newline(source)),
        false => ", ".to_owned(),
    }
}

/// An item of a list in the style of another one. `None` for items that are blocks.
fn item(text: &str, like: &Argument) -> Option<String> {
    let text = text.replace('$', "$$");
    match like.style {
        Style::Plain if plain_item(&text, like) => Some(text),
        Style::Plain | Style::DoubleQuoted => Some(double_quoted(&text)),
        Style::SingleQuoted => Some(format!("'{}'", text.replace('\'', "''"))),
        Style::Literal | Style::Folded => None,
    }
}

/// Whether a text can stand unquoted and stays a text for Compose, or is a number as the old one was.
fn plain_item(text: &str, like: &Argument) -> bool {
    let letters = text.chars().all(|ch| ch.is_ascii_alphanumeric() || "-_./+=$".contains(ch));
    let starts = text.starts_with(|ch: char| ch.is_ascii_alphanumeric() || ch == '/' || ch == '-')
        && !text.starts_with("- ")
        && !matches!(text, "-" | "--" | "---");
    letters && starts && (!resolves_otherwise(text) || resolves_otherwise(&like.text))
}

fn resolves_otherwise(text: &str) -> bool {
    let number = text.trim_start_matches(['-', '+']).starts_with(|ch: char| ch.is_ascii_digit() || ch == '.');
    let word = text.to_ascii_lowercase();
    number || matches!(word.as_str(), "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n")
}

fn double_quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A word of a text, quoted for splitting and then for YAML.
fn word(text: &str, quote: Option<char>, style: Style) -> String {
    let text = text.replace('$', "$$");
    let safe_in_plain = |text: &str| !text.contains(": ") && !text.contains(" #") && !text.ends_with(':');
    let word = quoted(&text, quote);
    match style {
        Style::DoubleQuoted => word.replace('\\', "\\\\").replace('"', "\\\""),
        Style::SingleQuoted => word.replace('\'', "''"),
        Style::Plain if !safe_in_plain(&word) => quoted(&text, Some('"')),
        Style::Plain | Style::Literal | Style::Folded => word,
    }
}

fn spliced(source: &str, range: Range<usize>, new: &str) -> String {
    [&source[..range.start], new, &source[range.end..]].concat()
}

/// New `- item` lines below the line of an argument.
fn spliced_line(source: &str, after: &Argument, items: &[String]) -> String {
    let start = line_start(source, after.span.start);
    let before = &source[start..after.span.start];
    // An anchor or a tag between the dash and the item is the old item's own.
    let prefix = match before.find("- ") {
        Some(dash) => {
            let behind = &before[dash + 1..];
            let spaces = behind.len() - behind.trim_start_matches(' ').len();
            &before[..dash + 1 + spaces]
        }
        None => before,
    };
    let end = line_end(source, after.span.end);
    let lines: String = items.iter().map(|item| format!("{}{prefix}{item}", newline(source))).collect();
    let content_end = source[..end].trim_end_matches(['\r', '\n']).len();
    spliced(source, content_end..content_end, &lines)
}

fn without_lines(source: &str, lines: Range<usize>) -> String {
    // At the end of a text without a final newline, the newline before goes instead.
    let start = match source[lines.clone()].ends_with('\n') {
        true => lines.start,
        false => source[..lines.start].trim_end_matches('\n').trim_end_matches('\r').len(),
    };
    spliced(source, start..lines.end, "")
}

/// Width of a block's first line before its content: the span of a block scalar begins behind it.
fn first_line_indent(source: &str, command: &CommandText) -> usize {
    match command.form {
        Form::Text(Style::Literal | Style::Folded) => {
            let start = line_start(source, command.span.start);
            command.span.start - start + 1
        }
        Form::FlowList | Form::BlockList | Form::Text(_) => 0,
    }
}

fn line_start(source: &str, at: usize) -> usize {
    source[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

/// Behind the newline of the line that a range ends in.
fn line_end(source: &str, at: usize) -> usize {
    source[at..].find('\n').map_or(source.len(), |newline| at + newline + 1)
}

fn newline(source: &str) -> &'static str {
    if source.contains("\r\n") { "\r\n" } else { "\n" }
}
