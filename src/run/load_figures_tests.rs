use std::collections::BTreeMap;

use super::load_case::{Invalid, InvalidReason, LoadCase};
use super::load_figures::{CaseInput, Pass, case_figures};
use super::measure_plan::{CaseAmount, CaseLoad, CasePlan, Dialect, Endpoint, TargetPlan};
use super::request_record::{
    CaseEnded, CaseStarted, ErrorKind, Record, RequestError, TargetFacts, TokenSource,
};
use super::series::SeriesSummary;
use crate::request::load_test::{
    Api, Arrivals, CachePolicy, Metric, Objective, Output, Statistic, ValidityLimits,
};

/// What a test says of a case; the rest is in order.
struct Given {
    load: CaseLoad,
    amount: CaseAmount,
    started: CaseStarted,
    ended: Option<CaseEnded>,
    passes: Vec<Vec<Record>>,
    series: Vec<BTreeMap<String, SeriesSummary>>,
    slo: Vec<Objective>,
    output: Output,
    cache: CachePolicy,
}

impl Given {
    fn new(records: Vec<Record>) -> Self {
        Self {
            load: CaseLoad::Closed { concurrency: 1 },
            amount: CaseAmount::Requests(records.len() as u32),
            started: CaseStarted {
                index: 0,
                unix_ms: 0,
                threads: 2,
                model: None,
                cache: "salted".to_owned(),
            },
            ended: Some(CaseEnded {
                index: 0,
                unix_ms: 10_000,
                wall_us: 10_000_000,
                client_cpu_us: 200_000,
                busiest_thread_cpu_us: 150_000,
                cut_short: false,
                early: None,
            }),
            passes: vec![records],
            series: Vec::new(),
            slo: Vec::new(),
            output: Output { max_tokens: 10, temperature: 0.0, ignore_eos: false },
            cache: CachePolicy::Salt,
        }
    }

    fn figures(&self) -> LoadCase {
        let target = TargetPlan {
            name: "here".to_owned(),
            dialect: Dialect::OpenAi,
            api: Api::Chat,
            endpoint: Endpoint::Url("http://127.0.0.1:1".to_owned()),
            key: None,
            simulated: false,
            container: None,
        };
        let facts = TargetFacts {
            model: Some("qwen".to_owned()),
            context_window: Some(4_096),
            ..TargetFacts::default()
        };
        let plans: Vec<CasePlan> = (1..)
            .take(self.passes.len())
            .map(|repeat| CasePlan {
                case: 3,
                repeat,
                target: 0,
                model: None,
                load: self.load,
                amount: self.amount,
                ramp_up_ms: 0,
                input_tokens: Some(512),
                conversation: None,
            })
            .collect();
        let passes = plans.iter().zip(&self.passes).enumerate().map(|(index, (plan, records))| Pass {
            plan,
            started: Some(&self.started),
            ended: self.ended.as_ref(),
            records,
            series: self.series.get(index).cloned().unwrap_or_default(),
            turns: &[],
            skipped: None,
        });
        case_figures(&CaseInput {
            number: 3,
            target: &target,
            facts: Some(&facts),
            passes: passes.collect(),
            slo: &self.slo,
            limits: &ValidityLimits::default(),
            output: &self.output,
            cache: self.cache,
            held: None,
            simulated: false,
        })
    }

    fn reasons(&self) -> Vec<InvalidReason> {
        self.figures().invalid.iter().map(|invalid| invalid.reason).collect()
    }
}

/// An answer of `gaps_ms.len() + 1` tokens, one a chunk, all of them asked for.
fn answer(sent_ms: u64, ttft_ms: u64, gaps_ms: &[u64]) -> Record {
    let us = |ms: u64| (ms * 1_000) as u32;
    let last_ms = ttft_ms + gaps_ms.iter().sum::<u64>();
    let tokens = gaps_ms.len() as u64 + 1;
    Record {
        n: sent_ms,
        scheduled_us: sent_ms * 1_000,
        sent_us: sent_ms * 1_000,
        first_byte_us: Some(ttft_ms * 1_000),
        first_chunk_us: Some(ttft_ms * 1_000),
        first_token_us: Some(ttft_ms * 1_000),
        first_output_us: Some(ttft_ms * 1_000),
        last_token_us: Some(last_ms * 1_000),
        end_us: last_ms * 1_000,
        chunks: std::iter::once(us(ttft_ms)).chain(gaps_ms.iter().map(|gap| us(*gap))).collect(),
        tokens_in: Some(20),
        tokens_out: Some(tokens),
        token_source: Some(TokenSource::Usage),
        max_tokens: tokens as u32,
        finish_reason: Some("length".to_owned()),
        status: Some(200),
        chars: 4 * tokens,
        ..Record::default()
    }
}

