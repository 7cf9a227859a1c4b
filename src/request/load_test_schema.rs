//! The fields of `kind: LoadTest`, one table a map. Their defaults stand here for people and in the
//! decoding files for benchlet.

use super::load_test::Engine;
use super::load_test_size::{
    MOST_CONCURRENT, MOST_ENTRIES, MOST_REPEATS, MOST_REQUESTS, MOST_TOKENS, MOST_WARMUPS,
};
use super::schema::{
    BACKOFF_LIMIT, Field, GATE, ON_CHANGE, ON_DELETE, REPORT_FIELD, RERUN, STATE, SUSPEND, Shape, field,
    required,
};

pub const LOAD_TEST: &[Field] = &[
    TARGETS_FIELD,
    TARGET_FIELD,
    field(
        "prompts",
        Shape::AnyOf(&[Shape::OneOf(&["builtin"]), Shape::Map(PROMPTS)]),
        "What the requests say (builtin).",
    ),
    field("output", Shape::Map(OUTPUT), "What the requests ask for."),
    field("load", Shape::Map(LOAD), "How many requests, and how they arrive."),
    field("warmup", Shape::Map(WARMUP), "Requests before each case that do not count."),
    field("requestTimeout", Shape::Duration, "Longest time for one request (30s)."),
    STREAM,
    SLO,
    field("samples", Shape::Integer { least: 0, most: 100 }, "Answers whose text is kept, a case (3)."),
    TOKENIZER,
    COST_FIELD,
    field("validity", Shape::Map(VALIDITY), "Beyond these limits a run says Valid=False."),
    ORDER,
    SEED,
    PAUSE,
    CACHE,
    REPEATS,
    field(
        "threads",
        Shape::Integer { least: 1, most: 1024 },
        "Threads of the client; by the machine and the load where it is left out.",
    ),
    field(
        "preset",
        Shape::OneOf(&["Quick", "Thorough"]),
        "Quick: 20 requests, 1 repeat. Thorough: 200 requests, 3 repeats. Other fields go over it.",
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
    field("timeout", Shape::Duration, "Longest time to run, all cases together (1h)."),
    BACKOFF_LIMIT,
    GATE,
    REPORT_FIELD,
    LOAD_TEST_APPLY,
];

// What every kind has that speaks to servers.
pub(super) const TARGETS_FIELD: Field =
    field("targets", Shape::List(&Shape::Map(TARGET)), "The engines to measure, one after the other.");
pub(super) const TARGET_FIELD: Field =
    field("target", Shape::Map(TARGET), "The engine to measure, where there is one only.");
pub(super) const STREAM: Field = field(
    "stream",
    Shape::Boolean,
    "Whether answers are streamed (true); without it there is no time to first token.",
);
pub(super) const SLO: Field =
    field("slo", Shape::Objectives, "Upper bounds such as ttft_p95: 500ms; goodput counts what meets them.");
pub(super) const TOKENIZER: Field = field(
    "tokenizer",
    Shape::Text,
    "The model's tokenizer.json, relative to here: counts tokens where neither an answer nor its server does.",
);
pub(super) const COST_FIELD: Field =
    field("cost", Shape::Map(COST), "What the machine costs, for figures in money.");
pub(super) const ORDER: Field = field(
    "order",
    Shape::OneOf(&["Shuffled", "AsWritten"]),
    "The order of the cases (Shuffled, by the seed).",
);
pub(super) const SEED: Field = field(
    "seed",
    Shape::Integer { least: 0, most: u32::MAX },
    "Seeds the order of cases, arrivals, prompts and salts (1).",
);
pub(super) const PAUSE: Field = field("pause", Shape::Duration, "Rest between two cases (0s).");
pub(super) const CACHE: Field = field(
    "cache",
    Shape::OneOf(&["Salt", "Flush", "Keep"]),
    "The engine's prompt cache: prompts that cannot be in it (Salt), emptied before each case, or kept.",
);
pub(super) const REPEATS: Field = field(
    "repeats",
    Shape::Integer { least: 1, most: MOST_REPEATS },
    "How often the whole matrix is measured, interleaved (1).",
);
pub(super) const CONFLICT: Field = field(
    "conflict",
    Shape::OneOf(&["Share", "Fail", "Stop", "UseRunning"]),
    "If a managed target's service runs already: start a second one, fail (the default), stop it for the \
     run, or measure the one that runs.",
);
pub(super) const MANAGED_EXECUTOR: Field = field(
    "executor",
    Shape::OneOf(&["auto", "docker", "process"]),
    "Where managed engines run; the client is always a process.",
);
pub(super) const PULL_POLICY: Field =
    field("imagePullPolicy", Shape::OneOf(&["IfNotPresent", "Always", "Never"]), "When images are pulled.");
pub(super) const ENGINE_START_TIMEOUT: Field = field(
    "engineStartTimeout",
    Shape::Duration,
    "Longest time for a managed engine to become healthy (10m).",
);
pub(super) const LOAD_TEST_APPLY: Field =
    field("apply", Shape::Any, "Puts the result into the service. Not for load tests in this version.");

pub const TARGET: &[Field] = &[
    field("name", Shape::Text, "As results call it; the service, else engine and address."),
    field(
        "engine",
        Shape::TextOr(&Engine::NAMES),
        "How to speak to it: one of these, or an [engines.NAME] of the settings. By the service's kind, or \
         openai for a bare URL.",
    ),
    field("url", Shape::Text, "http://host:port; without it and a service, the engine's usual port here."),
    field("service", Shape::Text, "A service of the compose file or of services.json."),
    field(
        "lifecycle",
        Shape::OneOf(&["Running", "Managed"]),
        "Running: the service is there (the default). Managed: started for the run, removed after it.",
    ),
    field(
        "model",
        Shape::OneOrMore(&Shape::Text, MOST_ENTRIES),
        "As the server calls it; the one that it names first where it is left out.",
    ),
    field("api", Shape::OneOf(&["Chat", "Completions"]), "Which of the engine's APIs (Chat)."),
    field(
        "preset",
        Shape::OneOf(&["SingleUser", "Debug"]),
        "For lifecycle: Managed, a set of flags: one user at a time, or small and quick to start.",
    ),
    field(
        "params",
        Shape::ServerFlags,
        "For lifecycle: Managed, flags over the service's own, such as max_model_len: 4096.",
    ),
    field("simulated", Shape::Map(SIMULATION), "For engine: simulated, how it answers."),
];

pub const SIMULATION: &[Field] = &[
    field(
        "dialect",
        Shape::OneOf(&["llama.cpp", "ollama", "vllm", "openai"]),
        "The engine that it speaks like (openai).",
    ),
    field("ttft", Shape::Duration, "Time to first token (50ms)."),
    field("prefill", Shape::Duration, "Added to it for each prompt token that is not in the cache (0s)."),
    field("itl", Shape::Duration, "Time between tokens (10ms)."),
    field("jitter", Shape::Percent, "Standard deviation of both (0%)."),
    field("errorRate", Shape::Percent, "Share of requests answered with an error (0%)."),
    field("cutRate", Shape::Percent, "Share of streams cut in the middle (0%)."),
    field("tokensPerChunk", Shape::Integer { least: 1, most: 1000 }, "Tokens in a chunk (1)."),
    field(
        "slots",
        Shape::Integer { least: 0, most: MOST_CONCURRENT },
        "Requests served at a time; the others wait (0: all).",
    ),
];

pub const PROMPTS: &[Field] = &[
    field("file", Shape::Text, "JSONL with prompt or messages, max_tokens, temperature; relative to here."),
    field(
        "inline",
        Shape::List(&Shape::AnyOf(&[Shape::Text, Shape::Map(PROMPT)])),
        "Texts, or maps with prompt or messages.",
    ),
    field("synthetic", Shape::Map(SYNTHETIC), "Made-up text of a length in tokens."),
];

pub const PROMPT: &[Field] = &[
    field("prompt", Shape::Text, "The text."),
    field("messages", Shape::List(&Shape::Map(MESSAGE)), "A conversation, in place of a text."),
    field("maxTokens", Shape::Integer { least: 1, most: MOST_TOKENS }, "In place of output.maxTokens."),
    field("temperature", Shape::Number { least: 0.0, most: 2.0 }, "In place of output.temperature."),
];

pub const MESSAGE: &[Field] = &[
    required("role", Shape::OneOf(&["system", "developer", "user", "assistant", "tool"]), "Who says it."),
    required("content", Shape::Text, "What is said."),
];

pub const SYNTHETIC: &[Field] = &[
    field(
        "inputTokens",
        Shape::OneOrMore(&Shape::Integer { least: 1, most: MOST_TOKENS }, MOST_ENTRIES),
        "Mean length of a prompt, without its shared prefix (512). A list makes a matrix.",
    ),
    field(
        "distribution",
        Shape::OneOf(&["Fixed", "Uniform", "Normal", "LogNormal"]),
        "How lengths vary around the mean (Fixed).",
    ),
    field(
        "spread",
        Shape::Percent,
        "How far (20%): either side of the mean for Uniform, the standard deviation for Normal, that of the \
         logarithm for LogNormal.",
    ),
    field(
        "sharedPrefixTokens",
        Shape::Integer { least: 0, most: MOST_TOKENS },
        "Tokens that all prompts of a case begin with (0).",
    ),
];

pub const OUTPUT: &[Field] = &[
    field("maxTokens", Shape::Integer { least: 1, most: MOST_TOKENS }, "Most tokens of an answer (512)."),
    field("temperature", Shape::Number { least: 0.0, most: 2.0 }, "0.7."),
    field("ignoreEos", Shape::Boolean, "Go on to maxTokens whatever the model says, where the engine can."),
];

pub const LOAD: &[Field] = &[
    field(
        "concurrency",
        Shape::OneOrMore(&Shape::Integer { least: 1, most: MOST_CONCURRENT }, MOST_ENTRIES),
        "Requests in flight, each followed by the next (1). A list makes a matrix.",
    ),
    field(
        "rate",
        Shape::OneOrMore(&Shape::Rate, MOST_ENTRIES),
        "Requests that arrive a second, whatever the server does. A list makes a matrix.",
    ),
    field(
        "arrivals",
        Shape::OneOf(&["Poisson", "Constant"]),
        "With rate: at random as independent users do (Poisson), or evenly.",
    ),
    field(
        "requests",
        Shape::OneOrMore(&Shape::Integer { least: 1, most: MOST_REQUESTS }, MOST_ENTRIES),
        "A case ends after so many requests (100). A list makes a matrix.",
    ),
    field("duration", Shape::Duration, "No request begins after this; those in flight are awaited."),
    field(
        "rampUp",
        Shape::Duration,
        "Concurrency or rate grow to the whole over this time at the beginning of a case (0s).",
    ),
];

pub const WARMUP: &[Field] =
    &[field("requests", Shape::Integer { least: 0, most: MOST_WARMUPS }, "How many (5).")];

pub const COST: &[Field] =
    &[required("perHour", Shape::Number { least: 0.0, most: 1e9 }, "In any currency.")];

pub const VALIDITY: &[Field] = &[CLIENT_DELAY, CLIENT_CPU, ERROR_RATE, CACHE_HITS, OUTPUT_LENGTH];

pub(super) const CLIENT_DELAY: Field =
    field("clientDelay", Shape::Duration, "Median of how late requests were sent (10ms).");
pub(super) const CLIENT_CPU: Field =
    field("clientCpu", Shape::Percent, "Of one core, by client thread (80%).");
pub(super) const ERROR_RATE: Field = field("errorRate", Shape::Percent, "Failed requests (1%).");
pub(super) const CACHE_HITS: Field =
    field("cacheHits", Shape::Percent, "Prompt tokens out of a cache that should have been cold (1%).");
pub(super) const OUTPUT_LENGTH: Field =
    field("outputLength", Shape::Percent, "Mean output length off the asked one, with ignoreEos (5%).");
