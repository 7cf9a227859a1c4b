//! The flags by which a comparison judges, over those of a gate or the defaults.

use clap::Args;

use crate::request::gate::{LARGEST_MARGIN, Rules};
use crate::request::quantities;
use crate::request::thresholds::{Subject, Threshold, parse_threshold};

/// How to judge.
#[derive(Debug, Clone, Default, Args)]
pub struct JudgingFlags {
    /// What a figure may do before it fails or warns; may be given several times
    #[arg(long = "threshold", value_name = "FIGURE=fail:20%,warn:10%", value_parser = threshold)]
    pub thresholds: Vec<(Subject, Threshold)>,
    /// A change for the worse that is none for the evidence [default: 5%]
    #[arg(long, value_name = "PERCENT", value_parser = margin)]
    pub margin: Option<f64>,
    /// A fact that may differ: image, n_threads, -t; or a group: hardware, engine, model, flags, workload; or cases
    #[arg(long, value_name = "FACT", value_delimiter = ',', allow_hyphen_values = true)]
    pub varies: Vec<String>,
    /// Warnings and what the evidence leaves open count as failures
    #[arg(long)]
    pub strict: bool,
}

impl JudgingFlags {
    /// These over others.
    pub fn over(&self, mut rules: Rules) -> Rules {
        for (subject, threshold) in &self.thresholds {
            rules.thresholds.set(*subject, *threshold);
        }
        rules.margin = self.margin.unwrap_or(rules.margin);
        rules.varies.extend(self.varies.iter().cloned());
        rules.strict |= self.strict;
        rules
    }
}

fn threshold(text: &str) -> Result<(Subject, Threshold), String> {
    let (figure, limits) =
        text.split_once('=').ok_or("write FIGURE=fail:20%,warn:10%, such as p95_latency=fail:20%")?;
    Ok((Subject::parse(figure.trim())?, parse_threshold(limits)?))
}

fn margin(text: &str) -> Result<f64, String> {
    Ok(quantities::percent(text, LARGEST_MARGIN)? / 100.0)
}
