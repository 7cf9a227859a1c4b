//! llama-bench's output in every form that has its columns: JSON, JSON Lines, CSV, SQL. CSV and SQL lack the
//! repetitions, so of these the mean and its deviation are all there is. Pools rows as `case` does.

use serde_json::{Map, Value};

use super::error::{ImportError, Place};
use super::fields::{At, Source};
use super::json_text::Text;
use super::{ImportedFigures, ImportedRun, llama_bench_csv, llama_bench_sql, times};
use crate::run::case;
use crate::run::fingerprint::{Fingerprint, Gpu};
use crate::run::llama_bench_row::Row;

/// A row is known by what it tests.
pub fn is_it(value: &Value) -> bool {
    let row = |value: &Value| value.get("n_prompt").is_some() && value.get("n_gen").is_some();
    match value {
        Value::Array(items) => items.first().is_some_and(row),
        Value::Object(_) => row(value),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Whether it is CSV, SQL or a table of llama-bench.
pub fn looks_like_text(text: &str) -> bool {
    llama_bench_csv::is_it(text) || llama_bench_sql::is_it(text) || is_table(text)
}

/// The form for people, which has rounded numbers and no columns to name a test by.
fn is_table(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| line.starts_with('|'));
    lines.next().is_some_and(|head| head.contains(" test ") && head.contains(" t/s "))
}

/// # Errors
/// A row that is none, or no row at all.
pub fn of_json(values: &Text, source: Source<'_>) -> Result<Vec<ImportedRun>, ImportError> {
    let mut rows = Vec::new();
    for (line, value) in &values.items {
        let at = At::root(source, value);
        let items = if value.is_array() { at.items()? } else { vec![at] };
        for item in items {
            rows.extend(values.on_its_line(*line, row(&item))?);
        }
    }
    run(rows, source)
}

/// # Errors
/// A line that cannot be read, or no row at all.
pub fn of_text(text: &str, source: Source<'_>) -> Result<Vec<ImportedRun>, ImportError> {
    let raw = if llama_bench_sql::is_it(text) {
        llama_bench_sql::rows(text, source)?
    } else if llama_bench_csv::is_it(text) {
        llama_bench_csv::rows(text, source)?
    } else if is_table(text) {
        let reason = "it is llama-bench's table for people, whose numbers are rounded";
        return Err(source.wrong(Place::File, reason).hint("let llama-bench write it with -o jsonl"));
    } else {
        let hint = "llama-bench writes it with -o json, jsonl, csv or sql";
        return Err(source.wrong(Place::File, "it is no output of llama-bench").hint(hint));
    };
    let mut rows = Vec::new();
    for (line, object) in raw {
        let value = Value::Object(object);
        let read = row(&At::root(source, &value));
        rows.extend(read.map_err(|error| ImportError { place: Place::Line(line), ..error })?);
    }
    run(rows, source)
}

/// The row, where it was measured: `-r 0` prints a rate of 0.
fn row(at: &At<'_>) -> Result<Option<Row>, ImportError> {
    let Some(object) = at.object() else { return Err(at.wrong("a row of llama-bench is expected here")) };
    let Some(row) = Row::from_object(object.clone()) else {
        let reason = "it names no test: n_prompt or n_gen has to be above 0";
        return Err(at.wrong(reason));
    };
    if !row.avg_ts.is_finite() || row.avg_ts < 0.0 {
        return Err(at.wrong(format!("avg_ts is {}, which is no rate", row.avg_ts)));
    }
    Ok((row.avg_ts > 0.0).then_some(row))
}

fn run(rows: Vec<Row>, source: Source<'_>) -> Result<Vec<ImportedRun>, ImportError> {
    let Some(first) = rows.first() else {
        let hint = "llama-bench measures nothing with -r 0, or with -p 0 -n 0";
        return Err(source.wrong(Place::File, "it has no row that was measured").hint(hint));
    };
    let text = |name: &str| first.raw.get(name).and_then(Value::as_str).map(str::to_owned);
    let model = text("model_filename").filter(|model| !model.is_empty()).or_else(|| text("model_type"));
    let fingerprint = fingerprint(first);
    let tested = rows.iter().filter_map(|row| times::of_text(row.raw.get("test_time")?.as_str()?));
    let measured_at = tested.map(|time| time.utc).min();
    let has_samples = rows.iter().any(|row| !row.exact_samples_ts().is_empty());
    let cases = case::pool(std::slice::from_ref(&rows));
    let mut run = ImportedRun::new(source.format, source.file, ImportedFigures::LlamaBench { rows, cases });
    run.model = model;
    run.fingerprint = fingerprint;
    run.measured_at = measured_at;
    if !has_samples {
        run.notes.push("it has no single repetitions, so nothing can be told of their spread".to_owned());
    }
    Ok(vec![run])
}

fn fingerprint(row: &Row) -> Fingerprint {
    let mut fingerprint = Fingerprint::default();
    fingerprint.cpu.model = row.cpu_info().filter(|cpu| !cpu.is_empty()).map(str::to_owned);
    fingerprint.gpus = row.gpu_info().map(|names| {
        let names = names.split(", ").filter(|name| !name.is_empty());
        names.map(|name| Gpu { name: Some(name.to_owned()), ..Gpu::default() }).collect()
    });
    fingerprint.model.path = row.raw.get("model_filename").and_then(Value::as_str).map(str::to_owned);
    fingerprint
}

/// Columns whose values are numbers in JSON; CSV and SQL have all of them in quotes.
pub(super) fn typed(column: &str, text: &str) -> Value {
    const NUMBERS: [&str; 22] = [
        "build_number",
        "model_size",
        "model_n_params",
        "poll",
        "cpu_strict",
        "main_gpu",
        "no_kv_offload",
        "flash_attn",
        "use_mmap",
        "use_direct_io",
        "embeddings",
        "no_op_offload",
        "no_host",
        "repack",
        "fit_target",
        "fit_min_ctx",
        "avg_ns",
        "stddev_ns",
        "avg_ts",
        "stddev_ts",
        "prio",
        "numa",
    ];
    if !NUMBERS.contains(&column) && !column.starts_with("n_") {
        return Value::String(text.to_owned());
    }
    let whole = text.parse::<i64>().ok().map(Value::from);
    let number = || text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from);
    whole.or_else(number).unwrap_or_else(|| Value::String(text.to_owned()))
}

/// Rows with their lines.
pub(super) type RawRows = Vec<(usize, Map<String, Value>)>;

/// Names and values of a line as one object.
pub(super) fn object(columns: &[String], values: Vec<String>) -> Map<String, Value> {
    columns.iter().zip(values).map(|(column, text)| (column.clone(), typed(column, &text))).collect()
}
