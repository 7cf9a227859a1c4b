//! The machine's GPUs: NVIDIA's through its management library, loaded at run time, so that one
//! binary runs with and without it; AMD's through sysfs. Measures no load and changes no setting.

use std::fs;
use std::path::{Path, PathBuf};

use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Nvml, cuda_driver_version_major, cuda_driver_version_minor};

use crate::run::fingerprint::{Gpu, GpuDriver};

/// The PCI vendor of AMD.
const AMD: &str = "0x1002";

/// The GPUs, and the NVIDIA driver where there is one. `None` where neither the library nor sysfs
/// knows of any: that says nothing about GPUs of other makers, or behind a missing driver.
pub fn read(root: &Path) -> (Option<Vec<Gpu>>, GpuDriver) {
    let (nvidia, driver) = match nvidia() {
        Ok((gpus, driver)) => (Some(gpus), driver),
        Err(_) => (None, GpuDriver::default()),
    };
    let amd = amd(&root.join("sys/class/drm"));
    let gpus = match (nvidia, amd) {
        (None, amd) if amd.is_empty() => None,
        (nvidia, amd) => Some(nvidia.unwrap_or_default().into_iter().chain(amd).collect()),
    };
    (gpus, driver)
}

fn nvidia() -> Result<(Vec<Gpu>, GpuDriver), NvmlError> {
    let nvml = Nvml::init()?;
    let cuda = nvml.sys_cuda_driver_version().ok();
    let driver = GpuDriver {
        version: nvml.sys_driver_version().ok(),
        cuda_version: cuda
            .map(|cuda| format!("{}.{}", cuda_driver_version_major(cuda), cuda_driver_version_minor(cuda))),
    };
    let gpus = (0..nvml.device_count()?).map(|index| nvidia_gpu(&nvml, index)).collect();
    Ok((gpus, driver))
}

/// One device; a device that does not answer is listed without what it did not say.
fn nvidia_gpu(nvml: &Nvml, index: u32) -> Gpu {
    let Ok(device) = nvml.device_by_index(index) else { return Gpu::default() };
    Gpu {
        name: device.name().ok(),
        uuid: device.uuid().ok(),
        memory_bytes: device.memory_info().ok().map(|memory| memory.total),
        power_limit_watts: device
            .enforced_power_limit()
            .ok()
            .map(|milliwatts| f64::from(milliwatts) / 1_000.0),
    }
}

fn amd(drm: &Path) -> Vec<Gpu> {
    amd_devices(drm).iter().map(|device| amd_gpu(device)).collect()
}

/// The folders of AMD's cards below `/sys/class/drm`, in the order of their numbers.
pub(super) fn amd_devices(drm: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(drm) else { return Vec::new() };
    // `card0`, but not its outputs `card0-DP-1`.
    let mut cards: Vec<u32> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_prefix("card")?.parse().ok())
        .collect();
    cards.sort_unstable();
    let devices = cards.into_iter().map(|card| drm.join(format!("card{card}")).join("device"));
    devices.filter(|device| text(&device.join("vendor")).as_deref() == Some(AMD)).collect()
}

fn amd_gpu(device: &Path) -> Gpu {
    let power = fs::read_dir(device.join("hwmon"))
        .into_iter()
        .flatten()
        .flatten()
        .find_map(|sensor| text(&sensor.path().join("power1_cap"))?.parse::<f64>().ok());
    Gpu {
        name: text(&device.join("product_name")),
        uuid: text(&device.join("unique_id")),
        memory_bytes: text(&device.join("mem_info_vram_total")).and_then(|bytes| bytes.parse().ok()),
        power_limit_watts: power.map(|microwatts| microwatts / 1e6),
    }
}

/// A file's text without blanks around it; `None` where nothing is left.
pub(super) fn text(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amd_card_is_read_from_sysfs_and_another_makers_is_left_out() {
        let root = tempfile::tempdir().unwrap();
        let drm = root.path();
        for (path, text) in [
            ("card0/device/vendor", "0x1a03\n"),
            ("card1/device/vendor", "0x1002\n"),
            ("card1/device/product_name", "Example GPU\n"),
            ("card1/device/unique_id", "12ab\n"),
            ("card1/device/mem_info_vram_total", "17163091968\n"),
            ("card1/device/hwmon/hwmon3/power1_cap", "300000000\n"),
            ("card1-DP-1/device/vendor", "0x1002\n"),
        ] {
            fs::create_dir_all(drm.join(path).parent().unwrap()).unwrap();
            fs::write(drm.join(path), text).unwrap();
        }
        let expected = Gpu {
            name: Some("Example GPU".to_owned()),
            uuid: Some("12ab".to_owned()),
            memory_bytes: Some(17_163_091_968),
            power_limit_watts: Some(300.0),
        };
        assert_eq!(amd(drm), [expected]);
    }

    #[test]
    fn a_card_that_says_little_is_listed_with_nulls() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("card0/device")).unwrap();
        fs::write(root.path().join("card0/device/vendor"), "0x1002\n").unwrap();
        assert_eq!(amd(root.path()), [Gpu::default()]);
        assert!(amd(Path::new("/nonexistent")).is_empty());
    }

    #[test]
    fn asking_a_machine_with_or_without_a_driver_never_fails() {
        let (gpus, driver) = read(Path::new("/nonexistent"));
        assert!(driver.version.is_none() || gpus.is_some(), "a driver that answers lists its GPUs");
    }
}