fn failure(sent_ms: u64, kind: ErrorKind, status: Option<u16>) -> Record {
    Record {
        n: sent_ms,
        scheduled_us: sent_ms * 1_000,
        sent_us: sent_ms * 1_000,
        end_us: 5_000,
        status,
        error: Some(RequestError { kind, message: "no".to_owned() }),
        ..Record::default()
    }
}

fn close(value: Option<f64>, expected: f64) {
    let value = value.expect("a known figure");
    assert!((value - expected).abs() < 1e-9, "{value} is not {expected}");
}

fn at_most(metric: Metric, statistic: Statistic, at_most_ms: f64) -> Objective {
    Objective { metric, statistic, at_most_ms }
}

#[test]
fn one_request_gives_figures_without_spread_or_intervals() {
    let case = Given::new(vec![answer(0, 100, &[50, 50])]).figures();
    let ttft = case.metrics.ttft.as_ref().unwrap();
    assert_eq!((ttft.count, ttft.min, ttft.p99, ttft.stddev), (Some(1), Some(100.0), Some(100.0), None));
    assert_eq!(case.metrics.tpot.as_ref().and_then(|tpot| tpot.p50), Some(50.0));
    assert_eq!((case.requests.total, case.requests.ok, case.success_rate), (1, 1, Some(1.0)));
    close(case.duration_s, 0.2);
    close(case.throughput.requests_per_s, 5.0);
    close(case.throughput.output_tokens_per_s, 15.0);
    close(case.throughput.input_tokens_per_s, 100.0);
    assert_eq!(case.throughput.plateau, None, "a fifth of a second is no plateau");
    assert!(case.valid, "{:?}", case.invalid);
    assert_eq!(case.requests.finish_reasons, BTreeMap::from([("length".to_owned(), 1)]));
    assert_eq!((case.model.as_deref(), case.context_window), (Some("qwen"), Some(4_096)));
}

#[test]
fn failures_count_as_errors_and_for_nothing_else() {
    let case = Given::new(vec![
        answer(0, 100, &[100]),
        failure(200, ErrorKind::HttpStatus, Some(429)),
        failure(300, ErrorKind::HttpStatus, Some(429)),
        failure(400, ErrorKind::HttpStatus, Some(503)),
        failure(995, ErrorKind::Connect, None),
    ])
    .figures();
    assert_eq!(case.metrics.e2e.as_ref().and_then(|e2e| e2e.count), Some(1));
    assert_eq!(
        case.metrics.client_delay.as_ref().and_then(|delay| delay.count),
        Some(4),
        "one was never sent"
    );
    assert_eq!((case.requests.total, case.requests.ok, case.requests.failed), (5, 1, 4));
    assert_eq!(case.requests.errors, BTreeMap::from([(ErrorKind::Connect, 1), (ErrorKind::HttpStatus, 3)]));
    assert_eq!(case.requests.http_status, BTreeMap::from([(429, 2), (503, 1)]));
    close(case.error_rate, 0.8);
    close(case.duration_s, 1.0);
    close(case.throughput.requests_per_s, 1.0);
    assert_eq!(
        case.invalid,
        [Invalid {
            reason: InvalidReason::ErrorRate,
            message:
                "4 of 5 requests failed (80 %), above the limit of 1 %: see their kinds and the server's \
                      log, or lower the load"
                    .to_owned(),
        }]
    );
}

#[test]
fn a_case_without_a_success_has_no_latencies_and_says_why() {
    let mut given = Given::new(vec![
        failure(0, ErrorKind::Connect, None),
        failure(10, ErrorKind::Connect, None),
        failure(20, ErrorKind::BadPayload, Some(200)),
    ]);
    given.slo = vec![at_most(Metric::Ttft, Statistic::P95, 500.0)];
    let case = given.figures();
    assert_eq!((&case.metrics.ttft, &case.metrics.e2e), (&None, &None));
    assert_eq!(case.throughput.requests_per_s, Some(0.0));
    assert_eq!(case.throughput.output_tokens_per_s, None);
    assert_eq!((case.tokens.output, case.tokens.source), (None, None));
    assert_eq!((case.slo["ttft_p95"].value, case.slo["ttft_p95"].met), (None, None));
    assert_eq!((case.goodput, case.good_fraction), (Some(0.0), Some(0.0)));
    assert_eq!(given.reasons(), [InvalidReason::NoSuccess, InvalidReason::ErrorRate]);
    assert!(case.invalid[0].message.contains("none of the 3 requests succeeded, most failed with connect"));
}

