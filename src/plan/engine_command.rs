//! The command of an engine that is started for a run: the service's own words with a port that is
//! known, what a preset and a request put over its flags, and without its API key, which nobody on the
//! loopback address needs. Pure.

use super::flag_map;
use super::server_flags::{FlagAt, ValueAt, flags_of, is_flag, shell_script};
use super::service::{Service, ServiceKind};
use crate::request::flags::Param;
use crate::request::load_test::EnginePreset;
use crate::run::reason::{Reason, Refusal};

/// The words after the program, and the port in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineCommand {
    /// Entry point and command; only the command where the image's own entry point goes first.
    pub argv: Vec<String>,
    pub port: u16,
    pub image_entrypoint: bool,
}

/// Left out: keys, which no plan may hold, and TLS, which the loopback address does not need. A token for
/// a model hub comes through the environment when the engine starts.
const SECRETS_AND_TLS: [&str; 9] = [
    "--api-key",
    "--api-key-file",
    "--ssl-key-file",
    "--ssl-cert-file",
    "--ssl-keyfile",
    "--ssl-certfile",
    "--ssl-key-password",
    "-hft",
    "--hf-token",
];

/// # Errors
/// A service whose command cannot be given other flags.
pub fn engine_command(
    service: &Service,
    preset: Option<EnginePreset>,
    params: &[Param],
) -> Result<EngineCommand, Refusal> {
    let mut argv: Vec<String> = service.entrypoint.iter().chain(&service.command).cloned().collect();
    let unusable = |message: String, hint: &str| Refusal::new(Reason::ServiceUnusable, message).hint(hint);
    if shell_script(&argv).is_some() {
        return Err(unusable(
            format!(
                "the service {} starts its server in a shell script, where no port can be set",
                service.name
            ),
            "write its command as the server's own words, or measure it with lifecycle: Running",
        ));
    }
    for name in SECRETS_AND_TLS {
        remove(&mut argv, name);
    }
    let port = match service.kind {
        ServiceKind::LlamaCpp | ServiceKind::Vllm => {
            let usual = if service.kind == ServiceKind::Vllm { 8000 } else { 8080 };
            let own = value_of(&argv, "--port").and_then(|port| port.parse().ok());
            let port = own.unwrap_or(usual);
            set(&mut argv, "--port", Some(&port.to_string()));
            set(&mut argv, "--host", Some("0.0.0.0"));
            port
        }
        ServiceKind::Ollama => 11434,
        ServiceKind::Simulated | ServiceKind::Other => {
            let Some(port) = service.ports.first() else {
                return Err(unusable(
                    format!(
                        "the service {} publishes no port, and what serves in it is not known",
                        service.name
                    ),
                    "give it `ports` in the compose file",
                ));
            };
            port.container
        }
    };
    let over: Vec<(String, String)> = preset_flags(preset, service.kind)
        .into_iter()
        .map(|(flag, value)| (flag.to_owned(), value.to_owned()))
        .chain(params.iter().map(|param| (spelled(&param.flag, service.kind), param.value.clone())))
        .collect();
    let takes_flags = matches!(service.kind, ServiceKind::LlamaCpp | ServiceKind::Vllm);
    if !takes_flags && (preset.is_some() || !over.is_empty()) {
        return Err(unusable(
            format!(
                "the service {} is {}, whose server takes no flags of a request",
                service.name,
                service.kind.as_str()
            ),
            "take preset and params out of the target",
        ));
    }
    for (flag, value) in over {
        put(&mut argv, &flag, &value, service.kind);
    }
    Ok(EngineCommand { image_entrypoint: service.entrypoint.is_empty(), argv, port })
}

