//! Tasks as containers of a Docker daemon (or Podman's socket, which speaks the same API). One
//! container a task, under a name that follows from the task, so that every call may be repeated.
//! inspect is the verdict on how it went. Retries nothing, decides nothing, and touches no container
//! that does not carry this instance's labels, but for the services that the controller names.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerInspectResponse, ContainerSummaryStateEnum};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, ListContainersOptions, RemoveContainerOptions,
    StartContainerOptions, StopContainerOptions, WaitContainerOptions,
};
use futures_util::future::{BoxFuture, pending};
use futures_util::{FutureExt, StreamExt};
use tokio::time::sleep;

use super::docker_connection::{self, ASK_LIMIT, CHANGE_LIMIT, Refusal, ask};
use super::docker_container::{self as mapping, Flavour, GRACE_SECONDS, LABEL_INSTANCE};
use super::docker_logs::{self, Copied, Until};
use super::process::blocking;
use super::{Executor, ExecutorError, Found, OUTPUT_LIMIT, spool};
use crate::run::step::{Exit, ExitCause, TaskId, TaskSpec, TaskState};

/// How long a log may stay open after its container ended.
const LATE_LOG: Duration = Duration::from_secs(3);

pub struct DockerExecutor {
    pub(super) docker: Docker,
    instance: String,
    flavour: Flavour,
    output_limit: u64,
}

impl DockerExecutor {
    /// Connects to the daemon that `DOCKER_HOST` names, else to the first local socket that exists:
    /// Docker's, rootless Docker's, Podman's.
    pub async fn connect(instance: impl Into<String>) -> Result<Self, ExecutorError> {
        Self::connect_to(&docker_connection::daemon_address()?, instance).await
    }

    /// Connects to the daemon at `unix://PATH`, `tcp://HOST:PORT` or `http://HOST:PORT`.
    pub async fn connect_to(address: &str, instance: impl Into<String>) -> Result<Self, ExecutorError> {
        let (docker, flavour) = docker_connection::open(address).await?;
        Ok(Self { docker, instance: instance.into(), flavour, output_limit: OUTPUT_LIMIT })
    }

    /// Another limit than `OUTPUT_LIMIT` for one stream's output, in bytes.
    pub fn with_output_limit(mut self, bytes: u64) -> Self {
        self.output_limit = bytes;
        self
    }

    /// Whether the daemon is Podman, which cannot do all that Docker does.
    pub fn is_podman(&self) -> bool {
        self.flavour == Flavour::Podman
    }

    /// Whether the daemon answers.
    pub async fn ping(&self) -> Result<(), ExecutorError> {
        ask("a ping", ASK_LIMIT, self.docker.ping())
            .await?
            .map(|_| ())
            .map_err(|refusal| refusal.into_error("a ping"))
    }

    /// A container of any name; `None` where there is none.
    pub(super) async fn inspect(
        &self,
        name: &str,
    ) -> Result<Option<ContainerInspectResponse>, ExecutorError> {
        let call = self.docker.inspect_container(name, None::<InspectContainerOptions>);
        match ask(&format!("inspecting {name}"), ASK_LIMIT, call).await? {
            Ok(container) => Ok(Some(container)),
            Err(refusal) if refusal.status == 404 => Ok(None),
            Err(refusal) => Err(refusal.into_error(&format!("inspecting {name}"))),
        }
    }

    /// Where a task that serves is reached: its port on this machine, and its container's id. `None` while
    /// it does not run.
    ///
    /// # Errors
    /// The daemon does not answer.
    pub async fn serving_at(&self, id: &TaskId, port: u16) -> Result<Option<(u16, String)>, ExecutorError> {
        let container = self.own(id).await?;
        Ok(container.and_then(|container| {
            let host = mapping::published_port(&container, port)?;
            Some((host, container.id?))
        }))
    }

    /// The task's container, if it is this instance's.
    async fn own(&self, id: &TaskId) -> Result<Option<ContainerInspectResponse>, ExecutorError> {
        let Some(container) = self.inspect(&id.name()).await? else { return Ok(None) };
        let foreign = mapping::foreign_label(mapping::labels_of(&container), id, &self.instance, None);
        Ok(foreign.is_none().then_some(container))
    }

    async fn look(&self, id: &TaskId, spool: &Path) -> TaskState {
        match self.own(id).await {
            Ok(Some(container)) => self.verdict(id, &container, spool::is_too_large(spool)).await,
            Ok(None) => TaskState::Absent,
            Err(error) => TaskState::Unknown { reason: error.to_string() },
        }
    }

    /// The state of a container, told from that of the init in it: where an init is process 1, the
    /// daemon has started what it was asked to, and only the init knows that the program is missing.
    async fn verdict(&self, id: &TaskId, container: &ContainerInspectResponse, cut: bool) -> TaskState {
        match mapping::state(container, cut) {
            TaskState::Exited(exit) if matches!(exit.cause, ExitCause::Code(126 | 127)) => {
                match docker_logs::init_failure(&self.docker, &id.name()).await {
                    Ok(Some(words)) => {
                        TaskState::Exited(Exit { cause: ExitCause::NotStarted(words), ..exit })
                    }
                    Ok(None) => TaskState::Exited(exit),
                    Err(error) => TaskState::Unknown { reason: error.to_string() },
                }
            }
            state => state,
        }
    }

