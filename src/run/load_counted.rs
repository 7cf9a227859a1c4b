//! Which records a case's figures rest on, and which of their counts are tokens. Counts nothing itself.

use std::borrow::Cow;

use super::load_figures::Pass;
use super::request_record::{Record, TokenSource};

/// Every request but the warm-ups, whether it succeeded or not.
pub(super) fn counted<'a>(pass: &Pass<'a>) -> impl Iterator<Item = &'a Record> + use<'a> {
    pass.records.iter().filter(|record| !record.warmup)
}

/// The counted requests that succeeded.
pub(super) fn succeeded<'a>(pass: &Pass<'a>) -> impl Iterator<Item = &'a Record> + use<'a> {
    counted(pass).filter(|record| record.error.is_none())
}

/// Output tokens; chunks are never called tokens.
pub(super) fn output_tokens(record: &Record) -> Option<u64> {
    record.tokens_out.filter(|_| record.token_source != Some(TokenSource::Chunks))
}

/// New tokens of each text-carrying chunk, where all are known and do not contradict the whole. An answer of
/// as many tokens as chunks had one in each: a server that counts at the end alone tells that much.
pub(super) fn chunk_tokens(record: &Record) -> Option<Cow<'_, [u16]>> {
    let tokens = record.chunk_tokens.as_slice();
    let chunks = record.chunks.len();
    if tokens.is_empty() && chunks > 0 && output_tokens(record) == Some(chunks as u64) {
        return Some(Cow::Owned(vec![1; chunks]));
    }
    let sum: u64 = tokens.iter().map(|tokens| u64::from(*tokens)).sum();
    let known = !tokens.is_empty()
        && tokens.len() == record.chunks.len()
        && record.token_source != Some(TokenSource::Chunks)
        && record.tokens_out.is_none_or(|whole| sum <= whole);
    known.then_some(Cow::Borrowed(tokens))
}

/// Σ of what every item has; `None` where one lacks it, and of no items.
pub(super) fn sum_of_all(items: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    let mut sum = None;
    for item in items {
        sum = Some(u64::saturating_add(sum.unwrap_or(0), item?));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_known_only_where_every_part_is() {
        assert_eq!(sum_of_all([Some(1), Some(2)].into_iter()), Some(3));
        assert_eq!(sum_of_all([Some(1), None].into_iter()), None);
        assert_eq!(sum_of_all([].into_iter()), None);
    }

    #[test]
    fn tokens_of_chunks_count_only_where_they_fit_the_chunks_and_the_whole() {
        let record = Record {
            chunks: vec![10, 5],
            chunk_tokens: vec![1, 3],
            tokens_out: Some(4),
            ..Record::default()
        };
        assert_eq!(chunk_tokens(&record).as_deref(), Some([1, 3].as_slice()));
        assert_eq!(chunk_tokens(&Record { tokens_out: Some(3), ..record.clone() }), None);
        assert_eq!(chunk_tokens(&Record { chunk_tokens: vec![4], ..record.clone() }), None);
        assert_eq!(chunk_tokens(&Record { token_source: Some(TokenSource::Chunks), ..record.clone() }), None);
        let told_at_the_end = |tokens_out| Record { chunk_tokens: Vec::new(), tokens_out, ..record.clone() };
        assert_eq!(chunk_tokens(&told_at_the_end(Some(2))).as_deref(), Some([1, 1].as_slice()));
        assert_eq!(chunk_tokens(&told_at_the_end(Some(3))), None);
    }
}
