//! One axis of a plot: from values to places, and which values are written beside it. Pure arithmetic.

/// How values become places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    Linear,
    /// For values above zero.
    Log,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    pub scale: Scale,
    pub low: f64,
    pub high: f64,
    /// Value and text.
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// An axis over values from `low` to `high` with round ticks, about `most` of them; a linear one is
    /// widened to them.
    pub fn over(scale: Scale, low: f64, high: f64, most: u32) -> Self {
        match scale {
            Scale::Log if low > 0.0 && high > low => {
                Self { scale, low, high, ticks: log_ticks(low, high, most) }
            }
            Scale::Log | Scale::Linear => linear(low, high, most),
        }
    }

    /// The same with ticks of the caller's; those that would stand too close to one before are left out.
    #[must_use]
    pub fn with_ticks(mut self, ticks: &[(f64, String)], least_part: f64) -> Self {
        let mut last = f64::NEG_INFINITY;
        self.ticks.clear();
        for (value, text) in ticks {
            let at = self.part(*value);
            if at - last >= least_part {
                self.ticks.push((*value, text.clone()));
                last = at;
            }
        }
        self
    }

    /// Where a value lies: 0 at the low end, 1 at the high one.
    pub fn part(&self, value: f64) -> f64 {
        let part = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.0 }
    }
}

fn linear(low: f64, high: f64, most: u32) -> Axis {
    let (low, high) = if high > low { (low, high) } else { (low.min(0.0), low.max(0.0)) };
    let (low, high) = if high > low { (low, high) } else { (0.0, 1.0) };
    let step = round_step((high - low) / f64::from(most.max(1)));
    let (first, last) = ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
    let places = (-step.log10().floor()).max(0.0) as usize;
    let mut ticks = Vec::new();
    let mut at = first;
    while at <= last && ticks.len() < 100 {
        ticks.push((at * step, format!("{:.places$}", at * step)));
        at += 1.0;
    }
    Axis { scale: Scale::Linear, low: first * step, high: last * step, ticks }
}

/// The next of 1, 2, 5 times a power of ten.
fn round_step(rough: f64) -> f64 {
    let power = 10f64.powf(rough.log10().floor());
    let digit = rough / power;
    let digit = if digit <= 1.0 {
        1.0
    } else if digit <= 2.0 {
        2.0
    } else if digit <= 5.0 {
        5.0
    } else {
        10.0
    };
    digit * power
}

fn log_ticks(low: f64, high: f64, most: u32) -> Vec<(f64, String)> {
    let within = |digits: &[f64]| -> Vec<f64> {
        let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
        (first..=last)
            .flat_map(|power| digits.iter().map(move |digit| digit * 10f64.powi(power)))
            .filter(|value| (low * 0.999..=high * 1.001).contains(value))
            .collect()
    };
    let all = within(&[1.0, 2.0, 5.0]);
    let chosen = if all.len() <= most as usize { all } else { within(&[1.0]) };
    chosen.into_iter().map(|value| (value, plain(value))).collect()
}

fn plain(value: f64) -> String {
    let places = (-value.log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{value:.places$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_and_the_axis_reaches_from_the_first_to_the_last() {
        let axis = Axis::over(Scale::Linear, 0.0, 2460.0, 5);
        assert_eq!(texts(&axis), ["0", "500", "1000", "1500", "2000", "2500"]);
        assert_eq!((axis.low, axis.high), (0.0, 2500.0));
        assert_eq!(axis.part(1250.0), 0.5);
        assert_eq!(texts(&Axis::over(Scale::Linear, 0.0, 0.07, 4)), ["0.00", "0.02", "0.04", "0.06", "0.08"]);
    }

    #[test]
    fn decades_are_equally_far_apart_on_a_logarithmic_axis() {
        let axis = Axis::over(Scale::Log, 1.0, 100.0, 9);
        assert_eq!(texts(&axis), ["1", "2", "5", "10", "20", "50", "100"]);
        assert!((axis.part(10.0) - 0.5).abs() < 1e-12);
        assert_eq!(texts(&Axis::over(Scale::Log, 0.5, 5000.0, 4)), ["1", "10", "100", "1000"]);
    }

    #[test]
    fn values_without_a_span_still_have_an_axis() {
        for (low, high) in [(0.0, 0.0), (5.0, 5.0), (-3.0, -3.0)] {
            let axis = Axis::over(Scale::Linear, low, high, 5);
            assert!(axis.high > axis.low && axis.low <= low && axis.high >= high, "{axis:?}");
        }
        assert_eq!(Axis::over(Scale::Log, 0.0, 5.0, 5).scale, Scale::Linear, "zero has no logarithm");
    }

    #[test]
    fn ticks_that_would_overlap_are_left_out() {
        let all: Vec<(f64, String)> = [1.0, 2.0, 4.0, 16.0].map(|at| (at, at.to_string())).to_vec();
        let axis = Axis::over(Scale::Linear, 0.0, 16.0, 4).with_ticks(&all, 0.1);
        assert_eq!(texts(&axis), ["1", "4", "16"]);
    }
}
