//! The conversations' part of a report for people: all of them side by side, then each turn by turn. Chooses
//! and rounds; the figures are `run::conversation_case`'s.

use std::collections::BTreeMap;

use super::content::{LoadCaseReport, Report};
use super::load_plots::over_time;
use super::outline::{Block, known, ms_of, number, or_unknown, output_tail, table, words};
use super::outline_load::{errors, latencies, objectives, system};
use super::outline_slowest;
use super::plot::{Chart, Curve, Figure, MOST_CURVES, Mark, Plot, Scale};
use crate::run::conversation_case::{ConversationFigures, TurnFigures};
use crate::run::conversation_words::{context, ended_early, estimate, saved_words, too_large};
use crate::run::load_words::short;
use crate::stats::quantile::quantile;

const TURN: &str = "turn";

type Held<'a> = (&'a LoadCaseReport, &'a ConversationFigures);

/// Everything about the conversations.
pub fn cases(report: &Report, cases: &[LoadCaseReport], blocks: &mut Vec<Block>) {
    if cases.is_empty() {
        blocks.push(Block::Text("Nothing was measured.".to_owned()));
        return blocks.extend(output_tail(report));
    }
    let all: Vec<Held<'_>> =
        cases.iter().filter_map(|case| Some((case, case.figures.conversation.as_ref()?))).collect();
    let (skipped, held): (Vec<Held<'_>>, Vec<Held<'_>>) =
        all.into_iter().partition(|(_, held)| held.skipped.is_some());
    blocks.extend(overview(report, &held));
    if let Some(table) = savings(report, &held) {
        blocks.push(table);
        blocks.push(Block::Text(
            "Prompt tokens out of the cache by who counts them. What it saved is the waiting in one holding of the \
             conversation, with its 95 % interval over n repeats with the cache and n without."
                .to_owned(),
        ));
    }
    let not_started: Vec<String> =
        skipped.iter().filter_map(|(_, held)| Some(too_large(&held.name, held.skipped.as_ref()?))).collect();
    if !not_started.is_empty() {
        blocks.push(Block::List(deduplicated(not_started)));
    }
    blocks.push(Block::Figures(figures(report, &held)));
    blocks.extend(output_tail(report));
    blocks.push(Block::Heading(2, "Conversations".to_owned()));
    blocks.push(Block::Text(
        "Times are in milliseconds. A turn's times and rates are medians over the repeats, its counts means. \
         Prefill is prompt tokens that were not in the cache, by the server's own time for them where it tells \
         one, else by the time to the first token. A dash is unknown."
            .to_owned(),
    ));
    for (case, figures) in &held {
        one(report, case, figures, blocks);
    }
    over_time(report, cases, blocks);
}

fn deduplicated(mut list: Vec<String>) -> Vec<String> {
    list.dedup();
    list
}

fn percent(value: Option<f64>) -> String {
    or_unknown(value.map(|value| format!("{value:.0} %")))
}

fn rate(value: Option<f64>) -> String {
    or_unknown(value.map(short))
}

fn count(value: Option<f64>) -> String {
    or_unknown(
        value.map(|value| if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }),
    )
}

fn of(part: u32, whole: u32) -> String {
    if whole == 0 { or_unknown(None) } else { format!("{part} of {whole}") }
}

/// Of a case's turns.
fn median(turns: &[TurnFigures], value: fn(&TurnFigures) -> Option<f64>) -> Option<f64> {
    let mut values: Vec<f64> = turns.iter().filter_map(value).collect();
    values.sort_unstable_by(f64::total_cmp);
    quantile(&values, 0.5)
}

