//! What keeps llama-bench from running at all, in the words of the container runtime, the kernel and
//! the loader. Matches text only; which exit leads here is `outcome`'s.

use super::outcome::{FailureReason, OutcomeContext};
use super::outcome_words::{Finding, GPU_HINT, Stderr, contains, one_line};

const MISSING_HINT: &str = "use an image that is built with llama.cpp's tools, such as its `full` image in place \
     of `server`, or name the path of llama-bench in the image";

/// The task was never started: the words of the daemon or the kernel.
pub(super) fn of_start(words: &str, context: &OutcomeContext<'_>) -> Finding {
    let said = one_line(words);
    let name = context.executable;
    if contains(&said, &GPU_START) {
        return Finding::new(
            FailureReason::GpuUnavailable,
            format!("the GPU is not available: {said}"),
            GPU_HINT,
        );
    }
    if contains(&said, &MOUNT_START) {
        return Finding::new(
            FailureReason::MountMissing,
            format!("a path that the service mounts is not there: {said}"),
            "create it on the host, or correct the service's volumes",
        );
    }
    if contains(&said, &["executable file not found", "no such file or directory", "os error 2"]) {
        return Finding::new(
            FailureReason::LlamaBenchMissing,
            format!("{name} was not found where it should run: {said}"),
            MISSING_HINT,
        );
    }
    Finding::new(
        FailureReason::StartFailed,
        format!("{name} could not be started: {said}"),
        "start the service itself to see whether it has the same trouble",
    )
}

const GPU_START: [&str; 9] = [
    "could not select device driver",
    "nvidia-container",
    "unknown or invalid runtime name",
    "failed to initialize nvml",
    "failed to discover gpu vendor",
    "cdi device",
    "unknown device",
    "nvidia.com/gpu",
    "gathering device information",
];

const MOUNT_START: [&str; 4] = [
    "bind source path does not exist",
    "invalid mount config",
    "error mounting",
    "invalid volume specification",
];

/// The program is not there, or its libraries are not.
pub(super) fn of_loader(code: i64, stderr: &Stderr, context: &OutcomeContext<'_>) -> Option<Finding> {
    if code != 127 {
        return None;
    }
    let name = context.executable;
    if let Some(said) = stderr.find(&["error while loading shared libraries", "symbol lookup error"]) {
        let hint = if said.contains("libcuda.so") || said.contains("libnvidia") {
            "the GPU driver's libraries come from the container runtime: give the service a GPU"
        } else {
            "the image lacks a library that llama-bench is linked to: use a complete image"
        };
        return Some(Finding::new(
            FailureReason::SharedLibraryMissing,
            format!("{name} could not be loaded: {said}"),
            hint,
        ));
    }
    let said = stderr.last().map(|line| format!(": {line}")).unwrap_or_default();
    let message = format!("{name} was not found where it should run{said}");
    Some(Finding::new(FailureReason::LlamaBenchMissing, message, MISSING_HINT))
}
