//! From a completed run to the flags that its service is to have: picks the cell of a matrix, puts the
//! cell's own value in the place of each list, and translates. Knows results and flags, no files.

use serde_json::Value;

use super::flag_map::{Class, Translation, canonical, same_flag, to_server};
use super::service_edit::FlagChange;
use crate::request::apply::{ApplyOptions, CaseSelector, Metric};
use crate::request::flags::{Param, reserved};
use crate::run::case::Case;
use crate::run::case::SURROUNDINGS;
use crate::run::llama_bench_row::TestKind;
use crate::run::reason::{Reason, Refusal};

/// The parameters of one cell: every list that reaches the server has become a single value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    pub params: Vec<Param>,
    /// The number of the case that stands for the cell, from 1; `None` where there was no choice.
    pub case: Option<u32>,
    /// The cell's own values, for people; empty where there was no choice.
    pub cell: String,
}

/// What an apply does to the server's flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translated {
    pub changes: Vec<FlagChange>,
    /// The run's own flags and values that go over.
    pub applied: Vec<(String, String)>,
    /// Those that do not, with the reason.
    pub skipped: Vec<(String, String)>,
}

/// llama-bench's column of each flag that takes several values.
const COLUMNS: &[(&str, &str)] = &[
    ("n_batch", "-b"),
    ("n_ubatch", "-ub"),
    ("n_threads", "-t"),
    ("cpu_mask", "-C"),
    ("cpu_strict", "--cpu-strict"),
    ("poll", "--poll"),
    ("type_k", "-ctk"),
    ("type_v", "-ctv"),
    ("n_gpu_layers", "-ngl"),
    ("n_cpu_moe", "-ncmoe"),
    ("split_mode", "-sm"),
    ("main_gpu", "-mg"),
    ("no_kv_offload", "-nkvo"),
    ("flash_attn", "-fa"),
    ("devices", "-dev"),
    ("tensor_split", "-ts"),
    ("tensor_buft_overrides", "-ot"),
    ("load_mode", "-lm"),
    ("lazy_mode", "-lzm"),
    ("use_mmap", "-mmp"),
    ("use_direct_io", "-dio"),
    ("embeddings", "-embd"),
    ("no_op_offload", "-nopo"),
    ("no_host", "--no-host"),
    ("repack", "--repack"),
    ("fit_target", "-fitt"),
    ("fit_min_ctx", "-fitc"),
];

/// Most cells that a refusal names.
const CELLS_NAMED: usize = 16;

/// Cases of the same parameters: a prompt and a generation test, mostly.
struct Cell<'a> {
    varied: Vec<(&'a str, &'a Value)>,
    /// The numbers of its cases, from 1.
    numbers: Vec<u32>,
}

impl Cell<'_> {
    fn describe(&self) -> String {
        let columns: Vec<String> =
            self.varied.iter().map(|(column, value)| format!("{column}={}", text_of(value))).collect();
        columns.join(" ")
    }

    fn value(&self, column: &str) -> Option<&Value> {
        self.varied.iter().find(|(name, _)| *name == column).map(|(_, value)| *value)
    }
}

/// The parameters to apply. A run of one cell has its own; of a matrix the cell that `case` names, or
/// the one with the highest rate that `metric` names.
///
/// # Errors
/// `CaseNeeded` where a matrix has no cell chosen or no such cell, `InvalidValue` where the results do
/// not tell which value of a list a cell was measured with.
pub fn choose_params(params: &[Param], cases: &[Case], options: &ApplyOptions) -> Result<Chosen, Refusal> {
    let cells = cells_of(cases);
    let number = match (&options.case, options.metric) {
        (Some(selector), _) => Some(select(selector, cases, &cells)?),
        (None, _) if cells.len() <= 1 => None,
        (None, Some(metric)) => Some(best(cases, metric)?),
        (None, None) => {
            let message = format!(
                "the run is a matrix of {} cells, and none is chosen: {}",
                cells.len(),
                names(&cells)
            );
            return Err(Refusal::new(Reason::CaseNeeded, message)
                .hint("name one of these numbers with case, or let metric: tg_avg_ts choose the fastest"));
        }
    };
    let cell = match number {
        Some(number) => cells.iter().find(|cell| cell.numbers.contains(&number)),
        None => cells.first(),
    };
    let matrix = cells.len() > 1;
    Ok(Chosen {
        params: settled(params, cell)?,
        case: number.filter(|_| matrix),
        cell: cell.filter(|_| matrix).map(Cell::describe).unwrap_or_default(),
    })
}

