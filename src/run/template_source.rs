//! A chat template before it is known to be one: plain data, for frozen plans. `plan::chat_template` renders it.

use serde::{Deserialize, Serialize};

/// A template as a file or a model carries it. Plain data, for a frozen plan.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplateSource {
    /// Jinja.
    pub text: String,
    /// `bos_token` of the template; undefined where the model has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bos_token: Option<String>,
    /// `eos_token` of the template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eos_token: Option<String>,
    #[serde(default)]
    pub begin: Begin,
}

impl TemplateSource {
    /// A template by itself, without special tokens.
    pub fn of(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

/// What becomes of the `bos_token` that a template writes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Begin {
    /// Left to the server, which puts it before every raw prompt: with the template's own there would be
    /// two, and llama-server warns of that (tried with 0.7.0: `/apply-template` leaves it away, `/tokenize`
    /// and `/completion` count a second one).
    #[default]
    ByServer,
    /// Kept, because the model's tokenizer adds none.
    Kept,
}

/// Whose server would render the template: each tells it other things beside the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Host {
    /// llama-server asks a model that can think to do so, and tells the day as `date_string` (`02 Jan 2026`)
    /// and `datetime` (`Jan 02 2026`) where it is known. Tried with 0.7.0 and the templates of 70 models: 64
    /// give its text. It repairs some of the others, as where a format has no system role.
    #[default]
    LlamaServer,
    /// `transformers`, and so vLLM: `tools` and `documents` without a value. Whether a model thinks is left
    /// to its template.
    Transformers,
}
