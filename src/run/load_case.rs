//! What a load test's case yields: the one shape of its figures in status, store, API and exports.
//! Holds and names them; `load_figures` computes them. Null is unknown, and no field is left out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::conversation_case::ConversationFigures;
use super::request_record::{ErrorKind, TokenSource};
use super::series::SeriesSummary;
use crate::request::load_test::{Arrivals, Metric};
use crate::stats::summary::Summary;

/// One cell of the matrix over all its repeats. Rates are per second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadCase {
    /// From 1, in the order of the request.
    pub case: u32,
    pub target: String,
    pub engine: String,
    pub model: Option<String>,
    /// Of a closed loop.
    pub concurrency: Option<u32>,
    /// Of an open loop, as asked for, in requests per second.
    pub rate: Option<f64>,
    pub arrivals: Option<Arrivals>,
    /// Mean length asked of synthetic prompts.
    pub input_tokens: Option<u32>,
    /// Of one repeat, where the case ends after a number of requests.
    pub requests_asked: Option<u32>,
    /// Measured: from the first request's start to the last one's end, all repeats together.
    pub duration_s: Option<f64>,
    /// How percentiles are computed.
    pub percentiles: String,
    /// Milliseconds.
    pub metrics: Metrics,
    pub requests: Requests,
    /// Fractions of all requests, 0 to 1.
    pub success_rate: Option<f64>,
    pub error_rate: Option<f64>,
    pub tokens: Tokens,
    pub throughput: Throughput,
    /// Requests per second that meet every objective; null without objectives and where a request
    /// cannot be judged.
    pub goodput: Option<f64>,
    /// Of all requests, failed ones included, 0 to 1; null where `goodput` is.
    pub good_fraction: Option<f64>,
    /// By the objective's name, `ttft_p95`.
    pub slo: BTreeMap<String, ObjectiveResult>,
    /// `invalid` is empty.
    pub valid: bool,
    pub invalid: Vec<Invalid>,
    pub client: Client,
    /// What was done about caches; of repeats that differ, each.
    pub cache: Option<String>,
    pub system: BTreeMap<String, SeriesSummary>,
    pub samples: Vec<SampleAnswer>,
    /// Figures of each repeat; empty where there is one.
    pub repeats: Vec<RepeatFigures>,
    /// Tokens, as the server says.
    pub context_window: Option<u64>,
    /// Where the request says what the machine costs.
    #[serde(default)]
    pub cost: Option<Cost>,
    /// Of `kind: Conversation`: what its turns yielded.
    #[serde(default)]
    pub conversation: Option<ConversationFigures>,
    /// The figures are made up by the simulated engine.
    pub simulated: bool,
}

/// What was measured, in the currency of the request's `cost`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    pub per_hour: f64,
    /// per_hour ÷ successful requests in an hour × 1,000.
    pub per_thousand_requests: Option<f64>,
    /// per_hour ÷ generated tokens in an hour × 1,000,000.
    pub per_million_output_tokens: Option<f64>,
}

impl Cost {
    /// What requests and tokens cost at a case's throughput.
    pub fn of(per_hour: f64, throughput: &Throughput) -> Self {
        let each = |rate: Option<f64>, count: f64| {
            rate.filter(|rate| *rate > 0.0).map(|rate| per_hour / (rate * 3_600.0) * count)
        };
        Self {
            per_hour,
            per_thousand_requests: each(throughput.requests_per_s, 1e3),
            per_million_output_tokens: each(throughput.output_tokens_per_s, 1e6),
        }
    }
}

/// Latencies of the successful requests in milliseconds; `client_delay` of all that were sent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Metrics {
    pub ttft: Option<Summary>,
    pub ttfr: Option<Summary>,
    pub ttfo: Option<Summary>,
    pub tpot: Option<Summary>,
    /// Without intervals, as the gaps of one answer depend on each other; so is `icl`.
    pub itl: Option<Summary>,
    pub icl: Option<Summary>,
    pub e2e: Option<Summary>,
    pub response_time: Option<Summary>,
    pub client_delay: Option<Summary>,
    pub ntpot: Option<Summary>,
}

impl Metrics {
    pub fn get(&self, metric: Metric) -> Option<&Summary> {
        match metric {
            Metric::Ttft => self.ttft.as_ref(),
            Metric::Ttfr => self.ttfr.as_ref(),
            Metric::Ttfo => self.ttfo.as_ref(),
            Metric::Tpot => self.tpot.as_ref(),
            Metric::Itl => self.itl.as_ref(),
            Metric::Icl => self.icl.as_ref(),
            Metric::E2e => self.e2e.as_ref(),
            Metric::ResponseTime => self.response_time.as_ref(),
            Metric::ClientDelay => self.client_delay.as_ref(),
            Metric::Ntpot => self.ntpot.as_ref(),
        }
    }
}

