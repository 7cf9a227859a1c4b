//! A compose service's container: devices, limits, privileges. What a benchmark's container cannot
//! have is reported, never silently left out.

use crate::request::tree::{Node, Value};
use crate::run::step::{ContainerSpec, DeviceMapping, GpuRequest, GpuSelection, Ulimit};

use super::field::{Fields, Reader, find};
use super::mounts::{Surroundings, mounts};

/// Fields that would change what a benchmark sees, and that it cannot have.
const NOT_SUPPORTED: [&str; 3] = ["volumes_from", "device_cgroup_rules", "cgroup_parent"];
/// Fields that put files into the container by other means than mounts.
const LEFT_OUT: [&str; 2] = ["secrets", "configs"];

/// The container without command, entrypoint and environment.
pub fn container(reader: &mut Reader<'_>, fields: &Fields, around: &Surroundings<'_>) -> ContainerSpec {
    for key in NOT_SUPPORTED {
        if let Some(node) = fields.get(key) {
            reader.error(&node, format!("{key} is not supported for benchmarks"));
        }
    }
    for key in LEFT_OUT {
        if let Some(node) = fields.get(key) {
            reader.warning(&node, format!("the {key} of this service are not there in its benchmarks"));
        }
    }
    let text = |reader: &mut Reader<'_>, key: &str| fields.get(key).and_then(|node| reader.text(&node));
    let list = |reader: &mut Reader<'_>, key: &str| {
        fields.all(key).iter().flat_map(|node| reader.texts(node)).collect::<Vec<_>>()
    };
    let (devices, cdi) = devices(reader, fields);
    let mut gpus = gpus(reader, fields);
    gpus.extend(cdi);
    if gpus.len() > 1
        && let Some(node) =
            fields.get("gpus").or_else(|| fields.get("deploy")).or_else(|| fields.get("devices"))
    {
        reader.error(&node, "GPUs are asked for more than once; name all of them in one entry");
    }
    let limit = |key: &str| fields.at(&["deploy", "resources", "limits", key]);
    let memory = fields.get("mem_limit").or_else(|| limit("memory")).and_then(|node| reader.bytes(&node));
    let cpus = fields.get("cpus").or_else(|| limit("cpus")).and_then(|node| reader.number::<f64>(&node));
    let ipc = fields.get("ipc").and_then(|node| {
        let ipc = reader.text(&node)?;
        if ipc.starts_with("service:") {
            reader.error(&node, format!("ipc: {ipc} is not supported; name its container with container:"));
        }
        Some(ipc)
    });
    ContainerSpec {
        image: text(reader, "image").unwrap_or_default(),
        mounts: mounts(reader, fields, around),
        gpus: gpus.into_iter().next(),
        ipc,
        user: text(reader, "user"),
        shm_size: fields.get("shm_size").and_then(|node| reader.bytes(&node)),
        memory,
        nano_cpus: cpus.map(|cpus| (cpus * 1e9).round() as i64),
        cpuset: text(reader, "cpuset"),
        devices,
        group_add: list(reader, "group_add"),
        ulimits: ulimits(reader, fields),
        runtime: text(reader, "runtime"),
        privileged: fields.get("privileged").is_some_and(|node| reader.truth(&node)),
        cap_add: list(reader, "cap_add"),
        security_opt: list(reader, "security_opt"),
        serving: None,
    }
}

fn gpus(reader: &mut Reader<'_>, fields: &Fields) -> Vec<GpuRequest> {
    let mut result = Vec::new();
    if let Some(node) = fields.get("gpus") {
        match &node.value {
            Value::List(items) => result.extend(items.iter().filter_map(|item| gpu(reader, item, true))),
            Value::Scalar(_) | Value::Null | Value::Map(_) => match reader.text(&node).as_deref() {
                Some("all") => result.push(GpuRequest {
                    driver: String::new(),
                    which: GpuSelection::All,
                    capabilities: vec!["gpu".to_owned()],
                }),
                Some(other) => {
                    reader.error(&node, format!("gpus is \"all\" or a list, and this is \"{other}\""));
                }
                None => {}
            },
        }
    }
    let reserved = fields.all_at(&["deploy", "resources", "reservations", "devices"]);
    for item in reserved.iter().flat_map(|list| list.items().unwrap_or_default()) {
        result.extend(gpu(reader, item, false));
    }
    result
}

