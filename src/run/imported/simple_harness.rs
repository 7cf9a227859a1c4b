//! The few numbers that a script writes: throughput, latencies, error rate. Scripts differ in their spelling,
//! so keys go through `simple_words`; what is unambiguous is taken, and what is not is named with its reason.

use std::collections::BTreeMap;

use serde_json::Value;

use super::error::ImportError;
use super::fields::At;
use super::load_results::{blank, count, exact, in_order, metrics, told};
use super::simple_words::{Key, Latency, Part, Word, key};
use super::{ImportedFigures, ImportedRun, times};
use crate::request::load_test::Metric;
use crate::run::load_case::{LoadCase, Metrics};
use crate::run::request_record::Record;
use crate::stats::summary::Summary;

/// Lists of several results, in an object that says what they share.
const LISTS: [&str; 5] = ["results", "runs", "cases", "benchmarks", "levels"];
/// How far a throughput may be off requests ÷ duration to be one of requests.
const NEAR: f64 = 0.05;

pub fn is_it(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.first().is_some_and(has_figures),
        Value::Object(fields) => {
            let list =
                |name: &&str| fields.get(*name).and_then(Value::as_array).and_then(|list| list.first());
            has_figures(value) || LISTS.iter().filter_map(list).any(has_figures)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// A rate of requests or errors, or a latency.
fn has_figures(value: &Value) -> bool {
    let figure = |(name, value): (&String, &Value)| match key(name) {
        Key::RequestsPerS | Key::ErrorRate(_) | Key::SuccessRate(_) => value.is_number(),
        Key::Throughput => value.is_number() || has_figures(value),
        Key::Latency(_) => value.is_number() || value.is_object() || value.is_array(),
        Key::Container | Key::Total => has_figures(value),
        Key::Ok
        | Key::Failed
        | Key::Concurrency
        | Key::DurationS(_)
        | Key::OutputTokensPerS
        | Key::TokensIn
        | Key::TokensOut
        | Key::Word(_)
        | Key::Unknown => false,
    };
    value.as_object().is_some_and(|fields| fields.iter().any(figure))
}

/// # Errors
/// A figure whose key is understood and whose value is not.
pub fn run(at: &At<'_>) -> Result<ImportedRun, ImportError> {
    let list = || LISTS.iter().find_map(|name| at.get(name).filter(|list| list.value.is_array()));
    let (shared, items) = match (at.value.is_array(), list()) {
        (true, _) => (None, at.items()?),
        (false, Some(list)) => (Some(at), list.items()?),
        (false, None) => (None, vec![at.clone()]),
    };
    let mut found = Vec::new();
    for item in &items {
        let mut figures = Figures::default();
        figures.read(item, "", Latency::default())?;
        if let Some(shared) = shared {
            figures.read(shared, "", Latency::default())?;
        }
        found.push(figures);
    }
    let (mut cases, mut records, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for (number, figures) in (1..).zip(&mut found) {
        let (case, requests) = figures.case(number, &mut notes);
        let figures = [case.throughput.requests_per_s, case.throughput.output_tokens_per_s, case.error_rate];
        if figures.iter().all(Option::is_none) && case.metrics == Metrics::default() {
            let hint = "a result has throughput_rps, latency_ms: { mean, p50, p95, … } or error_rate";
            let reason = format!("none of its figures can be understood; {}", notes.join("; "));
            return Err(items[number as usize - 1].wrong(reason).hint(hint));
        }
        cases.push(case);
        records.push(requests);
    }
    let time = found.iter().find_map(|figures| figures.time.clone());
    if time.as_ref().is_some_and(|time| !time.zone) {
        notes.push(times::NO_ZONE.to_owned());
    }
    notes.dedup();
    let model = cases.iter().find_map(|case| case.model.clone());
    let simulated = !cases.is_empty() && cases.iter().all(|case| case.simulated);
    let source = at.source();
    let mut run = ImportedRun::new(source.format, source.file, ImportedFigures::Load { cases, records });
    run.model = model;
    run.simulated = simulated;
    run.measured_at = time.map(|time| time.utc);
    run.notes = notes;
    Ok(run)
}

/// What one object tells.
#[derive(Debug, Default)]
struct Figures {
    /// Of the keys without a value of their own here.
    numbers: BTreeMap<&'static str, f64>,
    latencies: BTreeMap<(Metric, Part), f64>,
    /// Milliseconds of single requests.
    singles: Vec<f64>,
    time: Option<times::Time>,
    target: Option<String>,
    model: Option<String>,
    engine: Option<String>,
    simulated: bool,
    /// Keys that were not understood, with the reason where there is one.
    open: Vec<String>,
}

impl Figures {
    fn read(&mut self, at: &At<'_>, before: &str, around: Latency) -> Result<(), ImportError> {
        let Some(fields) = at.object() else {
            return Err(at.wrong("an object with figures is expected here"));
        };
        let unit = fields.iter().find(|(name, _)| key(name) == Key::Word(Word::Unit));
        let unit = unit.and_then(|(_, value)| unit_of(value.as_str()?));
        let around = Latency { unit: around.unit.or(unit), ..around };
        for name in fields.keys() {
            let Some(field) = at.get(name) else { continue };
            let path = if before.is_empty() { name.clone() } else { format!("{before}.{name}") };
            self.field(&field, &path, key(name), around)?;
        }
        Ok(())
    }

    fn field(&mut self, at: &At<'_>, path: &str, key: Key, around: Latency) -> Result<(), ImportError> {
        match key {
            Key::Total | Key::Throughput | Key::Container if at.value.is_object() => {
                return self.read(at, path, around);
            }
            // A list of results was taken apart before.
            Key::Container if at.value.is_array() => {}
            Key::Total => self.number("total", at.count()? as f64, path),
            Key::Ok if at.value.is_number() => self.number("ok", at.count()? as f64, path),
            Key::Failed if at.value.is_number() => self.number("failed", at.count()? as f64, path),
            Key::Concurrency => self.number("concurrency", at.count()? as f64, path),
            Key::DurationS(scale) => self.number("duration", at.amount()? * scale, path),
            Key::RequestsPerS => self.number("requests_per_s", at.amount()?, path),
            Key::OutputTokensPerS => self.number("tokens_per_s", at.amount()?, path),
            Key::TokensIn => self.number("tokens_in", at.count()? as f64, path),
            Key::TokensOut => self.number("tokens_out", at.count()? as f64, path),
            Key::ErrorRate(scale) => self.fraction("error_rate", at.amount()? * scale, path),
            Key::SuccessRate(scale) => self.fraction("success_rate", at.amount()? * scale, path),
            Key::Throughput => self.number("throughput", at.amount()?, path),
            Key::Latency(own) => {
                let whole = Latency {
                    metric: own.metric.or(around.metric),
                    part: own.part.or(around.part),
                    unit: own.unit.or(around.unit),
                };
                return self.latency(at, path, whole);
            }
            Key::Word(word) => self.word(at, word, path),
            Key::Ok | Key::Failed | Key::Container | Key::Unknown => self.open.push(path.to_owned()),
        }
        Ok(())
    }

    fn number(&mut self, name: &'static str, value: f64, path: &str) {
        let known = *self.numbers.entry(name).or_insert(value);
        if known != value {
            self.open.push(format!("{path} (it was told before, as {known})"));
        }
    }

    fn fraction(&mut self, name: &'static str, value: f64, path: &str) {
        if value > 1.0 {
            self.open.push(format!("{path} (above 1, so no fraction; is it in percent?)"));
        } else {
            self.number(name, value, path);
        }
    }

    fn latency(&mut self, at: &At<'_>, path: &str, latency: Latency) -> Result<(), ImportError> {
        if at.value.is_object() {
            return self.read(at, path, latency);
        }
        let metric = latency.metric.unwrap_or(Metric::E2e);
        match (latency.part, latency.unit) {
            (None, Some(unit)) if at.value.is_array() && metric == Metric::E2e => {
                let values: Vec<f64> = at.items()?.iter().map(At::amount).collect::<Result<_, _>>()?;
                self.singles = values.into_iter().map(|value| value * unit).collect();
            }
            (_, None) => self.open.push(format!("{path} (without a unit: seconds or milliseconds?)")),
            (None, Some(_)) => self.open.push(format!("{path} (which statistic is it?)")),
            (Some(part), Some(unit)) => {
                let value = at.amount()? * unit;
                let known = *self.latencies.entry((metric, part)).or_insert(value);
                if (known - value).abs() > 1e-6 * known.abs() {
                    self.open.push(format!("{path} (it was told before, as {known} ms)"));
                }
            }
        }
        Ok(())
    }

    fn word(&mut self, at: &At<'_>, word: Word, path: &str) {
        let text = at.value.as_str().map(str::to_owned);
        match (word, &text) {
            (Word::Time, _) => {
                let time = match (&text, at.value.as_f64()) {
                    (Some(text), _) => times::of_text(text),
                    (None, Some(number)) => times::of_unix(number),
                    (None, None) => None,
                };
                match time {
                    Some(time) => self.time = self.time.take().or(Some(time)),
                    None => self.open.push(format!("{path} (no point in time)")),
                }
            }
            (Word::Target, Some(_)) => self.target = self.target.take().or(text),
            (Word::Model, Some(_)) => self.model = self.model.take().or(text),
            (Word::Engine, Some(_)) => self.engine = self.engine.take().or(text),
            (Word::Simulated, _) => self.simulated |= at.value == &Value::Bool(true),
            (Word::Name | Word::Unit, Some(_)) => {}
            (Word::Target | Word::Model | Word::Engine | Word::Name | Word::Unit, None) => {
                self.open.push(path.to_owned());
            }
        }
    }

    fn case(&mut self, number: u32, notes: &mut Vec<String>) -> (LoadCase, Vec<Record>) {
        let mut case = blank(number, self.target.as_deref().unwrap_or("script"));
        case.engine = self.engine.clone().unwrap_or(case.engine);
        case.model = self.model.clone();
        case.simulated = self.simulated;
        case.duration_s = self.get("duration");
        case.concurrency = self.get("concurrency").map(|count| count as u32);
        let count_of = |value: Option<f64>| value.map(|value| value as u64);
        case.tokens.input = count_of(self.get("tokens_in"));
        case.tokens.output = count_of(self.get("tokens_out"));
        self.counts(&mut case, notes);
        let by_count = case.duration_s.filter(|s| *s > 0.0 && case.requests.ok > 0);
        let by_count = by_count.map(|s| case.requests.ok as f64 / s);
        let bare = self.get("throughput");
        let of_requests = bare.filter(|bare| by_count.is_some_and(|rate| (bare - rate).abs() <= NEAR * rate));
        if bare.is_some() && of_requests.is_none() {
            self.open.push("throughput (of requests or of tokens?)".to_owned());
        }
        case.throughput.requests_per_s = self.get("requests_per_s").or(of_requests).or(by_count);
        case.throughput.output_tokens_per_s = self.get("tokens_per_s");
        let records = in_order(self.records());
        let stated = self.stated(case.requests.ok);
        if stated.e2e.is_none() && !records.is_empty() {
            case.percentiles = exact();
            case.metrics.e2e = metrics(&records, false).e2e;
        }
        case.metrics = super::load_results::either(std::mem::take(&mut case.metrics), stated);
        if !self.open.is_empty() {
            notes.push(format!("not understood: {}", self.open.join(", ")));
        }
        (case, records)
    }

    fn get(&self, name: &str) -> Option<f64> {
        self.numbers.get(name).copied()
    }

    /// Two of all, successful and failed give the third; else the rate of errors does.
    fn counts(&mut self, case: &mut LoadCase, notes: &mut Vec<String>) {
        let whole = |value: Option<f64>| value.map(|value| value.round() as u64);
        let [total, ok, failed] = ["total", "ok", "failed"].map(|name| whole(self.get(name)));
        let rate = self.get("error_rate").or(self.get("success_rate").map(|rate| 1.0 - rate));
        let by_rate = total.zip(rate).map(|(total, rate)| (total as f64 * rate).round() as u64);
        match (total, ok, failed.or(by_rate)) {
            (Some(total), Some(ok), _) if ok <= total => count(case, ok, total - ok),
            (Some(total), None, Some(failed)) if failed <= total => count(case, total - failed, failed),
            (None, Some(ok), Some(failed)) => count(case, ok, failed),
            (None, Some(ok), None) => {
                count(case, ok, 0);
                notes.push("it does not tell how many requests failed".to_owned());
            }
            (Some(total), None, None) => {
                case.requests.total = total;
                case.requests.ok = total;
                notes.push("it does not tell how many requests failed".to_owned());
            }
            (None, None, _) => {
                notes.push("it does not tell how many requests there were".to_owned());
                case.error_rate = rate;
                case.success_rate = rate.map(|rate| 1.0 - rate);
            }
            (Some(total), _, _) => {
                notes.push(format!("its counts do not fit its {total} requests, and are left out"));
            }
        }
        if let (Some(told), Some(counted)) = (rate, case.error_rate)
            && (told - counted).abs() > 0.005
        {
            self.open.push(format!("error_rate (it says {told}, its counts give {counted:.4})"));
        }
    }

    fn stated(&self, ok: u64) -> Metrics {
        let of = |metric: Metric| {
            let part = |part: Part| self.latencies.get(&(metric, part)).copied();
            let each = metric == Metric::E2e || metric == Metric::Ttft;
            told(Summary {
                count: Some(ok).filter(|ok| each && *ok > 0),
                min: part(Part::Min),
                mean: part(Part::Mean),
                p50: part(Part::P50),
                p90: part(Part::P90),
                p95: part(Part::P95),
                p99: part(Part::P99),
                max: part(Part::Max),
                stddev: part(Part::Stddev),
                ..Summary::default()
            })
        };
        Metrics {
            ttft: of(Metric::Ttft),
            tpot: of(Metric::Tpot),
            itl: of(Metric::Itl),
            e2e: of(Metric::E2e),
            ..Metrics::default()
        }
    }

    /// Of requests nothing but their latency is known.
    fn records(&self) -> Vec<Record> {
        let record = |ms: &f64| Record { end_us: (ms * 1e3).round() as u64, ..Record::default() };
        self.singles.iter().map(record).collect()
    }
}

/// `"unit": "ms"`; by itself a unit is no key.
fn unit_of(text: &str) -> Option<f64> {
    if let Key::Latency(latency) = key(&format!("latency_{text}")) { latency.unit } else { None }
}
