//! Request documents: from text to valid requests, or to everything that is wrong with them. Pure.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod diagnostic;
pub mod tree;
