use super::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/services").join(name)
}

fn catalogue() -> Catalogue {
    let environment: Environment = [("HOME".to_owned(), "/home/u".to_owned())].into();
    Catalogue::load(
        &[
            fixture("llm-dock/docker-compose.yml"),
            fixture("hand-written/compose.yaml"),
            fixture("absent.yml"),
        ],
        &[fixture("llm-dock/services.json")],
        &environment,
    )
}

fn flags(service: &Service) -> Vec<(&str, &str)> {
    service.flags.iter().map(|flag| (flag.name.as_str(), flag.value.as_deref().unwrap_or(""))).collect()
}

#[test]
fn an_llm_dock_service_is_read_from_both_files() {
    let catalogue = catalogue();
    let service = catalogue.get("llamacpp-qwen3").unwrap();
    assert_eq!(service.kind, ServiceKind::LlamaCpp);
    assert_eq!(service.model, ModelReference::File("/local-models/qwen3-30b-q8.gguf".into()));
    assert_eq!(
        service.host_path("/local-models/qwen3-30b-q8.gguf"),
        Some("/home/u/.cache/models/qwen3-30b-q8.gguf".into())
    );
    let expected = [
        ("--alias", "qwen3"),
        ("--host", "0.0.0.0"),
        ("--port", "8080"),
        ("--metrics", ""),
        ("-c", "32768"),
        ("-ngl", "99"),
        ("-fa", "on"),
        ("--batch-size", "512"),
        ("--no-kv-offload", ""),
    ];
    assert_eq!(flags(service), expected);
    assert_eq!(service.secrets, ["sk-dock-1234567890"]);
    assert_eq!(service.api_key.as_deref(), Some("sk-dock-1234567890"));
    assert_eq!(service.masked(&service.command.join(" ")).matches("***").count(), 1);
    assert!(service.origin.compose_file.is_some() && service.origin.services_json.is_some());
    assert_eq!(service.ports, [Port { host: 3301, container: 8080 }]);
}

#[test]
fn a_service_that_is_only_listed_has_what_is_known() {
    let catalogue = catalogue();
    let service = catalogue.get("llamacpp-only-listed").unwrap();
    assert_eq!((service.kind, service.container.image.as_str()), (ServiceKind::LlamaCpp, ""));
    assert_eq!(service.model, ModelReference::File("/local-models/tiny.gguf".into()));
    assert_eq!(flags(service), [("-ngl", "99")]);
    assert_eq!((service.origin.compose_file.as_ref(), service.secrets.len()), (None, 1));
}

#[test]
fn what_serves_follows_from_template_program_or_image() {
    let catalogue = catalogue();
    let kind = |name: &str| catalogue.get(name).unwrap().kind;
    assert_eq!(kind("vllm-phi3"), ServiceKind::Vllm);
    assert_eq!(kind("open-webui"), ServiceKind::Other);
    assert_eq!(kind("chat"), ServiceKind::LlamaCpp);
    assert_eq!(kind("amd"), ServiceKind::LlamaCpp);
    assert_eq!(kind("all-gpus"), ServiceKind::Vllm);
    assert_eq!(kind("ollama"), ServiceKind::Ollama);
    assert_eq!(kind("scripted"), ServiceKind::LlamaCpp);
    assert_eq!(kind_of(None, "ghcr.io/x/llama-cpp-python:1", &[]), ServiceKind::Other);
    assert_eq!(kind_of(None, "ghcr.io/open-webui/open-webui:ollama", &[]), ServiceKind::Other);
    assert_eq!(kind_of(None, "x", &["benchlet".into(), "sim".into()]), ServiceKind::Simulated);
}

#[test]
fn models_are_files_or_come_from_a_hub() {
    let catalogue = catalogue();
    let model = |name: &str| catalogue.get(name).unwrap().model.clone();
    assert_eq!(model("amd"), ModelReference::Hub("owner/model:Q4_K_M".into()));
    assert_eq!(model("vllm-phi3"), ModelReference::Hub("microsoft/Phi-3-mini-4k-instruct".into()));
    assert_eq!(model("all-gpus"), ModelReference::Hub("microsoft/phi-4".into()));
    assert_eq!(model("scripted"), ModelReference::File("/models/a.gguf".into()));
}

#[test]
fn flags_by_environment_count_unless_the_command_says_otherwise() {
    let catalogue = catalogue();
    let service = catalogue.get("chat").unwrap();
    let expected = [("-c", "8192"), ("-ub", "256"), ("-b", "1024"), ("-t", "8"), ("-nkvo", "")];
    assert_eq!(flags(service), expected);
}

