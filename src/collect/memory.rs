//! Main memory and the control groups' limits on our own process, versions 1 and 2. Measures no use.

use std::fs;
use std::path::{Path, PathBuf};

use crate::run::fingerprint::Limits;

/// Version 1 writes "no limit" as the largest multiple of the page size; nothing real comes near.
const V1_UNLIMITED: u64 = 1 << 62;

/// Bytes of main memory by `/proc/meminfo` below `root`, which is `/` except in tests.
pub fn total_bytes(root: &Path) -> Option<u64> {
    meminfo_bytes(&fs::read_to_string(root.join("proc/meminfo")).ok()?, "MemTotal:")
}

/// `MemTotal:  2048 kB` in bytes, by its name with the colon; the kernel's kB are 1,024 bytes.
pub(super) fn meminfo_bytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The limits on this process, the tightest of its group and that group's ancestors.
pub fn limits(root: &Path) -> Limits {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mount = root.join("sys/fs/cgroup");
    // A hybrid machine has both; its controllers are then those of version 1.
    if let Some(group) = group_of(&groups, "memory").or_else(|| group_of(&groups, "cpu")) {
        return v1(&mount, &groups, group);
    }
    match groups.lines().find_map(|line| line.strip_prefix("0::")) {
        Some(group) => v2(&mount, group),
        None => Limits::default(),
    }
}

fn v2(mount: &Path, group: &str) -> Limits {
    let levels = levels(mount, group);
    Limits {
        cgroup_version: Some(2),
        memory_bytes: levels.iter().filter_map(|level| number(&level.join("memory.max"))).min(),
        cpus: tightest(levels.iter().filter_map(|level| {
            let text = read(&level.join("cpu.max"))?;
            let (quota, period) = text.split_once(' ')?;
            share(quota.parse().ok()?, period.parse().ok()?)
        })),
        cpuset: levels.iter().find_map(|level| read(&level.join("cpuset.cpus.effective"))),
    }
}

fn v1(mount: &Path, groups: &str, fallback: &str) -> Limits {
    let levels =
        |controller: &str| levels(&mount.join(controller), group_of(groups, controller).unwrap_or(fallback));
    let memory = levels("memory");
    Limits {
        cgroup_version: Some(1),
        memory_bytes: memory
            .iter()
            .filter_map(|level| number(&level.join("memory.limit_in_bytes")))
            .filter(|limit| *limit < V1_UNLIMITED)
            .min(),
        cpus: tightest(levels("cpu").iter().filter_map(|level| {
            share(number(&level.join("cpu.cfs_quota_us"))?, number(&level.join("cpu.cfs_period_us"))?)
        })),
        cpuset: levels("cpuset").iter().find_map(|level| read(&level.join("cpuset.cpus"))),
    }
}

/// The path of our group in the hierarchy of version 1 that has the controller:
/// `4:cpu,cpuacct:/path`.
pub(super) fn group_of<'a>(groups: &'a str, controller: &str) -> Option<&'a str> {
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        controllers.split(',').any(|name| name == controller).then_some(path)
    })
}

/// The folders of a group and its ancestors, innermost first. In a container the path may be one of
/// the host, which is not mounted; the mount's root is then our group.
fn levels(mount: &Path, group: &str) -> Vec<PathBuf> {
    let group = Path::new(group.trim_start_matches('/'));
    let inside = group.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    let group = if inside { group } else { Path::new("") };
    group.ancestors().map(|level| mount.join(level)).filter(|level| level.is_dir()).collect()
}

fn read(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// A limit that is a number; `max` and −1 are none.
fn number(path: &Path) -> Option<u64> {
    read(path)?.parse().ok()
}

/// CPUs' worth of time of a quota and its period, both in microseconds.
fn share(quota: u64, period: u64) -> Option<f64> {
    (period > 0).then(|| quota as f64 / period as f64)
}

fn tightest(shares: impl Iterator<Item = f64>) -> Option<f64> {
    shares.min_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn main_memory_is_read_in_bytes() {
        let text = "MemTotal:       16384000 kB\nMemFree:         1024 kB\n";
        assert_eq!(meminfo_bytes(text, "MemTotal:"), Some(16_777_216_000));
        assert_eq!(meminfo_bytes("MemTotal: lots\n", "MemTotal:"), None);
        assert_eq!(total_bytes(Path::new("/nonexistent")), None);
    }

    #[test]
    fn version_2_takes_the_tightest_of_the_ancestors() {
        let root = machine(&[
            ("proc/self/cgroup", "0::/system.slice/benchlet.service\n"),
            ("sys/fs/cgroup/system.slice/memory.max", "1000000\n"),
            ("sys/fs/cgroup/system.slice/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/system.slice/benchlet.service/memory.max", "max\n"),
            ("sys/fs/cgroup/system.slice/benchlet.service/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/cpuset.cpus.effective", "0-3\n"),
        ]);
        let expected = Limits {
            cgroup_version: Some(2),
            memory_bytes: Some(1_000_000),
            cpus: Some(1.5),
            cpuset: Some("0-3".to_owned()),
        };
        assert_eq!(limits(root.path()), expected);
    }

    #[test]
    fn version_1_is_read_by_controller_and_its_no_limit_is_none() {
        let root = machine(&[
            ("proc/self/cgroup", "9:memory:/box\n4:cpu,cpuacct:/box\n1:name=systemd:/box\n0::/box\n"),
            ("sys/fs/cgroup/memory/box/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "2000000\n"),
            ("sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu/box/cpu.cfs_period_us", "100000\n"),
        ]);
        let found = limits(root.path());
        assert_eq!((found.cgroup_version, found.memory_bytes, found.cpus), (Some(1), Some(2_000_000), None));
    }

    #[test]
    fn a_path_of_the_host_that_is_not_mounted_falls_back_to_the_mounts_root() {
        let root =
            machine(&[("proc/self/cgroup", "0::/../../elsewhere\n"), ("sys/fs/cgroup/memory.max", "4096\n")]);
        assert_eq!(limits(root.path()).memory_bytes, Some(4096));
    }

    #[test]
    fn a_machine_without_control_groups_has_no_limits() {
        assert_eq!(limits(Path::new("/nonexistent")), Limits::default());
    }
}
