//! What the loop tells of itself while it works: how much waits, how long a pass takes, whether everything
//! was looked at once. Counts and times; decides nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

/// Upper bounds of the times of passes, in seconds.
const PASSES: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 10.0];

#[derive(Debug, Clone)]
pub struct Meter {
    /// Requests that wait for a pass.
    pub queued: Gauge<i64, std::sync::atomic::AtomicI64>,
    /// One pass: observe, decide, carry out.
    pub passes: Histogram,
    pub failed_passes: Counter<u64, AtomicU64>,
    started: Arc<AtomicBool>,
    degraded: Arc<AtomicBool>,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            queued: Gauge::default(),
            passes: Histogram::new(PASSES),
            failed_passes: Counter::default(),
            started: Arc::default(),
            degraded: Arc::default(),
        }
    }
}

impl Meter {
    pub fn passed(&self, took: Duration, well: bool) {
        self.passes.observe(took.as_secs_f64());
        if !well {
            self.failed_passes.inc();
        }
    }

    pub fn note_queue(&self, depth: usize) {
        self.queued.set(i64::try_from(depth).unwrap_or(i64::MAX));
    }

    /// Every request was looked at once.
    pub fn note_started(&self) {
        self.started.store(true, Ordering::Relaxed);
    }

    pub fn is_started(&self) -> bool {
        self.started.load(Ordering::Relaxed)
    }

    /// Whether the watched root cannot be trusted at present.
    pub fn note_degraded(&self, degraded: bool) {
        self.degraded.store(degraded, Ordering::Relaxed);
    }

    pub fn is_degraded(&self) -> bool {
        self.degraded.load(Ordering::Relaxed)
    }
}
