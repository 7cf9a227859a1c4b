//! A conversation's figures in few words, for status files, tables and reports. Rounds for people; computes
//! nothing.

use super::conversation_case::{ConversationFigures, Saved, Skipped};
use super::load_case::LoadCase;
use super::load_words::{ms, short};
use super::request_record::EndedEarly;
use crate::request::conversation::PrefixCache;
use crate::stats::mean_difference::Estimate;
use crate::stats::quantile::quantile;
use crate::stats::summary::Summary;

/// `qa-first-bread Kept vllm/phi-3: 6 turns, ttft p50 20.4 ms, 62 % cached, context 812 of 4096, 6 of 6 ok`
pub fn line(case: &LoadCase, held: &ConversationFigures) -> String {
    if let Some(skipped) = &held.skipped {
        return format!("{}: not started: {}", case.label(), needs(skipped));
    }
    let mut words = vec![format!("{} turns", held.turns_asked)];
    words.extend(p50(&case.metrics.ttft).map(|value| format!("ttft p50 {} ms", ms(value))));
    words.extend(p50(&case.metrics.tpot).map(|value| format!("tpot p50 {} ms", ms(value))));
    words.extend(cached(case).map(|percent| format!("{percent:.0} % cached")));
    words.extend(context(held).map(|context| format!("context {context}")));
    words.extend(held.saved.as_ref().map(|saved| format!("the cache saved {}", saved_words(saved))));
    words.push(format!("{} of {} ok", case.requests.ok, case.requests.total));
    words.extend(held.early.as_ref().map(ended_early));
    if held.quality.met < held.quality.expected && !case.simulated {
        words.push(format!("{} of {} expectations met", held.quality.met, held.quality.expected));
    }
    if !case.valid {
        words.push("not valid".to_owned());
    }
    format!("{}: {}", case.label(), words.join(", "))
}

fn p50(summary: &Option<Summary>) -> Option<f64> {
    summary.as_ref()?.p50
}

/// What stands for all conversations of a run: the median wait for a first token, and how fast answers come:
/// `ttft p50 82.1 ms, 41.5 tok/s in 7 conversations`.
pub fn headline(cases: &[LoadCase]) -> Option<String> {
    let (ttft, rate, count) = middle(cases)?;
    let what = if count == 1 { "conversation" } else { "conversations" };
    let ttft = ttft.map(|ttft| format!("ttft p50 {} ms", ms(ttft)));
    let rate = rate.map(|rate| format!("{} tok/s", short(rate)));
    let told: Vec<String> = ttft.into_iter().chain(rate).collect();
    Some(if told.is_empty() {
        format!("{count} {what}")
    } else {
        format!("{} in {count} {what}", told.join(", "))
    })
}

/// Over the cases whose cache was kept, else over all: medians of their median times to first token in
/// milliseconds and of their decode rates in tokens per second, and how many they are.
/// Nothing of a load test's cases.
pub fn middle(cases: &[LoadCase]) -> Option<(Option<f64>, Option<f64>, usize)> {
    let held = |case: &&LoadCase| case.conversation.is_some() && case.requests.ok > 0;
    let kept = |case: &&LoadCase| {
        case.conversation.as_ref().is_some_and(|held| held.prefix_cache == PrefixCache::Kept)
    };
    let mut all: Vec<&LoadCase> = cases.iter().filter(held).filter(kept).collect();
    if all.is_empty() {
        all = cases.iter().filter(held).collect();
    }
    let median = |values: &mut dyn Iterator<Item = f64>| {
        let mut values: Vec<f64> = values.collect();
        values.sort_unstable_by(f64::total_cmp);
        quantile(&values, 0.5)
    };
    let ttft = median(&mut all.iter().filter_map(|case| p50(&case.metrics.ttft)));
    let tpot = all.iter().filter_map(|case| p50(&case.metrics.tpot)).filter(|ms| *ms > 0.0);
    let rate = median(&mut tpot.map(|ms| 1_000.0 / ms));
    (!all.is_empty()).then_some((ttft, rate, all.len()))
}

/// Percent of the prompt tokens, by the best that is known.
pub fn cached(case: &LoadCase) -> Option<f64> {
    case.tokens.cache_hit_percent
}

/// `812 of 4096 tokens (20 %)`
pub fn context(held: &ConversationFigures) -> Option<String> {
    let peak = held.context.peak_tokens?;
    Some(match (held.context.window, held.context.peak_percent) {
        (Some(window), Some(percent)) => format!("{peak} of {window} tokens ({percent:.0} %)"),
        (Some(_) | None, Some(_) | None) => format!("{peak} tokens"),
    })
}

/// `1.84 s a conversation (1.62 to 2.06), 71 % (66 to 75) of the waiting`
pub fn saved_words(saved: &Saved) -> String {
    let percent = saved.percent.as_ref().map(|percent| format!(", {}", estimate(percent, " %")));
    format!("{}{} of the {}", estimate(&saved.seconds, " s"), percent.unwrap_or_default(), saved_of(saved))
}

fn saved_of(saved: &Saved) -> &'static str {
    if saved.of == "ttft" { "waiting for first tokens" } else { "waiting for answers" }
}

/// A figure with its interval, or with the word that there is none.
pub fn estimate(estimate: &Estimate, unit: &str) -> String {
    // Nobody wants to read of minus nothing.
    let short = |value: f64| {
        short(value).trim_start_matches('-').parse::<f64>().map_or_else(
            |_| short(value),
            |size| {
                if size == 0.0 { short(0.0) } else { short(value) }
            },
        )
    };
    let value = short(estimate.value);
    match estimate.interval {
        Some([low, high]) => format!("{value}{unit} ({} to {})", short(low), short(high)),
        None => format!("{value}{unit} (one repeat tells no interval)"),
    }
}

pub fn too_large(name: &str, skipped: &Skipped) -> String {
    format!("{name} was not started: {}", needs(skipped))
}

fn needs(skipped: &Skipped) -> String {
    let how = if skipped.counted { "" } else { " by the length of its texts" };
    format!(
        "it needs up to {} tokens{how}, and the context has {}",
        skipped.needed_tokens, skipped.context_window
    )
}

pub fn ended_early(early: &EndedEarly) -> String {
    match early {
        EndedEarly::ContextFull { turn, needed_tokens, context_window } => format!(
            "ended before turn {turn}: with its answer it may need {needed_tokens} tokens, and the context has \
             {context_window}"
        ),
        EndedEarly::TurnFailed { turn } => format!("ended with turn {turn}, which got no answer"),
    }
}
