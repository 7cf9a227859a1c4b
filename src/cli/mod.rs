//! temporary
pub mod error;
pub mod serve;
