//! The fields of `kind: Conversation` and of files of conversations, one table a map.

use super::load_test_schema::{
    CACHE, CACHE_HITS, CLIENT_CPU, CLIENT_DELAY, CONFLICT, COST_FIELD, ENGINE_START_TIMEOUT, ERROR_RATE,
    LOAD_TEST_APPLY, MANAGED_EXECUTOR, ORDER, OUTPUT, OUTPUT_LENGTH, PAUSE, PULL_POLICY, REPEATS, SEED, SLO,
    STREAM, TARGET_FIELD, TARGETS_FIELD, TOKENIZER,
};
use super::load_test_size::{MOST_ENTRIES, MOST_TOKENS, MOST_WARMUPS};
use super::schema::{
    BACKOFF_LIMIT, Field, GATE, ON_CHANGE, ON_DELETE, REPORT_FIELD, RERUN, STATE, SUSPEND, Shape, field,
    required,
};

/// Largest context that a request may name, in tokens.
pub const MOST_CONTEXT: u32 = 100_000_000;
/// Most conversations of a file, and turns of a conversation.
pub const MOST_CONVERSATIONS: usize = 1_000;
pub const MOST_TURNS: usize = 1_000;

pub const CONVERSATION: &[Field] = &[
    TARGETS_FIELD,
    TARGET_FIELD,
    field(
        "conversations",
        Shape::AnyOf(&[Shape::OneOf(&["builtin"]), Shape::Map(CONVERSATIONS)]),
        "Where conversations come from (builtin); `benchlet conversations list` shows them.",
    ),
    field(
        "names",
        Shape::OneOrMore(&Shape::Text, MOST_ENTRIES),
        "Only the conversations of these names, in this order.",
    ),
    field(
        "includeTags",
        Shape::OneOrMore(&Shape::Text, MOST_ENTRIES),
        "Only conversations with one of these tags.",
    ),
    field(
        "excludeTags",
        Shape::OneOrMore(&Shape::Text, MOST_ENTRIES),
        "No conversation with one of these tags.",
    ),
    field(
        "maxConversations",
        Shape::Integer { least: 1, most: MOST_CONVERSATIONS as u32 },
        "At most so many: the first that fit into the context; with isolation: PerConversation the first.",
    ),
    field(
        "contextSize",
        Shape::AnyOf(&[Shape::OneOf(&["Auto"]), Shape::Integer { least: 1, most: MOST_CONTEXT }]),
        "Tokens that fit into the context (Auto: the engine is asked). What would not fit is not started.",
    ),
    field(
        "template",
        Shape::AnyOf(&[
            Shape::TextOr(&["Server", "Model", "chatml", "llama3", "phi3", "gemma", "mistral"]),
            Shape::Map(TEMPLATE),
        ]),
        "Who renders messages: the server by the model's own template (Server), or benchlet: by the one in the \
         service's model on this machine (Model), by one that it brings, or by a file.",
    ),
    field(
        "isolation",
        Shape::OneOf(&["PerRun", "PerConversation"]),
        "For lifecycle: Managed: one engine for all conversations (PerRun), or a fresh one for each.",
    ),
    field(
        "prefixCache",
        Shape::OneOrMore(&Shape::OneOf(&["Kept", "Changed", "Defeated"]), 3),
        "The engine's prefix cache from turn to turn (Kept): reused, of no use behind the system message, or \
         of no use at all. A list holds each conversation so many times and tells what the cache saved.",
    ),
    field("thinkTime", Shape::Duration, "Between an answer and the next turn (0s)."),
    field("output", Shape::Map(OUTPUT), "What the requests ask for; maxTokens bounds each turn's own."),
    field("warmup", Shape::Map(WARMUP), "Requests to each engine before its first conversation."),
    field("requestTimeout", Shape::Duration, "Longest time for one turn (5m)."),
    STREAM,
    SLO,
    TOKENIZER,
    COST_FIELD,
    field("validity", Shape::Map(VALIDITY), "Beyond these limits a run says Valid=False."),
    ORDER,
    SEED,
    PAUSE,
    CACHE,
    REPEATS,
    field(
        "preset",
        Shape::OneOf(&["Quick", "Thorough"]),
        "Quick: 3 conversations at most. Thorough: 5 repeats. Other fields go over it.",
    ),
    CONFLICT,
    MANAGED_EXECUTOR,
    PULL_POLICY,
    ENGINE_START_TIMEOUT,
    SUSPEND,
    STATE,
    RERUN,
    ON_CHANGE,
    ON_DELETE,
    field("timeout", Shape::Duration, "Longest time to run, all conversations together (1h)."),
    BACKOFF_LIMIT,
    GATE,
    REPORT_FIELD,
    LOAD_TEST_APPLY,
];

