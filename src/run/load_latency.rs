//! The latencies of a request and of all of them, by the definitions that `load_figures` lists. Only
//! times and token counts of records go in; nothing is guessed where one is absent.

use super::load_case::Metrics;
use super::load_counted::{chunk_tokens, counted, output_tokens, succeeded};
use super::load_figures::Pass;
use super::request_record::{ErrorKind, Record};
use crate::request::load_test::Metric;
use crate::stats::summary::Summary;

/// Summaries over the successful requests of all passes, in milliseconds.
pub(super) fn metrics(passes: &[Pass<'_>]) -> Metrics {
    let pooled = |metric| Summary::of(values(metric, passes.iter().flat_map(succeeded)));
    let gaps = |metric| Summary::without_intervals(values(metric, passes.iter().flat_map(succeeded)));
    let sent = passes.iter().flat_map(counted).filter(|record| was_sent(record));
    Metrics {
        ttft: pooled(Metric::Ttft),
        ttfr: pooled(Metric::Ttfr),
        ttfo: pooled(Metric::Ttfo),
        tpot: pooled(Metric::Tpot),
        itl: gaps(Metric::Itl),
        icl: gaps(Metric::Icl),
        e2e: pooled(Metric::E2e),
        response_time: pooled(Metric::ResponseTime),
        client_delay: Summary::of(values(Metric::ClientDelay, sent)),
        ntpot: pooled(Metric::Ntpot),
    }
}

/// The median over a pass's successful requests, in milliseconds.
pub(super) fn median(metric: Metric, pass: &Pass<'_>) -> Option<f64> {
    Summary::without_intervals(values(metric, succeeded(pass))).and_then(|summary| summary.p50)
}

fn values<'a>(metric: Metric, records: impl Iterator<Item = &'a Record>) -> Vec<f64> {
    let mut values = Vec::new();
    for record in records {
        append(metric, record, &mut values);
    }
    values
}

/// A connection that failed carried no request.
pub(super) fn was_sent(record: &Record) -> bool {
    record.error.as_ref().is_none_or(|error| error.kind != ErrorKind::Connect)
}

/// Whether a request has a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    Yes,
    /// It has none of what the metric measures, such as the gaps of a single chunk.
    Nothing,
    No,
}

/// Appends the request's values of a metric, in milliseconds: one, or one a gap.
pub(super) fn append(metric: Metric, record: &Record, values: &mut Vec<f64>) -> Known {
    let before = values.len();
    let streamed = !record.chunks.is_empty();
    let known = match metric {
        Metric::Ttft => one(values, record.first_token_us.filter(|_| streamed)),
        Metric::Ttfr => one(values, record.first_chunk_us.filter(|_| streamed)),
        Metric::Ttfo => one(values, record.first_output_us.filter(|_| streamed)),
        Metric::Tpot => append_tpot(record, values),
        Metric::Itl => append_itl(record, values),
        Metric::Icl => {
            values.extend(record.chunks.iter().skip(1).map(|gap| ms(u64::from(*gap))));
            streamed
        }
        Metric::E2e => one(values, e2e_us(record)),
        Metric::ResponseTime => one(values, e2e_us(record).map(|e2e| e2e.saturating_add(delay_us(record)))),
        Metric::ClientDelay => one(values, Some(delay_us(record))),
        Metric::Ntpot => match (e2e_us(record), output_tokens(record)) {
            (Some(_), Some(0)) => true,
            (Some(e2e), Some(tokens)) => {
                values.push(ms(e2e) / tokens as f64);
                true
            }
            (None, _) | (_, None) => false,
        },
    };
    match (known, values.len() > before) {
        (false, _) => Known::No,
        (true, false) => Known::Nothing,
        (true, true) => Known::Yes,
    }
}

