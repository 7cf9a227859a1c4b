//! The users' own containers: which ones belong to a service, stopping one for a run and starting it
//! again. They are not benchlet's, so nothing here creates or removes any.

use std::collections::{BTreeSet, HashMap};

use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum, ContainerSummary, ContainerSummaryStateEnum,
};
use bollard::query_parameters::{ListContainersOptions, StartContainerOptions};

use super::docker_connection::{ASK_LIMIT, CHANGE_LIMIT, ask};
use super::docker_container::{gpu_request, labels_of};
use super::{DockerExecutor, ExecutorError};
use crate::plan::service::Service;
use crate::run::step::GpuRequest;

/// What a service's container does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerRunState {
    Created,
    Running,
    Paused,
    Restarting,
    Exited,
    Unknown,
}

/// A container of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningContainer {
    pub id: String,
    pub name: String,
    pub state: ContainerRunState,
    /// Program and arguments as they run. May hold API keys: mask before showing.
    pub args: Vec<String>,
    /// As it was asked for, not the image's id.
    pub image: String,
    pub gpus: Vec<GpuRequest>,
}

/// Whether a service runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceState {
    Running,
    /// Its container is there.
    Stopped,
    /// It has no container.
    Absent,
}

impl ServiceState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Absent => "absent",
        }
    }
}

impl DockerExecutor {
    /// The states of services by one listing of all containers; `None` of what is in no compose file.
    pub async fn service_states(
        &self,
        services: &[&Service],
    ) -> Result<Vec<Option<ServiceState>>, ExecutorError> {
        let options = ListContainersOptions { all: true, ..Default::default() };
        let listed = ask("listing containers", ASK_LIMIT, self.docker.list_containers(Some(options)))
            .await?
            .map_err(|refusal| refusal.into_error("listing containers"))?;
        Ok(services.iter().map(|service| state_among(&listed, service)).collect())
    }

    /// The containers of a compose service, and the one of that fixed name, in whatever state. Those of
    /// `docker compose run` are not the service.
    pub async fn service_containers(
        &self,
        project: Option<&str>,
        service: &str,
        container_name: Option<&str>,
    ) -> Result<Vec<RunningContainer>, ExecutorError> {
        let mut ids = BTreeSet::new();
        if let Some(project) = project {
            let labels = vec![
                format!("com.docker.compose.project={project}"),
                format!("com.docker.compose.service={service}"),
            ];
            ids.extend(self.ids_with("label", labels).await?);
        }
        if let Some(name) = container_name
            && let Some(container) = self.inspect(name).await?
        {
            ids.extend(container.id);
        }
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            // Gone between the list and the look: then it is none of the service's.
            let Some(container) = self.inspect(&id).await? else { continue };
            let one_off = labels_of(&container)
                .and_then(|labels| labels.get("com.docker.compose.oneoff"))
                .is_some_and(|value| value == "True");
            if !one_off {
                found.push(describe(id, container));
            }
        }
        Ok(found)
    }

    /// Stops a service's container with its own signal and grace; stopped already is as good.
    pub async fn stop_container(&self, id: &str) -> Result<(), ExecutorError> {
        self.ping().await?;
        self.stop_within(id, None).await
    }

    /// Starts a service's container again; running already is as good.
    pub async fn start_container(&self, id: &str) -> Result<(), ExecutorError> {
        self.ping().await?;
        let what = format!("starting the container {id}");
        let call = self.docker.start_container(id, None::<StartContainerOptions>);
        ask(&what, CHANGE_LIMIT, call).await?.map_err(|refusal| refusal.into_error(&what))
    }

    async fn ids_with(&self, filter: &str, values: Vec<String>) -> Result<Vec<String>, ExecutorError> {
        let options = ListContainersOptions {
            all: true,
            filters: Some(HashMap::from([(filter.to_owned(), values)])),
            ..Default::default()
        };
        let listed = ask("listing containers", ASK_LIMIT, self.docker.list_containers(Some(options)))
            .await?
            .map_err(|refusal| refusal.into_error("listing containers"))?;
        Ok(listed.into_iter().filter_map(|container| container.id).collect())
    }
}

