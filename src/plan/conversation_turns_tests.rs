use super::*;
use crate::plan::conversation_library;
use crate::request::conversation::Turn;

fn turn(user: &str, put: &[&str], take: &[&str], most: u32) -> Turn {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Turn { user: user.to_owned(), put: list(put), take: list(take), max_tokens: Some(most), expect: None }
}

/// A manual joins with the second turn, is exchanged for a report at the third and comes again at the fourth.
fn talk() -> Conversation {
    let text = |text: &str| Document::Text(text.to_owned());
    Conversation {
        name: "talk".to_owned(),
        description: String::new(),
        tags: Vec::new(),
        expected_tokens: None,
        system: Some("be brief".to_owned()),
        documents: BTreeMap::from([("manual".into(), text("MANUAL")), ("report".into(), text("REPORT"))]),
        max_tokens: None,
        turns: vec![
            turn("one", &[], &[], 10),
            turn("two", &["manual"], &[], 20),
            turn("three", &["report"], &["manual"], 30),
            turn("four", &["manual"], &[], 40),
        ],
    }
}

const KEPT: Marks<'_> = Marks { salt: "", mark: "", cache: PrefixCache::Kept };

fn said(script: &Script<'_>, turn: usize, marks: Marks<'_>) -> Vec<(String, String)> {
    let answers: Vec<String> = (1..=turn).map(|number| format!("answer {number}")).collect();
    let messages = script.messages(turn, &answers, marks);
    messages.into_iter().map(|message| (message.role, message.content)).collect()
}

#[test]
fn each_turn_says_again_all_that_was_said_with_the_models_own_answers() {
    let talk = talk();
    let script = Script::new(&talk, 1.0, 1);
    let roles: Vec<String> = said(&script, 2, KEPT).into_iter().map(|(role, _)| role).collect();
    assert_eq!(roles, ["system", "user", "assistant", "user", "assistant", "user"]);
    let of_two = said(&script, 1, KEPT);
    assert_eq!(said(&script, 0, KEPT)[..], of_two[..2], "the next turn begins with the one before it");
    assert_eq!(of_two[2], ("assistant".to_owned(), "answer 1".to_owned()));
}

#[test]
fn a_document_stands_before_the_turn_that_put_it_in_until_it_is_taken_out() {
    let talk = talk();
    let script = Script::new(&talk, 1.0, 1);
    let user = |turn: usize, at: usize| said(&script, turn, KEPT)[1 + 2 * at].1.clone();
    assert!(user(1, 1).contains("MANUAL") && user(1, 1).ends_with("two"));
    assert_eq!(user(2, 1), "two", "taken out where it was put in");
    assert!(user(2, 2).contains("REPORT"));
    assert!(user(3, 2).contains("REPORT") && user(3, 3).contains("MANUAL"));
    assert_eq!(user(3, 1), "two", "put in again it stands at its new turn alone");
    let inside: Vec<Vec<&str>> = (0..4).map(|turn| script.documents_at(turn)).collect();
    assert_eq!(inside, [vec![], vec!["manual"], vec!["report"], vec!["report", "manual"]]);
}

#[test]
fn a_changed_context_differs_behind_the_system_message_and_a_salt_before_everything() {
    let talk = talk();
    let script = Script::new(&talk, 1.0, 1);
    let changed = |turn, mark| said(&script, turn, Marks { mark, cache: PrefixCache::Changed, ..KEPT });
    let (first, second) = (changed(0, "abc"), changed(1, "def"));
    assert!(first[0].1.starts_with("be brief\n\n") && second[0].1.starts_with("be brief\n\n"));
    assert_ne!(first[0].1, second[0].1);
    assert_eq!(first[1], second[1]);
    let salted = said(&script, 1, Marks { salt: "[salt] ", ..KEPT });
    assert_eq!(salted[0].1, "[salt] be brief");
    assert_eq!(salted[1..], said(&script, 1, KEPT)[1..]);
    let bare = Conversation { system: None, ..talk.clone() };
    let script = Script::new(&bare, 1.0, 1);
    assert_eq!(said(&script, 0, Marks { salt: "[salt] ", ..KEPT })[0].1, "[salt] one");
    assert_eq!(said(&script, 0, Marks { mark: "abc", cache: PrefixCache::Changed, ..KEPT })[0].0, "system");
}

#[test]
fn a_turns_prompt_has_the_tokens_of_all_that_is_in_it() {
    let talk = talk();
    let script = Script::new(&talk, 1.0, 1);
    // System, four turns, then the documents by name.
    let sizes = script.sizes(&[100, 1, 2, 3, 4, 1_000, 2_000]);
    let messages = |count: u64| count * TOKENS_A_MESSAGE;
    assert_eq!(script.prompt_tokens(0, &sizes, &[]), 100 + 1 + messages(2));
    assert_eq!(script.prompt_tokens(1, &sizes, &[]), 100 + 1 + 10 + 2 + 1_000 + messages(4));
    assert_eq!(script.prompt_tokens(1, &sizes, &[7]), 100 + 1 + 7 + 2 + 1_000 + messages(4));
    assert_eq!(script.prompt_tokens(2, &sizes, &[7]), 100 + 1 + 7 + 2 + 20 + 3 + 2_000 + messages(6));
    let last = 100 + 1 + 10 + 2 + 20 + 3 + 30 + 4 + 3_000 + messages(8) + 40;
    assert_eq!(script.largest_context(&sizes), last);
}

#[test]
fn a_generated_document_has_its_needle_once_and_where_it_was_asked_for() {
    let mut talk = talk();
    let generated = |depth_percent| Document::Generated {
        tokens: 1_200,
        needle: Some("The box has the number 4471.".to_owned()),
        depth_percent,
    };
    for (depth, place) in [(0, 0.0), (40, 0.4), (100, 1.0)] {
        talk.documents.insert("manual".to_owned(), generated(depth));
        let script = Script::new(&talk, 1.0, 1);
        let text = script.texts()[5];
        assert_eq!(text.matches("number 4471.").count(), 1);
        let at = text.find("The box").unwrap() as f64 / text.len() as f64;
        assert!((at - place).abs() < 0.05, "{at} at {depth} %");
        assert_eq!(text.split_whitespace().count(), 1_200 + 6);
        assert_eq!(text, Script::new(&talk, 1.0, 1).texts()[5], "the same each time");
    }
}

#[test]
fn the_size_that_an_author_names_is_that_of_the_texts() {
    for one in conversation_library::builtin() {
        let script = Script::new(one, USUAL_TOKENS_A_WORD, 1);
        let counts: Vec<u64> = script.texts().into_iter().map(estimated_tokens).collect();
        let found = script.largest_context(&script.sizes(&counts)) as f64;
        let named = f64::from(one.expected_tokens.unwrap());
        // Where its characters are counted a generated text is longer: its words are.
        let limit = if one.tags.contains(&"generated".to_owned()) { 0.6 } else { 0.12 };
        assert!((found / named - 1.0).abs() < limit, "{}: {found}, it says {named}", one.name);
    }
}
