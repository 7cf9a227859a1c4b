//! Every format by a file of it, and what is said of files that are none.

use std::collections::BTreeMap;

use super::error::{ImportError, Place};
use super::*;
use crate::request::load_test::Arrivals;
use crate::run::llama_bench_row::TestKind;
use crate::run::request_record::ErrorKind;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/", $name)).as_slice()
    };
}

#[track_caller]
fn only(bytes: &[u8], file: &str) -> ImportedRun {
    let mut runs = parse(bytes, file).unwrap_or_else(|error| panic!("{error} ({:?})", error.hint));
    assert_eq!(runs.len(), 1);
    runs.pop().unwrap()
}

fn load(run: &ImportedRun) -> (&[LoadCase], &[Vec<Record>]) {
    match &run.figures {
        ImportedFigures::Load { cases, records } => (cases, records),
        ImportedFigures::LlamaBench { .. } => panic!("another kind"),
    }
}

fn bench(run: &ImportedRun) -> (&[Row], &[Case]) {
    match &run.figures {
        ImportedFigures::LlamaBench { rows, cases } => (rows, cases),
        ImportedFigures::Load { .. } => panic!("another kind"),
    }
}

fn wrong(bytes: impl AsRef<[u8]>) -> ImportError {
    parse(bytes.as_ref(), "dir/some.json").unwrap_err()
}

#[test]
fn every_machine_readable_form_of_llama_bench_is_read() {
    let forms: [(&str, &[u8], f64); 4] = [
        ("json", fixture!("llama-cpp/bench/fmt-json.stdout"), 55133.586535),
        ("jsonl", fixture!("llama-cpp/bench/fmt-jsonl.stdout"), 52590.623851),
        ("csv", fixture!("llama-cpp/bench/fmt-csv.stdout"), 64392.994301),
        ("sql", fixture!("llama-cpp/bench/fmt-sql.stdout"), 65417.430786),
    ];
    for (form, bytes, avg) in forms {
        let run = only(bytes, &format!("out/tiny.{form}"));
        assert_eq!((run.format, run.name.as_str()), (Format::LlamaBench, "tiny"));
        assert_eq!(run.model.as_deref(), Some("/m/tiny.gguf"));
        assert!(run.measured_at.as_ref().unwrap().starts_with("2026-11-22T01:37:5"), "{form}");
        assert_eq!(run.fingerprint.cpu.model.as_deref(), Some("AMD EPYC"));
        assert_eq!(run.fingerprint.gpus, Some(Vec::new()), "it found none");
        let (rows, cases) = bench(&run);
        assert_eq!([rows[0].kind, rows[1].kind], [TestKind::Pp, TestKind::Tg]);
        assert_eq!((cases.len(), cases[0].avg_ts, cases[0].key().as_str()), (2, avg, "pp32"), "{form}");
        let samples = cases[0].count();
        assert_eq!(samples, if form.starts_with("json") { 2 } else { 0 }, "{form}");
        assert_eq!(cases[0].median_ts.is_some(), samples > 0);
        assert_eq!(run.notes.is_empty(), samples > 0, "{:?}", run.notes);
    }
}

#[test]
fn numbers_of_csv_are_numbers_and_names_stay_text() {
    let run = only(fixture!("llama-cpp/bench/fmt-csv.stdout"), "a.csv");
    let raw = &bench(&run).0[0].raw;
    assert_eq!((&raw["n_batch"], &raw["model_size"]), (&2048.into(), &1_555_456.into()));
    assert_eq!((&raw["tensor_split"], &raw["cpu_mask"]), (&"0.00".into(), &"0x0".into()));
}

#[test]
fn the_table_for_people_is_refused_with_the_way_out() {
    let error = parse(fixture!("llama-cpp/bench/fmt-md.stdout"), "a.md").unwrap_err();
    assert!(error.to_string().contains("rounded") && error.hint.unwrap().contains("-o jsonl"));
    let nothing = wrong(fixture!("llama-cpp/bench/fmt-none.stdout"));
    assert_eq!(nothing.to_string(), "dir/some.json: it is empty");
}

