//! Status files: what people read beside their requests. Owns where they lie and how they get there,
//! not what is in them; never reads one for a decision.

pub mod write;
