//! What a task is to Docker, both ways: the order as the body of a create call, hardened for a
//! benchmark, and the daemon's inspect answer as a task's state. Pure mapping: speaks to nobody.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerStateStatusEnum, DeviceMapping, DeviceRequest,
    HealthConfig, HostConfig, HostConfigLogConfig, Mount as DockerMount, MountType, PortBinding,
    ResourcesUlimits,
};
use uuid::Uuid;

use crate::run::step::{
    ContainerSpec, Exit, ExitCause, GpuRequest, GpuSelection, Mount, MountSource, Role, Serving, TaskId,
    TaskSpec, TaskState,
};

pub const LABEL_INSTANCE: &str = "benchlet.instance";
const LABEL_RUN: &str = "benchlet.run";
const LABEL_REQUEST: &str = "benchlet.request";
const LABEL_ATTEMPT: &str = "benchlet.attempt";
const LABEL_STEP: &str = "benchlet.step";
const LABEL_ROLE: &str = "benchlet.role";

/// Seconds between SIGTERM and SIGKILL.
pub const GRACE_SECONDS: i32 = 5;

/// Processes and threads at most: far above what a benchmark starts, far below what hurts the host.
const PIDS_LIMIT: i64 = 4096;

/// Which daemon it is: Podman speaks the same API and does not mean the same by all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    Docker,
    Podman,
}

/// The labels by which a container is known again.
pub fn labels(task: &TaskSpec, instance: &str) -> HashMap<String, String> {
    let mut labels: HashMap<String, String> =
        task.labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    labels.insert(LABEL_INSTANCE.to_owned(), instance.to_owned());
    labels.insert(LABEL_RUN.to_owned(), task.id.run.to_string());
    labels.insert(LABEL_ATTEMPT.to_owned(), task.id.attempt.to_string());
    labels.insert(LABEL_STEP.to_owned(), task.id.step.to_string());
    labels.insert(LABEL_ROLE.to_owned(), task.id.role.as_str().to_owned());
    labels
}

/// The task that a container's labels name.
pub fn task_of(labels: &HashMap<String, String>) -> Option<TaskId> {
    Some(TaskId {
        run: Uuid::parse_str(labels.get(LABEL_RUN)?).ok()?,
        attempt: labels.get(LABEL_ATTEMPT)?.parse().ok()?,
        step: labels.get(LABEL_STEP)?.parse().ok()?,
        role: Role::from_name(labels.get(LABEL_ROLE)?)?,
    })
}

/// The first label in which a container differs from what is expected of it, as a half sentence.
pub fn foreign_label(
    found: Option<&HashMap<String, String>>,
    id: &TaskId,
    instance: &str,
    request: Option<&str>,
) -> Option<String> {
    let (run, attempt, step) = (id.run.to_string(), id.attempt.to_string(), id.step.to_string());
    let expected = [
        (LABEL_INSTANCE, Some(instance)),
        (LABEL_RUN, Some(run.as_str())),
        (LABEL_ATTEMPT, Some(attempt.as_str())),
        (LABEL_STEP, Some(step.as_str())),
        (LABEL_ROLE, Some(id.role.as_str())),
        (LABEL_REQUEST, request),
    ];
    expected.into_iter().find_map(|(label, expected)| {
        let expected = expected?;
        match found.and_then(|labels| labels.get(label)) {
            Some(value) if value == expected => None,
            Some(value) => Some(format!("its label {label} is {value:?}, not {expected:?}")),
            None => Some(format!("it has no label {label}")),
        }
    })
}

/// The request that a task belongs to, where its labels say so.
pub fn request_of(task: &TaskSpec) -> Option<&str> {
    task.labels.get(LABEL_REQUEST).map(String::as_str)
}

/// The body of the create call. `program` is `argv[0]`, `arguments` the rest.
pub fn create_body(
    task: &TaskSpec,
    container: &ContainerSpec,
    (program, arguments): (&str, &[String]),
    instance: &str,
    flavour: Flavour,
) -> ContainerCreateBody {
    let image_entrypoint = container.serving.as_ref().is_some_and(|serving| serving.image_entrypoint);
    ContainerCreateBody {
        image: Some(container.image.clone()),
        entrypoint: (!image_entrypoint).then(|| vec![program.to_owned()]),
        cmd: Some(if image_entrypoint { task.argv.clone() } else { arguments.to_vec() }),
        exposed_ports: container.serving.as_ref().map(|serving| vec![format!("{}/tcp", serving.port)]),
        env: Some(task.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        user: container.user.clone(),
        labels: Some(labels(task, instance)),
        tty: Some(false),
        open_stdin: Some(false),
        // The image's own would run beside the measurement.
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..Default::default() }),
        stop_signal: Some("SIGTERM".to_owned()),
        stop_timeout: Some(i64::from(GRACE_SECONDS)),
        host_config: Some(host_config(container, flavour)),
        ..Default::default()
    }
}