#[test]
fn a_row_that_is_broken_is_named_by_its_line() {
    let csv = String::from_utf8(fixture!("llama-cpp/bench/fmt-csv.stdout").to_vec()).unwrap();
    let cut = csv.replace(",\"17268.964069\",\"4177.903777\"", "");
    let error = parse(cut.as_bytes(), "a.csv").unwrap_err();
    assert_eq!(error.to_string(), "a.csv: llama-bench: line 3: it has 40 values for 42 columns");
    let sql = String::from_utf8(fixture!("llama-cpp/bench/fmt-sql.stdout").to_vec()).unwrap();
    let error = parse(sql.replace("'2327.238852');", "'2327.2").as_bytes(), "a.sql").unwrap_err();
    assert!(matches!(error.place, Place::Line(46)), "{error}");
    let none = parse(b"[{\"n_prompt\": 0, \"n_gen\": 0}]", "a.json").unwrap_err();
    assert_eq!(none.place, Place::Field("$[0]".to_owned()));
    let unmeasured = parse(b"{\"n_prompt\": 8, \"n_gen\": 0, \"avg_ts\": 0.0}", "a.json").unwrap_err();
    assert!(unmeasured.to_string().contains("no row that was measured"), "{unmeasured}");
}

#[test]
fn what_vllm_bench_recorded_is_taken_as_far_as_it_goes() {
    let run = only(fixture!("imports/vllm-bench-serve.recorded.json"), "vllm-bench-serve.recorded.json");
    assert_eq!((run.format, run.name.as_str()), (Format::Vllm, "vllm-bench-serve.recorded"));
    assert_eq!(run.measured_at.as_deref(), Some("2026-11-22T01:37:28.000Z"));
    assert_eq!(run.model.as_deref(), Some("/models/tiny"));
    let (cases, records) = load(&run);
    let case = &cases[0];
    assert_eq!((case.requests.total, case.requests.ok, case.requests.failed), (8, 8, 0));
    assert_eq!((case.concurrency, case.rate, case.error_rate), (None, None, Some(0.0)));
    assert_eq!((case.tokens.input, case.tokens.output), (Some(129), Some(64)));
    assert_eq!(case.throughput.requests_per_s, Some(52.62426936709489));
    let ttft = case.metrics.ttft.as_ref().unwrap();
    assert_eq!(
        (ttft.count, ttft.mean, ttft.p99),
        (Some(8), Some(150.23965774997805), Some(151.4475438297177))
    );
    assert_eq!((ttft.p95, ttft.min, ttft.max), (None, None, None), "it tells none of them");
    // Its ITL is the time between chunks.
    assert!(case.metrics.itl.is_none() && case.metrics.icl.is_some());
    let e2e = case.metrics.e2e.as_ref().unwrap();
    assert_eq!((e2e.count, e2e.max), (Some(8), Some(151.474)));
    assert_eq!(records[0].len(), 8);
    assert!(records[0].is_sorted_by_key(|record| record.sent_us), "by their waiting in its queue");
    assert!(case.valid);
}

#[test]
fn the_details_of_vllm_become_records_in_the_order_of_time() {
    let run = only(fixture!("imports/vllm-detailed.documented.json"), "v.json");
    let (cases, records) = load(&run);
    let (case, records) = (&cases[0], &records[0]);
    assert_eq!((case.concurrency, case.rate, case.arrivals), (Some(2), Some(10.0), Some(Arrivals::Poisson)));
    let sent: Vec<u64> = records.iter().map(|record| record.sent_us).collect();
    assert_eq!(sent, [0, 500_000, 600_000, 1_000_000]);
    let scheduled: Vec<u64> = records.iter().map(|record| record.scheduled_us).collect();
    assert_eq!(scheduled, [0, 400_000, 600_000, 750_000]);
    assert_eq!(records[1].chunks, [100_000, 10_000, 20_000]);
    assert_eq!((records[1].end_us, records[1].last_token_us), (130_000, Some(130_000)));
    let failed = records[2].error.as_ref().unwrap();
    assert_eq!((failed.kind, failed.message.as_str()), (ErrorKind::Unknown, "ConnectionError: refused"));
    assert_eq!(case.requests.errors, BTreeMap::from([(ErrorKind::Unknown, 1)]));
    let of = |summary: &Option<crate::stats::summary::Summary>| summary.as_ref().unwrap().p50;
    assert_eq!(of(&case.metrics.ttft), Some(200.0));
    assert_eq!(of(&case.metrics.e2e), Some(220.0));
    assert!(case.metrics.itl.is_some(), "as many tokens as chunks");
    assert_eq!(case.metrics.client_delay.as_ref().unwrap().max, Some(250.0));
    assert!(run.notes.iter().any(|note| note.contains("TTFT counts the first chunk")), "{:?}", run.notes);
    assert!(run.notes.iter().any(|note| note.contains("no zone")), "{:?}", run.notes);
}

