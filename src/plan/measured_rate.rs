//! A row of the history as planning reads it, the rate at which it answered requests, and which of several
//! rows answers for a workload. What a row lacks is unknown, never zero.

use super::estimate::Unanswered;

/// Of the successes that a row should have to be preferred, in percent.
pub const ENOUGH_SUCCESS: f64 = 99.0;

/// A row of `benchmark_results`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MeasuredRow {
    pub id: i64,
    /// Rows of users' own have none.
    pub run: Option<String>,
    pub case: Option<u64>,
    /// What it was measured together with.
    pub sweep: String,
    pub model: String,
    pub size_params: Option<String>,
    pub size_bytes: Option<u64>,
    /// None of an open loop.
    pub workers: Option<u64>,
    pub context_window: Option<u64>,
    pub requests: Option<u64>,
    pub successful: Option<u64>,
    pub prompt_tokens: Option<f64>,
    pub completion_tokens: Option<f64>,
    pub total_seconds: Option<f64>,
    pub requests_per_s: Option<f64>,
    /// Percent, as stored.
    pub success_percent: Option<f64>,
    /// Unix seconds.
    pub created_at: i64,
    pub benchmark_type: Option<String>,
    pub notes: Option<String>,
    /// JSON.
    pub hardware: Option<String>,
    pub cost_per_hour: Option<f64>,
    pub simulated: bool,
    pub valid: bool,
}

impl MeasuredRow {
    /// Successes of all requests in percent: as stored, else by the counts.
    pub fn success(&self) -> Option<f64> {
        let counted = || {
            let requests = self.requests.filter(|requests| *requests > 0)?;
            Some(100.0 * self.successful? as f64 / requests as f64)
        };
        self.success_percent.or_else(counted)
    }

    /// Successful requests a second. Rows of runs hold just that. A row from elsewhere may count the failed
    /// ones as well: where its own counts do not say that it does not, only its successes are taken.
    pub fn rate(&self) -> Option<f64> {
        let rate = self.requests_per_s.filter(|rate| rate.is_finite() && *rate > 0.0)?;
        let share = self.success().map_or(1.0, |percent| (percent / 100.0).clamp(0.0, 1.0));
        if self.run.is_some() || share >= 1.0 || self.counts_successes(rate) {
            return Some(rate);
        }
        Some(rate * share).filter(|rate| *rate > 0.0)
    }

    /// Whether requests, successes and time say that the rate is one of successes.
    fn counts_successes(&self, rate: f64) -> bool {
        let known = (self.requests, self.successful, self.total_seconds);
        let (Some(all), Some(ok), Some(seconds)) = known else { return false };
        let counted = rate * seconds;
        (counted - ok as f64).abs() < (counted - all as f64).abs()
    }

    pub fn succeeds(&self) -> bool {
        self.success().is_none_or(|percent| percent >= ENOUGH_SUCCESS)
    }

    pub fn fits(&self, needed: Option<u64>) -> bool {
        self.context_window.zip(needed).is_none_or(|(window, needed)| needed <= window)
    }
}

/// The row that answers, of rows that were measured together: of those whose context window is large enough the
/// fastest with [`ENOUGH_SUCCESS`], else the fastest.
///
/// # Errors
/// No row, or none whose window is large enough.
pub fn answering(rows: &[MeasuredRow], context: Option<u64>) -> Result<&MeasuredRow, Unanswered> {
    let fitting: Vec<&MeasuredRow> = rows.iter().filter(|row| row.fits(context)).collect();
    if let (true, Some(needed)) = (fitting.is_empty(), context)
        && let Some(window) = rows.iter().filter_map(|row| row.context_window).max()
    {
        return Err(Unanswered::ContextTooSmall { window, needed });
    }
    fastest(fitting.iter().copied().filter(|row| row.succeeds()))
        .or_else(|| fastest(fitting.iter().copied()))
        .ok_or(Unanswered::NotMeasured)
}

/// The first of the fastest.
pub fn fastest<'a>(rows: impl Iterator<Item = &'a MeasuredRow>) -> Option<&'a MeasuredRow> {
    rows.filter_map(|row| Some((row, row.rate()?)))
        .reduce(|best, next| if next.1 > best.1 { next } else { best })
        .map(|(row, _)| row)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(workers: u64, rate: f64, success: f64) -> MeasuredRow {
        MeasuredRow {
            run: Some("r".to_owned()),
            workers: Some(workers),
            requests_per_s: Some(rate),
            success_percent: Some(success),
            ..MeasuredRow::default()
        }
    }

    #[test]
    fn the_fastest_row_that_succeeds_answers() {
        let rows = [row(1, 0.2, 100.0), row(5, 0.5, 99.0), row(20, 0.9, 98.9)];
        assert_eq!(answering(&rows, None).unwrap().workers, Some(5));
        assert_eq!(answering(&rows[2..], None).unwrap().workers, Some(20), "the only one there is");
        assert_eq!(answering(&[], None), Err(Unanswered::NotMeasured));
    }

    #[test]
    fn a_window_that_is_too_small_refuses_and_an_unknown_one_does_not() {
        let mut rows = [row(1, 0.2, 100.0), row(5, 0.5, 100.0)];
        rows[1].context_window = Some(4096);
        assert_eq!(answering(&rows, Some(8000)).unwrap().workers, Some(1));
        assert_eq!(answering(&rows, Some(4096)).unwrap().workers, Some(5));
        let refused = Unanswered::ContextTooSmall { window: 4096, needed: 8000 };
        assert_eq!(answering(&rows[1..], Some(8000)), Err(refused));
    }

    #[test]
    fn a_rate_from_elsewhere_that_counts_failures_is_cut_to_the_successes() {
        let mut own = row(1, 2.0, 90.0);
        assert_eq!(own.rate(), Some(2.0));
        own.run = None;
        assert_eq!(own.rate(), Some(1.8), "nothing says what it counts");
        (own.requests, own.successful, own.total_seconds) = (Some(100), Some(90), Some(50.0));
        assert_eq!(own.rate(), Some(1.8), "2.0 a second are all 100");
        own.total_seconds = Some(45.0);
        assert_eq!(own.rate(), Some(2.0), "2.0 a second are the 90");
    }

    #[test]
    fn what_a_row_lacks_is_unknown() {
        let bare = MeasuredRow::default();
        assert_eq!((bare.rate(), bare.success(), bare.succeeds()), (None, None, true));
        let counted = MeasuredRow { requests: Some(200), successful: Some(150), ..MeasuredRow::default() };
        assert_eq!(counted.success(), Some(75.0));
    }
}
