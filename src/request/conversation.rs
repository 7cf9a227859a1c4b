//! `kind: Conversation`: dialogues of several turns that one user has with a model, and which of them a
//! request wants. Everything else of the kind (targets, limits, repeats) is a load test's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Most tokens of an answer where neither the turn, its conversation nor the request says.
pub const USUAL_MAX_TOKENS: u32 = 256;

/// Which conversations are held, and how. The default names none.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Conversations {
    /// Those that come with benchlet are among the candidates.
    pub builtin: bool,
    /// More of them, in a file relative to the request.
    pub file: Option<String>,
    /// More of them, in the request itself.
    pub inline: Vec<Conversation>,
    /// Empty: all names.
    pub names: Vec<String>,
    /// One of these tags has to be there; empty: all.
    pub include_tags: Vec<String>,
    /// None of these may be there.
    pub exclude_tags: Vec<String>,
    /// The first so many that fit.
    pub max_conversations: Option<u32>,
    pub context_size: ContextSize,
    pub template: Template,
    pub isolation: Isolation,
    /// How the engine's prefix cache is dealt with; several make an experiment.
    pub prefix_cache: Vec<PrefixCache>,
    /// Between an answer and the user's next turn.
    pub think_time_ms: u64,
}

/// How much fits into the model's context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ContextSize {
    /// As the engine says.
    #[default]
    Auto,
    Tokens(u64),
}

/// Who puts messages into the form that the model was trained on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Template {
    /// The server, by the model's own template.
    #[default]
    Server,
    /// benchlet, by one that it brings.
    Builtin(String),
    /// benchlet, by the one in the model's own GGUF or `tokenizer_config.json`, where the service's model is on
    /// this machine.
    Model,
    /// benchlet, by a Jinja file, a `tokenizer_config.json` or a GGUF, relative to the request.
    File(String),
}

impl Template {
    /// Those that benchlet brings.
    pub const BUILTIN: [&'static str; 5] = ["chatml", "llama3", "phi3", "gemma", "mistral"];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Isolation {
    /// One engine for all conversations.
    #[default]
    PerRun,
    /// A managed engine starts afresh for each.
    PerConversation,
}

/// What becomes of the engine's prefix cache from turn to turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum PrefixCache {
    /// A turn begins with all that was said before, and the engine may reuse it.
    #[default]
    Kept,
    /// The end of the system message changes with each turn, as a clock in it does: what follows is
    /// computed anew.
    Changed,
    /// Each turn begins with words of its own, and the engine is told to reuse nothing.
    Defeated,
}

impl PrefixCache {
    pub const NAMES: &'static [(&'static str, Self)] =
        &[("Kept", Self::Kept), ("Changed", Self::Changed), ("Defeated", Self::Defeated)];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "Kept",
            Self::Changed => "Changed",
            Self::Defeated => "Defeated",
        }
    }
}

/// A dialogue: the user's turns, each answered by the model itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Conversation {
    pub name: String,
    pub description: String,
    pub tags: Vec<String>,
    /// The whole context at its largest, as its author counts it.
    pub expected_tokens: Option<u32>,
    pub system: Option<String>,
    /// Data that turns put into the context and take out of it.
    pub documents: BTreeMap<String, Document>,
    /// Most tokens of an answer, unless the turn says otherwise.
    pub max_tokens: Option<u32>,
    pub turns: Vec<Turn>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Document {
    Text(String),
    /// Made-up prose of about so many tokens.
    Generated {
        tokens: u32,
        /// A fact that stands in it once.
        needle: Option<String>,
        /// Where, in percent of its length.
        depth_percent: u32,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Turn {
    pub user: String,
    /// Documents that join the context with this turn and stay until they are taken out.
    pub put: Vec<String>,
    /// Documents that leave it before this turn.
    pub take: Vec<String>,
    pub max_tokens: Option<u32>,
    pub expect: Option<Expect>,
}

/// What a good answer has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Expect {
    /// A substring, whatever its case.
    Contains(String),
    /// A regular expression, in the syntax of Rust's `regex`.
    Matches(String),
}

impl Expect {
    /// Whether an answer has it. A pattern was compiled before it got here; one that does not compile is
    /// met by nothing.
    pub fn is_met_by(&self, answer: &str) -> bool {
        match self {
            Self::Contains(words) => answer.to_lowercase().contains(&words.to_lowercase()),
            Self::Matches(pattern) => regex::Regex::new(pattern).is_ok_and(|regex| regex.is_match(answer)),
        }
    }

    pub fn words(&self) -> String {
        match self {
            Self::Contains(words) => format!("\"{words}\""),
            Self::Matches(pattern) => format!("/{pattern}/"),
        }
    }
}
