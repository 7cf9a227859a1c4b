//! The figures that runs are judged by: their names, as thresholds, tables and exports spell them, their units
//! and which way each gets worse. Knows no values.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::load_test::{Metric, Statistic};
use crate::stats::evidence::Better;

/// A figure of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Measure {
    /// Tokens a second of llama-bench's tests: prompt, generation, both one after the other.
    PromptRate,
    GenerationRate,
    CombinedRate,
    /// Of a load test, a second.
    OutputTokens,
    Requests,
    Goodput,
    /// Failed requests by all, 0 to 1.
    ErrorRate,
    /// Milliseconds.
    Latency(Metric, Statistic),
}

impl Measure {
    const RATES: [Self; 7] = [
        Self::PromptRate,
        Self::GenerationRate,
        Self::CombinedRate,
        Self::OutputTokens,
        Self::Requests,
        Self::Goodput,
        Self::ErrorRate,
    ];

    /// In the order in which tables show them; how late the client was says nothing of a server.
    pub fn all() -> impl Iterator<Item = Self> {
        let latencies = Metric::ALL.iter().filter(|metric| **metric != Metric::ClientDelay);
        let each = |metric: &Metric| {
            let metric = *metric;
            Statistic::ALL.iter().map(move |statistic| Self::Latency(metric, *statistic))
        };
        Self::RATES.into_iter().chain(latencies.flat_map(each))
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|measure| measure.to_string() == name)
    }

    pub fn unit(self) -> &'static str {
        match self {
            Self::PromptRate | Self::GenerationRate | Self::CombinedRate | Self::OutputTokens => "tok/s",
            Self::Requests | Self::Goodput => "req/s",
            Self::ErrorRate => "",
            Self::Latency(..) => "ms",
        }
    }

    pub fn better(self) -> Better {
        match self {
            Self::PromptRate
            | Self::GenerationRate
            | Self::CombinedRate
            | Self::OutputTokens
            | Self::Requests
            | Self::Goodput => Better::Higher,
            Self::ErrorRate | Self::Latency(..) => Better::Lower,
        }
    }

    /// A part of all requests: its change is a difference, and it is judged by itself.
    pub fn is_share(self) -> bool {
        match self {
            Self::ErrorRate => true,
            Self::PromptRate
            | Self::GenerationRate
            | Self::CombinedRate
            | Self::OutputTokens
            | Self::Requests
            | Self::Goodput
            | Self::Latency(..) => false,
        }
    }

    /// Work a second; goodput is none, since it also counts how well.
    pub fn is_throughput(self) -> bool {
        match self {
            Self::PromptRate
            | Self::GenerationRate
            | Self::CombinedRate
            | Self::OutputTokens
            | Self::Requests => true,
            Self::Goodput | Self::ErrorRate | Self::Latency(..) => false,
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PromptRate => f.write_str("pp_avg_ts"),
            Self::GenerationRate => f.write_str("tg_avg_ts"),
            Self::CombinedRate => f.write_str("pg_avg_ts"),
            Self::OutputTokens => f.write_str("output_tokens_per_s"),
            Self::Requests => f.write_str("requests_per_s"),
            Self::Goodput => f.write_str("goodput"),
            Self::ErrorRate => f.write_str("error_rate"),
            Self::Latency(metric, statistic) => write!(f, "{}_{}", metric.as_str(), statistic.as_str()),
        }
    }
}

impl Serialize for Measure {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Measure {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::from_name(&name).ok_or_else(|| serde::de::Error::custom(format!("{name} is no measure")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measure_is_known_by_its_own_name() {
        let all: Vec<Measure> = Measure::all().collect();
        assert!(all.contains(&Measure::Latency(Metric::Ttft, Statistic::P99)));
        for measure in all {
            assert_eq!(Measure::from_name(&measure.to_string()), Some(measure));
            let text = serde_json::to_string(&measure).unwrap();
            assert_eq!(serde_json::from_str::<Measure>(&text).unwrap(), measure);
        }
        assert_eq!(Measure::from_name("client_delay_p95"), None);
        assert!(serde_json::from_str::<Measure>("\"speed\"").is_err());
    }

    #[test]
    fn times_and_errors_get_worse_upwards_and_rates_downwards() {
        let lower: Vec<Measure> =
            Measure::all().filter(|measure| measure.better() == Better::Lower).collect();
        assert!(lower.iter().all(|measure| matches!(measure, Measure::ErrorRate | Measure::Latency(..))));
        assert_eq!(Measure::GenerationRate.better(), Better::Higher);
        assert!(!Measure::Goodput.is_throughput() && Measure::Requests.is_throughput());
    }
}
