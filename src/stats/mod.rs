//! From samples to numbers: plain functions of plain data. No IO, no clock, no randomness but by seed.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod mean_difference;
pub mod percentile_interval;
pub mod quantile;
pub mod run_interval;
pub mod summary;
