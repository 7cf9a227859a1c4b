//! The tests that one launch of llama-bench runs: its lists and ranges multiplied out, in its order.
//! Knows how values are written; measures nothing and knows nothing of services.

use serde_json::{Map, Value};

/// A parameter that takes several values, each of which multiplies the tests.
struct Axis {
    spellings: &'static [&'static str],
    /// Its column in a row.
    column: &'static str,
    form: Form,
    default: &'static str,
}

#[derive(Clone, Copy)]
enum Form {
    /// Whole numbers and ranges.
    Number,
    Text,
    OneOf(&'static [&'static str]),
    /// `0` or `1`, printed as a boolean.
    Switch,
    /// `0` or `1`, printed as a number.
    NumberSwitch,
    FlashAttention,
}

const CACHE_TYPES: &[&str] = &["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"];

const fn axis(
    spellings: &'static [&'static str],
    column: &'static str,
    form: Form,
    default: &'static str,
) -> Axis {
    Axis { spellings, column, form, default }
}

/// Slowest first: the last one changes from test to test. The depth's place is among them; prompt
/// and generation are not: they add up.
const AXES: &[Axis] = &[
    axis(&["-ngl", "--n-gpu-layers"], "n_gpu_layers", Form::Number, "-1"),
    axis(&["-ncmoe", "--n-cpu-moe"], "n_cpu_moe", Form::Number, "0"),
    axis(&["-sm", "--split-mode"], "split_mode", Form::OneOf(&["none", "layer", "row", "tensor"]), "layer"),
    axis(&["-mg", "--main-gpu"], "main_gpu", Form::Number, "0"),
    axis(&["-dev", "--device"], "devices", Form::Text, "auto"),
    axis(&["-ts", "--tensor-split"], "tensor_split", Form::Text, "0.00"),
    axis(&["-ot", "--override-tensor"], "tensor_buft_overrides", Form::Text, "none"),
    axis(
        &["-lm", "--load-mode"],
        "load_mode",
        Form::OneOf(&["auto", "none", "mmap", "mlock", "mmap+mlock", "dio"]),
        "auto",
    ),
    axis(&["-lzm", "--lazy-mode"], "lazy_mode", Form::OneOf(&["on", "auto", "off"]), "auto"),
    axis(&["-embd", "--embeddings"], "embeddings", Form::Switch, "0"),
    axis(&["-nopo", "--no-op-offload"], "no_op_offload", Form::NumberSwitch, "0"),
    axis(&["--no-host"], "no_host", Form::Switch, "0"),
    axis(&["--repack"], "repack", Form::Switch, "1"),
    axis(&["-fitt", "--fit-target"], "fit_target", Form::Number, "0"),
    axis(&["-fitc", "--fit-ctx"], "fit_min_ctx", Form::Number, "0"),
    axis(&["-b", "--batch-size"], "n_batch", Form::Number, "2048"),
    axis(&["-ub", "--ubatch-size"], "n_ubatch", Form::Number, "512"),
    axis(&["-ctk", "--cache-type-k"], "type_k", Form::OneOf(CACHE_TYPES), "f16"),
    axis(&["-ctv", "--cache-type-v"], "type_v", Form::OneOf(CACHE_TYPES), "f16"),
    axis(&["-nkvo", "--no-kv-offload"], "no_kv_offload", Form::Switch, "0"),
    axis(&["-fa", "--flash-attn"], "flash_attn", Form::FlashAttention, "auto"),
    axis(&["-t", "--threads"], "n_threads", Form::Number, "1"),
    axis(&["-C", "--cpu-mask"], "cpu_mask", Form::Text, "0x0"),
    axis(&["--cpu-strict"], "cpu_strict", Form::Switch, "0"),
    axis(&["--poll"], "poll", Form::Number, "50"),
    axis(&["-d", "--n-depth"], "n_depth", Form::Number, "0"),
];

/// One test, with every column that says what it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    pub n_prompt: u64,
    pub n_gen: u64,
    pub n_depth: u64,
    pub columns: Map<String, Value>,
}