fn overview(report: &Report, held: &[Held<'_>]) -> Option<Block> {
    let rows = held
        .iter()
        .map(|(case, figures)| {
            let quality = &figures.quality;
            vec![
                case.figures.case.to_string(),
                case.label.clone(),
                format!("{} of {}", case.figures.requests.ok, figures.turns_asked * figures.repeats_asked),
                ms_of(case.figures.metrics.ttft.as_ref().and_then(|summary| summary.p50)),
                ms_of(case.figures.metrics.ttft.as_ref().and_then(|summary| summary.max)),
                rate(median(&figures.turns, |turn| turn.prefill_tokens_per_s)),
                rate(median(&figures.turns, |turn| turn.decode_tokens_per_s)),
                percent(case.figures.tokens.cache_hit_percent),
                or_unknown(figures.context.peak_tokens.map(|peak| match figures.context.peak_percent {
                    Some(percent) => format!("{peak} ({percent:.0} %)"),
                    None => peak.to_string(),
                })),
                // A made-up answer is none to judge.
                of(quality.met, if case.figures.simulated { 0 } else { quality.expected }),
                or_unknown((!case.figures.simulated).then(|| (quality.empty + quality.repeated).to_string())),
                if case.figures.valid { "yes" } else { "no" }.to_owned(),
            ]
        })
        .collect();
    table(
        report,
        "Conversations; times in milliseconds, rates in tokens a second",
        vec![
            number("Case"),
            words("Conversation"),
            number("Answers"),
            number("TTFT p50"),
            number("TTFT max"),
            number("Prefill"),
            number("Decode"),
            number("Cached"),
            number("Context"),
            number("Expected"),
            number("Broken"),
            words("Valid"),
        ],
        rows,
    )
}

/// What the prefix cache brought, and what each who counts says of it.
fn savings(report: &Report, held: &[Held<'_>]) -> Option<Block> {
    let several = held.iter().any(|(_, figures)| figures.saved.is_some());
    let told = held.iter().any(|(_, figures)| {
        let hits = &figures.cache_hits;
        hits.usage_percent.or(hits.engine_percent).or(hits.metrics_percent).is_some_and(|hits| hits > 0.0)
    });
    if !several && !told {
        return None;
    }
    let rows = held
        .iter()
        .map(|(case, figures)| {
            let hits = &figures.cache_hits;
            let saved = figures.saved.as_ref();
            vec![
                case.label.clone(),
                percent(hits.usage_percent),
                percent(hits.engine_percent),
                percent(hits.metrics_percent),
                or_unknown(saved.map(|saved| estimate(&saved.seconds, " s"))),
                or_unknown(saved.and_then(|saved| Some(estimate(saved.percent.as_ref()?, " %")))),
                or_unknown(saved.map(|saved| format!("{} + {}", saved.held_kept, saved.held_defeated))),
            ]
        })
        .collect();
    table(
        report,
        "What the prefix cache did",
        vec![
            words("Conversation"),
            number("By usage"),
            number("By timings"),
            number("By /metrics"),
            number("Saved"),
            number("Of the waiting"),
            number("n"),
        ],
        rows,
    )
}

fn figures(report: &Report, held: &[Held<'_>]) -> Vec<Figure> {
    let by_turn = |turn: &TurnFigures| Some(f64::from(turn.turn));
    vec![
        plot(report, held, "Time to first token by turn", (TURN, "milliseconds"), by_turn, |turn| {
            turn.ttft_ms
        }),
        plot(
            report,
            held,
            "Time to first token against the context",
            ("prompt tokens", "milliseconds"),
            |turn| turn.prompt_tokens,
            |turn| turn.ttft_ms,
        ),
        plot(
            report,
            held,
            "Prompt tokens out of the prefix cache by turn",
            (TURN, "% of the prompt"),
            by_turn,
            |turn| {
                let all = turn.prompt_tokens.filter(|all| *all > 0.0)?;
                Some(100.0 * turn.cached_tokens? / all)
            },
        ),
        plot(report, held, "Decode rate by turn", (TURN, "tokens a second"), by_turn, |turn| {
            turn.decode_tokens_per_s
        }),
    ]
}

/// There is no half of a turn.
fn turn_ticks(held: &[Held<'_>]) -> Vec<(f64, String)> {
    const MOST: usize = 10;
    let last = held.iter().map(|(_, figures)| figures.turns.len()).max().unwrap_or(0);
    (1..=last).step_by(last.div_ceil(MOST).max(1)).map(|turn| (turn as f64, turn.to_string())).collect()
}

fn plot(
    report: &Report,
    held: &[Held<'_>],
    title: &str,
    (x_title, y_title): (&str, &str),
    x: fn(&TurnFigures) -> Option<f64>,
    y: fn(&TurnFigures) -> Option<f64>,
) -> Figure {
    let curves = held.iter().take(MOST_CURVES).enumerate().map(|(colour, (_, figures))| {
        let mut points: Vec<[f64; 2]> =
            figures.turns.iter().filter_map(|turn| Some([x(turn)?, y(turn)?])).collect();
        points.sort_by(|a, b| a[0].total_cmp(&b[0]));
        let name = format!("{} {}", figures.name, figures.prefix_cache.as_str());
        Curve { name, points, mark: Mark::LineAndDots, colour }
    });
    let left_out = if held.len() > MOST_CURVES {
        format!(" (the first {MOST_CURVES} of {})", held.len())
    } else {
        String::new()
    };
    let plot = Plot {
        x_title: x_title.to_owned(),
        y_title: y_title.to_owned(),
        x_scale: Scale::Linear,
        x_ticks: (x_title == TURN).then(|| turn_ticks(held)),
        y_range: None,
        curves: curves.collect(),
    };
    Figure { title: format!("{title}{left_out}"), simulated: report.simulated, chart: Chart::Lines(plot) }
}

fn one(report: &Report, case: &LoadCaseReport, held: &ConversationFigures, blocks: &mut Vec<Block>) {
    let figures = &case.figures;
    blocks.push(Block::Heading(3, format!("Case {}: {}", figures.case, case.label)));
    for invalid in &figures.invalid {
        blocks.push(Block::Notice(format!("Not valid: {}", invalid.message)));
    }
    if let Some(early) = &held.early {
        blocks.push(Block::Notice(format!("It {}.", ended_early(early))));
    }
    blocks.push(Block::Facts(facts(case, held)));
    blocks.extend(turns(report, held));
    blocks.extend(objectives(report, figures));
    blocks.extend(errors(report, figures));
    if let Some(latencies) = latencies(report, figures) {
        blocks.push(Block::Fold("Latencies over all turns".to_owned(), vec![latencies]));
    }
    blocks.extend(outline_slowest::fold(report, case));
    blocks.extend(
        system(report, figures).map(|system| Block::Fold("The system meanwhile".to_owned(), vec![system])),
    );
    blocks.extend(words_of_it(case));
}

fn facts(case: &LoadCaseReport, held: &ConversationFigures) -> Vec<(String, String)> {
    let figures = &case.figures;
    let quality = &held.quality;
    let facts = [
        ("Engine", Some(figures.engine.clone())),
        ("Model", figures.model.clone()),
        ("Tags", (!held.tags.is_empty()).then(|| held.tags.join(", "))),
        ("Turns", Some(format!("{}, {} answered in all repeats", held.turns_asked, figures.requests.ok))),
        ("Context at most", context(held)),
        ("The cache saved", held.saved.as_ref().map(saved_words)),
        (
            "Answers",
            Some(format!(
                "{} characters on average; {} cut by their limit, {} empty, {} repeat themselves",
                or_unknown(quality.characters.map(|mean| format!("{mean:.0}"))),
                quality.cut,
                quality.empty,
                quality.repeated
            )),
        ),
        ("As expected", (quality.expected > 0).then(|| format!("{} of {}", quality.met, quality.expected))),
        ("Tokens counted by", figures.tokens.source.map(|source| source.as_str().to_owned())),
    ];
    known(facts)
}

fn turns(report: &Report, held: &ConversationFigures) -> Option<Block> {
    let rows = held
        .turns
        .iter()
        .filter(|turn| turn.ok > 0 || turn.error.is_some())
        .map(|turn| {
            vec![
                turn.turn.to_string(),
                count(turn.prompt_tokens),
                count(turn.cached_tokens),
                count(turn.output_tokens),
                percent(turn.context_percent),
                ms_of(turn.ttft_ms),
                rate(turn.prefill_tokens_per_s),
                rate(turn.decode_tokens_per_s),
                ms_of(turn.e2e_ms),
                or_unknown(Some(turn.documents.join(", "))),
                match (&turn.error, &turn.expected) {
                    (Some(error), _) => error.clone(),
                    (None, Some(expected)) => format!("{} {expected}", of(turn.met, turn.ok)),
                    (None, None) => or_unknown(None),
                },
            ]
        })
        .collect();
    table(
        report,
        "Turn by turn",
        vec![
            number("Turn"),
            number("Prompt"),
            number("Cached"),
            number("Answer"),
            number("Context"),
            number("TTFT"),
            number("Prefill/s"),
            number("Decode/s"),
            number("E2E"),
            words("Documents"),
            words("Expected"),
        ],
        rows,
    )
}

/// What was said, of the first repeat.
fn words_of_it(case: &LoadCaseReport) -> Option<Block> {
    let answers: BTreeMap<u64, &str> = case
        .succeeded()
        .filter(|row| row.repeat == case.requests.iter().map(|row| row.repeat).min().unwrap_or(1))
        .filter_map(|row| Some((row.n, row.text.as_deref()?)))
        .collect();
    if answers.is_empty() {
        return None;
    }
    let mut blocks = Vec::new();
    for (number, user) in (0u64..).zip(&case.said) {
        let Some(answer) = answers.get(&number) else { continue };
        blocks.push(Block::Text(format!("Turn {}, the user:", number + 1)));
        blocks.push(Block::Verbatim(user.clone()));
        blocks.push(Block::Text(format!("Turn {}, the model:", number + 1)));
        blocks.push(Block::Verbatim((*answer).to_owned()));
    }
    Some(Block::Fold("What was said".to_owned(), blocks))
}
