//! What the figures of several runs say of the next run, and of their mean. The run is the unit: within one
//! run, samples depend on each other.

use super::student_interval::{Of, around_the_mean};

/// Runs below which there is no interval of the next one: of two, t is 12.7 and the interval says nothing.
pub const FEWEST: usize = 3;

/// The two-sided 95 % prediction interval of the next run, m ± t·s·√(1 + 1/n) with n − 1 degrees of freedom,
/// around its middle m. `None` below [`FEWEST`] runs.
pub fn next_run(figures: &[f64]) -> Option<[f64; 2]> {
    around_the_mean(figures, FEWEST, Of::Next).map(|(_, interval)| interval)
}

/// The two-sided 95 % interval of the mean, m ± t·s·√(1/n). `None` below [`FEWEST`] runs.
pub fn mean_of_runs(figures: &[f64]) -> Option<[f64; 2]> {
    around_the_mean(figures, FEWEST, Of::Mean).map(|(_, interval)| interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close([low, high]: [f64; 2], [a, b]: [f64; 2]) -> bool {
        (low - a).abs() < 1e-3 && (high - b).abs() < 1e-3
    }

    #[test]
    fn three_runs_worked_out_by_hand() {
        // Mean 10, s = 1, t(0.975; 2) = 4.30265: ± 4.30265 · √(4/3) = 4.96827, and ± 4.30265 / √3 = 2.48414.
        let runs = [9.0, 10.0, 11.0];
        assert!(close(next_run(&runs).unwrap(), [5.03173, 14.96827]));
        assert!(close(mean_of_runs(&runs).unwrap(), [7.51586, 12.48414]));
    }

    #[test]
    fn five_runs_worked_out_by_hand() {
        // Mean 3, s² = 2.5, t(0.975; 4) = 2.77645: ± 2.77645 · √(2.5 · 1.2) = 4.80895.
        assert!(close(next_run(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap(), [-1.80895, 7.80895]));
    }

    #[test]
    fn two_runs_say_nothing_of_the_next_and_equal_ones_all() {
        assert_eq!(next_run(&[1.0, 2.0]), None);
        assert_eq!(mean_of_runs(&[]), None);
        assert_eq!(next_run(&[0.5; 4]), Some([0.5, 0.5]));
    }
}
