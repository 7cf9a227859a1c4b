//! A load test's part of a report for people: all cases side by side, then each by itself. Chooses and
//! rounds; the figures are `run::load_case`'s.

use super::content::{LoadCaseReport, Report};
use super::load_plots::{against_load, distribution, left_out, over_time, short_names, unit_of, values};
use super::outline::{
    Block, Table, UNKNOWN, interval, known, ms_of, number, or_unknown, output_tail, rate_of, table, words,
};
use super::outline_slowest;
use super::plot::Figure;
use crate::request::load_test::Metric;
use crate::run::load_case::LoadCase;
use crate::run::load_words::{ms, short};

/// Everything about the cases.
pub fn cases(report: &Report, cases: &[LoadCaseReport], blocks: &mut Vec<Block>) {
    if cases.is_empty() {
        blocks.push(Block::Text("Nothing was measured.".to_owned()));
        return blocks.extend(output_tail(report));
    }
    blocks.push(Block::Table(overview(report, cases)));
    let mut figures = against_load(report, cases);
    let (names, left_out) = (short_names(cases), left_out(cases));
    for (title, metric) in [("Time to first token", Metric::Ttft), ("Whole answer (e2e)", Metric::E2e)] {
        let curves = cases.iter().zip(&names).map(|(case, name)| (name.clone(), values(case, metric)));
        figures.extend(distribution(report, format!("{title}, distribution by case{left_out}"), curves));
    }
    blocks.push(Block::Figures(figures));
    blocks.extend(output_tail(report));
    blocks.push(Block::Heading(2, "Cases".to_owned()));
    blocks.push(Block::Text(
        "Latencies are in milliseconds, of the requests that succeeded; intervals are two-sided, 95 %. \
         A dash is unknown, or too few samples to tell."
            .to_owned(),
    ));
    for case in cases {
        one(report, case, blocks);
    }
    over_time(report, cases, blocks);
}

fn overview(report: &Report, cases: &[LoadCaseReport]) -> Table {
    let rows = cases
        .iter()
        .map(|case| {
            let figures = &case.figures;
            let metrics = &figures.metrics;
            let itl = metrics.itl.as_ref().or(metrics.icl.as_ref());
            vec![
                figures.case.to_string(),
                case.label.clone(),
                figures.requests.ok.to_string(),
                figures.requests.failed.to_string(),
                rate_of(figures.throughput.requests_per_s),
                rate_of(figures.throughput.output_tokens_per_s),
                ms_of(metrics.ttft.as_ref().and_then(|summary| summary.p50)),
                ms_of(metrics.ttft.as_ref().and_then(|summary| summary.p95)),
                ms_of(itl.and_then(|summary| summary.p50)),
                ms_of(itl.and_then(|summary| summary.p95)),
                ms_of(metrics.e2e.as_ref().and_then(|summary| summary.p95)),
                if figures.valid { "yes" } else { "no" }.to_owned(),
            ]
        })
        .collect();
    Table {
        title: "Cases; latencies in milliseconds".to_owned(),
        simulated: report.simulated,
        columns: vec![
            number("Case"),
            words("Load"),
            number("OK"),
            number("Failed"),
            number("req/s"),
            number("tok/s"),
            number("TTFT p50"),
            number("TTFT p95"),
            number("ITL p50"),
            number("ITL p95"),
            number("E2E p95"),
            words("Valid"),
        ],
        rows,
    }
}

