//! What an engine's container spends, by its control group, versions 1 and 2, whoever manages it
//! (systemd, cgroupfs). Asks no container engine.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::memory::group_of;
use super::process_load::{Spent, pids};

/// Shorter names could be part of anything.
const SHORTEST_ID: usize = 12;

/// One container, with its CPU counter at the look before.
#[derive(Debug)]
pub struct CgroupLoad {
    root: PathBuf,
    id: String,
    group: Option<Group>,
    last: Option<Duration>,
}

impl CgroupLoad {
    /// The container of this full id, below `root`, which is `/` except in tests.
    pub fn new(root: &Path, id: String) -> Self {
        Self { root: root.to_owned(), id, group: None, last: None }
    }

    /// `None` while the container has no group here: it has ended, or runs on another machine.
    pub fn look(&mut self) -> Option<Spent> {
        // A container that was started anew may have its group elsewhere.
        let group = self.group.take().filter(Group::is_there).or_else(|| find(&self.root, &self.id));
        let now = group.as_ref().and_then(Group::cpu_time);
        let last = std::mem::replace(&mut self.last, now);
        let memory_bytes = group.as_ref().and_then(Group::memory_bytes);
        self.group = group;
        // A counter that went back belongs to a new group.
        let cpu_time = now.zip(last).and_then(|(now, last)| now.checked_sub(last));
        (now.is_some() || memory_bytes.is_some()).then_some(Spent { cpu_time, memory_bytes })
    }
}

/// A group's folders.
#[derive(Debug)]
enum Group {
    One { cpu: PathBuf, memory: PathBuf },
    Two(PathBuf),
}

impl Group {
    fn is_there(&self) -> bool {
        match self {
            Self::One { cpu, memory } => cpu.is_dir() || memory.is_dir(),
            Self::Two(folder) => folder.is_dir(),
        }
    }

    /// On all CPUs together since the group was made.
    fn cpu_time(&self) -> Option<Duration> {
        match self {
            Self::One { cpu, .. } => number(&cpu.join("cpuacct.usage")).map(Duration::from_nanos),
            Self::Two(folder) => field(&folder.join("cpu.stat"), "usage_usec").map(Duration::from_micros),
        }
    }

    /// As `docker stats` has it: without the part of the file cache that is first to go.
    fn memory_bytes(&self) -> Option<u64> {
        let (folder, usage, inactive) = match self {
            Self::One { memory, .. } => (memory, "memory.usage_in_bytes", "total_inactive_file"),
            Self::Two(folder) => (folder, "memory.current", "inactive_file"),
        };
        let usage = number(&folder.join(usage))?;
        let inactive = field(&folder.join("memory.stat"), inactive).unwrap_or(0);
        // They are not read at one instant.
        Some(usage.checked_sub(inactive).unwrap_or(usage))
    }

    /// The group at a place of the hierarchies, where there is one.
    fn at(mount: &Path, cpu: &Path, memory: &Path) -> Option<Self> {
        let group = if mount.join("cgroup.controllers").exists() {
            Self::Two(mount.join(cpu))
        } else {
            let hierarchies = ["cpuacct", "cpu,cpuacct"].map(|name| mount.join(name).join(cpu));
            let [first, second] = hierarchies;
            Self::One {
                cpu: if first.is_dir() { first } else { second },
                memory: mount.join("memory").join(memory),
            }
        };
        group.is_there().then_some(group)
    }
}

/// Where Docker and Podman put a container, else where a process says that it is in it.
fn find(root: &Path, id: &str) -> Option<Group> {
    if id.len() < SHORTEST_ID || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let mount = root.join("sys/fs/cgroup");
    let usual = [
        format!("system.slice/docker-{id}.scope"),
        format!("docker/{id}"),
        format!("machine.slice/libpod-{id}.scope"),
        format!("libpod_parent/libpod-{id}"),
    ];
    usual.iter().map(Path::new).find_map(|place| Group::at(&mount, place, place)).or_else(|| {
        let proc = root.join("proc");
        pids(&proc).find_map(|pid| {
            let groups = fs::read_to_string(proc.join(pid.to_string()).join("cgroup")).ok()?;
            let unified = groups.lines().find_map(|line| line.strip_prefix("0::"));
            let place =
                |controller| group_of(&groups, controller).or(unified).and_then(|path| up_to(path, id));
            let (cpu, memory) = (place("cpuacct"), place("memory"));
            let cpu = cpu.or(memory)?;
            Group::at(&mount, cpu, memory.unwrap_or(cpu))
        })
    })
}

