//! The loop around the decision, and the jobs that it starts. Wires core and adapters together.

mod apply_files;
pub mod apply_job;
mod apply_restart;
mod apply_revert;
mod apply_source;
