//! llama-bench's own output: the lines of `-o jsonl` as rows. Reads what any build prints (columns
//! come and go) and judges nothing: which rows belong together is `case`'s, how the run ended is
//! `outcome`'s. No IO, and no error: what cannot be read is returned as such.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Unreadable lines kept in full detail; beyond these they are only counted.
const UNPARSED_KEPT: usize = 100;
/// Characters kept of one unreadable line.
const UNPARSED_TEXT: usize = 500;

/// What a row measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TestKind {
    /// Prompt processing: `n_gen` is 0.
    #[serde(rename = "pp")]
    Pp,
    /// Token generation: `n_prompt` is 0.
    #[serde(rename = "tg")]
    Tg,
    /// Both, one after the other (`-pg`); its rate is (prompt + generated tokens) / time.
    #[serde(rename = "pp+tg")]
    PpTg,
}

impl TestKind {
    /// `None` where both are 0: llama-bench runs no such test.
    fn of(n_prompt: u64, n_gen: u64) -> Option<Self> {
        match (n_prompt > 0, n_gen > 0) {
            (true, false) => Some(Self::Pp),
            (false, true) => Some(Self::Tg),
            (true, true) => Some(Self::PpTg),
            (false, false) => None,
        }
    }
}

/// One row: one test of one launch, with every column that the build printed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub kind: TestKind,
    /// Tokens of the prompt, tokens generated, and tokens in the KV cache before the test.
    pub n_prompt: u64,
    pub n_gen: u64,
    pub n_depth: u64,
    /// Tokens per second, llama-bench's own mean; the mean of the samples where it is missing.
    pub avg_ts: f64,
    /// Tokens per second, llama-bench's own sample standard deviation (n − 1; 0 for one
    /// repetition); `None` where it is missing or not a number.
    pub stddev_ts: Option<f64>,
    /// Tokens per second of each repetition, rounded to six digits by llama-bench.
    pub samples_ts: Vec<f64>,
    /// Nanoseconds of each repetition.
    pub samples_ns: Vec<u64>,
    /// The JSON object as printed, unknown columns included.
    pub raw: Map<String, Value>,
}

impl Row {
    /// A row of numbers that were measured; `-r 0` prints rows without samples and a rate of 0.
    fn is_measured(&self) -> bool {
        self.avg_ts.is_finite()
            && self.avg_ts > 0.0
            && !(self.samples_ts.is_empty() && self.samples_ns.is_empty())
    }

    /// Tokens per second of each repetition at full precision: 10⁹ · (n_prompt + n_gen) / ns, which
    /// is what llama-bench takes its mean of; the printed samples where the times are missing.
    pub fn exact_samples_ts(&self) -> Vec<f64> {
        if self.samples_ns.is_empty() || self.samples_ns.contains(&0) {
            return self.samples_ts.clone();
        }
        let tokens = (self.n_prompt + self.n_gen) as f64;
        self.samples_ns.iter().map(|ns| 1e9 * tokens / *ns as f64).collect()
    }

    pub fn build_commit(&self) -> Option<&str> {
        self.text("build_commit")
    }

    pub fn build_number(&self) -> Option<u64> {
        self.raw.get("build_number").and_then(as_count)
    }

    pub fn model_type(&self) -> Option<&str> {
        self.text("model_type")
    }

    /// Bytes of the tensors, as llama-bench counts them; not the file's size.
    pub fn model_size(&self) -> Option<u64> {
        self.raw.get("model_size").and_then(as_count)
    }

    pub fn model_n_params(&self) -> Option<u64> {
        self.raw.get("model_n_params").and_then(as_count)
    }

    /// Names of the GPUs, an empty text where llama-bench found none.
    pub fn gpu_info(&self) -> Option<&str> {
        self.text("gpu_info")
    }

    pub fn cpu_info(&self) -> Option<&str> {
        self.text("cpu_info")
    }

    /// Names of the backends joined by commas, such as `CUDA` or `CPU`.
    pub fn backends(&self) -> Option<&str> {
        self.text("backends")
    }

    fn text(&self, column: &str) -> Option<&str> {
        self.raw.get(column).and_then(Value::as_str)
    }

