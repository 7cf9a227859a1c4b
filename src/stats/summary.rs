//! Many samples as the few numbers that results show. Keeps the samples' unit; rounds nothing and drops
//! no outlier.

use serde::{Deserialize, Serialize};

use super::percentile_interval::interval;
use super::quantile::quantile;

/// At least one sample, summarised, in the samples' unit. Of samples that were at hand everything is known
/// (percentiles by [`super::quantile::METHOD`]); of those that another tool summarised what it tells, the
/// rest is null.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Summary {
    pub count: Option<u64>,
    pub min: Option<f64>,
    /// Σx / n.
    pub mean: Option<f64>,
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    pub max: Option<f64>,
    /// √(Σ(x − mean)² / (n − 1)); null of a single sample.
    pub stddev: Option<f64>,
    #[serde(default)]
    pub intervals: Intervals,
}

/// Two-sided 95 % intervals of the percentiles; null where the samples are too few for one.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Intervals {
    pub p50: Option<[f64; 2]>,
    pub p90: Option<[f64; 2]>,
    pub p95: Option<[f64; 2]>,
    pub p99: Option<[f64; 2]>,
}

impl Summary {
    /// `None` without samples. They have to be finite.
    pub fn of(mut samples: Vec<f64>) -> Option<Self> {
        let summary = Self::of_sorted(&mut samples)?;
        let intervals = Intervals {
            p50: interval(&samples, 0.5),
            p90: interval(&samples, 0.9),
            p95: interval(&samples, 0.95),
            p99: interval(&samples, 0.99),
        };
        Some(Self { intervals, ..summary })
    }

    /// The same without intervals, for samples of which several depend on each other (the gaps of one
    /// answer): an interval that takes each as one of its own looks surer than it is.
    pub fn without_intervals(mut samples: Vec<f64>) -> Option<Self> {
        Self::of_sorted(&mut samples)
    }

    /// Sorts the samples and leaves the intervals out.
    fn of_sorted(samples: &mut [f64]) -> Option<Self> {
        // Sums of sorted samples do not depend on the order in which they came.
        samples.sort_unstable_by(f64::total_cmp);
        let sorted = &*samples;
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let n = sorted.len() as f64;
        // Rounding must not carry the mean of equal samples beyond them.
        let mean = (sorted.iter().sum::<f64>() / n).clamp(min, max);
        let squares: f64 = sorted.iter().map(|sample| (sample - mean).powi(2)).sum();
        Some(Self {
            count: Some(sorted.len() as u64),
            min: Some(min),
            mean: Some(mean),
            p50: quantile(sorted, 0.5),
            p90: quantile(sorted, 0.9),
            p95: quantile(sorted, 0.95),
            p99: quantile(sorted, 0.99),
            max: Some(max),
            stddev: (sorted.len() > 1).then(|| (squares / (n - 1.0)).sqrt()),
            intervals: Intervals::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_has_the_known_figures_whatever_the_order() {
        let summary = Summary::of(vec![4.0, 1.0, 5.0, 2.0, 3.0]).unwrap();
        assert_eq!(summary.count, Some(5));
        assert_eq!([summary.min, summary.mean, summary.max].map(Option::unwrap), [1.0, 3.0, 5.0]);
        assert_eq!(summary.p50, Some(3.0));
        let (p90, p99) = (summary.p90.unwrap(), summary.p99.unwrap());
        assert!((p90 - 4.6).abs() < 1e-12 && (p99 - 4.96).abs() < 1e-12);
        assert_eq!(summary.stddev, Some(2.5f64.sqrt()));
        assert_eq!(Summary::of(vec![5.0, 4.0, 3.0, 2.0, 1.0]), Some(summary));
    }

    #[test]
    fn a_single_sample_has_no_spread_and_no_interval() {
        let summary = Summary::of(vec![0.1]).unwrap();
        assert_eq!((summary.mean, summary.p99, summary.stddev), (Some(0.1), Some(0.1), None));
        assert_eq!(summary.intervals, Intervals::default());
        assert_eq!(Summary::of(Vec::new()), None);
    }

    #[test]
    fn equal_samples_give_themselves() {
        let summary = Summary::of(vec![0.1; 1_000]).unwrap();
        assert_eq!([summary.mean, summary.p50, summary.p99], [Some(0.1); 3]);
        assert_eq!(summary.stddev, Some(0.0));
        assert_eq!(summary.intervals.p99, Some([0.1, 0.1]));
    }

    #[test]
    fn intervals_come_one_by_one_as_samples_grow() {
        let intervals = |n: u32| Summary::of((0..n).map(f64::from).collect()).unwrap().intervals;
        let known = |intervals: Intervals| {
            [intervals.p50, intervals.p90, intervals.p95, intervals.p99].map(|interval| interval.is_some())
        };
        assert_eq!(known(intervals(5)), [false, false, false, false]);
        assert_eq!(known(intervals(6)), [true, false, false, false]);
        assert_eq!(known(intervals(36)), [true, true, false, false]);
        assert_eq!(known(intervals(72)), [true, true, true, false]);
        assert_eq!(known(intervals(368)), [true, true, true, true]);
    }
}
