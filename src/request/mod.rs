//! Request documents: from text to valid requests, or to everything that is wrong with them. Pure.

pub mod diagnostic;
pub mod tree;
