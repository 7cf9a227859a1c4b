//! Made-up figures in the columns of the real llama-bench. The same parameters give the same figures
//! everywhere, and better parameters better ones, so that there is something to look for.

use serde_json::{Map, Number, Value, json};

use super::llama_bench_arguments::Arguments;
use crate::plan::bench_matrix::Cell;

/// Changes all figures at once.
const SEED: u64 = 0x5eed_0fbe_4c41_e701;

/// The columns in the order of the real tool.
const COLUMNS: [&str; 35] = [
    "build_commit",
    "build_number",
    "cpu_info",
    "gpu_info",
    "backends",
    "model_filename",
    "model_type",
    "model_size",
    "model_n_params",
    "n_batch",
    "n_ubatch",
    "n_threads",
    "cpu_mask",
    "cpu_strict",
    "poll",
    "type_k",
    "type_v",
    "n_gpu_layers",
    "n_cpu_moe",
    "split_mode",
    "main_gpu",
    "no_kv_offload",
    "flash_attn",
    "devices",
    "tensor_split",
    "tensor_buft_overrides",
    "load_mode",
    "lazy_mode",
    "embeddings",
    "no_op_offload",
    "no_host",
    "repack",
    "fit_target",
    "fit_min_ctx",
    "n_prompt",
];

/// One finished test.
pub struct Measured {
    pub samples_ns: Vec<u64>,
}

impl Measured {
    /// The row as one line.
    pub fn line(&self, cell: &Cell, arguments: &Arguments) -> String {
        let mut row = Map::new();
        for column in COLUMNS {
            let value = match cell.columns.get(column) {
                Some(value) => value.clone(),
                None => constant(column, cell, arguments),
            };
            row.insert(column.to_owned(), value);
        }
        let tokens = (cell.n_prompt + cell.n_gen) as f64;
        let rates: Vec<f64> = self.samples_ns.iter().map(|ns| 1e9 * tokens / *ns as f64).collect();
        let times: Vec<f64> = self.samples_ns.iter().map(|ns| *ns as f64).collect();
        let (avg_ns, stddev_ns) = mean_and_spread(&times);
        let (avg_ts, stddev_ts) = mean_and_spread(&rates);
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        for (column, value) in [
            ("n_gen", json!(cell.n_gen)),
            ("n_depth", json!(cell.n_depth)),
            ("test_time", json!(now)),
            ("avg_ns", json!(avg_ns as u64)),
            ("stddev_ns", json!(stddev_ns as u64)),
            ("avg_ts", rounded(avg_ts, 6)),
            ("stddev_ts", rounded(stddev_ts, 6)),
            ("samples_ns", json!(self.samples_ns)),
            ("samples_ts", Value::Array(rates.iter().map(|rate| rounded(*rate, 1)).collect())),
            ("simulated", json!(true)),
        ] {
            row.insert(column.to_owned(), value);
        }
        Value::Object(row).to_string()
    }
}

fn constant(column: &str, cell: &Cell, arguments: &Arguments) -> Value {
    match column {
        "build_commit" => json!("simulated"),
        "cpu_info" | "model_type" => json!("simulated"),
        "gpu_info" => json!(""),
        "backends" => json!("simulated"),
        "model_filename" => json!(arguments.model),
        "n_prompt" => json!(cell.n_prompt),
        _ => json!(0),
    }
}

/// Nanoseconds that a repetition is said to have taken.
pub fn sample_ns(cell: &Cell, arguments: &Arguments, repetition: u32) -> u64 {
    let spread = unit(chance(cell, arguments, repetition)) - 0.5;
    // Two per cent from end to end; the first repetition is a little slow, as it often is.
    let luck = 1.0 + 0.02 * spread - if repetition == 1 { 0.01 } else { 0.0 };
    let prompt = cell.n_prompt as f64 / (prompt_rate(cell) * luck);
    let generated = cell.n_gen as f64 / (generation_rate(cell) * luck);
    ((prompt + generated) * 1e9).max(1.0) as u64
}

/// A number that depends on everything a repetition is made of.
pub fn chance(cell: &Cell, arguments: &Arguments, repetition: u32) -> u64 {
    let text = format!("{} {} {repetition} {}", cell.test_name(), arguments.model, json!(cell.columns));
    text.bytes().fold(SEED, |state, byte| mixed(state ^ u64::from(byte)))
}

