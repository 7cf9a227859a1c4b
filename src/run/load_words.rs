//! A load test's figures in one line each, for status files, lists and summaries. Rounds for people;
//! computes nothing.

use super::conversation_words;
use super::load_case::LoadCase;

/// `c=4: 160.2 tok/s, 10.0 req/s, ttft p50 20.4 ms p95 21.0 ms, itl p50 2.0 ms p95 2.1 ms, 40 of 40 ok`
pub fn line(case: &LoadCase) -> String {
    if let Some(held) = &case.conversation {
        return conversation_words::line(case, held);
    }
    let mut words = rates(case);
    let gaps =
        if case.metrics.itl.is_some() { ("itl", &case.metrics.itl) } else { ("icl", &case.metrics.icl) };
    for (name, summary) in [("ttft", &case.metrics.ttft), gaps, ("e2e", &case.metrics.e2e)] {
        if let Some(summary) = summary {
            let told = [("p50", summary.p50), ("p95", summary.p95)];
            let told = told.iter().filter_map(|(part, value)| Some(format!("{part} {} ms", ms((*value)?))));
            let told: Vec<String> = told.collect();
            words.extend((!told.is_empty()).then(|| format!("{name} {}", told.join(" "))));
        }
    }
    words.push(format!("{} of {} ok", case.requests.ok, case.requests.total));
    if !case.valid {
        words.push("not valid".to_owned());
    }
    format!("{}: {}", case.label(), words.join(", "))
}

fn rates(case: &LoadCase) -> Vec<String> {
    let tokens = case.throughput.output_tokens_per_s.map(|rate| format!("{} tok/s", short(rate)));
    let requests = case.throughput.requests_per_s.map(|rate| format!("{} req/s", short(rate)));
    tokens.into_iter().chain(requests).collect()
}

/// The case with the most tokens, or else requests, a second: `412.3 tok/s at c=16 (best of 3 cases)`.
pub fn headline(cases: &[LoadCase]) -> Option<String> {
    if cases.iter().any(|case| case.conversation.is_some()) {
        return conversation_words::headline(cases);
    }
    let (best, unit, rate) = best(cases)?;
    let of = if cases.len() > 1 { format!(" (best of {} cases)", cases.len()) } else { String::new() };
    Some(format!("{} {unit} at {}{of}", short(rate), best.label()))
}

/// The case with the most tokens, or else requests, a second; with the unit and the rate.
pub fn best(cases: &[LoadCase]) -> Option<(&LoadCase, &'static str, f64)> {
    let rate = |case: &LoadCase| {
        let tokens = case.throughput.output_tokens_per_s.map(|rate| ("tok/s", rate));
        tokens.or_else(|| case.throughput.requests_per_s.map(|rate| ("req/s", rate)))
    };
    cases
        .iter()
        // Where nobody tells how many requests there were, the rate still counts.
        .filter(|case| case.requests.ok > 0 || case.requests.total == 0)
        .filter_map(|case| rate(case).map(|(unit, rate)| (case, unit, rate)))
        .max_by(|(_, _, a), (_, _, b)| a.total_cmp(b))
}

/// Milliseconds with as many places as they carry.
pub fn ms(value: f64) -> String {
    match value.abs() {
        small if small < 1.0 => format!("{value:.3}"),
        some if some < 100.0 => format!("{value:.2}"),
        many if many < 10_000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// A rate with as many places as it carries.
pub fn short(value: f64) -> String {
    match value.abs() {
        some if some < 10.0 => format!("{value:.2}"),
        many if many < 1_000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
