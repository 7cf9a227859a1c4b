//! Recreates a service's container through Docker's compose plugin and sees that it runs with the
//! wanted flags and serves. Writes no file and journals nothing.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

use super::apply_files::compose_files;
use crate::executor::{ContainerRunState, DockerExecutor, RunningContainer};
use crate::plan::applied_check::unmet;
use crate::plan::flag_map::same_spelling;
use crate::plan::service::Service;
use crate::plan::service_edit::FlagChange;

/// Longest answer of `docker compose version`.
const ASK_LIMIT: Duration = Duration::from_secs(30);
/// Longest `docker compose up`; it may have to pull an image.
const UP_LIMIT: Duration = Duration::from_secs(600);
/// Longest time to load the model.
const HEALTH_LIMIT: Duration = Duration::from_secs(600);
/// One look at `/health`.
const GET_LIMIT: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// A server that cannot be asked has to run for this long.
const STEADY: Duration = Duration::from_secs(5);
/// A container that is seen restarting this often does not come up.
const MOST_RESTARTS: u32 = 5;
/// Of a program's last words, in bytes.
const WORDS_KEPT: usize = 1500;

pub enum Restarted {
    /// What was seen.
    Yes(String),
    /// Why benchlet cannot do it here; nothing was touched.
    No(String),
}

/// How a container differs from the flags that it should have; empty where there is none, or it
/// cannot be asked.
pub async fn differing(docker: &DockerExecutor, service: &Service, wanted: &[FlagChange]) -> Vec<String> {
    let found = containers(docker, service).await.unwrap_or_default();
    found.iter().flat_map(|container| unmet(&container.args, wanted)).collect()
}

/// Recreates the container, compares its arguments and waits until it serves. Safe to repeat:
/// Compose leaves a container alone that is as the file says.
///
/// # Errors
/// What was seen instead, as the rest of a sentence. May hold secrets.
pub async fn recreate(
    docker: &DockerExecutor,
    service: &Service,
    wanted: &[FlagChange],
) -> Result<Restarted, String> {
    let files = compose_files(service);
    if files.is_empty() {
        return Ok(Restarted::No("no compose file defines the service".to_owned()));
    }
    if let Err(why) = docker_cli(&["compose".into(), "version".into()], ASK_LIMIT).await {
        return Ok(Restarted::No(format!("Docker's compose plugin does not answer ({why})")));
    }
    let mut arguments: Vec<std::ffi::OsString> = vec!["compose".into()];
    for file in files {
        arguments.extend(["-f".into(), file.into_os_string()]);
    }
    if let Some(project) = &service.origin.project {
        arguments.extend(["-p".into(), project.into()]);
    }
    let up = ["up", "-d", "--no-deps", "--"].map(Into::into);
    arguments.extend(up);
    arguments.push(service.name.as_str().into());
    docker_cli(&arguments, UP_LIMIT).await.map_err(|why| format!("docker compose up failed: {why}"))?;
    verified(docker, service, wanted).await.map(Restarted::Yes)
}

