//! temporary
pub mod error;
pub mod output;
pub mod serve;
