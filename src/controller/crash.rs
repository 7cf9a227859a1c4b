//! Ends this process at one chosen point, so that tests can try a restart from every one of them. In
//! debug builds only, and only where `BENCHLET_CRASH_AT` counts the points down.

use std::sync::atomic::{AtomicI64, Ordering};

static LEFT: AtomicI64 = AtomicI64::new(i64::MIN);

/// Passes a point; at the last one that the variable allows, the process kills itself as `kill -9` does.
pub fn point() {
    if !cfg!(debug_assertions) {
        return;
    }
    if LEFT.load(Ordering::Relaxed) == i64::MIN {
        let wanted = std::env::var("BENCHLET_CRASH_AT").ok().and_then(|text| text.parse().ok());
        // Two threads at once read the same variable.
        LEFT.store(wanted.unwrap_or(i64::MAX), Ordering::Relaxed);
    }
    if LEFT.fetch_sub(1, Ordering::Relaxed) == 1 {
        let own = rustix::process::getpid();
        if let Err(error) = rustix::process::kill_process(own, rustix::process::Signal::KILL) {
            tracing::error!(%error, "the process could not end itself");
        }
    }
}
