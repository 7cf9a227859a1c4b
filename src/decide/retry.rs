//! How often a run is tried again, and for what.

/// Attempts that a run may lose to infrastructure (a daemon's restart, a container removed behind our
/// back) before it fails. They do not count as failures of the benchmark.
pub const MOST_FAULTS: u32 = 2;

/// Whether an attempt that was lost to infrastructure is made again.
pub fn after_fault(faults_so_far: u32) -> bool {
    faults_so_far < MOST_FAULTS
}

/// Whether a failed attempt is made again: `backoffLimit`, by default never, since a benchmark that
/// fails once and passes then is no measurement.
pub fn after_failure(failures_so_far: u32, backoff_limit: u32) -> bool {
    failures_so_far < backoff_limit
}
