//! A report for people: headings, tables, texts and plots in their order, the same for every format that
//! is read rather than parsed. Chooses and rounds; escapes nothing, which is the renderers'.

use super::content::{BenchCase, Past, Report, Results};
use super::outline_load;
use super::plot::{Bar, Chart, Curve, Figure, Mark, Plot, Scale};
use crate::run::case::SLOW_FIRST_RULE;
use crate::run::clock::human_ms;
use crate::run::fingerprint::Fingerprint;
use crate::run::load_words::{ms, short};

/// A piece of a report. Texts are foreign until a renderer has escaped them.
#[derive(Debug, Clone)]
pub enum Block {
    /// Level 1 is the title.
    Heading(u8, String),
    /// What must not be overlooked.
    Notice(String),
    Text(String),
    /// Names and values.
    Facts(Vec<(String, String)>),
    List(Vec<String>),
    Table(Table),
    /// Text as it is.
    Verbatim(String),
    /// Side by side where there is room. Formats without pictures leave them out.
    Figures(Vec<Figure>),
    /// A section of pictures alone, with its heading.
    Gallery(String, Vec<Figure>),
    /// What only some readers want.
    Fold(String, Vec<Block>),
}

#[derive(Debug, Clone)]
pub struct Table {
    pub title: String,
    /// Every figure in it is made up.
    pub simulated: bool,
    pub columns: Vec<Column>,
    /// As many cells as columns.
    pub rows: Vec<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    /// Numbers stand to the right.
    pub number: bool,
}

pub const fn words(name: &'static str) -> Column {
    Column { name, number: false }
}

pub const fn number(name: &'static str) -> Column {
    Column { name, number: true }
}

/// What is shown where nothing is known.
pub const UNKNOWN: &str = "—";

pub fn or_unknown(text: Option<String>) -> String {
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| UNKNOWN.to_owned())
}

/// `low–high`, or the mark for unknown where the samples were too few.
pub fn interval(bounds: Option<[f64; 2]>, show: fn(f64) -> String) -> String {
    or_unknown(bounds.map(|[low, high]| format!("{}–{}", show(low), show(high))))
}

/// The whole report.
pub fn blocks(report: &Report) -> Vec<Block> {
    let mut blocks = vec![Block::Heading(1, format!("{}: {}", report.request.name, report.request.kind))];
    if report.simulated {
        blocks.push(Block::Notice(SIMULATED.to_owned()));
    }
    blocks.push(Block::Facts(run_facts(report)));
    blocks.push(Block::Heading(2, "Summary".to_owned()));
    blocks.extend(conditions(report));
    match &report.results {
        Results::LlamaBench { cases } => bench(report, cases, &mut blocks),
        Results::LoadTest { cases } => outline_load::cases(report, cases, &mut blocks),
    }
    history(report, &mut blocks);
    system(report.system.as_ref(), &mut blocks);
    configuration(report, &mut blocks);
    blocks
}

const SIMULATED: &str = "Simulated: no model was loaded, every figure in this report is made up.";

