use crate::request::conversation::{
    ContextSize, Conversations, Document, Expect, Isolation, PrefixCache, Template,
};
use crate::request::conversation_file;
use crate::request::conversation_schema::FILE;
use crate::request::field_names::not_shown;
use crate::request::load_test::{Amount, LoadShape, LoadTest};
use crate::request::load_test_size::MOST_TOKENS;
use crate::request::schema;
use crate::request::tree;
use crate::request::valid::{Spec, validate};

fn decode(spec: &str) -> Result<LoadTest, Vec<String>> {
    let indented: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    let text = format!("apiVersion: benchlet/v1\nkind: Conversation\nspec:\n{indented}");
    let stream = tree::parse(&text);
    let root = stream.documents[0].root.as_ref().unwrap();
    match validate(root, 0, "talk") {
        Ok(request) => match request.spec {
            Spec::LoadTest(test) => Ok(*test),
            other => panic!("another kind: {}", other.kind()),
        },
        Err(problems) => Err(problems.iter().map(|problem| problem.locate(&text).to_string()).collect()),
    }
}

fn good(spec: &str) -> (LoadTest, Conversations) {
    let test = decode(&format!("target: {{ engine: simulated }}\n{spec}")).unwrap();
    let how = test.conversations().unwrap().clone();
    (test, how)
}

fn problems(spec: &str) -> Vec<String> {
    decode(&format!("target: {{ engine: simulated }}\n{spec}")).unwrap_err()
}

#[test]
fn a_target_is_all_that_has_to_be_said() {
    let (test, how) = good("");
    assert!(how.builtin && how.file.is_none() && how.inline.is_empty());
    assert_eq!((how.context_size, &how.template), (ContextSize::Auto, &Template::Server));
    assert_eq!((how.isolation, how.max_conversations), (Isolation::PerRun, None));
    assert_eq!(how.prefix_cache, [PrefixCache::Kept]);
    assert_eq!((test.output.temperature, test.output.max_tokens), (0.0, MOST_TOKENS), "each has its own");
    assert_eq!((test.warmup, test.repeats, test.request_timeout_ms), (1, 1, 300_000));
    assert_eq!(test.load.shape, LoadShape::Closed { concurrency: vec![1] });
    assert_eq!(test.load.amount, Amount::Requests(vec![1]));
    assert_eq!(test.validity.broken_answers_percent, Some(20.0));
}

#[test]
fn what_is_said_is_taken_and_presets_give_way_to_it() {
    let (test, how) = good(
        "conversations: { file: mine.yaml }\nnames: [a, b]\nincludeTags: rag\nexcludeTags: [long]\n\
         contextSize: 4096\ntemplate: chatml\nprefixCache: [Kept, Defeated]\nthinkTime: 2s\n\
         output: { maxTokens: 40, temperature: 0.5 }\npreset: Thorough\nrepeats: 2\n\
         validity: { brokenAnswers: 5% }\n",
    );
    assert!(!how.builtin, "beside others those that come with benchlet have to be asked for");
    assert_eq!((how.file.as_deref(), how.names.len()), (Some("mine.yaml"), 2));
    assert_eq!((how.context_size, how.think_time_ms), (ContextSize::Tokens(4096), 2_000));
    assert_eq!(how.template, Template::Builtin("chatml".to_owned()));
    assert_eq!(how.prefix_cache, [PrefixCache::Kept, PrefixCache::Defeated]);
    assert_eq!((test.output.max_tokens, test.output.temperature, test.repeats), (40, 0.5, 2));
    assert_eq!(test.validity.broken_answers_percent, Some(5.0));
    let (thorough, _) = good("preset: Thorough\n");
    assert_eq!(thorough.repeats, 5);
    let (_, quick) = good("preset: Quick\n");
    assert_eq!(quick.max_conversations, Some(3));
    let (_, file) = good("template: { file: my.jinja }\n");
    assert_eq!(file.template, Template::File("my.jinja".to_owned()));
}

