//! Completed runs of llama-bench with rates of a test's choice, as a controller would have stored them: what
//! comparisons, baselines and trends are tried on.

use std::path::{Path, PathBuf};

use benchlet::decide::observed::Record;
use benchlet::run::phase::{Ending, RunState};
use benchlet::store::benchmarks::Figures;
use benchlet::store::runs::Results;
use serde_json::json;
use uuid::Uuid;

use crate::cli_state::{Seeded, running};

/// What a run of llama-bench is made of.
#[derive(Clone)]
pub struct Made<'a> {
    /// The rate of each launch, tokens a second.
    pub launches: &'a [f64],
    pub threads: u32,
    pub simulated: bool,
}

/// Nearly the same every time.
pub const STEADY: [f64; 5] = [100.0, 100.4, 99.7, 100.2, 99.9];

pub fn made(launches: &[f64]) -> Made<'_> {
    Made { launches, threads: 2, simulated: false }
}

/// Every launch so many times as fast.
pub fn times(rates: &[f64], factor: f64) -> Vec<f64> {
    rates.iter().map(|rate| rate * factor).collect()
}

/// A state directory with such runs in it.
pub struct JudgedRuns {
    pub seeded: Seeded,
    state: PathBuf,
}

impl JudgedRuns {
    pub fn at(state: &Path) -> Self {
        Self { seeded: Seeded::at(state), state: state.to_owned() }
    }

    /// A request that has run; `gate` is more of its spec, with a comma before it.
    pub fn request(&self, name: &str, gate: &str) -> Record {
        self.seeded.request(name, "LlamaBench", &format!("{{ service: qwen{gate} }}"), true)
    }

    pub fn run(&self, record: &Record, made: &Made<'_>) -> Uuid {
        let id = self.seeded.run(record, running());
        let samples: Vec<[f64; 3]> =
            made.launches.iter().map(|rate| [rate * 0.99, *rate, rate * 1.01]).collect();
        let mean = made.launches.iter().sum::<f64>() / made.launches.len() as f64;
        let case = json!({
            "case": 1, "test": "tg16", "kind": "tg", "n_prompt": 0, "n_gen": 16, "n_depth": 0, "varied": {},
            "samples_ts": samples, "avg_ts": mean, "median_ts": mean, "stddev_ts": 1.0, "slow_first": [],
        });
        let rows = json!([{ "build_commit": "b1", "n_threads": made.threads, "n_batch": 512, "n_gen": 16 }]);
        let figures =
            Figures { tg_avg_ts: Some(mean), raw_output: Some(rows.to_string()), ..Figures::default() };
        let results = Results { cases: vec![case.to_string()], figures, ..Results::default() };
        self.seeded.results(id, results, 0);
        self.seeded.advance(id, RunState::Ended(Ending::completed("")));
        let fingerprint = json!({
            "host": { "hostname": "box" }, "cpu": { "model": "EPYC", "threads": 2 }, "gpus": [],
            "model": { "path": "/models/a.gguf", "sha256": "ab" },
        });
        let simulated = u8::from(made.simulated);
        self.sql(&format!(
            "UPDATE runs SET simulated = {simulated}, fingerprint_json = '{fingerprint}' WHERE id = '{id}';
             UPDATE benchmark_runs SET simulated = {simulated} WHERE id = '{id}';"
        ));
        id
    }

    pub fn sql(&self, sql: &str) {
        let database = rusqlite::Connection::open(self.state.join("benchlet.db")).unwrap();
        database.execute_batch(sql).unwrap();
    }
}
