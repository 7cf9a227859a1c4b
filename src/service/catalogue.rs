//! The services that the compose files and `services.json` files define together: what serves in
//! each, with which model, flags and secrets.

use std::path::{Path, PathBuf};

use crate::plan::flag_map::{Class, FLAGS, of_server, same_spelling};
use crate::plan::server_flags::{flags_of, shell_script};
use crate::plan::service::{ModelReference, Origin, Port, ServerFlag, Service, ServiceKind};
use crate::plan::shell_words;
use crate::request::diagnostic::{Diagnostic, Place, did_you_mean};
use crate::run::step::ContainerSpec;

use super::compose::{self, ComposeService};
use super::services_json::{self, ListedService};
use super::{Environment, Problem};

/// Every service that could be read, and every problem of the files.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    services: Vec<Service>,
    problems: Vec<Problem>,
}

/// Why there is no such service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    #[error("there is no service \"{name}\"{hint}")]
    Unknown { name: String, hint: String },
    #[error("the service \"{name}\" cannot be used: {problem}")]
    Broken { name: String, problem: String },
}

impl Catalogue {
    /// Reads all files. What is wrong with one file or service is collected and hides no other.
    /// Where two files define a service of one name, the first one counts.
    pub fn load(compose: &[PathBuf], services_json: &[PathBuf], environment: &Environment) -> Self {
        let mut catalogue = Self::default();
        for path in compose {
            let file = compose::load(path, environment);
            catalogue.problems.extend(file.problems);
            for service in file.services {
                if catalogue.clashes(&service.name, path) {
                    continue;
                }
                let origin = Origin {
                    compose_file: Some(path.clone()),
                    project: Some(file.project.clone()),
                    container_name: service.container_name.clone(),
                    services_json: None,
                };
                catalogue.services.push(described(service, origin));
            }
        }
        for path in services_json {
            let (listed, problems) = services_json::load(path);
            catalogue.problems.extend(problems);
            for service in listed {
                match catalogue.services.iter_mut().find(|known| known.name == service.name) {
                    Some(known) if known.origin.services_json.is_none() => complete(known, service, path),
                    Some(_) => drop(catalogue.clashes(&service.name, path)),
                    None => catalogue.services.push(only_listed(service, path)),
                }
            }
        }
        catalogue
    }

    fn clashes(&mut self, name: &str, path: &Path) -> bool {
        let Some(known) = self.get(name) else {
            return false;
        };
        let first = known.origin.compose_file.as_ref().or(known.origin.services_json.as_ref());
        let first = first.map_or_else(String::new, |path| path.display().to_string());
        let message = format!("the service \"{name}\" is defined in {first} already, and that one counts");
        self.problems.push(Problem {
            path: path.to_path_buf(),
            service: Some(name.to_owned()),
            problem: Diagnostic::warning(Place::whole_file(), message).locate(""),
        });
        true
    }

    pub fn get(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }

    /// The service, or a sentence that says why not, with what may have been meant.
    ///
    /// # Errors
    /// Where no file defines it, or its definition has errors.
    pub fn find(&self, name: &str) -> Result<&Service, ServiceError> {
        if let Some(service) = self.get(name) {
            return Ok(service);
        }
        let broken = self.problems.iter().find(|problem| problem.service.as_deref() == Some(name));
        if let Some(problem) = broken {
            return Err(ServiceError::Broken { name: name.to_owned(), problem: problem.to_string() });
        }
        let hint = match did_you_mean(name, self.names()) {
            Some(meant) => format!(" ({meant})"),
            None if self.services.is_empty() => " (no compose file defines any)".to_owned(),
            None => format!(" (there are {})", self.names().collect::<Vec<_>>().join(", ")),
        };
        Err(ServiceError::Unknown { name: name.to_owned(), hint })
    }

    /// The services' names, in the files' order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.services.iter().map(|service| service.name.as_str())
    }

    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// What is wrong with the files and with services in them.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

