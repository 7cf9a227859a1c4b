//! From samples to numbers: plain functions of plain data. No IO, no clock, no randomness but by seed.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod autocorrelation;
pub mod block_bootstrap;
pub mod changepoint;
pub mod drift;
pub mod evidence;
pub mod false_discovery;
pub mod mean_difference;
pub mod noise_floor;
pub mod percentile_interval;
pub mod prediction;
pub mod proportion;
pub mod quantile;
pub mod rank_shift;
pub mod run_interval;
pub mod student_interval;
pub mod summary;
