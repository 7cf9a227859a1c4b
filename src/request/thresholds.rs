//! What a change has to be to warn or to fail: the policy of a comparison, for every figure, with the
//! defaults that people expect. Owns the words of a threshold; judges nothing.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::diagnostic::did_you_mean;
use super::load_test::{Metric, Statistic};
use super::measure::Measure;
use super::quantities;

/// Percent; a latency that grew a hundredfold is a typing error in a threshold.
const LARGEST: f64 = 10_000.0;

/// What a threshold is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    Of(Measure),
    /// `p95_latency`: from sent to the last token; in an open loop from when it was due.
    Latency(Statistic),
    /// Requests and tokens a second, llama-bench's rates too.
    Throughput,
}

impl Subject {
    /// Every subject that has a name, the short ones first.
    pub fn all() -> impl Iterator<Item = Self> {
        let latencies = Statistic::ALL.iter().map(|statistic| Self::Latency(*statistic));
        [Self::Throughput].into_iter().chain(latencies).chain(Measure::all().map(Self::Of))
    }

    /// # Errors
    /// What would be right.
    pub fn parse(name: &str) -> Result<Self, String> {
        Self::all().find(|subject| subject.to_string() == name).ok_or_else(|| {
            let names: Vec<String> = Self::all().map(|subject| subject.to_string()).collect();
            did_you_mean(name, names.iter().map(String::as_str)).unwrap_or_else(|| {
                "p95_latency, p50_latency, throughput, error_rate, pp_avg_ts, tg_avg_ts, or a figure such as \
                 ttft_p95 or output_tokens_per_s"
                    .to_owned()
            })
        })
    }

    /// How directly it speaks of a measure: 0 where it does not. `open_loop`: requests arrive whatever the
    /// server does.
    fn speaks_of(self, measure: Measure, open_loop: bool) -> u8 {
        let latency = if open_loop { Metric::ResponseTime } else { Metric::E2e };
        match (self, measure) {
            (Self::Of(subject), _) if subject == measure => 2,
            (Self::Latency(statistic), Measure::Latency(metric, of))
                if metric == latency && of == statistic =>
            {
                1
            }
            (Self::Throughput, _) if measure.is_throughput() => 1,
            (Self::Of(_) | Self::Latency(_) | Self::Throughput, _) => 0,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(measure) => measure.fmt(f),
            Self::Latency(statistic) => write!(f, "{}_latency", statistic.as_str()),
            Self::Throughput => f.write_str("throughput"),
        }
    }
}

impl Serialize for Subject {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// How much is too much. Of the error rate it is the candidate's own rate, of everything else the change.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limit {
    /// A part: 0.2 is 20 %.
    pub part: f64,
    /// Better by as much counts as well.
    #[serde(default)]
    pub either_way: bool,
}

impl Limit {
    /// `20%`, or `±15%` for both directions.
    ///
    /// # Errors
    /// What would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (text, either_way) = match text.strip_prefix('±').or_else(|| text.strip_prefix("+-")) {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        Ok(Self { part: quantities::percent(text.trim(), LARGEST)? / 100.0, either_way })
    }

    pub fn words(self) -> String {
        let sign = if self.either_way { "±" } else { "" };
        // Twelve digits hide what binary fractions do to a percentage.
        let percent = format!("{:.12}", self.part * 100.0);
        format!("{sign}{}%", percent.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// What a figure may do before somebody is told.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Threshold {
    pub fail: Option<Limit>,
    pub warn: Option<Limit>,
}

/// The thresholds of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    by_subject: BTreeMap<Subject, Threshold>,
    /// Those that somebody asked for by name, so that a figure that is missing is a gap in the gate.
    asked: Vec<Subject>,
}

