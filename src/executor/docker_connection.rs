//! The way to a Docker daemon: where it is, whether it is new enough, and asking it with a limit, so
//! that a daemon that does not answer is told from one that refuses. Knows nothing of tasks.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker};
use tokio::time::timeout;

use super::ExecutorError;
use super::docker_container::Flavour;

/// The oldest API that this was tried against: Docker 20.10.
const MINIMUM_API: (u32, u32) = (1, 41);

/// How long a daemon may take for an answer that costs it nothing.
pub const ASK_LIMIT: Duration = Duration::from_secs(5);

/// How long it may take to make, start or remove a container: a GPU that must wake, a slow disk.
pub const CHANGE_LIMIT: Duration = Duration::from_secs(120);

/// What a daemon that answered has against a call.
#[derive(Debug)]
pub struct Refusal {
    pub status: u16,
    pub words: String,
}

impl Refusal {
    pub fn into_error(self, what: &str) -> ExecutorError {
        ExecutorError::Refused(format!("{what}: the daemon says: {}", self.words))
    }
}

/// Opens the daemon at an address and asks what it is.
pub async fn open(address: &str) -> Result<(Docker, Flavour), ExecutorError> {
    // Each call has its own limit; this one only has to be longer than any of them.
    let seconds = 2 * CHANGE_LIMIT.as_secs();
    let opened = match address.split_once("://") {
        Some(("unix", path)) => Docker::connect_with_unix(path, seconds, API_DEFAULT_VERSION),
        Some(("tcp" | "http", _)) => Docker::connect_with_http(address, seconds, API_DEFAULT_VERSION),
        Some(_) | None => {
            return Err(ExecutorError::Unreachable(format!(
                "DOCKER_HOST is {address:?}, and benchlet speaks to unix://PATH and tcp://HOST:PORT only; \
                 forward the socket, for instance with `ssh -L`"
            )));
        }
    };
    let docker = opened.map_err(|error| failure(&format!("Docker at {address}"), error))?;
    let version = ask("its version", ASK_LIMIT, docker.version())
        .await
        .map_err(|error| match error {
            ExecutorError::Unreachable(words) => {
                ExecutorError::Unreachable(format!("Docker at {address} does not answer: {words}"))
            }
            other => other,
        })?
        .map_err(|refusal| refusal.into_error(&format!("Docker at {address}")))?;
    let api = version.api_version.unwrap_or_default();
    if parse_version(&api).is_none_or(|version| version < MINIMUM_API) {
        return Err(ExecutorError::Refused(format!(
            "the daemon at {address} ({}) speaks API {api:?}, and benchlet needs 1.41 or newer; update to \
             Docker 20.10 or Podman 3",
            version.version.unwrap_or_default()
        )));
    }
    let components = version.components.unwrap_or_default();
    let podman = components.iter().any(|component| component.name.contains("Podman"));
    Ok((docker, if podman { Flavour::Podman } else { Flavour::Docker }))
}

/// Waits for an answer and tells a daemon that refuses from one that does not answer.
pub async fn ask<T>(
    what: &str,
    limit: Duration,
    call: impl Future<Output = Result<T, bollard::errors::Error>>,
) -> Result<Result<T, Refusal>, ExecutorError> {
    match timeout(limit, call).await {
        Ok(Ok(answer)) => Ok(Ok(answer)),
        Ok(Err(bollard::errors::Error::DockerResponseServerError { status_code, message }))
            if !is_gateway(status_code) =>
        {
            Ok(Err(Refusal { status: status_code, words: message.trim().to_owned() }))
        }
        Ok(Err(error)) => Err(failure(what, error)),
        Err(_) => Err(ExecutorError::Unreachable(format!(
            "{what}: the Docker daemon did not answer within {} s",
            limit.as_secs()
        ))),
    }
}

/// Answers of a proxy in front of a daemon that is not there.
fn is_gateway(status: u16) -> bool {
    matches!(status, 502..=504)
}

/// The error of a call that brought no answer, with everything that its causes say.
pub fn failure(what: &str, error: bollard::errors::Error) -> ExecutorError {
    use bollard::errors::Error;
    match error {
        Error::DockerResponseServerError { status_code, message } if !is_gateway(status_code) => {
            Refusal { status: status_code, words: message.trim().to_owned() }.into_error(what)
        }
        Error::DockerStreamError { error } => Refusal { status: 200, words: error }.into_error(what),
        Error::JsonDataError { .. } | Error::JsonSerdeError { .. } => {
            ExecutorError::Refused(format!("{what}: the daemon's answer cannot be read: {error}"))
        }
        error => {
            let mut words = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(inner) = cause {
                let inner_words = inner.to_string();
                if !words.contains(&inner_words) {
                    words = format!("{words}: {inner_words}");
                }
                cause = inner.source();
            }
            if words.contains("Permission denied") {
                words.push_str("; is this user in the group docker?");
            }
            ExecutorError::Unreachable(format!("{what}: {words}"))
        }
    }
}

/// Where the daemon is: `DOCKER_HOST`, else the first local socket that exists.
pub fn daemon_address() -> Result<String, ExecutorError> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(host) = variable("DOCKER_HOST") {
        if variable("DOCKER_TLS_VERIFY").is_some() {
            return Err(ExecutorError::Unreachable(format!(
                "DOCKER_TLS_VERIFY is set for {host}, and benchlet does not speak TLS to Docker; forward the \
                 socket, for instance with `ssh -L`"
            )));
        }
        return Ok(host);
    }
    let mut sockets = vec!["/var/run/docker.sock".to_owned()];
    if let Some(folder) = variable("XDG_RUNTIME_DIR") {
        sockets.push(format!("{folder}/docker.sock"));
        sockets.push(format!("{folder}/podman/podman.sock"));
    }
    sockets.push("/run/podman/podman.sock".to_owned());
    match sockets.iter().find(|socket| Path::new(socket).exists()) {
        Some(socket) => Ok(format!("unix://{socket}")),
        None => Err(ExecutorError::Unreachable(format!(
            "no Docker here: none of {} exists; start Docker or set DOCKER_HOST",
            sockets.join(", ")
        ))),
    }
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert!(parse_version("1.9").unwrap() < MINIMUM_API);
        assert!(parse_version("1.41").unwrap() >= MINIMUM_API);
        assert_eq!(parse_version("one"), None);
    }
}
