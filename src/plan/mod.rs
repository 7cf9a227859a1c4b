//! From a valid request and a service to the exact commands and cases. Pure.

pub mod service;
