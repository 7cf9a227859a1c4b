use super::*;
use crate::request::conversation::{Expect, Turn};
use crate::request::load_test::{Api, CachePolicy, Output, ValidityLimits};
use crate::run::load_figures::case_figures;
use crate::run::measure_plan::{CaseAmount, CaseLoad, CasePlan, Dialect, Endpoint, TargetPlan};
use crate::run::request_record::{
    CaseEnded, CaseSkipped, CaseStarted, ErrorKind, RequestError, ServerTimings, TargetFacts, TurnEnded,
};
use std::collections::BTreeMap;

fn conversation() -> Conversation {
    let turn = |user: &str, expect: Option<Expect>| Turn {
        user: user.to_owned(),
        put: Vec::new(),
        take: Vec::new(),
        max_tokens: Some(11),
        expect,
    };
    Conversation {
        name: "talk".to_owned(),
        description: String::new(),
        tags: vec!["simple".to_owned()],
        expected_tokens: None,
        system: None,
        documents: BTreeMap::new(),
        max_tokens: None,
        turns: vec![
            turn("which planet?", Some(Expect::Contains("jupiter".to_owned()))),
            turn("how far?", Some(Expect::Matches("[0-9]+ km".to_owned()))),
        ],
    }
}

/// An answer of 11 tokens, the first after `ttft_ms`, then one every 10 ms.
fn answer(n: u64, tokens_in: u64, cached: u64, ttft_ms: u64, text: &str) -> Record {
    let us = |ms: u64| ms * 1_000;
    let mut chunks = vec![us(ttft_ms) as u32];
    chunks.extend([10_000; 10]);
    Record {
        n,
        first_token_us: Some(us(ttft_ms)),
        last_token_us: Some(us(ttft_ms + 100)),
        end_us: us(ttft_ms + 101),
        chunks,
        tokens_in: Some(tokens_in),
        tokens_out: Some(11),
        tokens_cached: Some(cached),
        token_source: Some(TokenSource::Usage),
        max_tokens: 11,
        finish_reason: Some("stop".to_owned()),
        status: Some(200),
        chars: text.chars().count() as u64,
        text: Some(text.to_owned()),
        ..Record::default()
    }
}

fn good(first_ttft: u64, cached: u64, second_ttft: u64) -> Vec<Record> {
    vec![
        answer(0, 40, 0, first_ttft, "It is Jupiter."),
        answer(1, 100, cached, second_ttft, "About 700000000 km."),
    ]
}

struct Made {
    repeats: Vec<Vec<Record>>,
    turns: Vec<TurnEnded>,
    skipped: Option<CaseSkipped>,
    cache: PrefixCache,
}

impl Made {
    fn of(repeats: Vec<Vec<Record>>) -> Self {
        Self { repeats, turns: Vec::new(), skipped: None, cache: PrefixCache::Kept }
    }

    fn figures(&self) -> LoadCase {
        let conversation = conversation();
        let target = TargetPlan {
            name: "here".to_owned(),
            dialect: Dialect::LlamaCpp,
            api: Api::Chat,
            endpoint: Endpoint::Url("http://127.0.0.1:1".to_owned()),
            key: None,
            simulated: false,
            container: None,
        };
        let facts = TargetFacts { context_window: Some(1_000), ..TargetFacts::default() };
        let plans: Vec<CasePlan> = (1..)
            .take(self.repeats.len())
            .map(|repeat| CasePlan {
                case: 1,
                repeat,
                target: 0,
                model: None,
                load: CaseLoad::Closed { concurrency: 1 },
                amount: CaseAmount::Requests(2),
                ramp_up_ms: 0,
                input_tokens: None,
                conversation: None,
            })
            .collect();
        let started = CaseStarted {
            index: 0,
            unix_ms: 0,
            threads: 1,
            model: Some("qwen".to_owned()),
            cache: "salted".to_owned(),
        };
        let ended = CaseEnded {
            index: 0,
            unix_ms: 1_000,
            wall_us: 1_000_000,
            client_cpu_us: 10_000,
            busiest_thread_cpu_us: 10_000,
            cut_short: false,
            early: None,
        };
        let begun = self.skipped.is_none();
        let passes = plans.iter().zip(&self.repeats).map(|(plan, records)| Pass {
            plan,
            started: begun.then_some(&started),
            ended: begun.then_some(&ended),
            records,
            series: BTreeMap::new(),
            turns: &self.turns,
            skipped: self.skipped.as_ref(),
        });
        case_figures(&CaseInput {
            number: 1,
            target: &target,
            facts: Some(&facts),
            passes: passes.collect(),
            slo: &[],
            limits: &ValidityLimits { broken_answers_percent: Some(20.0), ..ValidityLimits::default() },
            output: &Output { max_tokens: 11, temperature: 0.0, ignore_eos: false },
            cache: if self.cache == PrefixCache::Defeated { CachePolicy::Salt } else { CachePolicy::Keep },
            held: Some(HeldInput { conversation: &conversation, cache: self.cache, context_size: None }),
            simulated: false,
        })
    }
}

fn held(case: &LoadCase) -> &ConversationFigures {
    case.conversation.as_ref().unwrap()
}

fn close(found: Option<f64>, expected: f64) {
    assert!(found.is_some_and(|found| (found - expected).abs() < 1e-9), "{found:?}, not {expected}");
}

