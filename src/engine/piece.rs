//! What one piece of an answer says, in one form for all dialects. Plain data and the JSON words that
//! several dialects share.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

use crate::run::request_record::{ServerTimings, TokenSource};

/// A piece of an answer. Empty where it says nothing that anybody measures.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Piece<'d> {
    pub content: Option<Cow<'d, str>>,
    pub reasoning: Option<Cow<'d, str>>,
    /// Text of a tool call.
    pub tool: Option<Cow<'d, str>>,
    pub tokens_in: Option<u64>,
    /// Generated so far, this piece's included.
    pub tokens_out: Option<u64>,
    pub tokens_cached: Option<u64>,
    /// Who counted.
    pub source: Option<TokenSource>,
    pub finish_reason: Option<Cow<'d, str>>,
    /// The server's own words about what went wrong in the middle.
    pub error: Option<String>,
    pub server: Option<ServerTimings>,
    /// The dialect's own end of a stream.
    pub last: bool,
}

impl<'d> Piece<'d> {
    /// Whether it carries text of any kind.
    pub fn has_text(&self) -> bool {
        self.texts().any(|text| !text.is_empty())
    }

    /// Content, reasoning and tool text, as far as they are there.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        [&self.reasoning, &self.content, &self.tool].into_iter().flatten().map(AsRef::as_ref)
    }

    /// Only an error.
    pub fn failed(words: impl Into<String>) -> Self {
        Self { error: Some(words.into()), ..Self::default() }
    }
}

/// A piece that its format does not allow, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

impl Malformed {
    /// The parser's words with the beginning of what it could not read.
    pub fn new(error: &serde_json::Error, data: &[u8]) -> Self {
        let shown: String = String::from_utf8_lossy(&data[..data.len().min(120)]).into_owned();
        Self(format!("a piece of the answer is no JSON of the expected shape: {error}: {shown:?}"))
    }
}

/// A text that is borrowed from the piece where it has no escapes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Text<'d>(pub Cow<'d, str>);

impl<'de: 'd, 'd> Deserialize<'de> for Text<'d> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Reader)
    }
}

/// The words of an error object or text: `{"error": {"message": …}}`, `{"error": "…"}`.
pub fn error_words(value: &serde_json::Value) -> String {
    let inner = value.get("error").unwrap_or(value);
    let words = inner.as_str().or_else(|| {
        ["message", "detail", "type"].iter().find_map(|name| inner.get(name).and_then(|text| text.as_str()))
    });
    words.map_or_else(|| inner.to_string(), str::to_owned)
}
