//! Stored request records as a report's rows, and which of them were slowest. Converts and sorts; the
//! definitions of latencies are `run::load_latency`'s.

use std::collections::HashMap;

use super::content::RequestRow;
use crate::request::load_test::Metric;
use crate::run::comparand_load::OfRepeat;
use crate::run::load_latency::of_request;
use crate::run::measure_plan::PromptPlan;
use crate::run::plan::Plan;
use crate::run::request_record::Record;

/// Slowest requests that a report lists, a case.
const SLOWEST: usize = 10;

/// The rows of a case's records, by repeat and schedule. Repeats are told apart by the plan; without one
/// all are of the first.
///
/// # Errors
/// A line that is no record.
pub fn rows(lines: &[u8], case: u32, plan: Option<&Plan>) -> Result<Vec<RequestRow>, serde_json::Error> {
    let records = records(lines, case, plan)?;
    let mut rows: Vec<RequestRow> = records.into_iter().map(|(repeat, record)| row(record, repeat)).collect();
    rows.sort_by_key(|row| (row.repeat, !row.warmup, row.n));
    Ok(rows)
}

/// A case's records with their repeats, from 1, as they were written.
///
/// # Errors
/// A line that is no record.
pub fn records(lines: &[u8], case: u32, plan: Option<&Plan>) -> Result<Vec<OfRepeat>, serde_json::Error> {
    let repeats = repeats(case, plan);
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let record: Record = serde_json::from_slice(line)?;
            Ok((repeats.get(&record.index).copied().unwrap_or(1), record))
        })
        .collect()
}

/// By the index that records have. A case is measured by one step alone, or its repeats by steps that count on.
fn repeats(case: u32, plan: Option<&Plan>) -> HashMap<usize, u32> {
    plan.into_iter()
        .flat_map(Plan::load_plans)
        .flat_map(|plan| (plan.index_from..).zip(&plan.cases))
        .filter(|(_, planned)| planned.case == case)
        .map(|(index, planned)| (index, planned.repeat))
        .collect()
}

fn row(record: Record, repeat: u32) -> RequestRow {
    let ms = |us: u64| us as f64 / 1_000.0;
    let server = record.server.unwrap_or_default();
    RequestRow {
        repeat,
        n: record.n,
        warmup: record.warmup,
        scheduled_ms: ms(record.scheduled_us),
        sent_ms: ms(record.sent_us),
        client_delay_ms: ms(record.sent_us.saturating_sub(record.scheduled_us)),
        ttft_ms: of_request(Metric::Ttft, &record),
        tpot_ms: of_request(Metric::Tpot, &record),
        e2e_ms: of_request(Metric::E2e, &record).filter(|_| record.error.is_none()),
        total_ms: ms(record.sent_us.saturating_sub(record.scheduled_us).saturating_add(record.end_us)),
        prefill_ms: server.prefill_ms,
        decode_ms: server.decode_ms,
        tokens_in: record.tokens_in,
        tokens_out: record.tokens_out,
        tokens_cached: record.tokens_cached,
        engine_cached: server.cached_tokens,
        token_source: record.token_source,
        finish_reason: record.finish_reason,
        status: record.status,
        error: record.error.as_ref().map(|error| error.kind),
        message: record.error.map(|error| error.message),
        chars: record.chars,
        text: record.text,
        reconnected: record.reconnected,
    }
}

/// What the user says at each turn of a case's conversation; nothing of a load test.
pub fn said(case: u32, plan: Option<&Plan>) -> Vec<String> {
    let of_case = plan.into_iter().flat_map(Plan::load_plans).find_map(|plan| {
        let PromptPlan::Conversations(all) = &plan.prompts else { return None };
        let held = plan.cases.iter().find(|planned| planned.case == case)?.conversation?;
        all.conversations.get(held.index)
    });
    of_case.map(|held| held.turns.iter().map(|turn| turn.user.clone()).collect()).unwrap_or_default()
}

/// Indices of the slowest rows that count, slowest first; failures too, as a time-out is slow.
pub fn slowest(rows: &[RequestRow]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows.len()).filter(|at| !rows[*at].warmup).collect();
    order.sort_by(|a, b| rows[*b].total_ms.total_cmp(&rows[*a].total_ms));
    order.truncate(SLOWEST);
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::request_record::ServerTimings;

    fn record(n: u64, end_us: u64) -> Record {
        Record {
            n,
            scheduled_us: 1_000,
            sent_us: 3_000,
            first_token_us: Some(50_000),
            last_token_us: Some(end_us - 1_000),
            end_us,
            chunks: vec![50_000, 10_000],
            ..Record::default()
        }
    }

    fn lines(records: &[Record]) -> Vec<u8> {
        records
            .iter()
            .flat_map(|record| serde_json::to_vec(record).unwrap().into_iter().chain(*b"\n"))
            .collect()
    }

    #[test]
    fn a_requests_time_is_split_without_a_gap_and_without_counting_anything_twice() {
        let server =
            ServerTimings { prefill_ms: Some(30.0), decode_ms: Some(9.0), ..ServerTimings::default() };
        let told = Record { server: Some(server), ..record(0, 81_000) };
        let row = &rows(&lines(&[told]), 1, None).unwrap()[0];
        assert_eq!(row.parts(), [Some(2.0), Some(20.0), Some(30.0), Some(30.0), Some(1.0)]);
        assert_eq!(row.parts().into_iter().flatten().sum::<f64>(), row.total_ms);
    }

    #[test]
    fn a_server_that_tells_nothing_leaves_the_prefill_unknown() {
        let row = &rows(&lines(&[record(0, 81_000)]), 1, None).unwrap()[0];
        assert_eq!(row.parts(), [Some(2.0), Some(50.0), None, Some(30.0), Some(1.0)]);
        let silent =
            Record { chunks: Vec::new(), first_token_us: None, last_token_us: None, ..record(0, 9_000) };
        let row = &rows(&lines(&[silent]), 1, None).unwrap()[0];
        assert_eq!(row.parts(), [Some(2.0), None, None, None, Some(9.0)]);
    }

    #[test]
    fn the_slowest_come_first_and_warm_ups_are_not_among_them() {
        let mut records: Vec<Record> = (0..30).map(|n| record(n, 60_000 + n * 1_000)).collect();
        records.push(Record { warmup: true, ..record(30, 900_000) });
        let rows = rows(&lines(&records), 1, None).unwrap();
        assert!(rows[0].warmup, "warm-ups stand first");
        let slow: Vec<u64> = slowest(&rows).into_iter().map(|at| rows[at].n).collect();
        assert_eq!(slow, [29, 28, 27, 26, 25, 24, 23, 22, 21, 20]);
    }

    #[test]
    fn a_line_that_is_no_record_is_an_error_and_not_left_out() {
        assert!(rows(b"{}\nnonsense\n", 1, None).is_err());
    }
}
