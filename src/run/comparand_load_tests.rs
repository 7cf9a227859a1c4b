use super::*;
use crate::run::load_case::{Metrics, RepeatFigures, Requests, Throughput};
use crate::stats::summary::Summary;

fn load_case(number: u32, concurrency: u32, target: &str) -> LoadCase {
    let values = [10.0, 20.0, 30.0, 40.0];
    let summary = Summary::of(values.to_vec());
    let text = serde_json::json!({
        "case": number, "target": target, "engine": "vllm", "model": "/models/a.gguf",
        "concurrency": concurrency, "rate": null, "arrivals": null, "input_tokens": null,
        "requests_asked": 4, "duration_s": 1.0, "percentiles": "x", "metrics": Metrics { e2e: summary, ..Metrics::default() },
        "requests": Requests { total: 5, ok: 4, failed: 1, ..Requests::default() },
        "success_rate": 0.8, "error_rate": 0.2, "tokens": {}, "throughput": Throughput {
            requests_per_s: Some(4.0), ..Throughput::default() },
        "goodput": null, "good_fraction": null, "slo": {}, "valid": true, "invalid": [], "client": {},
        "cache": null, "system": {}, "samples": [], "repeats": [], "context_window": null, "simulated": false,
    });
    let mut text = text;
    text["tokens"] = serde_json::to_value(crate::run::load_case::Tokens::default()).unwrap();
    text["client"] = serde_json::to_value(crate::run::load_case::Client::default()).unwrap();
    serde_json::from_value(text).unwrap()
}

fn record(repeat: u32, sent_us: u64, e2e_us: u64) -> OfRepeat {
    (repeat, Record { sent_us, scheduled_us: sent_us, end_us: e2e_us, ..Record::default() })
}

#[test]
fn the_address_of_a_single_target_is_no_part_of_a_cases_name() {
    let keys = |all: &[LoadCase]| cases(all, &[]).into_iter().map(|case| case.key).collect::<Vec<_>>();
    let here = [load_case(1, 1, "llama.cpp localhost:8080"), load_case(2, 4, "llama.cpp localhost:8080")];
    let there = [load_case(1, 1, "llama.cpp gpu7:9000"), load_case(2, 4, "llama.cpp gpu7:9000")];
    assert_eq!(keys(&here), ["c=1", "c=4"]);
    assert_eq!(keys(&here), keys(&there));
    assert_eq!(keys(&[load_case(1, 1, "a"), load_case(2, 1, "b")]), ["c=1 a", "c=1 b"]);
}

#[test]
fn cases_of_the_same_name_are_told_apart_by_their_requests() {
    let keys: Vec<String> =
        cases(&[load_case(1, 1, "a"), load_case(2, 1, "a")], &[]).into_iter().map(|case| case.key).collect();
    assert_eq!(keys, ["c=1", "c=1 n=4"]);
}

#[test]
fn samples_are_in_the_order_of_sending_without_warm_ups_and_failures() {
    let mut warm = record(1, 0, 99_000);
    warm.1.warmup = true;
    let mut failed = record(1, 5, 98_000);
    failed.1.error = Some(crate::run::request_record::RequestError {
        kind: crate::run::request_record::ErrorKind::Connect,
        message: String::new(),
    });
    let records = vec![record(1, 30, 3_000), warm, record(1, 10, 1_000), failed, record(2, 20, 2_000)];
    let found = cases(&[load_case(1, 2, "a")], &[records]).remove(0);
    assert_eq!(found.samples[&Metric::E2e], Samples::Requests(vec![1.0, 3.0, 2.0]));
    assert_eq!((found.requests, found.concurrency), (Some((1, 5)), 2));
    assert_eq!(found.figures[&Measure::ErrorRate].value, 0.2);
}

#[test]
fn each_repeat_is_one_observation_of_a_percentile_and_of_a_rate() {
    let mut case = load_case(1, 1, "a");
    let repeat = |repeat: u32, rate: f64| RepeatFigures {
        repeat,
        ttft_p50: None,
        tpot_p50: None,
        output_tokens_per_s: None,
        requests_per_s: Some(rate),
    };
    case.repeats = vec![repeat(1, 3.0), repeat(2, 5.0)];
    let records = vec![record(1, 1, 1_000), record(1, 2, 3_000), record(2, 1, 4_000), record(2, 2, 6_000)];
    let found = cases(std::slice::from_ref(&case), std::slice::from_ref(&records)).remove(0);
    let p50 = &found.figures[&Measure::Latency(Metric::E2e, Statistic::P50)];
    assert_eq!((p50.value, p50.units.as_slice()), (25.0, [2.0, 5.0].as_slice()));
    assert_eq!(found.figures[&Measure::Requests].units, [3.0, 5.0]);
    // A repeat that left nothing leaves the others to stand for less than the run.
    case.repeats.push(repeat(3, 4.0));
    let found = cases(&[case], &[records]).remove(0);
    assert!(found.figures[&Measure::Latency(Metric::E2e, Statistic::P50)].units.is_empty());
}
