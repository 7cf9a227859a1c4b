//! How far the means of two small groups of runs lie apart, with what chance may have done to it. Groups need
//! not vary alike (Welch, "The generalization of Student's problem when several different population variances
//! are involved", Biometrika 34, 1947).

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF as _, StudentsT};

/// A figure with its two-sided 95 % interval; null where there are too few runs for one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub value: f64,
    pub interval: Option<[f64; 2]>,
}

/// mean(a) − mean(b), in their unit. `None` where one is empty.
pub fn difference(a: &[f64], b: &[f64]) -> Option<Estimate> {
    let (a, b) = (Group::of(a)?, Group::of(b)?);
    let value = a.mean - b.mean;
    let half = welch(a.error_squared(), a.n, b.error_squared(), b.n);
    Some(Estimate { value, interval: half.map(|half| [value - half, value + half]) })
}

/// 100 · (1 − mean(b) ÷ mean(a)): by how much `b` lies below `a`. The interval is that of the logarithm of the
/// ratio, whose error is that of a mean by the mean (delta method). `None` where one is empty or not above zero.
pub fn percent_below(a: &[f64], b: &[f64]) -> Option<Estimate> {
    let (a, b) = (Group::of(a)?, Group::of(b)?);
    if a.mean <= 0.0 || b.mean <= 0.0 {
        return None;
    }
    let relative = |group: &Group| group.error_squared().map(|error| error / group.mean.powi(2));
    let log = (b.mean / a.mean).ln();
    let percent = |log: f64| 100.0 * (1.0 - log.exp());
    let half = welch(relative(&a), a.n, relative(&b), b.n);
    Some(Estimate {
        value: percent(log),
        interval: half.map(|half| [percent(log + half), percent(log - half)]),
    })
}

struct Group {
    n: f64,
    mean: f64,
    /// Of a single sample there is none.
    variance: Option<f64>,
}

impl Group {
    fn of(samples: &[f64]) -> Option<Self> {
        let n = samples.len() as f64;
        let mean = (!samples.is_empty()).then(|| samples.iter().sum::<f64>() / n)?;
        let squares: f64 = samples.iter().map(|sample| (sample - mean).powi(2)).sum();
        Some(Self { n, mean, variance: (samples.len() > 1).then(|| squares / (n - 1.0)) })
    }

    /// Of its mean.
    fn error_squared(&self) -> Option<f64> {
        self.variance.map(|variance| variance / self.n)
    }
}

/// Half the interval's width: t · √(a + b), with the degrees of freedom of Welch and Satterthwaite.
fn welch(a: Option<f64>, of_a: f64, b: Option<f64>, of_b: f64) -> Option<f64> {
    let (a, b) = (a?, b?);
    let sum = a + b;
    if sum <= 0.0 {
        return Some(0.0);
    }
    let freedom = sum.powi(2) / (a.powi(2) / (of_a - 1.0) + b.powi(2) / (of_b - 1.0));
    let t = StudentsT::new(0.0, 1.0, freedom).ok()?.inverse_cdf(0.975);
    Some(t * sum.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 5e-4 * b.abs().max(1.0)
    }

    #[test]
    fn two_groups_worked_out_by_hand() {
        // Means 10 and 7, variances 1 and 4, three each: error² = 1/3 + 4/3 = 5/3, freedom = (25/9) /
        // ((1/9 + 16/9) / 2) = 50/17 = 2.941, t(0.975) = 3.2188.
        let found = difference(&[9.0, 10.0, 11.0], &[5.0, 7.0, 9.0]).unwrap();
        let half = 3.2188 * (5.0f64 / 3.0).sqrt();
        let [low, high] = found.interval.unwrap();
        assert!(close(found.value, 3.0) && close(low, 3.0 - half) && close(high, 3.0 + half), "{found:?}");
    }

    #[test]
    fn a_percentage_has_the_interval_of_its_ratio() {
        let found = percent_below(&[9.0, 10.0, 11.0], &[4.9, 5.0, 5.1]).unwrap();
        // ln 0.5, error² = (1/3)/100 + (0.01/3)/25, freedom = 2.160, t = 4.0116.
        let half = 4.0116 * (1.0f64 / 300.0 + 0.01 / 75.0).sqrt();
        let [low, high] = found.interval.unwrap();
        assert!(close(found.value, 50.0), "{found:?}");
        assert!((low - 100.0 * (1.0 - 0.5 * half.exp())).abs() < 0.2, "{found:?}");
        assert!((high - 100.0 * (1.0 - 0.5 * (-half).exp())).abs() < 0.2, "{found:?}");
    }

    #[test]
    fn a_single_run_has_a_difference_and_no_interval() {
        let found = difference(&[3.0], &[1.0, 1.0]).unwrap();
        assert_eq!((found.value, found.interval), (2.0, None));
        assert_eq!(difference(&[], &[1.0]), None);
        assert_eq!(percent_below(&[0.0], &[1.0]), None);
    }

    #[test]
    fn runs_that_never_differ_leave_no_doubt() {
        assert_eq!(difference(&[2.0, 2.0], &[1.0, 1.0]).unwrap().interval, Some([1.0, 1.0]));
    }
}
