//! The decision: one pure function from what one pass may know to one complete order. The happy
//! path, partial failure and a restart are the same path, because nothing here remembers anything.
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod action;
mod admission;
mod apply;
mod judging;
mod measured_attempt;
mod measured_preparing;
mod measured_run;
mod measured_steps;
mod model;
pub mod observed;
#[cfg(test)]
mod properties;
mod request;
mod retry;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod single_decisions;
#[cfg(test)]
mod single_judging;
#[cfg(test)]
mod single_load_tests;
#[cfg(test)]
mod single_requests;

pub use action::{Action, Decision};
pub use admission::{overlap, share_service};
pub use observed::Observed;
pub use retry::after_fault as retries_left;

use crate::request::valid::Spec;

/// What to do next about one request. Look, act, look again: it gives one action at a time.
pub fn next_action(observed: &Observed) -> Decision {
    if let Some(decision) = request::register(observed) {
        return decision;
    }
    if let Some(run) = &observed.run {
        if let Some(decision) = request::interrupt(observed, run) {
            return decision;
        }
        return match &run.spec {
            Spec::LlamaBench(_) | Spec::LoadTest(_) => measured_run::advance(observed, run),
            Spec::Model(_) => {
                measured_run::restarted(observed, run).unwrap_or_else(|| model::advance(observed, run))
            }
            // These have no run; one that stands here came from a store that is not ours.
            Spec::Apply(_) | Spec::Baseline(_) | Spec::Comparison(_) | Spec::Imported(_) => {
                measured_run::not_runnable(run)
            }
        };
    }
    if let Some(decision) = judging::gate(observed) {
        return decision;
    }
    if let Some(decision) = apply::carry_out(observed) {
        return decision;
    }
    request::next_run(observed)
}