/// The flags of a preset. `SingleUser`: one request at a time, lowest latency. `Debug`: starts fast and
/// small.
fn preset_flags(preset: Option<EnginePreset>, kind: ServiceKind) -> Vec<(&'static str, &'static str)> {
    match (preset, kind) {
        (Some(EnginePreset::SingleUser), ServiceKind::Vllm) => vec![
            ("--max-num-batched-tokens", "512"),
            ("--max-num-seqs", "2"),
            ("--enforce-eager", "true"),
            ("--enable-prefix-caching", "true"),
        ],
        (Some(EnginePreset::SingleUser), ServiceKind::LlamaCpp) => vec![("--parallel", "1")],
        (Some(EnginePreset::Debug), ServiceKind::Vllm) => {
            vec![("--enforce-eager", "true"), ("--max-num-seqs", "4"), ("--max-model-len", "2048")]
        }
        (Some(EnginePreset::Debug), ServiceKind::LlamaCpp) => {
            vec![("--parallel", "1"), ("--ctx-size", "2048"), ("--no-warmup", "true")]
        }
        (Some(_), ServiceKind::Ollama | ServiceKind::Other | ServiceKind::Simulated) | (None, _) => {
            Vec::new()
        }
    }
}

/// `max_model_len` is `--max-model-len`; what has one dash is taken as it stands.
fn spelled(flag: &str, kind: ServiceKind) -> String {
    if flag.starts_with('-') && !flag.starts_with("--") {
        return flag.to_owned();
    }
    let words = flag.trim_start_matches('-').replace('_', "-");
    // Short flags are llama.cpp's alone: `ngl` is `-ngl`.
    if kind == ServiceKind::LlamaCpp && words.len() <= 3 { format!("-{words}") } else { format!("--{words}") }
}

/// Sets a flag to a value. `true` and nothing make it bare; `false` takes it out, and with vLLM says so,
/// because some of its switches are on by themselves.
fn put(argv: &mut Vec<String>, flag: &str, value: &str, kind: ServiceKind) {
    match value {
        "" | "true" => set(argv, flag, None),
        "false" => {
            remove(argv, flag);
            if kind == ServiceKind::Vllm
                && let Some(name) = flag.strip_prefix("--")
            {
                set(argv, &format!("--no-{name}"), None);
            }
        }
        value => set(argv, flag, Some(value)),
    }
}

/// Whether two spellings are the same flag of a server.
fn same(a: &str, b: &str) -> bool {
    const PAIRS: [(&str, &str); 4] =
        [("-c", "--ctx-size"), ("-np", "--parallel"), ("-n", "--predict"), ("-a", "--alias")];
    let dashed = |flag: &str| flag.replace('_', "-");
    let pair = |a: &str, b: &str| {
        PAIRS.iter().any(|(short, long)| (a, b) == (*short, *long) || (b, a) == (*short, *long))
    };
    dashed(a) == dashed(b) || pair(a, b) || flag_map::same_flag(a, b)
}

fn find(argv: &[String], flag: &str) -> Option<FlagAt> {
    flags_of(argv).into_iter().rfind(|known| same(&known.name, flag))
}

fn value_of(argv: &[String], flag: &str) -> Option<String> {
    find(argv, flag)?.value().map(str::to_owned)
}

/// Takes a flag out with all its values, of which some flags have several.
fn remove(argv: &mut Vec<String>, flag: &str) {
    while let Some(found) = find(argv, flag) {
        let more = argv[found.last() + 1..].iter().take_while(|word| !is_flag(word)).count();
        let more = if matches!(found.value, ValueAt::Next(_)) { more } else { 0 };
        argv.drain(found.at..=found.last() + more);
    }
}