fn run_facts(report: &Report) -> Vec<(String, String)> {
    let run = &report.run;
    let mut ended = if run.reason == run.phase {
        run.phase.to_owned()
    } else {
        format!("{} ({})", run.phase, run.reason)
    };
    if !run.message.is_empty() {
        ended.push_str(&format!(": {}", run.message));
    }
    let facts = [
        ("Result", report.summary.headline.clone()),
        ("Ended as", Some(ended)),
        ("Hint", run.hint.clone()),
        ("Completed", run.completed_at.clone()),
        ("Took", run.took_ms.map(human_ms)),
        ("Request", Some(format!("{}, generation {}", report.request.path, report.request.generation))),
        ("Run", Some(run.id.clone())),
        (
            "Attempt",
            (run.attempt > 1).then(|| format!("{}; earlier ones did not reach the end", run.attempt)),
        ),
    ];
    facts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn conditions(report: &Report) -> Option<Block> {
    let rows: Vec<Vec<String>> = report
        .summary
        .conditions
        .iter()
        .map(|condition| {
            let message = or_unknown(Some(condition.message.clone()));
            vec![condition.kind.to_owned(), condition.status.to_owned(), condition.reason.clone(), message]
        })
        .collect();
    (!rows.is_empty()).then(|| {
        Block::Table(Table {
            title: "Conditions".to_owned(),
            simulated: report.simulated,
            columns: vec![words("Condition"), words("Status"), words("Reason"), words("Message")],
            rows,
        })
    })
}

fn bench(report: &Report, cases: &[BenchCase], blocks: &mut Vec<Block>) {
    if cases.is_empty() {
        blocks.push(Block::Text("Nothing was measured.".to_owned()));
        return blocks.extend(output_tail(report));
    }
    let rate = |value: Option<f64>| or_unknown(value.map(short));
    let rows = cases
        .iter()
        .map(|case| {
            let summary = case.summary.as_ref();
            let varied: Vec<String> =
                case.varied.iter().map(|(column, value)| format!("{column}={value}")).collect();
            vec![
                case.case.to_string(),
                case.test.clone(),
                or_unknown(Some(varied.join(" "))),
                rate(case.avg_ts),
                rate(case.stddev_ts),
                rate(case.median_ts),
                interval(summary.and_then(|summary| summary.intervals.p50), short),
                rate(summary.map(|summary| summary.min)),
                rate(summary.map(|summary| summary.max)),
                case.samples_ts.len().to_string(),
                case.samples_ts.iter().map(Vec::len).sum::<usize>().to_string(),
            ]
        })
        .collect();
    blocks.push(Block::Table(Table {
        title: "Cases, in tokens a second".to_owned(),
        simulated: report.simulated,
        columns: vec![
            number("Case"),
            words("Test"),
            words("Varied"),
            number("Mean"),
            number("Stddev"),
            number("Median"),
            number("Median, 95 % interval"),
            number("Min"),
            number("Max"),
            number("Launches"),
            number("Repetitions"),
        ],
        rows,
    }));
    let mut tests: Vec<&str> = Vec::new();
    for case in cases {
        if !tests.contains(&case.test.as_str()) {
            tests.push(&case.test);
        }
    }
    let figures = tests.into_iter().map(|test| {
        let bars = cases.iter().filter(|case| case.test == test).map(|case| Bar {
            label: case.label(),
            parts: vec![case.avg_ts],
            dots: case.samples_ts.concat(),
            value: rate(case.avg_ts),
        });
        let chart =
            Chart::Bars { bars: bars.collect(), parts: Vec::new(), axis: "tokens a second".to_owned() };
        Figure {
            title: format!("{test}: mean, and each repetition as a dot"),
            simulated: report.simulated,
            chart,
        }
    });
    blocks.push(Block::Figures(figures.collect()));
    for case in cases.iter().filter(|case| !case.slow_first.is_empty()) {
        let launches: Vec<String> = case.slow_first.iter().map(|launch| (launch + 1).to_string()).collect();
        blocks.push(Block::Text(format!(
            "{}: launch {} began slowly ({SLOW_FIRST_RULE}); its repetitions count all the same.",
            case.label(),
            launches.join(", ")
        )));
    }
    repetitions(report, cases, blocks);
    blocks.extend(output_tail(report));
}

fn repetitions(report: &Report, cases: &[BenchCase], blocks: &mut Vec<Block>) {
    let rows: Vec<Vec<String>> = cases
        .iter()
        .flat_map(|case| {
            case.samples_ts.iter().enumerate().map(|(launch, samples)| {
                let samples: Vec<String> = samples.iter().map(|sample| short(*sample)).collect();
                vec![case.label(), (launch + 1).to_string(), or_unknown(Some(samples.join(", ")))]
            })
        })
        .collect();
    let table = Table {
        title: "Repetitions, in tokens a second".to_owned(),
        simulated: report.simulated,
        columns: vec![words("Case"), number("Launch"), words("Each repetition")],
        rows,
    };
    blocks.push(Block::Fold("Every repetition".to_owned(), vec![Block::Table(table)]));
}

/// The tool's last words, where the run did not succeed.
pub fn output_tail(report: &Report) -> Option<Block> {
    let tail = report.tail.as_ref().filter(|tail| !tail.is_empty() && report.run.phase != "Completed")?;
    Some(Block::Fold("Last lines of output".to_owned(), vec![Block::Verbatim(tail.clone())]))
}

fn history(report: &Report, blocks: &mut Vec<Block>) {
    let past = &report.history;
    if past.len() < 2 {
        return;
    }
    blocks.push(Block::Heading(2, "History".to_owned()));
    blocks.extend(history_figure(report, past));
    let rows = past
        .iter()
        .rev()
        .map(|run| {
            let mark = if run.current { " (this one)" } else { "" };
            let spread = run.stddev.map(|stddev| format!(" ± {}", short(stddev))).unwrap_or_default();
            let value = run.value.zip(run.metric.as_ref());
            vec![
                format!("{}{mark}", run.id.get(..8).unwrap_or(&run.id)),
                run.generation.to_string(),
                run.phase.to_owned(),
                or_unknown(run.completed_at.clone()),
                or_unknown(value.map(|(value, metric)| format!("{}{spread} {metric}", short(value)))),
                or_unknown(run.case.clone()),
            ]
        })
        .collect();
    blocks.push(Block::Table(Table {
        title: "The request's last runs, newest first".to_owned(),
        simulated: report.simulated,
        columns: vec![
            words("Run"),
            number("Generation"),
            words("Ended as"),
            words("Completed"),
            number("Best figure"),
            words("Of the case"),
        ],
        rows,
    }));
}

/// Of the runs with the same figure as the newest one that has any.
fn history_figure(report: &Report, past: &[Past]) -> Option<Block> {
    let metric = past.iter().rev().find_map(|run| run.metric.as_deref())?;
    let known = || past.iter().filter(|run| run.metric.as_deref() == Some(metric));
    let points: Vec<[f64; 2]> =
        (1..).zip(known()).filter_map(|(at, run)| Some([f64::from(at), run.value?])).collect();
    if points.len() < 2 {
        return None;
    }
    // Not from zero: what is looked for here is a change.
    let values = || points.iter().map(|point| point[1]);
    let (low, high) = (values().reduce(f64::min)?, values().reduce(f64::max)?);
    let room = (high - low).max(high * 0.05);
    let ticks = (1..).zip(known()).map(|(at, run)| {
        let day = run.completed_at.as_deref().and_then(|at| at.get(..10)).unwrap_or_default();
        (f64::from(at), day.to_owned())
    });
    let plot = Plot {
        x_title: "runs, oldest first".to_owned(),
        y_title: metric.to_owned(),
        x_scale: Scale::Linear,
        x_ticks: Some(ticks.collect()),
        y_range: Some([(low - room).max(0.0), high + room]),
        curves: vec![Curve { name: metric.to_owned(), points, mark: Mark::LineAndDots, colour: 0 }],
    };
    Some(Block::Figures(vec![Figure {
        title: format!("{metric} over the last runs"),
        simulated: report.simulated,
        chart: Chart::Lines(plot),
    }]))
}

fn system(found: Option<&Fingerprint>, blocks: &mut Vec<Block>) {
    blocks.push(Block::Heading(2, "System".to_owned()));
    let Some(found) = found else {
        blocks.push(Block::Text("The run ended before the machine was looked at.".to_owned()));
        return;
    };
    let cpu = &found.cpu;
    let counts = [(cpu.sockets, "socket"), (cpu.cores, "core"), (cpu.threads, "thread")];
    let counts: Vec<String> = counts
        .into_iter()
        .filter_map(|(count, what)| Some((count?, what)))
        .map(|(count, what)| format!("{count} {what}{}", if count == 1 { "" } else { "s" }))
        .collect();
    let limits = &found.limits;
    let limits: Vec<String> = [
        limits.memory_bytes.map(|bytes| format!("{} of memory", gib(bytes))),
        limits.cpus.map(|cpus| format!("{cpus} CPUs")),
        limits.cpuset.as_ref().map(|set| format!("CPUs {set}")),
    ]
    .into_iter()
    .flatten()
    .collect();
    let driver = &found.gpu_driver;
    let driver = driver.version.as_ref().map(|version| match &driver.cuda_version {
        Some(cuda) => format!("{version}, CUDA {cuda}"),
        None => version.clone(),
    });
    let request = &found.request;
    let commit = request.commit.as_ref().map(|commit| match request.dirty {
        Some(true) => format!("{commit}, with changes to the request's file"),
        Some(false) | None => commit.clone(),
    });
    let mut facts = vec![
        ("Host", or_unknown(found.host.hostname.clone())),
        ("System", or_unknown(found.host.os.clone())),
        ("Kernel", or_unknown(found.host.kernel.clone())),
        ("CPU", or_unknown(cpu.model.clone())),
        ("CPU's size", or_unknown(Some(counts.join(", ")))),
        ("Governor", or_unknown(cpu.governor.clone())),
        ("Memory", or_unknown(found.memory_bytes.map(gib))),
        ("Limits", or_unknown(Some(limits.join(", ")))),
    ];
    match &found.gpus {
        None => facts.push(("GPUs", UNKNOWN.to_owned())),
        Some(gpus) if gpus.is_empty() => facts.push(("GPUs", "none".to_owned())),
        Some(gpus) => facts.extend(gpus.iter().map(|gpu| {
            let size =
                [gpu.memory_bytes.map(gib), gpu.power_limit_watts.map(|watts| format!("{watts:.0} W"))];
            let words: Vec<String> = [gpu.name.clone()].into_iter().chain(size).flatten().collect();
            ("GPU", or_unknown(Some(words.join(", "))))
        })),
    }
    facts.push(("GPU driver", or_unknown(driver)));
    let more = [
        ("Image", found.image.reference.clone()),
        ("Image's digest", found.image.digest.clone().or_else(|| found.image.id.clone())),
        ("Model", found.model.path.clone()),
        ("Model's size", found.model.size_bytes.map(gib)),
        ("Model's SHA-256", found.model.sha256.clone()),
        ("Commit", commit),
        ("benchlet", found.benchlet_version.clone()),
    ];
    facts.extend(more.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let facts = facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    blocks.push(Block::Facts(facts));
}

fn gib(bytes: u64) -> String {
    let bytes = bytes as f64;
    let (mib, gib) = (f64::from(1 << 20), f64::from(1 << 30));
    if bytes < gib { format!("{} MiB", short(bytes / mib)) } else { format!("{} GiB", short(bytes / gib)) }
}

fn configuration(report: &Report, blocks: &mut Vec<Block>) {
    let made = &report.configuration;
    blocks.push(Block::Heading(2, "Configuration".to_owned()));
    let params: Vec<String> = made
        .params
        .iter()
        .map(|(flag, value)| if value.is_empty() { flag.clone() } else { format!("{flag} {value}") })
        .collect();
    let facts = [
        ("Service", Some(made.service.clone())),
        ("Model", made.model.clone()),
        ("Executor", made.executor.map(str::to_owned)),
        ("Launches", made.launches.map(|launches| launches.to_string())),
        ("Parameters", Some(params.join(" ")).filter(|params| !params.is_empty())),
        ("Spec hash", Some(report.request.spec_hash.clone())),
    ];
    blocks.push(Block::Facts(
        facts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect(),
    ));
    if let Some(command) = &made.command {
        blocks.push(Block::Verbatim(command.clone()));
    }
    for (title, lines) in [("Warnings", &made.warnings), ("Flags of the service left out", &made.dropped)] {
        if !lines.is_empty() {
            blocks.push(Block::Heading(3, title.to_owned()));
            blocks.push(Block::List(lines.clone()));
        }
    }
    // A value that YAML cannot hold is shown as JSON.
    let spec = serde_yaml::to_string(&made.spec).unwrap_or_else(|_| made.spec.to_string());
    let title = "The request's spec, with its defaults filled in".to_owned();
    blocks.push(Block::Fold(title, vec![Block::Verbatim(spec)]));
}

/// Milliseconds of what may be unknown.
pub fn ms_of(value: Option<f64>) -> String {
    or_unknown(value.map(ms))
}
