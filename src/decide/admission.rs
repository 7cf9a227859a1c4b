//! Who may go first: one run a service and one run a device set at a time, because a benchmark that
//! shares its GPU or its cores measures nothing.

use super::action::Decision;
use super::observed::World;
use crate::run::phase::Phase;
use crate::run::plan::Blueprint;
use crate::run::reason::Reason;

/// How long a blocked run sleeps at most; the end of its blocker wakes it earlier.
const RECHECK_MS: u64 = 5_000;

/// What keeps the blueprint from being admitted now.
pub fn blocked(world: &World, blueprint: &Blueprint) -> Option<Decision> {
    if !world.listed {
        let message = "the executors have not been listed completely yet";
        return Some(Decision::wait(Reason::NotListed, message, 1_000));
    }
    let admitted = || world.others.iter().filter(|other| other.measures && other.phase != Phase::Pending);
    if let Some(other) = admitted().find(|other| share_service(&other.service, &blueprint.service)) {
        let message = format!("waits for {}, which measures the service {}", other.request, other.service);
        return Some(Decision::wait(Reason::ServiceBusy, message, RECHECK_MS));
    }
    for other in admitted() {
        if let Some(device) = overlap(&other.claims, &blueprint.claims) {
            let message = format!("waits for {}, which has {device}", other.request);
            return Some(Decision::wait(Reason::DeviceBusy, message, RECHECK_MS));
        }
    }
    let foreign = world.foreign.iter().find(|(device, _)| blueprint.claims.contains(device));
    foreign.map(|(device, holder)| {
        let message = format!("waits for {holder}, which has {device}");
        Decision::wait(Reason::DeviceBusy, message, 1_000)
    })
}

/// Whether two runs have a service in common; a load test may name several, with commas between them.
pub fn share_service(a: &str, b: &str) -> bool {
    a.split(", ").any(|name| b.split(", ").any(|other| other == name))
}

/// A device that both name. `gpu:all` overlaps every GPU.
pub fn overlap<'a>(held: &'a [String], wanted: &[String]) -> Option<&'a str> {
    const ALL: &str = "gpu:all";
    let is_gpu = |claim: &String| claim.starts_with("gpu:");
    held.iter()
        .find(|claim| {
            wanted.contains(claim)
                || (is_gpu(claim) && wanted.iter().any(|other| other == ALL))
                || (claim.as_str() == ALL && wanted.iter().any(is_gpu))
        })
        .map(String::as_str)
}
