//! The REST API and the page: what can be asked over HTTP, who may ask, and in which shapes it is answered. Reads the
//! store; orders are tokens in it or files of the watched root, so the controller alone starts anything.

mod access;
mod apply;
mod baselines;
mod comparisons;
mod error;
mod events;
mod extract;
mod feed;
mod health;
mod hosts;
mod logs;
mod metrics;
mod openapi;
mod operation;
mod patient_stream;
mod planning;
mod rate;
mod reports;
mod request_source;
mod requests;
pub mod router;
mod run_lines;
mod runs;
pub mod serve;
mod services;
mod session;
mod start;
mod state;
mod token;
mod trends;
mod web;
