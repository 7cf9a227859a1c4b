//! How far two runs of the same thing lie apart: the noise below which no change of one run against another
//! means anything. Takes runs as independent, and their logarithms as normal.

use super::student_interval::{Of, around_the_mean};

/// Of fewer runs nothing is said: of two, t is 12.7.
pub const FEWEST: usize = 3;

/// The part of either by which two more runs differ at most, in 95 of 100 cases: exp(t·s·√2) − 1, with s the
/// standard deviation of the runs' logarithms and t of n − 1 degrees of freedom (the prediction interval of a
/// difference of two future observations; Hahn and Meeker, "Statistical Intervals", 4.7, for one). `None` below
/// [`FEWEST`] runs, and with a figure that is not finite and above zero.
pub fn noise_floor(figures: &[f64]) -> Option<f64> {
    if figures.iter().any(|figure| !figure.is_finite() || *figure <= 0.0) {
        return None;
    }
    let logs: Vec<f64> = figures.iter().map(|figure| figure.ln()).collect();
    let (mean, [_, high]) = around_the_mean(&logs, FEWEST, Of::Difference)?;
    Some((high - mean).exp_m1())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution as _, LogNormal};

    use super::*;

    #[test]
    fn runs_that_never_differ_have_no_noise_and_few_runs_no_floor() {
        assert_eq!(noise_floor(&[5.0; 4]), Some(0.0));
        assert_eq!(noise_floor(&[5.0, 6.0]), None);
        assert_eq!(noise_floor(&[5.0, 0.0, 6.0]), None);
    }

    #[test]
    fn it_is_the_formula() {
        // Logarithms −d, 0, d: s = d; t of two degrees of freedom is 4.302653.
        let d: f64 = 0.01;
        let found = noise_floor(&[(-d).exp(), 1.0, d.exp()]).unwrap();
        assert!((found - (4.302_653 * d * 2.0_f64.sqrt()).exp_m1()).abs() < 1e-6, "{found}");
    }

    #[test]
    fn two_more_runs_differ_by_less_in_95_of_100_cases() {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let runs = LogNormal::new(3.0, 0.05).unwrap();
        let within = (0..4_000)
            .filter(|_| {
                let known: Vec<f64> = (0..6).map(|_| runs.sample(&mut random)).collect();
                let (a, b) = (runs.sample(&mut random), runs.sample(&mut random));
                (a / b).max(b / a) - 1.0 <= noise_floor(&known).unwrap()
            })
            .count();
        assert!((3_740..=3_860).contains(&within), "{within} of 4,000");
    }
}
