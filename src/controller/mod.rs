//! The controller: observes one request at a time, lets `decide` give one order, carries it out, and
//! looks again. Wires the adapters together; policy is `decide`'s alone.

mod apply_files;
pub mod apply_job;
mod apply_restart;
mod apply_revert;
mod apply_source;
mod apply_task;
pub mod baseline_orders;
mod claims;
mod conditions;
pub mod context;
pub mod conversation_source;
mod crash;
pub mod doorbell;
mod engines;
mod execute;
pub mod imports;
mod improvement;
mod jobs;
mod judge;
mod judging_sight;
mod load_inputs;
mod load_results;
mod measure;
pub mod meter;
pub mod model_cache;
mod model_job;
pub mod named_files;
pub mod observe;
mod orphans;
mod prepare;
mod queue;
mod reconcile;
mod report_files;
pub mod run_output;
pub mod service_states;
mod start;
mod status;
mod status_keeper;
pub mod submit;
pub mod surroundings;

pub use reconcile::{Controller, Sources};
pub use start::{Opened, STATE_LOCK, StartError, open};
pub use status::live;
