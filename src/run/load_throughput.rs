//! How much is done a second: over a whole case, and over the plateau in which a closed loop keeps the
//! server as busy as was asked.

use super::load_case::{Plateau, Throughput};
use super::load_counted::{chunk_tokens, counted, output_tokens, succeeded, sum_of_all};
use super::load_figures::Pass;
use super::measure_plan::CaseLoad;
use super::request_record::Record;

/// Shortest plateau: this, and [`SHORTEST_PART`] of the pass.
const SHORTEST_US: u64 = 1_000_000;
const SHORTEST_PART: f64 = 0.1;

/// From the first counted request's start to the last one's end, the passes' times added up. `None`
/// where no time passed.
pub(super) fn duration_s(passes: &[Pass<'_>]) -> Option<f64> {
    let us: u64 = passes.iter().filter_map(duration_us).sum();
    (us > 0).then(|| seconds(us))
}

fn duration_us(pass: &Pass<'_>) -> Option<u64> {
    let first = counted(pass).map(|record| record.sent_us).min()?;
    let last = counted(pass).map(end_us).max()?;
    Some(last.saturating_sub(first))
}

fn end_us(record: &Record) -> u64 {
    record.sent_us.saturating_add(record.end_us)
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1_000_000.0
}

pub(super) fn throughput(passes: &[Pass<'_>]) -> Throughput {
    let Some(duration) = duration_s(passes) else { return Throughput::default() };
    let ok = || passes.iter().flat_map(succeeded);
    let a_second = |count: u64| count as f64 / duration;
    Throughput {
        requests_per_s: Some(a_second(ok().count() as u64)),
        output_tokens_per_s: sum_of_all(ok().map(output_tokens)).map(a_second),
        input_tokens_per_s: sum_of_all(ok().map(|record| record.tokens_in)).map(a_second),
        plateau: plateau(passes),
    }
}

/// Over all passes that have one.
fn plateau(passes: &[Pass<'_>]) -> Option<Plateau> {
    let mut us = 0;
    let mut requests = 0;
    let mut tokens = Some(0.0);
    for pass in passes {
        let Some(span) = plateau_span(pass) else { continue };
        us += span.to - span.from;
        requests += succeeded(pass).filter(|record| span.holds(end_us(record))).count();
        let within: Option<f64> = succeeded(pass).map(|record| tokens_within(record, &span)).sum();
        tokens = tokens.zip(within).map(|(sum, within)| sum + within);
    }
    // Where nothing succeeded, no tokens were counted either.
    let tokens = tokens.filter(|_| passes.iter().flat_map(succeeded).next().is_some());
    (us > 0).then(|| Plateau {
        seconds: seconds(us),
        requests_per_s: requests as f64 / seconds(us),
        output_tokens_per_s: tokens.map(|tokens| tokens / seconds(us)),
    })
}

/// Microseconds after the case's start; what happens at `from` belongs to the time before.
struct Span {
    from: u64,
    to: u64,
}

impl Span {
    fn holds(&self, at: u64) -> bool {
        self.from < at && at <= self.to
    }
}

/// From the first moment with at least 0.95 × concurrency in flight to the last one. The short dips
/// between an answer and the next request of its worker belong to it.
fn plateau_span(pass: &Pass<'_>) -> Option<Span> {
    let concurrency = match pass.plan.load {
        CaseLoad::Closed { concurrency } => u64::from(concurrency),
        CaseLoad::Open { .. } => return None,
    };
    let enough = i64::try_from((concurrency * 95).div_ceil(100)).ok()?.max(1);
    // At the same microsecond an end comes before a start: a worker is not in flight twice.
    let mut changes: Vec<(u64, i64)> =
        counted(pass).flat_map(|record| [(record.sent_us, 1), (end_us(record), -1)]).collect();
    changes.sort_unstable();
    let mut in_flight = 0;
    let mut from = None;
    let mut to = None;
    for (at, change) in changes {
        if in_flight < enough && in_flight + change >= enough {
            from = from.or(Some(at));
        } else if in_flight >= enough && in_flight + change < enough {
            to = Some(at);
        }
        in_flight += change;
    }
    let span = Span { from: from?, to: to? };
    let shortest = SHORTEST_US.max((duration_us(pass)? as f64 * SHORTEST_PART) as u64);
    (span.to.saturating_sub(span.from) >= shortest).then_some(span)
}

/// Output tokens whose chunk came within the span: by the chunks' own counts, else the request's spread
/// evenly over its chunks. `None` where the tokens or their times are unknown.
fn tokens_within(record: &Record, span: &Span) -> Option<f64> {
    let all = output_tokens(record)?;
    if all == 0 {
        return Some(0.0);
    }
    if record.chunks.is_empty() {
        return None;
    }
    let counts = chunk_tokens(record);
    let evenly = all as f64 / record.chunks.len() as f64;
    let mut at = record.sent_us;
    let mut within = 0.0;
    for (chunk, gap) in record.chunks.iter().enumerate() {
        at = at.saturating_add(u64::from(*gap));
        if span.holds(at) {
            within += counts
                .as_ref()
                .and_then(|counts| counts.get(chunk))
                .map_or(evenly, |count| f64::from(*count));
        }
    }
    Some(within)
}