#[test]
fn a_case_that_never_began_is_a_case_all_the_same() {
    let mut given = Given::new(Vec::new());
    given.ended = None;
    assert_eq!(given.reasons(), [InvalidReason::NoSuccess, InvalidReason::CutShort]);
    let case = given.figures();
    assert_eq!((case.duration_s, case.success_rate, case.throughput.requests_per_s), (None, None, None));
    given.passes = Vec::new();
    assert_eq!(given.reasons(), [InvalidReason::NoSuccess, InvalidReason::CutShort]);
}

#[test]
fn warm_ups_count_nowhere() {
    let warmup = Record { warmup: true, text: Some("warm".to_owned()), ..answer(0, 900, &[900]) };
    let failed = Record { warmup: true, ..failure(0, ErrorKind::Connect, None) };
    let with = Given::new(vec![warmup, failed, answer(5_000, 100, &[50])]);
    let without = Given { amount: with.amount, ..Given::new(vec![answer(5_000, 100, &[50])]) };
    assert_eq!(with.figures(), without.figures());
    close(with.figures().duration_s, 0.15);
}

/// A server that stalls: the second request is due at 100 ms and leaves at 900.
#[test]
fn response_time_holds_the_wait_that_a_late_client_would_hide() {
    let late = Record { scheduled_us: 100_000, ..answer(900, 50, &[]) };
    let case = Given::new(vec![answer(0, 900, &[]), late]).figures();
    assert_eq!(case.metrics.e2e.as_ref().map(|e2e| (e2e.min, e2e.max)), Some((Some(50.0), Some(900.0))));
    assert_eq!(
        case.metrics.response_time.as_ref().map(|time| (time.min, time.max)),
        Some((Some(850.0), Some(900.0)))
    );
    assert_eq!(case.metrics.client_delay.as_ref().and_then(|delay| delay.max), Some(800.0));
    assert_eq!(case.client.delay_max, Some(800.0));
}

#[test]
fn a_missing_token_count_leaves_sums_and_rates_unknown() {
    let untold = Record { tokens_out: None, tokens_in: None, token_source: None, ..answer(200, 100, &[100]) };
    let case = Given::new(vec![answer(0, 100, &[100]), untold]).figures();
    assert_eq!((case.tokens.input, case.tokens.output, case.tokens.cached), (None, None, None));
    assert_eq!(case.tokens.source, Some(TokenSource::Usage));
    assert_eq!(case.throughput.output_tokens_per_s, None);
    assert_eq!(case.throughput.input_tokens_per_s, None);
    assert_eq!(case.metrics.tpot.as_ref().and_then(|tpot| tpot.count), Some(1));
    close(case.throughput.requests_per_s, 5.0);
}

#[test]
fn counted_chunks_are_named_and_give_no_token_rates() {
    let chunks = Record { token_source: Some(TokenSource::Chunks), ..answer(200, 100, &[100]) };
    let case = Given::new(vec![answer(0, 100, &[100]), chunks]).figures();
    assert_eq!((case.tokens.source, case.tokens.output), (Some(TokenSource::Chunks), None));
    assert_eq!(case.throughput.output_tokens_per_s, None);
    assert_eq!(case.tokens.input, Some(40));
}

#[test]
fn the_plateau_leaves_out_the_start_and_the_end_of_a_closed_loop() {
    // Worker 1: 0–2 s, 2–4 s. Worker 2 begins at 1 s: 1–3 s. Two are in flight from 1 to 3 s.
    let second = &[500, 500, 500];
    let mut given =
        Given::new(vec![answer(0, 500, second), answer(1_000, 500, second), answer(2_000, 500, second)]);
    given.load = CaseLoad::Closed { concurrency: 2 };
    let case = given.figures();
    let plateau = case.throughput.plateau.unwrap();
    close(Some(plateau.seconds), 2.0);
    close(Some(plateau.requests_per_s), 1.0);
    // After 1 s and up to 3 s: two of the first answer, all four of the second, two of the third.
    close(plateau.output_tokens_per_s, 4.0);
    close(case.throughput.output_tokens_per_s, 3.0);
    given.load = CaseLoad::Open { rate: 1.0, arrivals: Arrivals::Constant };
    assert_eq!(given.figures().throughput.plateau, None);
    given.load = CaseLoad::Closed { concurrency: 3 };
    assert_eq!(given.figures().throughput.plateau, None, "three were never in flight");
}

