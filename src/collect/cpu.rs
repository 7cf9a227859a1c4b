//! The machine's CPUs, from `/proc/cpuinfo` and sysfs. Measures no load.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::run::fingerprint::Cpu;

/// Reads the CPUs below `root`, which is `/` except in tests.
pub fn read(root: &Path) -> Cpu {
    let cpuinfo = fs::read_to_string(root.join("proc/cpuinfo")).unwrap_or_default();
    let mut cpu = parse_cpuinfo(&cpuinfo);
    cpu.governor = governor(&root.join("sys/devices/system/cpu"));
    cpu
}

/// Reads the text of `/proc/cpuinfo`. Sockets and cores are known where the kernel numbers them
/// (x86); on ARM, which does not, they are `None`, and the model may be too.
pub fn parse_cpuinfo(text: &str) -> Cpu {
    let mut model = None;
    let mut threads = 0;
    let (mut sockets, mut cores) = (BTreeSet::new(), BTreeSet::new());
    for block in text.split("\n\n") {
        let value = |wanted: &str| {
            block.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                (key.trim() == wanted).then(|| value.trim()).filter(|value| !value.is_empty())
            })
        };
        // ARM's file ends with a block about the board, which has no processor.
        if value("processor").is_some() {
            threads += 1;
            if let Some(socket) = value("physical id") {
                sockets.insert(socket);
                cores.extend(value("core id").map(|core| (socket, core)));
            }
        }
        model = model.or_else(|| value("model name").or_else(|| value("Model")).map(str::to_owned));
    }
    let count = |count: usize| u32::try_from(count).ok().filter(|count| *count > 0);
    Cpu {
        model,
        sockets: count(sockets.len()),
        cores: count(cores.len()),
        threads: count(threads),
        governor: None,
    }
}

/// The governors in use below `/sys/devices/system/cpu`; `None` where frequencies are not ours to
/// see, as in most virtual machines.
fn governor(cpus: &Path) -> Option<String> {
    let governors: BTreeSet<String> = fs::read_dir(cpus)
        .ok()?
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path().join("cpufreq/scaling_governor")).ok())
        .map(|governor| governor.trim().to_owned())
        .filter(|governor| !governor.is_empty())
        .collect();
    (!governors.is_empty()).then(|| governors.into_iter().collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two sockets of two cores with two threads each.
    fn two_sockets() -> String {
        (0..8)
            .map(|cpu| {
                format!(
                    "processor\t: {cpu}\nmodel name\t: Example CPU @ 2.00GHz\nphysical id\t: {}\ncore id\t\t: {}\n\n",
                    cpu / 4,
                    cpu % 2
                )
            })
            .collect()
    }

    #[test]
    fn sockets_cores_and_threads_are_counted() {
        let cpu = parse_cpuinfo(&two_sockets());
        assert_eq!(cpu.model.as_deref(), Some("Example CPU @ 2.00GHz"));
        assert_eq!((cpu.sockets, cpu.cores, cpu.threads), (Some(2), Some(4), Some(8)));
    }

    #[test]
    fn an_arm_board_has_threads_and_a_model_and_no_invented_cores() {
        let text = "processor\t: 0\nBogoMIPS\t: 108.00\n\nprocessor\t: 1\nBogoMIPS\t: 108.00\n\n\
                    Revision\t: c03111\nModel\t\t: Example Board 4\n";
        let cpu = parse_cpuinfo(text);
        assert_eq!(cpu.model.as_deref(), Some("Example Board 4"));
        assert_eq!((cpu.sockets, cpu.cores, cpu.threads), (None, None, Some(2)));
    }

    #[test]
    fn nothing_readable_is_nothing_known() {
        assert_eq!(parse_cpuinfo(""), Cpu::default());
        assert_eq!(read(Path::new("/nonexistent")), Cpu::default());
    }

    #[test]
    fn governors_that_differ_are_all_named() {
        let root = tempfile::tempdir().unwrap();
        for (cpu, governor) in [("cpu0", "powersave\n"), ("cpu1", "performance\n"), ("cpu2", "powersave\n")] {
            let folder = root.path().join("sys/devices/system/cpu").join(cpu).join("cpufreq");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("scaling_governor"), governor).unwrap();
        }
        assert_eq!(read(root.path()).governor.as_deref(), Some("performance,powersave"));
    }
}
