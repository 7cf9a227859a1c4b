//! How often intervals hold what they should and how often steps are found or only imagined, by simulation
//! with fixed seeds: the long version of what the unit tests check with few rounds. Prints each figure beside
//! the one to beat, and what it costs; asserts none.
//!
//! `cargo bench --bench statistics [-- intervals|steps|cost]`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::time::Instant;

use benchlet::stats::block_bootstrap::{quantile_ratio, quantile_ratio_of_groups};
use benchlet::stats::changepoint::{Calibration, Gates, steps};
use benchlet::stats::drift::drift;
use benchlet::stats::prediction::next_point;
use benchlet::stats::rank_shift::{self, shift};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};

fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wants = |name: &str| chosen.is_empty() || chosen.iter().any(|arg| arg == name);
    if wants("intervals") {
        intervals();
    }
    if wants("steps") {
        false_alarms();
        detection();
        drifts();
    }
    if wants("cost") {
        cost();
    }
}

fn normal(random: &mut ChaCha8Rng) -> f64 {
    StandardNormal.sample(random)
}

/// AR(1) with normal margins of variance 1.
fn autocorrelated(n: usize, rho: f64, random: &mut ChaCha8Rng) -> Vec<f64> {
    let mut at = normal(random);
    let mut next = || {
        at = rho * at + (1.0 - rho * rho).sqrt() * normal(random);
        at
    };
    (0..n).map(|_| next()).collect()
}

fn percent(rounds: u32, mut holds: impl FnMut(u32) -> bool) -> f64 {
    100.0 * (0..rounds).filter(|&round| holds(round)).count() as f64 / f64::from(rounds)
}

fn intervals() {
    println!("\ncoverage of two-sided 95 % intervals, %");
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for (n, known) in [(1_000, 89), (4_000, 92)] {
        for rho in [0.0, 0.8] {
            let mut run = || -> Vec<f64> {
                autocorrelated(n, rho, &mut random).iter().map(|x| (0.8 * x).exp()).collect()
            };
            let found = percent(1_000, |round| {
                let (baseline, candidate) = (run(), run());
                let found = quantile_ratio(&baseline, &candidate, 0.95, 1, u64::from(round)).unwrap();
                found.interval.is_some_and(|[low, high]| low <= 1.0 && 1.0 <= high)
            });
            let beside = if rho > 0.0 { format!("{known}") } else { "—".to_owned() };
            println!("  block bootstrap, p95, n {n}, ρ {rho}: {found:.1} (to beat: {beside})");
        }
    }
    for turns in [1, 8] {
        let mut run = || -> Vec<Vec<f64>> {
            (0..50)
                .map(|_| {
                    let shared = normal(&mut random);
                    (0..turns).map(|_| (0.6 * shared + 0.4 * normal(&mut random)).exp()).collect()
                })
                .collect()
        };
        let found = percent(1_000, |round| {
            let (baseline, candidate) = (run(), run());
            let found = quantile_ratio_of_groups(&baseline, &candidate, 0.5, u64::from(round)).unwrap();
            found.interval.is_some_and(|[low, high]| low <= 1.0 && 1.0 <= high)
        });
        println!("  50 conversations of {turns}, p50: {found:.1}");
    }
    for a_side in [4, 5, 6, 10] {
        for (what, rounding) in [("", 1e9), (", with ties", 2.0)] {
            let mut group = || -> Vec<f64> {
                (0..a_side).map(|_| (normal(&mut random) * rounding).round() / rounding).collect()
            };
            let found = percent(10_000, |_| {
                let [low, high] = shift(&group(), &group()).unwrap().interval;
                low <= 0.0 && 0.0 <= high
            });
            println!("  Hodges–Lehmann, {a_side} a side{what}: {found:.1} (at least 93 at 5)");
        }
    }
    for (n, rho) in [(10, 0.0), (30, 0.0), (30, 0.5)] {
        let found = percent(20_000, |_| {
            let points = autocorrelated(n + 1, rho, &mut random);
            let [low, high] = next_point(&points[..n]).unwrap().interval;
            low <= points[n] && points[n] <= high
        });
        println!("  prediction, {n} points, ρ {rho}: {found:.1} (about 95)");
    }
}

#[derive(Clone, Copy)]
enum Noise {
    Independent,
    Dependent,
    Spiky,
    Uneven,
}

/// A hundred points about 100 with a coefficient of variation (of an uneven one: half of it at first, twice
/// of it at last) and a step at one of them.
fn history(noise: Noise, cv: f64, step: Option<(usize, f64)>, random: &mut ChaCha8Rng) -> Vec<f64> {
    let rho = if matches!(noise, Noise::Dependent) { 0.5 } else { 0.0 };
    let about = autocorrelated(100, rho, random);
    let mut point = |(i, about): (usize, f64)| {
        let part = if matches!(noise, Noise::Uneven) { 0.5 + 1.5 * (i as f64 / 100.0) } else { 1.0 };
        let spike = if matches!(noise, Noise::Spiky) && random.random::<f64>() < 0.02 { 1.5 } else { 1.0 };
        let level = step.map_or(1.0, |(from, size)| if i >= from { 1.0 + size } else { 1.0 });
        100.0 * level * (1.0 + part * cv * about) * spike
    };
    about.into_iter().enumerate().map(&mut point).collect()
}

