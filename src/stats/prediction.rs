//! Where the next point of a history should lie. Owns the prediction interval at its head; where the history
//! begins (the last accepted change) is the caller's to know.

use super::student_interval::{Of, around_the_mean};

/// With fewer points than this nothing is said of the next one.
pub const FEWEST: usize = 10;

/// In the points' unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    /// The mean of the points so far.
    pub expected: f64,
    /// Holds the next point in 95 % of all cases.
    pub interval: [f64; 2],
    /// The points that it rests on.
    pub points: usize,
}

/// m ± t·s·√(1 + 1/n), with t of n − 1 degrees of freedom. Takes points as independent and normal: what depends on the point before leaves the interval more often
/// in one direction at a time, and a heavy tail at large. `None` below [`FEWEST`] points, or with one that is
/// not finite.
pub fn next_point(history: &[f64]) -> Option<Prediction> {
    let (expected, interval) = around_the_mean(history, FEWEST, Of::Next)?;
    Some(Prediction { expected, interval, points: history.len() })
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution as _, StandardNormal};

    use super::*;

    #[test]
    fn ten_points_worked_out_by_hand() {
        // 1 to 10: mean 5.5, variance 82.5 / 9, t(0.975; 9) = 2.262157.
        let history: Vec<f64> = (1..=10).map(f64::from).collect();
        let found = next_point(&history).unwrap();
        let half = 2.262_157 * (82.5f64 / 9.0 * 1.1).sqrt();
        assert_eq!((found.expected, found.points), (5.5, 10));
        assert!((found.interval[0] - (5.5 - half)).abs() < 1e-5, "{found:?}");
        assert!((found.interval[1] - (5.5 + half)).abs() < 1e-5, "{found:?}");
    }

    #[test]
    fn nine_points_and_what_is_not_a_number_predict_nothing() {
        assert_eq!(next_point(&[1.0; 9]), None);
        let mut history = [1.0; 12];
        assert_eq!(next_point(&history).unwrap().interval, [1.0, 1.0]);
        history[3] = f64::NAN;
        assert_eq!(next_point(&history), None);
    }

    /// Seeded, so that it passes always or never.
    #[test]
    fn the_next_point_is_within_as_often_as_it_says() {
        let mut random = ChaCha8Rng::seed_from_u64(8);
        for n in [10, 40] {
            let rounds = 4_000;
            let held = (0..rounds).filter(|_| {
                let points: Vec<f64> = (0..=n).map(|_| StandardNormal.sample(&mut random)).collect();
                let [low, high] = next_point(&points[..n]).unwrap().interval;
                low <= points[n] && points[n] <= high
            });
            let coverage = held.count() as f64 / f64::from(rounds);
            assert!((0.94..=0.96).contains(&coverage), "{n}: {coverage}");
        }
    }
}
