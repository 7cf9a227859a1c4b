//! From the records of a conversation to its figures: turn by turn, what the context and the cache had to do
//! with it, and whether the answers are any good.

use super::conversation_case::{
    CacheHits, ContextUse, ConversationFigures, HeldOnce, Quality, Saved, Skipped, TurnFigures,
};
use super::load_case::{Invalid, InvalidReason, LoadCase};
use super::load_counted::{counted, output_tokens, succeeded};
use super::load_figures::{CaseInput, Pass};
use super::load_latency::of_request;
use super::repetition::repetition;
use super::request_record::{Record, TokenSource};
use crate::request::conversation::{Conversation, PrefixCache};
use crate::request::load_test::Metric;
use crate::stats::mean_difference::{difference, percent_below};
use crate::stats::quantile::quantile;

/// An answer of which more than this share was said before repeats itself.
const REPEATED: f64 = 0.5;
const LENGTH: &str = "length";

/// A conversation that was to be held.
#[derive(Debug, Clone, Copy)]
pub struct HeldInput<'a> {
    pub conversation: &'a Conversation,
    pub cache: PrefixCache,
    /// Tokens that a request says its context has; `None`: as the engine says.
    pub context_size: Option<u64>,
}

pub(super) fn figures(input: &CaseInput<'_>, held: HeldInput<'_>) -> ConversationFigures {
    let passes = input.passes.as_slice();
    let conversation = held.conversation;
    let told = input.facts.and_then(|facts| facts.context_window);
    let window = [held.context_size, told].into_iter().flatten().min();
    let turns: Vec<TurnFigures> =
        (0..conversation.turns.len()).map(|turn| turn_figures(turn, held, passes, window)).collect();
    let peak = passes.iter().flat_map(succeeded).filter_map(context_tokens).max();
    ConversationFigures {
        name: conversation.name.clone(),
        tags: conversation.tags.clone(),
        prefix_cache: held.cache,
        turns_asked: u32::try_from(conversation.turns.len()).unwrap_or(u32::MAX),
        repeats_asked: u32::try_from(passes.len()).unwrap_or(u32::MAX),
        skipped: passes.iter().find_map(|pass| pass.skipped).map(|skipped| Skipped {
            needed_tokens: skipped.needed_tokens,
            context_window: skipped.context_window,
            counted: skipped.counted,
        }),
        early: passes.iter().find_map(|pass| pass.ended?.early.clone()),
        context: ContextUse { window, peak_tokens: peak, peak_percent: percent_of(peak, window) },
        cache_hits: cache_hits(passes),
        saved: None,
        quality: quality(conversation, passes),
        held: passes.iter().filter_map(|pass| held_once(pass, conversation.turns.len())).collect(),
        turns,
    }
}

fn of_turn<'a>(pass: &Pass<'a>, turn: usize) -> Option<&'a Record> {
    succeeded(pass).find(|record| record.n == turn as u64)
}

