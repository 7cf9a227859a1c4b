//! What a run was measured on and with, as plain data: what two runs must share to be comparable and
//! what helps to explain a difference. Reads nothing itself; `collect::fingerprint` fills it in.
//! A field that could not be found out is null, never a guess.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Fingerprint {
    pub benchlet_version: Option<String>,
    pub host: Host,
    pub cpu: Cpu,
    /// Bytes of main memory.
    pub memory_bytes: Option<u64>,
    pub limits: Limits,
    /// Null where nothing could be asked; empty where a driver answered that there is none.
    pub gpus: Option<Vec<Gpu>>,
    pub gpu_driver: GpuDriver,
    pub image: Image,
    pub model: Model,
    /// Of the file of prompts that was measured; null without one. Filled in by whoever copied it.
    pub prompts_sha256: Option<String>,
    pub request: Source,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Host {
    pub hostname: Option<String>,
    /// `Linux 6.1.0 x86_64`.
    pub kernel: Option<String>,
    /// The distribution's own name for itself.
    pub os: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Cpu {
    pub model: Option<String>,
    pub sockets: Option<u32>,
    /// Physical cores of all sockets.
    pub cores: Option<u32>,
    /// Logical CPUs that are online.
    pub threads: Option<u32>,
    /// The scaling governor of all CPUs, joined by commas where they differ.
    pub governor: Option<String>,
}

/// The control groups' limits on benchlet's own process, the tightest of its ancestors. Null where
/// there is no limit, or no control group.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// 1 or 2, the version that was read.
    pub cgroup_version: Option<u8>,
    pub memory_bytes: Option<u64>,
    /// CPUs' worth of time, such as 1.5.
    pub cpus: Option<f64>,
    /// CPUs that it may run on, as the kernel lists them: `0-3,8`.
    pub cpuset: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Gpu {
    pub name: Option<String>,
    pub uuid: Option<String>,
    pub memory_bytes: Option<u64>,
    /// Watts that the driver enforces at the time.
    pub power_limit_watts: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GpuDriver {
    pub version: Option<String>,
    /// The newest CUDA version that the driver supports, `12.4`.
    pub cuda_version: Option<String>,
}

/// The container image. Filled in by whoever asked the executor.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Image {
    /// As the service names it.
    pub reference: Option<String>,
    pub id: Option<String>,
    /// The registry's digest; null for an image that was built or imported here.
    pub digest: Option<String>,
}

/// The model file. Filled in by whoever hashed it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Model {
    pub path: Option<String>,
    /// Bytes of all parts.
    pub size_bytes: Option<u64>,
    /// Lower-case hexadecimal; of a split model as `collect::model_file` combines it.
    pub sha256: Option<String>,
}

/// Where the request file stands in its Git repository.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Source {
    pub path: Option<String>,
    /// The commit that is checked out, in hexadecimal; null outside a repository.
    pub commit: Option<String>,
    /// The file differs from what that commit has; null where it could not be told.
    pub dirty: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_null_and_stays_visible() {
        let value = serde_json::to_value(Fingerprint::default()).unwrap();
        assert_eq!(value["gpus"], serde_json::Value::Null);
        assert_eq!(value["cpu"]["model"], serde_json::Value::Null);
        assert_eq!(value["request"]["dirty"], serde_json::Value::Null);
    }

    #[test]
    fn a_record_of_another_version_is_read_with_its_gaps_as_null() {
        let read: Fingerprint =
            serde_json::from_str(r#"{"memory_bytes": 5, "cpu": {"threads": 2}, "novel": 1}"#).unwrap();
        assert_eq!((read.memory_bytes, read.cpu.threads, read.gpus), (Some(5), Some(2), None));
    }
}
