//! A Conversation's conditions beside those that load tests have: whether every conversation was held to its
//! end, and whether the answers have what was expected of them. Pure rendering of stored cases.

use super::status_document::Draft;
use crate::run::conversation_case::ConversationFigures;
use crate::run::conversation_words::{ended_early, too_large};
use crate::run::load_case::{InvalidReason, LoadCase};
use crate::run::phase::Phase;
use crate::run::reason::Reason;
use crate::run::request_record::EndedEarly;

/// Conversations that a message names.
const SHOWN: usize = 3;

type Held<'a> = (&'a LoadCase, &'a ConversationFigures);

/// None where the cases are a load test's. `phase` is the run's.
pub fn conditions(cases: &[LoadCase], phase: Option<Phase>) -> Vec<Draft> {
    let all: Vec<Held<'_>> =
        cases.iter().filter_map(|case| Some((case, case.conversation.as_ref()?))).collect();
    if all.is_empty() {
        return Vec::new();
    }
    let mut drafts = vec![complete(&all, phase)];
    drafts.extend(expectations(&all));
    drafts
}

fn complete(all: &[Held<'_>], phase: Option<Phase>) -> Draft {
    let skipped: Vec<String> =
        named(all, |(_, held)| held.skipped.as_ref().map(|skipped| too_large(&held.name, skipped)));
    let early: Vec<String> =
        named(all, |(case, held)| Some(format!("{} {}", case.label(), ended_early(held.early.as_ref()?))));
    let cut = all
        .iter()
        .any(|(case, _)| case.invalid.iter().any(|invalid| invalid.reason == InvalidReason::CutShort));
    // Those that never began have no case.
    if cut
        || phase.is_some_and(|phase| matches!(phase, Phase::Failed | Phase::Cancelled)) && skipped.is_empty()
    {
        return Draft::new(
            "Complete",
            "False",
            Reason::CutShort,
            "the run ended before all was held that it chose",
        );
    }
    let reason = match (skipped.is_empty(), early.is_empty()) {
        (true, true) => return Draft::new("Complete", "True", Reason::AllHeld, all_held(all)),
        (false, _) => Reason::ContextTooSmall,
        (true, false) if failed(all) => Reason::TurnFailed,
        (true, false) => Reason::ContextFull,
    };
    Draft::new("Complete", "False", reason, shown(&skipped.into_iter().chain(early).collect::<Vec<_>>()))
}

fn failed(all: &[Held<'_>]) -> bool {
    all.iter().any(|(_, held)| matches!(held.early, Some(EndedEarly::TurnFailed { .. })))
}

fn all_held(all: &[Held<'_>]) -> String {
    let unknown = all.iter().any(|(_, held)| held.context.window.is_none());
    let unchecked = if unknown {
        "; the engine does not tell how large its context is, so nothing was held against it: name a contextSize"
    } else {
        ""
    };
    format!("every conversation was held to its end{unchecked}")
}

fn expectations(all: &[Held<'_>]) -> Option<Draft> {
    let expected: u32 = all.iter().map(|(_, held)| held.quality.expected).sum();
    // A made-up answer is none to judge.
    if expected == 0 || all.iter().all(|(case, _)| case.simulated) {
        return None;
    }
    let missed: Vec<String> = named(all, |(case, held)| {
        let turns: Vec<String> = held
            .turns
            .iter()
            .filter(|turn| turn.expected.is_some() && turn.met < turn.ok)
            .map(|turn| turn.turn.to_string())
            .collect();
        (!turns.is_empty()).then(|| format!("{} at turn {}", case.label(), turns.join(", ")))
    });
    let met: u32 = all.iter().map(|(_, held)| held.quality.met).sum();
    if missed.is_empty() {
        let message = format!("all {expected} answers have what was expected of them");
        return Some(Draft::new("ExpectationsMet", "True", Reason::ExpectationsMet, message));
    }
    let message = format!("{met} of {expected} answers have what was expected: missed by {}", shown(&missed));
    Some(Draft::new("ExpectationsMet", "False", Reason::ExpectationsMissed, message))
}

/// The first of them, and how many more there are.
fn shown(told: &[String]) -> String {
    let first = told.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    match told.len().saturating_sub(SHOWN) {
        0 => first,
        more => format!("{first}; and {more} more"),
    }
}

/// What is to be said of each, once.
fn named(all: &[Held<'_>], say: impl Fn(&Held<'_>) -> Option<String>) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    for words in all.iter().filter_map(say) {
        if !told.contains(&words) {
            told.push(words);
        }
    }
    told
}