#[test]
fn several_results_a_file_are_several_runs() {
    let one = String::from_utf8(fixture!("imports/vllm-bench-serve.recorded.json").to_vec()).unwrap();
    let both = format!("{}\n{}\n", one.trim(), one.trim().replace("20261122-013728", "20261123-013728"));
    let runs = parse(both.as_bytes(), "appended.json").unwrap();
    assert_eq!(runs.len(), 2);
    let broken = both.replacen("\"completed\": 8", "\"completed\": \"eight\"", 2);
    let error = parse(broken.as_bytes(), "appended.json").unwrap_err();
    let expected =
        "appended.json: vllm: line 1: $.completed: a number is expected here, not the text \"eight\"";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn every_benchmark_of_guidellm_is_a_case() {
    let run = only(fixture!("imports/guidellm.documented.json"), "benchmarks.json");
    assert_eq!(
        (run.format, run.measured_at.as_deref()),
        (Format::Guidellm, Some("2026-03-01T12:00:00.000Z"))
    );
    let (cases, records) = load(&run);
    let case = &cases[0];
    assert_eq!(
        (case.target.as_str(), case.model.as_deref()),
        ("http://localhost:8000", Some("org/model-8b"))
    );
    assert_eq!((case.concurrency, case.requests.ok, case.requests.failed), (Some(2), 2, 1));
    assert_eq!((case.tokens.input, case.tokens.output), (Some(200), Some(40)));
    assert_eq!(case.metrics.e2e.as_ref().unwrap().max, Some(1200.0));
    assert_eq!(case.metrics.ttft.as_ref().unwrap().p50, Some(150.0), "out of the requests");
    assert_eq!(case.metrics.itl.as_ref().unwrap().p95, Some(50.0));
    assert_eq!(case.metrics.client_delay.as_ref().unwrap().max, Some(500.0));
    let ids: Vec<(u64, bool)> = records[0].iter().map(|one| (one.sent_us, one.error.is_some())).collect();
    assert_eq!(ids, [(0, false), (1_500_000, false), (3_000_000, true)]);
    let second = &cases[1];
    assert_eq!((second.rate, second.arrivals, second.case), (Some(5.0), Some(Arrivals::Poisson), 2));
    assert_eq!(second.metrics.e2e.as_ref().unwrap().p95, Some(2800.0));
    assert!(second.metrics.ttft.is_none(), "0 throughout: it was not streamed");
    assert!(run.notes.iter().any(|note| note.contains("1 requests were still under way")), "{:?}", run.notes);
}

#[test]
fn aiperfs_metrics_are_converted_by_their_units() {
    let run = only(fixture!("imports/aiperf.documented.json"), "profile_export_aiperf.json");
    let (cases, _) = load(&run);
    let case = &cases[0];
    assert_eq!((run.format, run.model.as_deref()), (Format::Aiperf, Some("org/model-20b")));
    assert_eq!((case.requests.total, case.requests.failed, case.concurrency), (200, 5, Some(100)));
    assert_eq!(case.metrics.ttft.as_ref().unwrap().mean, Some(150.0));
    assert_eq!(case.metrics.e2e.as_ref().unwrap().p99, Some(940.0));
    assert_eq!(case.metrics.tpot.as_ref().unwrap().p95, Some(6.0));
    assert_eq!((case.tokens.output, case.duration_s), (Some(19370), Some(15.0)));
    let text = String::from_utf8(fixture!("imports/aiperf.documented.json").to_vec()).unwrap();
    let error = wrong(text.replace("\"unit\": \"sec\", \"avg\": 0.15", "\"unit\": \"moons\", \"avg\": 0.15"));
    let expected = "dir/some.json: aiperf: $.time_to_first_token: its unit \"moons\" is no unit of time";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn aiperfs_single_requests_are_a_run_of_their_own() {
    let run = only(fixture!("imports/aiperf-requests.documented.jsonl"), "profile_export.jsonl");
    let (cases, records) = load(&run);
    assert_eq!((cases[0].requests.ok, cases[0].requests.failed), (2, 1));
    assert_eq!(cases[0].metrics.ttft.as_ref().unwrap().mean, Some(200.0));
    assert_eq!(records[0].iter().map(|record| record.sent_us / 1_000).collect::<Vec<_>>(), [0, 500, 900]);
    assert_eq!(records[0][1].chunks, [250_000, 20_000, 30_000]);
}

#[test]
fn the_few_numbers_of_a_script_are_taken_in_any_spelling() {
    let bytes = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/import/results.json"));
    let run = only(bytes, "results.json");
    let (cases, _) = load(&run);
    let case = &cases[0];
    assert_eq!((run.format, run.measured_at.as_deref()), (Format::Simple, Some("2026-03-01T12:00:00.000Z")));
    assert!(run.notes.is_empty(), "{:?}", run.notes);
    assert_eq!((case.target.as_str(), case.concurrency), ("http://localhost:8000", Some(10)));
    assert_eq!((case.requests.total, case.requests.ok, case.requests.failed), (1000, 996, 4));
    assert_eq!((case.error_rate, case.throughput.requests_per_s), (Some(0.004), Some(12.5)));
    assert_eq!(case.throughput.output_tokens_per_s, Some(1604.2));
    let e2e = case.metrics.e2e.as_ref().unwrap();
    let told = [e2e.min, e2e.mean, e2e.p50, e2e.p90, e2e.p95, e2e.p99, e2e.max, e2e.stddev];
    let expected = [412.0, 793.4, 780.1, f64::NAN, 1120.6, 1345.2, 1502.9, 148.3];
    assert_eq!(told, expected.map(|value| Some(value).filter(|value| !value.is_nan())));

    let other = br#"{ "requests": 1000, "failures": 4, "workers": 10, "elapsed_seconds": 79.7, "rps": 12.5,
        "latency_seconds": { "min": 0.412, "avg": 0.7934, "median": 0.7801, "p95": 1.1206, "p99": 1.3452,
        "max": 1.5029, "std_dev": 0.1483 }, "tokens_per_second": 1604.2 }"#;
    let other = only(other, "other.json");
    let other = &load(&other).0[0];
    assert_eq!(other.requests, case.requests);
    assert_eq!((other.error_rate, other.throughput.clone()), (case.error_rate, case.throughput.clone()));
    let close = |a: Option<f64>, b: Option<f64>| (a.unwrap() - b.unwrap()).abs() < 1e-9;
    let same = other.metrics.e2e.as_ref().unwrap();
    assert!(close(same.p50, e2e.p50) && close(same.p99, e2e.p99) && close(same.stddev, e2e.stddev));
}

#[test]
fn what_a_script_leaves_open_is_named_and_not_guessed() {
    let run = only(
        br#"{ "total_requests": 10, "successful": 10, "throughput": 500, "tps": 3, "latency": { "p50": 12 },
            "p95_latency_ms": 20, "p999_latency_ms": 30, "gpu": { "max": 3 }, "error_rate": 2.5, "version": "1" }"#,
        "a.json",
    );
    let case = &load(&run).0[0];
    let e2e = case.metrics.e2e.as_ref().unwrap();
    assert_eq!((e2e.p50, e2e.p95, case.throughput.requests_per_s), (None, Some(20.0), None));
    let open = run.notes.iter().find(|note| note.starts_with("not understood")).unwrap();
    for key in [
        "throughput (of requests",
        "tps",
        "latency.p50 (without a unit",
        "p999_latency_ms",
        "gpu",
        "error_rate (above 1",
    ] {
        assert!(open.contains(key), "{key} in {open}");
    }
    let told = only(br#"{ "ok": 100, "duration_s": 10, "throughput": 10.1, "p50_ms": 3 }"#, "a.json");
    assert_eq!(
        load(&told).0[0].throughput.requests_per_s,
        Some(10.1),
        "it is requests by count and duration"
    );
    let error = wrong(r#"{ "latency": { "p50": 3 } }"#);
    assert!(error.to_string().contains("none of its figures can be understood"), "{error}");
}

#[test]
fn several_results_of_a_script_are_cases() {
    let run = only(
        br#"{ "model": "m", "results": [ { "concurrency": 1, "rps": 1.0, "latency_ms": { "p50": 10 } },
            { "concurrency": 4, "rps": 3.0, "latencies_ms": [ 10, 30, 20 ] } ] }"#,
        "sweep.json",
    );
    let (cases, records) = load(&run);
    let told: Vec<_> =
        cases.iter().map(|case| (case.case, case.concurrency, case.model.as_deref())).collect();
    assert_eq!(told, [(1, Some(1), Some("m")), (2, Some(4), Some("m"))]);
    assert_eq!((cases[1].metrics.e2e.as_ref().unwrap().p50, records[1].len()), (Some(20.0), 3));
}

