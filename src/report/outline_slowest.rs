//! The slowest requests of a case and where their time went, as a table and a picture. The parts are
//! `content::RequestRow`'s.

use super::content::{LoadCaseReport, Report, RequestRow};
use super::outline::{Block, Table, ms_of, number, or_unknown, words};
use super::plot::{Bar, Chart, Figure};
use crate::run::load_words::ms;

/// `None` where no request was made.
pub fn fold(report: &Report, case: &LoadCaseReport) -> Option<Block> {
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
