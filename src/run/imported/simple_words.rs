//! What the keys of scripts mean: `p95_latency_ms`, `meanLatencySeconds`, `error_rate_pct`. A key is taken
//! apart into words; whatever has a word that is not known here means nothing. Looks at keys alone.

use crate::request::load_test::Metric;

/// What a key names. Scales make seconds, milliseconds or fractions of the value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Key {
    Total,
    Ok,
    Failed,
    Concurrency,
    DurationS(f64),
    RequestsPerS,
    OutputTokensPerS,
    TokensIn,
    TokensOut,
    ErrorRate(f64),
    SuccessRate(f64),
    /// `throughput` by itself: of requests or of tokens.
    Throughput,
    Latency(Latency),
    Word(Word),
    /// An object whose keys mean what they mean outside of it.
    Container,
    Unknown,
}

/// A text or a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    Time,
    Target,
    Model,
    Engine,
    Name,
    Simulated,
    Unit,
}

/// What a key says of a latency; what it leaves open, the object around it may say.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Latency {
    pub metric: Option<Metric>,
    pub part: Option<Part>,
    /// Milliseconds in one of its unit.
    pub unit: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Min,
    Mean,
    P50,
    P90,
    P95,
    P99,
    Max,
    Stddev,
}

pub fn key(text: &str) -> Key {
    let words = words(text);
    let joined = words.join("_");
    match joined.as_str() {
        "requests" | "total_requests" | "num_requests" | "request_count" | "requests_total"
        | "n_requests" | "total" | "number_of_requests" => Key::Total,
        "ok"
        | "successful"
        | "successful_requests"
        | "success_count"
        | "successes"
        | "success"
        | "succeeded"
        | "completed"
        | "completed_requests"
        | "requests_ok"
        | "num_successful"
        | "requests_successful" => Key::Ok,
        "failed" | "failed_requests" | "failures" | "failure_count" | "error_count" | "errors"
        | "num_errors" | "num_failed" | "failed_count" | "requests_failed" | "total_errors" => Key::Failed,
        "concurrency"
        | "workers"
        | "num_workers"
        | "users"
        | "concurrent_users"
        | "clients"
        | "num_clients"
        | "concurrent_requests"
        | "max_concurrency"
        | "parallelism"
        | "num_concurrent" => Key::Concurrency,
        "duration_s"
        | "duration_sec"
        | "duration_secs"
        | "duration_seconds"
        | "total_time_s"
        | "total_time_sec"
        | "total_time_seconds"
        | "elapsed_s"
        | "elapsed_sec"
        | "elapsed_seconds"
        | "wall_time_s"
        | "wall_time_seconds"
        | "total_duration_s"
        | "total_duration_seconds"
        | "test_duration_s"
        | "test_duration_seconds" => Key::DurationS(1.0),
        "duration_ms" | "total_time_ms" | "elapsed_ms" | "wall_time_ms" | "total_duration_ms" => {
            Key::DurationS(1e-3)
        }
        "throughput_rps"
        | "rps"
        | "qps"
        | "requests_per_second"
        | "requests_per_sec"
        | "requests_per_s"
        | "requests_s"
        | "req_per_sec"
        | "req_per_s"
        | "req_s"
        | "reqs_per_sec"
        | "throughput_req_s"
        | "throughput_req_per_s"
        | "throughput_req_per_sec"
        | "throughput_requests_per_second"
        | "throughput_requests_per_sec"
        | "request_throughput"
        | "rate_req_per_sec"
        | "throughput_qps" => Key::RequestsPerS,
        "avg_tokens_per_sec"
        | "tokens_per_second"
        | "tokens_per_sec"
        | "tokens_per_s"
        | "tok_per_s"
        | "tok_s"
        | "tokens_s"
        | "toks_per_sec"
        | "output_tokens_per_second"
        | "output_tokens_per_sec"
        | "output_tokens_per_s"
        | "avg_tokens_per_second"
        | "throughput_tokens_per_second"
        | "throughput_tok_s"
        | "throughput_tokens_per_sec"
        | "mean_tokens_per_sec"
        | "token_throughput"
        | "output_throughput"
        | "completion_tokens_per_second"
        | "generated_tokens_per_second" => Key::OutputTokensPerS,
        "total_input_tokens" | "total_prompt_tokens" | "input_tokens_total" | "prompt_tokens_total" => {
            Key::TokensIn
        }
        "total_output_tokens"
        | "total_completion_tokens"
        | "output_tokens_total"
        | "total_generated_tokens"
        | "completion_tokens_total" => Key::TokensOut,
        "error_rate" | "failure_rate" | "error_fraction" => Key::ErrorRate(1.0),
        "error_rate_pct"
        | "error_rate_percent"
        | "error_percent"
        | "error_pct"
        | "failure_rate_pct"
        | "failure_rate_percent"
        | "error_percentage" => Key::ErrorRate(0.01),
        "success_rate" | "success_fraction" => Key::SuccessRate(1.0),
        "success_rate_pct"
        | "success_rate_percent"
        | "success_percent"
        | "success_pct"
        | "success_percentage" => Key::SuccessRate(0.01),
        "throughput" => Key::Throughput,
        "timestamp" | "date" | "datetime" | "time" | "started_at" | "start_time" | "measured_at"
        | "created_at" => Key::Word(Word::Time),
        "base_url" | "url" | "endpoint" | "target" | "host" | "api_url" | "server" => Key::Word(Word::Target),
        "model" | "model_name" | "model_id" => Key::Word(Word::Model),
        "engine" | "backend" => Key::Word(Word::Engine),
        "name" | "label" | "benchmark" | "test_name" => Key::Word(Word::Name),
        "simulated" => Key::Word(Word::Simulated),
        "unit" | "units" => Key::Word(Word::Unit),
        "results" | "result" | "summary" | "metrics" | "stats" | "statistics" | "load" | "overall"
        | "aggregate" | "aggregated" | "totals" | "counts" | "performance" | "rates" | "config"
        | "configuration" | "parameters" | "params" | "throughputs" => Key::Container,
        _ => latency(&words).map_or(Key::Unknown, Key::Latency),
    }
}

