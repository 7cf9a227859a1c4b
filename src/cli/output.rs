//! What reaches the terminal: streams, colours, tables, ages, JSON and YAML. Owns the rule that no
//! control character of a model's, a tool's or a file's text gets through.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write};

use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;

use super::error::CliError;
use crate::report::escape;

/// `-o` of verbs that list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The table with more columns.
    Wide,
    Json,
    Yaml,
    /// `kind/name` alone, one a line.
    Name,
}

/// `-o` of verbs that answer with one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Structured {
    Json,
    Yaml,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    #[default]
    Plain,
    Good,
    Bad,
    Busy,
    Dim,
    Bold,
}

impl Style {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Good => Some("32"),
            Self::Bad => Some("31"),
            Self::Busy => Some("33"),
            Self::Dim => Some("2"),
            Self::Bold => Some("1"),
        }
    }

    fn paint(self, text: &str, colour: bool) -> String {
        match self.code() {
            Some(code) if colour && !text.is_empty() => format!("\x1b[{code}m{text}\x1b[0m"),
            Some(_) | None => text.to_owned(),
        }
    }
}

/// The two streams of a verb.
pub struct Console {
    out: Box<dyn Write>,
    err: Box<dyn Write>,
    pub terminal: bool,
    pub colour: bool,
    err_colour: bool,
}

impl Console {
    /// The process's own streams; colours on a terminal only, and not with `NO_COLOR`.
    pub fn of_process() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let terminal = io::stdout().is_terminal();
        Self {
            out: Box::new(io::BufWriter::new(io::stdout())),
            err: Box::new(io::stderr()),
            terminal,
            colour: wanted && terminal,
            err_colour: wanted && io::stderr().is_terminal(),
        }
    }

    /// One line of our own text.
    ///
    /// # Errors
    /// The stream cannot be written.
    pub fn line(&mut self, text: impl AsRef<str>) -> Result<(), CliError> {
        Ok(writeln!(self.out, "{}", text.as_ref())?)
    }

    /// Text as it is, ending included.
    ///
    /// # Errors
    /// The stream cannot be written.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        Ok(self.out.write_all(bytes)?)
    }

    /// # Errors
    /// The stream cannot be written.
    pub fn flush(&mut self) -> Result<(), CliError> {
        Ok(self.out.flush()?)
    }

    /// A remark beside the answer, on stderr.
    pub fn note(&mut self, text: impl AsRef<str>) {
        // Nobody reads it: then it is not missed.
        let _ = self.out.flush();
        let _ = writeln!(self.err, "{}", clean(text.as_ref()));
    }

    /// `error: one sentence`, `hint: what to do`.
    pub fn error(&mut self, error: &CliError) {
        if error.message.is_empty() {
            return;
        }
        let _ = self.out.flush();
        let label = |word: &str, style: Style| style.paint(word, self.err_colour);
        let (first, second) = (label("error:", Style::Bad), label("hint:", Style::Bold));
        let _ = writeln!(self.err, "{first} {}", clean(&error.message));
        if let Some(hint) = &error.hint {
            let _ = writeln!(self.err, "{second} {}", clean(hint));
        }
    }

    pub fn painted(&self, text: &str, style: Style) -> String {
        style.paint(text, self.colour)
    }

    /// # Errors
    /// The stream cannot be written.
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string_pretty(value)?;
        self.line(escape::json(&text))
    }

    /// One value a line, for streams of values.
    ///
    /// # Errors
    /// The stream cannot be written.
    pub fn json_line(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string(value)?;
        self.line(escape::json(&text))
    }

    /// # Errors
    /// The stream cannot be written.
    pub fn yaml(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        let text = serde_yaml::to_string(value)
            .map_err(|error| CliError::usage(format!("the answer cannot be written as YAML: {error}")))?;
        self.raw(escape::visible(&text).as_bytes())
    }

    /// # Errors
    /// The stream cannot be written.
    pub fn structured(&mut self, value: &impl Serialize, how: Structured) -> Result<(), CliError> {
        match how {
            Structured::Json => self.json(value),
            Structured::Yaml => self.yaml(value),
        }
    }
}

/// One line of foreign text, fit for a terminal: what would steer it is written out.
pub fn clean(text: &str) -> Cow<'_, str> {
    escape::written_out(text, |c| escape::is_harmful(c) && c != '\t')
}

