//! What a report for people says of machine and configuration, the same for every kind. Chooses and words;
//! the fingerprint is `run::fingerprint`'s.

use super::content::Report;
use super::outline::{Block, UNKNOWN, known, or_unknown};
use crate::run::fingerprint::Fingerprint;
use crate::run::load_words::short;

/// What it was measured on.
pub fn system(found: Option<&Fingerprint>, blocks: &mut Vec<Block>) {
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

/// What was measured, and with which flags.
pub fn configuration(report: &Report, blocks: &mut Vec<Block>) {
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
    blocks.push(Block::Facts(known(facts)));
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
