//! How many connections this process may open, and on how many threads it drives them.

use super::case_run;
use crate::run::measure_plan::{CaseLoad, CasePlan, MeasurePlan};
use crate::run::reason::{Reason, Refusal};

/// Descriptors that the process needs beside its connections, and each of its client threads.
const OWN_DESCRIPTORS: u64 = 64;
const THREAD_DESCRIPTORS: u64 = 6;
/// Streams that one client thread carries without being late.
const STREAMS_A_THREAD: u32 = 512;

/// To as many descriptors as there may be. Gives how many that is, or, where it is refused, how many there
/// are; `None` for no limit.
pub fn raise_descriptor_limit() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current
}

/// Every connection is a descriptor: too few would look like a server that refuses.
///
/// # Errors
/// The limit, and what would raise it.
pub fn check_descriptors(plan: &MeasurePlan) -> Result<(), Refusal> {
    let of_case = |case: &CasePlan| {
        let connections = u64::from(case_run::connections(case.load));
        (connections + threads(plan, case) as u64 * THREAD_DESCRIPTORS + OWN_DESCRIPTORS, connections)
    };
    let (needed, connections) = plan.cases.iter().map(of_case).max().unwrap_or_default();
    // As many as there may be: an open loop has no number of its own.
    match raise_descriptor_limit() {
        Some(now) if now < needed => {
            let message = format!(
                "{connections} connections need {needed} file descriptors, and this process may have {now}"
            );
            let hint = format!("`ulimit -n {needed}` before benchlet starts, or LimitNOFILE in its unit");
            Err(Refusal::new(Reason::LimitReached, message).hint(hint))
        }
        Some(_) | None => Ok(()),
    }
}

/// Client threads of a case.
pub fn threads(plan: &MeasurePlan, case: &CasePlan) -> usize {
    if let Some(threads) = plan.threads {
        return threads.max(1) as usize;
    }
    let streams = match case.load {
        CaseLoad::Closed { concurrency } => concurrency,
        CaseLoad::Open { rate, .. } => rate.ceil().clamp(1.0, 1e6) as u32,
    };
    // The server may be on the same machine: it gets the larger half.
    let most = std::thread::available_parallelism().map_or(1, |count| count.get() / 2).max(1);
    (streams.div_ceil(STREAMS_A_THREAD) as usize).clamp(1, most)
}
