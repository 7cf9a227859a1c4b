//! The cells of a llama-bench matrix: rows of all launches that measure the same thing, pooled into
//! one case each, and the run's headline figures. Computes figures from rows only; compares and
//! judges nothing.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::llama_bench_row::{Row, TestKind};

/// Columns that a test yields; every other column says what the test is.
pub(super) const MEASURED: [&str; 7] =
    ["test_time", "avg_ns", "stddev_ns", "avg_ts", "stddev_ts", "samples_ns", "samples_ts"];
/// Columns that name the test itself and are fields of a case.
pub(super) const SIZES: [&str; 3] = ["n_prompt", "n_gen", "n_depth"];

/// Columns that tell of the machine, the build and the model, and of no flag.
pub const SURROUNDINGS: [&str; 9] = [
    "build_commit",
    "build_number",
    "cpu_info",
    "gpu_info",
    "backends",
    "model_filename",
    "model_type",
    "model_size",
    "model_n_params",
];

/// The rule of [`Case::slow_first`], as reports print it.
pub const SLOW_FIRST_RULE: &str = "the first repetition of a launch is more than 10 % slower than the median \
     of the others and slower than each of them";

/// One cell of a run's matrix, over all of its launches. Rates are in tokens per second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Case {
    pub kind: TestKind,
    pub n_prompt: u64,
    pub n_gen: u64,
    pub n_depth: u64,
    /// The parameters that differ among the run's cases, in llama-bench's order and under its own
    /// column names; null where the build printed no such column. Empty for a run of one setting.
    pub varied: Map<String, Value>,
    /// Each repetition's rate, by launch; empty for a launch that lacks the case.
    pub samples_ts: Vec<Vec<f64>>,
    /// Σx / n over the samples of all launches; of a single row llama-bench's own figure.
    pub avg_ts: f64,
    /// Null without samples.
    pub median_ts: Option<f64>,
    /// √(Σ(x − mean)² / (n − 1)) over the samples of all launches; of a single row llama-bench's own
    /// figure, which is 0 for one repetition. Null where it cannot be told.
    pub stddev_ts: Option<f64>,
    /// Launches, from 0, whose first repetition was slow by [`SLOW_FIRST_RULE`]; the samples count
    /// all the same.
    pub slow_first: Vec<usize>,
}

impl Case {
    /// llama-bench's own short name: `pp512`, `tg128`, `pp512+tg128`, with ` @ d4096` for a depth.
    pub fn test_name(&self) -> String {
        let name = match self.kind {
            TestKind::Pp => format!("pp{}", self.n_prompt),
            TestKind::Tg => format!("tg{}", self.n_gen),
            TestKind::PpTg => format!("pp{}+tg{}", self.n_prompt, self.n_gen),
        };
        if self.n_depth == 0 { name } else { format!("{name} @ d{}", self.n_depth) }
    }

    /// Names the case within its run, the same for every run of the same matrix:
    /// `pp512 n_batch=1024 flash_attn=1`.
    pub fn key(&self) -> String {
        let mut key = self.test_name();
        for (column, value) in &self.varied {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                    value.to_string()
                }
            };
            key.push_str(&format!(" {column}={text}"));
        }
        key
    }

    /// Number of samples over all launches.
    pub fn count(&self) -> usize {
        self.samples_ts.iter().map(Vec::len).sum()
    }
}

/// The figures that stand for a whole run, in tokens per second; null where a matrix has several
/// cases of the kind, or none.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Headline {
    pub pp_avg_ts: Option<f64>,
    pub pp_stddev_ts: Option<f64>,
    pub tg_avg_ts: Option<f64>,
    pub tg_stddev_ts: Option<f64>,
}

/// The run's only prompt case and its only generation case.
pub fn headline(cases: &[Case]) -> Headline {
    let only = |kind: TestKind| {
        let mut of_kind = cases.iter().filter(|case| case.kind == kind);
        of_kind.next().filter(|_| of_kind.next().is_none())
    };
    let (pp, tg) = (only(TestKind::Pp), only(TestKind::Tg));
    Headline {
        pp_avg_ts: pp.map(|case| case.avg_ts),
        pp_stddev_ts: pp.and_then(|case| case.stddev_ts),
        tg_avg_ts: tg.map(|case| case.avg_ts),
        tg_stddev_ts: tg.and_then(|case| case.stddev_ts),
    }
}

/// Pools the rows of a run's launches into its cases, in the order in which they first appear. Rows
/// are of one case where all columns but the measured ones agree, so rows of different builds or
/// machines are never pooled; a test that a launch ran twice (`-p 32,32`) is one case.
pub fn pool(launches: &[Vec<Row>]) -> Vec<Case> {
    let varied = varied_columns(launches);
    let mut groups: Vec<Group> = Vec::new();
    for (launch, rows) in launches.iter().enumerate() {
        for row in rows {
            let at =
                groups.iter().position(|group| first_row(group).is_some_and(|first| same_test(first, row)));
            let at = at.unwrap_or_else(|| {
                groups.push(vec![Vec::new(); launches.len()]);
                groups.len() - 1
            });
            groups[at][launch].push(row);
        }
    }
    groups.iter().filter_map(|group| case_of(group, &varied)).collect()
}

