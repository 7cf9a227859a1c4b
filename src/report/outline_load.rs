//! A load test's part of a report for people: all cases side by side, then each by itself. Chooses and
//! rounds; the figures are `run::load_case`'s.

use std::collections::BTreeMap;

use super::content::{LoadCaseReport, Report, RequestRow};
use super::outline::{Block, Table, UNKNOWN, interval, ms_of, number, or_unknown, output_tail, words};
use super::plot::{Bar, Chart, Curve, Figure, MOST_CURVES, Mark, Plot, Scale};
use crate::request::load_test::Metric;
use crate::run::load_case::LoadCase;
use crate::run::load_words::{ms, short};
use crate::stats::quantile::quantile;

/// Points of a distribution's curve; beyond these the eye sees no difference.
const CURVE_POINTS: u32 = 200;

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
    let rate = |rate: Option<f64>| or_unknown(rate.map(short));
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
                rate(figures.throughput.requests_per_s),
                rate(figures.throughput.output_tokens_per_s),
                ms_of(metrics.ttft.as_ref().map(|summary| summary.p50)),
                ms_of(metrics.ttft.as_ref().map(|summary| summary.p95)),
                ms_of(itl.map(|summary| summary.p50)),
                ms_of(itl.map(|summary| summary.p95)),
                ms_of(metrics.e2e.as_ref().map(|summary| summary.p95)),
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

/// Throughput and time to first token against the concurrency, or the rate, a curve for what else
/// differs.
fn against_load(report: &Report, cases: &[LoadCaseReport]) -> Vec<Figure> {
    let closed = cases.iter().filter(|case| case.figures.concurrency.is_some()).count();
    let x_of = |case: &LoadCase| {
        if closed > 0 { case.concurrency.map(f64::from) } else { case.rate }
    };
    let tokens = cases.iter().any(|case| case.figures.throughput.output_tokens_per_s.is_some());
    let throughput = |case: &LoadCase| {
        let all = &case.throughput;
        if tokens { all.output_tokens_per_s } else { all.requests_per_s }
    };
    let ttft_p95 = |case: &LoadCase| case.metrics.ttft.as_ref().map(|summary| summary.p95);
    let mut ticks: Vec<f64> = cases.iter().filter_map(|case| x_of(&case.figures)).collect();
    ticks.sort_by(f64::total_cmp);
    ticks.dedup();
    let (Some(first), Some(last)) = (ticks.first(), ticks.last()) else { return Vec::new() };
    if ticks.len() < 2 {
        return Vec::new();
    }
    let x_scale = if last / first >= 8.0 { Scale::Log } else { Scale::Linear };
    let x_title = if closed > 0 { "requests in flight (concurrency)" } else { "requests asked a second" };
    let figure = |title: &str, y_title: &str, value: &dyn Fn(&LoadCase) -> Option<f64>| {
        let mut groups: BTreeMap<String, Vec<[f64; 2]>> = BTreeMap::new();
        for case in cases.iter().map(|case| &case.figures) {
            if let (Some(x), Some(y)) = (x_of(case), value(case)) {
                let plain = LoadCase { concurrency: None, rate: None, ..case.clone() };
                groups.entry(plain.label()).or_default().push([x, y]);
            }
        }
        let curves = groups.into_iter().take(MOST_CURVES).enumerate().map(|(colour, (name, mut points))| {
            points.sort_by(|a, b| a[0].total_cmp(&b[0]));
            Curve { name, points, mark: Mark::LineAndDots, colour }
        });
        let plot = Plot {
            x_title: x_title.to_owned(),
            y_title: y_title.to_owned(),
            x_scale,
            x_ticks: Some(ticks.iter().map(|tick| (*tick, tick.to_string())).collect()),
            y_range: None,
            curves: curves.collect(),
        };
        Figure { title: title.to_owned(), simulated: report.simulated, chart: Chart::Lines(plot) }
    };
    let unit = if tokens { "output tokens a second" } else { "requests a second" };
    vec![
        figure("Throughput against load", unit, &throughput),
        figure("Time to first token (p95) against load", "milliseconds", &ttft_p95),
    ]
}

/// What tells the cases apart: their labels without the target, where all have the same.
fn short_names(cases: &[LoadCaseReport]) -> Vec<String> {
    let target = |case: &LoadCase| {
        LoadCase { concurrency: None, rate: None, input_tokens: None, ..case.clone() }.label()
    };
    let mut targets: Vec<String> = cases.iter().map(|case| target(&case.figures)).collect();
    targets.dedup();
    let ending = match targets.as_slice() {
        [only] if cases.len() > 1 => format!(" {only}"),
        [] | [_, ..] => String::new(),
    };
    cases.iter().map(|case| case.label.strip_suffix(&ending).unwrap_or(&case.label).to_owned()).collect()
}

/// Said where there are more cases than colours.
fn left_out(cases: &[LoadCaseReport]) -> String {
    if cases.len() > MOST_CURVES {
        format!(" (the first {MOST_CURVES} of {} cases)", cases.len())
    } else {
        String::new()
    }
}