/// A request's own value of a metric that has one a request, in milliseconds; `None` where it is unknown,
/// and of the gaps (`itl`, `icl`) unless there is a single one.
pub fn of_request(metric: Metric, record: &Record) -> Option<f64> {
    let mut values = Vec::new();
    append(metric, record, &mut values);
    values.pop().filter(|_| values.is_empty())
}

fn one(values: &mut Vec<f64>, us: Option<u64>) -> bool {
    values.extend(us.map(ms));
    us.is_some()
}

fn ms(us: u64) -> f64 {
    us as f64 / 1_000.0
}

/// An answer that came whole, or without text, has its end for its last token.
fn e2e_us(record: &Record) -> Option<u64> {
    record.last_token_us.or(record.chunks.is_empty().then_some(record.end_us))
}

fn delay_us(record: &Record) -> u64 {
    record.sent_us.saturating_sub(record.scheduled_us)
}

fn append_tpot(record: &Record, values: &mut Vec<f64>) -> bool {
    if record.chunks.is_empty() {
        return false;
    }
    let (Some(tokens), Some(first), Some(last)) =
        (output_tokens(record), record.first_token_us, record.last_token_us)
    else {
        return false;
    };
    let in_first = chunk_tokens(record).and_then(|tokens| tokens.first().copied()).map_or(1, u64::from);
    if let Some(after_first) = tokens.checked_sub(in_first).filter(|after_first| *after_first > 0) {
        values.push(ms(last.saturating_sub(first)) / after_first as f64);
    }
    true
}

