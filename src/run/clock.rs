//! Time as data. Deadlines are kept on the boot-time clock with the boot's id, so that a jump of the
//! wall clock expires nothing and a reboot is noticed.

use serde::{Deserialize, Serialize};

/// The moment of one pass: what every comparison with a deadline uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Now {
    pub boot_id: String,
    /// Milliseconds since boot, sleep included (`CLOCK_BOOTTIME`).
    pub boot_ms: u64,
    /// Milliseconds since the Unix epoch, for records only.
    pub unix_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadline {
    pub boot_id: String,
    pub boot_ms: u64,
    /// What was allowed, in milliseconds, for messages and for a new start after a reboot.
    pub allowed_ms: u64,
}

impl Deadline {
    pub fn after(now: &Now, allowed_ms: u64) -> Self {
        Self { boot_id: now.boot_id.clone(), boot_ms: now.boot_ms.saturating_add(allowed_ms), allowed_ms }
    }

    /// Milliseconds left; 0 where it has passed. After a reboot the whole time counts again, because
    /// nothing of what it measured survived.
    pub fn left_ms(&self, now: &Now) -> u64 {
        if self.boot_id == now.boot_id { self.boot_ms.saturating_sub(now.boot_ms) } else { self.allowed_ms }
    }

    pub fn passed(&self, now: &Now) -> bool {
        self.left_ms(now) == 0
    }
}

/// `90s`, `10m`, `1h 30m`: a duration in the largest units that fit.
pub fn human_ms(ms: u64) -> String {
    let seconds = ms / 1000;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60, ms % 1000) {
        (0, 0, 0, ms) => format!("{ms}ms"),
        (0, 0, s, 0) => format!("{s}s"),
        (0, 0, s, ms) => format!("{s}.{:01}s", ms / 100),
        (0, m, 0, _) => format!("{m}m"),
        (0, m, s, _) => format!("{m}m {s}s"),
        (h, 0, _, _) => format!("{h}h"),
        (h, m, _, _) => format!("{h}h {m}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(boot_id: &str, boot_ms: u64) -> Now {
        Now { boot_id: boot_id.to_owned(), boot_ms, unix_ms: 0 }
    }

    #[test]
    fn a_deadline_passes_by_the_boot_clock_alone() {
        let deadline = Deadline::after(&now("a", 1_000), 500);
        assert!(!deadline.passed(&now("a", 1_499)));
        assert!(deadline.passed(&now("a", 1_500)));
    }

    #[test]
    fn after_a_reboot_the_whole_time_counts_again() {
        let deadline = Deadline::after(&now("a", 90_000), 500);
        assert_eq!(deadline.left_ms(&now("b", 10)), 500);
    }

    #[test]
    fn durations_read_as_people_write_them() {
        let shown = [250, 1_500, 90_000, 600_000, 5_400_000, 7_200_000].map(human_ms);
        assert_eq!(shown, ["250ms", "1.5s", "1m 30s", "10m", "1h 30m", "2h"]);
    }
}