#[test]
fn the_plateau_takes_five_in_a_hundred_for_none_and_spans_short_dips() {
    let of = |workers: u64| {
        let mut given = Given::new((0..workers).map(|_| answer(0, 1_000, &[1_000])).collect());
        given.load = CaseLoad::Closed { concurrency: 20 };
        given.figures().throughput.plateau
    };
    assert!(of(19).is_some() && of(18).is_none());
    let dip = Given::new(vec![answer(0, 600, &[]), answer(601, 600, &[])]);
    close(dip.figures().throughput.plateau.map(|plateau| plateau.seconds), 1.201);
}

#[test]
fn tokens_of_the_plateau_follow_the_chunks() {
    let mut slow = answer(0, 500, &[1_500]);
    slow.tokens_out = Some(10);
    let told = Record { chunk_tokens: vec![9, 1], ..slow.clone() };
    let of = |record: &Record| {
        // A second request is in flight from 1 to 2 s only.
        let mut given = Given::new(vec![record.clone(), answer(1_000, 1_000, &[])]);
        given.load = CaseLoad::Closed { concurrency: 2 };
        given.figures().throughput.plateau.unwrap().output_tokens_per_s
    };
    close(of(&told), 2.0);
    close(of(&slow), 6.0);
    assert_eq!(of(&Record { chunks: Vec::new(), ..slow.clone() }), None);
    assert_eq!(of(&Record { tokens_out: None, ..slow }), None);
}

#[test]
fn objectives_judge_the_case_and_goodput_each_request() {
    let mut given = Given::new(vec![
        answer(0, 100, &[10, 10]),
        answer(200, 100, &[10, 90]),
        answer(400, 600, &[10, 10]),
        failure(1_995, ErrorKind::CutStream, Some(200)),
    ]);
    given.slo =
        vec![at_most(Metric::Ttft, Statistic::P50, 200.0), at_most(Metric::Icl, Statistic::Max, 50.0)];
    let case = given.figures();
    assert_eq!((case.slo["ttft_p50"].value, case.slo["ttft_p50"].met), (Some(100.0), Some(true)));
    assert_eq!((case.slo["icl_max"].value, case.slo["icl_max"].met), (Some(90.0), Some(false)));
    close(case.goodput, 0.5);
    close(case.good_fraction, 0.25);
}

#[test]
fn what_cannot_be_judged_has_no_goodput() {
    let several = |record: Record| Record { tokens_out: Some(9), ..record };
    let mut given = Given::new(vec![several(answer(0, 100, &[10])), several(answer(200, 100, &[10]))]);
    assert_eq!(given.figures().goodput, None, "without objectives nothing is good");
    given.slo = vec![at_most(Metric::Itl, Statistic::P95, 50.0)];
    let case = given.figures();
    assert_eq!((case.goodput, case.good_fraction), (None, None), "tokens of the chunks are unknown");
    given.slo.push(at_most(Metric::Ttft, Statistic::P95, 50.0));
    assert_eq!(given.figures().goodput, Some(0.0), "one missed bound decides");
}

#[test]
fn an_answer_of_one_token_breaks_no_bound_on_gaps_and_an_empty_one_is_not_good() {
    let empty = Record {
        first_token_us: None,
        first_output_us: None,
        last_token_us: None,
        chunks: Vec::new(),
        tokens_out: Some(0),
        chars: 0,
        ..answer(500, 100, &[])
    };
    let mut given = Given::new(vec![answer(0, 100, &[]), empty]);
    given.slo = vec![at_most(Metric::Icl, Statistic::P95, 50.0), at_most(Metric::Tpot, Statistic::P95, 50.0)];
    close(given.figures().good_fraction, 0.5);
}

#[test]
fn a_late_and_a_busy_client_invalidate_the_case() {
    let late = |sent| Record { scheduled_us: (sent - 12) * 1_000, ..answer(sent, 100, &[]) };
    let mut given = Given::new(vec![late(20), late(220), answer(420, 100, &[])]);
    assert_eq!(given.reasons(), [InvalidReason::ClientLate]);
    assert!(
        given.figures().invalid[0].message.starts_with("half of the requests were sent 12 ms or more after")
    );
    given.ended.as_mut().unwrap().busiest_thread_cpu_us = 9_000_000;
    assert_eq!(given.reasons(), [InvalidReason::ClientLate, InvalidReason::ClientBusy]);
    let client = given.figures().client;
    assert_eq!((client.cpu_percent_of_a_thread, client.threads), (Some(90.0), Some(2)));
    assert_eq!((client.delay_p50, client.delay_max), (Some(12.0), Some(12.0)));
}