/// The path down to the part that names the container, since a container may have groups within its
/// own. `None` where it is not in it, or leads out of what is mounted.
fn up_to<'a>(path: &'a str, id: &str) -> Option<&'a Path> {
    let path = Path::new(path.trim_start_matches('/'));
    let names = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(id));
    let group = path.ancestors().filter(|level| names(level)).last()?;
    group.components().all(|part| matches!(part, Component::Normal(_))).then_some(group)
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The number behind a name in a file of `name number` lines.
fn field(path: &Path, name: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.lines().find_map(|line| {
        let (key, value) = line.split_once(' ')?;
        (key == name).then(|| value.trim().parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0f6c2b9de1a84f7781c3a5d2e4b60918273645a1b2c3d4e5f60718293a4b5c6d";

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = root.join(path.replace("ID", ID));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text.replace("ID", ID)).unwrap();
        }
    }

    fn load(root: &tempfile::TempDir) -> CgroupLoad {
        CgroupLoad::new(root.path(), ID.to_owned())
    }

    fn spent(cpu_ms: Option<u64>, memory_bytes: u64) -> Option<Spent> {
        Some(Spent { cpu_time: cpu_ms.map(Duration::from_millis), memory_bytes: Some(memory_bytes) })
    }

    #[test]
    fn version_2_below_systemd_is_read_without_the_inactive_file_cache() {
        let root = tempfile::tempdir().unwrap();
        let scope = "sys/fs/cgroup/system.slice/docker-ID.scope";
        let files = |cpu: &str| {
            write(
                root.path(),
                &[
                    ("sys/fs/cgroup/cgroup.controllers", "cpu memory\n"),
                    (&format!("{scope}/cpu.stat"), cpu),
                    (&format!("{scope}/memory.current"), "1000\n"),
                    (&format!("{scope}/memory.stat"), "anon 1\nfile 500\ninactive_file 300\n"),
                ],
            );
        };
        files("usage_usec 1000000\nuser_usec 5\n");
        let mut load = load(&root);
        assert_eq!(load.look(), spent(None, 700));
        files("usage_usec 1250000\nuser_usec 6\n");
        assert_eq!(load.look(), spent(Some(250), 700));
    }

    #[test]
    fn version_1_with_docker_as_its_own_manager_is_read_by_controller() {
        for cpuacct in ["cpuacct", "cpu,cpuacct"] {
            let root = tempfile::tempdir().unwrap();
            let usage = format!("sys/fs/cgroup/{cpuacct}/docker/ID/cpuacct.usage");
            write(
                root.path(),
                &[
                    (&usage, "5000000000\n"),
                    ("sys/fs/cgroup/memory/docker/ID/memory.usage_in_bytes", "1000\n"),
                    (
                        "sys/fs/cgroup/memory/docker/ID/memory.stat",
                        "inactive_file 1\ntotal_inactive_file 400\n",
                    ),
                ],
            );
            let mut load = load(&root);
            assert_eq!(load.look(), spent(None, 600));
            write(root.path(), &[(&usage, "5040000000\n")]);
            assert_eq!(load.look(), spent(Some(40), 600));
        }
    }

    #[test]
    fn an_unusual_place_is_found_through_a_process_that_is_in_it() {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            &[
                ("proc/1/cgroup", "0::/init.scope\n"),
                ("proc/42/cgroup", "0::/own.slice/crio-ID.scope/container/init\n"),
                ("sys/fs/cgroup/cgroup.controllers", "cpu memory\n"),
                ("sys/fs/cgroup/own.slice/crio-ID.scope/memory.current", "10\n"),
                ("sys/fs/cgroup/own.slice/crio-ID.scope/container/init/memory.current", "3\n"),
            ],
        );
        assert_eq!(load(&root).look(), spent(None, 10));

        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            &[
                ("proc/42/cgroup", "4:memory:/own/ID\n3:cpu,cpuacct:/own/ID\n1:name=systemd:/\n0::/\n"),
                ("sys/fs/cgroup/memory/own/ID/memory.usage_in_bytes", "10\n"),
                ("sys/fs/cgroup/cpu,cpuacct/own/ID/cpuacct.usage", "1\n"),
            ],
        );
        let mut load = load(&root);
        load.look();
        assert_eq!(load.look(), spent(Some(0), 10));
    }

    #[test]
    fn a_container_that_ends_says_nothing_and_one_started_anew_starts_from_its_own_counter() {
        let root = tempfile::tempdir().unwrap();
        let group = "sys/fs/cgroup/docker/ID/cpu.stat";
        write(root.path(), &[("sys/fs/cgroup/cgroup.controllers", "cpu\n"), (group, "usage_usec 9000000\n")]);
        let mut load = load(&root);
        assert!(load.look().is_some());
        fs::remove_dir_all(root.path().join("sys/fs/cgroup/docker")).unwrap();
        assert_eq!(load.look(), None);
        write(root.path(), &[(group, "usage_usec 1000\n")]);
        assert_eq!(load.look(), Some(Spent { cpu_time: None, memory_bytes: None }));
        write(root.path(), &[(group, "usage_usec 500\n")]);
        assert_eq!(load.look().unwrap().cpu_time, None, "a counter that went back is no time");
        write(root.path(), &[(group, "usage_usec 2500\n")]);
        assert_eq!(load.look().unwrap().cpu_time, Some(Duration::from_millis(2)));
    }

    #[test]
    fn a_path_out_of_what_is_mounted_and_an_id_that_is_none_find_nothing() {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            &[
                ("proc/42/cgroup", "0::/../../ID\n"),
                ("sys/fs/cgroup/cgroup.controllers", "cpu\n"),
                ("sys/fs/cgroup/docker/cpu.stat", "usage_usec 1\n"),
            ],
        );
        assert_eq!(load(&root).look(), None);
        for id in ["", "a", "../../etc/passwd"] {
            assert_eq!(CgroupLoad::new(root.path(), id.to_owned()).look(), None);
        }
    }
}
