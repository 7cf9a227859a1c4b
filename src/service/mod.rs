//! Services as their files define them: reads compose files and LLM-Dock's `services.json`, and
//! writes edits back. Decides nothing about runs.

pub mod catalogue;
pub mod compose;
mod container;
mod env_file;
mod field;
pub mod interpolate;
mod mounts;
pub mod services_json;
pub mod write;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::request::diagnostic::Located;

/// The process's environment, read once where it starts.
pub type Environment = BTreeMap<String, String>;

/// Something wrong with a file of services or one of its services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub path: PathBuf,
    /// `None` concerns the file.
    pub service: Option<String>,
    pub problem: Located,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // With a line it reads as compilers have it, `file:3:5: …`.
        let gap = if self.problem.line.is_some() { "" } else { " " };
        write!(f, "{}:{gap}{}", self.path.display(), self.problem)
    }
}
