//! A run: its phases, steps, tasks and results as plain data. No IO, no clock, no randomness.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod bench_help;
pub mod case;
pub mod clock;
pub mod comparand;
pub mod comparand_bench;
pub mod comparand_load;
pub mod conversation_case;
pub mod conversation_figures;
pub mod conversation_words;
pub mod facts;
pub mod fingerprint;
pub mod imported;
pub mod llama_bench_row;
pub mod load_case;
mod load_counted;
pub mod load_figures;
#[cfg(test)]
mod load_figures_tests;
pub mod load_goodput;
pub mod load_latency;
mod load_throughput;
mod load_totals;
mod load_validity;
pub mod load_words;
pub mod measure_plan;
pub mod model_files;
pub mod outcome;
mod outcome_start;
mod outcome_words;
pub mod phase;
pub mod plan;
pub mod progress;
pub mod read_records;
pub mod reason;
mod repetition;
pub mod request_record;
pub mod series;
pub mod step;
pub mod template_source;