#[test]
fn a_figure_at_its_limit_is_valid() {
    let mut records: Vec<Record> = (0..99).map(|n| answer(n * 100, 50, &[])).collect();
    records.push(failure(9_900, ErrorKind::CutStream, None));
    let mut given = Given::new(records);
    given.ended.as_mut().unwrap().busiest_thread_cpu_us = 8_000_000;
    assert_eq!(given.reasons(), []);
}

#[test]
fn hits_of_a_cache_that_should_be_cold_invalidate_the_case() {
    let warm = Record { tokens_cached: Some(10), ..answer(0, 100, &[]) };
    let mut given = Given::new(vec![warm, answer(200, 100, &[])]);
    let case = given.figures();
    assert_eq!((case.tokens.cache_hit_percent, case.tokens.cached), (Some(50.0), None));
    assert_eq!(given.reasons(), [InvalidReason::CacheHits]);
    given.cache = CachePolicy::Flush;
    assert_eq!(given.reasons(), [InvalidReason::CacheHits]);
    given.cache = CachePolicy::Keep;
    assert_eq!(given.reasons(), []);
    assert_eq!(Given::new(vec![answer(0, 100, &[])]).figures().tokens.cache_hit_percent, None);
}

#[test]
fn answers_that_end_early_count_only_where_they_should_not() {
    let early = Record { max_tokens: 4, ..answer(0, 100, &[10]) };
    let mut given = Given::new(vec![early, answer(200, 100, &[10, 10, 10])]);
    assert_eq!(given.reasons(), []);
    given.output.ignore_eos = true;
    assert_eq!(given.reasons(), [InvalidReason::OutputLength]);
    assert!(
        given.figures().invalid[0]
            .message
            .starts_with("answers were 3 tokens long on average where 4 were asked for (25 % off")
    );
}

#[test]
fn requests_cancelled_with_the_run_are_told_as_a_cut_and_not_as_the_servers_errors() {
    let mut given = Given::new(vec![answer(0, 100, &[]), failure(200, ErrorKind::Cancelled, None)]);
    given.ended.as_mut().unwrap().cut_short = true;
    assert_eq!(given.reasons(), [InvalidReason::CutShort]);
    close(given.figures().error_rate, 0.5);
    given.ended = None;
    assert_eq!(given.reasons(), [InvalidReason::CutShort], "a run that died has no end");
}

#[test]
fn an_open_loop_tells_the_rate_that_was_asked_and_the_one_that_was_kept() {
    let delayed = |due: u64, sent: u64| Record { scheduled_us: due * 1_000, ..answer(sent, 50, &[]) };
    let mut given =
        Given::new(vec![delayed(0, 0), delayed(500, 500), delayed(1_000, 1_500), delayed(1_500, 3_000)]);
    given.load = CaseLoad::Open { rate: 2.0, arrivals: Arrivals::Constant };
    let case = given.figures();
    assert_eq!((case.concurrency, case.rate, case.arrivals), (None, Some(2.0), Some(Arrivals::Constant)));
    close(case.client.requests_asked_per_s, 2.0);
    close(case.client.achieved_per_s, 1.0);
    assert_eq!(Given::new(vec![answer(0, 50, &[])]).figures().client.achieved_per_s, None);
}

#[test]
fn repeats_are_pooled_and_listed() {
    let mut given = Given::new(vec![answer(0, 100, &[100])]);
    assert_eq!(given.figures().repeats, []);
    given.passes.push(vec![answer(0, 300, &[300]), answer(600, 100, &[100])]);
    let case = given.figures();
    close(case.duration_s, 1.0);
    close(case.throughput.requests_per_s, 3.0);
    close(case.throughput.output_tokens_per_s, 6.0);
    assert_eq!(case.metrics.ttft.as_ref().and_then(|ttft| ttft.count), Some(3));
    let [first, second] = case.repeats.as_slice() else { panic!("two repeats: {:?}", case.repeats) };
    assert_eq!((first.repeat, first.ttft_p50, first.tpot_p50), (1, Some(100.0), Some(100.0)));
    assert_eq!((second.repeat, second.ttft_p50, second.tpot_p50), (2, Some(200.0), Some(200.0)));
    close(first.requests_per_s, 5.0);
    close(second.output_tokens_per_s, 5.0);
}

