//! A model's `tokenizer.json`, to count tokens on this machine. Reads that one file and asks no model hub.

use std::path::Path;

use tokenizers::Tokenizer;

/// Largest `tokenizer.json`, in bytes. The largest known ones have about 40 MiB.
const MOST_BYTES: u64 = 128 << 20;

/// Why there is no tokenizer.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    #[error("it cannot be read: {0}")]
    Io(#[from] std::io::Error),
    #[error("it has {} MiB; at most {} are read", .0 >> 20, MOST_BYTES >> 20)]
    TooLarge(u64),
    #[error("it is no tokenizer.json: {0}")]
    Malformed(String),
}

/// Counts tokens.
pub struct LocalTokenizer(Tokenizer);

impl LocalTokenizer {
    /// # Errors
    /// What is wrong with the file; its user knows its name.
    pub fn read(path: &Path) -> Result<Self, TokenizerError> {
        Self::parse(&bytes_of(path)?)
    }

    /// # Errors
    /// Bytes that describe no tokenizer.
    pub fn parse(bytes: &[u8]) -> Result<Self, TokenizerError> {
        let malformed = |error: tokenizers::Error| TokenizerError::Malformed(error.to_string());
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(malformed)?;
        // Files keep what their model was trained with; a count is of the whole text and nothing else.
        tokenizer.with_truncation(None).map_err(malformed)?;
        tokenizer.with_padding(None);
        Ok(Self(tokenizer))
    }

    /// Tokens of a text; `None` where the tokenizer fails at it. With `special`, those that it puts around a
    /// whole prompt count as well.
    pub fn count(&self, text: &str, special: bool) -> Option<u64> {
        self.0.encode_fast(text, special).ok().map(|encoding| encoding.len() as u64)
    }
}

/// The bytes of a file that may be a tokenizer.
///
/// # Errors
/// It cannot be read or is too large.
pub fn bytes_of(path: &Path) -> Result<Vec<u8>, TokenizerError> {
    let size = std::fs::metadata(path)?.len();
    if size > MOST_BYTES {
        return Err(TokenizerError::TooLarge(size));
    }
    Ok(std::fs::read(path)?)
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Words and signs are tokens; `<s>` goes before a whole prompt.
    pub fn words() -> Value {
        json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
            "pre_tokenizer": { "type": "Whitespace" },
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [{ "SpecialToken": { "id": "<s>", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } }],
                "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 0 } }],
                "special_tokens": { "<s>": { "id": "<s>", "ids": [1], "tokens": ["<s>"] } },
            },
            "decoder": null,
            "model": { "type": "WordLevel", "vocab": { "<unk>": 0, "<s>": 1 }, "unk_token": "<unk>" },
        })
    }

    fn parse(description: &Value) -> Result<LocalTokenizer, TokenizerError> {
        LocalTokenizer::parse(description.to_string().as_bytes())
    }

    #[test]
    fn a_text_has_as_many_tokens_as_its_tokenizer_makes_of_it() {
        let tokenizer = parse(&words()).unwrap();
        assert_eq!(tokenizer.count("one two, thrée", false), Some(4));
        assert_eq!(tokenizer.count("one two, thrée", true), Some(5));
        assert_eq!(tokenizer.count("", false), Some(0));
    }

    #[test]
    fn a_file_that_cuts_or_fills_texts_counts_whole_ones_all_the_same() {
        let mut description = words();
        description["truncation"] =
            json!({ "direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0 });
        description["padding"] = json!({
            "strategy": { "Fixed": 64 }, "direction": "Right", "pad_to_multiple_of": null,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "<unk>",
        });
        assert_eq!(parse(&description).unwrap().count("a b c d e", false), Some(5));
    }

    #[test]
    fn what_is_no_tokenizer_is_refused() {
        for bytes in [&b"{}"[..], b"", b"\xff", b"{\"model\":3}", &[b'['; 100_000]] {
            assert!(matches!(LocalTokenizer::parse(bytes), Err(TokenizerError::Malformed(_))));
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        assert!(matches!(LocalTokenizer::read(&path), Err(TokenizerError::Io(_))));
        std::fs::File::create(&path).unwrap().set_len(MOST_BYTES + 1).unwrap();
        assert!(matches!(LocalTokenizer::read(&path), Err(TokenizerError::TooLarge(_))));
    }
}