#[test]
fn secrets_are_collected_for_masking_and_harmless_names_are_not() {
    let catalogue = catalogue();
    assert_eq!(catalogue.get("chat").unwrap().secrets, ["hunter two", "sk-chat-1"]);
    assert_eq!(catalogue.get("open-webui").unwrap().secrets, ["keep-me-secret"]);
    let env = [("TOKENIZERS_PARALLELISM".to_owned(), "true".to_owned())];
    assert!(env_secrets(env.iter().map(|(name, value)| (name, value))).is_empty());
}

/// A token for a model hub is a secret and opens no server.
#[test]
fn the_servers_own_key_is_told_from_other_secrets() {
    let key_of = |image: &str, command: &str, env: &[(&str, &str)]| {
        let service = ComposeService {
            container: ContainerSpec { image: image.to_owned(), ..ContainerSpec::default() },
            command: command.split(' ').map(str::to_owned).collect(),
            env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            ..ComposeService::default()
        };
        described(service, Origin::default()).api_key
    };
    let hub = ("HF_TOKEN", "hf_longer_than_any_key_of_a_server");
    assert_eq!(key_of("vllm/vllm-openai", "--model a/b", &[hub]), None);
    assert_eq!(
        key_of("vllm/vllm-openai", "--model a/b", &[hub, ("VLLM_API_KEY", "k1")]).as_deref(),
        Some("k1")
    );
    assert_eq!(key_of("vllm/vllm-openai", "--model a/b --api-key k2", &[hub]).as_deref(), Some("k2"));
    let llama = "llama-server -m /m.gguf";
    assert_eq!(key_of("any", llama, &[("LLAMA_API_KEY", "k3, k4")]).as_deref(), Some("k3"));
    assert_eq!(key_of("any", &format!("{llama} --api-key=k5,k6"), &[]).as_deref(), Some("k5"));
}

#[test]
fn one_broken_file_hides_no_other_and_a_wrong_name_gets_a_hint() {
    let catalogue = catalogue();
    assert!(catalogue.problems().iter().any(|problem| problem.path.ends_with("absent.yml")));
    let unknown = catalogue.find("llamacpp-qwen").unwrap_err().to_string();
    assert!(unknown.contains("did you mean \"llamacpp-qwen3\"?"), "{unknown}");
    let broken = catalogue.find("broken").unwrap_err().to_string();
    assert!(broken.contains("compose.yaml:"), "{broken}");
    assert!(catalogue.find("chat").is_ok());
}

#[test]
fn a_launcher_before_the_server_keeps_its_flags_to_itself() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("compose.yaml");
    let command = "numactl -N 0 /app/llama-server -m /m.gguf -b 64";
    std::fs::write(&path, format!("services: {{s: {{image: x, command: {command}}}}}")).unwrap();
    let catalogue = Catalogue::load(&[path], &[], &Environment::new());
    let service = catalogue.get("s").unwrap();
    assert_eq!((service.kind, flags(service)), (ServiceKind::LlamaCpp, vec![("-b", "64")]));
}

#[test]
fn a_runs_params_applied_to_both_files_are_what_the_service_then_has() {
    use crate::plan::flag_map::{from_server, to_server};
    use crate::plan::service_edit::{FlagChange, edit_compose};
    use crate::plan::services_json_edit::edit_services_json;

    let directory = tempfile::tempdir().unwrap();
    let compose = directory.path().join("docker-compose.yml");
    let json = directory.path().join("services.json");
    let params = [("-p", "512"), ("-b", "4096"), ("-fa", "off"), ("-nkvo", "0"), ("-ts", "3/1"), ("-r", "5")];
    let changes: Vec<_> = params
        .iter()
        .filter_map(|(name, value)| FlagChange::from_translation(&to_server(name, value)))
        .collect();
    let read = |name: &str| std::fs::read_to_string(fixture("llm-dock").join(name)).unwrap();
    let edited = edit_compose(&read("docker-compose.yml"), "llamacpp-qwen3", &changes).unwrap();
    std::fs::write(&compose, edited.new_text).unwrap();
    let listed = edit_services_json(&read("services.json"), "llamacpp-qwen3", &changes).unwrap();
    assert_eq!(listed.changes, edited.changes);
    std::fs::write(&json, listed.new_text).unwrap();

    let catalogue = Catalogue::load(&[compose], &[json], &Environment::new());
    let service = catalogue.get("llamacpp-qwen3").unwrap();
    let (bench, _) = from_server(&service.flags);
    let expected = [("-ngl", "99"), ("-fa", "off"), ("-b", "4096"), ("-ts", "3/1")];
    assert_eq!(bench, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}