#[test]
fn series_of_repeats_become_one() {
    let series = |samples, min, mean, max, last| {
        BTreeMap::from([("host_cpu_percent".to_owned(), SeriesSummary { samples, min, mean, max, last })])
    };
    let mut given = Given::new(vec![answer(0, 100, &[])]);
    given.passes.push(vec![answer(0, 100, &[])]);
    given.series = vec![series(1, 10.0, 10.0, 10.0, 10.0), series(3, 20.0, 30.0, 50.0, 20.0)];
    let system = given.figures().system;
    assert_eq!(
        system["host_cpu_percent"],
        SeriesSummary { samples: 4, min: 10.0, mean: 25.0, max: 50.0, last: 20.0 }
    );
}

#[test]
fn samples_stand_in_the_order_of_schedule_with_their_repetition() {
    let kept = |n: u64, text: &str| Record { text: Some(text.to_owned()), ..answer(n, 100, &[]) };
    let mut given = Given::new(vec![kept(400, &"so ".repeat(8)), kept(200, "short"), answer(0, 100, &[])]);
    given.passes.push(vec![kept(0, "of another repeat")]);
    let samples = given.figures().samples;
    let texts: Vec<_> = samples.iter().map(|sample| (sample.text.trim_end(), sample.repetition)).collect();
    assert_eq!(texts, [("short", None), ("so so so so so so so so", Some(0.8))]);
    assert_eq!((samples[0].tokens_out, samples[0].finish_reason.as_deref()), (Some(1), Some("length")));
}

#[test]
fn the_label_names_what_was_asked_for() {
    let mut given = Given::new(vec![answer(0, 100, &[])]);
    given.load = CaseLoad::Closed { concurrency: 5 };
    assert_eq!(given.figures().label(), "c=5 p=512 here/qwen");
    given.load = CaseLoad::Open { rate: 2.5, arrivals: Arrivals::Poisson };
    given.started.model = Some("/models/a/b.gguf".to_owned());
    let case = given.figures();
    assert_eq!(case.label(), "r=2.5/s p=512 here/b.gguf");
    assert_eq!(case.model.as_deref(), Some("/models/a/b.gguf"));
    assert_eq!(LoadCase { rate: None, input_tokens: None, model: None, ..case }.label(), "here");
}

#[test]
fn the_figures_have_the_designs_shape_with_null_for_the_unknown_and_survive_json() {
    let case =
        Given::new(vec![answer(0, 100, &[50]), failure(200, ErrorKind::HttpStatus, Some(429))]).figures();
    let text = serde_json::to_string(&case).unwrap();
    assert_eq!(serde_json::from_str::<LoadCase>(&text).unwrap(), case);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "case",
        "target",
        "engine",
        "model",
        "concurrency",
        "rate",
        "arrivals",
        "input_tokens",
        "requests_asked",
        "duration_s",
        "percentiles",
        "metrics",
        "requests",
        "success_rate",
        "error_rate",
        "tokens",
        "throughput",
        "goodput",
        "good_fraction",
        "slo",
        "valid",
        "invalid",
        "client",
        "cache",
        "system",
        "samples",
        "repeats",
        "context_window",
        "cost",
        "conversation",
        "simulated",
    ];
    assert_eq!(keys, expected);
    assert!(json["rate"].is_null() && json["goodput"].is_null() && json["cost"].is_null());
    assert_eq!(json["metrics"].as_object().map(serde_json::Map::len), Some(Metric::ALL.len()));
    assert_eq!(json["percentiles"], "exact, linear interpolation (type 7)");
    assert_eq!(json["requests"]["errors"]["httpStatus"], 1);
    assert_eq!(json["requests"]["http_status"]["429"], 1);
    assert_eq!(json["tokens"]["in"], 20);
    assert_eq!(json["tokens"]["source"], "usage");
    assert_eq!(json["invalid"][0]["reason"], "ErrorRate");
    assert!(json["metrics"]["ttft"]["intervals"]["p50"].is_null());
}

#[test]
fn gaps_of_one_answer_get_no_interval_however_many_they_are() {
    let case = Given::new((0..10).map(|n| answer(n * 1_000, 100, &[10; 50])).collect()).figures();
    let icl = case.metrics.icl.unwrap();
    assert_eq!((icl.count, icl.intervals.p50), (Some(500), None));
    assert!(case.metrics.ttft.unwrap().intervals.p50.is_some());
}
