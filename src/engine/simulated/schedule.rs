//! When the chunks of a request are due and whether it fails, out of the seed and the request's number
//! alone, so that a run can be repeated. Waits for nothing.

use std::time::Duration;

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use rand_distr::{Distribution as _, StandardNormal};

use crate::request::load_test::Simulation;

/// No chunk is due later than in 30 years, so that adding to a time cannot fail.
const FARTHEST_US: f64 = 1e15;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Answered,
    /// An error in place of an answer.
    Refused,
    /// The connection ends after so many chunks, at least one and never all of several.
    Cut {
        after: usize,
    },
}

/// The chunks' times after the request's begin: the first after the time to first token, each later one
/// an inter-token latency after the one *due* before it, so that lateness does not add up.
#[derive(Debug, Clone)]
pub struct Schedule {
    random: ChaCha8Rng,
    ttft_us: f64,
    itl_us: f64,
    /// Standard deviation as a share of each time.
    jitter: f64,
    at_us: Option<f64>,
}

/// Decides on the request numbered `n`, whose answer has so many chunks.
pub fn of_request(seed: u64, n: u64, simulation: &Simulation, chunks: usize) -> (Fate, Schedule) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(n);
    // All three are drawn in any case: a new rate of the one leaves the others' requests as they were.
    let refused = random.random::<f64>() * 100.0 < simulation.error_percent;
    let cut = random.random::<f64>() * 100.0 < simulation.cut_percent;
    let place = random.random_range(1..chunks.max(2));
    let fate = match (refused, cut) {
        (true, _) => Fate::Refused,
        (false, true) => Fate::Cut { after: place },
        (false, false) => Fate::Answered,
    };
    let schedule = Schedule {
        random,
        ttft_us: simulation.ttft_ms * 1000.0,
        itl_us: simulation.itl_ms * 1000.0,
        jitter: simulation.jitter_percent / 100.0,
        at_us: None,
    };
    (fate, schedule)
}

impl Schedule {
    /// With a prompt of which so many tokens have to be computed first.
    pub fn with_prompt(self, computed: u64, simulation: &Simulation) -> Self {
        let prefill_us = computed as f64 * simulation.prefill_ms * 1000.0;
        Self { ttft_us: self.ttft_us + prefill_us, ..self }
    }

    /// The next chunk's time after the begin, never before the last one's. A normal deviate that would
    /// turn a time negative makes it zero.
    pub fn next_due(&mut self) -> Duration {
        let (before, mean) = match self.at_us {
            None => (0.0, self.ttft_us),
            Some(at) => (at, self.itl_us),
        };
        let deviate: f64 = match self.jitter > 0.0 {
            true => StandardNormal.sample(&mut self.random),
            false => 0.0,
        };
        let at = before + (mean * (1.0 + self.jitter * deviate)).max(0.0);
        self.at_us = Some(at);
        Duration::from_secs_f64(at.min(FARTHEST_US) / 1_000_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_prompt_token_that_is_computed_delays_the_first_chunk() {
        let simulation = Simulation { ttft_ms: 5.0, prefill_ms: 0.25, itl_ms: 1.0, ..Simulation::default() };
        let (_, schedule) = of_request(1, 0, &simulation, 2);
        let mut schedule = schedule.with_prompt(40, &simulation);
        assert_eq!(schedule.next_due(), Duration::from_millis(15));
        assert_eq!(schedule.next_due(), Duration::from_millis(16));
    }

    fn dues(simulation: &Simulation, seed: u64, n: u64, chunks: usize) -> Vec<Duration> {
        let (_, mut schedule) = of_request(seed, n, simulation, chunks);
        (0..chunks).map(|_| schedule.next_due()).collect()
    }

    #[test]
    fn without_jitter_chunks_are_due_on_a_grid() {
        let simulation = Simulation { ttft_ms: 50.0, itl_ms: 10.0, ..Simulation::default() };
        let expected: Vec<_> = [50, 60, 70, 80].map(Duration::from_millis).into();
        assert_eq!(dues(&simulation, 1, 0, 4), expected);
    }

    #[test]
    fn jitter_is_the_same_for_a_seed_and_number_and_never_turns_time_back() {
        let simulation = Simulation { jitter_percent: 200.0, ..Simulation::default() };
        let first = dues(&simulation, 7, 3, 500);
        assert_eq!(first, dues(&simulation, 7, 3, 500));
        assert_ne!(first, dues(&simulation, 7, 4, 500));
        assert_ne!(first, dues(&simulation, 8, 3, 500));
        assert!(first.is_sorted());
    }

    #[test]
    fn jitter_has_the_standard_deviation_asked_for() {
        let simulation =
            Simulation { ttft_ms: 0.0, itl_ms: 10.0, jitter_percent: 10.0, ..Simulation::default() };
        let dues = dues(&simulation, 1, 0, 4000);
        let gaps: Vec<f64> = dues.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64() * 1000.0).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean - 10.0).abs() < 0.1, "{mean}");
        assert!((variance.sqrt() - 1.0).abs() < 0.1, "{}", variance.sqrt());
    }

    #[test]
    fn rates_hold_over_many_requests_and_do_not_disturb_each_other() {
        let fates = |simulation: &Simulation| -> Vec<Fate> {
            (0..2000).map(|n| of_request(5, n, simulation, 16).0).collect()
        };
        let only_cuts = Simulation { cut_percent: 25.0, ..Simulation::default() };
        let both = Simulation { cut_percent: 25.0, error_percent: 10.0, ..Simulation::default() };
        let (only_cuts, both) = (fates(&only_cuts), fates(&both));
        let refused = both.iter().filter(|fate| **fate == Fate::Refused).count();
        assert!((150..250).contains(&refused), "{refused}");
        let cut = only_cuts.iter().filter(|fate| **fate != Fate::Answered).count();
        assert!((420..580).contains(&cut), "{cut}");
        for (one, other) in only_cuts.iter().zip(&both) {
            assert!(one == other || *other == Fate::Refused);
            assert!(!matches!(one, Fate::Cut { after } if *after < 1 || *after > 15));
        }
    }

    #[test]
    fn all_or_none_fail_at_the_ends_of_the_scale() {
        for (percent, expected) in [(0.0, Fate::Answered), (100.0, Fate::Refused)] {
            let simulation = Simulation { error_percent: percent, ..Simulation::default() };
            assert!((0..100).all(|n| of_request(1, n, &simulation, 4).0 == expected));
        }
    }
}
