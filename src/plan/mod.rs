//! From a valid request and a service to the exact commands and cases. Pure.

pub mod flag_map;
pub mod llama_bench_command;
pub mod service;