    async fn create_and_start(&self, task: &TaskSpec, spool: &Path) -> Result<(), ExecutorError> {
        let name = task.id.name();
        let (Some(container), Some((program, arguments))) = (&task.container, task.argv.split_first()) else {
            return Err(ExecutorError::Refused(format!(
                "{name} names no container or no program; only the process executor runs without a container"
            )));
        };
        if self.flavour == Flavour::Podman && container.gpus.is_some() {
            return Err(ExecutorError::Refused(format!(
                "{name} asks for GPUs, and Podman's Docker API ignores that (containers/podman#22645); use \
                 Docker, or give the service `devices`"
            )));
        }
        self.ping().await?;
        let body = mapping::create_body(task, container, (program, arguments), &self.instance, self.flavour);
        let mut created = self.create(&name, body.clone()).await?;
        if matches!(&created, Err(refusal) if refusal.status == 409) {
            match self.inspect(&name).await? {
                Some(found) => return self.adopt(task, &found).await,
                // It was being removed, and is gone now.
                None => created = self.create(&name, body).await?,
            }
        }
        created.map_err(|refusal| match refusal.status {
            404 if refusal.words.to_lowercase().contains("no such image") => {
                ExecutorError::ImageMissing(format!("{}; pull or build it", refusal.words))
            }
            _ => refusal.into_error(&format!("making the container {name}")),
        })?;
        // What the spool has is from another container of this name.
        let folder = spool.to_owned();
        blocking(move || spool::clear_streams(&folder)).await?;
        self.start_created(&task.id).await
    }

    async fn create(
        &self,
        name: &str,
        body: bollard::models::ContainerCreateBody,
    ) -> Result<Result<(), Refusal>, ExecutorError> {
        let options = CreateContainerOptions { name: Some(name.to_owned()), ..Default::default() };
        let call = self.docker.create_container(Some(options), body);
        let answer = ask(&format!("making the container {name}"), CHANGE_LIMIT, call).await?;
        Ok(answer.map(|created| {
            for warning in created.warnings {
                tracing::warn!(container = name, warning, "the daemon warns");
            }
        }))
    }

    /// A container of the task's name exists already: it is the task, unless somebody else made it.
    async fn adopt(&self, task: &TaskSpec, found: &ContainerInspectResponse) -> Result<(), ExecutorError> {
        let name = task.id.name();
        let request = mapping::request_of(task);
        let labels = mapping::labels_of(found);
        if let Some(difference) = mapping::foreign_label(labels, &task.id, &self.instance, request) {
            return Err(ExecutorError::Refused(format!(
                "a container {name} exists and is not this task: {difference}; remove it with `docker rm -f {name}`"
            )));
        }
        match mapping::state(found, false) {
            TaskState::Created { error: None } => self.start_created(&task.id).await,
            // Its verdict stands, also that of a start that failed.
            TaskState::Created { error: Some(_) } | TaskState::Running | TaskState::Exited(_) => Ok(()),
            TaskState::Absent => Ok(()),
            TaskState::Unknown { reason } => Err(ExecutorError::Unreachable(format!("{name}: {reason}"))),
        }
    }

    async fn start_created(&self, id: &TaskId) -> Result<(), ExecutorError> {
        let name = id.name();
        let call = self.docker.start_container(&name, None::<StartContainerOptions>);
        let Err(refusal) = ask(&format!("starting {name}"), CHANGE_LIMIT, call).await? else { return Ok(()) };
        // Where the container itself has the words, whoever looks at it next reads them there.
        match self.inspect(&name).await?.map(|container| mapping::state(&container, false)) {
            Some(TaskState::Created { error: Some(_) } | TaskState::Exited(_) | TaskState::Running) => Ok(()),
            Some(TaskState::Created { error: None } | TaskState::Absent | TaskState::Unknown { .. })
            | None => Err(refusal.into_error(&format!("starting {name}"))),
        }
    }

    async fn end(&self, id: &TaskId) -> Result<(), ExecutorError> {
        self.ping().await?;
        if self.own(id).await?.is_none() {
            return Ok(());
        }
        self.stop_within(&id.name(), Some(GRACE_SECONDS)).await
    }

    /// Stops a container; stopped already or gone is as good.
    pub(super) async fn stop_within(&self, name: &str, grace: Option<i32>) -> Result<(), ExecutorError> {
        let options = StopContainerOptions { t: grace, ..Default::default() };
        let call = self.docker.stop_container(name, Some(options));
        match ask(&format!("stopping {name}"), CHANGE_LIMIT, call).await? {
            Ok(()) => Ok(()),
            Err(refusal) if refusal.status == 404 => Ok(()),
            Err(refusal) => Err(refusal.into_error(&format!("stopping {name}"))),
        }
    }

