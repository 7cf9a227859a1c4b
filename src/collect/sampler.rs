//! Looks at the host, the engine and the GPUs while a case runs and names what it saw as
//! [`crate::run::series`] does. Tells no time: the caller says when it looks. Fetches nothing over HTTP
//! and keeps no samples.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::cgroup_load::CgroupLoad;
use super::gpu_load::GpuLoad;
use super::host_load::HostLoad;
use super::process_load::{ProcessLoad, Spent};
use crate::run::series::Sample;

/// Keeps the counters of the look before.
#[derive(Debug)]
pub struct Sampler {
    root: PathBuf,
    host: HostLoad,
    container: Option<CgroupLoad>,
    process: Option<ProcessLoad>,
    /// Looked for at the first look, where blocking is expected.
    gpus: Option<GpuLoad>,
}

impl Sampler {
    /// Of the machine alone. `root` is `/`, or a tree like it in tests. Reads nothing yet.
    pub fn new(root: PathBuf) -> Self {
        Self { host: HostLoad::new(&root), container: None, process: None, gpus: None, root }
    }

    /// From now on looks at this engine too, and at no other: at its container, by the full id, and while
    /// that is not known at its process with all descendants. Its CPU share begins anew.
    pub fn watch(&mut self, pid: Option<u32>, container: Option<String>) {
        self.container = container.map(|id| CgroupLoad::new(&self.root, id));
        self.process = pid.map(|pid| ProcessLoad::new(&self.root, pid));
    }

    /// One look, `elapsed` after the one before it by a monotonic clock. What cannot be read is left out;
    /// so are all CPU shares of the first look. Blocks for milliseconds, the first time for as long as a
    /// GPU's driver takes to wake up, so it belongs on a thread of its own.
    pub fn look(&mut self, unix_ms: i64, elapsed: Duration) -> Sample {
        let mut values = BTreeMap::new();
        let mut put = |name: &str, value: Option<f64>| {
            if let Some(value) = value {
                values.insert(name.to_owned(), value);
            }
        };
        // What counts since the last look goes first, as near to the caller's clock as can be.
        put("host_cpu_percent", self.host.cpu_percent());
        let engine = self.engine();
        put("engine_cpu_percent", engine.and_then(|spent| percent(spent.cpu_time?, elapsed)));
        put("engine_memory_bytes", engine.and_then(|spent| spent.memory_bytes).map(|bytes| bytes as f64));
        put("host_memory_bytes", self.host.memory_bytes().map(|bytes| bytes as f64));
        let gpus = self.gpus.get_or_insert_with(|| GpuLoad::new(&self.root));
        for (index, reading) in gpus.look().into_iter().enumerate() {
            put(&format!("gpu{index}_utilization_percent"), reading.utilization_percent);
            put(&format!("gpu{index}_memory_bytes"), reading.memory_bytes);
            put(&format!("gpu{index}_power_watts"), reading.power_watts);
            put(&format!("gpu{index}_sm_clock_mhz"), reading.clock_mhz);
            put(&format!("gpu{index}_temperature_celsius"), reading.temperature_celsius);
        }
        Sample { unix_ms, values }
    }

    /// The container has all of an engine's processes, so it goes before a pid.
    fn engine(&mut self) -> Option<Spent> {
        let container = self.container.as_mut().and_then(CgroupLoad::look);
        match (container, &mut self.process) {
            (Some(spent), process) => {
                if let Some(process) = process {
                    process.skip();
                }
                Some(spent)
            }
            (None, process) => process.as_mut().and_then(ProcessLoad::look),
        }
    }
}