/// Rows of one case, by launch.
type Group<'a> = Vec<Vec<&'a Row>>;

fn first_row<'a>(group: &Group<'a>) -> Option<&'a Row> {
    group.iter().flatten().copied().next()
}

fn identity(row: &Row) -> impl Iterator<Item = (&String, &Value)> {
    row.raw.iter().filter(|(column, _)| !MEASURED.contains(&column.as_str()))
}

fn same_test(a: &Row, b: &Row) -> bool {
    identity(a).count() == identity(b).count()
        && identity(a).all(|(column, value)| b.raw.get(column) == Some(value))
}

/// The columns whose value differs among the rows, in order of appearance, without the sizes.
fn varied_columns(launches: &[Vec<Row>]) -> Vec<String> {
    let rows: Vec<&Row> = launches.iter().flatten().collect();
    let mut columns: Vec<&String> = Vec::new();
    for (column, _) in rows.iter().flat_map(|row| identity(row)) {
        if !SIZES.contains(&column.as_str()) && !columns.contains(&column) {
            columns.push(column);
        }
    }
    columns.retain(|column| rows.iter().any(|row| row.raw.get(*column) != rows[0].raw.get(*column)));
    columns.into_iter().cloned().collect()
}

fn case_of(group: &Group, varied: &[String]) -> Option<Case> {
    let first = first_row(group)?;
    let rows = group.iter().flatten().count();
    let samples_ts: Vec<Vec<f64>> =
        group.iter().map(|rows| rows.iter().flat_map(|row| row.exact_samples_ts()).collect()).collect();
    let all: Vec<f64> = samples_ts.iter().flatten().copied().collect();
    let (avg_ts, stddev_ts) = if rows == 1 {
        (first.avg_ts, first.stddev_ts.or_else(|| sample_stddev(&all)))
    } else if all.is_empty() {
        let sum: f64 = group.iter().flatten().map(|row| row.avg_ts).sum();
        (sum / rows as f64, None)
    } else {
        (all.iter().sum::<f64>() / all.len() as f64, sample_stddev(&all))
    };
    let value = |column: &String| first.raw.get(column).cloned().unwrap_or(Value::Null);
    Some(Case {
        kind: first.kind,
        n_prompt: first.n_prompt,
        n_gen: first.n_gen,
        n_depth: first.n_depth,
        varied: varied.iter().map(|column| (column.clone(), value(column))).collect(),
        avg_ts,
        median_ts: median(&all),
        stddev_ts,
        slow_first: (0..samples_ts.len()).filter(|launch| starts_slow(&samples_ts[*launch])).collect(),
        samples_ts,
    })
}

/// See [`SLOW_FIRST_RULE`]; at least two others are needed to have a spread.
fn starts_slow(samples: &[f64]) -> bool {
    let Some((first, others)) = samples.split_first() else { return false };
    others.len() >= 2
        && median(others).is_some_and(|median| *first < 0.9 * median)
        && others.iter().all(|other| first < other)
}

/// The middle value, the mean of the two middle ones for an even count; `None` of nothing.
fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    Some(if sorted.len() % 2 == 1 { upper } else { (sorted[middle - 1] + upper) / 2.0 })
}

/// √(Σ(x − mean)² / (n − 1)); `None` below two samples.
fn sample_stddev(samples: &[f64]) -> Option<f64> {
    if samples.len() < 2 {
        return None;
    }
    let n = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / n;
    let squares: f64 = samples.iter().map(|x| (x - mean).powi(2)).sum();
    Some((squares / (n - 1.0)).sqrt())
}

#[cfg(test)]
mod tests {
    use super::super::llama_bench_row::parse_rows;
    use super::*;

