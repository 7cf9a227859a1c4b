//! A run: its phases, steps, tasks and results as plain data. No IO, no clock, no randomness.

pub mod clock;
pub mod phase;
pub mod plan;
pub mod reason;
pub mod step;