/// The server's flags for a cell's parameters.
///
/// # Errors
/// `InvalidValue` for a value that the server has no counterpart for, `NothingToApply` where no
/// parameter is the server's.
pub fn translate(params: &[Param]) -> Result<Translated, Refusal> {
    let mut result = Translated { changes: Vec::new(), applied: Vec::new(), skipped: Vec::new() };
    for Param { flag, value } in params {
        let translation = to_server(flag, value);
        match &translation {
            Translation::Set { .. } | Translation::RemoveFlag { .. } => {
                result.applied.push((flag.clone(), value.clone()));
            }
            Translation::Skipped { reason } => result.skipped.push((flag.clone(), reason.clone())),
            Translation::Refused { reason } => {
                return Err(Refusal::new(Reason::InvalidValue, reason.clone()));
            }
        }
        result.changes.extend(FlagChange::from_translation(&translation));
    }
    if result.changes.is_empty() {
        let message = "none of the run's parameters is one of the server's, so there is nothing to apply";
        return Err(Refusal::new(Reason::NothingToApply, message)
            .hint("measure with flags such as -b, -ub, -t or -fa; -p, -n and -r are the benchmark's alone"));
    }
    Ok(result)
}

/// The cases grouped by what varies among them, in the order of their numbers.
fn cells_of(cases: &[Case]) -> Vec<Cell<'_>> {
    let mut cells: Vec<Cell<'_>> = Vec::new();
    for (number, case) in (1..).zip(cases) {
        let varied: Vec<_> = case
            .varied
            .iter()
            .map(|(column, value)| (column.as_str(), value))
            .filter(|(column, _)| !SURROUNDINGS.contains(column))
            .collect();
        match cells.iter_mut().find(|cell| cell.varied == varied) {
            Some(cell) => cell.numbers.push(number),
            None => cells.push(Cell { varied, numbers: vec![number] }),
        }
    }
    cells
}

