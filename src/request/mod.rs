//! Request documents: from text to valid requests, or to everything that is wrong with them. Pure.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod apply;
pub mod baseline;
pub mod control;
pub mod conversation;
pub mod conversation_decode;
pub mod conversation_file;
pub mod conversation_schema;
pub mod diagnostic;
#[cfg(test)]
mod field_names;
pub mod fields;
pub mod flags;
pub mod gate;
pub mod hash;
pub mod imported;
pub mod llama_bench;
pub mod load_test;
pub mod load_test_decode;
pub mod load_test_load;
pub mod load_test_prompts;
pub mod load_test_schema;
pub mod load_test_set;
pub mod load_test_size;
pub mod load_test_targets;
pub mod measure;
pub mod model;
pub mod model_catalogue;
pub mod model_schema;
pub mod model_source;
pub mod quantities;
pub mod report_files;
pub mod schema;
pub mod server_flags;
pub mod thresholds;
pub mod tree;
pub mod valid;
pub mod yaml_text;