/// A key of which every word belongs to a latency.
fn latency(words: &[String]) -> Option<Latency> {
    let mut found = Latency::default();
    let mut words = words.iter().map(String::as_str).peekable();
    while let Some(word) = words.next() {
        match word {
            "min" | "minimum" => found.part = Some(Part::Min),
            "mean" | "avg" | "average" => found.part = Some(Part::Mean),
            "p50" | "median" | "med" | "50th" => found.part = Some(Part::P50),
            "p90" | "90th" => found.part = Some(Part::P90),
            "p95" | "95th" => found.part = Some(Part::P95),
            "p99" | "99th" => found.part = Some(Part::P99),
            "max" | "maximum" => found.part = Some(Part::Max),
            "stddev" | "stdev" => found.part = Some(Part::Stddev),
            "std" | "standard" => {
                found.part = Some(Part::Stddev);
                words.next_if(|next| matches!(*next, "dev" | "deviation"));
            }
            "ttft" => found.metric = Some(Metric::Ttft),
            "tpot" => found.metric = Some(Metric::Tpot),
            "itl" => found.metric = Some(Metric::Itl),
            "latency" | "latencies" | "e2e" | "e2el" => found.metric = Some(Metric::E2e),
            "response" => {
                words.next_if(|next| matches!(*next, "time" | "times"))?;
                found.metric = Some(Metric::E2e);
            }
            "ms" | "millis" | "milliseconds" | "msec" => found.unit = Some(1.0),
            "s" | "sec" | "secs" | "seconds" => found.unit = Some(1e3),
            "us" | "microseconds" => found.unit = Some(1e-3),
            "ns" | "nanoseconds" => found.unit = Some(1e-6),
            "percentile" | "percentiles" | "request" => {}
            _ => return None,
        }
    }
    (found.metric.is_some() || found.part.is_some() || found.unit.is_none()).then_some(found)
}

/// `p95LatencyMs`, `p95-latency (ms)` → `p95`, `latency`, `ms`.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut before: Option<char> = None;
    for c in text.chars() {
        let begins = c.is_ascii_uppercase() && before.is_some_and(|before| !before.is_ascii_uppercase());
        if !c.is_ascii_alphanumeric() || begins {
            words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
        }
        if c.is_ascii_alphanumeric() {
            word.push(c.to_ascii_lowercase());
        }
        before = Some(c);
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(metric: Option<Metric>, part: Option<Part>, unit: Option<f64>) -> Key {
        Key::Latency(Latency { metric, part, unit })
    }

    #[test]
    fn one_meaning_has_many_spellings() {
        for text in
            ["p95_latency_ms", "latency_p95_ms", "p95LatencyMs", "Latency P95 (ms)", "latency-95th-ms"]
        {
            assert_eq!(key(text), of(Some(Metric::E2e), Some(Part::P95), Some(1.0)), "{text}");
        }
        assert_eq!(key("mean_ttft_s"), of(Some(Metric::Ttft), Some(Part::Mean), Some(1e3)));
        assert_eq!(key("std_dev"), of(None, Some(Part::Stddev), None));
        assert_eq!(key("latency_seconds"), of(Some(Metric::E2e), None, Some(1e3)));
        assert_eq!(key("percentiles"), of(None, None, None));
        assert_eq!([key("requests"), key("total_requests")], [Key::Total; 2]);
        assert_eq!(key("error_rate_pct"), Key::ErrorRate(0.01));
    }

    #[test]
    fn a_key_with_a_word_that_is_not_known_means_nothing() {
        for text in ["p95_cpu_ms", "timeout_s", "gpu", "p999_latency_ms", "tps", "warmup_requests", "ms"] {
            assert_eq!(key(text), Key::Unknown, "{text}");
        }
    }
}
