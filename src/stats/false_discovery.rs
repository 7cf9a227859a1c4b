//! How many of many findings chance alone explains. Owns the step-up rule over all that was judged; what
//! could not be judged is counted apart, since silence over it is no pass.

/// What stands after all were judged together.
#[derive(Debug, Clone, PartialEq)]
pub struct Discoveries {
    /// How many had a p-value.
    pub judged: usize,
    /// How many had none.
    pub not_judged: usize,
    /// For each in its order, its q-value: the smallest rate of false discoveries at which it is one. Null
    /// where it was not judged.
    pub q_values: Vec<Option<f64>>,
    /// For each in its order, whether it is a discovery.
    pub found: Vec<bool>,
}

/// Discoveries of which at most the part `q` (0 to 1) is false on average. With p₍₁₎ ≤ … ≤ p₍ₘ₎, all up to
/// the greatest i with p₍ᵢ₎ ≤ q · i/m (Benjamini and Hochberg, "Controlling the false discovery rate", 1995);
/// valid for p-values that are independent or depend positively on each other. `None` for a series stands
/// for one that could not be judged, and so does a p-value that is not between 0 and 1.
pub fn discoveries(p_values: &[Option<f64>], q: f64) -> Discoveries {
    let mut judged: Vec<(usize, f64)> = Vec::new();
    for (at, p) in p_values.iter().enumerate() {
        if let Some(p) = p.filter(|p| (0.0..=1.0).contains(p)) {
            judged.push((at, p));
        }
    }
    judged.sort_by(|one, other| one.1.total_cmp(&other.1));
    let mut q_values = vec![None; p_values.len()];
    let mut smallest: f64 = 1.0;
    for (rank, (at, p)) in judged.iter().enumerate().rev() {
        smallest = smallest.min(p * judged.len() as f64 / (rank + 1) as f64);
        q_values[*at] = Some(smallest);
    }
    Discoveries {
        judged: judged.len(),
        not_judged: p_values.len() - judged.len(),
        found: q_values.iter().map(|value| value.is_some_and(|value| value <= q)).collect(),
        q_values,
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn the_example_of_benjamini_and_hochberg_has_its_four_discoveries() {
        // Section 3.2 of their paper: 15 hypotheses, q = 0.05.
        let p = [
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719,
            0.6528, 0.7590, 1.0,
        ];
        let all = discoveries(&p.map(Some), 0.05);
        assert_eq!(all.found.iter().filter(|found| **found).count(), 4);
        assert_eq!((all.judged, all.not_judged), (15, 0));
        assert!((all.q_values[3].unwrap() - 0.0095 * 15.0 / 4.0).abs() < 1e-12);
    }

    #[test]
    fn a_value_over_its_own_line_is_carried_by_a_later_one() {
        // 0.03 > 0.05 · 1/2, but 0.05 ≤ 0.05 · 2/2.
        let all = discoveries(&[Some(0.05), Some(0.03)], 0.05);
        assert_eq!((all.found, all.q_values), (vec![true, true], vec![Some(0.05), Some(0.05)]));
    }

    #[test]
    fn what_was_not_judged_is_counted_and_never_found() {
        let all = discoveries(&[None, Some(0.01), Some(f64::NAN), Some(-1.0)], 0.1);
        assert_eq!((all.judged, all.not_judged), (1, 3));
        assert_eq!(all.found, [false, true, false, false]);
        let none = discoveries(&[], 0.1);
        assert_eq!((none.judged, none.found.len()), (0, 0));
    }

    /// Seeded, so that it passes always or never.
    #[test]
    fn false_discoveries_stay_within_their_part() {
        let mut random = ChaCha8Rng::seed_from_u64(9);
        let rounds = 400;
        let mut sum = 0.0;
        for _ in 0..rounds {
            // The first 20 are true.
            let p: Vec<Option<f64>> = (0..100)
                .map(|i| random.random::<f64>() * if i < 20 { 1e-3 } else { 1.0 })
                .map(Some)
                .collect();
            let found = discoveries(&p, 0.10).found;
            let all = found.iter().filter(|found| **found).count();
            let wrong = found[20..].iter().filter(|found| **found).count();
            sum += wrong as f64 / all.max(1) as f64;
        }
        // q · (the part that is not true), for independent ones.
        let rate = sum / f64::from(rounds);
        assert!((0.06..=0.10).contains(&rate), "{rate}");
    }
}
