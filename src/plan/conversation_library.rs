//! Which conversations a request means: those that come with benchlet, those of its file and its own,
//! chosen by name, tag and number. Reads no files.

use std::sync::LazyLock;

use crate::request::conversation::{Conversation, Conversations, USUAL_MAX_TOKENS};
use crate::request::conversation_file;
use crate::request::diagnostic::did_you_mean;
use crate::run::reason::{Reason, Refusal};

/// Files of `config/conversations`, each with its name.
pub const FILES: [(&str, &str); 6] = [
    ("qa.yaml", include_str!("../../config/conversations/qa.yaml")),
    ("code.yaml", include_str!("../../config/conversations/code.yaml")),
    ("deep.yaml", include_str!("../../config/conversations/deep.yaml")),
    ("rag.yaml", include_str!("../../config/conversations/rag.yaml")),
    ("very-long.yaml", include_str!("../../config/conversations/very-long.yaml")),
    ("long-context.yaml", include_str!("../../config/conversations/long-context.yaml")),
];

static BUILTIN: LazyLock<Vec<Conversation>> = LazyLock::new(|| {
    FILES.iter().flat_map(|(_, text)| conversation_file::parse(text).unwrap_or_default()).collect()
});

/// The conversations that come with benchlet.
pub fn builtin() -> &'static [Conversation] {
    &BUILTIN
}

/// The conversations that a request chooses, with the most tokens of each answer filled in: the turn's own,
/// else its conversation's, else the usual, and never above `most_tokens`. `from_file` are those of the
/// file that it names.
///
/// # Errors
/// Two of one name, an unknown name, or nothing that could be held.
pub fn choose(
    how: &Conversations,
    from_file: &[Conversation],
    most_tokens: u32,
) -> Result<Vec<Conversation>, Refusal> {
    let unusable = |words: String| Refusal::new(Reason::ConversationsUnusable, words);
    let own: &[Conversation] = if how.builtin { builtin() } else { &[] };
    let candidates: Vec<&Conversation> = own.iter().chain(from_file).chain(&how.inline).collect();
    let twice = candidates
        .iter()
        .enumerate()
        .find(|(at, one)| candidates[..*at].iter().any(|other| other.name == one.name));
    if let Some((_, twice)) = twice {
        return Err(unusable(format!("two conversations have the name {}", twice.name))
            .hint("results are told apart by it; rename one, or set builtin: false"));
    }
    let named: Vec<&Conversation> = if how.names.is_empty() {
        candidates.clone()
    } else {
        let found = how.names.iter().map(|name| {
            candidates.iter().find(|one| one.name == *name).copied().ok_or_else(|| {
                let names = candidates.iter().map(|one| one.name.as_str());
                let hint = did_you_mean(name, names)
                    .unwrap_or_else(|| "`benchlet conversations list` shows them".to_owned());
                unusable(format!("there is no conversation {name}")).hint(hint)
            })
        });
        found.collect::<Result<_, _>>()?
    };
    let has = |one: &Conversation, tags: &[String]| one.tags.iter().any(|tag| tags.contains(tag));
    let chosen: Vec<Conversation> = named
        .into_iter()
        .filter(|one| how.include_tags.is_empty() || has(one, &how.include_tags))
        .filter(|one| !has(one, &how.exclude_tags))
        .map(|one| bounded(one, most_tokens))
        .collect();
    if chosen.is_empty() {
        let mut tags: Vec<&str> = candidates.iter().flat_map(|one| &one.tags).map(String::as_str).collect();
        tags.sort_unstable();
        tags.dedup();
        return Err(unusable("no conversation has the tags that the request asks for".to_owned())
            .hint(format!("there are the tags {}", tags.join(", "))));
    }
    Ok(chosen)
}

fn bounded(one: &Conversation, most_tokens: u32) -> Conversation {
    let mut one = one.clone();
    let usual = one.max_tokens.unwrap_or(USUAL_MAX_TOKENS);
    for turn in &mut one.turns {
        turn.max_tokens = Some(turn.max_tokens.unwrap_or(usual).min(most_tokens));
    }
    one
}
