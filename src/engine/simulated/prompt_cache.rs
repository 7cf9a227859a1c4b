//! How many tokens a text has, and how many of a prompt's were seen before. There is no model, so both
//! are rules: a token is at most four characters of a word, a space belongs to the token behind it, and
//! the cache remembers prompts by blocks of 64 bytes from their begin, 16 to 20 tokens of usual text.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

const TOKEN_CHARACTERS: u32 = 4;
const BLOCK_BYTES: usize = 64;
/// Beyond so many blocks everything is forgotten, as a server evicts what it has no room for.
const MOST_BLOCKS: usize = 1 << 20;

/// Tokens by the rule; a text that is not blank has at least one.
pub fn count_tokens(text: &str) -> u64 {
    let mut counter = Counter::default();
    counter.read(text.as_bytes());
    counter.tokens
}

/// Where the tokens of a text begin, in bytes.
pub fn token_starts(text: &str) -> Vec<usize> {
    let mut counter = Counter::default();
    let mut starts = Vec::new();
    for (at, byte) in text.bytes().enumerate() {
        let before = counter.tokens;
        counter.read(&[byte]);
        if counter.tokens > before {
            starts.push(at);
        }
    }
    starts
}

#[derive(Default)]
struct Counter {
    tokens: u64,
    /// Characters of the current word.
    characters: u32,
}

impl Counter {
    fn read(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if byte.is_ascii_whitespace() {
                self.characters = 0;
            } else if byte & 0b1100_0000 != 0b1000_0000 {
                // Not the later bytes of a character.
                self.tokens += u64::from(self.characters.is_multiple_of(TOKEN_CHARACTERS));
                self.characters += 1;
            }
        }
    }
}

/// Tokens of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PromptTokens {
    pub all: u64,
    /// Of these, those that an earlier prompt began with too; never all of them, since a server
    /// computes at least the last.
    pub cached: u64,
}

/// The begins of earlier prompts.
#[derive(Debug, Default)]
pub struct PromptCache {
    /// Each hash covers its block and all before it.
    begins: HashSet<u64>,
}

impl PromptCache {
    /// Looks a prompt up, unless `look` is false, and remembers it.
    pub fn take(&mut self, prompt: &str, look: bool) -> PromptTokens {
        if self.begins.len() > MOST_BLOCKS {
            self.begins.clear();
        }
        let mut counter = Counter::default();
        let mut hasher = DefaultHasher::new();
        let mut cached = 0;
        let mut known = look;
        for block in prompt.as_bytes().chunks(BLOCK_BYTES) {
            counter.read(block);
            if block.len() < BLOCK_BYTES {
                break;
            }
            block.hash(&mut hasher);
            known &= !self.begins.insert(hasher.finish());
            if known {
                cached = counter.tokens;
            }
        }
        PromptTokens { all: counter.tokens, cached: cached.min(counter.tokens.saturating_sub(1)) }
    }

    pub fn forget(&mut self) {
        self.begins.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_at_most_four_characters_of_a_word() {
        for (text, tokens) in
            [("", 0), (" \n", 0), ("a", 1), ("four", 1), ("fiver", 2), ("hello  world", 4), ("größe", 2)]
        {
            assert_eq!(count_tokens(text), tokens, "{text:?}");
            assert_eq!(token_starts(text).len() as u64, tokens, "{text:?}");
        }
        assert_eq!(token_starts("hello be"), [0, 4, 6]);
    }

    #[test]
    fn a_prompt_that_comes_again_is_cached_but_for_its_last_block() {
        let mut cache = PromptCache::default();
        let prompt = "word ".repeat(40);
        assert_eq!(cache.take(&prompt, true), PromptTokens { all: 40, cached: 0 });
        let again = cache.take(&prompt, true);
        assert_eq!(again.all, 40);
        assert!((36..40).contains(&again.cached), "{again:?}");
    }

    #[test]
    fn only_the_shared_begin_counts() {
        let mut cache = PromptCache::default();
        let shared = "word ".repeat(32);
        cache.take(&format!("{shared}{}", "one ".repeat(50)), true);
        let other = cache.take(&format!("{shared}{}", "two ".repeat(50)), true);
        assert!((24..=32).contains(&other.cached), "{other:?}");
        let salted = cache.take(&format!("salt {shared}"), true);
        assert_eq!(salted.cached, 0);
    }

    #[test]
    fn nothing_is_cached_without_a_look_or_after_forgetting() {
        let mut cache = PromptCache::default();
        let prompt = "word ".repeat(64);
        cache.take(&prompt, true);
        assert_eq!(cache.take(&prompt, false).cached, 0);
        assert!(cache.take(&prompt, true).cached > 0);
        cache.forget();
        assert_eq!(cache.take(&prompt, true).cached, 0);
    }

    #[test]
    fn a_prompt_is_never_cached_whole() {
        let mut cache = PromptCache::default();
        let prompt = "word ".repeat(64);
        let prompt = &prompt[..BLOCK_BYTES * 2];
        cache.take(prompt, true);
        let again = cache.take(prompt, true);
        assert_eq!(again.cached, again.all - 1);
    }
}