async fn verified(
    docker: &DockerExecutor,
    service: &Service,
    wanted: &[FlagChange],
) -> Result<String, String> {
    let begun = Instant::now();
    let mut steady: Option<Instant> = None;
    let mut restarts = 0;
    loop {
        let seen = match containers(docker, service).await {
            Err(error) => error,
            Ok(found) if found.is_empty() => "there is no container of the service".to_owned(),
            Ok(found) => {
                let wrong: Vec<String> =
                    found.iter().flat_map(|container| unmet(&container.args, wanted)).collect();
                if !wrong.is_empty() {
                    return Err(format!("the new container was started otherwise: {}", wrong.join(", ")));
                }
                match state_of(&found)? {
                    ContainerRunState::Running => {
                        let since = *steady.get_or_insert_with(Instant::now);
                        match health(service).await {
                            Health::Ok => return Ok("the new container answers /health".to_owned()),
                            Health::NotYet(seen) => seen,
                            Health::CannotAsk if since.elapsed() >= STEADY => {
                                return Ok("the new container runs".to_owned());
                            }
                            Health::CannotAsk => "it has only just started".to_owned(),
                        }
                    }
                    ContainerRunState::Restarting => {
                        restarts += 1;
                        steady = None;
                        if restarts >= MOST_RESTARTS {
                            return Err("the new container keeps restarting".to_owned());
                        }
                        "the new container restarts".to_owned()
                    }
                    state @ (ContainerRunState::Created
                    | ContainerRunState::Paused
                    | ContainerRunState::Exited
                    | ContainerRunState::Unknown) => {
                        steady = None;
                        format!("the new container is {}", word(state))
                    }
                }
            }
        };
        if begun.elapsed() >= HEALTH_LIMIT {
            return Err(format!("{} s later {seen}", HEALTH_LIMIT.as_secs()));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The state of all containers together: running only where each of them is.
fn state_of(found: &[RunningContainer]) -> Result<ContainerRunState, String> {
    if let Some(ended) = found.iter().find(|container| container.state == ContainerRunState::Exited) {
        return Err(format!("the new container {} has exited", ended.name));
    }
    let other = found.iter().find(|container| container.state != ContainerRunState::Running);
    Ok(other.map_or(ContainerRunState::Running, |container| container.state))
}

fn word(state: ContainerRunState) -> &'static str {
    match state {
        ContainerRunState::Created => "created and not started",
        ContainerRunState::Running => "running",
        ContainerRunState::Paused => "paused",
        ContainerRunState::Restarting => "restarting",
        ContainerRunState::Exited => "gone",
        ContainerRunState::Unknown => "in a state that Docker does not tell",
    }
}

async fn containers(docker: &DockerExecutor, service: &Service) -> Result<Vec<RunningContainer>, String> {
    let origin = &service.origin;
    docker
        .service_containers(origin.project.as_deref(), &service.name, origin.container_name.as_deref())
        .await
        .map_err(|error| error.to_string())
}

enum Health {
    Ok,
    NotYet(String),
    /// It publishes no port, or does not speak plain HTTP.
    CannotAsk,
}

async fn health(service: &Service) -> Health {
    let flag = |names: &[&str]| {
        let named = |flag: &&crate::plan::service::ServerFlag| {
            names.iter().any(|name| same_spelling(name, &flag.name))
        };
        service.flags.iter().rev().find(named).and_then(|flag| flag.value.as_deref())
    };
    if flag(&["--ssl-cert-file", "--ssl-key-file"]).is_some() {
        return Health::CannotAsk;
    }
    let inner = flag(&["--port"]).and_then(|port| port.parse::<u16>().ok());
    let serving = service.ports.iter().find(|port| Some(port.container) == inner);
    let Some(port) = serving.or(service.ports.first()).map(|port| port.host) else {
        return Health::CannotAsk;
    };
    let path = format!("{}/health", flag(&["--api-prefix"]).unwrap_or_default().trim_end_matches('/'));
    match tokio::time::timeout(GET_LIMIT, get(port, &path)).await {
        Ok(Ok(200)) => Health::Ok,
        Ok(Ok(status)) => Health::NotYet(format!("port {port} answers {path} with {status}")),
        Ok(Err(error)) => Health::NotYet(format!("port {port} does not answer ({error})")),
        Err(_) => {
            Health::NotYet(format!("port {port} takes longer than {} s to answer", GET_LIMIT.as_secs()))
        }
    }
}

/// The status of a GET on this machine.
async fn get(port: u16, path: &str) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(64).read_to_end(&mut answer).await?;
    let line = String::from_utf8_lossy(&answer);
    line.strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1)?.get(..3)?.parse().ok())
        .ok_or_else(|| std::io::Error::new(std::io::ErrorKind::InvalidData, "no HTTP answer"))
}

/// Runs Docker's client, without a shell and for a bounded time.
///
/// # Errors
/// Its last words, or why it did not run.
async fn docker_cli(arguments: &[std::ffi::OsString], limit: Duration) -> Result<(), String> {
    let mut command = Command::new("docker");
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // The plugin is a child of the client: both are ended together.
    command.process_group(0).kill_on_drop(true);
    let child = command.spawn().map_err(|error| format!("docker cannot be started: {error}"))?;
    let group = child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
    match tokio::time::timeout(limit, child.wait_with_output()).await {
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => Err(last_words(&output.stderr, &output.stdout)),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => {
            if let Some(group) = group {
                // Gone already is as good.
                let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            }
            Err(format!("it took longer than {} s", limit.as_secs()))
        }
    }
}

fn last_words(stderr: &[u8], stdout: &[u8]) -> String {
    let said = if stderr.iter().all(u8::is_ascii_whitespace) { stdout } else { stderr };
    let kept = &said[said.len().saturating_sub(WORDS_KEPT)..];
    let text = String::from_utf8_lossy(kept);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() { "it said nothing".to_owned() } else { lines.join(" / ") }
}
