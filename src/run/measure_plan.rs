//! What `benchlet measure` is told to do, whole and frozen: it looks nothing up but keys, and the
//! endpoint of an engine that was started for the run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::template_source::TemplateSource;
use crate::request::conversation::{ContextSize, Conversation, Isolation, PrefixCache};
use crate::request::load_test::{Api, Arrivals, CachePolicy, Distribution, Output, Prompt};

/// Version of the plan's form.
pub const MEASURE_VERSION: u32 = 1;
/// The plan's file in the task's folder.
pub const PLAN_FILE: &str = "plan.json";
/// What was measured, one [`super::request_record::Line`] a line.
pub const RECORDS_FILE: &str = "records.jsonl";
/// System metrics, one [`super::series::Sample`] a line.
pub const SERIES_FILE: &str = "series.jsonl";
/// Why measuring ended early: a [`super::reason::Refusal`]. Absent where all went well.
pub const REFUSAL_FILE: &str = "refusal.json";
/// Where an engine that was started for the run listens: an [`EngineAddress`].
pub const ADDRESS_FILE: &str = "address.json";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeasurePlan {
    pub version: u32,
    pub targets: Vec<TargetPlan>,
    /// In the order in which they are measured.
    pub cases: Vec<CasePlan>,
    /// Place of the first of them among all cases of its target; records count from it.
    #[serde(default)]
    pub index_from: usize,
    pub prompts: PromptPlan,
    pub output: Output,
    pub stream: bool,
    /// Requests before each case that do not count.
    pub warmup: u32,
    pub request_timeout_ms: u64,
    pub pause_ms: u64,
    pub cache: CachePolicy,
    /// Answers whose text is kept, a case.
    pub samples: u32,
    /// Seeds prompts and arrivals: the same in every run of the request.
    pub seed: u64,
    /// Seeds salts: another in every run, so that no run finds an earlier one's prompts in a cache.
    pub salt: u64,
    pub threads: Option<u32>,
    /// Between two samples of the system's metrics.
    pub sample_every_ms: u64,
    pub collectors: Vec<CollectorPlan>,
    /// A copy of the user's `tokenizer.json`, by its path relative to the task's folder: counts tokens where
    /// neither an answer nor its server does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetPlan {
    /// Unique in the run.
    pub name: String,
    pub dialect: Dialect,
    pub api: Api,
    pub endpoint: Endpoint,
    pub key: Option<KeySource>,
    /// What it yields is made up.
    pub simulated: bool,
    /// The container to watch, where it is known before.
    pub container: Option<String>,
}

/// The wire's language.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Dialect {
    LlamaCpp,
    Ollama,
    Vllm,
    OpenAi,
    Custom(Box<CustomEngine>),
}

impl Dialect {
    pub fn as_str(&self) -> &str {
        match self {
            Self::LlamaCpp => "llama.cpp",
            Self::Ollama => "ollama",
            Self::Vllm => "vllm",
            Self::OpenAi => "openai",
            Self::Custom(custom) => &custom.name,
        }
    }
}

/// `[engines.NAME]` of the settings: a server that speaks JSON in its own way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CustomEngine {
    #[serde(default)]
    pub name: String,
    /// Where it listens unless a request says otherwise.
    pub port: Option<u16>,
    /// Path that answers 2xx when it is ready.
    pub health: String,
    /// Path that takes a prompt by POST.
    pub generate: String,
    /// JSON with `{{prompt}}`, `{{messages}}`, `{{model}}`, `{{max_tokens}}`, `{{temperature}}`,
    /// `{{stream}}` in place of values.
    pub payload: String,
    pub framing: Framing,
    /// JSON pointers (RFC 6901) into an answer or each of its pieces.
    pub text: String,
    pub tokens_in: Option<String>,
    pub tokens_out: Option<String>,
    pub tokens_cached: Option<String>,
    pub finish_reason: Option<String>,
    /// Path of its Prometheus metrics.
    pub metrics: Option<String>,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

/// How pieces of an answer are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Framing {
    /// Server-sent events.
    Sse,
    /// A JSON value a line.
    Ndjson,
    /// One JSON value in all.
    Json,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Endpoint {
    Url(String),
    /// Started for the run: its spool folder's name beside this task's own, without the attempt that both
    /// begin with.
    Started {
        folder: String,
    },
}

/// What is known of an engine that was started for the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineAddress {
    /// `http://host:port`.
    pub url: String,
    /// The container's full id, for its control group.
    pub container: Option<String>,
    /// The process on this machine.
    pub pid: Option<u32>,
}

/// Where the key for a host is. The key itself is in no plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KeySource {
    Env(String),
    File(String),
    /// The key that a service of the catalogue has in its own command or environment.
    Service(String),
}

/// One cell of the matrix, one repeat of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CasePlan {
    /// Numbers the cell from 1 in the order of the request; repeats of a cell share it.
    pub case: u32,
    /// From 1.
    pub repeat: u32,
    /// Index of the target.
    pub target: usize,
    /// `None`: the one that the server names first.
    pub model: Option<String>,
    pub load: CaseLoad,
    pub amount: CaseAmount,
    pub ramp_up_ms: u64,
    /// Mean tokens of a synthetic prompt, without its shared prefix.
    pub input_tokens: Option<u32>,
    /// Of `kind: Conversation`: which one is held, its turns being the case's requests.
    #[serde(default)]
    pub conversation: Option<CaseConversation>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseConversation {
    /// Index in the plan's conversations.
    pub index: usize,
    pub cache: PrefixCache,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CaseLoad {
    Closed { concurrency: u32 },
    Open { rate: f64, arrivals: Arrivals },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CaseAmount {
    Requests(u32),
    DurationMs(u64),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PromptPlan {
    Builtin,
    Inline(Vec<Prompt>),
    /// A copy of the user's file, by its path relative to the task's folder.
    File(String),
    Synthetic {
        distribution: Distribution,
        shared_prefix_tokens: u32,
    },
    Conversations(ConversationPlan),
}

/// The conversations of a run, chosen and read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConversationPlan {
    /// With the most tokens of each answer filled in.
    pub conversations: Vec<Conversation>,
    pub context_size: ContextSize,
    /// The first so many that fit are held.
    pub most: Option<u32>,
    pub think_time_ms: u64,
    pub isolation: Isolation,
    /// benchlet renders the messages by it; `None`: the server does by its own.
    pub template: Option<TemplatePlan>,
}

/// A chat template that benchlet renders by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplatePlan {
    /// Where it is from, for people.
    pub name: String,
    pub source: TemplateSource,
}

/// `[collectors.NAME]` of the settings: metrics of a Prometheus endpoint that join the series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectorPlan {
    pub name: String,
    pub url: String,
    /// Names of samples, without labels; several series of a name are added up.
    pub metrics: Vec<String>,
}