    macro_rules! rows {
        ($name:literal) => {
            parse_rows(include_bytes!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/fixtures/llama-cpp/bench/",
                $name,
                ".stdout"
            )))
            .rows
        };
    }

    fn row(avg_ts: f64, samples_ts: &[f64]) -> Row {
        let raw = serde_json::json!({
            "n_batch": 512, "n_prompt": 512, "n_gen": 0, "avg_ts": avg_ts, "stddev_ts": 0.25,
            "samples_ts": samples_ts,
        });
        parse_rows(raw.to_string().as_bytes()).rows.remove(0)
    }

    #[test]
    fn one_launch_keeps_llama_benchs_own_figures() {
        for rows in [rows!("pg"), rows!("only-p"), rows!("matrix")] {
            let cases = pool(std::slice::from_ref(&rows));
            assert_eq!(cases.len(), rows.len());
            for (case, row) in cases.iter().zip(&rows) {
                assert_eq!((case.avg_ts, case.stddev_ts), (row.avg_ts, row.stddev_ts));
            }
        }
    }

    #[test]
    fn the_pooled_formula_is_the_one_that_llama_bench_uses() {
        for row in rows!("pg") {
            let samples = row.exact_samples_ts();
            let stddev = sample_stddev(&samples).unwrap();
            assert!((stddev - row.stddev_ts.unwrap()).abs() < 1e-3, "{stddev} against {:?}", row.stddev_ts);
        }
    }

    #[test]
    fn several_launches_are_pooled_over_all_samples_and_kept_apart_as_well() {
        let cases = pool(&[vec![row(2.0, &[1.0, 3.0])], vec![row(6.0, &[5.0, 7.0])]]);
        assert_eq!(cases.len(), 1);
        assert_eq!(cases[0].samples_ts, [vec![1.0, 3.0], vec![5.0, 7.0]]);
        assert_eq!((cases[0].avg_ts, cases[0].median_ts, cases[0].count()), (4.0, Some(4.0), 4));
        let expected = (20.0_f64 / 3.0).sqrt();
        assert!((cases[0].stddev_ts.unwrap() - expected).abs() < 1e-12);
    }

    #[test]
    fn a_launch_that_ended_early_leaves_its_place_empty() {
        let rows = rows!("comma");
        let cases = pool(&[rows.clone(), vec![rows[0].clone()]]);
        assert_eq!(cases.len(), 3);
        assert_eq!(cases[0].count(), 4);
        assert_eq!(cases[2].samples_ts[1], Vec::<f64>::new());
    }

    #[test]
    fn a_matrix_names_only_what_varies() {
        let cases = pool(&[rows!("matrix")]);
        let columns: Vec<&String> = cases[0].varied.keys().collect();
        assert_eq!(columns, ["n_batch", "n_threads", "flash_attn"]);
        assert!(cases[0].key().starts_with("pp32 n_batch="), "{}", cases[0].key());
        let mut keys: Vec<String> = cases.iter().map(Case::key).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 16);
    }

    #[test]
    fn the_sizes_of_a_test_are_part_of_its_name_and_never_of_what_varies() {
        let cases = pool(&[rows!("depth")]);
        assert!(cases.iter().all(|case| case.varied.is_empty()));
        let names: Vec<String> = cases.iter().map(Case::test_name).collect();
        assert_eq!(names, ["pp32", "tg16", "pp32 @ d64", "tg16 @ d64"]);
    }

    #[test]
    fn the_same_test_twice_in_a_launch_is_one_case() {
        let cases = pool(&[rows!("repeat-model")]);
        assert_eq!((cases.len(), cases[0].count()), (1, 2));
    }

    #[test]
    fn the_headline_is_the_only_case_of_a_kind_and_null_in_a_matrix() {
        let plain = headline(&pool(&[rows!("fmt-jsonl")]));
        assert!(plain.pp_avg_ts.is_some() && plain.tg_avg_ts.is_some() && plain.pp_stddev_ts.is_some());
        let combined = headline(&pool(&[rows!("pg")]));
        assert!(combined.pp_avg_ts.is_some(), "a combined test is neither");
        assert_eq!(headline(&pool(&[rows!("matrix")])), Headline::default());
        let two_prompts = headline(&pool(&[rows!("comma")]));
        assert!(two_prompts.pp_avg_ts.is_none() && two_prompts.tg_avg_ts.is_some());
        assert_eq!(headline(&[]), Headline::default());
    }

    #[test]
    fn a_slow_first_repetition_is_flagged_by_launch() {
        let slow = row(98.0, &[80.0, 100.0, 102.0, 101.0]);
        let even = row(100.0, &[97.0, 100.0, 102.0, 101.0]);
        assert_eq!(pool(&[vec![even.clone()], vec![slow]])[0].slow_first, [1]);
        let wide = row(90.0, &[80.0, 100.0, 79.0, 101.0]);
        assert!(pool(&[vec![wide]])[0].slow_first.is_empty(), "within the spread of the others");
        assert!(pool(&[vec![row(1.0, &[0.5, 1.5])]])[0].slow_first.is_empty(), "too few to tell");
    }

    #[test]
    fn rows_of_different_builds_are_never_pooled() {
        let a = row(2.0, &[1.0, 3.0]);
        let mut b = a.clone();
        b.raw.insert("build_commit".into(), "other".into());
        let cases = pool(&[vec![a], vec![b]]);
        assert_eq!(cases.len(), 2);
        assert_eq!(cases[0].varied["build_commit"], Value::Null);
    }

    #[test]
    fn a_case_survives_serialisation() {
        let cases = pool(&[rows!("matrix")]);
        let text = serde_json::to_string(&cases).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Case>>(&text).unwrap(), cases);
    }

    #[test]
    fn no_launch_has_no_case() {
        assert!(pool(&[]).is_empty());
        assert!(pool(&[Vec::new(), Vec::new()]).is_empty());
    }
}
