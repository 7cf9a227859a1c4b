//! benchlet: a reconciling controller for LLM benchmarks.
//!
//! Core modules (`request`, `run`, `plan`, `decide`, `stats`) are plain data and functions; adapters
//! (`files`, `intake`, `executor`, `engine`, `load`, `models`, `service`, `store`, `status`, `collect`) own one
//! kind of IO each;
//! `controller` and `cli` wire them together.

pub mod api;
pub mod cli;
pub mod collect;
pub mod controller;
pub mod decide;
pub mod engine;
pub mod executor;
pub mod files;
pub mod intake;
pub mod load;
pub mod models;
pub mod plan;
pub mod report;
pub mod request;
pub mod run;
pub mod service;
pub mod settings;
pub mod stats;
pub mod status;
pub mod store;
