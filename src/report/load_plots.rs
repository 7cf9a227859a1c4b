//! The pictures of a load test's report: against the load, as distributions, over time. Chooses what is
//! drawn; `plot` draws it.

use std::collections::BTreeMap;

use super::content::{LoadCaseReport, Report, RequestRow};
use super::outline::Block;
use super::plot::{Chart, Curve, Figure, MOST_CURVES, Mark, Plot, Scale};
use crate::request::load_test::Metric;
use crate::run::load_case::LoadCase;
use crate::stats::quantile::quantile;

/// Points of a distribution's curve; beyond these the eye sees no difference.
const CURVE_POINTS: u32 = 200;

/// Throughput and time to first token against the concurrency, or the rate, a curve for what else
/// differs.
pub fn against_load(report: &Report, cases: &[LoadCaseReport]) -> Vec<Figure> {
    let closed = cases.iter().filter(|case| case.figures.concurrency.is_some()).count();
    let x_of = |case: &LoadCase| {
        if closed > 0 { case.concurrency.map(f64::from) } else { case.rate }
    };
    let tokens = cases.iter().any(|case| case.figures.throughput.output_tokens_per_s.is_some());
    let throughput = |case: &LoadCase| {
        let all = &case.throughput;
        if tokens { all.output_tokens_per_s } else { all.requests_per_s }
    };
    let ttft_p95 = |case: &LoadCase| case.metrics.ttft.as_ref().and_then(|summary| summary.p95);
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
pub fn short_names(cases: &[LoadCaseReport]) -> Vec<String> {
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
pub fn left_out(cases: &[LoadCaseReport]) -> String {
    if cases.len() > MOST_CURVES {
        format!(" (the first {MOST_CURVES} of {} cases)", cases.len())
    } else {
        String::new()
    }
}

/// Of the requests that succeeded, in milliseconds; none of the metrics with several values a request.
pub fn values(case: &LoadCaseReport, metric: Metric) -> Vec<f64> {
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
pub fn distribution(
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

/// What a metric's values are divided by, and the unit that they have then, by the end of its name.
pub fn unit_of(name: &str) -> (f64, &'static str) {
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
pub fn over_time(report: &Report, cases: &[LoadCaseReport], blocks: &mut Vec<Block>) {
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