fn host_config(container: &ContainerSpec, flavour: Flavour) -> HostConfig {
    let tmp_is_mounted = container.mounts.iter().any(|mount| mount.target.trim_end_matches('/') == "/tmp");
    // Run-time compilers of GPU back ends load what they put there, hence exec.
    let tmpfs = (!tmp_is_mounted)
        .then(|| HashMap::from([("/tmp".to_owned(), "rw,nosuid,nodev,exec,mode=1777".to_owned())]));
    let privileges_may_grow = container.privileged
        || container.security_opt.iter().any(|option| option == "no-new-privileges:false");
    let mut security_opt = container.security_opt.clone();
    // A server runs as compose would run it.
    let serves = container.serving.is_some();
    if !serves
        && !privileges_may_grow
        && !security_opt.iter().any(|option| option.starts_with("no-new-privileges"))
    {
        security_opt.push("no-new-privileges".to_owned());
    }
    HostConfig {
        mounts: Some(container.mounts.iter().map(mount).collect()),
        network_mode: (!serves).then(|| "none".to_owned()),
        port_bindings: container.serving.as_ref().map(published),
        init: Some(true),
        readonly_rootfs: Some(!serves),
        tmpfs: tmpfs.filter(|_| !serves),
        privileged: Some(container.privileged),
        // A privileged container has them all, and dropping them would undo what the service asks.
        cap_drop: (!container.privileged && !serves).then(|| vec!["ALL".to_owned()]),
        cap_add: some_unless_empty(&container.cap_add),
        security_opt: some_unless_empty(&security_opt),
        pids_limit: (!serves).then_some(PIDS_LIMIT),
        device_requests: container.gpus.as_ref().map(|gpus| vec![device_request(gpus)]),
        devices: Some(container.devices.iter().map(device).collect()),
        group_add: some_unless_empty(&container.group_add),
        ulimits: Some(container.ulimits.iter().map(ulimit).collect()),
        ipc_mode: container.ipc.clone(),
        shm_size: container.shm_size,
        memory: container.memory,
        nano_cpus: container.nano_cpus,
        cpuset_cpus: container.cpuset.clone(),
        runtime: container.runtime.clone(),
        auto_remove: Some(false),
        log_config: Some(log_config(flavour)),
        ..Default::default()
    }
}

/// One file that never rotates and a writer that waits rather than drops: the daemon's own defaults
/// may do either, and lost lines are lost results. Podman's driver of that name never drops.
fn log_config(flavour: Flavour) -> HostConfigLogConfig {
    let config = match flavour {
        Flavour::Docker => Some(
            [("max-size", "100g"), ("max-file", "1"), ("mode", "blocking")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        ),
        Flavour::Podman => None,
    };
    HostConfigLogConfig { typ: Some("json-file".to_owned()), config }
}

/// On the loopback address alone, at a port of the daemon's choice.
fn published(serving: &Serving) -> HashMap<String, Option<Vec<PortBinding>>> {
    let binding = PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some(String::new()) };
    HashMap::from([(format!("{}/tcp", serving.port), Some(vec![binding]))])
}

/// The port on this machine at which a container's port was published.
pub fn published_port(container: &ContainerInspectResponse, port: u16) -> Option<u16> {
    let ports = container.network_settings.as_ref()?.ports.as_ref()?;
    let bindings = ports.get(&format!("{port}/tcp"))?.as_ref()?;
    bindings.iter().find_map(|binding| binding.host_port.as_ref()?.parse().ok())
}

fn some_unless_empty(list: &[String]) -> Option<Vec<String>> {
    (!list.is_empty()).then(|| list.to_vec())
}

