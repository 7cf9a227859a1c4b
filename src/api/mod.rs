//! The REST API: what can be asked over HTTP, who may ask, and in which shapes it is answered. Reads the
//! store; orders are tokens in it or files of the watched root, so the controller alone starts anything.

mod access;
mod error;
mod extract;
mod health;
mod hosts;
mod openapi;
mod operation;
mod patient_stream;
mod rate;
pub mod router;
mod run_lines;
mod runs;
pub mod serve;
mod start;
mod state;
mod token;
