//! Times, rates and refusals of planning in the words that `models`, `estimate` and `rank` share.

use jiff::Timestamp;

use super::error::CliError;
use super::output::Cell;
use crate::plan::estimate::{Cost, Spread, Unanswered};
use crate::plan::measured_rate::MeasuredRow;
use crate::report::planning::PlanningError;
use crate::request::diagnostic::did_you_mean;
use crate::run::load_words::short;

/// `45s`, `12m 30s`, `2h 13m`, `4d 10h`: the two largest units.
pub fn long_time(seconds: f64) -> String {
    // Years beyond counting end here as well.
    let whole = seconds.round().clamp(0.0, 1e15) as u64;
    let two = |large: u64, small: u64, units: [&str; 2]| match small {
        0 => format!("{large}{}", units[0]),
        _ => format!("{large}{} {small}{}", units[0], units[1]),
    };
    match whole {
        0 => format!("{seconds:.2}s"),
        1..60 => format!("{whole}s"),
        60..3_600 => two(whole / 60, whole % 60, ["m", "s"]),
        3_600..172_800 => two(whole / 3_600, whole % 3_600 / 60, ["h", "m"]),
        _ => two(whole / 86_400, whole % 86_400 / 3_600, ["d", "h"]),
    }
}

/// `25h 10m–28h 30m`
pub fn span(spread: &Spread) -> Option<String> {
    match spread {
        Spread::Known { fewest_seconds, most_seconds, .. } => {
            let most = most_seconds.map_or_else(|| "?".to_owned(), long_time);
            Some(format!("{}–{most}", long_time(*fewest_seconds)))
        }
        Spread::Unknown { .. } => None,
    }
}

/// As many digits as mean something.
pub fn rate(value: f64) -> String {
    if value < 0.1 { format!("{value:.4}") } else { short(value) }
}

pub fn rate_cell(row: Option<&MeasuredRow>) -> Cell {
    let simulated = row.is_some_and(|row| row.simulated);
    let mark = if simulated { " (sim)" } else { "" };
    Cell::maybe(row.and_then(MeasuredRow::rate).map(|value| format!("{}{mark}", rate(value))))
}

pub fn percent(value: Option<f64>) -> Option<String> {
    value.map(|percent| {
        // 99.96 is not all of them.
        let text = format!("{:.1}%", (percent * 10.0).floor() / 10.0);
        text.replace(".0%", "%")
    })
}

pub fn money(cost: &Cost) -> Option<String> {
    cost.amount().map(|amount| format!("{amount:.2}"))
}

/// `2026-03-01`
pub fn day(unix: i64) -> String {
    Timestamp::from_second(unix).map_or_else(|_| "?".to_owned(), |at| at.strftime("%Y-%m-%d").to_string())
}

/// The run's id, or that it has none.
pub fn origin(row: &MeasuredRow) -> String {
    match &row.run {
        Some(run) => format!("run {run}"),
        None => "a row from elsewhere".to_owned(),
    }
}

impl From<PlanningError> for CliError {
    fn from(error: PlanningError) -> Self {
        let message = error.to_string();
        match error {
            PlanningError::Store(error) => error.into(),
            PlanningError::NoModel { model, known } => Self::not_found(message)
                .hint("`benchlet models` lists those that were measured")
                .maybe_hint(did_you_mean(&model, known.iter().map(String::as_str))),
            PlanningError::OnlySimulated { .. } => Self::not_found(message)
                .hint("its figures are made up; --simulated plans with them to try it out"),
            PlanningError::NoLoadTest { .. } => {
                Self::usage(message).hint("name a run of kind LoadTest; `benchlet history` lists the runs")
            }
            PlanningError::Unanswered { model, why } => match why {
                Unanswered::NotMeasured => Self::not_found(message).hint(format!(
                    "measure it with a LoadTest; `benchlet models show {model}` shows what there is"
                )),
                Unanswered::NotAtWorkers { measured } => {
                    let counts: Vec<String> = measured.iter().map(u64::to_string).collect();
                    Self::not_found(message).hint(match counts.is_empty() {
                        true => "it was measured at fixed rates alone".to_owned(),
                        false => format!("it was measured with {}", counts.join(", ")),
                    })
                }
                Unanswered::ContextTooSmall { .. } => Self::no(message)
                    .hint("`benchlet rank --context` shows the models whose window is large enough"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_their_two_largest_units() {
        let shown = [0.25, 45.0, 60.0, 750.0, 7_980.0, 96_153.8, 172_800.0, 382_000.0].map(long_time);
        assert_eq!(shown, ["0.25s", "45s", "1m", "12m 30s", "2h 13m", "26h 42m", "2d", "4d 10h"]);
    }

    #[test]
    fn a_success_rate_is_never_rounded_up() {
        let shown = [100.0, 99.96, 98.0, 0.0].map(|value| percent(Some(value)).unwrap());
        assert_eq!(shown, ["100%", "99.9%", "98%", "0%"]);
    }

    #[test]
    fn slow_rates_keep_their_digits() {
        assert_eq!([0.0123, 0.52, 12.34].map(rate), ["0.0123", "0.52", "12.3"]);
    }
}
