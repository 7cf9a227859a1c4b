//! A run: its phases, steps, tasks and results as plain data. No IO, no clock, no randomness.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod bench_help;
pub mod case;
pub mod clock;
pub mod fingerprint;
pub mod llama_bench_row;
pub mod measure_plan;
pub mod outcome;
mod outcome_start;
mod outcome_words;
pub mod phase;
pub mod plan;
pub mod progress;
pub mod reason;
pub mod request_record;
pub mod series;
pub mod step;
