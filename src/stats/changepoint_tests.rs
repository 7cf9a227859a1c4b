use std::time::{Duration, Instant};

use rand::Rng as _;

use super::*;

/// How the points of a history vary about its level.
#[derive(Debug, Clone, Copy)]
enum Noise {
    Independent,
    Dependent,
    Spiky,
    Uneven,
}

/// A hundred points about 100, varying by `cv` of it, with a step at one of them.
fn history(noise: Noise, cv: f64, step: Option<(usize, f64)>, random: &mut ChaCha8Rng) -> Vec<f64> {
    let rho: f64 = if matches!(noise, Noise::Dependent) { 0.5 } else { 0.0 };
    let mut at: f64 = StandardNormal.sample(random);
    let mut next = |i: usize| {
        let normal: f64 = StandardNormal.sample(random);
        at = rho * at + (1.0 - rho * rho).sqrt() * normal;
        let spread = match noise {
            Noise::Uneven => cv * (0.5 + 1.5 * (i as f64 / 100.0)),
            Noise::Independent | Noise::Dependent | Noise::Spiky => cv,
        };
        let spike = if matches!(noise, Noise::Spiky) && random.random::<f64>() < 0.02 { 1.5 } else { 1.0 };
        let level = step.map_or(1.0, |(from, size)| if i >= from { 1.0 + size } else { 1.0 });
        100.0 * level * (1.0 + spread * at) * spike
    };
    (0..100).map(&mut next).collect()
}

#[test]
fn the_cusum_of_six_points_worked_out_by_hand() {
    // Ranks 1 2 3 | 4 5 6 about 3.5: −4.5 at k = 3, over √(3 · 3 · 7 / 12) = 2.2913.
    let split = largest_cusum(&[1.0, 2.0, 3.0, 10.0, 11.0, 12.0], 1).unwrap();
    assert_eq!(split.at, 3);
    assert!((split.cusum - 4.5 / 5.25f64.sqrt()).abs() < 1e-12);
    assert!(largest_cusum(&[1.0; 5], 3).is_none());
    assert!(largest_cusum(&[], 1).is_none());
}

#[test]
fn two_steps_are_found_with_their_levels() {
    let level = |i: u32| if i < 30 { 100.0 } else { f64::from(i < 70) * 20.0 + 110.0 };
    let history: Vec<f64> = (0..100).map(|i| level(i) + f64::from(i * 37 % 11) / 10.0).collect();
    let found = steps(&history, &Gates::new(5, 0.0), &mut Calibration::new(1));
    let at: Vec<usize> = found.steps.iter().map(|step| step.at).collect();
    assert_eq!(at, [30, 70]);
    assert!((found.steps[0].after - 130.5).abs() < 0.3 && (found.steps[1].after - 110.5).abs() < 0.3);
    assert!(found.p.is_some_and(|p| p < 0.01));
}

#[test]
fn a_history_that_is_too_short_or_never_varies_has_no_step() {
    let mut calibration = Calibration::new(1);
    assert_eq!(steps(&[1.0, 9.0], &Gates::new(3, 0.0), &mut calibration), Steps { steps: vec![], p: None });
    assert_eq!(steps(&[f64::NAN; 60], &Gates::new(3, 0.0), &mut calibration).p, None);
    assert_eq!(steps(&[], &Gates::new(3, 0.0), &mut calibration), Steps { steps: vec![], p: None });
    assert_eq!(
        steps(&[5.0; 60], &Gates::new(3, 0.0), &mut calibration),
        Steps { steps: vec![], p: Some(1.0) }
    );
}

#[test]
fn each_gate_closes() {
    let history: Vec<f64> =
        (0..60).map(|i| if i < 30 { 100.0 } else { 110.0 } + f64::from(i * 37 % 11) / 10.0).collect();
    let count = |gates: Gates| steps(&history, &gates, &mut Calibration::new(1)).steps.len();
    let open = Gates::new(3, 0.0);
    assert_eq!(count(open), 1);
    assert_eq!(count(Gates { relative: 0.12, ..open }), 0);
    assert_eq!(count(Gates { residuals: 60.0, ..open }), 0);
    assert_eq!(count(Gates { absolute: 11.0, ..open }), 0);
    assert_eq!(count(Gates { shortest_segment: 31, ..open }), 0);
    assert_eq!(count(Gates { significance: 0.0, ..open }), 0);
}

#[test]
fn a_seed_gives_the_same_thresholds_and_no_length_is_simulated_twice() {
    let (mut one, mut other) = (Calibration::new(7), Calibration::new(7));
    assert_eq!(one.p(2.9, 40, 3, 0.2), other.p(2.9, 40, 3, 0.19));
    assert_eq!((one.maxima.len(), rounded(100), rounded(20), rounded(101)), (1, 102, 20, 102));
    let before = Instant::now();
    one.p(2.9, 100, 3, 0.0);
    assert!(before.elapsed() < Duration::from_secs(5), "a machine under load may be slow, but not so slow");
    assert!(one.p(2.9, 100, 3, 0.5) > 3.0 * one.p(2.9, 100, 3, 0.0), "dependence makes large sums common");
}

/// Seeded, so that it passes always or never. The reference has no false alarm in any of these.
#[test]
fn a_history_without_a_step_raises_no_alarm() {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let mut calibration = Calibration::new(1);
    for noise in [Noise::Independent, Noise::Dependent, Noise::Spiky, Noise::Uneven] {
        for cv in [0.02, 0.05] {
            let rounds = 60;
            let alarms = (0..rounds).filter(|_| {
                let history = history(noise, cv, None, &mut random);
                !steps(&history, &Gates::new(3, 0.0), &mut calibration).steps.is_empty()
            });
            assert_eq!(alarms.count(), 0, "{noise:?} {cv}");
        }
    }
}

/// Seeded, so that it passes always or never. The reference detects 86, 99.5 and 73 %.
#[test]
fn steps_are_found_near_where_they_are() {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut calibration = Calibration::new(1);
    for (at, size, least) in [(80, 0.05, 0.86), (80, 0.10, 0.99), (95, 0.10, 0.73)] {
        let rounds = 100;
        let detected = (0..rounds).filter(|_| {
            let history = history(Noise::Independent, 0.02, Some((at, size)), &mut random);
            let found = steps(&history, &Gates::new(3, 0.0), &mut calibration).steps;
            found.iter().any(|step| step.at.abs_diff(at) <= 3)
        });
        let part = detected.count() as f64 / f64::from(rounds);
        assert!(part >= least, "{at} {size}: {part}");
    }
}