impl Cell {
    /// `pp512`, `tg128`, `pp512+tg128`, with ` @ d4096` for a depth.
    pub fn test_name(&self) -> String {
        let name = match (self.n_prompt, self.n_gen) {
            (prompt, 0) => format!("pp{prompt}"),
            (0, generated) => format!("tg{generated}"),
            (prompt, generated) => format!("pp{prompt}+tg{generated}"),
        };
        if self.n_depth == 0 { name } else { format!("{name} @ d{}", self.n_depth) }
    }
}

/// A value that llama-bench refuses, with what it says before the flag's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .detail.as_deref().unwrap_or("the value is not one of those it takes"))]
pub struct BadValue {
    pub detail: Option<String>,
}

/// What became of a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    Taken,
    /// No parameter that makes tests.
    Other,
}

/// The values given so far.
#[derive(Debug, Clone, Default)]
pub struct Matrix {
    axes: Vec<Vec<Value>>,
    prompts: Vec<u64>,
    generations: Vec<u64>,
    pairs: Vec<(u64, u64)>,
    threads: u64,
}

/// Longer lists of tests are counted and not written out.
pub const MOST_CELLS: usize = 10_000;

impl Matrix {
    /// `threads` is what llama-bench takes where `-t` is absent.
    pub fn new(threads: u64) -> Self {
        Self { axes: vec![Vec::new(); AXES.len()], threads, ..Self::default() }
    }

    /// Takes a flag with its value, which may be a list; a flag given twice adds to itself.
    ///
    /// # Errors
    /// A value that llama-bench refuses.
    pub fn give(&mut self, flag: &str, value: &str) -> Result<Given, BadValue> {
        let flag = if flag.starts_with("--") { flag.replace('_', "-") } else { flag.to_owned() };
        match flag.as_str() {
            "-p" | "--n-prompt" => self.prompts.extend(numbers(value)?),
            "-n" | "--n-gen" => self.generations.extend(numbers(value)?),
            "-pg" => self.pairs.push(pair(value)?),
            _ => {
                let Some(at) = AXES.iter().position(|axis| axis.spellings.contains(&flag.as_str())) else {
                    return Ok(Given::Other);
                };
                let values = AXES[at].form.values(value)?;
                self.axes[at].extend(values);
            }
        }
        Ok(Given::Taken)
    }

    /// How many tests there are.
    pub fn count(&self) -> usize {
        let settings = self.axes.iter().fold(1usize, |all, values| all.saturating_mul(values.len().max(1)));
        settings.saturating_mul(self.sizes().len())
    }

    /// The tests in llama-bench's order, the first [`MOST_CELLS`] of them.
    pub fn cells(&self) -> Vec<Cell> {
        let values: Vec<Vec<Value>> =
            AXES.iter().zip(&self.axes).map(|(axis, given)| self.or_default(axis, given)).collect();
        let sizes = self.sizes();
        let mut at = vec![0usize; AXES.len()];
        let mut cells = Vec::new();
        loop {
            let columns: Map<String, Value> = AXES
                .iter()
                .zip(&values)
                .zip(&at)
                .map(|((axis, values), at)| (axis.column.to_owned(), values[*at].clone()))
                .collect();
            let n_depth = columns.get("n_depth").and_then(Value::as_u64).unwrap_or(0);
            for (n_prompt, n_gen) in &sizes {
                if cells.len() == MOST_CELLS {
                    return cells;
                }
                cells.push(Cell { n_prompt: *n_prompt, n_gen: *n_gen, n_depth, columns: columns.clone() });
            }
            if !advance(&mut at, &values) {
                return cells;
            }
        }
    }

