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
