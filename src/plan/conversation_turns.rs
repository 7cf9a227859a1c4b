//! What is said at each turn of a conversation, and how many tokens that will take. Pure: the answers so far
//! and the counts of texts come in.

use std::collections::BTreeMap;

use super::synthetic_prompts;
use crate::request::conversation::{Conversation, Document, PrefixCache, USUAL_MAX_TOKENS};
use crate::request::load_test::Message;

/// Tokens that a chat template puts around a message; most need 3 to 6.
pub const TOKENS_A_MESSAGE: u64 = 8;
/// Characters of English text for a token of the usual vocabularies, where nobody can count.
const CHARACTERS_A_TOKEN: f64 = 4.0;

/// A conversation with its documents as they are said.
#[derive(Debug, Clone)]
pub struct Script<'a> {
    pub conversation: &'a Conversation,
    documents: BTreeMap<&'a str, String>,
}

/// Tokens of a conversation's texts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sizes {
    pub system: u64,
    /// Of each turn.
    pub users: Vec<u64>,
    pub documents: BTreeMap<String, u64>,
}

/// What makes one holding of a conversation different from another.
#[derive(Debug, Clone, Copy)]
pub struct Marks<'a> {
    /// Before everything that is said; empty for none.
    pub salt: &'a str,
    /// Changes from turn to turn.
    pub mark: &'a str,
    pub cache: PrefixCache,
}

impl<'a> Script<'a> {
    /// Generated documents get as many words as their tokens make in the eyes of the server.
    pub fn new(conversation: &'a Conversation, tokens_a_word: f64, seed: u64) -> Self {
        let is_put = |name: &String| conversation.turns.iter().any(|turn| turn.put.contains(name));
        let put = conversation.documents.iter().zip(1u64..).filter(|((name, _), _)| is_put(name));
        let documents = put.map(|((name, document), number)| {
            let text = match document {
                Document::Text(text) => text.trim_end().to_owned(),
                Document::Generated { tokens, needle, depth_percent } => {
                    let own = seed.wrapping_mul(1_000_003).wrapping_add(number);
                    prose(*tokens, tokens_a_word, own, needle.as_deref(), *depth_percent)
                }
            };
            (name.as_str(), text)
        });
        Self { conversation, documents: documents.collect() }
    }

    /// Every text whose tokens matter, in the order of [`Script::sizes`].
    pub fn texts(&self) -> Vec<&str> {
        let system = self.conversation.system.as_deref().unwrap_or_default();
        let users = self.conversation.turns.iter().map(|turn| turn.user.as_str());
        std::iter::once(system).chain(users).chain(self.documents.values().map(String::as_str)).collect()
    }

    /// The counts of [`Script::texts`], each where it belongs.
    pub fn sizes(&self, counts: &[u64]) -> Sizes {
        let turns = self.conversation.turns.len();
        let mut counts = counts.iter().copied();
        let system = counts.next().unwrap_or(0);
        let users = counts.by_ref().take(turns).collect();
        let documents = self.documents.keys().map(|name| (*name).to_owned()).zip(counts).collect();
        Sizes { system, users, documents }
    }

    /// What the server is given for a turn, counted from 0, after the answers to the turns before it.
    pub fn messages(&self, turn: usize, answers: &[String], marks: Marks<'_>) -> Vec<Message> {
        let message = |role: &str, content: String| Message { role: role.to_owned(), content };
        let mut messages = Vec::with_capacity(2 * turn + 2);
        let mut system = self.conversation.system.clone();
        match marks.cache {
            PrefixCache::Kept | PrefixCache::Defeated => {}
            PrefixCache::Changed => {
                let said = system.take().map(|said| format!("{}\n\n", said.trim_end())).unwrap_or_default();
                system = Some(format!("{said}(This is turn {}, {}.)", turn + 1, marks.mark));
            }
        }
        messages.extend(system.map(|said| message("system", said)));
        for at in 0..=turn {
            messages.push(message("user", self.user(at, turn)));
            if at < turn {
                messages.push(message("assistant", answers.get(at).cloned().unwrap_or_default()));
            }
        }
        if let Some(first) = messages.first_mut() {
            first.content.insert_str(0, marks.salt);
        }
        messages
    }

    /// What the user says at a turn, with the documents that it put in and that are still there at `now`.
    fn user(&self, at: usize, now: usize) -> String {
        let user = &self.conversation.turns[at].user;
        let mut said = String::new();
        for name in self.put_at(at, now) {
            let text = self.documents.get(name).map(String::as_str).unwrap_or_default();
            said.push_str(&format!("Document \"{name}\":\n\n{text}\n\nEnd of the document \"{name}\".\n\n"));
        }
        said + user.trim_end()
    }

