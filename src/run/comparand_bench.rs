//! The cases of llama-bench as a comparison sees them. A launch is one observation: the repetitions inside
//! one process share its memory layout and its warm-up.

use std::collections::BTreeMap;

use super::case::Case;
use super::comparand::{ComparedCase, Figure, median};
use super::llama_bench_row::TestKind;
use crate::request::measure::Measure;

/// In the order of the run. Of each launch the median counts, which a slow first repetition does not move.
pub fn cases(cases: &[Case]) -> Vec<ComparedCase> {
    cases.iter().map(case).collect()
}

fn case(case: &Case) -> ComparedCase {
    let measure = match case.kind {
        TestKind::Pp => Measure::PromptRate,
        TestKind::Tg => Measure::GenerationRate,
        TestKind::PpTg => Measure::CombinedRate,
    };
    let units: Vec<f64> = case.samples_ts.iter().filter_map(|launch| median(launch)).collect();
    let units = if units.len() > 1 { units } else { Vec::new() };
    ComparedCase {
        key: case.key(),
        figures: BTreeMap::from([(measure, Figure { value: case.avg_ts, units })]),
        ..ComparedCase::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;

    fn of(samples_ts: Vec<Vec<f64>>) -> ComparedCase {
        let case = Case {
            kind: TestKind::Tg,
            n_prompt: 0,
            n_gen: 16,
            n_depth: 0,
            varied: Map::new(),
            samples_ts,
            avg_ts: 20.0,
            median_ts: Some(20.0),
            stddev_ts: None,
            slow_first: Vec::new(),
        };
        cases(&[case]).remove(0)
    }

    #[test]
    fn a_launch_is_one_observation_and_a_slow_first_repetition_does_not_move_it() {
        let found = of(vec![vec![1.0, 20.0, 21.0], vec![22.0, 23.0, 24.0], Vec::new()]);
        assert_eq!(found.key, "tg16");
        let figure = &found.figures[&Measure::GenerationRate];
        assert_eq!((figure.value, figure.units.as_slice()), (20.0, [20.0, 23.0].as_slice()));
    }

    #[test]
    fn the_repetitions_of_one_launch_are_no_observations_of_their_own() {
        assert!(of(vec![vec![1.0, 2.0, 3.0]]).figures[&Measure::GenerationRate].units.is_empty());
    }
}
