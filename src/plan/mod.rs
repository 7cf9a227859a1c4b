//! From a valid request and a service to the exact commands and cases. Pure.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod service;
