//! How busy the machine's GPUs are: NVIDIA's through its management library, loaded at run time; AMD's
//! through sysfs. Numbers them as [`super::gpu`] lists them. Changes no setting.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use nvml_wrapper::Nvml;
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};

use super::gpu::{amd_devices, text};

/// What one GPU says of itself; `None` where it does not.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct GpuReading {
    /// Of the time of the driver's own last period, 0 to 100.
    pub utilization_percent: Option<f64>,
    pub memory_bytes: Option<f64>,
    pub power_watts: Option<f64>,
    /// Of the shader cores.
    pub clock_mhz: Option<f64>,
    pub temperature_celsius: Option<f64>,
}

/// The GPUs, looked for once.
pub struct GpuLoad {
    nvidia: Option<(Nvml, u32)>,
    amd: Vec<PathBuf>,
}

impl GpuLoad {
    /// Looks for GPUs below `root`. The library speaks for this machine alone, so it is asked only where
    /// that is what `root` names. Starting it takes up to a second.
    pub fn new(root: &Path) -> Self {
        let nvidia = (root == Path::new("/")).then(|| {
            let nvml = Nvml::init().ok()?;
            let count = nvml.device_count().ok()?;
            Some((nvml, count))
        });
        Self { nvidia: nvidia.flatten(), amd: amd_devices(&root.join("sys/class/drm")) }
    }

    /// One reading a GPU, in the order of their numbers.
    pub fn look(&self) -> Vec<GpuReading> {
        let nvidia =
            self.nvidia.iter().flat_map(|(nvml, count)| (0..*count).map(|index| nvidia_reading(nvml, index)));
        nvidia.chain(self.amd.iter().map(|device| amd_reading(device))).collect()
    }
}

impl fmt::Debug for GpuLoad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nvidia = self.nvidia.as_ref().map(|(_, count)| count);
        f.debug_struct("GpuLoad").field("nvidia", &nvidia).field("amd", &self.amd).finish()
    }
}

/// A device that fell off the bus keeps its number and says nothing.
fn nvidia_reading(nvml: &Nvml, index: u32) -> GpuReading {
    let Ok(device) = nvml.device_by_index(index) else { return GpuReading::default() };
    GpuReading {
        utilization_percent: device.utilization_rates().ok().map(|rates| f64::from(rates.gpu)),
        memory_bytes: device.memory_info().ok().map(|memory| memory.used as f64),
        power_watts: device.power_usage().ok().map(|milliwatts| f64::from(milliwatts) / 1e3),
        clock_mhz: device.clock_info(Clock::SM).ok().map(f64::from),
        temperature_celsius: device.temperature(TemperatureSensor::Gpu).ok().map(f64::from),
    }
}

/// The files of the kernel's `amdgpu` driver and of its hardware monitor.
fn amd_reading(device: &Path) -> GpuReading {
    // A driver that was loaded again has another number here, so it is looked up each time.
    let monitors: Vec<PathBuf> = fs::read_dir(device.join("hwmon"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    let monitor = |name: &str| monitors.iter().find_map(|monitor| number(&monitor.join(name)));
    // Newer chips tell the power of the moment only.
    let microwatts = monitor("power1_average").or_else(|| monitor("power1_input"));
    let active = text(&device.join("pp_dpm_sclk")).and_then(|levels| active_level_mhz(&levels));
    GpuReading {
        utilization_percent: number(&device.join("gpu_busy_percent")),
        memory_bytes: number(&device.join("mem_info_vram_used")),
        power_watts: microwatts.map(|microwatts| microwatts / 1e6),
        clock_mhz: monitor("freq1_input").map(|hertz| hertz / 1e6).or(active),
        temperature_celsius: monitor("temp1_input").map(|millidegrees| millidegrees / 1e3),
    }
}

/// `1: 2100Mhz *`: the level in use bears the star.
fn active_level_mhz(levels: &str) -> Option<f64> {
    let level = levels.lines().find_map(|line| line.trim_end().strip_suffix('*'))?;
    let value = level.split_once(':')?.1.trim().to_ascii_lowercase();
    value.strip_suffix("mhz")?.trim().parse().ok()
}

fn number(path: &Path) -> Option<f64> {
    text(path)?.parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let device = root.path().join("sys/class/drm/card0/device");
        for (path, text) in [("vendor", "0x1002\n")].iter().chain(files) {
            fs::create_dir_all(device.join(path).parent().unwrap()).unwrap();
            fs::write(device.join(path), text).unwrap();
        }
        root
    }

    #[test]
    fn an_amd_card_is_read_in_our_units() {
        let root = card(&[
            ("gpu_busy_percent", "87\n"),
            ("mem_info_vram_used", "8589934592\n"),
            ("hwmon/hwmon4/power1_average", "215000000\n"),
            ("hwmon/hwmon4/freq1_input", "2105000000\n"),
            ("hwmon/hwmon4/temp1_input", "64000\n"),
            ("pp_dpm_sclk", "0: 500Mhz\n1: 2100Mhz *\n"),
        ]);
        let expected = GpuReading {
            utilization_percent: Some(87.0),
            memory_bytes: Some(8_589_934_592.0),
            power_watts: Some(215.0),
            clock_mhz: Some(2105.0),
            temperature_celsius: Some(64.0),
        };
        assert_eq!(GpuLoad::new(root.path()).look(), [expected]);
    }

    #[test]
    fn a_card_without_the_usual_sensors_is_read_by_its_other_ones() {
        let root =
            card(&[("hwmon/hwmon0/power1_input", "9000000\n"), ("pp_dpm_sclk", "0: 500Mhz\n1: 2100Mhz *\n")]);
        let expected =
            GpuReading { power_watts: Some(9.0), clock_mhz: Some(2100.0), ..GpuReading::default() };
        assert_eq!(GpuLoad::new(root.path()).look(), [expected]);
    }

    #[test]
    fn a_card_that_sleeps_keeps_its_number_and_says_nothing() {
        let root = card(&[("gpu_busy_percent", "\n"), ("pp_dpm_sclk", "0: 500Mhz\n")]);
        assert_eq!(GpuLoad::new(root.path()).look(), [GpuReading::default()]);
        assert!(GpuLoad::new(Path::new("/nonexistent")).look().is_empty());
    }
}