fn turn_figures(turn: usize, held: HeldInput<'_>, passes: &[Pass<'_>], window: Option<u64>) -> TurnFigures {
    let conversation = held.conversation;
    let ok: Vec<&Record> = passes.iter().filter_map(|pass| of_turn(pass, turn)).collect();
    let expect = conversation.turns.get(turn).and_then(|turn| turn.expect.as_ref());
    let met = |record: &&&Record| expect.is_some_and(|expect| expect.is_met_by(answer(record)));
    let failed = passes.iter().flat_map(counted).find_map(|record| {
        record.error.as_ref().filter(|_| record.n == turn as u64).map(|error| error.message.clone())
    });
    TurnFigures {
        turn: u32::try_from(turn + 1).unwrap_or(u32::MAX),
        ok: ok.len() as u32,
        documents: passes
            .iter()
            .flat_map(|pass| pass.turns)
            .find(|told| told.n == turn as u64)
            .map(|told| told.documents.clone())
            .unwrap_or_default(),
        prompt_tokens: mean(ok.iter().map(|record| record.tokens_in.map(|tokens| tokens as f64))),
        cached_tokens: mean(ok.iter().map(|record| record.tokens_cached.map(|tokens| tokens as f64))),
        output_tokens: mean(ok.iter().map(|record| output_tokens(record).map(|tokens| tokens as f64))),
        context_percent: mean(ok.iter().map(|record| percent_of(context_tokens(record), window))),
        ttft_ms: median(ok.iter().filter_map(|record| of_request(Metric::Ttft, record))),
        e2e_ms: median(ok.iter().filter_map(|record| of_request(Metric::E2e, record))),
        prefill_tokens_per_s: median(ok.iter().filter_map(|record| prefill_rate(record, held.cache))),
        decode_tokens_per_s: median(
            ok.iter()
                .filter_map(|record| of_request(Metric::Tpot, record))
                .filter(|ms| *ms > 0.0)
                .map(|ms| 1_000.0 / ms),
        ),
        characters: mean(ok.iter().map(|record| Some(record.chars as f64))),
        finish_reasons: ok
            .iter()
            .map(|record| record.finish_reason.clone().unwrap_or_else(|| "unknown".to_owned()))
            .collect(),
        expected: expect.map(|expect| expect.words()),
        met: ok.iter().filter(met).count() as u32,
        error: failed,
    }
}

fn answer(record: &Record) -> &str {
    record.text.as_deref().unwrap_or_default()
}

/// Tokens of a prompt and its answer; chunks are none.
fn context_tokens(record: &Record) -> Option<u64> {
    Some(record.tokens_in?.saturating_add(output_tokens(record)?))
}

fn percent_of(part: Option<u64>, whole: Option<u64>) -> Option<f64> {
    let whole = whole.filter(|whole| *whole > 0)?;
    Some(100.0 * part? as f64 / whole as f64)
}

/// `None` where nobody tells how much of the prompt was in the cache, unless none of it can have been.
fn prefill_rate(record: &Record, cache: PrefixCache) -> Option<f64> {
    let cached = match cache {
        PrefixCache::Defeated => record.tokens_cached.unwrap_or(0),
        PrefixCache::Kept | PrefixCache::Changed => record.tokens_cached?,
    };
    let computed = record.tokens_in?.checked_sub(cached)?;
    let own = record.server.and_then(|server| server.prefill_ms);
    let ms = own.or_else(|| of_request(Metric::Ttft, record)).filter(|ms| *ms > 0.0)?;
    (computed > 0).then(|| computed as f64 * 1_000.0 / ms)
}

