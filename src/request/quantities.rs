//! Quantities as requests and the command line write them: whole numbers, percentages, rates, times.
//! Each reader answers a text that it cannot take with what would be right.

use super::fields::parse_duration_ms;

/// Most requests a second that may be asked for.
const HIGHEST_RATE: f64 = 1_000_000.0;

/// A whole number from `least` to `most`.
pub fn whole(text: &str, least: u32, most: u32) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(value) if (least..=most).contains(&value) => Ok(value),
        Ok(_) | Err(_) => Err(format!("a whole number from {least} to {most}")),
    }
}

/// Tokens of a context as people say them: `8192`, and `8k` or `8K` for the same.
pub fn context_tokens(text: &str, most: u32) -> Result<u32, String> {
    let tokens = match text.strip_suffix(['k', 'K']) {
        Some(thousands) => thousands.parse::<u32>().ok().and_then(|thousands| thousands.checked_mul(1_024)),
        None => text.parse().ok(),
    };
    tokens
        .filter(|tokens| (1..=most).contains(tokens))
        .ok_or_else(|| format!("a number of tokens from 1 to {most}, as 8192 or 8k"))
}

/// A number from `least` to `most`.
pub fn number(text: &str, least: f64, most: f64) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (least..=most).contains(&value) => Ok(value),
        Ok(_) | Err(_) => Err(format!("a number from {least} to {most}")),
    }
}

/// `5%` from 0 to `most` percent. Without its sign 0.05 could be either.
pub fn percent(text: &str, most: f64) -> Result<f64, String> {
    let value = text.strip_suffix('%').map(|number| number.trim_end().parse::<f64>());
    match (value, text.parse::<f64>()) {
        (Some(Ok(value)), _) if (0.0..=most).contains(&value) => Ok(value),
        // A fifth is often meant by 0.2.
        (None, Ok(part)) if part > 0.0 && part < 1.0 => {
            let whole = (part * 1e6).round() / 1e4;
            Err(format!("give it its sign: {text}%, or {whole}% if a part of one is meant"))
        }
        (None, Ok(_)) => Err(format!("give it its sign: {text}%")),
        (Some(_) | None, _) => Err(format!("a percentage from 0% to {most}%")),
    }
}

/// A number a second from `5`, `5/s` or `300/min`; above zero.
pub fn rate(text: &str) -> Result<f64, String> {
    let (number, seconds) = match text.split_once('/') {
        None => (text, Some(1.0)),
        Some((number, "s")) => (number, Some(1.0)),
        Some((number, "min")) => (number, Some(60.0)),
        Some((number, _)) => (number, None),
    };
    let value = number.trim_end().parse::<f64>().ok().zip(seconds).map(|(value, seconds)| value / seconds);
    match value {
        Some(value) if value > 0.0 && value <= HIGHEST_RATE => Ok(value),
        Some(_) | None => {
            Err(format!("requests a second such as 5/s or 0.5/s, above 0 and at most {HIGHEST_RATE}"))
        }
    }
}

/// Milliseconds, whole and above zero.
pub fn time(text: &str) -> Result<u64, String> {
    parse_duration_ms(text).ok_or_else(|| wrong_time(text, "a time above zero such as 500ms, 30s or 10m"))
}

/// The same, or zero.
pub fn time_or_zero(text: &str) -> Result<u64, String> {
    match exact_ms(text) {
        Some(0.0) => Ok(0),
        Some(_) | None => parse_duration_ms(text)
            .ok_or_else(|| wrong_time(text, "a time such as 500ms, 30s or 10m; 0s for none")),
    }
}

/// Milliseconds with fractions, above zero.
pub fn short_time(text: &str) -> Result<f64, String> {
    exact_ms(text)
        .filter(|ms| *ms > 0.0)
        .ok_or_else(|| wrong_time(text, "a time above zero such as 0.5ms, 500ms or 2s"))
}

/// The same, or zero.
pub fn short_time_or_zero(text: &str) -> Result<f64, String> {
    exact_ms(text).ok_or_else(|| wrong_time(text, "a time such as 0.5ms, 500ms or 2s; 0s for none"))
}

fn exact_ms(text: &str) -> Option<f64> {
    let duration = text.parse::<jiff::SignedDuration>().ok()?;
    let ms = duration.as_secs_f64() * 1000.0;
    // To the nanosecond that was written: 0.5ms is not to become 0.50000001.
    (ms >= 0.0).then(|| (ms * 1e6).round() / 1e6)
}

fn wrong_time(text: &str, right: &str) -> String {
    if text.parse::<f64>().is_ok() {
        format!("give it a unit: {text}s or {text}ms")
    } else {
        right.to_owned()
    }
}

/// Milliseconds as a person would write them: `90s`, `10m`, `1h30m`.
pub fn spoken_time(ms: u64) -> String {
    if !ms.is_multiple_of(1000) || ms == 0 {
        return format!("{ms}ms");
    }
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    [(hours, "h"), (minutes, "m"), (seconds, "s")]
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_may_be_a_second_or_a_minute() {
        assert_eq!(rate("5/s"), Ok(5.0));
        assert_eq!(rate("0.5"), Ok(0.5));
        assert_eq!(rate("90/min"), Ok(1.5));
        for wrong in ["0/s", "-1", "5/h", "fast", "nan", "inf"] {
            assert!(rate(wrong).unwrap_err().contains("5/s"), "{wrong}");
        }
    }

    #[test]
    fn a_percentage_needs_its_sign() {
        assert_eq!(percent("1.5%", 100.0), Ok(1.5));
        assert_eq!(
            percent("0.01", 100.0),
            Err("give it its sign: 0.01%, or 1% if a part of one is meant".to_owned())
        );
        assert!(percent("101%", 100.0).is_err());
        assert!(percent("nan%", 100.0).is_err());
    }

    #[test]
    fn times_below_a_millisecond_are_taken_where_they_make_sense() {
        assert_eq!(short_time("0.5ms"), Ok(0.5));
        assert_eq!(short_time("2s"), Ok(2000.0));
        assert!(short_time("0ms").is_err());
        assert_eq!(short_time_or_zero("0ms"), Ok(0.0));
        assert!(short_time("-1s").is_err());
        assert!(time("0.5ms").is_err());
        assert_eq!(time_or_zero("0s"), Ok(0));
        assert!(time_or_zero("0.5ms").is_err());
        assert_eq!(time("30"), Err("give it a unit: 30s or 30ms".to_owned()));
    }

    #[test]
    fn times_are_spoken_in_the_units_that_they_are_written_in() {
        for text in ["90ms", "45s", "10m", "1h30m", "1h", "2m5s"] {
            assert_eq!(spoken_time(time(text).unwrap()), text);
        }
    }

    #[test]
    fn durations_are_spelled_as_in_a_request() {
        let spelled: Vec<String> = [500, 90_000, 5_400_000, 3_601_000].into_iter().map(spoken_time).collect();
        assert_eq!(spelled, ["500ms", "1m30s", "1h30m", "1h1s"]);
    }
}