fn gpu(reader: &mut Reader<'_>, item: &Node, implied: bool) -> Option<GpuRequest> {
    let entries = item.merged();
    let mut capabilities = find(&entries, "capabilities").map(|node| reader.texts(&node)).unwrap_or_default();
    if implied && capabilities.is_empty() {
        capabilities.push("gpu".to_owned());
    }
    let driver = reader.text_of(item, "driver").unwrap_or_default();
    if !capabilities.iter().any(|capability| capability == "gpu") && driver != "cdi" {
        reader.warning(item, "this reserved device is no GPU and is not there in benchmarks");
        return None;
    }
    let ids = find(&entries, "device_ids").map(|node| reader.texts(&node));
    let which = match (ids, find(&entries, "count")) {
        (Some(ids), _) => GpuSelection::Ids(ids),
        (None, None) => GpuSelection::All,
        (None, Some(count)) => match reader.text(&count).as_deref() {
            Some("all" | "-1") | None => GpuSelection::All,
            Some(_) => GpuSelection::Count(reader.number(&count)?),
        },
    };
    Some(GpuRequest { driver, which, capabilities })
}

fn devices(reader: &mut Reader<'_>, fields: &Fields) -> (Vec<DeviceMapping>, Option<GpuRequest>) {
    let mut mappings = Vec::new();
    let mut cdi = Vec::new();
    for list in fields.all("devices") {
        for item in list.items().unwrap_or_default() {
            if item.entries().is_some() {
                let Some(host) = reader.text_of(item, "source") else {
                    reader.error(item, "this device has no source");
                    continue;
                };
                let container = reader.text_of(item, "target").unwrap_or_else(|| host.clone());
                let permissions = reader.text_of(item, "permissions").unwrap_or_else(|| "rwm".to_owned());
                mappings.push(DeviceMapping { host, container, permissions });
                continue;
            }
            let Some(text) = reader.text(item) else { continue };
            // A name of the container device interface, `vendor.com/class=name`.
            if !text.starts_with('/') && text.contains('=') {
                cdi.push(text);
                continue;
            }
            let mut parts = text.split(':').map(str::to_owned);
            let host = parts.next().unwrap_or_default();
            let container = parts.next().unwrap_or_else(|| host.clone());
            let permissions = parts.next().unwrap_or_else(|| "rwm".to_owned());
            mappings.push(DeviceMapping { host, container, permissions });
        }
    }
    let cdi = (!cdi.is_empty()).then(|| GpuRequest {
        driver: "cdi".to_owned(),
        which: GpuSelection::Ids(cdi),
        capabilities: Vec::new(),
    });
    (mappings, cdi)
}

fn ulimits(reader: &mut Reader<'_>, fields: &Fields) -> Vec<Ulimit> {
    let mut result: Vec<Ulimit> = Vec::new();
    for entry in fields.all("ulimits").iter().flat_map(|node| node.merged()) {
        let Some(name) = entry.key.text() else { continue };
        let (soft, hard) = match entry.value.entries() {
            None => {
                let limit = reader.number(&entry.value);
                (limit, limit)
            }
            Some(_) => {
                let limits = entry.value.merged();
                let mut one = |key: &str| find(&limits, key).and_then(|node| reader.number(&node));
                let (soft, hard) = (one("soft"), one("hard"));
                (soft.or(hard), hard.or(soft))
            }
        };
        match (soft, hard) {
            (Some(soft), Some(hard)) => {
                result.retain(|known| known.name != name);
                result.push(Ulimit { name: name.to_owned(), soft, hard });
            }
            _ => {
                reader.error(&entry.value, format!("the limit {name} is neither a number nor soft and hard"))
            }
        }
    }
    result
}