fn false_alarms() {
    println!("\nfalse alarms on 100 unchanged points, % of series, CV 2 % / 5 %");
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let mut calibration = Calibration::new(1);
    for (noise, what, known) in [
        (Noise::Independent, "independent", "Otava 4 / 6, Perfherder 0 / 0, to beat 0 / 0"),
        (Noise::Dependent, "AR(1) ρ 0.5", "Otava 64 / 66, Perfherder 3 / 2, to beat 0 / 0"),
        (Noise::Spiky, "2 % spikes", "Otava 24 / 16, Perfherder 0 / 0, to beat 0 / 0"),
        (Noise::Uneven, "uneven spread", "—"),
    ] {
        for shortest in [3, 5] {
            let mut by_chance = 0.0;
            let found = [0.02, 0.05].map(|cv| {
                percent(2_000, |_| {
                    let history = history(noise, cv, None, &mut random);
                    let found = steps(&history, &Gates::new(shortest, 0.0), &mut calibration);
                    by_chance += f64::from(found.p.is_some_and(|p| p <= 0.05)) / 40.0;
                    !found.steps.is_empty()
                })
            });
            let [at_2, at_5] = found;
            println!(
                "  {what}, segments of {shortest}: {at_2:.2} / {at_5:.2} ({known}); before gates {by_chance:.1}"
            );
        }
    }
}

fn detection() {
    println!("\ndetection within ±3 of a 5 % step at 80 / 10 % at 80 / 10 % at 95 of 100, %");
    println!("  to beat at CV 2 %: 86 / 99.5 / 73 (Otava 99 / 100 / 99.5, Perfherder 25 / 100 / 0)");
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut calibration = Calibration::new(1);
    for (noise, what) in [
        (Noise::Independent, "independent"),
        (Noise::Dependent, "AR(1) ρ 0.5"),
        (Noise::Spiky, "2 % spikes"),
        (Noise::Uneven, "uneven spread"),
    ] {
        for shortest in [3, 5] {
            let [five, ten, late] = [(80, 0.05), (80, 0.10), (95, 0.10)].map(|(at, size)| {
                percent(2_000, |_| {
                    let history = history(noise, 0.02, Some((at, size)), &mut random);
                    let found = steps(&history, &Gates::new(shortest, 0.0), &mut calibration).steps;
                    found.iter().any(|step| step.at.abs_diff(at) <= 3)
                })
            });
            println!("  {what}, segments of {shortest}: {five:.1} / {ten:.1} / {late:.1}");
        }
    }
}

fn drifts() {
    println!("\nMann–Kendall at p < 0.05 on 60 points, %");
    let mut random = ChaCha8Rng::seed_from_u64(4);
    for rho in [0.0, 0.3, 0.5] {
        let [level, drifting] = [0.0, 0.03].map(|slope| {
            percent(2_000, |_| {
                let points = autocorrelated(60, rho, &mut random);
                let points: Vec<f64> = (0u32..).zip(points).map(|(i, x)| x + slope * f64::from(i)).collect();
                drift(&points).unwrap().p < 0.05
            })
        });
        println!("  ρ {rho}: false alarms {level:.1}, a drift of 1.8 σ detected {drifting:.1}");
    }
}

fn cost() {
    println!("\ncost, ms");
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let mut run = |n| -> Vec<f64> { autocorrelated(n, 0.5, &mut random).iter().map(|x| x.exp()).collect() };
    let (baseline, candidate) = (run(4_000), run(4_000));
    timed("block bootstrap of 2 × 4,000, p95", || {
        quantile_ratio(&baseline, &candidate, 0.95, 8, 1).is_some()
    });
    timed("block bootstrap of 2 × 4,000, p50", || {
        quantile_ratio(&baseline, &candidate, 0.5, 8, 1).is_some()
    });
    let (baseline, candidate) = (run(30), run(30));
    timed("rank shift, 30 a side", || rank_shift::ratio(&baseline, &candidate).is_some());
    let tied = |of: &[f64]| of.iter().map(|x| (x * 10.0).round()).collect::<Vec<f64>>();
    let (baseline, candidate) = (tied(&baseline), tied(&candidate));
    timed("rank shift, 30 a side with ties", || shift(&baseline, &candidate).is_some());
    for n in [100, 1_000] {
        let history = run(n);
        let mut calibration = Calibration::new(1);
        let mut judge =
            |what: &str| timed(what, || steps(&history, &Gates::new(3, 0.0), &mut calibration).p.is_some());
        judge(&format!("steps of {n} points, calibrating"));
        judge(&format!("steps of {n} points, calibrated"));
    }
    let history = run(500);
    timed("drift of 500 points", || drift(&history).is_some());
}

fn timed(what: &str, work: impl FnOnce() -> bool) {
    let before = Instant::now();
    let found = work();
    println!(
        "  {what}: {:.1}{}",
        before.elapsed().as_secs_f64() * 1e3,
        if found { "" } else { " (nothing)" }
    );
}
