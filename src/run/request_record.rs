//! What is known of one request, as `benchlet measure` writes it the moment the request ends. Times
//! are microseconds of a monotonic clock that starts with the case; a request's own are after its
//! `sent`. Everything else is computed from these records and nothing else.

use serde::{Deserialize, Serialize};

/// A line of `records.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Line {
    Target(TargetFacts),
    Started(CaseStarted),
    Request(Record),
    /// What else is known of a conversation's turn; its request's line stands before it.
    Turn(TurnEnded),
    /// A conversation that was not begun.
    Skipped(CaseSkipped),
    Ended(CaseEnded),
    Counted(CountedTokens),
}

/// What a target said of itself before the first request.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TargetFacts {
    /// Index in the plan.
    pub target: usize,
    pub url: String,
    /// As it was asked for, else as the server named it first.
    pub model: Option<String>,
    /// Every model that it offers.
    pub models: Vec<String>,
    pub version: Option<String>,
    /// Tokens.
    pub context_window: Option<u64>,
    /// Requests that it serves at a time.
    pub slots: Option<u32>,
    pub model_size_bytes: Option<u64>,
    pub model_params: Option<String>,
    /// It is benchlet's own mock server, by what it says.
    #[serde(default)]
    pub simulated: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaseStarted {
    /// Index in the plan's cases.
    pub index: usize,
    /// Of the wall clock, for people and for joining the series.
    pub unix_ms: i64,
    /// Client threads.
    pub threads: u32,
    pub model: Option<String>,
    /// What was done about caches: `salted`, `flushed`, `kept`, or why flushing failed.
    pub cache: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaseEnded {
    pub index: usize,
    pub unix_ms: i64,
    /// From the clock's start to the last request's end.
    pub wall_us: u64,
    /// CPU time of the client's threads together, user and system.
    pub client_cpu_us: u64,
    /// Of the busiest thread.
    pub busiest_thread_cpu_us: u64,
    /// Stopped before all its requests were done.
    pub cut_short: bool,
    /// Why a conversation ended before its last turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early: Option<EndedEarly>,
}

/// Why a conversation does not go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EndedEarly {
    /// The next turn, counted from 1, may need more tokens than the context has.
    ContextFull { turn: u32, needed_tokens: u64, context_window: u64 },
    /// There is no answer to go on from; the request's own error says why.
    TurnFailed { turn: u32 },
}

/// A turn beside its request.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TurnEnded {
    /// Index in the plan's cases.
    pub index: usize,
    /// From 0.
    pub n: u64,
    /// In the context at this turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub documents: Vec<String>,
    /// Prompt tokens that the engine's own metrics counted for it, and those of them out of its prefix cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_prompt_tokens: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_cached_tokens: Option<u64>,
}

/// A conversation that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseSkipped {
    /// Index in the plan's cases.
    pub index: usize,
    /// At its largest, with every answer at its longest.
    pub needed_tokens: u64,
    pub context_window: u64,
    /// By the server's own count; else by the length of its texts.
    pub counted: bool,
    pub model: Option<String>,
}

/// Tokens of a request whose answer told none, counted once its case had ended. A record of its own, as
/// the request's was written when it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedTokens {
    /// Index in the plan's cases.
    #[serde(rename = "c")]
    pub index: usize,
    /// The request's.
    pub n: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_in: Option<u64>,
    pub tokens_out: u64,
    pub source: TokenSource,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Record {
    /// Index in the plan's cases.
    #[serde(rename = "c")]
    pub index: usize,
    /// From 0, in the order of schedule.
    pub n: u64,
    /// Does not count.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub warmup: bool,
    /// When it should have been sent, after the case's start.
    pub scheduled_us: u64,
    /// When its first byte was handed to the kernel, after the case's start.
    pub sent_us: u64,
    /// After `sent`: the first byte of the answer's head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_us: Option<u64>,
    /// After `sent`: the first chunk of any kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_chunk_us: Option<u64>,
    /// After `sent`: the first non-empty content, reasoning or tool text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_token_us: Option<u64>,
    /// After `sent`: the first content that is no reasoning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_output_us: Option<u64>,
    /// After `sent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_token_us: Option<u64>,
    /// After `sent`: the end of the answer, or the failure.
    pub end_us: u64,
    /// Times of the chunks that carried text: the first after `sent`, each later one after the one
    /// before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chunks: Vec<u32>,
    /// New tokens in each of these, where the server says so; else empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chunk_tokens: Vec<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_in: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_out: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_cached: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_source: Option<TokenSource>,
    /// Most tokens that it asked for.
    pub max_tokens: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RequestError>,
    /// The server's own times, where it tells them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerTimings>,
    /// Characters of the answer, reasoning included.
    #[serde(default)]
    pub chars: u64,
    /// The answer: of samples, and of every turn of a conversation, there without its reasoning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The connection was opened for this request, not before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reconnected: bool,
}

/// Where token counts come from, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TokenSource {
    /// `usage` of the answer.
    Usage,
    /// The engine's own counters (`timings`, `eval_count`).
    Engine,
    /// The server's `/tokenize`, asked for after the case.
    Tokenize,
    /// A tokenizer here.
    Tokenizer,
    /// Nothing but chunks were counted; they are not tokens.
    Chunks,
}

impl TokenSource {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Engine => "engine",
            Self::Tokenize => "tokenize",
            Self::Tokenizer => "tokenizer",
            Self::Chunks => "chunks",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestError {
    pub kind: ErrorKind,
    pub message: String,
}

/// How a request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ErrorKind {
    Connect,
    /// No token came within the time.
    TimeoutFirstToken,
    /// Tokens came, the end did not.
    TimeoutStream,
    /// Not 2xx; the code is in `status`.
    HttpStatus,
    /// The connection ended before the answer did.
    CutStream,
    /// An answer that its format does not allow.
    BadPayload,
    /// An error that the server sent inside the stream.
    ServerError,
    /// The run was stopped.
    Cancelled,
    /// Another tool measured it and does not say how it failed.
    Unknown,
}

impl ErrorKind {
    pub const ALL: [Self; 9] = [
        Self::Connect,
        Self::TimeoutFirstToken,
        Self::TimeoutStream,
        Self::HttpStatus,
        Self::CutStream,
        Self::BadPayload,
        Self::ServerError,
        Self::Cancelled,
        Self::Unknown,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::TimeoutFirstToken => "timeoutFirstToken",
            Self::TimeoutStream => "timeoutStream",
            Self::HttpStatus => "httpStatus",
            Self::CutStream => "cutStream",
            Self::BadPayload => "badPayload",
            Self::ServerError => "serverError",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
        }
    }
}

/// A server's own account of a request.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct ServerTimings {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefill_ms: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decode_ms: Option<f64>,
    /// Prompt tokens out of its cache by its own counters, beside what `usage` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<u64>,
}