/// A cell of a table; its text is cleaned when it is made.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub fn new(text: impl AsRef<str>) -> Self {
        Self { text: clean(text.as_ref()).into_owned(), style: Style::Plain }
    }

    /// A dash where there is nothing.
    pub fn maybe(text: Option<impl AsRef<str>>) -> Self {
        match text {
            Some(text) if !text.as_ref().is_empty() => Self::new(text),
            Some(_) | None => Self::new("-"),
        }
    }

    #[must_use]
    pub fn style(mut self, style: Style) -> Self {
        self.style = style;
        self
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

const GAP: usize = 3;

/// A table as kubectl has them: upper-case headers, three blanks, no lines. Widths only grow, so that
/// rows printed later stand below the earlier ones.
#[derive(Debug, Clone)]
pub struct Table {
    headers: Vec<&'static str>,
    widths: Vec<usize>,
    rows: Vec<Vec<Cell>>,
    indent: usize,
}

impl Table {
    pub fn new(headers: &[&'static str]) -> Self {
        let widths = headers.iter().map(|header| header.chars().count()).collect();
        Self { headers: headers.to_vec(), widths, rows: Vec::new(), indent: 0 }
    }

    /// Blanks before each line.
    #[must_use]
    pub fn indented(mut self, blanks: usize) -> Self {
        self.indent = blanks;
        self
    }

    pub fn row(&mut self, cells: Vec<Cell>) {
        for (width, cell) in self.widths.iter_mut().zip(&cells) {
            *width = cell.width().max(*width);
        }
        self.rows.push(cells);
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Header and rows.
    ///
    /// # Errors
    /// The stream cannot be written.
    pub fn print(&mut self, console: &mut Console) -> Result<(), CliError> {
        let header: Vec<Cell> = self.headers.iter().map(Cell::new).collect();
        console.line(self.rendered(&header, console.colour))?;
        self.print_rows(console)
    }

    /// The rows since the last time.
    ///
    /// # Errors
    /// The stream cannot be written.
    pub fn print_rows(&mut self, console: &mut Console) -> Result<(), CliError> {
        for row in std::mem::take(&mut self.rows) {
            console.line(self.rendered(&row, console.colour))?;
        }
        Ok(())
    }

    fn rendered(&self, row: &[Cell], colour: bool) -> String {
        let mut line = " ".repeat(self.indent);
        for (at, (cell, width)) in row.iter().zip(&self.widths).enumerate() {
            line.push_str(&cell.style.paint(&cell.text, colour));
            if at + 1 < row.len() {
                line.push_str(&" ".repeat(width - cell.width() + GAP));
            }
        }
        line.trim_end().to_owned()
    }
}

/// The time since then in one unit: `45s`, `5m`, `3h`, `2d`, `1y`.
pub fn age(since: &str, now: Timestamp) -> String {
    let Ok(since) = since.parse::<Timestamp>() else {
        return "?".to_owned();
    };
    short_duration(now.as_millisecond().saturating_sub(since.as_millisecond()).max(0).unsigned_abs())
}

/// A span of time in one unit.
pub fn short_duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        172_800..31_536_000 => format!("{}d", seconds / 86_400),
        _ => format!("{}y", seconds / 31_536_000),
    }
}

/// Tokens a second, as many digits as mean something.
pub fn rate(value: f64) -> String {
    if value >= 100.0 { format!("{value:.1}") } else { format!("{value:.2}") }
}

/// `1240.5 ± 3.1`
pub fn rate_with_spread(value: f64, stddev: Option<f64>) -> String {
    match stddev {
        Some(stddev) if stddev > 0.0 => format!("{} ± {}", rate(value), rate(stddev)),
        Some(_) | None => rate(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_three_blanks_and_no_trailing_ones() {
        let mut table = Table::new(&["NAME", "PHASE", "AGE"]);
        table.row(vec!["a-long-name".into(), Cell::new("Failed").style(Style::Bad), "5m".into()]);
        let lines: Vec<String> = [vec!["NAME".into(), "PHASE".into(), "".into()], table.rows[0].clone()]
            .iter()
            .map(|row| table.rendered(row, false))
            .collect();
        assert_eq!(lines, ["NAME          PHASE", "a-long-name   Failed   5m"]);
        assert_eq!(table.rendered(&table.rows[0], true), "a-long-name   \x1b[31mFailed\x1b[0m   5m");
    }

    #[test]
    fn no_control_character_gets_through() {
        assert_eq!(
            clean("a\x1b[31mred\r\n\u{9b}31m\u{202e}x\t|"),
            "a\\u{1b}[31mred\\r\\n\\u{9b}31m\\u{202e}x\t|"
        );
        assert_eq!(escape::visible("a\nb\x07"), "a\nb\\u{7}");
        assert_eq!(escape::json("{\"a\":\"\u{9b}é\"}"), "{\"a\":\"\\u009bé\"}");
    }

    #[test]
    fn ages_have_one_unit() {
        let now: Timestamp = "2026-01-10T12:00:00Z".parse().unwrap();
        for (then, expected) in [
            ("2026-01-10T11:59:15.000Z", "45s"),
            ("2026-01-10T11:55:00Z", "5m"),
            ("2026-01-10T09:00:00Z", "3h"),
            ("2026-01-08T11:00:00Z", "2d"),
            ("2024-01-08T11:00:00Z", "2y"),
            ("2026-01-10T12:00:05Z", "0s"),
            ("yesterday", "?"),
        ] {
            assert_eq!(age(then, now), expected, "{then}");
        }
    }

    #[test]
    fn rates_keep_four_digits_or_more() {
        assert_eq!(rate_with_spread(1240.53, Some(2.5)), "1240.5 ± 2.50");
        assert_eq!(rate_with_spread(85.346, Some(0.0)), "85.35");
    }
}