fn names(cells: &[Cell<'_>]) -> String {
    let mut named: Vec<String> = cells
        .iter()
        .take(CELLS_NAMED)
        .map(|cell| {
            let numbers: Vec<String> = cell.numbers.iter().map(u32::to_string).collect();
            format!("{} ({})", numbers.join("/"), cell.describe())
        })
        .collect();
    if cells.len() > CELLS_NAMED {
        named.push(format!("and {} more", cells.len() - CELLS_NAMED));
    }
    named.join(", ")
}

fn select(selector: &CaseSelector, cases: &[Case], cells: &[Cell<'_>]) -> Result<u32, Refusal> {
    let refuse = |message: String| {
        Refusal::new(Reason::CaseNeeded, message).hint(format!("the cells are {}", names(cells)))
    };
    match selector {
        CaseSelector::Number(number) if (1..=cases.len()).contains(&(*number as usize)) => Ok(*number),
        CaseSelector::Number(number) => {
            Err(refuse(format!("the run has {} cases, and none of number {number}", cases.len())))
        }
        CaseSelector::Columns(columns) => {
            let wanted: Vec<String> =
                columns.iter().map(|(column, value)| format!("{column}={value}")).collect();
            let wanted = wanted.join(" ");
            let matching: Vec<&Cell<'_>> = cells
                .iter()
                .filter(|cell| columns.iter().all(|(column, text)| matches_column(cell, column, text)))
                .collect();
            match matching.as_slice() {
                [] => Err(refuse(format!("no cell of the run has {wanted}"))),
                [cell] => Ok(cell.numbers.first().copied().unwrap_or(1)),
                several => Err(refuse(format!(
                    "{} cells of the run have {wanted}; name more columns",
                    several.len()
                ))),
            }
        }
    }
}

/// A cell can be named by llama-bench's columns and by its flags.
fn matches_column(cell: &Cell<'_>, name: &str, text: &str) -> bool {
    let columns = columns_of(name);
    let value = std::iter::once(name).chain(columns.iter().map(String::as_str));
    let mut value = value.filter_map(|column| Some((column, cell.value(column)?)));
    value.next().is_some_and(|(column, value)| same_value(column, text, value))
}

/// The case of the highest rate; of equal ones the first.
fn best(cases: &[Case], metric: Metric) -> Result<u32, Refusal> {
    let (kind, test) = match metric {
        Metric::PromptRate => (TestKind::Pp, "prompt"),
        Metric::GenerationRate => (TestKind::Tg, "generation"),
    };
    let of_kind = (1..).zip(cases).filter(|(_, case)| case.kind == kind);
    let best = of_kind.reduce(|best, next| if next.1.avg_ts > best.1.avg_ts { next } else { best });
    best.map(|(number, _)| number).ok_or_else(|| {
        let message = format!("the run measured no {test} test, so {} chooses no cell", metric.as_str());
        Refusal::new(Reason::CaseNeeded, message).hint("name the cell with case, or choose the other metric")
    })
}

/// Every list that reaches the server becomes the cell's value; the rest stays as it is.
fn settled(params: &[Param], cell: Option<&Cell<'_>>) -> Result<Vec<Param>, Refusal> {
    let mut result: Vec<Param> = Vec::new();
    for param in params {
        if !reaches_server(&param.flag) {
            result.push(param.clone());
        } else if !result.iter().any(|known| same_flag(&known.flag, &param.flag)) {
            // llama-bench adds the values of a flag that is given twice.
            let given = params.iter().filter(|other| same_flag(&other.flag, &param.flag));
            let asked: Vec<&str> = given.flat_map(|other| other.value.split(',')).collect();
            let value = single(&param.flag, &asked, cell)?;
            result.push(Param { flag: param.flag.clone(), value });
        }
    }
    Ok(result)
}

fn reaches_server(flag: &str) -> bool {
    reserved(flag).is_none() && canonical(flag).is_none_or(|known| known.class != Class::BenchmarkOnly)
}

/// The one value among those asked for that the cell was measured with, as the request wrote it.
fn single(flag: &str, asked: &[&str], cell: Option<&Cell<'_>>) -> Result<String, Refusal> {
    let columns = columns_of(flag);
    let column = columns.first().map_or("", String::as_str);
    let (first, others) = asked.split_first().unwrap_or((&"", &[]));
    let alike = |other: &&str| same_value(column, first, &Value::String((*other).to_owned()));
    if range(first).is_none() && others.iter().all(alike) {
        return Ok((*first).to_owned());
    }
    let refuse = |why: String| {
        Refusal::new(Reason::InvalidValue, format!("{flag} {} cannot be applied: {why}", asked.join(",")))
            .hint(format!("measure again with one value of {flag}"))
    };
    let measured = columns.iter().find_map(|column| Some((column, cell?.value(column)?)));
    let Some((column, measured)) = measured else {
        return Err(refuse("the results do not tell which of the values was measured".to_owned()));
    };
    if let Some(text) = asked.iter().find(|text| same_value(column, text, measured)) {
        return Ok((*text).to_owned());
    }
    let number = measured.as_i64().filter(|number| {
        asked.iter().filter_map(|text| range(text)).any(|(low, high)| (low..=high).contains(number))
    });
    number.map(|number| number.to_string()).ok_or_else(|| {
        refuse(format!("the results say {column}={}, which is none of the values", text_of(measured)))
    })
}

/// The columns under which a flag's value may stand. Flags that the table does not know are tried by
/// their long names, as llama-bench names its columns.
pub fn columns_of(flag: &str) -> Vec<String> {
    let known = COLUMNS.iter().filter(|(_, known)| same_flag(known, flag));
    let known: Vec<String> = known.map(|(column, _)| (*column).to_owned()).collect();
    match flag.strip_prefix("--") {
        Some(name) if known.is_empty() => vec![name.replace('-', "_")],
        Some(_) | None => known,
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    }
}

/// Whether a value as somebody writes it is the one that a column shows.
fn same_value(column: &str, written: &str, shown: &Value) -> bool {
    let text = text_of(shown);
    if written == text {
        return true;
    }
    if shown.is_boolean() || column == "flash_attn" {
        return truth(written).is_some() && truth(written) == truth(&text);
    }
    match column {
        "cpu_mask" => hex(written) == hex(&text),
        "tensor_split" => shares(written) == shares(&text),
        _ => match (written.parse::<f64>(), text.parse::<f64>()) {
            (Ok(a), Ok(b)) => a == b,
            (Ok(_) | Err(_), Ok(_) | Err(_)) => false,
        },
    }
}

/// 1, 0, or -1 for a choice that is left to the program.
fn truth(text: &str) -> Option<i8> {
    match text {
        "1" | "on" | "true" | "enabled" => Some(1),
        "0" | "off" | "false" | "disabled" => Some(0),
        "-1" | "auto" => Some(-1),
        _ => None,
    }
}

fn hex(text: &str) -> String {
    let digits = text.to_ascii_lowercase();
    digits.strip_prefix("0x").unwrap_or(&digits).trim_start_matches('0').to_owned()
}

/// Hundredths of each device's share; llama-bench prints two digits and no trailing zeros.
fn shares(text: &str) -> Option<Vec<i64>> {
    let parts = text.split(['/', ';']).map(|part| part.parse::<f64>().ok());
    let mut shares: Vec<i64> =
        parts.map(|part| part.map(|part| (part * 100.0).round() as i64)).collect::<Option<_>>()?;
    while shares.last() == Some(&0) {
        shares.pop();
    }
    Some(shares)
}

/// First and last of `first-last`, `first-last+step` or `first-last*factor`.
fn range(text: &str) -> Option<(i64, i64)> {
    let (first, rest) = text.split_once('-')?;
    let last = rest.split(['+', '*']).next()?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

#[cfg(test)]
#[path = "apply_plan_tests.rs"]
mod tests;