fn one(report: &Report, case: &LoadCaseReport, blocks: &mut Vec<Block>) {
    let figures = &case.figures;
    blocks.push(Block::Heading(3, format!("Case {}: {}", figures.case, case.label)));
    for invalid in &figures.invalid {
        blocks.push(Block::Notice(format!("Not valid: {}", invalid.message)));
    }
    blocks.push(Block::Facts(facts(figures)));
    blocks.extend(latencies(report, figures));
    blocks.extend(objectives(report, figures));
    blocks.extend(errors(report, figures));
    blocks.extend(repeats(report, figures));
    let mut plots: Vec<Figure> = Vec::new();
    for (title, metric) in [
        ("Time to first token", Metric::Ttft),
        ("Time per output token", Metric::Tpot),
        ("Whole answer", Metric::E2e),
    ] {
        let one = std::iter::once((case.label.clone(), values(case, metric)));
        plots.extend(distribution(report, title.to_owned(), one));
    }
    blocks.push(Block::Fold("Distributions".to_owned(), vec![Block::Figures(plots)]));
    blocks.extend(outline_slowest::fold(report, case));
    blocks.extend(system(report, figures));
    if !figures.samples.is_empty() {
        let mut answers = Vec::new();
        for (number, sample) in (1..).zip(&figures.samples) {
            answers.push(Block::Text(format!("Answer {number}: {}", sample_words(sample))));
            answers.push(Block::Verbatim(sample.text.clone()));
        }
        blocks.push(Block::Fold("Sample answers".to_owned(), answers));
    }
}

fn sample_words(sample: &crate::run::load_case::SampleAnswer) -> String {
    let mut words = vec![format!("{} characters", sample.chars)];
    words.extend(sample.tokens_out.map(|tokens| format!("{tokens} tokens")));
    words.extend(sample.finish_reason.as_ref().map(|reason| format!("ended by {reason}")));
    words.extend(sample.repetition.map(|share| format!("repetition {:.0} %", share * 100.0)));
    words.join(", ")
}

fn facts(case: &LoadCase) -> Vec<(String, String)> {
    let count = |count: Option<u64>| or_unknown(count.map(|count| count.to_string()));
    let requests = &case.requests;
    let tokens = &case.tokens;
    let through = &case.throughput;
    let client = &case.client;
    let listed = |all: Vec<String>| (!all.is_empty()).then(|| all.join(", "));
    let reasons = requests.finish_reasons.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    let facts = [
        ("Engine", Some(case.engine.clone())),
        ("Model", case.model.clone()),
        ("Measured for", case.duration_s.map(|seconds| format!("{seconds:.1} s"))),
        ("Requests", Some(format!("{} of {} succeeded", requests.ok, requests.total))),
        (
            "Throughput",
            Some(format!(
                "{} req/s, {} output tok/s, {} input tok/s",
                rate_of(through.requests_per_s),
                rate_of(through.output_tokens_per_s),
                rate_of(through.input_tokens_per_s)
            )),
        ),
        (
            "Plateau",
            through.plateau.as_ref().map(|plateau| {
                format!(
                    "{:.1} s at full load: {} req/s, {} output tok/s",
                    plateau.seconds,
                    short(plateau.requests_per_s),
                    rate_of(plateau.output_tokens_per_s)
                )
            }),
        ),
        (
            "Goodput",
            case.goodput.zip(case.good_fraction).map(|(goodput, fraction)| {
                format!("{} req/s met every objective, {:.1} % of all", short(goodput), fraction * 100.0)
            }),
        ),
        (
            "Tokens",
            Some(format!(
                "{} in, {} out, {} cached; counted by {}",
                count(tokens.input),
                count(tokens.output),
                count(tokens.cached),
                tokens.source.map_or("nobody", |source| source.as_str())
            )),
        ),
        ("Ended by", listed(reasons)),
        ("Cache", case.cache.clone()),
        ("Context", case.context_window.map(|tokens| format!("{tokens} tokens, as the server says"))),
        (
            "Client",
            client.delay_p95.map(|p95| {
                let cpu =
                    client.cpu_percent_of_a_thread.map(|cpu| format!(", {cpu:.0} % of a core a thread"));
                format!("{} ms late at p95{}", ms(p95), cpu.unwrap_or_default())
            }),
        ),
        (
            "Cost",
            case.cost.as_ref().map(|cost| {
                let each = |cost: Option<f64>| or_unknown(cost.map(|cost| format!("{cost:.4}")));
                format!(
                    "{} a thousand requests, {} a million output tokens, at {} an hour",
                    each(cost.per_thousand_requests),
                    each(cost.per_million_output_tokens),
                    cost.per_hour
                )
            }),
        ),
        ("Percentiles", Some(case.percentiles.clone())),
    ];
    known(facts)
}