/// Counts of requests, warm-ups apart.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Requests {
    pub total: u64,
    pub ok: u64,
    pub failed: u64,
    /// Of the failed ones; only kinds that occurred.
    pub errors: BTreeMap<ErrorKind, u64>,
    /// The first message of each kind of failure.
    #[serde(default)]
    pub messages: BTreeMap<ErrorKind, String>,
    /// The `httpStatus` errors by their code.
    pub http_status: BTreeMap<u16, u64>,
    /// Of the successful ones, as the server called them; only those that it told.
    pub finish_reasons: BTreeMap<String, u64>,
}

/// Sums over the successful requests; null where one of them lacks the count.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Tokens {
    #[serde(rename = "in")]
    pub input: Option<u64>,
    /// Null where only chunks were counted.
    #[serde(rename = "out")]
    pub output: Option<u64>,
    /// Prompt tokens that came out of a cache.
    pub cached: Option<u64>,
    /// The worst one of any request.
    pub source: Option<TokenSource>,
    /// 100 · Σ cached ÷ Σ in, over the requests that tell both.
    pub cache_hit_percent: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Throughput {
    /// Successful ones.
    pub requests_per_s: Option<f64>,
    pub output_tokens_per_s: Option<f64>,
    pub input_tokens_per_s: Option<f64>,
    pub plateau: Option<Plateau>,
}

/// The part of a closed loop between the first and the last moment with at least 0.95 of the
/// concurrency in flight: without start and end, when the server has less to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plateau {
    pub seconds: f64,
    pub requests_per_s: f64,
    pub output_tokens_per_s: Option<f64>,
}

/// What became of an objective.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObjectiveResult {
    pub at_most_ms: f64,
    /// The case's own, in milliseconds.
    pub value: Option<f64>,
    pub met: Option<bool>,
}

/// Why a case's figures are not to be trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invalid {
    pub reason: InvalidReason,
    /// One sentence: the figure, its limit, what to do.
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum InvalidReason {
    ClientLate,
    ClientBusy,
    ErrorRate,
    CacheHits,
    OutputLength,
    CutShort,
    NoSuccess,
    BrokenAnswers,
}

/// How the measuring client itself did.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Client {
    /// Sent − scheduled, in milliseconds.
    pub delay_p50: Option<f64>,
    pub delay_p95: Option<f64>,
    pub delay_max: Option<f64>,
    /// Of the busiest thread, of one core; the worst repeat's.
    pub cpu_percent_of_a_thread: Option<f64>,
    pub threads: Option<u32>,
    /// Open loops: (requests − 1) ÷ the time between the first and the last one's schedule. Off the
    /// rate by the chance of arrivals and by the ramp.
    pub requests_asked_per_s: Option<f64>,
    /// The same by the times at which they were sent.
    pub achieved_per_s: Option<f64>,
}

/// One answer that was kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleAnswer {
    pub text: String,
    pub chars: u64,
    pub tokens_out: Option<u64>,
    pub finish_reason: Option<String>,
    /// 0 to 1: 1 − distinct ÷ all runs of four words; null below eight words.
    pub repetition: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RepeatFigures {
    /// From 1.
    pub repeat: u32,
    /// Milliseconds.
    pub ttft_p50: Option<f64>,
    pub tpot_p50: Option<f64>,
    pub output_tokens_per_s: Option<f64>,
    pub requests_per_s: Option<f64>,
}

impl LoadCase {
    /// The case for a table's row, `c=5 p=512 openai/qwen`: concurrency or rate, and prompt tokens,
    /// where they were asked for; last the target with its model. Of a conversation its name and its cache. Cases that differ in their number of
    /// requests alone are called the same.
    pub fn label(&self) -> String {
        let mut parts = Vec::new();
        if let Some(held) = &self.conversation {
            let target = match &self.model {
                Some(model) => format!("{}/{}", self.target, short_model(model)),
                None => self.target.clone(),
            };
            return format!("{} {} {target}", held.name, held.prefix_cache.as_str());
        }
        parts.extend(self.concurrency.map(|concurrency| format!("c={concurrency}")));
        parts.extend(self.rate.map(|rate| format!("r={rate}/s")));
        parts.extend(self.input_tokens.map(|tokens| format!("p={tokens}")));
        parts.push(match &self.model {
            Some(model) => format!("{}/{}", self.target, short_model(model)),
            None => self.target.clone(),
        });
        parts.join(" ")
    }
}

/// The file's name where a model is called by its path.
fn short_model(model: &str) -> &str {
    if model.starts_with('/') { model.rsplit('/').next().unwrap_or(model) } else { model }
}