/// What serves in a container: the one place that decides it. LLM-Dock's template says so outright,
/// else the program does, else the image's name.
fn kind_of(template_type: Option<&str>, image: &str, arguments: &[String]) -> ServiceKind {
    match template_type.map(str::to_ascii_lowercase).as_deref() {
        Some("llamacpp" | "llama.cpp" | "llama-cpp") => return ServiceKind::LlamaCpp,
        Some("vllm") => return ServiceKind::Vllm,
        Some("ollama") => return ServiceKind::Ollama,
        Some(_) | None => {}
    }
    let base = |path: &str| path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let program = arguments.first().map(|program| base(program)).unwrap_or_default();
    if llama_server(arguments).is_some() {
        return ServiceKind::LlamaCpp;
    }
    if program == "vllm" || arguments.iter().any(|argument| argument.starts_with("vllm.entrypoints")) {
        return ServiceKind::Vllm;
    }
    if program == "ollama" {
        return ServiceKind::Ollama;
    }
    if program == "benchlet" && arguments.get(1).is_some_and(|verb| verb == "sim") {
        return ServiceKind::Simulated;
    }
    let image = image.split('@').next().unwrap_or(image).to_ascii_lowercase();
    let last = base(&image);
    let name = last.split(':').next().unwrap_or(&last);
    let of = |words: &[&str]| words.iter().any(|word| name.contains(word));
    match name {
        "benchlet" if arguments.first().is_some_and(|verb| verb == "sim") => ServiceKind::Simulated,
        // Its server is another program with flags of its own.
        _ if of(&["llama-cpp-python", "llama_cpp_python"]) => ServiceKind::Other,
        _ if of(&["llama.cpp", "llama-cpp", "llamacpp", "llama-server"]) => ServiceKind::LlamaCpp,
        _ if of(&["vllm"]) => ServiceKind::Vllm,
        "ollama" => ServiceKind::Ollama,
        _ => ServiceKind::Other,
    }
}

/// Where llama-server itself stands, perhaps behind a launcher such as numactl or tini.
fn llama_server(arguments: &[String]) -> Option<usize> {
    let program = |argument: &String| {
        argument.rsplit('/').next().is_some_and(|name| name == "llama-server" || name == "llama-server.exe")
    };
    arguments.iter().position(program)
}

fn described(service: ComposeService, origin: Origin) -> Service {
    let arguments = server_arguments(&service.entrypoint, &service.command);
    let kind = kind_of(None, &service.container.image, &arguments);
    let mut result = Service {
        name: service.name,
        kind,
        container: service.container,
        env: service.env,
        entrypoint: service.entrypoint,
        command: service.command,
        ports: service.ports,
        model: ModelReference::Unknown,
        flags: Vec::new(),
        origin,
        secrets: Vec::new(),
        api_key: None,
    };
    let own = llama_server(&arguments).map_or(0, |at| at + 1);
    let all = flags_of(&arguments[own..])
        .into_iter()
        .map(|flag| ServerFlag { value: flag.value().map(str::to_owned), name: flag.name });
    let all: Vec<ServerFlag> = all.collect();
    result.model = model_of(&result, &arguments, &all);
    result.secrets.extend(env_secrets(&result.env));
    take_flags(&mut result, all);
    take_environment_key(&mut result);
    add_environment_flags(&mut result);
    sort_secrets(&mut result);
    result
}

/// Program and arguments as the container runs them; those of a plain script behind `sh -c`.
fn server_arguments(entrypoint: &[String], command: &[String]) -> Vec<String> {
    let all = [entrypoint, command].concat();
    let Some(script) = shell_script(&all) else {
        return all;
    };
    let words = shell_words::split(script).map(|words| words.words).unwrap_or_default();
    let words: Vec<String> = words.into_iter().map(|word| word.text).collect();
    match words.split_first() {
        Some((first, rest)) if first == "exec" => rest.to_vec(),
        _ => words,
    }
}