/// Of one core: two busy ones are 200.
fn percent(cpu_time: Duration, elapsed: Duration) -> Option<f64> {
    (!elapsed.is_zero()).then(|| cpu_time.as_secs_f64() * 100.0 / elapsed.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    const ID: &str = "0f6c2b9de1a84f7781c3a5d2e4b60918273645a1b2c3d4e5f60718293a4b5c6d";
    const SECOND: Duration = Duration::from_secs(1);

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A process 10 that has used so many ticks.
    fn process(root: &Path, ticks: u64) {
        let stat = format!("10 (engine) S 1 1 1 0 -1 0 1 2 3 4 {ticks} 0 0 0 20 0 1 0 500 1 2 3");
        write(root, "proc/10/stat", &stat);
        write(root, "proc/10/status", "VmRSS:\t1 kB\n");
    }

    fn sampler(root: &Path, pid: Option<u32>, container: Option<&str>) -> Sampler {
        let mut sampler = Sampler::new(root.to_owned());
        sampler.watch(pid, container.map(str::to_owned));
        sampler
    }

    #[test]
    fn host_engine_and_gpus_stand_under_their_names() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        write(root, "proc/stat", "cpu  0 0 0 0 0 0 0 0\n");
        write(root, "proc/meminfo", "MemTotal: 4 kB\nMemAvailable: 1 kB\n");
        write(root, "sys/class/drm/card3/device/vendor", "0x1002\n");
        write(root, "sys/class/drm/card3/device/gpu_busy_percent", "50\n");
        write(root, "sys/class/drm/card3/device/mem_info_vram_used", "2048\n");
        write(root, "sys/class/drm/card3/device/pp_dpm_sclk", "0: 500Mhz *\n");
        write(root, "sys/class/drm/card3/device/hwmon/hwmon1/power1_average", "2000000\n");
        write(root, "sys/class/drm/card3/device/hwmon/hwmon1/temp1_input", "41000\n");
        process(root, 100);
        let mut sampler = sampler(root, Some(10), None);
        sampler.look(5, Duration::ZERO);
        write(root, "proc/stat", "cpu  25 0 0 75 0 0 0 0\n");
        process(root, 400);
        let sample = sampler.look(2_005, 2 * SECOND);
        let expected = [
            ("engine_cpu_percent", 150.0),
            ("engine_memory_bytes", 1024.0),
            ("gpu0_memory_bytes", 2048.0),
            ("gpu0_power_watts", 2.0),
            ("gpu0_sm_clock_mhz", 500.0),
            ("gpu0_temperature_celsius", 41.0),
            ("gpu0_utilization_percent", 50.0),
            ("host_cpu_percent", 25.0),
            ("host_memory_bytes", 3072.0),
        ];
        assert_eq!(sample.unix_ms, 2_005);
        assert_eq!(sample.values, expected.map(|(name, value)| (name.to_owned(), value)).into());
    }

    #[test]
    fn another_engine_counts_from_its_own_first_look_and_the_host_goes_on() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let engine = |pid: u32, ticks: u64| {
            let stat = format!("{pid} (engine) S 1 1 1 0 -1 0 1 2 3 4 {ticks} 0 0 0 20 0 1 0 500 1 2 3");
            write(root, &format!("proc/{pid}/stat"), &stat);
        };
        let cpu = |sample: &Sample, whose: &str| sample.values.get(&format!("{whose}_cpu_percent")).copied();
        write(root, "proc/stat", "cpu  0 0 0 0 0 0 0 0\n");
        engine(10, 100);
        engine(20, 100);
        let mut sampler = sampler(root, Some(10), None);
        sampler.look(0, Duration::ZERO);
        sampler.watch(Some(20), None);
        engine(10, 9_000);
        write(root, "proc/stat", "cpu  50 0 0 50 0 0 0 0\n");
        let first = sampler.look(1_000, SECOND);
        assert_eq!((cpu(&first, "engine"), cpu(&first, "host")), (None, Some(50.0)));
        sampler.watch(Some(10), None);
        write(root, "proc/stat", "cpu  50 0 0 150 0 0 0 0\n");
        let back = sampler.look(2_000, SECOND);
        assert_eq!((cpu(&back, "engine"), cpu(&back, "host")), (None, Some(0.0)));
        engine(10, 9_020);
        assert_eq!(cpu(&sampler.look(3_000, SECOND), "engine"), Some(20.0), "and not what it did meanwhile");
    }

    #[test]
    fn what_cannot_be_read_is_left_out_and_never_zero() {
        let root = tempfile::tempdir().unwrap();
        let mut sampler = sampler(root.path(), Some(10), Some(ID));
        sampler.look(0, Duration::ZERO);
        assert_eq!(sampler.look(1_000, SECOND).values, BTreeMap::new());
    }

    #[test]
    fn a_container_goes_before_a_process_and_its_end_gives_no_false_peak() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let group = format!("sys/fs/cgroup/docker/{ID}/cpu.stat");
        let cpu = |sample: Sample| sample.values.get("engine_cpu_percent").copied();
        write(root, "sys/fs/cgroup/cgroup.controllers", "cpu\n");
        process(root, 100);
        let mut sampler = sampler(root, Some(10), Some(ID));
        assert_eq!(cpu(sampler.look(0, SECOND)), None);
        process(root, 110);
        assert_eq!(cpu(sampler.look(1_000, SECOND)), Some(10.0), "no group yet, so by its process");
        write(root, &group, "usage_usec 1000000\n");
        assert_eq!(cpu(sampler.look(2_000, SECOND)), None);
        write(root, &group, "usage_usec 1500000\n");
        process(root, 900);
        assert_eq!(cpu(sampler.look(3_000, SECOND)), Some(50.0));
        fs::remove_dir_all(root.join("sys/fs/cgroup/docker")).unwrap();
        assert_eq!(cpu(sampler.look(4_000, SECOND)), None);
        process(root, 905);
        assert_eq!(cpu(sampler.look(5_000, SECOND)), Some(5.0));
    }

    #[test]
    fn this_machine_has_memory_in_use_and_a_busy_share_within_its_bounds() {
        let mut sampler = sampler(Path::new("/"), Some(std::process::id()), None);
        let first = sampler.look(0, Duration::ZERO);
        assert!(first.values["host_memory_bytes"] > 0.0);
        assert!(first.values["engine_memory_bytes"] > 0.0);
        assert!(!first.values.contains_key("host_cpu_percent"));
        let second = sampler.look(1, Duration::from_millis(1));
        // No tick may have gone by in between.
        assert!(second.values.get("host_cpu_percent").is_none_or(|percent| (0.0..=100.0).contains(percent)));
        assert!(second.values["engine_cpu_percent"] >= 0.0);
    }

    #[test]
    fn a_sampler_can_move_to_a_thread_of_its_own() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "proc/meminfo", "MemTotal: 4 kB\nMemAvailable: 1 kB\n");
        let mut sampler = sampler(root.path(), None, None);
        let sample = std::thread::spawn(move || sampler.look(7, SECOND)).join().unwrap();
        assert_eq!(sample.values, BTreeMap::from([("host_memory_bytes".to_owned(), 3072.0)]));
    }
}