/// As a mount, never as a bind: a bind whose source is missing makes a folder on the host, a mount is
/// refused.
fn mount(mount: &Mount) -> DockerMount {
    let (kind, source) = match &mount.source {
        MountSource::Bind(path) => (MountType::BIND, Some(path.to_string_lossy().into_owned())),
        MountSource::Volume(name) => (MountType::VOLUME, Some(name.clone())),
        MountSource::Tmpfs => (MountType::TMPFS, None),
    };
    DockerMount {
        typ: Some(kind),
        source,
        target: Some(mount.target.clone()),
        read_only: Some(mount.read_only),
        ..Default::default()
    }
}

fn device_request(gpus: &GpuRequest) -> DeviceRequest {
    let (count, device_ids) = match &gpus.which {
        GpuSelection::All => (Some(-1), None),
        GpuSelection::Count(count) => (Some(i64::from(*count)), None),
        GpuSelection::Ids(ids) => (None, Some(ids.clone())),
    };
    let capabilities =
        if gpus.capabilities.is_empty() { vec!["gpu".to_owned()] } else { gpus.capabilities.clone() };
    DeviceRequest {
        driver: Some(gpus.driver.clone()),
        count,
        device_ids,
        capabilities: Some(vec![capabilities]),
        options: None,
    }
}

/// The way back: what GPUs a container was given.
pub fn gpu_request(request: &DeviceRequest) -> GpuRequest {
    let ids = request.device_ids.clone().unwrap_or_default();
    let which = match (ids.is_empty(), request.count) {
        (false, _) => GpuSelection::Ids(ids),
        (true, Some(count)) => u32::try_from(count).map_or(GpuSelection::All, GpuSelection::Count),
        (true, None) => GpuSelection::All,
    };
    GpuRequest {
        driver: request.driver.clone().unwrap_or_default(),
        which,
        capabilities: request.capabilities.iter().flatten().flatten().cloned().collect(),
    }
}

fn device(device: &crate::run::step::DeviceMapping) -> DeviceMapping {
    DeviceMapping {
        path_on_host: Some(device.host.clone()),
        path_in_container: Some(device.container.clone()),
        cgroup_permissions: Some(device.permissions.clone()),
    }
}

fn ulimit(ulimit: &crate::run::step::Ulimit) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(ulimit.name.clone()), soft: Some(ulimit.soft), hard: Some(ulimit.hard) }
}

/// The state of a task by its container. `cut` says that its output was cut at the limit.
pub fn state(container: &ContainerInspectResponse, cut: bool) -> TaskState {
    let Some(state) = &container.state else {
        return TaskState::Unknown { reason: "the daemon's answer has no state".to_owned() };
    };
    let error = state.error.clone().filter(|words| !words.is_empty());
    // A moment before the first year: never.
    let happened = |at: &Option<String>| at.clone().filter(|at| !at.is_empty() && !at.starts_with("0001-"));
    match state.status {
        Some(ContainerStateStatusEnum::CREATED) => TaskState::Created { error },
        Some(
            ContainerStateStatusEnum::RUNNING
            | ContainerStateStatusEnum::PAUSED
            | ContainerStateStatusEnum::RESTARTING
            | ContainerStateStatusEnum::STOPPING,
        ) => TaskState::Running,
        Some(ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD) => {
            let cause = match (cut, happened(&state.started_at), error) {
                (true, _, _) => ExitCause::OutputTooLarge,
                (false, None, Some(words)) => ExitCause::NotStarted(words),
                (false, _, _) => ExitCause::Code(state.exit_code.unwrap_or(255)),
            };
            TaskState::Exited(Exit {
                cause,
                oom_killed: state.oom_killed.unwrap_or(false),
                finished_at: happened(&state.finished_at),
            })
        }
        Some(ContainerStateStatusEnum::REMOVING) => {
            TaskState::Unknown { reason: "the daemon is removing the container".to_owned() }
        }
        Some(ContainerStateStatusEnum::EMPTY) | None => {
            TaskState::Unknown { reason: "the daemon's answer has no status".to_owned() }
        }
    }
}