fn set(argv: &mut Vec<String>, flag: &str, value: Option<&str>) {
    match (find(argv, flag), value) {
        (Some(found), Some(value)) => match found.value {
            ValueAt::Next(_) => argv[found.at + 1] = value.to_owned(),
            ValueAt::Joined(_) => argv[found.at] = format!("{}={value}", found.name),
            ValueAt::Bare => argv.insert(found.at + 1, value.to_owned()),
        },
        (Some(found), None) => {
            if let ValueAt::Next(_) = found.value {
                argv.remove(found.at + 1);
            }
        }
        (None, value) => {
            argv.push(flag.to_owned());
            argv.extend(value.map(str::to_owned));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::service::Port;

    fn service(kind: ServiceKind, words: &str) -> Service {
        Service {
            name: "s".to_owned(),
            kind,
            command: words.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect(),
            ..Service::default()
        }
    }

    fn command(
        kind: ServiceKind,
        words: &str,
        preset: Option<EnginePreset>,
        params: &[(&str, &str)],
    ) -> String {
        let params: Vec<Param> = params
            .iter()
            .map(|(flag, value)| Param { flag: (*flag).to_owned(), value: (*value).to_owned() })
            .collect();
        engine_command(&service(kind, words), preset, &params).unwrap().argv.join(" ")
    }

    #[test]
    fn the_port_is_always_said_and_the_key_never() {
        assert_eq!(
            command(
                ServiceKind::LlamaCpp,
                "llama-server -m /m/a.gguf --api-key sk-1 --host 127.0.0.1",
                None,
                &[]
            ),
            "llama-server -m /m/a.gguf --host 0.0.0.0 --port 8080"
        );
        assert_eq!(
            command(ServiceKind::Vllm, "vllm serve qwen --api-key sk-1 sk-2 --port=9000", None, &[]),
            "vllm serve qwen --port=9000 --host 0.0.0.0"
        );
    }

    #[test]
    fn presets_and_params_go_over_the_services_own_flags() {
        assert_eq!(
            command(
                ServiceKind::LlamaCpp,
                "llama-server -m a -np 4 -c 8192 --port 1 --host 0.0.0.0",
                Some(EnginePreset::SingleUser),
                &[("ctx_size", "1024"), ("-b", "64")]
            ),
            "llama-server -m a -np 1 -c 1024 --port 1 --host 0.0.0.0 -b 64"
        );
        assert_eq!(
            command(
                ServiceKind::Vllm,
                "vllm serve q --port 1 --host 0.0.0.0",
                Some(EnginePreset::SingleUser),
                &[
                    ("max_num_seqs", "8"),
                    ("enable_prefix_caching", "false"),
                    ("gpu_memory_utilization", "0.5")
                ]
            ),
            "vllm serve q --port 1 --host 0.0.0.0 --max-num-batched-tokens 512 --max-num-seqs 8 --enforce-eager \
             --no-enable-prefix-caching --gpu-memory-utilization 0.5"
        );
    }

    #[test]
    fn where_the_service_names_no_entry_point_the_images_own_stays() {
        let made = engine_command(&service(ServiceKind::LlamaCpp, "-m a --port 5000"), None, &[]).unwrap();
        assert!(made.image_entrypoint);
        assert_eq!(made.port, 5000);
        let mut own = service(ServiceKind::LlamaCpp, "-m a");
        own.entrypoint = vec!["/app/llama-server".to_owned()];
        let made = engine_command(&own, None, &[]).unwrap();
        assert!(!made.image_entrypoint);
        assert_eq!(made.argv[..3], ["/app/llama-server", "-m", "a"]);
    }

    #[test]
    fn what_takes_no_flags_is_refused_with_the_reason() {
        let mut other = service(ServiceKind::Other, "serve-it");
        let said = engine_command(&other, None, &[]).unwrap_err();
        assert!(said.message.contains("publishes no port"), "{}", said.message);
        other.ports = vec![Port { host: 1, container: 7000 }];
        assert_eq!(engine_command(&other, None, &[]).unwrap().port, 7000);
        let params = [Param { flag: "x".to_owned(), value: "1".to_owned() }];
        assert!(engine_command(&other, None, &params).is_err());
        let script = service(ServiceKind::LlamaCpp, "sh -c llama-server");
        assert!(engine_command(&script, None, &[]).unwrap_err().message.contains("shell script"));
    }
}
