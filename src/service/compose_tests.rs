use super::*;
use crate::run::step::{GpuSelection, Mount, MountSource};

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/services").join(name)
}

fn environment() -> Environment {
    [("HOME", "/home/u"), ("GPU_ID", "1"), ("HF_TOKEN", "hf_secret")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

fn hand_written() -> ComposeFile {
    load(&fixture("hand-written/compose.yaml"), &environment())
}

fn service(file: &ComposeFile, name: &str) -> ComposeService {
    file.services.iter().find(|service| service.name == name).cloned().unwrap()
}

/// Reads a file of one service, `s`.
fn of(text: &str) -> ComposeFile {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("compose.yaml");
    std::fs::write(&path, text).unwrap();
    load(&path, &environment())
}

fn messages(file: &ComposeFile) -> Vec<String> {
    file.problems.iter().map(|problem| problem.problem.to_string()).collect()
}

#[test]
fn merges_extends_and_variables_come_together_in_one_service() {
    let chat = service(&hand_written(), "chat");
    assert_eq!(chat.container.image, "ghcr.io/ggml-org/llama.cpp:server-cuda");
    assert_eq!(chat.command[1], "/models/from-dotenv.gguf");
    assert_eq!(chat.command.last().unwrap(), "sk-chat-1");
    let gpus = chat.container.gpus.unwrap();
    assert_eq!(gpus.which, GpuSelection::Ids(vec!["1".into()]), "the process's environment wins");
    assert_eq!(chat.container.memory, Some(32 << 30));
    assert_eq!(chat.container.nano_cpus, Some(7_500_000_000));
    assert_eq!((chat.container.shm_size, chat.container.ipc.as_deref()), (Some(8 << 30), Some("host")));
    assert_eq!(chat.container.ulimits.len(), 2);
    assert_eq!(chat.container.cpuset.as_deref(), Some("0-7"));
}

#[test]
fn volumes_are_resolved_against_the_file_and_the_project() {
    let chat = service(&hand_written(), "chat");
    let mount = |source, target: &str, read_only| Mount { source, target: target.into(), read_only };
    assert_eq!(
        chat.container.mounts,
        [
            mount(MountSource::Bind(fixture("hand-written/models")), "/models", true),
            mount(MountSource::Volume("gpu-box_cache".into()), "/root/.cache", false),
            mount(MountSource::Volume("team-models".into()), "/shared", false),
            mount(MountSource::Bind("/home/u/lora".into()), "/lora", true),
        ]
    );
}

#[test]
fn environment_comes_from_files_lists_maps_and_the_process() {
    let env = service(&hand_written(), "chat").env;
    let of = |name: &str| env.get(name).map(String::as_str);
    assert_eq!(of("FROM_FILE"), Some("yes"));
    assert_eq!(of("ADMIN_PASSWORD"), Some("hunter two"));
    assert_eq!(of("HF_TOKEN"), Some("hf_secret"));
    assert_eq!((of("LLAMA_ARG_BATCH"), of("LLAMA_ARG_THREADS")), (Some("1024"), Some("8")));
}

#[test]
fn ports_are_read_in_both_syntaxes_and_only_tcp_counts() {
    let ports = service(&hand_written(), "chat").ports;
    assert_eq!(ports, [Port { host: 8081, container: 8080 }, Port { host: 9001, container: 9000 }]);
    let file = of("services: {s: {image: x, ports: ['3000-3001:80-81', 8080, '[::1]:90:91']}}");
    let hosts: Vec<_> = file.services[0].ports.iter().map(|port| (port.host, port.container)).collect();
    assert_eq!(hosts, [(3000, 80), (3001, 81), (90, 91)]);
}

#[test]
fn devices_privileges_and_gpus_for_all_are_read() {
    let file = hand_written();
    let amd = service(&file, "amd").container;
    assert_eq!(amd.devices[0].container, "/dev/kfd");
    assert_eq!(amd.devices[1].permissions, "rw");
    assert_eq!((amd.cap_add.len(), amd.security_opt.len()), (1, 1));
    let all = service(&file, "all-gpus").container;
    assert_eq!(all.gpus.unwrap().which, GpuSelection::All);
    assert!(all.privileged);
    assert_eq!(service(&file, "ollama").container.runtime.as_deref(), Some("nvidia"));
    let cdi = of("services: {s: {image: x, devices: ['nvidia.com/gpu=all']}}");
    assert_eq!(cdi.services[0].container.gpus.as_ref().unwrap().driver, "cdi");
}

#[test]
fn a_broken_service_is_reported_with_its_places_and_hides_no_other() {
    let file = hand_written();
    assert!(!file.services.iter().any(|service| service.name == "broken"));
    assert_eq!(file.services.len(), 6, "{:?}", messages(&file));
    let broken: Vec<_> =
        file.problems.iter().filter(|problem| problem.service.as_deref() == Some("broken")).collect();
    assert_eq!(broken.len(), 2, "{broken:?}");
    assert!(broken.iter().all(|problem| problem.problem.line.is_some()));
}

#[test]
fn what_benchmarks_cannot_have_is_said() {
    for (yaml, expected) in [
        ("volumes_from: [other]", "volumes_from is not supported"),
        ("extends: {file: other.yml, service: x}", "another file is not supported"),
        ("extends: t", "extends \"t\", which is not in this file"),
        ("volumes: [{type: volume, source: v, target: /v, volume: {subpath: p}}]", "subpath"),
        ("ipc: 'service:other'", "ipc: service:other is not supported"),
        ("command: server 'open", "never closed"),
        ("command: server -ot a;b", "ignores what follows the unquoted ;"),
        ("image: ${UNSET_IMAGE}", "UNSET_IMAGE is not set"),
        ("secrets: [token]", "secrets of this service are not there"),
        ("env_file: absent.env", "cannot be read"),
    ] {
        let file = of(&format!("services:\n  s:\n    {yaml}\nvolumes: {{v: }}\n"));
        let all = messages(&file).join("\n");
        assert!(all.contains(expected), "{yaml}: {all}");
    }
}

#[test]
fn a_file_that_is_no_compose_file_says_so() {
    assert!(
        messages(&load(Path::new("/nonexistent/compose.yml"), &environment()))[0].contains("cannot be read")
    );
    assert!(messages(&of("a: [1"))[0].contains("not readable as YAML"));
    assert!(messages(&of("a: 1"))[0].contains("no services"));
}

#[test]
fn the_projects_name_is_composes() {
    let mut environment = environment();
    assert_eq!(hand_written().project, "gpu-box");
    assert_eq!(load(&fixture("llm-dock/docker-compose.yml"), &environment).project, "llm-dock");
    environment.insert("COMPOSE_PROJECT_NAME".into(), "Mine.1".into());
    assert_eq!(load(&fixture("hand-written/compose.yaml"), &environment).project, "mine1");
}

#[test]
fn a_problem_in_a_command_does_not_show_the_commands_text() {
    let file = of("services: {s: {image: x, command: 'server --api-key sk-1 -b $UNSET', ipc: 'service:a'}}");
    let shown: Vec<_> = file.problems.iter().map(|problem| problem.problem.text.as_deref()).collect();
    assert_eq!(shown.len(), 2);
    assert!(shown.contains(&None) && shown.contains(&Some("'service:a'")), "{shown:?}");
}

#[test]
fn what_a_base_reserves_is_kept_where_the_service_adds_limits() {
    let gpu = "deploy: {resources: {reservations: {devices: [{capabilities: [gpu]}]}}}";
    let limits = "deploy: {resources: {limits: {memory: 1g}}}";
    let file = of(&format!("services:\n  b: {{image: x, {gpu}}}\n  s: {{extends: b, {limits}}}\n"));
    let container = service(&file, "s").container;
    assert!(container.gpus.is_some());
    assert_eq!(container.memory, Some(1 << 30));
}