    /// Columns of which several values are measured.
    pub fn varied(&self) -> Vec<&'static str> {
        AXES.iter()
            .zip(&self.axes)
            .filter(|(_, given)| given.len() > 1)
            .map(|(axis, _)| axis.column)
            .collect()
    }

    fn or_default(&self, axis: &Axis, given: &[Value]) -> Vec<Value> {
        match (given, axis.column) {
            ([], "n_threads") => vec![Value::from(self.threads)],
            // Only a range is refused where it begins with a minus; this default is one.
            ([], "n_gpu_layers") => vec![Value::from(-1)],
            ([], _) => axis.form.values(axis.default).unwrap_or_default(),
            _ => given.to_vec(),
        }
    }

    /// Prompt and generation of each test; a size of 0 is none.
    fn sizes(&self) -> Vec<(u64, u64)> {
        let or = |given: &[u64], default: u64| if given.is_empty() { vec![default] } else { given.to_vec() };
        let prompts = or(&self.prompts, 512).into_iter().map(|prompt| (prompt, 0));
        let generations = or(&self.generations, 128).into_iter().map(|generated| (0, generated));
        prompts.chain(generations).chain(self.pairs.iter().copied()).filter(|size| *size != (0, 0)).collect()
    }
}

/// The next combination; the last axis moves first.
fn advance(at: &mut [usize], values: &[Vec<Value>]) -> bool {
    for axis in (0..at.len()).rev() {
        at[axis] += 1;
        if at[axis] < values[axis].len() {
            return true;
        }
        at[axis] = 0;
    }
    false
}

impl Form {
    fn values(self, text: &str) -> Result<Vec<Value>, BadValue> {
        if let Self::Number = self {
            return Ok(numbers(text)?.into_iter().map(Value::from).collect());
        }
        parts(text).into_iter().map(|part| self.value(part)).collect()
    }

    fn value(self, part: &str) -> Result<Value, BadValue> {
        let switch = || match part {
            "0" => Ok(false),
            "1" => Ok(true),
            other => Err(BadValue { detail: Some(format!("invalid value: \"{other}\"")) }),
        };
        match self {
            Self::Number | Self::Text => Ok(Value::from(part)),
            Self::OneOf(choices) if choices.contains(&part) => Ok(Value::from(part)),
            Self::OneOf(_) => Err(BadValue { detail: None }),
            Self::Switch => switch().map(Value::from),
            Self::NumberSwitch => switch().map(|on| Value::from(i64::from(on))),
            Self::FlashAttention => match part {
                "on" | "enabled" | "true" | "1" => Ok(Value::from(1)),
                "off" | "disabled" | "false" | "0" => Ok(Value::from(0)),
                "auto" | "-1" => Ok(Value::from(-1)),
                _ => Err(BadValue { detail: None }),
            },
        }
    }
}

/// The parts between commas; a last comma ends the list.
fn parts(text: &str) -> Vec<&str> {
    let text = text.strip_suffix(',').unwrap_or(text);
    if text.is_empty() { Vec::new() } else { text.split(',').collect() }
}

/// Numbers and ranges: `a`, `a-b`, `a-b+s`, `a-b*m`.
fn numbers(text: &str) -> Result<Vec<u64>, BadValue> {
    let mut list = Vec::new();
    for part in parts(text) {
        let bad = || BadValue { detail: Some("invalid range format".to_owned()) };
        let number = |text: &str| -> Result<u64, BadValue> {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            if digits { text.parse().map_err(|_| bad()) } else { Err(bad()) }
        };
        let Some((first, rest)) = part.split_once('-') else {
            list.push(number(part)?);
            continue;
        };
        let (last, step) = match rest.find(['+', '*']) {
            Some(at) => (&rest[..at], Some((&rest[at..=at], &rest[at + 1..]))),
            None => (rest, None),
        };
        let (mut next, last) = (number(first)?, number(last)?);
        let (times, by) = match step {
            None => (false, 1),
            Some((sign, by)) => (sign == "*", number(by)?),
        };
        while next <= last {
            if list.len() > MOST_CELLS {
                return Err(bad());
            }
            list.push(next);
            let grown = if times { next.saturating_mul(by) } else { next.saturating_add(by) };
            if grown <= next {
                return Err(bad());
            }
            next = grown;
        }
    }
    Ok(list)
}

