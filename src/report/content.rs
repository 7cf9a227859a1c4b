//! What a report says, as one plain structure; every format shows it, and JSON is it. Holds and names
//! things only: `gather` fills it from the store, `outline` puts it in order for people. Null is unknown.

use serde::Serialize;
use serde_json::Value;

use crate::run::fingerprint::Fingerprint;
use crate::run::load_case::LoadCase;
use crate::run::request_record::{ErrorKind, TokenSource};
use crate::stats::summary::Summary;

/// The form of the JSON report; `config/schema/report.json` describes it.
pub const SCHEMA: &str = "benchlet/report/v1";

/// The report on one ended run.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub schema: &'static str,
    pub request: Request,
    pub run: Run,
    /// Every figure is made up.
    pub simulated: bool,
    pub summary: RunSummary,
    pub results: Results,
    /// The headline figure over the request's last runs, oldest first, this one included. Simulated runs
    /// are in it only where this one is simulated too.
    pub history: Vec<Past>,
    pub configuration: Configuration,
    /// Last lines of output.
    pub tail: Option<String>,
    /// The machine that benchlet ran on.
    pub system: Option<Fingerprint>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    pub name: String,
    pub path: String,
    pub kind: &'static str,
    pub generation: u64,
    pub spec_hash: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    pub id: String,
    pub phase: &'static str,
    pub reason: String,
    pub message: String,
    pub hint: Option<String>,
    /// From 1.
    pub attempt: u32,
    /// UTC, RFC 3339, as are the others.
    pub created_at: String,
    pub started_at: Option<String>,
    pub completed_at: Option<String>,
    pub took_ms: Option<u64>,
}