    async fn clear(&self, id: &TaskId) -> Result<(), ExecutorError> {
        self.ping().await?;
        if self.own(id).await?.is_none() {
            return Ok(());
        }
        let name = id.name();
        let options = RemoveContainerOptions { v: true, force: true, ..Default::default() };
        let call = self.docker.remove_container(&name, Some(options));
        match ask(&format!("removing {name}"), CHANGE_LIMIT, call).await? {
            Ok(()) => Ok(()),
            Err(refusal) if refusal.status == 404 => Ok(()),
            Err(refusal) if refusal.status == 409 && refusal.words.contains("already in progress") => Ok(()),
            Err(refusal) => Err(refusal.into_error(&format!("removing {name}"))),
        }
    }

    async fn copy_while_running(&self, id: &TaskId, spool: &Path) -> Result<(), ExecutorError> {
        let name = id.name();
        loop {
            match self.look(id, spool).await {
                TaskState::Running => {}
                TaskState::Absent | TaskState::Created { .. } | TaskState::Exited(_) => return Ok(()),
                TaskState::Unknown { reason } => return Err(ExecutorError::Unreachable(reason)),
            }
            let copied = tokio::select! {
                copied = docker_logs::copy(&self.docker, &name, spool, self.output_limit, Until::TheEnd) => copied?,
                () = self.long_ended(&name) => Copied::ToItsEnd,
            };
            match copied {
                Copied::TooLarge => return self.end(id).await,
                // The daemon may close a log early; the state above says whether there is more.
                Copied::ToItsEnd => sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Returns when the container ended and its log had the time to end as well: some never do.
    async fn long_ended(&self, name: &str) {
        let options = WaitContainerOptions { condition: "not-running".to_owned() };
        let ended = self.docker.wait_container(name, Some(options)).next().await;
        match ended {
            // An exit code other than 0 arrives as an error.
            Some(Ok(_) | Err(bollard::errors::Error::DockerContainerWaitError { .. })) => {
                sleep(LATE_LOG).await
            }
            // Then the log itself is what tells.
            Some(Err(_)) | None => pending().await,
        }
    }

    async fn copy_rest(&self, id: &TaskId, spool: &Path) -> Result<(), ExecutorError> {
        if self.own(id).await?.is_some() {
            docker_logs::copy(&self.docker, &id.name(), spool, self.output_limit, Until::Now).await?;
        }
        let folder = spool.to_owned();
        blocking(move || spool::sync_streams(&folder)).await
    }

    async fn find_all(&self) -> Result<Vec<Found>, ExecutorError> {
        let label = format!("{LABEL_INSTANCE}={}", self.instance);
        let options = ListContainersOptions {
            all: true,
            filters: Some(HashMap::from([("label".to_owned(), vec![label])])),
            ..Default::default()
        };
        let containers = ask("listing containers", ASK_LIMIT, self.docker.list_containers(Some(options)))
            .await?
            .map_err(|refusal| refusal.into_error("listing containers"))?;
        let mut found = Vec::with_capacity(containers.len());
        for container in containers {
            let Some(id) = container.labels.as_ref().and_then(mapping::task_of) else {
                tracing::warn!(container = ?container.names, "a container has benchlet's label and names no task");
                continue;
            };
            let state = match container.state {
                Some(ContainerSummaryStateEnum::RUNNING) => TaskState::Running,
                // Only inspect knows how it ended.
                Some(_) | None => match self.own(&id).await? {
                    Some(container) => self.verdict(&id, &container, false).await,
                    None => continue,
                },
            };
            found.push(Found { id, state });
        }
        Ok(found)
    }
}

impl Executor for DockerExecutor {
    fn start<'a>(&'a self, task: &'a TaskSpec, spool: &'a Path) -> BoxFuture<'a, Result<(), ExecutorError>> {
        self.create_and_start(task, spool).boxed()
    }

    fn observe<'a>(&'a self, id: &'a TaskId, spool: &'a Path) -> BoxFuture<'a, TaskState> {
        self.look(id, spool).boxed()
    }

    fn follow<'a>(&'a self, id: &'a TaskId, spool: &'a Path) -> BoxFuture<'a, Result<(), ExecutorError>> {
        self.copy_while_running(id, spool).boxed()
    }

    fn drain<'a>(&'a self, id: &'a TaskId, spool: &'a Path) -> BoxFuture<'a, Result<(), ExecutorError>> {
        self.copy_rest(id, spool).boxed()
    }

    fn stop<'a>(&'a self, id: &'a TaskId, _spool: &'a Path) -> BoxFuture<'a, Result<(), ExecutorError>> {
        self.end(id).boxed()
    }

    fn remove<'a>(&'a self, id: &'a TaskId, _spool: &'a Path) -> BoxFuture<'a, Result<(), ExecutorError>> {
        self.clear(id).boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Found>, ExecutorError>> {
        self.find_all().boxed()
    }
}
