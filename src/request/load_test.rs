//! `kind: LoadTest`: HTTP load on one or several inference servers; and what `kind: Conversation`, which
//! speaks to the same servers, has in common with it.

use serde::{Deserialize, Serialize};

use super::conversation::Conversations;
use super::flags::Param;
use super::llama_bench::{Conflict as DeviceConflict, ExecutorChoice, PullPolicy};

/// The spec with its defaults filled in. Times are in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadTest {
    /// At least one.
    pub targets: Vec<Target>,
    pub prompts: Prompts,
    pub output: Output,
    pub load: Load,
    /// Requests before each case that do not count.
    pub warmup: u32,
    pub request_timeout_ms: u64,
    /// Answers are streamed; without it there is no time to first token.
    pub stream: bool,
    pub slo: Vec<Objective>,
    /// Sample responses kept a case.
    pub samples: u32,
    pub cost: Option<Cost>,
    /// A `tokenizer.json`, relative to the request: counts tokens where neither an answer nor its server does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
    pub validity: ValidityLimits,
    pub order: CaseOrder,
    /// Seeds the order of cases, arrivals, prompts and salts.
    pub seed: u64,
    /// Between two cases.
    pub pause_ms: u64,
    pub cache: CachePolicy,
    /// The whole matrix so many times, interleaved.
    pub repeats: u32,
    /// Client threads; `None`: by the machine and the load.
    pub threads: Option<u32>,
    pub conflict: Conflict,
    pub executor: ExecutorChoice,
    pub image_pull_policy: PullPolicy,
    /// Longest time for a managed engine to become healthy.
    pub engine_start_timeout_ms: u64,
}

/// One engine to measure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// As results call it; the service's name, else engine and address where it is left out.
    pub name: Option<String>,
    /// `None`: by the service's kind, or OpenAI-compatible for a bare URL.
    pub engine: Option<Engine>,
    pub place: TargetPlace,
    /// Empty: the model that the server names first.
    pub models: Vec<String>,
    pub api: Api,
    /// For a managed service: a set of flags over the service's own.
    pub preset: Option<EnginePreset>,
    /// For a managed service: flags over the service's own and the preset's, spelled for its server.
    pub params: Vec<Param>,
}

/// How to speak to a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Engine {
    LlamaCpp,
    Ollama,
    Vllm,
    OpenAi,
    /// benchlet's own stand-in.
    Simulated,
    /// `[engines.NAME]` of the settings.
    Custom(String),
}

impl LoadTest {
    /// What `kind: Conversation` asks for.
    pub fn conversations(&self) -> Option<&Conversations> {
        match &self.prompts {
            Prompts::Conversations(conversations) => Some(conversations),
            Prompts::Builtin | Prompts::Inline(_) | Prompts::File(_) | Prompts::Synthetic(_) => None,
        }
    }
}

