//! Which of the conversations that were chosen a run may hold, by the number of cases and engines that they make.

use crate::request::conversation::{Conversation, Conversations, Isolation};
use crate::request::load_test::LoadTest;
use crate::request::load_test_size::MOST_CASES;
use crate::run::reason::{Reason, Refusal};

/// Most engines that one run starts afresh.
const MOST_ENGINES: u64 = 200;

/// Where each conversation has an engine of its own, those that one process would choose together are chosen
/// here: the first so many.
///
/// # Errors
/// They make more cases or engines than are taken.
pub fn to_be_held(
    how: &Conversations,
    mut conversations: Vec<Conversation>,
    spec: &LoadTest,
) -> Result<Vec<Conversation>, Refusal> {
    // Of each conversation.
    let cases = spec.cases();
    let all = cases.saturating_mul(conversations.len() as u64);
    if all > MOST_CASES {
        let message =
            format!("{} conversations make {all} cases; at most {MOST_CASES} are taken", conversations.len());
        return Err(Refusal::new(Reason::ConversationsUnusable, message)
            .hint("choose fewer by names, includeTags or repeats, or write several requests"));
    }
    match how.isolation {
        Isolation::PerRun => return Ok(conversations),
        Isolation::PerConversation => {}
    }
    if let Some(most) = how.max_conversations {
        conversations.truncate(most as usize);
    }
    let engines = cases.saturating_mul(conversations.len() as u64);
    if engines > MOST_ENGINES {
        let message = format!(
            "isolation: PerConversation would start {engines} engines, and at most {MOST_ENGINES} are"
        );
        return Err(Refusal::new(Reason::ConversationsUnusable, message)
            .hint("choose fewer by names, includeTags or maxConversations, or set isolation: PerRun"));
    }
    Ok(conversations)
}
