//! How many requests, of which outcome, and how many tokens. Sums only.

use std::collections::BTreeMap;

use super::load_case::{Requests, Tokens};
use super::load_counted::{counted, output_tokens, succeeded, sum_of_all};
use super::load_figures::Pass;
use super::request_record::ErrorKind;

pub(super) fn requests(passes: &[Pass<'_>]) -> Requests {
    let mut requests = Requests::default();
    for record in passes.iter().flat_map(counted) {
        requests.total += 1;
        let Some(error) = &record.error else {
            requests.ok += 1;
            if let Some(reason) = &record.finish_reason {
                *requests.finish_reasons.entry(reason.clone()).or_default() += 1;
            }
            continue;
        };
        requests.failed += 1;
        *requests.errors.entry(error.kind).or_default() += 1;
        requests.messages.entry(error.kind).or_insert_with(|| error.message.clone());
        if let (ErrorKind::HttpStatus, Some(status)) = (error.kind, record.status) {
            *requests.http_status.entry(status).or_default() += 1;
        }
    }
    requests
}

/// Counts that some requests tell and others do not are no sums: they are null. The share of cached
/// tokens is over those that tell both, so that a part of the answers can betray a warm cache.
pub(super) fn tokens(passes: &[Pass<'_>]) -> Tokens {
    let ok = || passes.iter().flat_map(succeeded);
    // Who says that more was cached than there was is not to be believed.
    let both = || {
        ok().filter_map(|record| Some((record.tokens_cached?, record.tokens_in?)))
            .filter(|(cached, prompt)| cached <= prompt)
    };
    let cached = both().fold(0, |sum: u64, (cached, _)| sum.saturating_add(cached));
    let prompt = both().fold(0, |sum: u64, (_, prompt)| sum.saturating_add(prompt));
    Tokens {
        input: sum_of_all(ok().map(|record| record.tokens_in)),
        output: sum_of_all(ok().map(output_tokens)),
        cached: sum_of_all(ok().map(|record| record.tokens_cached)),
        source: ok().filter_map(|record| record.token_source).max(),
        cache_hit_percent: (prompt > 0).then(|| 100.0 * cached as f64 / prompt as f64),
    }
}

/// The kind of most failures, the first of equals.
pub(super) fn commonest(errors: &BTreeMap<ErrorKind, u64>) -> Option<ErrorKind> {
    errors.iter().rev().max_by_key(|(_, count)| **count).map(|(kind, _)| *kind)
}
