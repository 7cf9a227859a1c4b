//! What stored data says, put into a shape for people and for programs. Renders; measures, decides and
//! writes nothing.

pub mod load_status;
pub mod status_document;
