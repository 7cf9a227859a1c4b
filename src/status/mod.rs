//! Status files: what people read beside their requests. Written from the store and the decisions,
//! never read for one.

pub mod document;
pub mod write;
