//! What stored data says, put into a shape for people and for programs. Renders; measures, decides and
//! writes nothing.

pub mod bencher_metric_format;
pub mod comparands;
pub mod comparison_document;
pub mod comparison_github;
pub mod comparison_junit;
pub mod comparison_markdown;
pub mod comparison_words;
pub mod content;
mod conversation_status;
pub mod csv;
pub mod escape;
pub mod export;
pub mod export_table;
pub mod format;
pub mod gather;
pub mod history;
pub mod html;
pub mod judgement_document;
mod load_plots;
pub mod load_status;
pub mod markdown;
pub mod outline;
mod outline_bench;
mod outline_conversation;
mod outline_history;
mod outline_load;
mod outline_setup;
mod outline_slowest;
mod past_runs;
pub mod planning;
pub mod planning_document;
pub mod plot;
mod plot_axis;
mod request_rows;
pub mod status_document;
