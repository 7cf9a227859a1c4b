//! llama-bench's part of a report for people: the cases of its matrix and every repetition. Chooses and
//! rounds; the figures are `run::case`'s.

use super::content::{BenchCase, Report};
use super::outline::{Block, Table, interval, number, or_unknown, output_tail, rate_of, table, words};
use super::plot::{Bar, Chart, Figure};
use crate::run::case::SLOW_FIRST_RULE;
use crate::run::load_words::short;

/// Everything about the cases.
pub fn cases(report: &Report, cases: &[BenchCase], blocks: &mut Vec<Block>) {
    if cases.is_empty() {
        blocks.push(Block::Text("Nothing was measured.".to_owned()));
        return blocks.extend(output_tail(report));
    }
    let rows = cases
        .iter()
        .map(|case| {
            let summary = case.summary.as_ref();
            let varied: Vec<String> =
                case.varied.iter().map(|(column, value)| format!("{column}={value}")).collect();
            vec![
                case.case.to_string(),
                case.test.clone(),
                or_unknown(Some(varied.join(" "))),
                rate_of(case.avg_ts),
                rate_of(case.stddev_ts),
                rate_of(case.median_ts),
                interval(summary.and_then(|summary| summary.intervals.p50), short),
                rate_of(summary.and_then(|summary| summary.min)),
                rate_of(summary.and_then(|summary| summary.max)),
                case.samples_ts.len().to_string(),
                case.samples_ts.iter().map(Vec::len).sum::<usize>().to_string(),
            ]
        })
        .collect();
    blocks.extend(table(
        report,
        "Cases, in tokens a second",
        vec![
            number("Case"),
            words("Test"),
            words("Varied"),
            number("Mean"),
            number("Stddev"),
            number("Median"),
            number("Median, 95 % interval"),
            number("Min"),
            number("Max"),
            number("Launches"),
            number("Repetitions"),
        ],
        rows,
    ));
    let figures = BenchCase::tests(cases).into_iter().map(|test| {
        let bars = cases.iter().filter(|case| case.test == test).map(|case| Bar {
            label: case.label(),
            parts: vec![case.avg_ts],
            dots: case.samples_ts.concat(),
            value: rate_of(case.avg_ts),
        });
        let chart =
            Chart::Bars { bars: bars.collect(), parts: Vec::new(), axis: "tokens a second".to_owned() };
        Figure {
            title: format!("{test}: mean, and each repetition as a dot"),
            simulated: report.simulated,
            chart,
        }
    });
    blocks.push(Block::Figures(figures.collect()));
    for case in cases.iter().filter(|case| !case.slow_first.is_empty()) {
        let launches: Vec<String> = case.slow_first.iter().map(|launch| (launch + 1).to_string()).collect();
        blocks.push(Block::Text(format!(
            "{}: launch {} began slowly ({SLOW_FIRST_RULE}); its repetitions count all the same.",
            case.label(),
            launches.join(", ")
        )));
    }
    repetitions(report, cases, blocks);
    blocks.extend(output_tail(report));
}

fn repetitions(report: &Report, cases: &[BenchCase], blocks: &mut Vec<Block>) {
    let rows: Vec<Vec<String>> = cases
        .iter()
        .flat_map(|case| {
            case.samples_ts.iter().enumerate().map(|(launch, samples)| {
                let samples: Vec<String> = samples.iter().map(|sample| short(*sample)).collect();
                vec![case.label(), (launch + 1).to_string(), or_unknown(Some(samples.join(", ")))]
            })
        })
        .collect();
    let table = Table {
        title: "Repetitions, in tokens a second".to_owned(),
        simulated: report.simulated,
        columns: vec![words("Case"), number("Launch"), words("Each repetition")],
        rows,
    };
    blocks.push(Block::Fold("Every repetition".to_owned(), vec![Block::Table(table)]));
}