/// Over the turns that tell both, by each who counts.
fn cache_hits(passes: &[Pass<'_>]) -> CacheHits {
    let share = |pairs: &mut dyn Iterator<Item = (u64, u64)>| {
        // Who says that more was cached than there was is not to be believed.
        let (cached, all) = pairs
            .filter(|(of_it, whole)| of_it <= whole)
            .fold((0u64, 0u64), |(cached, all), (of_it, whole)| {
                (cached.saturating_add(of_it), all.saturating_add(whole))
            });
        (all > 0).then(|| 100.0 * cached as f64 / all as f64)
    };
    let ok = || passes.iter().flat_map(succeeded);
    let mut usage = ok()
        .filter(|record| record.token_source == Some(TokenSource::Usage))
        .filter_map(|record| Some((record.tokens_cached?, record.tokens_in?)));
    let mut engine = ok().filter_map(|record| Some((record.server?.cached_tokens?, record.tokens_in?)));
    let mut metrics = passes
        .iter()
        .flat_map(|pass| pass.turns)
        .filter_map(|turn| Some((turn.metrics_cached_tokens?, turn.metrics_prompt_tokens?)));
    CacheHits {
        usage_percent: share(&mut usage),
        engine_percent: share(&mut engine),
        metrics_percent: share(&mut metrics),
    }
}

fn quality(conversation: &Conversation, passes: &[Pass<'_>]) -> Quality {
    let mut quality = Quality::default();
    let mut characters = 0;
    for record in passes.iter().flat_map(succeeded) {
        let answer = answer(record);
        quality.answers += 1;
        characters += record.chars;
        quality.empty += u32::from(answer.trim().is_empty());
        quality.repeated += u32::from(repetition(answer).is_some_and(|share| share > REPEATED));
        quality.cut += u32::from(record.finish_reason.as_deref() == Some(LENGTH));
        let turn = usize::try_from(record.n).ok().and_then(|turn| conversation.turns.get(turn));
        if let Some(expect) = turn.and_then(|turn| turn.expect.as_ref()) {
            quality.expected += 1;
            quality.met += u32::from(expect.is_met_by(answer));
        }
    }
    quality.characters = (quality.answers > 0).then(|| characters as f64 / f64::from(quality.answers));
    quality
}

/// `None` where a turn is missing.
fn held_once(pass: &Pass<'_>, turns: usize) -> Option<HeldOnce> {
    let all: Vec<&Record> = (0..turns).map(|turn| of_turn(pass, turn)).collect::<Option<_>>()?;
    let sum = |metric| all.iter().map(|record| of_request(metric, record)).sum::<Option<f64>>();
    Some(HeldOnce { repeat: pass.plan.repeat, ttft_ms: sum(Metric::Ttft), e2e_ms: sum(Metric::E2e)? })
}

/// Answers that no user could do with, however fast they came.
pub(super) fn broken_answers(figures: &ConversationFigures, limit: f64) -> Option<Invalid> {
    let quality = &figures.quality;
    let broken = quality.empty + quality.repeated;
    let percent = 100.0 * f64::from(broken) / f64::from(quality.answers);
    if quality.answers == 0 || percent <= limit {
        return None;
    }
    let message = format!(
        "{broken} of {} answers are broken ({} empty, {} repeat themselves), above the limit of {limit} %: see \
         the model's template and the server's flags, or raise validity.brokenAnswers",
        quality.answers, quality.empty, quality.repeated
    );
    Some(Invalid { reason: InvalidReason::BrokenAnswers, message })
}

/// Adds to each conversation that was held with its cache kept what that saved against the same one, on the
/// same target and model, with the cache defeated.
pub fn add_savings(cases: &mut [LoadCase]) {
    let defeated: Vec<(String, Option<String>, ConversationFigures)> = cases
        .iter()
        .filter_map(|case| {
            let figures = case.conversation.as_ref()?;
            (figures.prefix_cache == PrefixCache::Defeated)
                .then(|| (case.target.clone(), case.model.clone(), figures.clone()))
        })
        .collect();
    for case in cases {
        let Some(figures) = &mut case.conversation else { continue };
        if figures.prefix_cache == PrefixCache::Defeated {
            continue;
        }
        let other = defeated.iter().find(|(target, model, other)| {
            (target, model, &other.name) == (&case.target, &case.model, &figures.name)
        });
        figures.saved = other.and_then(|(.., other)| saved(&figures.held, &other.held));
    }
}

fn saved(kept: &[HeldOnce], defeated: &[HeldOnce]) -> Option<Saved> {
    let streamed = kept.iter().chain(defeated).all(|held| held.ttft_ms.is_some());
    let seconds = |held: &[HeldOnce]| -> Vec<f64> {
        let ms =
            held.iter().map(|held| if streamed { held.ttft_ms.unwrap_or_default() } else { held.e2e_ms });
        ms.map(|ms| ms / 1_000.0).collect()
    };
    let (with, without) = (seconds(kept), seconds(defeated));
    Some(Saved {
        of: if streamed { "ttft" } else { "e2e" }.to_owned(),
        seconds: difference(&without, &with)?,
        percent: percent_below(&without, &with),
        held_kept: with.len() as u32,
        held_defeated: without.len() as u32,
    })
}

/// Of what all tell; `None` where one does not, and of none.
fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values: Vec<f64> = values.collect::<Option<_>>()?;
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    quantile(&values, 0.5)
}

#[cfg(test)]
#[path = "conversation_figures_tests.rs"]
mod tests;