#[test]
fn a_turn_has_its_own_figures_over_the_repeats() {
    let case = Made::of(vec![good(40, 60, 20), good(44, 60, 24)]).figures();
    let second = &held(&case).turns[1];
    assert_eq!((second.turn, second.ok, second.met), (2, 2, 2));
    close(second.prompt_tokens, 100.0);
    close(second.cached_tokens, 60.0);
    close(second.ttft_ms, 22.0);
    close(second.decode_tokens_per_s, 100.0);
    // 40 tokens in 20 and in 24 ms.
    close(second.prefill_tokens_per_s, (2_000.0 + 40_000.0 / 24.0) / 2.0);
    close(second.context_percent, 11.1);
    assert_eq!(held(&case).context.peak_tokens, Some(111));
    assert_eq!(case.label(), "talk Kept here/qwen");
    assert!(case.valid, "{:?}", case.invalid);
}

#[test]
fn the_servers_own_prefill_goes_before_the_time_to_the_first_token() {
    let mut records = good(40, 60, 20);
    records[1].server =
        Some(ServerTimings { prefill_ms: Some(8.0), decode_ms: None, cached_tokens: Some(50) });
    let case = Made::of(vec![records]).figures();
    close(held(&case).turns[1].prefill_tokens_per_s, 5_000.0);
}

#[test]
fn hits_stand_side_by_side_by_who_counted_them_and_are_unknown_where_nobody_did() {
    let mut records = good(40, 60, 20);
    for record in &mut records {
        let cached_tokens = Some(record.n * 50);
        record.server = Some(ServerTimings { prefill_ms: None, decode_ms: None, cached_tokens });
    }
    let told = TurnEnded {
        n: 1,
        metrics_prompt_tokens: Some(100),
        metrics_cached_tokens: Some(40),
        ..TurnEnded::default()
    };
    let case = Made { turns: vec![told], ..Made::of(vec![records]) }.figures();
    let hits = &held(&case).cache_hits;
    close(hits.usage_percent, 100.0 * 60.0 / 140.0);
    close(hits.engine_percent, 100.0 * 50.0 / 140.0);
    close(hits.metrics_percent, 40.0);
    let alone = Made::of(vec![good(40, 60, 20)]).figures();
    assert_eq!(
        (held(&alone).cache_hits.engine_percent, held(&alone).cache_hits.metrics_percent),
        (None, None)
    );
}

#[test]
fn what_the_cache_saved_is_the_waiting_without_it_less_that_with_it() {
    let kept = Made::of(vec![good(40, 60, 20), good(42, 60, 20)]);
    let defeated = Made { cache: PrefixCache::Defeated, ..Made::of(vec![good(40, 0, 80), good(40, 0, 84)]) };
    let mut cases = [kept.figures(), defeated.figures()];
    add_savings(&mut cases);
    let saved = held(&cases[0]).saved.as_ref().unwrap();
    assert!((saved.seconds.value - 0.061).abs() < 1e-9, "{saved:?}");
    let [low, high] = saved.seconds.interval.unwrap();
    assert!(low < 0.061 && high > 0.061 && low > 0.04, "{saved:?}");
    assert!((saved.percent.unwrap().value - 50.0).abs() < 1e-9, "{saved:?}");
    assert_eq!((saved.of.as_str(), saved.held_kept, saved.held_defeated), ("ttft", 2, 2));
    assert!(held(&cases[1]).saved.is_none(), "nothing is compared with itself");
    let mut once = [Made::of(vec![good(40, 60, 20)]).figures(), defeated.figures()];
    add_savings(&mut once);
    assert_eq!(held(&once[0]).saved.as_ref().unwrap().seconds.interval, None, "one repeat has no spread");
}

#[test]
fn a_repeat_that_did_not_come_to_its_end_is_in_no_saving() {
    let mut records = good(40, 60, 20);
    records[1].error = Some(RequestError { kind: ErrorKind::CutStream, message: "cut".to_owned() });
    let case = Made::of(vec![records, good(40, 60, 20)]).figures();
    assert_eq!(held(&case).held.iter().map(|held| held.repeat).collect::<Vec<_>>(), [2]);
    assert_eq!(held(&case).turns[1].error.as_deref(), Some("cut"));
    assert!(!case.valid);
}

#[test]
fn empty_and_repeating_answers_make_a_case_invalid_and_missed_expectations_are_counted() {
    let silent = vec![answer(0, 40, 0, 40, " \n"), answer(1, 100, 60, 20, &"la ".repeat(40))];
    let case = Made::of(vec![silent, good(40, 60, 20)]).figures();
    let quality = &held(&case).quality;
    assert_eq!((quality.answers, quality.empty, quality.repeated), (4, 1, 1));
    assert_eq!((quality.expected, quality.met), (4, 2));
    let reasons: Vec<InvalidReason> = case.invalid.iter().map(|invalid| invalid.reason).collect();
    assert_eq!(reasons, [InvalidReason::BrokenAnswers]);
    assert!(case.invalid[0].message.contains("2 of 4 answers are broken"), "{:?}", case.invalid);
}

#[test]
fn a_conversation_that_was_not_begun_has_no_figures_and_is_not_judged() {
    let skipped =
        CaseSkipped { index: 0, needed_tokens: 5_000, context_window: 1_000, counted: true, model: None };
    let case = Made { skipped: Some(skipped), ..Made::of(vec![Vec::new()]) }.figures();
    assert!(case.valid && case.invalid.is_empty());
    let told = held(&case).skipped.as_ref().unwrap();
    assert_eq!((told.needed_tokens, told.context_window), (5_000, 1_000));
    assert_eq!((case.requests.total, held(&case).quality.answers), (0, 0));
}

#[test]
fn a_defeated_cache_that_hits_all_the_same_is_told() {
    let case = Made { cache: PrefixCache::Defeated, ..Made::of(vec![good(40, 60, 20)]) }.figures();
    let reasons: Vec<InvalidReason> = case.invalid.iter().map(|invalid| invalid.reason).collect();
    assert_eq!(reasons, [InvalidReason::CacheHits]);
}