fn model_of(service: &Service, arguments: &[String], flags: &[ServerFlag]) -> ModelReference {
    let flag = |names: &[&str]| {
        let named = |flag: &&ServerFlag| names.iter().any(|name| same_spelling(name, &flag.name));
        flags.iter().rev().find(named).and_then(|flag| flag.value.clone())
    };
    let env = |name: &str| service.env.get(name).filter(|value| !value.is_empty()).cloned();
    let hub = |name: Option<String>| name.map_or(ModelReference::Unknown, ModelReference::Hub);
    match service.kind {
        ServiceKind::LlamaCpp => match flag(&["-m", "--model"]).or_else(|| env("LLAMA_ARG_MODEL")) {
            Some(path) => ModelReference::File(path),
            None => hub(flag(&["-hf", "-hfr", "--hf-repo"]).or_else(|| env("LLAMA_ARG_HF_REPO"))),
        },
        ServiceKind::Vllm => {
            let served = arguments.iter().position(|argument| argument == "serve");
            let positional = served.and_then(|at| arguments.get(at + 1)).filter(|it| !it.starts_with('-'));
            match flag(&["--model"]).or_else(|| positional.cloned()) {
                Some(path) if path.starts_with('/') => ModelReference::File(path),
                name => hub(name),
            }
        }
        ServiceKind::Simulated | ServiceKind::Other => hub(flag(&["--model"])),
        // Ollama loads what a request names.
        ServiceKind::Ollama => ModelReference::Unknown,
    }
}

/// Keeps the flags but for the model's; values that are secret go where they can be masked.
fn take_flags(service: &mut Service, flags: Vec<ServerFlag>) {
    const MODEL: [&str; 8] =
        ["-m", "--model", "-hf", "-hfr", "--hf-repo", "-hff", "--hf-file", "--model-url"];
    const SECRET: [&str; 4] = ["--api-key", "-hft", "--hf-token", "--ssl-key-password"];
    let among = |name: &str, names: &[&str]| names.iter().any(|known| same_spelling(known, name));
    for flag in flags {
        if among(&flag.name, &SECRET) {
            if flag.name == "--api-key" {
                service.api_key = flag.value.as_deref().and_then(first_key);
            }
            service.secrets.extend(flag.value.into_iter().flat_map(|value| parts(&value)));
        } else if !among(&flag.name, &MODEL) {
            service.flags.push(flag);
        }
    }
}

/// The key by the variable that the server itself reads, where its command names none.
fn take_environment_key(service: &mut Service) {
    if service.api_key.is_none() {
        service.api_key =
            service.kind.key_variables().iter().find_map(|name| first_key(service.env.get(*name)?));
    }
}

fn first_key(value: &str) -> Option<String> {
    value.split(',').map(str::trim).find(|key| !key.is_empty()).map(str::to_owned)
}

/// Several keys can be given with commas between them.
fn parts(value: &str) -> Vec<String> {
    let mut all = vec![value.to_owned()];
    if value.contains(',') {
        all.extend(value.split(',').map(|part| part.trim().to_owned()));
    }
    all
}

fn env_secrets<'e>(env: impl IntoIterator<Item = (&'e String, &'e String)>) -> Vec<String> {
    let secret = |name: &str| {
        name.to_ascii_uppercase().split(['_', '-']).any(|part| {
            matches!(part, "KEY" | "KEYS" | "APIKEY" | "TOKEN" | "SECRET" | "SECRETS" | "PASSWORD" | "PASSWD")
        })
    };
    env.into_iter().filter(|(name, _)| secret(name)).flat_map(|(_, value)| parts(value)).collect()
}