fn values(case: &LoadCaseReport, metric: Metric) -> Vec<f64> {
    let value = |row: &RequestRow| match metric {
        Metric::Ttft => row.ttft_ms,
        Metric::E2e => row.e2e_ms,
        Metric::Tpot => row.tpot_ms,
        Metric::Ttfr
        | Metric::Ttfo
        | Metric::Itl
        | Metric::Icl
        | Metric::ResponseTime
        | Metric::ClientDelay
        | Metric::Ntpot => None,
    };
    case.succeeded().filter_map(value).collect()
}

/// The part of requests that took at most so long; `None` without a curve of two points.
fn distribution(
    report: &Report,
    title: String,
    samples: impl Iterator<Item = (String, Vec<f64>)>,
) -> Option<Figure> {
    let mut curves: Vec<Curve> = Vec::new();
    for (name, mut values) in samples.filter(|(_, values)| values.len() > 1).take(MOST_CURVES) {
        values.sort_by(f64::total_cmp);
        let points = (values.len() as u32).min(CURVE_POINTS);
        let curve = (0..points).filter_map(|at| {
            let part = f64::from(at) / f64::from(points - 1);
            Some([quantile(&values, part)?, part * 100.0])
        });
        curves.push(Curve { name, points: curve.collect(), mark: Mark::Line, colour: curves.len() });
    }
    let all = || curves.iter().flat_map(|curve| curve.points.iter().map(|point| point[0]));
    let (low, high) = (all().reduce(f64::min)?, all().reduce(f64::max)?);
    let x_scale = if low > 0.0 && high / low > 20.0 { Scale::Log } else { Scale::Linear };
    let plot = Plot {
        x_title: "milliseconds".to_owned(),
        y_title: "% of requests took at most this".to_owned(),
        x_scale,
        x_ticks: None,
        y_range: Some([0.0, 100.0]),
        curves,
    };
    Some(Figure { title, simulated: report.simulated, chart: Chart::Lines(plot) })
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
    blocks.extend(slowest(report, case));
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
    let rate = |rate: Option<f64>| or_unknown(rate.map(short));
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
                rate(through.requests_per_s),
                rate(through.output_tokens_per_s),
                rate(through.input_tokens_per_s)
            )),
        ),
        (
            "Plateau",
            through.plateau.as_ref().map(|plateau| {
                format!(
                    "{:.1} s at full load: {} req/s, {} output tok/s",
                    plateau.seconds,
                    short(plateau.requests_per_s),
                    rate(plateau.output_tokens_per_s)
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
    facts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn latencies(report: &Report, case: &LoadCase) -> Option<Block> {
    let known = Metric::ALL.iter().filter_map(|metric| Some((metric, case.metrics.get(*metric)?)));
    let rows: Vec<Vec<String>> = known
        .map(|(metric, summary)| {
            vec![
                metric.as_str().to_owned(),
                summary.count.to_string(),
                ms(summary.mean),
                ms_of(summary.stddev),
                ms(summary.p50),
                interval(summary.intervals.p50, ms),
                ms(summary.p90),
                ms(summary.p95),
                interval(summary.intervals.p95, ms),
                ms(summary.p99),
                interval(summary.intervals.p99, ms),
                ms(summary.max),
            ]
        })
        .collect();
    (!rows.is_empty()).then(|| {
        Block::Table(Table {
            title: "Latencies".to_owned(),
            simulated: report.simulated,
            columns: vec![
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
        })
    })
}

fn objectives(report: &Report, case: &LoadCase) -> Option<Block> {
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
    (!rows.is_empty()).then(|| {
        Block::Table(Table {
            title: "Objectives, in milliseconds".to_owned(),
            simulated: report.simulated,
            columns: vec![words("Objective"), number("At most"), number("Measured"), words("Met")],
            rows,
        })
    })
}

fn errors(report: &Report, case: &LoadCase) -> Option<Block> {
    let requests = &case.requests;
    let rows: Vec<Vec<String>> = requests
        .errors
        .iter()
        .map(|(kind, count)| {
            let first = requests.messages.get(kind).cloned();
            vec![kind.as_str().to_owned(), count.to_string(), or_unknown(first)]
        })
        .collect();
    (!rows.is_empty()).then(|| {
        Block::Table(Table {
            title: "Errors".to_owned(),
            simulated: report.simulated,
            columns: vec![words("Kind"), number("Requests"), words("The first one's words")],
            rows,
        })
    })
}

fn repeats(report: &Report, case: &LoadCase) -> Option<Block> {
    let rate = |rate: Option<f64>| or_unknown(rate.map(short));
    let rows: Vec<Vec<String>> = case
        .repeats
        .iter()
        .map(|repeat| {
            vec![
                repeat.repeat.to_string(),
                rate(repeat.requests_per_s),
                rate(repeat.output_tokens_per_s),
                ms_of(repeat.ttft_p50),
                ms_of(repeat.tpot_p50),
            ]
        })
        .collect();
    (!rows.is_empty()).then(|| {
        Block::Table(Table {
            title: "Repeats".to_owned(),
            simulated: report.simulated,
            columns: vec![
                number("Repeat"),
                number("req/s"),
                number("tok/s"),
                number("TTFT p50"),
                number("TPOT p50"),
            ],
            rows,
        })
    })
}

fn slowest(report: &Report, case: &LoadCaseReport) -> Option<Block> {
    let slow: Vec<&RequestRow> = case.slowest.iter().filter_map(|at| case.requests.get(*at)).collect();
    if slow.is_empty() {
        return None;
    }
    let name = |row: &RequestRow| {
        if case.figures.repeats.is_empty() {
            format!("#{}", row.n)
        } else {
            format!("#{} of repeat {}", row.n, row.repeat)
        }
    };
    let rows = slow
        .iter()
        .map(|row| {
            let [late, wait, prefill, decode, rest] = row.parts();
            vec![
                name(row),
                ms(row.total_ms),
                ms_of(late),
                ms_of(wait),
                ms_of(prefill),
                ms_of(decode),
                ms_of(rest),
                or_unknown(row.tokens_in.map(|tokens| tokens.to_string())),
                or_unknown(row.tokens_out.map(|tokens| tokens.to_string())),
                row.error.map_or("ok", |error| error.as_str()).to_owned(),
            ]
        })
        .collect();
    let bars = slow.iter().map(|row| Bar {
        label: match row.error {
            Some(error) => format!("{} ({})", name(row), error.as_str()),
            None => name(row),
        },
        parts: row.parts().to_vec(),
        dots: Vec::new(),
        value: format!("{} ms", ms(row.total_ms)),
    });
    let chart = Chart::Bars {
        bars: bars.collect(),
        parts: RequestRow::PARTS.map(str::to_owned).to_vec(),
        axis: "milliseconds from the request's schedule".to_owned(),
    };
    let figure = Figure { title: "The slowest requests".to_owned(), simulated: report.simulated, chart };
    let table = Table {
        title: "The slowest requests: where their milliseconds went".to_owned(),
        simulated: report.simulated,
        columns: vec![
            words("Request"),
            number("Total"),
            number("Client late"),
            number("Wait"),
            number("Prefill"),
            number("Decode"),
            number("Rest"),
            number("Tokens in"),
            number("Tokens out"),
            words("Ended"),
        ],
        rows,
    };
    let note = "Wait is from sent to the first token, without the prefill where the server tells it; decode is from \
                the first token to the last.";
    let blocks = vec![Block::Figures(vec![figure]), Block::Table(table), Block::Text(note.to_owned())];
    Some(Block::Fold("The slowest requests".to_owned(), blocks))
}

fn system(report: &Report, case: &LoadCase) -> Option<Block> {
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
    (!rows.is_empty()).then(|| {
        Block::Table(Table {
            title: "The system meanwhile".to_owned(),
            simulated: report.simulated,
            columns: vec![
                words("Metric"),
                words("Unit"),
                number("Mean"),
                number("Min"),
                number("Max"),
                number("Samples"),
            ],
            rows,
        })
    })
}

/// What a metric's values are divided by, and the unit that they have then, by the end of its name.
fn unit_of(name: &str) -> (f64, &'static str) {
    let units = [
        ("_percent", 1.0, "%"),
        ("_bytes", f64::from(1 << 30), "GiB"),
        ("_watts", 1.0, "W"),
        ("_mhz", 1.0, "MHz"),
        ("_celsius", 1.0, "°C"),
    ];
    let found = units.into_iter().find(|(end, _, _)| name.ends_with(end));
    found.map_or((1.0, ""), |(_, scale, unit)| (scale, unit))
}

/// A plot a metric over the whole run, each case in its colour.
fn over_time(report: &Report, cases: &[LoadCaseReport], blocks: &mut Vec<Block>) {
    let points = || cases.iter().flat_map(|case| &case.series).flat_map(|series| &series.points);
    let Some(start) = points().map(|(at, _)| *at).min() else { return };
    let mut names: Vec<&str> =
        cases.iter().flat_map(|case| &case.series).map(|series| series.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let short = short_names(cases);
    let figure = |name: &&str| {
        let (scale, unit) = unit_of(name);
        let of = cases.iter().enumerate().filter_map(|(colour, case)| {
            let series = case.series.iter().find(|series| series.name == **name)?;
            let points = series
                .points
                .iter()
                .map(|(at, value)| [at.saturating_sub(start) as f64 / 1_000.0, value / scale])
                .collect();
            Some(Curve { name: short.get(colour)?.clone(), points, mark: Mark::Samples, colour })
        });
        let percent = *name != "engine_cpu_percent" && unit == "%";
        let plot = Plot {
            x_title: "seconds".to_owned(),
            y_title: unit.to_owned(),
            x_scale: Scale::Linear,
            x_ticks: None,
            y_range: percent.then_some([0.0, 100.0]),
            curves: of.take(MOST_CURVES).collect(),
        };
        Figure { title: (*name).to_owned(), simulated: report.simulated, chart: Chart::Lines(plot) }
    };
    let title = format!("The system over time{}", left_out(cases));
    blocks.push(Block::Gallery(title, names.iter().map(figure).collect()));
}
