//! A Conversation's conditions beside those that load tests have: whether every conversation was held to its
//! end, and whether the answers have what was expected of them. Pure rendering of stored cases.

use super::status_document::Draft;
use crate::run::conversation_case::ConversationFigures;
use crate::run::conversation_words::{ended_early, too_large};
use crate::run::load_case::LoadCase;
use crate::run::reason::Reason;

/// Conversations that a message names.
const SHOWN: usize = 3;

/// None where the cases are a load test's.
pub fn conditions(cases: &[LoadCase]) -> Vec<Draft> {
    let all: Vec<&ConversationFigures> = cases.iter().filter_map(|case| case.conversation.as_ref()).collect();
    if all.is_empty() {
        return Vec::new();
    }
    let mut drafts = vec![complete(&all)];
    drafts.extend(expectations(cases, &all));
    drafts
}

fn complete(all: &[&ConversationFigures]) -> Draft {
    let skipped: Vec<String> =
        named(all, |held| held.skipped.as_ref().map(|skipped| too_large(&held.name, skipped)));
    let early: Vec<String> = named(all, |held| {
        let words = ended_early(held.early.as_ref()?);
        Some(format!("{} ({}) {words}", held.name, held.prefix_cache.as_str()))
    });
    let reason = match (skipped.is_empty(), early.is_empty()) {
        (true, true) => {
            return Draft::new("Complete", "True", Reason::AllHeld, "every conversation was held to its end");
        }
        (false, _) => Reason::ContextTooSmall,
        (true, false) => Reason::ContextFull,
    };
    let told: Vec<String> = skipped.into_iter().chain(early).collect();
    Draft::new("Complete", "False", reason, told.join("; "))
}

fn expectations(cases: &[LoadCase], all: &[&ConversationFigures]) -> Option<Draft> {
    let expected: u32 = all.iter().map(|held| held.quality.expected).sum();
    // A made-up answer is none to judge.
    if expected == 0 || cases.iter().all(|case| case.simulated) {
        return None;
    }
    let missed: Vec<String> = named(all, |held| {
        let turns: Vec<String> = held
            .turns
            .iter()
            .filter(|turn| turn.expected.is_some() && turn.met < turn.ok)
            .map(|turn| turn.turn.to_string())
            .collect();
        let name = format!("{} ({})", held.name, held.prefix_cache.as_str());
        (!turns.is_empty()).then(|| format!("{name} at turn {}", turns.join(", ")))
    });
    let met: u32 = all.iter().map(|held| held.quality.met).sum();
    if missed.is_empty() {
        let message = format!("all {expected} answers have what was expected of them");
        return Some(Draft::new("ExpectationsMet", "True", Reason::ExpectationsMet, message));
    }
    let mut shown = missed.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    if missed.len() > SHOWN {
        shown.push_str(&format!("; and {} more", missed.len() - SHOWN));
    }
    let message = format!("{met} of {expected} answers have what was expected: missed by {shown}");
    Some(Draft::new("ExpectationsMet", "False", Reason::ExpectationsMissed, message))
}

/// What is to be said of each, once.
fn named(all: &[&ConversationFigures], say: impl Fn(&ConversationFigures) -> Option<String>) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    for words in all.iter().filter_map(|held| say(held)) {
        if !told.contains(&words) {
            told.push(words);
        }
    }
    told
}