pub const CONVERSATIONS: &[Field] = &[
    field("builtin", Shape::Boolean, "Those that come with benchlet (true where no other is named)."),
    field("file", Shape::Text, "A file of conversations, relative to here."),
    field("inline", Shape::List(&Shape::Map(ONE)), "Conversations, right here."),
];

pub const TEMPLATE: &[Field] =
    &[required("file", Shape::Text, "A Jinja file, a tokenizer_config.json or a GGUF, relative to here.")];

pub const WARMUP: &[Field] =
    &[field("requests", Shape::Integer { least: 0, most: MOST_WARMUPS }, "How many (1).")];

pub const VALIDITY: &[Field] = &[
    CLIENT_DELAY,
    CLIENT_CPU,
    ERROR_RATE,
    CACHE_HITS,
    OUTPUT_LENGTH,
    field("brokenAnswers", Shape::Percent, "Answers that are empty or repeat themselves (20%)."),
];

/// A file of conversations.
pub const FILE: &[Field] = &[required(
    "conversations",
    Shape::List(&Shape::Map(ONE)),
    "The conversations, each with a name of its own.",
)];

pub const ONE: &[Field] = &[
    required("name", Shape::Text, "Letters, digits, -, _ and .; no other conversation has it."),
    field("description", Shape::Text, "One line for people."),
    field("tags", Shape::List(&Shape::Text), "Words to choose it by."),
    field(
        "expectedTokens",
        Shape::Integer { least: 1, most: MOST_CONTEXT },
        "The whole context at its largest, with every answer at its maxTokens.",
    ),
    field("system", Shape::Text, "The system message."),
    field("documents", Shape::Documents(DOCUMENT), "Data by name that turns put in and take out."),
    field(
        "maxTokens",
        Shape::Integer { least: 1, most: MOST_TOKENS },
        "Most tokens of an answer, unless its turn says otherwise (256).",
    ),
    required("turns", Shape::List(&Shape::Map(TURN)), "What the user says, one after the other."),
];

pub const DOCUMENT: &[Field] =
    &[required("generate", Shape::Map(GENERATE), "Made-up prose in place of a text.")];

pub const GENERATE: &[Field] = &[
    required("tokens", Shape::Integer { least: 1, most: MOST_TOKENS }, "About how long."),
    field("needle", Shape::Text, "A sentence that stands in it once."),
    field("depth", Shape::Integer { least: 0, most: 100 }, "Where, in percent of the length (50)."),
];

pub const TURN: &[Field] = &[
    required("user", Shape::Text, "What the user says."),
    field("put", Shape::OneOrMore(&Shape::Text, MOST_ENTRIES), "Documents that join the context."),
    field("take", Shape::OneOrMore(&Shape::Text, MOST_ENTRIES), "Documents that leave it before this turn."),
    field("maxTokens", Shape::Integer { least: 1, most: MOST_TOKENS }, "Most tokens of the answer."),
    field("expect", Shape::Map(EXPECT), "What a good answer has; one of the two."),
];

pub const EXPECT: &[Field] = &[
    field("contains", Shape::Text, "These words, whatever their case."),
    field("matches", Shape::Text, "A regular expression."),
];