/// The labels of an inspected container.
pub fn labels_of(container: &ContainerInspectResponse) -> Option<&HashMap<String, String>> {
    container.config.as_ref()?.labels.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::ContainerState;

    fn task() -> TaskSpec {
        TaskSpec {
            id: TaskId { run: Uuid::nil(), attempt: 1, step: 2, role: Role::Bench },
            argv: vec!["llama-bench".into(), "-p".into(), "512".into()],
            env: [("A".to_owned(), "b c".to_owned())].into(),
            container: None,
            deadline_ms: 1000,
            labels: [(LABEL_REQUEST.to_owned(), "qwen".to_owned())].into(),
            inputs: Default::default(),
        }
    }

    fn host(container: &ContainerSpec) -> HostConfig {
        host_config(container, Flavour::Docker)
    }

    #[test]
    fn labels_name_the_task_and_only_this_one() {
        let task = task();
        let labels = labels(&task, "here");
        assert_eq!(task_of(&labels), Some(task.id.clone()));
        assert_eq!(foreign_label(Some(&labels), &task.id, "here", Some("qwen")), None);
        let other = foreign_label(Some(&labels), &task.id, "there", None).unwrap();
        assert_eq!(other, r#"its label benchlet.instance is "here", not "there""#);
        let later = TaskId { attempt: 2, ..task.id.clone() };
        assert!(foreign_label(Some(&labels), &later, "here", None).unwrap().contains("benchlet.attempt"));
        assert!(foreign_label(None, &task.id, "here", None).unwrap().contains("has no label"));
    }

    #[test]
    fn a_plain_container_is_hardened_and_a_service_can_loosen_it() {
        let hardened = host(&ContainerSpec::default());
        assert_eq!(hardened.cap_drop, Some(vec!["ALL".to_owned()]));
        assert_eq!(hardened.security_opt, Some(vec!["no-new-privileges".to_owned()]));
        assert_eq!(hardened.readonly_rootfs, Some(true));
        assert!(hardened.binds.is_none());
        let privileged = host(&ContainerSpec { privileged: true, ..Default::default() });
        assert_eq!((privileged.cap_drop, privileged.security_opt), (None, None));
        let loosened = host(&ContainerSpec {
            security_opt: vec!["seccomp=unconfined".into()],
            cap_add: vec!["SYS_NICE".into()],
            ..Default::default()
        });
        assert_eq!(loosened.cap_add, Some(vec!["SYS_NICE".to_owned()]));
        assert_eq!(loosened.security_opt.unwrap(), ["seccomp=unconfined", "no-new-privileges"]);
    }

    #[test]
    fn a_mount_on_tmp_takes_the_place_of_the_tmpfs() {
        let mount = Mount { source: MountSource::Tmpfs, target: "/tmp/".into(), read_only: false };
        assert!(host(&ContainerSpec { mounts: vec![mount], ..Default::default() }).tmpfs.is_none());
    }

    #[test]
    fn a_gpu_request_survives_the_way_there_and_back() {
        for which in
            [GpuSelection::All, GpuSelection::Count(2), GpuSelection::Ids(vec!["0".into(), "3".into()])]
        {
            let gpus = GpuRequest { driver: "nvidia".into(), which, capabilities: vec!["gpu".into()] };
            assert_eq!(gpu_request(&device_request(&gpus)), gpus);
        }
    }

    #[test]
    fn the_verdict_follows_from_the_inspected_state() {
        let inspected = |status, code, error: &str, started: &str, cut| {
            let state = ContainerState {
                status: Some(status),
                exit_code: Some(code),
                error: Some(error.to_owned()),
                started_at: Some(started.to_owned()),
                oom_killed: Some(code == 137),
                ..Default::default()
            };
            super::state(&ContainerInspectResponse { state: Some(state), ..Default::default() }, cut)
        };
        let exited = ContainerStateStatusEnum::EXITED;
        let exit = |cause, oom_killed| TaskState::Exited(Exit { cause, oom_killed, finished_at: None });
        let (once, never) = ("2026-01-01T00:00:00Z", "0001-01-01T00:00:00Z");
        assert_eq!(inspected(exited, 3, "", once, false), exit(ExitCause::Code(3), false));
        assert_eq!(inspected(exited, 137, "", once, true), exit(ExitCause::OutputTooLarge, true));
        assert_eq!(
            inspected(exited, 127, "no such file", never, false),
            exit(ExitCause::NotStarted("no such file".into()), false)
        );
        assert_eq!(
            inspected(ContainerStateStatusEnum::CREATED, 0, "", never, false),
            TaskState::Created { error: None }
        );
        assert_eq!(inspected(ContainerStateStatusEnum::PAUSED, 0, "", once, false), TaskState::Running);
    }
}