/// Settings by `LLAMA_ARG_…`, where the command does not say otherwise: it wins.
fn add_environment_flags(service: &mut Service) {
    if service.kind != ServiceKind::LlamaCpp {
        return;
    }
    for flag in FLAGS {
        let Some(value) = flag.env.and_then(|name| service.env.get(name)) else {
            continue;
        };
        let said = |known: &ServerFlag| of_server(&known.name).is_some_and(|known| std::ptr::eq(known, flag));
        if service.flags.iter().any(said) {
            continue;
        }
        let truth = match value.to_ascii_lowercase().as_str() {
            "1" | "true" | "on" | "enabled" => Some(true),
            "0" | "false" | "off" | "disabled" => Some(false),
            _ => None,
        };
        let (name, value) = match &flag.class {
            Class::Same { .. } | Class::Separated { .. } => (Some(flag.spellings[0]), Some(value.clone())),
            Class::Switch { on, off, .. } => {
                // The variable is named for the positive: LLAMA_ARG_KV_OFFLOAD=0 is --no-kv-offload.
                let positive = off.iter().any(|name| name.contains("no-"))
                    || !on.iter().any(|name| name.contains("no-"))
                    || flag.env == Some("LLAMA_ARG_NO_HOST");
                let name = match truth {
                    Some(truth) if truth == positive => on.first(),
                    Some(_) => off.first(),
                    None => None,
                };
                (name.copied(), None)
            }
            Class::BenchmarkOnly => (None, None),
        };
        service.flags.extend(name.map(|name| ServerFlag { name: name.to_owned(), value }));
    }
}

/// Adds what `services.json` knows to a service of a compose file, which defines the container.
fn complete(service: &mut Service, listed: ListedService, path: &Path) {
    service.origin.services_json = Some(path.to_path_buf());
    let arguments = server_arguments(&service.entrypoint, &service.command);
    service.kind = kind_of(listed.template_type.as_deref(), &service.container.image, &arguments);
    if service.model == ModelReference::Unknown {
        service.model = listed.model;
    }
    if service.command.is_empty() && service.entrypoint.is_empty() {
        take_flags(service, listed.flags);
    } else if listed.flags.iter().any(|flag| flag.name == "--api-key") {
        let keys = listed.flags.into_iter().filter(|flag| flag.name == "--api-key");
        service.secrets.extend(keys.filter_map(|flag| flag.value));
    }
    service.api_key = service.api_key.take().or_else(|| first_key(listed.api_key.as_deref()?));
    service.secrets.extend(listed.api_key);
    let env: Vec<_> = listed.env.iter().map(|(name, value)| (name, value)).collect();
    service.secrets.extend(env_secrets(env));
    sort_secrets(service);
}

fn only_listed(listed: ListedService, path: &Path) -> Service {
    let kind = kind_of(listed.template_type.as_deref(), "", &[]);
    // As LLM-Dock's templates have them.
    let container = if kind == ServiceKind::Vllm { 8000 } else { 8080 };
    let env = listed.env.into_iter().collect();
    let mut service = Service {
        kind,
        name: listed.name,
        container: ContainerSpec::default(),
        secrets: env_secrets(&env),
        env,
        entrypoint: Vec::new(),
        command: Vec::new(),
        ports: listed.port.map(|host| Port { host, container }).into_iter().collect(),
        model: listed.model,
        flags: Vec::new(),
        origin: Origin {
            compose_file: None,
            project: None,
            container_name: None,
            services_json: Some(path.to_path_buf()),
        },
        api_key: None,
    };
    take_flags(&mut service, listed.flags);
    service.api_key = service.api_key.take().or_else(|| first_key(listed.api_key.as_deref()?));
    service.secrets.extend(listed.api_key);
    sort_secrets(&mut service);
    service
}

/// Longest first, so that a secret within another one does not leave the rest of it readable.
fn sort_secrets(service: &mut Service) {
    service.secrets.retain(|secret| !secret.is_empty());
    service.secrets.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    service.secrets.dedup();
}

#[cfg(test)]
#[path = "catalogue_tests.rs"]
mod tests;
