//! How many workers a model should get: the rate by workers of one sweep, the count with the highest, and the
//! smallest that comes near it.

use std::collections::BTreeMap;

use super::measured_rate::{MeasuredRow, fastest};

/// Of the highest rate, which fewer workers may lose: beyond that, more of them lengthen every answer for nothing.
pub const NEARLY: f64 = 0.95;

/// One sweep of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerSweep {
    /// The fastest row of each worker count, by workers.
    pub by_workers: Vec<(u64, MeasuredRow)>,
    pub best: u64,
    /// At most `best`.
    pub sufficient: u64,
}

/// `None` where fewer than two worker counts were measured. Counts at which too many requests failed are
/// listed and win only where that goes for all of them.
pub fn worker_sweep(rows: &[MeasuredRow]) -> Option<WorkerSweep> {
    let mut groups: BTreeMap<u64, Vec<&MeasuredRow>> = BTreeMap::new();
    for row in rows {
        if let Some(workers) = row.workers {
            groups.entry(workers).or_default().push(row);
        }
    }
    let by_workers: Vec<(u64, MeasuredRow)> = groups
        .into_iter()
        .filter_map(|(workers, rows)| Some((workers, fastest(rows.into_iter())?.clone())))
        .collect();
    if by_workers.len() < 2 {
        return None;
    }
    let any_succeeds = by_workers.iter().any(|(_, row)| row.succeeds());
    let mut counting = by_workers.iter().filter(|(_, row)| row.succeeds() || !any_succeeds);
    let best = fastest(counting.clone().map(|(_, row)| row))?;
    let enough = best.rate()? * NEARLY;
    let sufficient = counting.find(|(_, row)| row.rate().is_some_and(|rate| rate >= enough))?.0;
    Some(WorkerSweep { best: best.workers?, sufficient, by_workers })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(all: &[(u64, f64, f64)]) -> Vec<MeasuredRow> {
        all.iter()
            .map(|(workers, rate, success)| MeasuredRow {
                run: Some("r".to_owned()),
                workers: Some(*workers),
                requests_per_s: Some(*rate),
                success_percent: Some(*success),
                ..MeasuredRow::default()
            })
            .collect()
    }

    #[test]
    fn the_smallest_count_within_five_percent_is_enough() {
        let swept =
            worker_sweep(&rows(&[(1, 1.0, 100.0), (20, 2.0, 100.0), (10, 1.9, 100.0), (5, 1.89, 100.0)]));
        let swept = swept.unwrap();
        assert_eq!((swept.best, swept.sufficient), (20, 10));
        let counts: Vec<u64> = swept.by_workers.iter().map(|(workers, _)| *workers).collect();
        assert_eq!(counts, [1, 5, 10, 20]);
    }

    #[test]
    fn a_count_at_which_requests_fail_does_not_win() {
        let swept = worker_sweep(&rows(&[(1, 1.0, 100.0), (5, 2.0, 100.0), (50, 9.0, 60.0)])).unwrap();
        assert_eq!((swept.best, swept.sufficient, swept.by_workers.len()), (5, 5, 3));
        let swept = worker_sweep(&rows(&[(1, 1.0, 50.0), (5, 2.0, 60.0)])).unwrap();
        assert_eq!(swept.best, 5);
    }

    #[test]
    fn one_worker_count_is_no_sweep() {
        assert_eq!(worker_sweep(&rows(&[(5, 1.0, 100.0), (5, 2.0, 100.0)])), None);
    }
}
