//! The system's metrics while a case runs, as time series. Names: `host_cpu_percent`,
//! `host_memory_bytes`, `engine_cpu_percent`, `engine_memory_bytes`, `gpu<i>_utilization_percent`,
//! `gpu<i>_memory_bytes`, `gpu<i>_power_watts`, `gpu<i>_sm_clock_mhz`, `gpu<i>_temperature_celsius`,
//! `engine_requests_running`, `engine_requests_waiting`, `engine_kv_cache_percent`,
//! `engine_prefix_cache_hits_total`, `engine_prefix_cache_queries_total` (both in tokens), and
//! `<collector>.<metric>`. Percent are 0 to 100; the engine's CPU percent are of one core and may be more.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

/// One look at the system. What could not be read is left out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Sample {
    pub unix_ms: i64,
    pub values: BTreeMap<String, f64>,
}

/// One metric over a case, summarised.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SeriesSummary {
    pub samples: u32,
    pub min: f64,
    pub mean: f64,
    pub max: f64,
    pub last: f64,
}

/// Every metric over the samples from one instant to another, both included. A metric without a sample
/// there is left out, as are values that are no numbers. `last` is that of the latest instant.
pub fn summarise(samples: &[Sample], from_unix_ms: i64, to_unix_ms: i64) -> BTreeMap<String, SeriesSummary> {
    let series = within(samples, &[from_unix_ms..=to_unix_ms]);
    series.into_iter().filter_map(|(name, points)| Some((name, summary(&points)?))).collect()
}

/// Every metric in these spans of time, by name: instants and values. Values that are no numbers are left
/// out.
pub fn within(samples: &[Sample], spans: &[RangeInclusive<i64>]) -> BTreeMap<String, Vec<(i64, f64)>> {
    let mut series: BTreeMap<String, Vec<(i64, f64)>> = BTreeMap::new();
    let within = |sample: &&Sample| spans.iter().any(|span| span.contains(&sample.unix_ms));
    for sample in samples.iter().filter(within) {
        for (name, value) in sample.values.iter().filter(|(_, value)| value.is_finite()) {
            series.entry(name.clone()).or_default().push((sample.unix_ms, *value));
        }
    }
    series
}

/// `None` for no points.
fn summary(points: &[(i64, f64)]) -> Option<SeriesSummary> {
    let values = || points.iter().map(|(_, value)| *value);
    // Of two at one instant, the one that was written later.
    let (_, last) = points.iter().max_by_key(|(at, _)| *at)?;
    Some(SeriesSummary {
        samples: u32::try_from(points.len()).unwrap_or(u32::MAX),
        min: values().reduce(f64::min)?,
        mean: values().sum::<f64>() / points.len() as f64,
        max: values().reduce(f64::max)?,
        last: *last,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(unix_ms: i64, values: &[(&str, f64)]) -> Sample {
        Sample { unix_ms, values: values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect() }
    }

    #[test]
    fn only_samples_of_the_case_count_its_ends_included() {
        let samples = [
            sample(999, &[("a", 100.0)]),
            sample(1_000, &[("a", 1.0), ("b", 5.0)]),
            sample(2_000, &[("a", 4.0)]),
            sample(3_000, &[("a", 1.0)]),
            sample(3_001, &[("a", -100.0), ("c", 1.0)]),
        ];
        let found = summarise(&samples, 1_000, 3_000);
        let a = SeriesSummary { samples: 3, min: 1.0, mean: 2.0, max: 4.0, last: 1.0 };
        let b = SeriesSummary { samples: 1, min: 5.0, mean: 5.0, max: 5.0, last: 5.0 };
        assert_eq!(found, BTreeMap::from([("a".to_owned(), a), ("b".to_owned(), b)]));
    }

    #[test]
    fn the_last_value_is_the_latest_one_whatever_the_order_of_the_lines() {
        let samples = [sample(2_000, &[("a", 2.0)]), sample(1_000, &[("a", 1.0)])];
        assert_eq!(summarise(&samples, 0, 9_000)["a"].last, 2.0);
    }

    #[test]
    fn what_was_sampled_between_the_repeats_of_a_case_is_another_ones() {
        let sample = |unix_ms: i64| Sample { unix_ms, values: [("cpu".to_owned(), unix_ms as f64)].into() };
        let samples = [0, 1_000, 2_000, 3_000, 4_000].map(sample);
        let found = within(&samples, &[0..=1_000, 4_000..=5_000]);
        assert_eq!(found["cpu"], [(0, 0.0), (1_000, 1_000.0), (4_000, 4_000.0)]);
    }

    #[test]
    fn no_sample_is_no_summary() {
        assert_eq!(summarise(&[], 0, 1), BTreeMap::new());
        assert_eq!(summarise(&[sample(0, &[("a", f64::NAN)])], 0, 1), BTreeMap::new());
        assert_eq!(summarise(&[sample(5, &[("a", 1.0)])], 9, 1), BTreeMap::new());
    }
}
