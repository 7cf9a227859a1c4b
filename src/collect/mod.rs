//! Reads what a run is measured on: the machine and its load, the model's files and the request's Git
//! metadata. Only reads, starts no program, and never guesses: what cannot be read is `None`.

pub mod cgroup_load;
pub mod chat_template_file;
pub mod cpu;
pub mod engine_metrics;
pub mod fingerprint;
mod gguf_chat;
pub mod git_index;
pub mod git_metadata;
pub mod gpu;
pub mod gpu_load;
pub mod host_load;
pub mod memory;
pub mod model_file;
pub mod process_load;
pub mod prometheus;
pub mod sampler;