    /// Documents that joined with turn `at` and are in the context at turn `now`.
    fn put_at(&self, at: usize, now: usize) -> impl Iterator<Item = &'a str> {
        let turns = &self.conversation.turns;
        let later = &turns[(at + 1).min(turns.len())..(now + 1).min(turns.len())];
        turns[at]
            .put
            .iter()
            .map(String::as_str)
            .filter(move |name| !later.iter().any(|turn| turn.take.iter().any(|taken| taken == name)))
    }

    /// The documents in the context at a turn.
    pub fn documents_at(&self, turn: usize) -> Vec<&'a str> {
        (0..=turn).flat_map(|at| self.put_at(at, turn)).collect()
    }

    /// The most tokens of a turn's answer.
    pub fn most_tokens(&self, turn: usize) -> u32 {
        let usual = self.conversation.max_tokens.unwrap_or(USUAL_MAX_TOKENS);
        self.conversation.turns[turn].max_tokens.unwrap_or(usual)
    }

    /// Tokens of the prompt of a turn, with answers of these lengths before it; where one is not there yet,
    /// the longest that it may have.
    pub fn prompt_tokens(&self, turn: usize, sizes: &Sizes, answers: &[u64]) -> u64 {
        let system = if self.conversation.system.is_some() { sizes.system + TOKENS_A_MESSAGE } else { 0 };
        let users: u64 = sizes.users.iter().take(turn + 1).map(|size| size + TOKENS_A_MESSAGE).sum();
        let documents: u64 =
            self.documents_at(turn).iter().filter_map(|name| sizes.documents.get(*name)).sum();
        let answer = |at: usize| {
            let tokens = answers.get(at).copied().unwrap_or_else(|| u64::from(self.most_tokens(at)));
            tokens.saturating_add(TOKENS_A_MESSAGE)
        };
        let answers = (0..turn).map(answer).fold(0, u64::saturating_add);
        system.saturating_add(users).saturating_add(documents).saturating_add(answers)
    }

    /// The most tokens that its context may come to, every answer at its longest.
    pub fn largest_context(&self, sizes: &Sizes) -> u64 {
        let at_turn =
            |turn| self.prompt_tokens(turn, sizes, &[]).saturating_add(u64::from(self.most_tokens(turn)));
        (0..self.conversation.turns.len()).map(at_turn).max().unwrap_or(0)
    }
}

/// Tokens of a text where nobody can count them.
pub fn estimated_tokens(text: &str) -> u64 {
    (text.chars().count() as f64 / CHARACTERS_A_TOKEN).ceil() as u64
}

/// As many tokens as a made-up word has with its share of the punctuation, in usual vocabularies.
pub const USUAL_TOKENS_A_WORD: f64 = 1.1;

/// Made-up prose to count its tokens, and how many words it has.
pub fn prose_sample() -> (u32, String) {
    const WORDS: u32 = 432;
    (WORDS, prose(WORDS, 1.0, 0, None, 0))
}

/// Words of a length in paragraphs, with a sentence between two of them.
fn prose(tokens: u32, tokens_a_word: f64, seed: u64, needle: Option<&str>, depth_percent: u32) -> String {
    const WORDS_A_SENTENCE: usize = 12;
    const SENTENCES_A_PARAGRAPH: usize = 6;
    let words = synthetic_prompts::text(tokens, tokens_a_word, seed);
    let words: Vec<&str> = words.split(' ').collect();
    let sentences: Vec<&[&str]> = words.chunks(WORDS_A_SENTENCE).collect();
    let place = sentences.len() * depth_percent as usize / 100;
    let mut text = String::with_capacity(words.len() * 6);
    let put = |text: &mut String, at: usize| {
        if let Some(needle) = needle.filter(|_| at == place) {
            text.push_str(needle.trim());
            text.push(' ');
        }
    };
    for (at, sentence) in sentences.iter().enumerate() {
        put(&mut text, at);
        for (index, word) in sentence.iter().enumerate() {
            let mut letters = word.chars();
            match letters.next().filter(|_| index == 0) {
                Some(first) => text.extend(first.to_uppercase().chain(letters)),
                None => text.push_str(word),
            }
            text.push(if index + 1 == sentence.len() { '.' } else { ' ' });
        }
        text.push_str(if (at + 1) % SENTENCES_A_PARAGRAPH == 0 { "\n\n" } else { " " });
    }
    put(&mut text, sentences.len());
    text.trim_end().to_owned()
}

#[cfg(test)]
#[path = "conversation_turns_tests.rs"]
mod tests;
