//! A run: its phases, steps, tasks and results as plain data. No IO, no clock, no randomness.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod step;
