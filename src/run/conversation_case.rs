//! What a conversation's case yields beside a load test's figures. Holds and names it;
//! `conversation_figures` computes it. Null is unknown.

use serde::{Deserialize, Serialize};

use super::request_record::EndedEarly;
use crate::request::conversation::PrefixCache;
use crate::stats::mean_difference::Estimate;

/// One conversation with one way to deal with the prefix cache, over all its repeats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConversationFigures {
    pub name: String,
    pub tags: Vec<String>,
    pub prefix_cache: PrefixCache,
    /// Turns that the conversation has.
    pub turns_asked: u32,
    /// How often it was to be held.
    pub repeats_asked: u32,
    /// Why it was not held at all.
    pub skipped: Option<Skipped>,
    /// Why it was not held to its end; of the first repeat that ended early.
    pub early: Option<EndedEarly>,
    pub context: ContextUse,
    pub cache_hits: CacheHits,
    /// What the prefix cache saved, where the same conversation was held with the cache defeated.
    pub saved: Option<Saved>,
    pub quality: Quality,
    pub turns: Vec<TurnFigures>,
    /// Each repeat that came to its end.
    pub held: Vec<HeldOnce>,
}

/// A conversation that would not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// At its largest, with every answer at its longest.
    pub needed_tokens: u64,
    pub context_window: u64,
    /// By the server's own count; else estimated by the length of its texts.
    pub counted: bool,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ContextUse {
    /// Tokens that the context has.
    pub window: Option<u64>,
    /// Most tokens of a prompt with its answer.
    pub peak_tokens: Option<u64>,
    /// Of the window.
    pub peak_percent: Option<f64>,
}

/// Prompt tokens out of the prefix cache, in percent of all prompt tokens, by who counted them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CacheHits {
    /// `usage` of the answers.
    pub usage_percent: Option<f64>,
    /// The engine's own timings beside each answer.
    pub engine_percent: Option<f64>,
    /// The difference that each turn made to the counters of the engine's `/metrics`.
    pub metrics_percent: Option<f64>,
}

/// Waiting that the cache saved in one holding of the conversation: means over the repeats that came to
/// their end, with 95 % intervals where there are two or more of each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// What was added up over the turns: `ttft`, or `e2e` where answers were not streamed.
    pub of: String,
    pub seconds: Estimate,
    /// Of the waiting without the cache; null where there was none.
    pub percent: Option<Estimate>,
    /// Repeats with the cache, and without.
    pub held_kept: u32,
    pub held_defeated: u32,
}

/// How good the answers are, as far as counting goes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Quality {
    pub answers: u32,
    pub empty: u32,
    /// More than half of whose runs of four words came before.
    pub repeated: u32,
    /// Ended by their limit of tokens.
    pub cut: u32,
    /// Answers of which something was expected, and those of them that had it.
    pub expected: u32,
    pub met: u32,
    /// Mean length of an answer.
    pub characters: Option<f64>,
}

/// A turn over the repeats: medians of times and rates, means of counts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TurnFigures {
    /// From 1.
    pub turn: u32,
    /// Answers that it got.
    pub ok: u32,
    /// In the context at this turn.
    pub documents: Vec<String>,
    pub prompt_tokens: Option<f64>,
    pub cached_tokens: Option<f64>,
    pub output_tokens: Option<f64>,
    /// Prompt and answer together, in percent of the context.
    pub context_percent: Option<f64>,
    pub ttft_ms: Option<f64>,
    pub e2e_ms: Option<f64>,
    /// Prompt tokens that were not in the cache ÷ the server's own time for them, else the time to the first
    /// token.
    pub prefill_tokens_per_s: Option<f64>,
    /// Tokens after the first ÷ the time from the first to the last.
    pub decode_tokens_per_s: Option<f64>,
    /// Mean length of the answer in characters.
    pub characters: Option<f64>,
    /// How each repeat's answer ended, in their order.
    pub finish_reasons: Vec<String>,
    /// What was expected of the answer, and in how many it was.
    pub expected: Option<String>,
    pub met: u32,
    /// The error of the first repeat that failed here.
    pub error: Option<String>,
}

/// One holding of the conversation from its first to its last turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldOnce {
    /// From 1.
    pub repeat: u32,
    /// Sums over the turns, in milliseconds.
    pub ttft_ms: Option<f64>,
    pub e2e_ms: f64,
}
