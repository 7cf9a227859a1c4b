//! Models beside each other for one workload: who is fastest or cheapest, and what that saves.

use super::estimate::Estimate;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Time,
    /// Those without a price last.
    Cost,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Ranked {
    pub estimate: Estimate,
    /// The slowest one's time by this one's; of the slowest 1.
    pub speedup: f64,
    pub saved_seconds: f64,
}

/// In the order asked for; equal ones by their names.
pub fn rank(estimates: Vec<Estimate>, order: Order) -> Vec<Ranked> {
    let slowest = estimates.iter().map(|estimate| estimate.seconds).fold(0.0, f64::max);
    let mut ranked: Vec<Ranked> = estimates
        .into_iter()
        .map(|estimate| Ranked {
            speedup: slowest / estimate.seconds,
            saved_seconds: slowest - estimate.seconds,
            estimate,
        })
        .collect();
    let cost = |ranked: &Ranked| match order {
        Order::Time => 0.0,
        Order::Cost => ranked.estimate.cost.amount().unwrap_or(f64::INFINITY),
    };
    ranked.sort_by(|a, b| {
        cost(a)
            .total_cmp(&cost(b))
            .then(a.estimate.seconds.total_cmp(&b.estimate.seconds))
            .then(a.estimate.basis.model.cmp(&b.estimate.basis.model))
    });
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::estimate::{Workload, estimate};
    use crate::plan::measured_rate::MeasuredRow;

    fn of(model: &str, rate: f64, per_hour: Option<f64>) -> Estimate {
        let row = MeasuredRow {
            model: model.to_owned(),
            requests_per_s: Some(rate),
            success_percent: Some(100.0),
            cost_per_hour: per_hour,
            ..MeasuredRow::default()
        };
        estimate(&row, &[], &Workload { requests: 200_000, context: None, price: None }).unwrap()
    }

    fn names(ranked: &[Ranked]) -> Vec<&str> {
        ranked.iter().map(|one| one.estimate.basis.model.as_str()).collect()
    }

    #[test]
    fn two_hundred_thousand_requests_on_three_models() {
        let ranked = rank(vec![of("b", 0.52, None), of("c", 0.23, None), of("a", 0.92, None)], Order::Time);
        assert_eq!(names(&ranked), ["a", "b", "c"]);
        let hours: Vec<String> =
            ranked.iter().map(|one| format!("{:.1}", one.estimate.seconds / 3600.0)).collect();
        assert_eq!(hours, ["60.4", "106.8", "241.5"]);
        assert_eq!((ranked[0].speedup, ranked[2].speedup), (4.0, 1.0));
        assert!((ranked[0].saved_seconds / 3600.0 - 181.159).abs() < 1e-3);
        assert_eq!(ranked[2].saved_seconds, 0.0);
    }

    #[test]
    fn the_cheapest_is_first_by_cost_and_what_has_no_price_is_last() {
        let all = vec![of("quick", 2.0, None), of("dear", 1.0, Some(9.0)), of("cheap", 0.5, Some(1.0))];
        assert_eq!(names(&rank(all, Order::Cost)), ["cheap", "dear", "quick"]);
        assert_eq!(rank(Vec::new(), Order::Time), Vec::new());
    }
}
