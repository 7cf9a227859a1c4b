//! Student's interval around a mean: m ± t·s·√f with n − 1 degrees of freedom. Who uses it says how few figures
//! are too few, and what the interval is to hold.

use statrs::distribution::{ContinuousCDF as _, StudentsT};

use super::percentile_interval::CONFIDENCE;

/// What the interval is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// The figure that comes next: f = 1 + 1/n (Hahn and Meeker, "Statistical Intervals", 4.7).
    Next,
    /// The mean of all that there could be: f = 1/n.
    Mean,
    /// How far two figures that come next lie apart, put around the mean: f = 2.
    Difference,
}

/// The mean of figures, and the two-sided 95 % interval around it. `None` below `fewest` figures, or with one
/// that is not finite.
pub fn around_the_mean(figures: &[f64], fewest: usize, of: Of) -> Option<(f64, [f64; 2])> {
    if figures.len() < fewest || figures.iter().any(|figure| !figure.is_finite()) {
        return None;
    }
    let n = figures.len() as f64;
    let mean = figures.iter().sum::<f64>() / n;
    let variance = figures.iter().map(|figure| (figure - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let t = StudentsT::new(0.0, 1.0, n - 1.0).ok()?.inverse_cdf(0.5 + CONFIDENCE / 2.0);
    let factor = match of {
        Of::Next => 1.0 + 1.0 / n,
        Of::Mean => 1.0 / n,
        Of::Difference => 2.0,
    };
    let half = t * (variance * factor).sqrt();
    Some((mean, [mean - half, mean + half]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_few_as_asked_for_are_enough_and_fewer_are_not() {
        let figures = [9.0, 10.0, 11.0];
        for of in [Of::Next, Of::Mean] {
            assert_eq!(around_the_mean(&figures, 3, of).unwrap().0, 10.0);
            assert_eq!(around_the_mean(&figures, 4, of), None);
            // One figure has no spread, and none has no mean.
            assert_eq!(around_the_mean(&figures[..1], 1, of), None);
            assert_eq!(around_the_mean(&[], 0, of), None);
        }
        assert_eq!(around_the_mean(&[9.0, f64::NAN, 11.0], 3, Of::Next), None);
    }
}
