//! Made-up prompts of a length: common English words drawn by a seed, so that every prompt is as long as
//! another of its length and no two begin alike.

use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, LogNormal, Normal};

use crate::request::load_test::Distribution;

/// Tokens that a word of [`WORDS`] with its blank takes where the server cannot be asked: of the usual
/// vocabularies nearly every one of these words is a single token.
pub const USUAL_TOKENS_PER_WORD: f64 = 1.0;

/// Short and common, so that they are one token in most vocabularies.
const WORDS: [&str; 96] = [
    "time", "year", "people", "way", "day", "man", "thing", "woman", "life", "child", "world", "school",
    "state", "family", "student", "group", "country", "problem", "hand", "part", "place", "case", "week",
    "company", "system", "program", "question", "work", "number", "night", "point", "home", "water", "room",
    "mother", "area", "money", "story", "fact", "month", "lot", "right", "study", "book", "eye", "job",
    "word", "business", "issue", "side", "kind", "head", "house", "service", "friend", "father", "power",
    "hour", "game", "line", "end", "member", "law", "car", "city", "name", "team", "minute", "idea", "body",
    "back", "parent", "face", "level", "office", "door", "health", "person", "art", "war", "history",
    "party", "result", "change", "morning", "reason", "research", "girl", "guy", "moment", "air", "teacher",
    "force", "order", "foot", "boy",
];

/// A text of about `tokens` tokens, at `tokens_per_word`.
pub fn text(tokens: u32, tokens_per_word: f64, seed: u64) -> String {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let words = (f64::from(tokens) / tokens_per_word).round().max(1.0) as usize;
    let mut text = String::with_capacity(words * 6);
    for at in 0..words {
        if at > 0 {
            text.push(' ');
        }
        text.push_str(WORDS.choose(&mut random).copied().unwrap_or("time"));
    }
    text
}

/// A length in tokens around `mean`, at least 1.
pub fn length(mean: u32, distribution: Distribution, seed: u64) -> u32 {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mean = f64::from(mean);
    let drawn = match distribution {
        Distribution::Fixed => mean,
        Distribution::Uniform { percent } => {
            let spread = mean * percent / 100.0;
            mean - spread + 2.0 * spread * random.random::<f64>()
        }
        Distribution::Normal { percent } => {
            Normal::new(mean, mean * percent / 100.0).map_or(mean, |law| law.sample(&mut random))
        }
        // exp(μ + σ²/2) is the mean of a log-normal law.
        Distribution::LogNormal { sigma } => {
            LogNormal::new(mean.ln() - sigma * sigma / 2.0, sigma).map_or(mean, |law| law.sample(&mut random))
        }
    };
    drawn.round().clamp(1.0, f64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_the_words_that_its_tokens_make() {
        assert_eq!(text(100, 1.0, 1).split(' ').count(), 100);
        assert_eq!(text(100, 2.0, 1).split(' ').count(), 50);
        assert_ne!(text(20, 1.0, 1), text(20, 1.0, 2));
        assert_eq!(text(20, 1.0, 1), text(20, 1.0, 1));
    }

    #[test]
    fn lengths_keep_their_mean_and_their_bounds() {
        let mean_of = |distribution| {
            let drawn: Vec<u32> = (0..4_000).map(|seed| length(1_000, distribution, seed)).collect();
            (drawn.iter().sum::<u32>() as f64 / 4_000.0, drawn)
        };
        for distribution in [
            Distribution::Fixed,
            Distribution::Uniform { percent: 20.0 },
            Distribution::Normal { percent: 20.0 },
            Distribution::LogNormal { sigma: 0.5 },
        ] {
            let (mean, _) = mean_of(distribution);
            assert!((mean - 1_000.0).abs() < 30.0, "{distribution:?}: {mean}");
        }
        let (_, uniform) = mean_of(Distribution::Uniform { percent: 20.0 });
        assert!(uniform.iter().all(|length| (800..=1_200).contains(length)));
        assert_eq!(
            length(1, Distribution::Normal { percent: 500.0 }, 3).max(1),
            length(1, Distribution::Normal { percent: 500.0 }, 3)
        );
    }
}
