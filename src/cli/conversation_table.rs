//! Conversations in tables, as `run` and `describe` show them: a row each, and turn by turn.

use super::output::{Cell, Style, Table};
use crate::run::conversation_case::{ConversationFigures, TurnFigures};
use crate::run::conversation_words::{self, saved_words, too_large};
use crate::run::load_case::LoadCase;
use crate::run::load_words::{ms, short};

const HEADERS: [&str; 10] = [
    "CASE",
    "CONVERSATION",
    "TURNS",
    "ERRORS",
    "TTFT p50",
    "TTFT max",
    "TPOT p50",
    "CACHED",
    "CONTEXT",
    "EXPECTED",
];

/// The table, with `before` as its first columns.
pub fn table(before: &[&'static str]) -> Table {
    let headers: Vec<&'static str> = before.iter().copied().chain(HEADERS).collect();
    Table::new(&headers)
}

/// The cells of a case. Latencies are in milliseconds, over all turns and repeats.
pub fn cells(case: &LoadCase, held: &ConversationFigures) -> Vec<Cell> {
    let failed = case.requests.failed;
    let turns = match &held.skipped {
        Some(_) => Cell::new("not started").style(Style::Bad),
        None => Cell::new(format!("{}/{}", case.requests.ok, held.turns_asked * held.repeats_asked)),
    };
    let metrics = &case.metrics;
    let expected = (held.quality.expected > 0 && !case.simulated)
        .then(|| format!("{}/{}", held.quality.met, held.quality.expected));
    vec![
        Cell::new(case.case.to_string()),
        Cell::new(case.label()),
        turns,
        Cell::new(failed.to_string()).style(if failed > 0 { Style::Bad } else { Style::Plain }),
        Cell::maybe(metrics.ttft.as_ref().and_then(|summary| summary.p50).map(ms)),
        Cell::maybe(metrics.ttft.as_ref().and_then(|summary| summary.max).map(ms)),
        Cell::maybe(metrics.tpot.as_ref().and_then(|summary| summary.p50).map(ms)),
        Cell::maybe(conversation_words::cached(case).map(|percent| format!("{percent:.0}%"))),
        Cell::maybe(held.context.peak_percent.map(|percent| format!("{percent:.0}%"))),
        Cell::maybe(expected),
    ]
}

/// Each turn that was tried.
pub fn turns(held: &ConversationFigures, judged: bool) -> Table {
    let mut table = Table::new(&[
        "TURN",
        "PROMPT",
        "CACHED",
        "ANSWER",
        "CONTEXT",
        "TTFT",
        "PREFILL/S",
        "DECODE/S",
        "E2E",
        "DOCUMENTS",
        "EXPECTED",
    ])
    .indented(4);
    for turn in held.turns.iter().filter(|turn| turn.ok > 0 || turn.error.is_some()) {
        table.row(turn_cells(turn, judged));
    }
    table
}

/// A made-up answer is not judged.
fn turn_cells(turn: &TurnFigures, judged: bool) -> Vec<Cell> {
    let count =
        |count: Option<f64>| {
            Cell::maybe(count.map(|count| {
                if count.fract() == 0.0 { format!("{count:.0}") } else { format!("{count:.1}") }
            }))
        };
    vec![
        turn.turn.to_string().into(),
        count(turn.prompt_tokens),
        count(turn.cached_tokens),
        count(turn.output_tokens),
        Cell::maybe(turn.context_percent.map(|percent| format!("{percent:.0}%"))),
        Cell::maybe(turn.ttft_ms.map(ms)),
        Cell::maybe(turn.prefill_tokens_per_s.map(short)),
        Cell::maybe(turn.decode_tokens_per_s.map(short)),
        Cell::maybe(turn.e2e_ms.map(ms)),
        Cell::maybe((!turn.documents.is_empty()).then(|| turn.documents.join(","))),
        Cell::maybe(
            turn.expected
                .as_ref()
                .filter(|_| judged && turn.ok > 0)
                .map(|_| format!("{}/{}", turn.met, turn.ok)),
        ),
    ]
}

/// What a reader has to know beside the table.
pub fn remarks(held: &ConversationFigures) -> Vec<String> {
    let skipped = held.skipped.as_ref().map(|skipped| too_large(&held.name, skipped));
    let early = held.early.as_ref().map(|early| format!("it {}", conversation_words::ended_early(early)));
    let saved = held.saved.as_ref().map(|saved| format!("the cache saved {}", saved_words(saved)));
    [skipped, early, saved].into_iter().flatten().collect()
}

/// What else is known of a conversation, in lines.
pub fn details(held: &ConversationFigures) -> Vec<String> {
    let mut lines = remarks(held);
    lines.extend(conversation_words::context(held).map(|context| format!("context: at most {context}")));
    let hits = [
        ("usage", held.cache_hits.usage_percent),
        ("the engine's timings", held.cache_hits.engine_percent),
        ("/metrics", held.cache_hits.metrics_percent),
    ];
    let told: Vec<String> =
        hits.iter().filter_map(|(who, hits)| Some(format!("{:.1} % by {who}", (*hits)?))).collect();
    if !told.is_empty() {
        lines.push(format!("prefix cache: prompt tokens out of it: {}", told.join(", ")));
    }
    let quality = &held.quality;
    if quality.answers > 0 {
        lines.push(format!(
            "answers: {} characters on average, {} cut by their limit, {} empty, {} repeat themselves",
            quality.characters.map_or_else(|| "unknown".to_owned(), |mean| format!("{mean:.0}")),
            quality.cut,
            quality.empty,
            quality.repeated
        ));
    }
    lines
}