impl Default for Thresholds {
    /// FAIL: p95 latency > +20 %, error rate > 1 %, llama-bench's rates < −20 %. WARN: p95 latency > +10 %,
    /// p50 latency and throughput ± 15 %, llama-bench's rates < −10 %.
    fn default() -> Self {
        let worse = |percent: f64| Some(Limit { part: percent / 100.0, either_way: false });
        let either = |percent: f64| Some(Limit { part: percent / 100.0, either_way: true });
        let rate = Threshold { fail: worse(20.0), warn: worse(10.0) };
        Self {
            by_subject: BTreeMap::from([
                (Subject::Latency(Statistic::P95), Threshold { fail: worse(20.0), warn: worse(10.0) }),
                (Subject::Latency(Statistic::P50), Threshold { fail: None, warn: either(15.0) }),
                (Subject::Throughput, Threshold { fail: None, warn: either(15.0) }),
                (Subject::Of(Measure::ErrorRate), Threshold { fail: worse(1.0), warn: None }),
                (Subject::Of(Measure::PromptRate), rate),
                (Subject::Of(Measure::GenerationRate), rate),
                (Subject::Of(Measure::CombinedRate), rate),
            ]),
            asked: Vec::new(),
        }
    }
}

impl Thresholds {
    /// Puts a threshold in the place of a default one.
    pub fn set(&mut self, subject: Subject, threshold: Threshold) {
        if subject == Subject::Throughput {
            // What is said of throughput is said of llama-bench's rates as well, whose own defaults gave way.
            self.by_subject.retain(|known, _| match known {
                Subject::Of(measure) => !measure.is_throughput() || self.asked.contains(known),
                Subject::Latency(_) | Subject::Throughput => true,
            });
        }
        self.by_subject.insert(subject, threshold);
        if threshold == Threshold::default() {
            self.asked.retain(|known| *known != subject);
        } else {
            self.asked.push(subject);
        }
    }

    /// A figure's threshold: one that names it goes before one that names its kind. One without a limit takes a
    /// default away.
    pub fn of(&self, measure: Measure, open_loop: bool) -> Option<Threshold> {
        let speaking = |subject: &Subject| subject.speaks_of(measure, open_loop);
        let known = self.by_subject.iter().filter(|(subject, _)| speaking(subject) > 0);
        let found = known.max_by_key(|(subject, _)| speaking(subject)).map(|(_, threshold)| *threshold);
        found.filter(|threshold| threshold.fail.is_some() || threshold.warn.is_some())
    }

    /// Whether somebody asked for this figure by name.
    pub fn asked(&self) -> impl Iterator<Item = Subject> + '_ {
        self.asked.iter().copied()
    }

    /// Whether a subject speaks of a figure.
    pub fn covers(subject: Subject, measure: Measure, open_loop: bool) -> bool {
        subject.speaks_of(measure, open_loop) > 0
    }
}

/// The one figure that a name means.
///
/// # Errors
/// What would be right.
pub fn measure_named(name: &str) -> Result<Measure, String> {
    Measure::from_name(name).ok_or_else(|| match Subject::parse(name) {
        Ok(_) => "name one figure, such as e2e_p95, requests_per_s or tg_avg_ts".to_owned(),
        Err(right) => right,
    })
}

/// `fail:20%,warn:10%`, as the command line takes it.
///
/// # Errors
/// What would be right.
pub fn parse_threshold(text: &str) -> Result<Threshold, String> {
    let right =
        || "fail:20%, warn:10%, or both with a comma between them; ± before a percentage is both ways";
    let mut threshold = Threshold::default();
    for part in text.split(',') {
        let (word, limit) = part.split_once(':').ok_or_else(right)?;
        let limit = Limit::parse(limit.trim())?;
        match word.trim() {
            "fail" => threshold.fail = Some(limit),
            "warn" => threshold.warn = Some(limit),
            _ => return Err(right().to_owned()),
        }
    }
    Ok(threshold)
}

#[cfg(test)]
mod tests {
    use super::*;

    const P95: Measure = Measure::Latency(Metric::E2e, Statistic::P95);

