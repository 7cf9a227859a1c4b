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
    if let Some((_, name)) = how.names.iter().enumerate().find(|(at, name)| how.names[..*at].contains(name)) {
        return Err(unusable(format!("names has {name} twice")).hint("set repeats to hold it several times"));
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
    if candidates.is_empty() {
        return Err(unusable("there is no conversation to hold".to_owned())
            .hint("write one into the file, or set builtin: true"));
    }
    if chosen.is_empty() && !how.names.is_empty() {
        return Err(unusable(
            "none of the conversations that are named has the tags that are asked for".to_owned(),
        )
        .hint("`benchlet conversations list` shows their tags; names alone are enough"));
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Conversations {
        Conversations { builtin: true, ..Conversations::default() }
    }

    fn list(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn names(how: &Conversations) -> Vec<String> {
        choose(how, &[], u32::MAX).unwrap().into_iter().map(|one| one.name).collect()
    }

    #[test]
    fn every_file_of_the_library_can_be_read_and_has_something_of_each_kind() {
        for (file, text) in FILES {
            let read =
                conversation_file::parse(text).unwrap_or_else(|problems| panic!("{file}: {problems:?}"));
            assert!(!read.is_empty(), "{file}");
            for one in read {
                assert!(!one.description.is_empty() && !one.tags.is_empty(), "{}", one.name);
                assert!(one.expected_tokens.is_some(), "{}", one.name);
            }
        }
        for tag in ["simple", "code", "deep", "long", "rag", "long-context"] {
            assert!(builtin().iter().any(|one| one.tags.contains(&tag.to_owned())), "{tag}");
        }
        assert!(choose(&all(), &[], u32::MAX).is_ok(), "no two of one name");
    }

    #[test]
    fn conversations_are_chosen_by_name_in_that_order_and_by_tag() {
        let two = list(&["rag-employee-handbook", "qa-first-bread"]);
        assert_eq!(names(&Conversations { names: two.clone(), ..all() }), two);
        let simple = names(&Conversations { include_tags: list(&["simple"]), ..all() });
        assert_eq!(simple.len(), 3);
        let without =
            Conversations { include_tags: list(&["simple"]), exclude_tags: list(&["travel"]), ..all() };
        assert_eq!(names(&without).len(), 2);
    }

    #[test]
    fn what_names_nothing_says_what_there_is() {
        let typo = choose(&Conversations { names: list(&["qa-first-bred"]), ..all() }, &[], 1).unwrap_err();
        assert!(typo.message.contains("no conversation qa-first-bred"), "{typo:?}");
        assert!(typo.hint.unwrap().contains("qa-first-bread"));
        let none = choose(&Conversations { include_tags: list(&["nonesuch"]), ..all() }, &[], 1).unwrap_err();
        assert!(none.hint.unwrap().contains("rag"), "it lists the tags");
        let twice = builtin()[0].clone();
        let refused = choose(&Conversations { inline: vec![twice], ..all() }, &[], 1).unwrap_err();
        assert!(refused.message.contains("two conversations have the name"), "{refused:?}");
    }

    #[test]
    fn an_answers_limit_is_its_turns_else_its_conversations_and_never_above_the_requests() {
        let mut one = builtin()[0].clone();
        one.name = "own".to_owned();
        one.max_tokens = Some(90);
        one.turns[0].max_tokens = Some(200);
        let how = Conversations { builtin: false, inline: vec![one], ..all() };
        let limits = |most| {
            let chosen = choose(&how, &[], most).unwrap();
            chosen[0].turns.iter().take(2).map(|turn| turn.max_tokens).collect::<Vec<_>>()
        };
        assert_eq!(limits(u32::MAX), [Some(200), Some(90)]);
        assert_eq!(limits(100), [Some(100), Some(90)]);
    }
}