fn mixed(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

/// To 0 ≤ x < 1.
fn unit(random: u64) -> f64 {
    (random >> 11) as f64 / (1u64 << 53) as f64
}

/// Prompts like large batches, up to a point.
fn prompt_rate(cell: &Cell) -> f64 {
    let batch = number(cell, "n_batch").min(number(cell, "n_ubatch").max(1.0) * 4.0).clamp(1.0, 4096.0);
    let ubatch = number(cell, "n_ubatch").min(batch).clamp(1.0, 2048.0);
    1500.0 * (ubatch / 512.0).powf(0.35) * (batch / 2048.0).powf(0.1) * shared(cell)
}

fn generation_rate(cell: &Cell) -> f64 {
    let cache = match cell.columns.get("type_k").and_then(Value::as_str) {
        Some("q8_0") => 1.03,
        Some("q4_0" | "q4_1" | "iq4_nl") => 1.05,
        Some(_) | None => 1.0,
    };
    90.0 * cache * shared(cell)
}

fn shared(cell: &Cell) -> f64 {
    let flash = match cell.columns.get("flash_attn").and_then(Value::as_i64) {
        Some(0) => 0.92,
        Some(_) | None => 1.0,
    };
    flash / (1.0 + cell.n_depth as f64 / 16_384.0)
}

fn number(cell: &Cell, column: &str) -> f64 {
    cell.columns.get(column).and_then(Value::as_f64).unwrap_or(1.0)
}

/// Mean, and √(Σ(x − mean)² / (n − 1)); 0 below two values, as the real tool has it.
fn mean_and_spread(values: &[f64]) -> (f64, f64) {
    if values.is_empty() {
        return (0.0, 0.0);
    }
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    if values.len() < 2 {
        return (mean, 0.0);
    }
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0)).sqrt())
}

fn rounded(value: f64, digits: i32) -> Value {
    let factor = 10f64.powi(digits);
    Number::from_f64((value * factor).round() / factor).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sim::llama_bench_arguments::Asked;
    use crate::run::llama_bench_row::parse_rows;

    fn lines(line: &str) -> String {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let Ok(Asked::Tests(arguments)) = Arguments::parse(&words, 4) else { panic!("refused") };
        let row = |cell: &Cell| {
            let samples = (1..=arguments.repetitions).map(|at| sample_ns(cell, &arguments, at));
            Measured { samples_ns: samples.collect() }.line(cell, &arguments)
        };
        arguments.matrix.cells().iter().map(row).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_columns_are_those_of_the_real_tool_and_the_mark() {
        let real = parse_rows(include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/llama-cpp/bench/pg.stdout"
        )));
        let own = parse_rows(lines("-p 32 -n 16 -pg 32,16 -r 2").as_bytes());
        assert_eq!(own.rows.len(), 3);
        let names = |row: &Map<String, Value>| row.keys().cloned().collect::<Vec<_>>();
        let mut expected = names(&real.rows[0].raw);
        expected.push("simulated".to_owned());
        assert_eq!(names(&own.rows[0].raw), expected);
        for (own, real) in own.rows[0].raw.iter().zip(&real.rows[0].raw) {
            assert_eq!(
                std::mem::discriminant(own.1),
                std::mem::discriminant(real.1),
                "{} and {}",
                own.0,
                real.0
            );
        }
    }

    #[test]
    fn the_same_parameters_give_the_same_figures() {
        let samples = |line: &str| parse_rows(lines(line).as_bytes()).rows[0].samples_ns.clone();
        assert_eq!(samples("-p 512 -n 0"), samples("-p 512 -n 0"));
        assert_ne!(samples("-p 512 -n 0"), samples("-p 512 -n 0 -b 1024"));
    }

    #[test]
    fn a_larger_batch_is_faster_and_a_depth_slower() {
        let rate = |line: &str| parse_rows(lines(line).as_bytes()).rows[0].avg_ts;
        assert!(rate("-p 512 -n 0 -ub 512") > rate("-p 512 -n 0 -ub 128"));
        assert!(rate("-p 0 -n 64") > rate("-p 0 -n 64 -d 4096"));
    }
}