pub(super) fn latencies(report: &Report, case: &LoadCase) -> Option<Block> {
    let known = Metric::ALL.iter().filter_map(|metric| Some((metric, case.metrics.get(*metric)?)));
    let rows: Vec<Vec<String>> = known
        .map(|(metric, summary)| {
            vec![
                metric.as_str().to_owned(),
                or_unknown(summary.count.map(|count| count.to_string())),
                ms_of(summary.mean),
                ms_of(summary.stddev),
                ms_of(summary.p50),
                interval(summary.intervals.p50, ms),
                ms_of(summary.p90),
                ms_of(summary.p95),
                interval(summary.intervals.p95, ms),
                ms_of(summary.p99),
                interval(summary.intervals.p99, ms),
                ms_of(summary.max),
            ]
        })
        .collect();
    table(
        report,
        "Latencies",
        vec![
            words("Metric"),
            number("n"),
            number("Mean"),
            number("Stddev"),
            number("p50"),
            number("p50 interval"),
            number("p90"),
            number("p95"),
            number("p95 interval"),
            number("p99"),
            number("p99 interval"),
            number("Max"),
        ],
        rows,
    )
}

pub(super) fn objectives(report: &Report, case: &LoadCase) -> Option<Block> {
    let rows: Vec<Vec<String>> = case
        .slo
        .iter()
        .map(|(name, result)| {
            let met = match result.met {
                Some(true) => "yes",
                Some(false) => "no",
                None => UNKNOWN,
            };
            vec![name.clone(), ms(result.at_most_ms), ms_of(result.value), met.to_owned()]
        })
        .collect();
    table(
        report,
        "Objectives, in milliseconds",
        vec![words("Objective"), number("At most"), number("Measured"), words("Met")],
        rows,
    )
}

pub(super) fn errors(report: &Report, case: &LoadCase) -> Option<Block> {
    let requests = &case.requests;
    let rows: Vec<Vec<String>> = requests
        .errors
        .iter()
        .map(|(kind, count)| {
            let first = requests.messages.get(kind).cloned();
            vec![kind.as_str().to_owned(), count.to_string(), or_unknown(first)]
        })
        .collect();
    table(report, "Errors", vec![words("Kind"), number("Requests"), words("The first one's words")], rows)
}

fn repeats(report: &Report, case: &LoadCase) -> Option<Block> {
    let rows: Vec<Vec<String>> = case
        .repeats
        .iter()
        .map(|repeat| {
            vec![
                repeat.repeat.to_string(),
                rate_of(repeat.requests_per_s),
                rate_of(repeat.output_tokens_per_s),
                ms_of(repeat.ttft_p50),
                ms_of(repeat.tpot_p50),
            ]
        })
        .collect();
    table(
        report,
        "Repeats",
        vec![number("Repeat"), number("req/s"), number("tok/s"), number("TTFT p50"), number("TPOT p50")],
        rows,
    )
}

pub(super) fn system(report: &Report, case: &LoadCase) -> Option<Block> {
    let rows: Vec<Vec<String>> = case
        .system
        .iter()
        .map(|(name, summary)| {
            let (scale, unit) = unit_of(name);
            let show = |value: f64| short(value / scale);
            vec![
                name.clone(),
                unit.to_owned(),
                show(summary.mean),
                show(summary.min),
                show(summary.max),
                summary.samples.to_string(),
            ]
        })
        .collect();
    table(
        report,
        "The system meanwhile",
        vec![words("Metric"), words("Unit"), number("Mean"), number("Min"), number("Max"), number("Samples")],
        rows,
    )
}
