//! What an interval can carry: the evidence verdict of a comparison, beside the policy verdict that
//! thresholds give. Owns the three answers and the guess of what would settle an open one; computes no
//! interval.

use serde::{Deserialize, Serialize};

use super::mean_difference::Estimate;

/// No more runs a side than this are advised; a difference that needs more is as good as the margin itself.
pub const MOST_RUNS: u32 = 1_000;

/// Which way a metric gets worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Latencies, error rates.
    Lower,
    /// Throughputs.
    Higher,
}

/// Of a change against a margin, both as parts of the baseline (0.05 is 5 %) in the worse direction.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
pub enum Evidence {
    /// Worse than the margin, by at least this.
    Regression { at_least: f64 },
    /// Not worse than the margin; by at most this, which is below zero where it got better.
    Ok { at_most: f64 },
    /// The interval holds the margin, or there is none.
    Inconclusive {
        /// So many more runs a side would settle it, if the estimate stays where it is. `None` where that
        /// cannot be said, or would be more than [`MOST_RUNS`].
        more_runs: Option<u32>,
    },
}

/// candidate ÷ baseline as the change in the worse direction: ratio − 1 of what should be low, 1 − ratio of
/// what should be high.
pub fn worsening(ratio: Estimate, better: Better) -> Estimate {
    match better {
        Better::Lower => Estimate {
            value: ratio.value - 1.0,
            interval: ratio.interval.map(|[low, high]| [low - 1.0, high - 1.0]),
        },
        Better::Higher => Estimate {
            value: 1.0 - ratio.value,
            interval: ratio.interval.map(|[low, high]| [1.0 - high, 1.0 - low]),
        },
    }
}

/// L > δ is a regression, U < δ is none, all else stays open. `change` as [`worsening`] gives it, `margin` δ in
/// the same unit, `runs` a side that the interval rests on.
///
/// What would settle it is an approximation: the interval's side towards the margin, h wide, narrows with
/// 1/√runs while the estimate stays d away from the margin, so that runs · (h ÷ d)² are needed (the usual
/// sample-size formula, with the observed width for the spread). With few runs, whose intervals narrow faster
/// than that, it says too many rather than too few; and since the estimate does not stay, about every second
/// try will need more.
pub fn evidence(change: Estimate, margin: f64, runs: u32) -> Evidence {
    match change.interval {
        Some([low, _]) if low > margin => Evidence::Regression { at_least: low },
        Some([_, high]) if high < margin => Evidence::Ok { at_most: high },
        Some([low, high]) => {
            let distance = change.value - margin;
            let half = if distance > 0.0 { change.value - low } else { high - change.value };
            Evidence::Inconclusive { more_runs: more_runs(runs, half / distance.abs()) }
        }
        None => Evidence::Inconclusive { more_runs: None },
    }
}

fn more_runs(runs: u32, too_wide: f64) -> Option<u32> {
    let needed = f64::from(runs) * too_wide * too_wide;
    // An interval that just touches the margin needs a run more as well.
    let more = (needed - f64::from(runs)).ceil().max(1.0);
    (!needed.is_nan() && more <= f64::from(MOST_RUNS)).then_some(more as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn change(value: f64, low: f64, high: f64) -> Estimate {
        Estimate { value, interval: Some([low, high]) }
    }

    #[test]
    fn the_interval_decides_against_the_margin() {
        assert_eq!(evidence(change(0.2, 0.1, 0.3), 0.05, 5), Evidence::Regression { at_least: 0.1 });
        assert_eq!(evidence(change(0.0, -0.02, 0.04), 0.05, 5), Evidence::Ok { at_most: 0.04 });
        assert_eq!(evidence(change(-0.3, -0.4, -0.2), 0.05, 5), Evidence::Ok { at_most: -0.2 });
    }

    #[test]
    fn an_open_verdict_says_how_many_more_runs_would_settle_it() {
        // 0.1 wide towards the margin and 0.05 away from it: four times the runs.
        let open = evidence(change(0.1, 0.0, 0.3), 0.05, 5);
        assert_eq!(open, Evidence::Inconclusive { more_runs: Some(15) });
        // From below, the upper side counts: 0.08 wide, 0.04 away.
        let open = evidence(change(0.01, -0.5, 0.09), 0.05, 6);
        assert_eq!(open, Evidence::Inconclusive { more_runs: Some(18) });
        // Touching is not settled.
        let open = evidence(change(0.1, 0.05, 0.3), 0.05, 5);
        assert_eq!(open, Evidence::Inconclusive { more_runs: Some(1) });
    }

    #[test]
    fn what_lies_on_the_margin_or_has_no_interval_is_not_settled_by_any_number() {
        let unknown = Evidence::Inconclusive { more_runs: None };
        assert_eq!(evidence(change(0.05, 0.0, 0.1), 0.05, 5), unknown);
        assert_eq!(evidence(change(0.0501, 0.0, 0.1), 0.05, 5), unknown);
        assert_eq!(evidence(Estimate { value: 9.0, interval: None }, 0.05, 1), unknown);
        assert_eq!(evidence(change(f64::NAN, f64::NAN, f64::NAN), 0.05, 5), unknown);
        assert_eq!(evidence(change(0.1, f64::NEG_INFINITY, f64::INFINITY), 0.05, 5), unknown);
    }

    #[test]
    fn worse_is_more_of_a_latency_and_less_of_a_throughput() {
        let ratio = Estimate { value: 1.25, interval: Some([1.0, 1.5]) };
        assert_eq!(worsening(ratio, Better::Lower), change(0.25, 0.0, 0.5));
        assert_eq!(worsening(ratio, Better::Higher), change(-0.25, -0.5, 0.0));
    }

    proptest! {
        #[test]
        fn the_runs_advised_would_settle_it_and_one_fewer_would_not(
            value in -0.5f64..0.5, below in 0.01f64..0.5, over in 0.01f64..0.5, runs in 4u32..20,
        ) {
            let margin = 0.05;
            let open = |now| matches!(now, Evidence::Inconclusive { .. });
            let narrowed = |more: u32| {
                let part = (f64::from(runs) / f64::from(runs + more)).sqrt();
                evidence(change(value, value - below * part, value + over * part), margin, runs + more)
            };
            if let Evidence::Inconclusive { more_runs: Some(more) } = narrowed(0) {
                // A hair more, for rounding.
                let settled = [narrowed(more), narrowed(more + 1)];
                prop_assert!(!settled.into_iter().all(open));
                prop_assert!(more == 1 || open(narrowed(more - 1)));
            }
        }
    }
}