impl Run {
    /// The beginning of the id that lists and file names show.
    pub fn short_id(&self) -> &str {
        self.id.get(..8).unwrap_or(&self.id)
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct RunSummary {
    /// What stands for the whole run, in words.
    pub headline: Option<String>,
    pub conditions: Vec<Condition>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub status: &'static str,
    pub reason: String,
    pub message: String,
}

/// What was measured. A kind to come adds its variant, and the compiler says where else.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind")]
pub enum Results {
    LlamaBench {
        cases: Vec<BenchCase>,
    },
    LoadTest {
        cases: Vec<LoadCaseReport>,
    },
    /// A case is a conversation, its requests the turns.
    Conversation {
        cases: Vec<LoadCaseReport>,
    },
}

/// A cell of a llama-bench matrix. Rates are in tokens per second.
#[derive(Debug, Clone, Serialize)]
pub struct BenchCase {
    /// From 1.
    pub case: u32,
    /// llama-bench's short name, `pp512`.
    pub test: String,
    /// The columns that differ among the run's cases, as text.
    pub varied: Vec<(String, String)>,
    pub avg_ts: Option<f64>,
    pub median_ts: Option<f64>,
    pub stddev_ts: Option<f64>,
    /// Of the pooled repetitions, its percentiles with their intervals.
    pub summary: Option<Summary>,
    /// By launch.
    pub samples_ts: Vec<Vec<f64>>,
    /// Launches, from 0, whose first repetition was slow.
    pub slow_first: Vec<usize>,
}

impl BenchCase {
    /// `pp512 n_batch=1024`.
    pub fn label(&self) -> String {
        let varied = self.varied.iter().map(|(column, value)| format!(" {column}={value}"));
        std::iter::once(self.test.clone()).chain(varied).collect()
    }

    /// Each test once, in the order of the cases.
    pub fn tests(cases: &[Self]) -> Vec<&str> {
        let mut tests: Vec<&str> = Vec::new();
        for case in cases {
            if !tests.contains(&case.test.as_str()) {
                tests.push(&case.test);
            }
        }
        tests
    }
}

/// A load test's case with what the store keeps beside its figures.
#[derive(Debug, Clone, Serialize)]
pub struct LoadCaseReport {
    pub label: String,
    pub figures: LoadCase,
    /// Every request, warm-ups included, in the order of repeat and schedule.
    pub requests: Vec<RequestRow>,
    /// Indices into `requests`: the slowest by the time from their schedule to their end, slowest first.
    pub slowest: Vec<usize>,
    pub series: Vec<Series>,
    /// Of a conversation: what the user says at each turn.
    pub said: Vec<String>,
}

impl LoadCaseReport {
    /// The requests that count and succeeded.
    pub fn succeeded(&self) -> impl Iterator<Item = &RequestRow> {
        self.requests.iter().filter(|row| !row.warmup && row.error.is_none())
    }
}

/// One request. Times in milliseconds; `scheduled` and `sent` are after the start of the case's repeat.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RequestRow {
    /// From 1.
    pub repeat: u32,
    /// From 0, in the order of schedule.
    pub n: u64,
    pub warmup: bool,
    pub scheduled_ms: f64,
    pub sent_ms: f64,
    /// Sent − scheduled: how late the client was.
    pub client_delay_ms: f64,
    /// From sent to the first token.
    pub ttft_ms: Option<f64>,
    pub tpot_ms: Option<f64>,
    /// From sent to the last token.
    pub e2e_ms: Option<f64>,
    /// From its schedule to its end, whatever the end was.
    pub total_ms: f64,
    /// The server's own account, where it gives one.
    pub prefill_ms: Option<f64>,
    pub decode_ms: Option<f64>,
    pub tokens_in: Option<u64>,
    pub tokens_out: Option<u64>,
    pub tokens_cached: Option<u64>,
    /// The same by the engine's own timings.
    pub engine_cached: Option<u64>,
    pub token_source: Option<TokenSource>,
    pub finish_reason: Option<String>,
    pub status: Option<u16>,
    pub error: Option<ErrorKind>,
    pub message: Option<String>,
    /// Characters of the answer.
    pub chars: u64,
    /// The answer itself, of samples and of a conversation's turns.
    pub text: Option<String>,
    pub reconnected: bool,
}

impl RequestRow {
    /// Where its time went, in the order in which it passed: late client, wait for the first token,
    /// prefill by the server's account, first to last token, the rest to its end. The wait is the time to
    /// the first token without the prefill, where that is told; unknown parts are absent.
    pub fn parts(&self) -> [Option<f64>; 5] {
        let Some(ttft) = self.ttft_ms else {
            let rest = (self.total_ms - self.client_delay_ms).max(0.0);
            return [Some(self.client_delay_ms), None, None, None, Some(rest)];
        };
        // A server's clock may count what lies before the request's arrival here.
        let prefill = self.prefill_ms.map(|prefill| prefill.min(ttft));
        let decode = self.e2e_ms.map(|e2e| (e2e - ttft).max(0.0));
        let told = self.client_delay_ms + ttft + decode.unwrap_or(0.0);
        [
            Some(self.client_delay_ms),
            Some(ttft - prefill.unwrap_or(0.0)),
            prefill,
            decode,
            Some((self.total_ms - told).max(0.0)),
        ]
    }

    /// The names of [`RequestRow::parts`].
    pub const PARTS: [&'static str; 5] =
        ["client late", "wait for the first token", "prefill (server's account)", "decode", "rest"];
}

/// One metric of the system while a case ran.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Series {
    pub name: String,
    /// Milliseconds since the Unix epoch, and the value.
    pub points: Vec<(i64, f64)>,
}

/// What a past run yielded.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Past {
    pub id: String,
    pub generation: u64,
    pub phase: &'static str,
    pub completed_at: Option<String>,
    /// What the value is of: `tok/s`, `tg128 t/s`.
    pub metric: Option<String>,
    pub value: Option<f64>,
    pub stddev: Option<f64>,
    /// The case that it is of.
    pub case: Option<String>,
    /// The run of this report.
    pub current: bool,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Configuration {
    pub service: String,
    pub model: Option<String>,
    pub executor: Option<&'static str>,
    pub launches: Option<u32>,
    /// Resolved flags.
    pub params: Vec<(String, String)>,
    pub command: Option<String>,
    /// The request's spec with its defaults filled in.
    pub spec: Value,
    pub warnings: Vec<String>,
    /// Flags of the service that were left out, with the reason.
    pub dropped: Vec<String>,
}
