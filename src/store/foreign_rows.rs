//! Rows of another database made sense of: types, times, ids by content. Says what is wrong with a row by
//! its column; opens nothing.

use std::path::Path;

use rusqlite::types::Value as Column;
use serde_json::Value;
use uuid::Uuid;

use super::benchmarks::Figures;
use super::foreign_database::{Contents, Foreign, ForeignRun};
use super::imports::NewRow;
use crate::request::imported::Format;
use crate::run::case::{self, Case};
use crate::run::fingerprint::{Fingerprint, Gpu};
use crate::run::imported::content_id::content_id;
use crate::run::imported::{ImportedFigures, ImportedRun, stem, utc};
use crate::run::llama_bench_row::{Row, TestKind, parse_rows};
use crate::run::phase::Ending;
use crate::run::reason::Reason;

impl Foreign {
    fn get(&self, name: &str) -> Option<&Column> {
        let found = self.values.iter().find(|(column, _)| *column == name).map(|(_, value)| value);
        found.filter(|value| **value != Column::Null)
    }

    fn text(&self, name: &str) -> Option<String> {
        match self.get(name)? {
            Column::Text(text) => Some(text.clone()),
            Column::Integer(number) => Some(number.to_string()),
            Column::Real(number) => Some(number.to_string()),
            Column::Null | Column::Blob(_) => None,
        }
    }

    /// A number, also where it stands as text.
    fn number(&self, name: &str) -> Result<Option<f64>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = match value {
            Column::Integer(number) => Some(*number as f64),
            Column::Real(number) => Some(*number),
            Column::Text(text) => text.trim().parse().ok(),
            Column::Null | Column::Blob(_) => None,
        };
        let number = number.filter(|number: &f64| number.is_finite());
        number.map(Some).ok_or_else(|| format!("{name} is no number"))
    }

    fn count(&self, name: &str) -> Result<Option<u64>, String> {
        let Some(number) = self.number(name)? else { return Ok(None) };
        if number < 0.0 || number.fract() != 0.0 {
            return Err(format!("{name} is {number}, and no whole number from 0"));
        }
        Ok(Some(number as u64))
    }

    fn time(&self, name: &str) -> Result<Option<String>, String> {
        let Some(text) = self.text(name) else { return Ok(None) };
        utc(&text).map(Some).ok_or_else(|| format!("{name} is {text:?}, and no point in time"))
    }

    /// Everything in it.
    fn key(&self, table: &str) -> Uuid {
        let text = |(name, value): &(&str, Column)| match value {
            Column::Null => String::new(),
            Column::Integer(number) => format!("{name}={number};"),
            Column::Real(number) => format!("{name}={number};"),
            Column::Text(text) => format!("{name}={}:{text};", text.len()),
            Column::Blob(bytes) => format!("{name}={} bytes;", bytes.len()),
        };
        let all: String = self.values.iter().map(text).collect();
        content_id(&[table.as_bytes(), &self.rowid.to_be_bytes(), all.as_bytes()])
    }
}

/// A row of `benchmark_runs` into the contents: as a run, or as what is wrong with it.
pub fn run(row: &Foreign, path: &Path, contents: &mut Contents) {
    let status = row.text("status").unwrap_or_else(|| "completed".to_owned()).to_lowercase();
    if matches!(status.as_str(), "pending" | "running") {
        contents.open += 1;
        return;
    }
    match read_run(row, &status, path) {
        Ok(run) => contents.runs.push(run),
        Err(reason) => contents.bad.push(format!("benchmark_runs, rowid {}: {reason}", row.rowid)),
    }
}

fn read_run(row: &Foreign, status: &str, path: &Path) -> Result<ForeignRun, String> {
    let error = row.text("error_message").unwrap_or_default();
    let ending = match status {
        "completed" => Ending::completed(""),
        "failed" => Ending::failed(Reason::MeasuringFailed, error),
        "cancelled" => Ending::cancelled(Reason::Cancelled, error),
        other => return Err(format!("status is {other:?}, and none of completed, failed, cancelled")),
    };
    let figures = Figures {
        pp_avg_ts: row.number("pp_avg_ts")?,
        pp_stddev_ts: row.number("pp_stddev_ts")?,
        tg_avg_ts: row.number("tg_avg_ts")?,
        tg_stddev_ts: row.number("tg_stddev_ts")?,
        raw_output: row.text("raw_output"),
        build_commit: row.text("build_commit"),
        model_type: row.text("model_type"),
        model_size: row.count("model_size")?,
        model_n_params: row.count("model_n_params")?,
        gpu_info: row.text("gpu_info"),
        cpu_info: row.text("cpu_info"),
    };
    let params = row.text("params_json");
    if let Some(params) = &params
        && !serde_json::from_str::<Value>(params).is_ok_and(|params| params.is_object())
    {
        return Err("params_json is no object of flags".to_owned());
    }
    let rows = raw_rows(figures.raw_output.as_deref().unwrap_or_default());
    let cases = match case::pool(std::slice::from_ref(&rows)) {
        none if none.is_empty() => cases(&figures, params.as_deref()),
        pooled => pooled,
    };
    let service = row.text("service_name");
    let name = service.clone().unwrap_or_else(|| stem(&path.to_string_lossy()).to_owned());
    let id = row.text("id").and_then(|id| id.parse().ok()).unwrap_or_else(|| row.key("benchmark_runs"));
    let mut notes = Vec::new();
    if cases.is_empty() && figures.pp_avg_ts.or(figures.tg_avg_ts).is_some() {
        notes.push("it has no output of llama-bench, so its tests are not known".to_owned());
    }
    let run = ImportedRun {
        format: Format::Sqlite,
        name,
        id: Some(id),
        measured_at: row.time("created_at")?,
        started_at: row.time("started_at")?,
        completed_at: row.time("completed_at")?,
        service,
        model: row.text("model_path").or_else(|| figures.model_type.clone()),
        fingerprint: fingerprint(&figures, row.text("model_path")),
        simulated: row.count("simulated")?.is_some_and(|simulated| simulated != 0),
        ending,
        figures: ImportedFigures::LlamaBench { rows, cases },
        notes,
    };
    Ok(ForeignRun { id, run, figures, params })
}

