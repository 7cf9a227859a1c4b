//! The system's metrics while a case runs, as time series. Names: `host_cpu_percent`,
//! `host_memory_bytes`, `engine_cpu_percent`, `engine_memory_bytes`, `gpu<i>_utilization_percent`,
//! `gpu<i>_memory_bytes`, `gpu<i>_power_watts`, `gpu<i>_sm_clock_mhz`, `engine_requests_running`,
//! `engine_requests_waiting`, `engine_kv_cache_percent`, `engine_prefix_cache_hits_total`,
//! `engine_prefix_cache_queries_total`, and `<collector>.<metric>`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One look at the system. What could not be read is left out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Sample {
    pub unix_ms: i64,
    pub values: BTreeMap<String, f64>,
}

/// One metric over a case, summarised.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SeriesSummary {
    pub samples: u32,
    pub min: f64,
    pub mean: f64,
    pub max: f64,
    pub last: f64,
}
