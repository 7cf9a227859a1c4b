//! A task's command as somebody would type it: for status, `plan` and people who want to try it by
//! hand. Values of the environment stay out of it.

use std::collections::BTreeMap;

use crate::run::step::{ContainerSpec, GpuSelection, MountSource, TaskSpec};

/// The command as somebody would type it. `program` stands for what is not known before the image is.
pub fn command_line(task: &TaskSpec, program: Option<&str>) -> String {
    let mut words: Vec<String> = Vec::new();
    let (program, rest) = match program {
        Some(program) => (program.to_owned(), task.argv.as_slice()),
        None => match task.argv.split_first() {
            Some((first, rest)) => (first.clone(), rest),
            None => (String::new(), task.argv.as_slice()),
        },
    };
    match &task.container {
        None => words.push(program),
        Some(container) => {
            words.extend(docker_run_words(container, &task.env));
            if container.serving.as_ref().is_some_and(|serving| serving.image_entrypoint) {
                words.extend([container.image.clone(), program]);
            } else {
                words.extend(["--entrypoint".to_owned(), program, container.image.clone()]);
            }
        }
    }
    words.extend(rest.iter().cloned());
    words.iter().map(|word| posix_quoted(word)).collect::<Vec<_>>().join(" ")
}

fn docker_run_words(container: &ContainerSpec, env: &BTreeMap<String, String>) -> Vec<String> {
    let mut words: Vec<String> = ["docker", "run", "--rm", "--init"].map(str::to_owned).into();
    match &container.serving {
        None => words.extend(["--network", "none"].map(str::to_owned)),
        Some(serving) => words.extend(["-p".to_owned(), format!("127.0.0.1::{}", serving.port)]),
    }
    if !container.privileged && container.serving.is_none() {
        words.extend(["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"].map(str::to_owned));
        words.extend(["--security-opt", "no-new-privileges"].map(str::to_owned));
    }
    let mut pair = |name: &str, value: &str| words.extend([name.to_owned(), value.to_owned()]);
    for mount in &container.mounts {
        let read_only = if mount.read_only { ",readonly" } else { "" };
        match &mount.source {
            MountSource::Bind(source) => {
                pair(
                    "--mount",
                    &format!("type=bind,src={},dst={}{read_only}", source.display(), mount.target),
                );
            }
            MountSource::Volume(name) => {
                pair("--mount", &format!("type=volume,src={name},dst={}{read_only}", mount.target));
            }
            MountSource::Tmpfs => pair("--tmpfs", &mount.target),
        }
    }
    if let Some(gpus) = &container.gpus {
        let which = match &gpus.which {
            GpuSelection::All => "all".to_owned(),
            GpuSelection::Count(count) => count.to_string(),
            GpuSelection::Ids(ids) => format!("\"device={}\"", ids.join(",")),
        };
        pair("--gpus", &which);
    }
    for (name, value) in [("--ipc", &container.ipc), ("--user", &container.user)] {
        if let Some(value) = value {
            pair(name, value);
        }
    }
    for name in env.keys() {
        pair("-e", name);
    }
    words
}

/// A word as a POSIX shell needs it, which is stricter than compose's own splitting.
fn posix_quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}