fn state_among(listed: &[ContainerSummary], service: &Service) -> Option<ServiceState> {
    let origin = &service.origin;
    origin.compose_file.as_ref()?;
    let is_its_own = |container: &&ContainerSummary| {
        let label = |name: &str| container.labels.as_ref()?.get(&format!("com.docker.compose.{name}"));
        let composed = origin.project.is_some()
            && label("project") == origin.project.as_ref()
            && label("service") == Some(&service.name);
        let named = origin.container_name.as_deref().is_some_and(|wanted| {
            container.names.iter().flatten().any(|name| name.trim_start_matches('/') == wanted)
        });
        (composed || named) && label("oneoff").is_none_or(|value| value != "True")
    };
    let mut own = listed.iter().filter(is_its_own).peekable();
    if own.peek().is_none() {
        return Some(ServiceState::Absent);
    }
    let runs = own.any(|container| container.state == Some(ContainerSummaryStateEnum::RUNNING));
    Some(if runs { ServiceState::Running } else { ServiceState::Stopped })
}

fn describe(id: String, container: ContainerInspectResponse) -> RunningContainer {
    let state = match container.state.and_then(|state| state.status) {
        Some(ContainerStateStatusEnum::CREATED) => ContainerRunState::Created,
        Some(ContainerStateStatusEnum::RUNNING | ContainerStateStatusEnum::STOPPING) => {
            ContainerRunState::Running
        }
        Some(ContainerStateStatusEnum::PAUSED) => ContainerRunState::Paused,
        Some(ContainerStateStatusEnum::RESTARTING) => ContainerRunState::Restarting,
        Some(
            ContainerStateStatusEnum::EXITED
            | ContainerStateStatusEnum::DEAD
            | ContainerStateStatusEnum::REMOVING,
        ) => ContainerRunState::Exited,
        Some(ContainerStateStatusEnum::EMPTY) | None => ContainerRunState::Unknown,
    };
    let requests = container.host_config.and_then(|config| config.device_requests).unwrap_or_default();
    RunningContainer {
        id,
        name: container.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        state,
        args: container.path.into_iter().chain(container.args.unwrap_or_default()).collect(),
        image: container.config.and_then(|config| config.image).unwrap_or_default(),
        gpus: requests.iter().map(gpu_request).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::service::Origin;

    fn container(name: &str, labels: &[(&str, &str)], state: ContainerSummaryStateEnum) -> ContainerSummary {
        let label =
            |(name, value): &(&str, &str)| (format!("com.docker.compose.{name}"), (*value).to_owned());
        ContainerSummary {
            names: Some(vec![format!("/{name}")]),
            labels: Some(labels.iter().map(label).collect()),
            state: Some(state),
            ..ContainerSummary::default()
        }
    }

    fn service(name: &str, container_name: Option<&str>) -> Service {
        let origin = Origin {
            compose_file: Some("docker-compose.yml".into()),
            project: Some("p".to_owned()),
            container_name: container_name.map(str::to_owned),
            services_json: None,
        };
        Service { name: name.to_owned(), origin, ..Service::default() }
    }

    #[test]
    fn a_service_is_what_its_own_containers_are_and_nobody_elses() {
        use ContainerSummaryStateEnum::{EXITED, PAUSED, RUNNING};
        let listed = [
            container("p-a-1", &[("project", "p"), ("service", "a")], EXITED),
            container("p-a-2", &[("project", "p"), ("service", "a"), ("oneoff", "False")], RUNNING),
            container("p-b-run", &[("project", "p"), ("service", "b"), ("oneoff", "True")], RUNNING),
            container("q-c-1", &[("project", "q"), ("service", "c")], RUNNING),
            container("p-d-1", &[("project", "p"), ("service", "d")], PAUSED),
            container("fixed", &[], RUNNING),
        ];
        let state = |service: &Service| state_among(&listed, service).map(ServiceState::as_str);
        for (name, fixed, expected) in [
            ("a", None, "running"),
            ("b", None, "absent"),
            ("c", None, "absent"),
            ("d", None, "stopped"),
            ("e", Some("fixed"), "running"),
            ("f", Some("fix"), "absent"),
        ] {
            assert_eq!(state(&service(name, fixed)), Some(expected), "{name}");
        }
        assert_eq!(state(&Service { name: "a".to_owned(), ..Service::default() }), None);
    }
}