    /// `None` where the object is no row of llama-bench: it names no test.
    pub fn from_object(raw: Map<String, Value>) -> Option<Self> {
        let count = |column: &str| raw.get(column).and_then(as_count);
        let (prompt, generated) = (count("n_prompt"), count("n_gen"));
        let (n_prompt, n_gen) = (prompt.unwrap_or(0), generated.unwrap_or(0));
        let kind = TestKind::of(n_prompt, n_gen)?;
        let samples = |column: &str| raw.get(column).and_then(Value::as_array);
        let samples_ts: Vec<f64> = samples("samples_ts")
            .map(|all| all.iter().filter_map(Value::as_f64).collect())
            .unwrap_or_default();
        let samples_ns: Vec<u64> =
            samples("samples_ns").map(|all| all.iter().filter_map(as_count).collect()).unwrap_or_default();
        let mut row = Self {
            kind,
            n_prompt,
            n_gen,
            n_depth: count("n_depth").unwrap_or(0),
            avg_ts: 0.0,
            stddev_ts: raw.get("stddev_ts").and_then(as_number),
            samples_ts,
            samples_ns,
            raw,
        };
        row.avg_ts = row.raw.get("avg_ts").and_then(as_number).unwrap_or_else(|| {
            let samples = row.exact_samples_ts();
            if samples.is_empty() { 0.0 } else { samples.iter().sum::<f64>() / samples.len() as f64 }
        });
        Some(row)
    }
}

/// A line of stdout that is no row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnparsedLine {
    /// From 1.
    pub line_no: usize,
    /// The line, shortened; bytes that are not UTF-8 replaced.
    pub text: String,
}

/// A launch's stdout, read.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ParsedOutput {
    /// The results, in the order printed.
    pub rows: Vec<Row>,
    /// Rows without a measurement (`-r 0`): not results.
    pub unmeasured: Vec<Row>,
    /// The first lines that are no rows; all are counted in `unparsed_count`.
    pub unparsed: Vec<UnparsedLine>,
    pub unparsed_count: usize,
    /// The last line is the beginning of a row: the program was killed while it wrote.
    pub truncated_tail: bool,
}

/// Reads the stdout of `llama-bench -o jsonl`, whole or cut off anywhere.
pub fn parse_rows(stdout: &[u8]) -> ParsedOutput {
    let mut out = ParsedOutput::default();
    for (at, bytes) in stdout.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let ended = bytes.ends_with(b"\n");
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim();
        if text.is_empty() {
            continue;
        }
        match parse_object(text).and_then(Row::from_object) {
            Some(row) if row.is_measured() => out.rows.push(row),
            Some(row) => out.unmeasured.push(row),
            None if !ended && text.starts_with('{') => out.truncated_tail = true,
            None => {
                out.unparsed_count += 1;
                if out.unparsed.len() < UNPARSED_KEPT {
                    let text = text.chars().take(UNPARSED_TEXT).collect();
                    out.unparsed.push(UnparsedLine { line_no: at + 1, text });
                }
            }
        }
    }
    out
}

fn parse_object(text: &str) -> Option<Map<String, Value>> {
    if !text.starts_with('{') {
        return None;
    }
    match serde_json::from_str(text) {
        Ok(object) => Some(object),
        Err(_) => serde_json::from_str(&not_a_number_as_null(text)).ok(),
    }
}

/// printf writes a deviation that rounding made imaginary as `-nan`, which is no JSON.
fn not_a_number_as_null(text: &str) -> String {
    let mut out = text.to_owned();
    for word in ["-nan", "nan", "-inf", "inf"] {
        for (from, to) in [(": ", ","), (": ", "}"), (" ", ","), (" ", " ")] {
            out = out.replace(&format!("{from}{word}{to}"), &format!("{from}null{to}"));
        }
    }
    out
}

fn as_number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.as_f64(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    number.filter(|number| number.is_finite())
}