#[test]
fn what_cannot_be_is_told_with_its_place_and_what_to_write() {
    for (spec, expected) in [
        (
            "conversations: mine.yaml",
            "5:18: spec.conversations cannot be \"mine.yaml\" (write { file: mine.yaml })",
        ),
        ("conversations: { file: /etc/passwd }", "5:26: spec.conversations.file cannot be \"/etc/passwd\""),
        ("conversations: { builtin: false }", "names none"),
        ("prefixCache: Keept", "one of Kept, Changed, Defeated"),
        ("prefixCache: [Kept, Kept]", "has Kept twice"),
        ("contextSize: big", "Auto, or a number of tokens"),
        ("template: chatml2", "did you mean \"chatml\"?"),
        ("includeTags: rag\nexcludeTags: rag", "has rag, which includeTags has too"),
        ("load: { concurrency: 4 }", "unknown field \"load\" in spec"),
        ("maxConversations: 0", "a whole number from 1"),
    ] {
        let found = problems(spec);
        assert!(found.iter().any(|problem| problem.contains(expected)), "{spec}: {found:?}");
    }
}

#[test]
fn a_file_of_conversations_is_read_with_its_documents_and_expectations() {
    let text = "conversations:\n- name: a\n  tags: [x]\n  documents:\n    note: some text\n    \
                big: { generate: { tokens: 100, needle: here, depth: 30 } }\n  turns:\n  - user: one\n    \
                put: [note, big]\n    expect: { contains: yes }\n  - { user: two, take: note, maxTokens: 7 }\n  \
                - { user: three, put: note, expect: { matches: '[0-9]+' } }\n";
    let read = conversation_file::parse(text).unwrap();
    let one = &read[0];
    assert_eq!(one.documents["note"], Document::Text("some text".to_owned()));
    let generated = Document::Generated { tokens: 100, needle: Some("here".to_owned()), depth_percent: 30 };
    assert_eq!(one.documents["big"], generated);
    assert_eq!(one.turns[0].put, ["note", "big"]);
    assert_eq!((one.turns[1].take.as_slice(), one.turns[1].max_tokens), (&["note".to_owned()][..], Some(7)));
    let expect = one.turns[2].expect.as_ref().unwrap();
    assert!(expect.is_met_by("it is 42") && !expect.is_met_by("it is so"));
    assert!(Expect::Contains("Jupiter".to_owned()).is_met_by("JUPITER, of course"));
}

#[test]
fn every_mistake_of_a_file_of_conversations_is_told_at_its_place() {
    let text = "conversations:\n- name: a b\n  turns: [{ user: x }]\n- name: c\n  turns:\n  - { user: x, put: y }\n  \
                - { user: '', take: z }\n  - { user: x, expect: { matches: '(' } }\n  - { user: x, expect: {} }\n\
                - name: d\n  turns: []\n";
    let found: Vec<String> =
        conversation_file::parse(text).unwrap_err().iter().map(ToString::to_string).collect();
    for expected in [
        "2:9: conversations[0].name cannot be \"a b\"",
        "6:21: conversations[1].turns[0].put names y, which is none of the documents",
        "says nothing",
        "names z, which is not in the context",
        "unclosed group",
        "has to have either contains or matches",
        "has 0 turns",
    ] {
        assert!(found.iter().any(|problem| problem.contains(expected)), "{expected}: {found:#?}");
    }
}

#[test]
fn only_a_file_with_conversations_and_no_kind_is_data() {
    let is_data = |text: &str| conversation_file::is_one(&tree::parse(text));
    assert!(is_data("# mine\nconversations: []\n"));
    for request in
        ["kind: Conversation\nconversations: []\n", "spec: {}\n", "", "apiVersion: x\nconversations: []\n"]
    {
        assert!(!is_data(request), "{request}");
    }
}

/// Names that the example shows in other words, or that stand in the file of a conversation alone.
const ELSEWHERE: &[&str] = &[
    "targets",
    "gate",
    "baseline",
    "thresholds",
    "fail",
    "warn",
    "margin",
    "varies",
    "strict",
    "apply",
    "dir",
    "tags",
    "description",
    "expectedTokens",
    "generate",
    "tokens",
    "needle",
    "depth",
    "matches",
    "simulated",
    "dialect",
    "ttft",
    "prefill",
    "itl",
    "jitter",
    "errorRate",
    "cutRate",
    "tokensPerChunk",
    "slots",
    "api",
    "maxTokens",
];

#[test]
fn the_example_has_every_field_of_the_tables() {
    const EXAMPLE: &str = include_str!("../../requests/conversation.yaml");
    let fields = schema::spec_fields("Conversation").unwrap();
    assert_eq!(not_shown(&[fields, FILE], EXAMPLE, ELSEWHERE), Vec::<&str>::new());
}
