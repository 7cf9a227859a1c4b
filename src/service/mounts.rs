//! A service's `volumes` and `tmpfs` as mounts: relative paths and `~` made absolute, named volumes
//! under the name that the daemon knows.

use std::path::{Component, Path, PathBuf};

use crate::request::tree::Node;
use crate::run::step::{Mount, MountSource};

use super::field::{Fields, Reader, find};

/// What mounts depend on besides the service.
pub struct Surroundings<'s> {
    /// Directory of the compose file, absolute.
    pub directory: &'s Path,
    pub project: &'s str,
    /// The document's root.
    pub root: &'s Node,
}

/// Mounts of a service; of several at one target the last one.
pub fn mounts(reader: &mut Reader<'_>, fields: &Fields, around: &Surroundings<'_>) -> Vec<Mount> {
    let mut result: Vec<Mount> = Vec::new();
    let mut add = |mount: Mount| {
        result.retain(|known| known.target != mount.target);
        result.push(mount);
    };
    for list in fields.all("volumes") {
        let Some(items) = list.items() else {
            reader.error(&list, format!("volumes are a list, and this is {}", list.kind_name()));
            continue;
        };
        for item in items {
            let mount = match item.entries() {
                Some(_) => long(reader, item, around),
                None => short(reader, item, around),
            };
            mount.into_iter().for_each(&mut add);
        }
    }
    for node in fields.all("tmpfs") {
        for entry in reader.texts(&node) {
            let target = entry.split(':').next().unwrap_or(&entry).to_owned();
            add(Mount { source: MountSource::Tmpfs, target, read_only: false });
        }
    }
    result
}

fn short(reader: &mut Reader<'_>, item: &Node, around: &Surroundings<'_>) -> Option<Mount> {
    let text = reader.text(item)?;
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => {
            reader
                .warning(item, format!("the anonymous volume {target} is new and empty in every container"));
            return None;
        }
        [source, target] => (*source, *target, ""),
        [source, target, options] => (*source, *target, *options),
        _ => {
            reader.error(item, format!("\"{text}\" is not SOURCE:TARGET[:OPTIONS]"));
            return None;
        }
    };
    if !target.starts_with('/') {
        reader.error(item, format!("the target \"{target}\" is not an absolute path"));
        return None;
    }
    let source = match source.starts_with(['/', '.', '~']) {
        true => MountSource::Bind(host_path(reader, item, source, around)?),
        false => volume(reader, item, source, around)?,
    };
    let read_only = options.split(',').any(|option| option == "ro");
    Some(Mount { source, target: target.to_owned(), read_only })
}

fn long(reader: &mut Reader<'_>, item: &Node, around: &Surroundings<'_>) -> Option<Mount> {
    let Some(target) = reader.text_of(item, "target") else {
        reader.error(item, "this volume has no target");
        return None;
    };
    let kind = reader.text_of(item, "type").unwrap_or_else(|| "volume".to_owned());
    let source = reader.text_of(item, "source");
    let read_only = match find(&item.merged(), "read_only") {
        Some(node) => reader.truth(&node),
        None => false,
    };
    let options = find(&item.merged(), "volume");
    if let Some(subpath) = options.and_then(|options| find(&options.merged(), "subpath")) {
        reader.error(&subpath, "a subpath of a volume is not supported; mount the whole volume");
        return None;
    }
    let source = match (kind.as_str(), source) {
        ("tmpfs", _) => MountSource::Tmpfs,
        ("bind", Some(source)) => MountSource::Bind(host_path(reader, item, &source, around)?),
        ("volume", Some(source)) => volume(reader, item, &source, around)?,
        ("volume", None) => {
            reader
                .warning(item, format!("the anonymous volume {target} is new and empty in every container"));
            return None;
        }
        ("bind", None) => {
            reader.error(item, "this bind mount has no source");
            return None;
        }
        (other, _) => {
            reader.error(item, format!("volumes of type \"{other}\" are not supported"));
            return None;
        }
    };
    Some(Mount { source, target, read_only })
}

fn host_path(
    reader: &mut Reader<'_>,
    item: &Node,
    source: &str,
    around: &Surroundings<'_>,
) -> Option<PathBuf> {
    let path = match source.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => match reader.environment.get("HOME") {
            Some(home) => Path::new(home).join(rest.trim_start_matches('/')),
            None => {
                reader.error(item, "~ cannot be resolved, because HOME is not set");
                return None;
            }
        },
        _ => around.directory.join(source),
    };
    Some(normalised(&path))
}

/// Without `.` and `..`, by the text alone as Compose does it: links are the daemon's to follow.
pub fn normalised(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                result.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => result.push(part),
        }
    }
    result
}

fn volume(
    reader: &mut Reader<'_>,
    item: &Node,
    name: &str,
    around: &Surroundings<'_>,
) -> Option<MountSource> {
    let volumes = around.root.get("volumes").map(|volumes| volumes.merged()).unwrap_or_default();
    let Some(declared) = find(&volumes, name) else {
        reader.error(
            item,
            format!("the volume \"{name}\" is not declared under volumes; a path begins with ./ or /"),
        );
        return None;
    };
    if let Some(given) = reader.text_of(&declared, "name") {
        return Some(MountSource::Volume(given));
    }
    let external = match find(&declared.merged(), "external") {
        Some(node) if node.entries().is_some() => {
            return Some(MountSource::Volume(reader.text_of(&node, "name").unwrap_or(name.to_owned())));
        }
        Some(node) => reader.truth(&node),
        None => false,
    };
    Some(MountSource::Volume(match external {
        true => name.to_owned(),
        false => format!("{}_{name}", around.project),
    }))
}
