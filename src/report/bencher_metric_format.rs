//! The Bencher Metric Format, which trackers of benchmarks read: `{benchmark: {measure: {value, lower_value,
//! upper_value}}}`. Names measures and their units; a benchmark is a request with a case of it.
//!
//! | measure | unit | bounds |
//! |---|---|---|
//! | `throughput` | requests a second (Bencher's "operations / second") | |
//! | `latency` | nanoseconds (Bencher's own unit), median of whole answers | 95 % interval |
//! | `tokens_per_second` | tokens a second: of llama-bench the mean, of load tests all output | ± one standard deviation |
//! | `ttft_p50_ms`, `ttft_p95_ms`, `tpot_p50_ms`, `itl_p50_ms`, `itl_p95_ms`, `e2e_p50_ms`, `e2e_p95_ms`, `e2e_p99_ms` | milliseconds | 95 % interval |
//! | `goodput` | requests a second that met every objective | |
//! | `error_rate` | fraction of the requests, 0 to 1 | |

use serde_json::{Map, Value, json};

use super::content::BenchCase;
use crate::request::load_test::Metric;
use crate::run::load_case::LoadCase;
use crate::stats::summary::{Intervals, Summary};

/// A run's cases.
#[derive(Debug, Clone, Copy)]
pub enum Cases<'r> {
    Bench(&'r [BenchCase]),
    Load(&'r [LoadCase]),
}

/// Runs under their requests' names, newest first: of a case that several have, the newest counts.
pub fn of_runs<'r>(runs: impl IntoIterator<Item = (&'r str, Cases<'r>)>) -> Value {
    let mut all = Map::new();
    let mut put = |name: String, measures: Map<String, Value>| {
        if !measures.is_empty() && !all.contains_key(&name) {
            all.insert(name, Value::Object(measures));
        }
    };
    for (request, cases) in runs {
        match cases {
            Cases::Bench(cases) => {
                cases.iter().for_each(|case| put(format!("{request}/{}", case.label()), bench(case)));
            }
            Cases::Load(cases) => {
                cases.iter().for_each(|case| put(format!("{request}/{}", case.label()), load(case)));
            }
        }
    }
    Value::Object(all)
}

fn bench(case: &BenchCase) -> Map<String, Value> {
    let mut measures = Map::new();
    if let Some(mean) = case.avg_ts {
        let bounds = case.stddev_ts.map(|stddev| [mean - stddev, mean + stddev]);
        put(&mut measures, "tokens_per_second", Some(mean), bounds);
    }
    measures
}

fn load(case: &LoadCase) -> Map<String, Value> {
    let mut measures = Map::new();
    put(&mut measures, "throughput", case.throughput.requests_per_s, None);
    let e2e = case.metrics.e2e.as_ref();
    let nanoseconds = |ms: f64| ms * 1e6;
    put(
        &mut measures,
        "latency",
        e2e.and_then(|e2e| e2e.p50).map(nanoseconds),
        e2e.and_then(|e2e| e2e.intervals.p50).map(|bounds| bounds.map(nanoseconds)),
    );
    put(&mut measures, "tokens_per_second", case.throughput.output_tokens_per_s, None);
    type Of<T> = fn(&T) -> Option<f64>;
    type Bounds = fn(&Intervals) -> Option<[f64; 2]>;
    let p50: (&str, Of<Summary>, Bounds) = ("p50", |summary| summary.p50, |intervals| intervals.p50);
    let p95: (&str, Of<Summary>, Bounds) = ("p95", |summary| summary.p95, |intervals| intervals.p95);
    let p99: (&str, Of<Summary>, Bounds) = ("p99", |summary| summary.p99, |intervals| intervals.p99);
    for (metric, (part, of, bounds)) in [
        (Metric::Ttft, p50),
        (Metric::Ttft, p95),
        (Metric::Tpot, p50),
        (Metric::Itl, p50),
        (Metric::Itl, p95),
        (Metric::E2e, p50),
        (Metric::E2e, p95),
        (Metric::E2e, p99),
    ] {
        let Some(summary) = case.metrics.get(metric) else { continue };
        let name = format!("{}_{part}_ms", metric.as_str());
        put(&mut measures, &name, of(summary), bounds(&summary.intervals));
    }
    put(&mut measures, "goodput", case.goodput, None);
    put(&mut measures, "error_rate", case.error_rate, None);
    measures
}

fn put(measures: &mut Map<String, Value>, name: &str, value: Option<f64>, bounds: Option<[f64; 2]>) {
    let Some(value) = value else { return };
    let measure = match bounds {
        Some([lower, upper]) => json!({ "value": value, "lower_value": lower, "upper_value": upper }),
        None => json!({ "value": value }),
    };
    measures.insert(name.to_owned(), measure);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::imported::load_results::blank;

    #[test]
    fn a_measure_has_its_bounds_where_they_are_known_and_is_left_out_where_it_is_not() {
        let mut case = blank(1, "a");
        case.concurrency = Some(4);
        case.throughput.requests_per_s = Some(12.5);
        case.metrics.e2e = Summary::of((1..=100).map(f64::from).collect());
        let bench = BenchCase {
            case: 1,
            test: "tg128".to_owned(),
            varied: vec![("n_batch".to_owned(), "512".to_owned())],
            avg_ts: Some(85.0),
            median_ts: None,
            stddev_ts: Some(0.5),
            summary: None,
            samples_ts: Vec::new(),
            slow_first: Vec::new(),
        };
        let (bench, load) = ([bench], [case]);
        let older = [BenchCase { avg_ts: Some(1.0), ..bench[0].clone() }];
        let made =
            of_runs([("q", Cases::Bench(&bench)), ("q", Cases::Bench(&older)), ("l", Cases::Load(&load))]);
        assert_eq!(
            made["q/tg128 n_batch=512"],
            json!({ "tokens_per_second": { "value": 85.0, "lower_value": 84.5, "upper_value": 85.5 } })
        );
        let load = &made["l/c=4 a"];
        assert_eq!(load["throughput"], json!({ "value": 12.5 }));
        assert_eq!(load["latency"]["value"], 50_500_000.0);
        assert_eq!(load["e2e_p95_ms"]["lower_value"].as_f64().unwrap().floor(), 90.0);
        assert!(load.get("ttft_p50_ms").is_none() && load.get("goodput").is_none());
    }
}
