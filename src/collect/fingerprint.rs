//! Fills in a run's fingerprint from the machine that benchlet itself runs on. Takes milliseconds,
//! blocks, and never fails: what cannot be read is null. Image and model are the caller's to add, who
//! asked the executor for the one and has the other's hash in a cache.

use std::fs;
use std::path::Path;

use rustix::system::uname;

use super::{cpu, git_metadata, gpu, memory};
use crate::run::fingerprint::{Fingerprint, Host, Image, Model, Source};

/// The fingerprint of this machine for a run that the file at `request` asks for.
pub fn collect(request: Option<&Path>) -> Fingerprint {
    let root = Path::new("/");
    let (gpus, gpu_driver) = gpu::read(root);
    Fingerprint {
        benchlet_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        host: host(root),
        cpu: cpu::read(root),
        memory_bytes: memory::total_bytes(root),
        limits: memory::limits(root),
        gpus,
        gpu_driver,
        image: Image::default(),
        model: Model::default(),
        prompts_sha256: None,
        request: request.map(source).unwrap_or_default(),
    }
}

/// Where a request's file stands in its repository.
pub fn source(request: &Path) -> Source {
    let git = git_metadata::of_file(request);
    Source { path: Some(request.to_string_lossy().into_owned()), commit: git.commit, dirty: git.dirty }
}

fn host(root: &Path) -> Host {
    let name = uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let hostname = text(name.nodename());
    Host {
        hostname: (!hostname.is_empty()).then_some(hostname),
        kernel: Some(format!("{} {} {}", text(name.sysname()), text(name.release()), text(name.machine()))),
        os: ["etc/os-release", "usr/lib/os-release"]
            .iter()
            .find_map(|path| parse_os_release(&fs::read_to_string(root.join(path)).ok()?)),
    }
}

/// `PRETTY_NAME` of the text of `/etc/os-release`, without its quotes.
fn parse_os_release(text: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?.trim();
    let value = value.trim_matches(['"', '\'']);
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_a_kernel_and_what_the_caller_fills_in_stays_null() {
        let fingerprint = collect(None);
        assert_eq!(fingerprint.benchlet_version.as_deref(), Some(env!("CARGO_PKG_VERSION")));
        assert!(fingerprint.host.kernel.is_some());
        assert_eq!(fingerprint.image, Image::default());
        assert_eq!(fingerprint.model, Model::default());
        assert_eq!(fingerprint.request, Source::default());
    }

    #[test]
    fn a_fingerprint_survives_serialisation() {
        let fingerprint = collect(Some(Path::new("/nonexistent/a.yaml")));
        let text = serde_json::to_string(&fingerprint).unwrap();
        assert_eq!(serde_json::from_str::<Fingerprint>(&text).unwrap(), fingerprint);
        assert_eq!(fingerprint.request.path.as_deref(), Some("/nonexistent/a.yaml"));
        assert_eq!(fingerprint.request.dirty, None);
    }

    #[test]
    fn the_systems_own_name_is_read_without_quotes() {
        assert_eq!(parse_os_release("ID=x\nPRETTY_NAME=\"Example 13\"\n").as_deref(), Some("Example 13"));
        assert_eq!(parse_os_release("ID=x\n"), None);
    }
}
