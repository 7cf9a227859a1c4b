//! Points in time as other tools write them, as UTC in RFC 3339. Reads texts and numbers; asks no clock.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// A point in time, and whether the text said in which zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Time {
    pub utc: String,
    pub zone: bool,
}

/// What is added to a run whose file gives its time without a zone.
pub const NO_ZONE: &str = "its time has no zone and is taken as UTC";

/// RFC 3339, with or without a zone, with a blank for the T; `20261122-013728`; seconds, milliseconds or
/// more of Unix time. `None` for anything else.
pub fn of_text(text: &str) -> Option<Time> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>()
        && !text.contains('-')
    {
        return of_unix(number);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(Time { utc: written(time), zone: true });
    }
    let compact = DateTime::strptime("%Y%m%d-%H%M%S", text);
    let civil = compact.or_else(|_| text.parse::<DateTime>()).ok()?;
    let time = civil.to_zoned(TimeZone::UTC).ok()?.timestamp();
    Some(Time { utc: written(time), zone: false })
}

/// Unix time; what would lie millennia ahead in seconds is in milliseconds, microseconds or nanoseconds.
pub fn of_unix(number: f64) -> Option<Time> {
    let seconds = match number {
        small if small < 1e9 => return None,
        seconds if seconds < 1e11 => seconds,
        ms if ms < 1e14 => ms / 1e3,
        us if us < 1e17 => us / 1e6,
        ns => ns / 1e9,
    };
    let time = Timestamp::from_millisecond((seconds * 1e3).round() as i64).ok()?;
    Some(Time { utc: written(time), zone: true })
}

fn written(time: Timestamp) -> String {
    format!("{time:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_gives_the_same_moment() {
        for text in [
            "2026-11-22T01:37:28Z",
            "2026-11-22T02:37:28+01:00",
            "2026-11-22T01:37:28",
            "2026-11-22 01:37:28.000",
            "20261122-013728",
            "1795311448",
            "1795311448000",
        ] {
            assert_eq!(
                of_text(text).map(|time| time.utc).as_deref(),
                Some("2026-11-22T01:37:28.000Z"),
                "{text}"
            );
        }
        assert!(of_text("2026-11-22T01:37:28Z").unwrap().zone);
        assert!(!of_text("20261122-013728").unwrap().zone);
        for text in ["yesterday", "", "12", "2026-13-01"] {
            assert_eq!(of_text(text), None, "{text}");
        }
    }
}
