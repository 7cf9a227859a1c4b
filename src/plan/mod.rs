//! From a valid request and a service to the exact commands and cases. Pure.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod applied_check;
pub mod apply_plan;
pub mod arrivals;
pub mod bench_matrix;
pub mod bench_params;
pub mod bench_preview;
mod builtin_chat_templates;
pub mod builtin_prompts;
pub mod chat_template;
mod command_place;
pub mod command_splice;
pub mod command_text;
pub mod comparability;
pub mod compared_figure;
pub mod comparison;
pub mod conversation_library;
pub mod conversation_turns;
pub mod docker_command;
pub mod engine_command;
pub mod estimate;
pub mod figure_evidence;
pub mod flag_map;
mod held_conversations;
pub mod llama_bench_command;
pub mod load_cases;
pub mod load_plan;
pub mod load_steps;
mod load_targets;
pub mod measured_rate;
pub mod model_files;
pub mod model_ranking;
pub mod prompt_lines;
mod python_jinja;
mod python_json;
pub mod server_flags;
pub mod service;
pub mod service_edit;
mod service_reach;
pub mod services_json_edit;
pub mod shell_words;
pub mod synthetic_prompts;
pub mod target_ranking;
pub mod text_diff;
pub mod trend;
pub mod worker_sweep;