#[test]
fn a_file_of_no_known_form_is_told_what_is_known() {
    for (bytes, reason) in [
        (&b"hello world"[..], "neither JSON nor CSV"),
        (b"{\"a\": 1}", "of no form that is known"),
        (b"{\"schema\": \"benchlet/report/v1\"}", "cannot be imported"),
        (b"\xff\xfe", "neither text in UTF-8"),
        (b"  \n", "it is empty"),
        (b"{\"a\": 1", "line 1, column 7: the file ends too early"),
        (b"SQLite format 3\0", "opened by its path"),
    ] {
        let error = wrong(bytes);
        assert!(error.to_string().contains(reason), "{error}");
    }
    assert!(wrong(b"hello").hint.unwrap().contains("GuideLLM"));
    assert!(wrong(b"{\"schema\": \"benchlet/report/v1\"}").hint.unwrap().contains("benchlet export"));
    let forced = parse_as(b"{\"a\": 1}", "a.json", Some(Format::Guidellm)).unwrap_err();
    assert_eq!(forced.to_string(), "a.json: guidellm: $: it has no \"benchmarks\"");
    let forced = parse_as(b"x", "a.txt", Some(Format::Vllm)).unwrap_err();
    assert!(forced.to_string().starts_with("a.txt: vllm: line 1, column 1:"), "{forced}");
}

#[test]
fn nothing_that_a_file_says_makes_the_reader_fall() {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};
    let files: [&[u8]; 8] = [
        fixture!("llama-cpp/bench/fmt-json.stdout"),
        fixture!("llama-cpp/bench/fmt-csv.stdout"),
        fixture!("llama-cpp/bench/fmt-sql.stdout"),
        fixture!("imports/vllm-detailed.documented.json"),
        fixture!("imports/guidellm.documented.json"),
        fixture!("imports/aiperf.documented.json"),
        fixture!("imports/aiperf-requests.documented.jsonl"),
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/import/results.json")),
    ];
    let spoiled = (0..files.len(), any::<prop::sample::Index>(), any::<prop::sample::Index>(), ".{0,6}");
    let mut runner = TestRunner::new(Config { cases: 400, failure_persistence: None, ..Config::default() });
    let result = runner.run(&spoiled, |(file, from, length, by)| {
        let mut bytes = files[file].to_vec();
        let from = from.index(bytes.len());
        let to = (from + length.index(40)).min(bytes.len());
        bytes.splice(from..to, by.bytes());
        // Whatever comes out, it comes out.
        drop(parse(&bytes, "spoiled"));
        Ok(())
    });
    result.unwrap();
}