    #[test]
    fn the_defaults_are_those_of_the_documentation() {
        let thresholds = Thresholds::default();
        let limits = |measure| {
            let found = thresholds.of(measure, false).unwrap_or_default();
            (found.fail.map(Limit::words), found.warn.map(Limit::words))
        };
        let words = |text: &str| Some(text.to_owned());
        assert_eq!(limits(P95), (words("20%"), words("10%")));
        assert_eq!(limits(Measure::Latency(Metric::E2e, Statistic::P50)), (None, words("±15%")));
        assert_eq!(limits(Measure::Requests), (None, words("±15%")));
        assert_eq!(limits(Measure::ErrorRate), (words("1%"), None));
        assert_eq!(limits(Measure::GenerationRate), (words("20%"), words("10%")));
        assert_eq!(thresholds.of(Measure::Goodput, false), None);
        assert_eq!(thresholds.of(Measure::Latency(Metric::Ttft, Statistic::P95), false), None);
    }

    #[test]
    fn the_latency_of_an_open_loop_counts_from_when_a_request_was_due() {
        let thresholds = Thresholds::default();
        let due = Measure::Latency(Metric::ResponseTime, Statistic::P95);
        assert!(thresholds.of(due, true).is_some() && thresholds.of(P95, true).is_none());
        assert!(thresholds.of(due, false).is_none() && thresholds.of(P95, false).is_some());
    }

    #[test]
    fn a_threshold_by_name_goes_before_one_by_kind() {
        let mut thresholds = Thresholds::default();
        let mine = parse_threshold("fail:3%").unwrap();
        thresholds.set(Subject::Of(Measure::Requests), mine);
        assert_eq!(thresholds.of(Measure::Requests, false), Some(mine));
        assert_ne!(thresholds.of(Measure::OutputTokens, false), Some(mine));
        assert_eq!(thresholds.asked().collect::<Vec<_>>(), [Subject::Of(Measure::Requests)]);
    }

    #[test]
    fn what_is_said_of_throughput_is_said_of_llama_benchs_rates() {
        let mut thresholds = Thresholds::default();
        let mine = parse_threshold("fail:5%").unwrap();
        thresholds.set(Subject::Throughput, mine);
        assert_eq!(thresholds.of(Measure::GenerationRate, false), Some(mine));
        thresholds.set(Subject::Of(Measure::GenerationRate), parse_threshold("warn:1%").unwrap());
        thresholds.set(Subject::Throughput, mine);
        assert_ne!(thresholds.of(Measure::GenerationRate, false), Some(mine));
        assert!(thresholds.of(Measure::ErrorRate, false).is_some());
    }

    #[test]
    fn limits_are_percentages_with_their_sign() {
        assert_eq!(Limit::parse("7.5%").unwrap(), Limit { part: 0.075, either_way: false });
        assert_eq!(Limit::parse("±15%").unwrap().words(), "±15%");
        assert_eq!(Limit::parse("0.1%").unwrap().words(), "0.1%");
        assert!(Limit::parse("0.2").unwrap_err().contains("0.2%"));
        assert!(Limit::parse("-5%").is_err());
        assert!(parse_threshold("fail=20%").is_err() && parse_threshold("stop:20%").is_err());
    }

    #[test]
    fn an_unknown_figure_is_answered_with_the_nearest() {
        assert!(Subject::parse("p95_latencies").unwrap_err().contains("p95_latency"));
        assert_eq!(
            Subject::parse("ttft_p95"),
            Ok(Subject::Of(Measure::Latency(Metric::Ttft, Statistic::P95)))
        );
    }

    #[test]
    fn thresholds_survive_serialisation() {
        let mut thresholds = Thresholds::default();
        thresholds.set(Subject::Latency(Statistic::P99), parse_threshold("fail:50%,warn:±20%").unwrap());
        let text = serde_json::to_string(&thresholds).unwrap();
        assert_eq!(serde_json::from_str::<Thresholds>(&text).unwrap(), thresholds);
    }
}
