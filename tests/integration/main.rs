//! Everything that is tested from outside, against what is real: a Docker daemon, processes, the file
//! system, the binary. One binary, so that it links once; a file a subject.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod apply;
mod architecture;
mod chat_templates;
mod cli_runs;
mod cli_sim;
mod cli_state;
mod cli_validate;
mod controller_alone;
mod controller_daemon_away;
mod controller_edits;
mod controller_failures;
mod controller_files;
mod controller_restart;
mod controller_results;
mod conversations;
mod conversations_docker;
mod daemon;
mod examples;
mod executor_docker;
mod executor_process;
mod file_server;
mod intake;
mod load_bench;
mod load_test_failures;
mod load_tests;
mod load_tests_cli;
mod load_tests_docker;
mod measure_dialects;
mod measure_faults;
mod measure_keys;
mod measure_loops;
mod measure_token_counts;
mod measuring;
mod model_files;
mod model_requests;
mod planning;
mod polling;
mod readme;
mod reports;
mod scripted_server;
mod stored_runs;
mod strict_dialects;
mod strict_server;
mod workbench;