fn as_count(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.as_u64(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! fixture {
        ($name:literal) => {
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/llama-cpp/", $name))
                .as_slice()
        };
    }

    #[test]
    fn a_prompt_a_generation_and_a_combined_test_are_told_apart() {
        let out = parse_rows(fixture!("bench/pg.stdout"));
        let kinds: Vec<TestKind> = out.rows.iter().map(|row| row.kind).collect();
        assert_eq!(kinds, [TestKind::Pp, TestKind::Tg, TestKind::PpTg]);
        assert_eq!((out.rows[2].n_prompt, out.rows[2].n_gen), (32, 16));
        assert_eq!(out.rows[0].samples_ts, [52908.9, 61362.8]);
        assert!(!out.truncated_tail && out.unparsed.is_empty());
    }

    #[test]
    fn the_columns_that_a_run_keeps_are_at_hand() {
        let row = &parse_rows(fixture!("bench/only-p.stdout")).rows[0];
        assert_eq!(row.build_commit(), Some("Debian"));
        assert_eq!(row.build_number(), Some(11669));
        assert_eq!(row.model_type(), Some("llama ?B F16"));
        assert_eq!(row.model_size(), Some(1_555_456));
        assert_eq!(row.model_n_params(), Some(777_088));
        assert_eq!(row.gpu_info(), Some(""));
        assert_eq!(row.cpu_info(), Some("AMD EPYC"));
        assert_eq!(row.backends(), Some("CPU"));
    }

    #[test]
    fn every_jsonl_transcript_yields_as_many_rows_as_it_has_lines() {
        for (stdout, rows) in [
            (fixture!("bench/matrix.stdout"), 16),
            (fixture!("bench/comma.stdout"), 3),
            (fixture!("bench/depth.stdout"), 4),
            (fixture!("bench/range.stdout"), 3),
            (fixture!("bench/second-missing-jsonl.stdout"), 2),
            (fixture!("bench/zero-tests-jsonl.stdout"), 0),
        ] {
            let out = parse_rows(stdout);
            assert_eq!((out.rows.len(), out.unparsed_count, out.truncated_tail), (rows, 0, false));
        }
    }

    #[test]
    fn the_times_give_llama_benchs_own_mean() {
        for row in parse_rows(fixture!("bench/pg.stdout")).rows {
            let samples = row.exact_samples_ts();
            let mean = samples.iter().sum::<f64>() / samples.len() as f64;
            assert!((mean - row.avg_ts).abs() < 1e-5, "{mean} against {}", row.avg_ts);
        }
    }

    #[test]
    fn a_kill_leaves_whole_rows_and_a_cut_one() {
        let killed = parse_rows(fixture!("killed/jsonl.stdout"));
        let lines = fixture!("killed/jsonl.stdout").iter().filter(|byte| **byte == b'\n').count();
        assert_eq!((killed.rows.len(), killed.truncated_tail), (lines, true));
        let full = fixture!("bench/pg.stdout");
        let out = parse_rows(&full[..full.len() - 300]);
        assert_eq!((out.rows.len(), out.truncated_tail, out.unparsed_count), (2, true, 0));
    }

    #[test]
    fn a_whole_row_counts_even_where_the_line_end_was_lost() {
        let full = fixture!("bench/only-p.stdout");
        let out = parse_rows(full.trim_ascii_end());
        assert_eq!((out.rows.len(), out.truncated_tail), (1, false));
    }

    #[test]
    fn output_cut_anywhere_never_panics_nor_invents_a_row() {
        let full = fixture!("bench/comma.stdout");
        let ends: Vec<usize> = (0..full.len()).filter(|at| full[*at] == b'\n').collect();
        for cut in 0..full.len() {
            let rows = parse_rows(&full[..cut]).rows.len();
            let whole = ends.iter().filter(|end| **end <= cut).count();
            assert_eq!(rows, whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_mangled_path_is_read_and_so_are_bytes_that_are_not_utf8() {
        assert_eq!(parse_rows(fixture!("escape/utf8.jsonl")).rows.len(), 1);
        let text = b"{\"model_filename\": \"/m/\xff\xfe.gguf\", \"n_prompt\": 8, \"n_gen\": 0, \
            \"avg_ts\": 5.0, \"samples_ts\": [ 5.0 ]}\n";
        assert_eq!(parse_rows(text).rows.len(), 1);
    }

    #[test]
    fn an_older_builds_row_is_read_and_an_unknown_column_kept() {
        let text = br#"{"use_mmap": true, "flash_attn": false, "n_prompt": 512, "n_gen": 0, "avg_ns": 10,
"#;
        assert_eq!(parse_rows(text).unparsed_count, 1, "a broken line is no row");
        let text = br#"{"use_mmap": true, "flash_attn": false, "novel": [1], "n_prompt": 512, "n_gen": 0, "samples_ns": [1000000000]}"#;
        let row = &parse_rows(text).rows[0];
        assert_eq!((row.avg_ts, row.stddev_ts, row.n_depth), (512.0, None, 0));
        assert_eq!(row.raw["novel"], serde_json::json!([1]));
        assert_eq!(row.build_commit(), None);
    }

    #[test]
    fn a_row_without_samples_is_no_result() {
        let text = br#"{"n_prompt": 32, "n_gen": 0, "avg_ts": 0.000000, "stddev_ts": 0.000000, "samples_ns": [  ],"samples_ts": [  ]}"#;
        let out = parse_rows(text);
        assert_eq!((out.rows.len(), out.unmeasured.len(), out.unparsed_count), (0, 1, 0));
    }

    #[test]
    fn a_deviation_that_is_not_a_number_costs_only_the_deviation() {
        let text =
            br#"{"n_prompt": 32, "n_gen": 0, "avg_ts": 7.5, "stddev_ts": -nan, "samples_ts": [ 7.5, 7.5 ]}"#;
        let row = &parse_rows(text).rows[0];
        assert_eq!((row.avg_ts, row.stddev_ts), (7.5, None));
    }

    #[test]
    fn usage_text_is_not_taken_for_rows() {
        let out = parse_rows(fixture!("bench/help.stdout"));
        assert!(out.rows.is_empty() && !out.truncated_tail);
        assert_eq!(out.unparsed[0].text, "usage: llama-bench [options]");
    }

    #[test]
    fn a_flood_of_other_lines_is_counted_but_not_kept() {
        let out = parse_rows("noise\n".repeat(5_000).as_bytes());
        assert_eq!((out.unparsed.len(), out.unparsed_count), (UNPARSED_KEPT, 5_000));
    }
}
