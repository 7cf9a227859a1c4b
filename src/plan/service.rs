//! An inference service that users run, as the compose file and `services.json` describe it.
//! Plain data: `service/` reads it, plans are made of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::run::step::{ContainerSpec, MountSource};

/// What serves in it. Decided in one place, `service::catalogue`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceKind {
    LlamaCpp,
    Vllm,
    Ollama,
    /// benchlet's own stand-in; what it yields is marked simulated.
    Simulated,
    #[default]
    Other,
}

impl ServiceKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LlamaCpp => "llama.cpp",
            Self::Vllm => "vLLM",
            Self::Ollama => "Ollama",
            Self::Simulated => "simulated",
            Self::Other => "unknown",
        }
    }

    /// Variables by which the server takes the keys that it asks its clients for.
    pub fn key_variables(self) -> &'static [&'static str] {
        match self {
            Self::LlamaCpp => &["LLAMA_API_KEY", "LLAMA_ARG_API_KEY"],
            Self::Vllm => &["VLLM_API_KEY"],
            Self::Ollama | Self::Simulated | Self::Other => &[],
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Service {
    pub name: String,
    pub kind: ServiceKind,
    /// Everything of its container but command and entrypoint. `container.image` is empty where the
    /// compose file only builds and names no image.
    pub container: ContainerSpec,
    pub env: BTreeMap<String, String>,
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
    pub ports: Vec<Port>,
    pub model: ModelReference,
    /// The server's own flags in their order, spelled as the service spells them, without the
    /// program, the model and what is secret.
    pub flags: Vec<ServerFlag>,
    pub origin: Origin,
    /// Texts that must never be shown (API keys).
    pub secrets: Vec<String>,
    /// The key that its own server asks for, the first where it takes several. Among the secrets too,
    /// which may be anything else, such as a token for a model hub.
    pub api_key: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    pub host: u16,
    pub container: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ModelReference {
    /// A file, by its path in the container.
    File(String),
    /// A model of a hub.
    Hub(String),
    #[default]
    Unknown,
}

/// A flag of the running server; `None` for a bare one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerFlag {
    pub name: String,
    pub value: Option<String>,
}

/// Where a service is defined, for running it and for writing it back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    pub compose_file: Option<PathBuf>,
    /// The compose project, by which running containers are found (`com.docker.compose.project`).
    pub project: Option<String>,
    pub container_name: Option<String>,
    pub services_json: Option<PathBuf>,
}

impl Service {
    /// Where a path in the container lies on the host, through the longest bind mount that holds it.
    pub fn host_path(&self, container_path: &str) -> Option<PathBuf> {
        let path = Path::new(container_path);
        self.container
            .mounts
            .iter()
            .filter_map(|mount| {
                let rest = path.strip_prefix(&mount.target).ok()?;
                match &mount.source {
                    // Joined with nothing, the path of a file that is mounted itself would end in a slash.
                    MountSource::Bind(source) if rest.as_os_str().is_empty() => {
                        Some((mount.target.len(), source.clone()))
                    }
                    MountSource::Bind(source) => Some((mount.target.len(), source.join(rest))),
                    MountSource::Volume(_) | MountSource::Tmpfs => None,
                }
            })
            .max_by_key(|(length, _)| *length)
            .map(|(_, host)| host)
    }

    /// The text with every secret replaced by `***`.
    pub fn masked(&self, text: &str) -> String {
        self.secrets
            .iter()
            .filter(|secret| !secret.is_empty())
            .fold(text.to_owned(), |masked, secret| masked.replace(secret.as_str(), "***"))
    }
}

/// Whether an environment variable's name says that its value is a secret.
pub fn looks_secret(name: &str) -> bool {
    let upper = name.to_uppercase();
    ["KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL"].iter().any(|word| upper.contains(word))
}