impl Engine {
    /// The names that are not custom, as requests spell them.
    pub const NAMES: [&'static str; 5] = ["llama.cpp", "ollama", "vllm", "openai", "simulated"];

    pub fn from_name(name: &str) -> Self {
        match name {
            "llama.cpp" => Self::LlamaCpp,
            "ollama" => Self::Ollama,
            "vllm" => Self::Vllm,
            "openai" => Self::OpenAi,
            "simulated" => Self::Simulated,
            other => Self::Custom(other.to_owned()),
        }
    }

    pub fn as_str(&self) -> &str {
        match self {
            Self::LlamaCpp => "llama.cpp",
            Self::Ollama => "ollama",
            Self::Vllm => "vllm",
            Self::OpenAi => "openai",
            Self::Simulated => "simulated",
            Self::Custom(name) => name,
        }
    }

    /// The port where a server of the kind listens unless told otherwise.
    pub fn default_port(&self) -> Option<u16> {
        match self {
            Self::LlamaCpp => Some(8080),
            Self::Ollama => Some(11434),
            Self::Vllm | Self::OpenAi => Some(8000),
            Self::Simulated | Self::Custom(_) => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum TargetPlace {
    /// `http://host:port` or `https://…`, without a trailing slash; a path is kept as a prefix.
    Url(String),
    /// On this machine, at the engine's usual port.
    UsualPort,
    /// A service of the catalogue that runs already.
    Running { service: String },
    /// A service of the catalogue, started for the run and removed after it.
    Managed { service: String },
    /// benchlet's own stand-in, started for the run.
    Simulated(Simulation),
}

/// How the simulated engine answers. Times in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Simulation {
    /// `llama.cpp`, `ollama`, `vllm` or `openai`.
    pub dialect: String,
    pub ttft_ms: f64,
    /// On top of it, for each prompt token that is not in the cache.
    #[serde(default)]
    pub prefill_ms: f64,
    pub itl_ms: f64,
    /// Standard deviation of both, in percent of each.
    pub jitter_percent: f64,
    /// Share of requests answered with an error, in percent.
    pub error_percent: f64,
    /// Share of streams cut in the middle, in percent.
    pub cut_percent: f64,
    pub tokens_per_chunk: u32,
    /// Requests served at a time; the others wait. 0: all.
    pub slots: u32,
}

impl Default for Simulation {
    fn default() -> Self {
        Self {
            dialect: "openai".to_owned(),
            ttft_ms: 50.0,
            prefill_ms: 0.0,
            itl_ms: 10.0,
            jitter_percent: 0.0,
            error_percent: 0.0,
            cut_percent: 0.0,
            tokens_per_chunk: 1,
            slots: 0,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Api {
    #[default]
    Chat,
    Completions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnginePreset {
    /// One user at a time, lowest latency.
    SingleUser,
    /// Starts fast and small.
    Debug,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Prompts {
    Builtin,
    Inline(Vec<Prompt>),
    /// JSONL, relative to the request.
    File(String),
    Synthetic(Synthetic),
    /// `kind: Conversation`: one user at a time, and a case is one conversation with all its turns.
    Conversations(Box<Conversations>),
}

/// One prompt with what it asks for itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prompt {
    pub content: Content,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Content {
    Text(String),
    Messages(Vec<Message>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub role: String,
    pub content: String,
}

/// Made-up text of a length in tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Synthetic {
    /// Mean lengths in tokens, without the shared prefix; several make a matrix.
    pub input_tokens: Vec<u32>,
    pub distribution: Distribution,
    /// Tokens that all prompts of a case begin with.
    pub shared_prefix_tokens: u32,
}

/// How lengths vary around their mean.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Distribution {
    Fixed,
    /// Evenly within ± `percent` of the mean.
    Uniform {
        percent: f64,
    },
    /// Standard deviation in percent of the mean; never below one token.
    Normal {
        percent: f64,
    },
    /// The logarithm is normal with this standard deviation; the mean is kept.
    LogNormal {
        sigma: f64,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    pub max_tokens: u32,
    pub temperature: f64,
    /// Go on to `max_tokens` whatever the model says, where the engine can.
    pub ignore_eos: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    pub shape: LoadShape,
    pub amount: Amount,
    /// The workers or the rate grow to the whole over this time, which counts.
    pub ramp_up_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LoadShape {
    /// So many requests in flight, each followed by the next. Several make a matrix.
    Closed { concurrency: Vec<u32> },
    /// Requests arrive at so many a second, whatever the server does. Several make a matrix.
    Open { rates: Vec<f64>, arrivals: Arrivals },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Arrivals {
    #[default]
    Poisson,
    Constant,
}

/// When a case ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Amount {
    /// After so many requests. Several make a matrix.
    Requests(Vec<u32>),
    /// No request begins after this; those in flight are awaited.
    DurationMs(u64),
}

/// `ttft_p95: 500ms`: a figure's upper bound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Objective {
    pub metric: Metric,
    pub statistic: Statistic,
    /// Milliseconds.
    pub at_most_ms: f64,
}

impl Objective {
    /// As requests spell it: `ttft_p95`.
    pub fn name(&self) -> String {
        format!("{}_{}", self.metric.as_str(), self.statistic.as_str())
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant),* }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.as_str() == name)
            }
        }
    };
}

words! {
    /// The latencies of a request, in milliseconds. Definitions: `run::load_figures`.
    Metric {
        /// Time to first token.
        Ttft = "ttft",
        /// Time to first chunk of any kind.
        Ttfr = "ttfr",
        /// Time to first token that is no reasoning.
        Ttfo = "ttfo",
        /// Time per output token after the first.
        Tpot = "tpot",
        /// Inter-token latency, where the tokens of each chunk are known.
        Itl = "itl",
        /// Inter-chunk latency.
        Icl = "icl",
        /// From sent to the last token.
        E2e = "e2e",
        /// From the scheduled time to the last token.
        ResponseTime = "response_time",
        /// From the scheduled time to sent.
        ClientDelay = "client_delay",
        /// End to end by output token.
        Ntpot = "ntpot",
    }
}

words! {
    Statistic {
        Mean = "mean", P50 = "p50", P90 = "p90", P95 = "p95", P99 = "p99", Max = "max",
    }
}

/// What the machine costs, for figures in money.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    pub per_hour: f64,
}

/// Beyond these a run's figures say more about the client than about the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValidityLimits {
    /// Median of sent − scheduled.
    pub client_delay_ms: f64,
    /// Of one core, by client thread.
    pub client_cpu_percent: f64,
    pub error_percent: f64,
    /// Prompt tokens out of a cache that should have been cold.
    pub cache_hit_percent: f64,
    /// Mean output length off the asked one, where the engine was told to go on to it.
    pub output_length_percent: f64,
    /// A conversation's answers that are empty or repeat themselves; those of a load test are not judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken_answers_percent: Option<f64>,
}

impl Default for ValidityLimits {
    fn default() -> Self {
        Self {
            client_delay_ms: 10.0,
            client_cpu_percent: 80.0,
            error_percent: 1.0,
            cache_hit_percent: 1.0,
            output_length_percent: 5.0,
            broken_answers_percent: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum CaseOrder {
    #[default]
    Shuffled,
    AsWritten,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum CachePolicy {
    /// Every prompt begins with words of its own, so that none finds itself in a cache.
    #[default]
    Salt,
    /// The engine is told to forget before each case.
    Flush,
    /// Caches stay as they are.
    Keep,
}

/// What to do where a managed target's service runs already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Conflict {
    /// A second one beside it.
    Share,
    #[default]
    Fail,
    /// Stop it for the run, start it again after.
    Stop,
    /// Measure the one that runs.
    UseRunning,
}

impl Conflict {
    /// The same for what only has to do with devices.
    pub fn on_devices(self) -> DeviceConflict {
        match self {
            Self::Share | Self::UseRunning => DeviceConflict::Share,
            Self::Fail => DeviceConflict::Fail,
            Self::Stop => DeviceConflict::Stop,
        }
    }
}
