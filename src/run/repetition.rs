//! How much an answer repeats itself, for people who skim samples. A hint, not a measure of quality.

use std::collections::HashSet;

const RUN: usize = 4;
const FEWEST_WORDS: usize = 8;

/// 1 − distinct ÷ all runs of four words in a row, 0 (no run comes twice) to almost 1 (one word for
/// ever). Words are what white space parts, compared as they stand. `None` below eight words, where
/// chance decides.
pub(super) fn repetition(text: &str) -> Option<f64> {
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.len() < FEWEST_WORDS {
        return None;
    }
    let runs = words.windows(RUN);
    let all = runs.len() as f64;
    let distinct = runs.collect::<HashSet<_>>().len() as f64;
    Some(1.0 - distinct / all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_without_repeats_has_none() {
        assert_eq!(repetition("one two three four five six seven eight"), Some(0.0));
        assert_eq!(repetition("a b a c a d a e"), Some(0.0), "words may come again, runs may not");
    }

    #[test]
    fn a_loop_shows() {
        // Nine runs, of which the first two come again and again.
        assert_eq!(repetition(&"yes no ".repeat(6)), Some(1.0 - 2.0 / 9.0));
        assert_eq!(repetition(&"la ".repeat(103)), Some(0.99));
    }

    #[test]
    fn a_few_words_tell_nothing() {
        assert_eq!(repetition("la la la la la la la"), None);
        assert_eq!(repetition(""), None);
    }
}
