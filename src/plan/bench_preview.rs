//! What a resolved LlamaBench run would do, before its image was looked at: the command, its cases, and what
//! llama-bench may refuse.

use super::bench_matrix::{Given, Matrix};
use super::docker_command;
use super::service::Service;
use crate::run::plan::Blueprint;

pub struct BenchPreview {
    /// Without anything secret.
    pub command: String,
    pub matrix: Matrix,
    pub warnings: Vec<String>,
}

impl BenchPreview {
    /// `threads` are those of this machine, which llama-bench takes by default.
    pub fn of(blueprint: &Blueprint, service: &Service, threads: u64) -> Self {
        let mut task = blueprint.template.clone();
        let program = blueprint.tool_candidates.first().cloned();
        task.argv.splice(0..0, program.unwrap_or_else(|| vec!["llama-bench".to_owned()]));
        let command = docker_command::command_line(&task, None);
        let mut matrix = Matrix::new(threads);
        let mut warnings = blueprint.warnings.clone();
        for param in &blueprint.params {
            match matrix.give(&param.flag, &param.value) {
                Ok(Given::Taken | Given::Other) => {}
                Err(bad) => {
                    warnings
                        .push(format!("llama-bench may refuse {} \"{}\": {bad}", param.flag, param.value));
                }
            }
        }
        if matrix.count() == 0 {
            warnings.push("no test is left to run: prompt and generation are both 0".to_owned());
        }
        Self { command: service.masked(&command), matrix, warnings }
    }
}
