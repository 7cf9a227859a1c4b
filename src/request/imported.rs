//! What a run has in place of a spec whose figures were measured elsewhere: which file they came from and
//! in which form. Owns the names of the forms; reads no file and makes no run.

use serde::{Deserialize, Serialize};

/// The form of a file of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// benchlet's own, as `benchlet export` writes it.
    Export,
    /// llama-bench's JSON, JSON Lines, CSV or SQL.
    LlamaBench,
    /// The result of `vllm bench serve` or of vllm-bench, and of tools that took its keys over.
    Vllm,
    Guidellm,
    Aiperf,
    /// The few numbers of a script: throughput, latencies, error rate.
    Simple,
    /// A database with `benchmark_runs` or `benchmark_results`.
    Sqlite,
}

impl Format {
    pub const ALL: [Self; 7] = [
        Self::Export,
        Self::LlamaBench,
        Self::Vllm,
        Self::Guidellm,
        Self::Aiperf,
        Self::Simple,
        Self::Sqlite,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Export => "export",
            Self::LlamaBench => "llama-bench",
            Self::Vllm => "vllm",
            Self::Guidellm => "guidellm",
            Self::Aiperf => "aiperf",
            Self::Simple => "simple",
            Self::Sqlite => "sqlite",
        }
    }

    /// What a file of this form is, for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Export => "benchlet's own export (JSON)",
            Self::LlamaBench => "llama-bench (-o json, jsonl, csv or sql)",
            Self::Vllm => "vllm bench serve and vllm-bench (JSON, JSON Lines)",
            Self::Guidellm => "GuideLLM (benchmarks.json)",
            Self::Aiperf => "AIPerf (profile_export_aiperf.json)",
            Self::Simple => "a script's few numbers (JSON: throughput_rps, latency_ms, error_rate)",
            Self::Sqlite => "SQLite with benchmark_runs or benchmark_results",
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What kind of figures an imported run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Measured {
    LlamaBench,
    LoadTest,
    Conversation,
}

impl Measured {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LlamaBench => "LlamaBench",
            Self::LoadTest => "LoadTest",
            Self::Conversation => "Conversation",
        }
    }
}

/// Frozen into an imported run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Imported {
    pub format: Format,
    /// The file's name, without its folder.
    pub file: String,
    pub measured: Measured,
    pub model: Option<String>,
    /// What the file left open, in sentences.
    pub notes: Vec<String>,
}

/// A request's name that a text gives: letters, digits, `-`, `_` and `.`, beginning with a letter or digit.
pub fn name_of(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars() {
        let good = c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        match good {
            true => name.push(c),
            false if name.ends_with('-') => {}
            false => name.push('-'),
        }
    }
    let begun = name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let short: String = begun.trim_end_matches(['-', '.']).chars().take(super::valid::LONGEST_NAME).collect();
    if short.is_empty() { "imported".to_owned() } else { short }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_file_name_gives_a_name_that_a_request_could_have() {
        for (text, name) in [
            ("qwen3-8b", "qwen3-8b"),
            ("my results (2)", "my-results-2"),
            ("../../etc/passwd", "etc-passwd"),
            (".hidden", "hidden"),
            ("größe", "gr-e"),
            ("---", "imported"),
        ] {
            assert_eq!(name_of(text), name, "{text}");
        }
        assert_eq!(name_of(&"x".repeat(500)).len(), 128);
    }
}
