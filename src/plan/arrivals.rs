//! When the requests of an open loop are due: a schedule from a seed, whatever the server does.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::request::load_test::Arrivals;

/// Due times in microseconds after the start, without end, growing.
///
/// While the load ramps up over `ramp_up_ms`, the rate grows evenly from 0 to `rate` a second: the
/// expected number of arrivals until t is r·t²/(2·ramp) within the ramp and r·(t − ramp/2) after it, and
/// arrivals are where that number passes the next point of a process of rate one (time change of a
/// Poisson process).
pub fn due_times(rate: f64, arrivals: Arrivals, ramp_up_ms: u64, seed: u64) -> impl Iterator<Item = u64> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let ramp = ramp_up_ms as f64 / 1e3;
    let mut passed = 0.0f64;
    let mut first = true;
    std::iter::from_fn(move || {
        passed += match arrivals {
            // The first one is due at once.
            Arrivals::Constant if first => 0.0,
            Arrivals::Constant => 1.0,
            // Of the open interval, because the logarithm of 0 is no time.
            Arrivals::Poisson => -(1.0 - random.random::<f64>()).ln(),
        };
        first = false;
        let within_ramp = rate * ramp / 2.0;
        let seconds = if passed < within_ramp {
            (2.0 * passed * ramp / rate).sqrt()
        } else {
            passed / rate + ramp / 2.0
        };
        Some((seconds * 1e6) as u64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(rate: f64, arrivals: Arrivals, ramp_ms: u64, end_us: u64) -> Vec<u64> {
        due_times(rate, arrivals, ramp_ms, 7).take_while(|at| *at < end_us).collect()
    }

    #[test]
    fn constant_arrivals_are_evenly_spaced() {
        assert_eq!(until(4.0, Arrivals::Constant, 0, 1_000_000), [0, 250_000, 500_000, 750_000]);
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread_of_their_law() {
        let times = until(1_000.0, Arrivals::Poisson, 0, 20_000_000);
        let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean - 1_000.0).abs() < 30.0, "mean gap {mean}");
        // An exponential law's deviation is its mean.
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.05, "{}", variance.sqrt() / mean);
    }

    #[test]
    fn a_ramp_brings_half_as_many_while_it_lasts() {
        let times = until(100.0, Arrivals::Constant, 10_000, 20_000_000);
        let in_ramp = times.iter().filter(|at| **at < 10_000_000).count();
        assert_eq!((in_ramp, times.len() - in_ramp), (500, 1_000));
    }

    #[test]
    fn the_same_seed_gives_the_same_times() {
        let twice: Vec<Vec<u64>> =
            (0..2).map(|_| due_times(5.0, Arrivals::Poisson, 0, 3).take(50).collect()).collect();
        assert_eq!(twice[0], twice[1]);
        assert!(twice[0].is_sorted());
    }
}
