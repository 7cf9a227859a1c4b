//! Reads what a run is measured on: the machine, the model's files and the request's Git metadata.
//! Only reads, starts no program, and never guesses: what cannot be read is `None`.

pub mod cpu;
pub mod fingerprint;
pub mod git_index;
pub mod git_metadata;
pub mod gpu;
pub mod memory;
pub mod model_file;