fn pair(text: &str) -> Result<(u64, u64), BadValue> {
    let bad = || BadValue { detail: None };
    let (prompt, generated) = text.split_once(',').ok_or_else(bad)?;
    Ok((prompt.trim().parse().map_err(|_| bad())?, generated.trim().parse().map_err(|_| bad())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::llama_bench_row::parse_rows;

    fn cells(params: &[(&str, &str)]) -> Vec<Cell> {
        let mut matrix = Matrix::new(2);
        for (flag, value) in params {
            matrix.give(flag, value).unwrap();
        }
        assert_eq!(matrix.count(), matrix.cells().len());
        matrix.cells()
    }

    fn sizes(params: &[(&str, &str)]) -> Vec<String> {
        cells(params).iter().map(Cell::test_name).collect()
    }

    #[test]
    fn sizes_add_up_and_everything_else_multiplies() {
        assert_eq!(sizes(&[]), ["pp512", "tg128"]);
        assert_eq!(sizes(&[("-p", "32,64"), ("-n", "16")]), ["pp32", "pp64", "tg16"]);
        assert_eq!(sizes(&[("-p", "32"), ("-n", "0"), ("-b", "16,32")]), ["pp32", "pp32"]);
        assert_eq!(sizes(&[("-p", "0"), ("-n", "0")]), Vec::<String>::new());
        assert_eq!(sizes(&[("-p", "32"), ("-n", "16"), ("-pg", "32,16")]), ["pp32", "tg16", "pp32+tg16"]);
        assert_eq!(sizes(&[("-p", "32"), ("-n", "0"), ("-d", "0,64")]), ["pp32", "pp32 @ d64"]);
        assert_eq!(sizes(&[("-p", ""), ("-n", "16,")]), ["pp512", "tg16"]);
        assert_eq!(sizes(&[("-p", "32"), ("-p", "64"), ("--n_gen", "0")]), ["pp32", "pp64"]);
    }

    #[test]
    fn ranges_step_by_one_by_a_sum_or_by_a_factor() {
        assert_eq!(numbers("1-3").unwrap(), [1, 2, 3]);
        assert_eq!(numbers("32-128*2,7").unwrap(), [32, 64, 128, 7]);
        assert_eq!(numbers("10-30+10").unwrap(), [10, 20, 30]);
        for bad in ["abc", "32x", "-5", "32.5", "32, 64", "1-9*1", "1-9+0", "0-9999999"] {
            assert_eq!(numbers(bad).unwrap_err().detail.as_deref(), Some("invalid range format"), "{bad}");
        }
    }

    #[test]
    fn the_order_is_that_of_the_real_tool() {
        let real = parse_rows(include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/llama-cpp/bench/matrix.stdout"
        )));
        let own = cells(&[("-p", "32"), ("-n", "16"), ("-t", "1,2"), ("-b", "16,32"), ("-fa", "0,1")]);
        assert_eq!(own.len(), real.rows.len());
        for (own, real) in own.iter().zip(&real.rows) {
            assert_eq!((own.n_prompt, own.n_gen), (real.n_prompt, real.n_gen));
            for (column, value) in &own.columns {
                if column != "n_ubatch" {
                    assert_eq!(real.raw.get(column), Some(value), "{column}");
                }
            }
        }
    }

    #[test]
    fn what_is_refused_says_why() {
        let mut matrix = Matrix::new(1);
        assert_eq!(matrix.give("-fa", "maybe").unwrap_err().detail, None);
        assert_eq!(matrix.give("-nkvo", "on").unwrap_err().detail.as_deref(), Some("invalid value: \"on\""));
        assert!(matrix.give("-ctk", "f99").is_err());
        assert!(matrix.give("-pg", "32").is_err());
        assert_eq!(matrix.give("--nosuchflag", "1"), Ok(Given::Other));
    }

    #[test]
    fn a_matrix_without_end_is_counted_and_not_written_out() {
        let mut matrix = Matrix::new(1);
        matrix.give("-b", "1-5000").unwrap();
        matrix.give("-ub", "1-5000").unwrap();
        assert_eq!(matrix.count(), 50_000_000);
        assert_eq!(matrix.cells().len(), MOST_CELLS);
    }
}