/// The gap before a chunk, shared evenly among its tokens. A chunk without a new token (a piece of a
/// character) hands its gap on to the next one.
fn append_itl(record: &Record, values: &mut Vec<f64>) -> bool {
    let Some(tokens) = chunk_tokens(record) else { return false };
    let mut gap = 0;
    for (us, tokens) in record.chunks.iter().zip(tokens.iter()).skip(1) {
        gap += u64::from(*us);
        if *tokens > 0 {
            let each = ms(gap) / f64::from(*tokens);
            values.extend(std::iter::repeat_n(each, usize::from(*tokens)));
            gap = 0;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::request_record::TokenSource;

    /// Sent 2 ms late; a role-only chunk at 20 ms, tokens at 50, 60, 80 ms, `[DONE]` at 81 ms.
    fn streamed() -> Record {
        Record {
            scheduled_us: 1_000,
            sent_us: 3_000,
            first_byte_us: Some(19_000),
            first_chunk_us: Some(20_000),
            first_token_us: Some(50_000),
            first_output_us: Some(50_000),
            last_token_us: Some(80_000),
            end_us: 81_000,
            chunks: vec![50_000, 10_000, 20_000],
            tokens_out: Some(3),
            token_source: Some(TokenSource::Usage),
            ..Record::default()
        }
    }

    fn values(metric: Metric, record: &Record) -> (Known, Vec<f64>) {
        let mut values = Vec::new();
        (append(metric, record, &mut values), values)
    }

    fn yes(values: &[f64]) -> (Known, Vec<f64>) {
        (Known::Yes, values.to_vec())
    }

    fn no() -> (Known, Vec<f64>) {
        (Known::No, Vec::new())
    }

    fn nothing() -> (Known, Vec<f64>) {
        (Known::Nothing, Vec::new())
    }

    #[test]
    fn every_latency_of_a_plain_stream_is_as_defined() {
        let record = streamed();
        for (metric, expected) in [
            (Metric::Ttft, yes(&[50.0])),
            (Metric::Ttfr, yes(&[20.0])),
            (Metric::Ttfo, yes(&[50.0])),
            (Metric::Tpot, yes(&[15.0])),
            (Metric::Itl, yes(&[10.0, 20.0])),
            (Metric::Icl, yes(&[10.0, 20.0])),
            (Metric::E2e, yes(&[80.0])),
            (Metric::ResponseTime, yes(&[82.0])),
            (Metric::ClientDelay, yes(&[2.0])),
            (Metric::Ntpot, yes(&[80.0 / 3.0])),
        ] {
            assert_eq!(values(metric, &record), expected, "{}", metric.as_str());
        }
    }

    #[test]
    fn a_role_only_first_chunk_is_a_response_but_no_token() {
        let record = streamed();
        assert_ne!(values(Metric::Ttfr, &record), values(Metric::Ttft, &record));
        assert_eq!(values(Metric::Icl, &record).1.len(), 2, "its gap is none between tokens");
    }

    #[test]
    fn reasoning_counts_for_the_first_token_and_not_for_the_first_output() {
        let record = Record { first_output_us: Some(60_000), ..streamed() };
        assert_eq!(values(Metric::Ttft, &record), yes(&[50.0]));
        assert_eq!(values(Metric::Ttfo, &record), yes(&[60.0]));
        let only_reasoned = Record { first_output_us: None, ..streamed() };
        assert_eq!(values(Metric::Ttfo, &only_reasoned), no());
    }

    #[test]
    fn several_tokens_a_chunk_share_its_gap() {
        let record = Record { chunk_tokens: vec![2, 4, 1], tokens_out: Some(8), ..streamed() };
        assert_eq!(values(Metric::Itl, &record), yes(&[2.5, 2.5, 2.5, 2.5, 20.0]));
        assert_eq!(values(Metric::Tpot, &record), yes(&[30.0 / 6.0]), "(80 − 50) / (8 − 2)");
    }

    #[test]
    fn a_chunk_without_a_new_token_hands_its_gap_on() {
        let record = Record { chunk_tokens: vec![1, 0, 2], ..streamed() };
        assert_eq!(values(Metric::Itl, &record), yes(&[15.0, 15.0]));
    }

    #[test]
    fn an_answer_of_one_token_has_no_time_between_tokens() {
        let record = Record {
            last_token_us: Some(50_000),
            chunks: vec![50_000],
            chunk_tokens: vec![1],
            tokens_out: Some(1),
            ..streamed()
        };
        for metric in [Metric::Tpot, Metric::Itl, Metric::Icl] {
            assert_eq!(values(metric, &record), nothing(), "{}", metric.as_str());
        }
        let all_at_once = Record { chunk_tokens: vec![3], tokens_out: Some(3), ..record };
        assert_eq!(values(Metric::Tpot, &all_at_once), nothing());
    }

    #[test]
    fn chunks_are_never_called_tokens() {
        let record = Record { token_source: Some(TokenSource::Chunks), ..streamed() };
        for metric in [Metric::Tpot, Metric::Ntpot, Metric::Itl] {
            assert_eq!(values(metric, &record), no(), "{}", metric.as_str());
        }
        assert_eq!(values(Metric::Icl, &record), yes(&[10.0, 20.0]));
        let untold = Record { tokens_out: None, token_source: None, ..streamed() };
        assert_eq!(values(Metric::Tpot, &untold), no());
    }

    #[test]
    fn an_answer_that_came_whole_has_an_end_and_no_times_within() {
        let record = Record {
            sent_us: 3_000,
            scheduled_us: 1_000,
            end_us: 90_000,
            tokens_out: Some(9),
            token_source: Some(TokenSource::Usage),
            ..Record::default()
        };
        for metric in [Metric::Ttft, Metric::Ttfr, Metric::Ttfo, Metric::Tpot, Metric::Itl, Metric::Icl] {
            assert_eq!(values(metric, &record), no(), "{}", metric.as_str());
        }
        assert_eq!(values(Metric::E2e, &record), yes(&[90.0]));
        assert_eq!(values(Metric::ResponseTime, &record), yes(&[92.0]));
        assert_eq!(values(Metric::Ntpot, &record), yes(&[10.0]));
        assert_eq!(values(Metric::Ntpot, &Record { tokens_out: Some(0), ..record }), nothing());
    }
}