/// llama-bench's rows, be the output a JSON array or lines.
fn raw_rows(raw: &str) -> Vec<Row> {
    match serde_json::from_str::<Vec<serde_json::Map<String, Value>>>(raw) {
        Ok(rows) => rows.into_iter().filter_map(Row::from_object).filter(|row| row.avg_ts > 0.0).collect(),
        Err(_) => parse_rows(raw.as_bytes()).rows,
    }
}

/// By the flags: a rate of so many prompt tokens, one of so many generated ones.
fn cases(figures: &Figures, params: Option<&str>) -> Vec<Case> {
    let params: Value = params.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let tokens = |flags: [&str; 2]| {
        let value = flags.iter().find_map(|flag| params.get(*flag))?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        text.parse::<u64>().ok().filter(|tokens| *tokens > 0)
    };
    let case = |kind, n_prompt, n_gen, avg_ts, stddev_ts| Case {
        kind,
        n_prompt,
        n_gen,
        n_depth: 0,
        varied: serde_json::Map::new(),
        samples_ts: Vec::new(),
        avg_ts,
        median_ts: None,
        stddev_ts,
        slow_first: Vec::new(),
    };
    let pp = figures.pp_avg_ts.zip(tokens(["-p", "--n-prompt"]));
    let tg = figures.tg_avg_ts.zip(tokens(["-n", "--n-gen"]));
    let pp = pp.map(|(rate, tokens)| case(TestKind::Pp, tokens, 0, rate, figures.pp_stddev_ts));
    let tg = tg.map(|(rate, tokens)| case(TestKind::Tg, 0, tokens, rate, figures.tg_stddev_ts));
    pp.into_iter().chain(tg).collect()
}

fn fingerprint(figures: &Figures, model: Option<String>) -> Fingerprint {
    let mut fingerprint = Fingerprint::default();
    fingerprint.cpu.model = figures.cpu_info.clone().filter(|cpu| !cpu.is_empty());
    fingerprint.gpus = figures.gpu_info.as_ref().map(|names| {
        let names = names.split(", ").filter(|name| !name.is_empty());
        names.map(|name| Gpu { name: Some(name.to_owned()), ..Gpu::default() }).collect()
    });
    fingerprint.model.path = model;
    fingerprint
}

/// A row of `benchmark_results` into the contents.
pub fn result(row: Foreign, key: Option<Uuid>, unix: i64, contents: &mut Contents) {
    match read_result(&row, key, unix) {
        Ok(new) => contents.rows.push(new),
        Err(reason) => contents.bad.push(format!("benchmark_results, rowid {}: {reason}", row.rowid)),
    }
}

fn read_result(row: &Foreign, key: Option<Uuid>, unix: i64) -> Result<NewRow, String> {
    let model = row.text("model_name").filter(|model| !model.trim().is_empty());
    let model = model.ok_or("model_name is empty")?;
    let created = match row.text("created_at") {
        None => unix,
        Some(text) => {
            let time = utc(&text).and_then(|time| time.parse::<jiff::Timestamp>().ok());
            time.ok_or_else(|| format!("created_at is {text:?}, and no point in time"))?.as_second()
        }
    };
    let mut values = vec![("model_name", Column::Text(model)), ("created_at", Column::Integer(created))];
    for name in [
        "model_size_bytes",
        "num_workers",
        "context_window",
        "num_requests",
        "successful_requests",
        "failed_requests",
        "simulated",
        "valid",
    ] {
        if let Some(count) = row.count(name)? {
            values.push((
                name,
                Column::Integer(i64::try_from(count).map_err(|_| format!("{name} is too large"))?),
            ));
        }
    }
    for name in [
        "avg_prompt_tokens",
        "avg_completion_tokens",
        "total_time_seconds",
        "requests_per_second",
        "time_per_request_seconds",
        "success_rate",
        "cost_per_hour",
    ] {
        values.extend(row.number(name)?.map(|number| (name, Column::Real(number))));
    }
    for name in ["model_size_params", "sample_responses", "benchmark_type", "notes", "hardware_info"] {
        values.extend(row.text(name).map(|text| (name, Column::Text(text))));
    }
    let of = row.text("run_id").zip(row.count("case_number")?.and_then(|case| i64::try_from(case).ok()));
    let key = key.unwrap_or_else(|| match &of {
        Some((run, case)) => content_id(&[b"result", run.as_bytes(), &case.to_be_bytes()]),
        None => row.key("benchmark_results"),
    });
    Ok(NewRow { key, of, values })
}
