//! How a service of the user's own is spoken to: its dialect, where it is reached, and what of its environment an
//! engine of it is given. No secret of it gets any further than the name of its service.

use std::collections::BTreeMap;

use super::service::{Service, ServiceKind, looks_secret};
use crate::run::measure_plan::{Dialect, KeySource};
use crate::run::reason::{Reason, Refusal};

/// The dialect of the engine that serves in it.
///
/// # Errors
/// It is not known which that is.
pub fn of_service(service: &Service) -> Result<Dialect, Refusal> {
    match service.kind {
        ServiceKind::LlamaCpp => Ok(Dialect::LlamaCpp),
        ServiceKind::Vllm => Ok(Dialect::Vllm),
        ServiceKind::Ollama => Ok(Dialect::Ollama),
        ServiceKind::Simulated => Ok(Dialect::OpenAi),
        ServiceKind::Other => Err(Refusal::new(
            Reason::EngineUnknown,
            format!("it is not known which engine serves in {}", service.name),
        )
        .hint("name it in the target: engine: openai")),
    }
}

/// The environment of a service without what is secret: names that say so, and values in which a secret
/// stands. The engine is given the former from the service's own files as it starts.
pub fn open_env(service: &Service) -> BTreeMap<String, String> {
    // A key such as "1234" may stand in a value by chance, so a short one has to be the whole of it.
    const LONG_ENOUGH: usize = 8;
    let holds = |value: &String, secret: &String| {
        value == secret || (secret.len() >= LONG_ENOUGH && value.contains(secret.as_str()))
    };
    let open = |name: &str, value: &String| {
        !looks_secret(name) && !service.secrets.iter().any(|secret| holds(value, secret))
    };
    let kept = service.env.iter().filter(|(name, value)| open(name, value));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Where a service that runs is reached from this machine, and its key where its command has one.
///
/// # Errors
/// It publishes no port.
pub fn running_url(service: &Service) -> Result<(String, Option<KeySource>), Refusal> {
    let container = match service.kind {
        ServiceKind::LlamaCpp | ServiceKind::Vllm => {
            let flag = service.flags.iter().rfind(|flag| flag.name == "--port");
            flag.and_then(|flag| flag.value.as_ref()?.parse::<u16>().ok())
        }
        ServiceKind::Ollama | ServiceKind::Simulated | ServiceKind::Other => None,
    };
    let published = |port: Option<u16>| {
        service.ports.iter().find(|known| port.is_none_or(|port| known.container == port))
    };
    let Some(port) = published(container).or_else(|| published(None)) else {
        let message = format!("the service {} publishes no port on this machine", service.name);
        return Err(Refusal::new(Reason::ServiceUnusable, message)
            .hint("give it `ports` in the compose file, or set lifecycle: Managed, or name a url"));
    };
    let key = service.api_key.is_some().then(|| KeySource::Service(service.name.clone()));
    Ok((format!("http://localhost:{}", port.host), key))
}
