//! Whether a case's figures may be trusted: what the client, the errors, the caches and the answers'
//! lengths say against them. Judges by limits that people set; changes no figure.

use super::load_case::{Client, Invalid, InvalidReason, Requests, Tokens};
use super::load_counted::{counted, output_tokens, succeeded};
use super::load_figures::{CaseInput, Pass};
use super::load_latency::was_sent;
use super::load_totals::commonest;
use super::measure_plan::CaseLoad;
use super::request_record::{ErrorKind, Record};
use crate::request::load_test::CachePolicy;
use crate::stats::summary::Summary;

/// How the client did, `delay` being the summary of its delays.
pub(super) fn client(passes: &[Pass<'_>], delay: Option<&Summary>) -> Client {
    Client {
        delay_p50: delay.and_then(|delay| delay.p50),
        delay_p95: delay.and_then(|delay| delay.p95),
        delay_max: delay.and_then(|delay| delay.max),
        cpu_percent_of_a_thread: passes.iter().filter_map(cpu_percent).reduce(f64::max),
        threads: passes.iter().filter_map(|pass| Some(pass.started?.threads)).max(),
        requests_asked_per_s: pace(passes, |record| record.scheduled_us),
        achieved_per_s: pace(passes, |record| record.sent_us),
    }
}

/// Of the busiest thread, of one core.
fn cpu_percent(pass: &Pass<'_>) -> Option<f64> {
    let ended = pass.ended.filter(|ended| ended.wall_us > 0)?;
    Some(100.0 * ended.busiest_thread_cpu_us as f64 / ended.wall_us as f64)
}

/// Requests a second of open loops: gaps between starts by the time that they take together.
fn pace(passes: &[Pass<'_>], at: impl Fn(&Record) -> u64) -> Option<f64> {
    let (mut gaps, mut us) = (0, 0);
    for pass in passes {
        match pass.plan.load {
            CaseLoad::Closed { .. } => continue,
            CaseLoad::Open { .. } => {}
        }
        let times = || counted(pass).filter(|record| was_sent(record)).map(&at);
        if let (Some(first), Some(last)) = (times().min(), times().max()) {
            gaps += times().count() - 1;
            us += last - first;
        }
    }
    (us > 0).then(|| gaps as f64 * 1_000_000.0 / us as f64)
}

/// Everything that speaks against the case, the reason to look at first in front.
pub(super) fn invalid(
    input: &CaseInput<'_>,
    requests: &Requests,
    tokens: &Tokens,
    client: &Client,
) -> Vec<Invalid> {
    let judged = [
        no_success(requests),
        cut_short(input, requests),
        error_rate(input, requests),
        // Of nothing but failures the client's own pace tells nothing.
        (requests.ok > 0).then(|| client_late(input, client)).flatten(),
        (requests.ok > 0).then(|| client_busy(input, client)).flatten(),
        cache_hits(input, tokens),
        output_length(input),
    ];
    judged.into_iter().flatten().collect()
}

fn because(reason: InvalidReason, message: String) -> Option<Invalid> {
    Some(Invalid { reason, message })
}

fn no_success(requests: &Requests) -> Option<Invalid> {
    if requests.ok > 0 {
        return None;
    }
    let message = match commonest(&requests.errors) {
        Some(kind) => format!(
            "none of the {} requests succeeded, most failed with {}: check that the server runs, serves this \
             model and has the time",
            requests.total,
            kind.as_str()
        ),
        None => "no request was made, so there is nothing to judge: run it again".to_owned(),
    };
    because(InvalidReason::NoSuccess, message)
}

/// A pass without an end was killed, or never began.
fn cut_short(input: &CaseInput<'_>, requests: &Requests) -> Option<Invalid> {
    let cut = input.passes.iter().filter(|pass| pass.ended.is_none_or(|ended| ended.cut_short)).count();
    if cut == 0 && !input.passes.is_empty() {
        return None;
    }
    let message = format!(
        "measuring stopped early, so the figures cover no more than the {} requests that had ended: run it \
         again, with a longer timeout if that was the cause",
        requests.total
    );
    because(InvalidReason::CutShort, message)
}

/// Requests that were cancelled with the run are no fault of the server's, and told as a cut.
fn error_rate(input: &CaseInput<'_>, requests: &Requests) -> Option<Invalid> {
    let cancelled = requests.errors.get(&ErrorKind::Cancelled).copied().unwrap_or(0);
    let (failed, total) = (requests.failed - cancelled, requests.total - cancelled);
    let percent = 100.0 * failed as f64 / total as f64;
    let limit = input.limits.error_percent;
    if total == 0 || percent <= limit {
        return None;
    }
    let slow = |kind: &ErrorKind| matches!(kind, ErrorKind::TimeoutFirstToken | ErrorKind::TimeoutStream);
    let timeouts: u64 = requests.errors.iter().filter(|(kind, _)| slow(kind)).map(|(_, count)| count).sum();
    let advice = if timeouts * 2 > failed {
        "most of them took too long, so lower the concurrency or rate, or raise requestTimeout"
    } else {
        "see their kinds and the server's log, or lower the load"
    };
    let message = format!(
        "{failed} of {total} requests failed ({} %), above the limit of {} %: {advice}",
        short(percent),
        short(limit)
    );
    because(InvalidReason::ErrorRate, message)
}

fn client_late(input: &CaseInput<'_>, client: &Client) -> Option<Invalid> {
    let limit = input.limits.client_delay_ms;
    let delay = client.delay_p50.filter(|delay| *delay > limit)?;
    let message = format!(
        "half of the requests were sent {} ms or more after they were due, above the limit of {} ms: lower \
         the load, or give the client more threads and cores of its own",
        short(delay),
        short(limit)
    );
    because(InvalidReason::ClientLate, message)
}

fn client_busy(input: &CaseInput<'_>, client: &Client) -> Option<Invalid> {
    let limit = input.limits.client_cpu_percent;
    let percent = client.cpu_percent_of_a_thread.filter(|percent| *percent > limit)?;
    let message = format!(
        "the client's busiest thread used {} % of a core, above the limit of {} %: give the client more \
         threads, or lower the load",
        short(percent),
        short(limit)
    );
    because(InvalidReason::ClientBusy, message)
}

fn cache_hits(input: &CaseInput<'_>, tokens: &Tokens) -> Option<Invalid> {
    let limit = input.limits.cache_hit_percent;
    let what = match input.cache {
        CachePolicy::Salt => "every prompt began with words of its own",
        CachePolicy::Flush => "it was flushed before the case",
        CachePolicy::Keep => return None,
    };
    let percent = tokens.cache_hit_percent.filter(|percent| *percent > limit)?;
    let message = format!(
        "{} % of the prompt tokens came out of a cache although {what}, above the limit of {} %: use longer \
         or more prompts, raise validity.cacheHits for what the chat template itself puts in front, or set \
         cache: Keep if warm caches are meant",
        short(percent),
        short(limit)
    );
    because(InvalidReason::CacheHits, message)
}

/// Over the successful requests whose tokens are known.
fn output_length(input: &CaseInput<'_>) -> Option<Invalid> {
    if !input.output.ignore_eos {
        return None;
    }
    let known = input.passes.iter().flat_map(succeeded).filter_map(|record| {
        let tokens = output_tokens(record)?;
        Some((tokens as f64, f64::from(record.max_tokens)))
    });
    let (count, got, asked) = known.fold((0.0, 0.0, 0.0), |(count, got, asked), (tokens, most)| {
        (count + 1.0, got + tokens, asked + most)
    });
    let limit = input.limits.output_length_percent;
    let off = 100.0 * f64::abs(got - asked) / asked;
    if asked == 0.0 || off <= limit {
        return None;
    }
    let message = format!(
        "answers were {} tokens long on average where {} were asked for ({} % off, the limit is {} %): the \
         engine does not honour ignoreEos; lower output.maxTokens, or leave ignoreEos out",
        short(got / count),
        short(asked / count),
        short(off),
        short(limit)
    );
    because(InvalidReason::OutputLength, message)
}

/// As people write figures: three digits, no zeros behind the point.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        large if large >= 100.0 => 0,
        middle if middle >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}
