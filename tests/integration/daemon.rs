//! The Docker daemon as the tests see it: whether they may use it at all, and the few things that they
//! ask of it behind benchlet's back. Owns no container of its own.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, HostConfig, Mount, MountType, PortBinding,
};
use bollard::query_parameters::{
    CreateContainerOptions, EventsOptions, ListContainersOptions, RemoveContainerOptions,
    StartContainerOptions,
};
use futures_util::StreamExt as _;

use crate::left_out::{self, Need};

/// Whether this run of the tests does without Docker. Unless it says so, a daemon that does not answer is a
/// failure.
pub fn is_left_out() -> bool {
    left_out::is_left_out(Need::Docker)
}

/// The image with llama.cpp's tools.
pub fn image() -> String {
    std::env::var("BENCHLET_TEST_IMAGE").unwrap_or_else(|_| "benchlet-test/llama.cpp:local".to_owned())
}

/// Asks the daemon from a test that is not async itself.
pub fn ask<T, F: Future<Output = T>>(question: impl FnOnce(Docker) -> F) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let docker = Docker::connect_with_defaults().expect("a Docker daemon");
        question(docker).await
    })
}

/// Fails at once where the daemon does not answer or lacks the image, instead of in every wait.
pub fn check() {
    let image = image();
    ask(|docker| async move {
        docker.ping().await.expect("a Docker daemon that answers");
        let found = docker.inspect_image(&image).await;
        found.unwrap_or_else(|error| panic!("the image {image} is not loaded: {error}"));
    });
}

/// A container of one installation, as the daemon lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub id: String,
    pub role: String,
    pub running: bool,
}

/// Every container with a label of this value.
pub fn labelled(label: &str, value: &str) -> Vec<Listed> {
    let filters = HashMap::from([("label".to_owned(), vec![format!("{label}={value}")])]);
    let options = ListContainersOptions { all: true, filters: Some(filters), ..Default::default() };
    let found = ask(|docker| async move { docker.list_containers(Some(options)).await }).unwrap();
    found
        .into_iter()
        .map(|container| Listed {
            id: container.id.unwrap_or_default(),
            role: container
                .labels
                .and_then(|labels| labels.get("benchlet.role").cloned())
                .unwrap_or_default(),
            running: container.state == Some(bollard::models::ContainerSummaryStateEnum::RUNNING),
        })
        .collect()
}

/// Removes a container, running or not; gone already is as good.
pub fn remove(id: &str) {
    let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
    // What is left shows in the next list.
    drop(ask(|docker| async move { docker.remove_container(id, Some(options)).await }));
}

/// Freezes a container, so that a run lasts as long as a test needs it; it thaws when this goes.
pub struct Paused(String);

impl Paused {
    pub fn now(id: &str) -> Self {
        ask(|docker| async move { docker.pause_container(id).await }).expect("it runs");
        Self(id.to_owned())
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        let id = self.0.clone();
        // A thread of its own, as this may happen while a test unwinds; a container that was removed
        // meanwhile needs no thaw.
        let thaw = move || drop(ask(|docker| async move { docker.unpause_container(&id).await }));
        drop(std::thread::spawn(thaw).join());
    }
}

/// `docker kill`.
pub fn kill(id: &str) {
    ask(|docker| async move { docker.kill_container(id, None).await }).expect("it runs");
}

/// Makes and starts a container of a compose service that sleeps until it is stopped.
pub fn start_service(project: &str, service: &str) -> String {
    let labels = HashMap::from([
        ("com.docker.compose.project".to_owned(), project.to_owned()),
        ("com.docker.compose.service".to_owned(), service.to_owned()),
        ("com.docker.compose.oneoff".to_owned(), "False".to_owned()),
    ]);
    let body = ContainerCreateBody {
        image: Some(image()),
        entrypoint: Some(vec!["sleep".into()]),
        cmd: Some(vec!["86400".into()]),
        labels: Some(labels),
        host_config: Some(HostConfig {
            network_mode: Some("none".into()),
            init: Some(true),
            ..Default::default()
        }),
        ..Default::default()
    };
    let options = CreateContainerOptions { name: Some(format!("{project}-{service}")), ..Default::default() };
    ask(|docker| async move {
        let id = docker.create_container(Some(options), body).await.unwrap().id;
        docker.start_container(&id, None::<StartContainerOptions>).await.unwrap();
        id
    })
}

/// Makes and starts a container of a compose service that is a real server: a program with its arguments
/// on the model at this path, at 8080 in the container. Gives its id and the port on the loopback address.
pub fn serve_service(project: &str, service: &str, command: &[&str], model: &str) -> (String, u16) {
    const PORT: &str = "8080/tcp";
    let labels = HashMap::from([
        ("com.docker.compose.project".to_owned(), project.to_owned()),
        ("com.docker.compose.service".to_owned(), service.to_owned()),
        ("com.docker.compose.oneoff".to_owned(), "False".to_owned()),
    ]);
    let mount = Mount {
        typ: Some(MountType::BIND),
        source: Some(model.to_owned()),
        target: Some("/models/tiny.gguf".to_owned()),
        read_only: Some(true),
        ..Default::default()
    };
    let binding = PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some("0".to_owned()) };
    let body = ContainerCreateBody {
        image: Some(image()),
        cmd: Some(command.iter().map(|word| (*word).to_owned()).collect()),
        labels: Some(labels),
        exposed_ports: Some(vec![PORT.to_owned()]),
        host_config: Some(HostConfig {
            mounts: Some(vec![mount]),
            port_bindings: Some(HashMap::from([(PORT.to_owned(), Some(vec![binding]))])),
            init: Some(true),
            ..Default::default()
        }),
        ..Default::default()
    };
    let options = CreateContainerOptions { name: Some(format!("{project}-{service}")), ..Default::default() };
    let id = ask(|docker| async move {
        let id = docker.create_container(Some(options), body).await.unwrap().id;
        docker.start_container(&id, None::<StartContainerOptions>).await.unwrap();
        id
    });
    let ports = inspect(&id).network_settings.unwrap().ports.unwrap();
    let port = ports[PORT].as_ref().unwrap()[0].host_port.as_ref().unwrap().parse().unwrap();
    (id, port)
}

/// `docker inspect`.
pub fn inspect(id: &str) -> ContainerInspectResponse {
    ask(|docker| async move { docker.inspect_container(id, None).await }).expect("it is there")
}

/// Whether a container runs.
pub fn is_running(id: &str) -> bool {
    let found = ask(|docker| async move { docker.inspect_container(id, None).await });
    found.ok().and_then(|found| found.state?.running).unwrap_or(false)
}

/// Counts the containers that an installation makes, from the daemon's own events.
pub struct Creations {
    instance: String,
    seen: Arc<Mutex<Vec<HashMap<String, String>>>>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    listener: Option<std::thread::JoinHandle<()>>,
}

impl Creations {
    pub fn watch(instance: &str) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let filters = HashMap::from([
            ("label".to_owned(), vec![format!("benchlet.instance={instance}")]),
            ("event".to_owned(), vec!["create".to_owned()]),
            ("type".to_owned(), vec!["container".to_owned()]),
        ]);
        // From a moment ago, so that nothing is missed until the daemon has taken the question in.
        let since = jiff::Timestamp::now().as_second() - 1;
        let options =
            EventsOptions { since: Some(since.to_string()), filters: Some(filters), ..Default::default() };
        let list = Arc::clone(&seen);
        let listener = std::thread::spawn(move || {
            ask(|docker| async move {
                let listen = docker.events(Some(options)).for_each(|event| {
                    let actor = event.ok().and_then(|event| event.actor);
                    let attributes = actor.and_then(|actor| actor.attributes).unwrap_or_default();
                    list.lock().unwrap().push(attributes);
                    std::future::ready(())
                });
                tokio::select! {
                    () = listen => {}
                    _ = stopped => {}
                }
            });
        });
        Self { instance: instance.to_owned(), seen, stop: Some(stop), listener: Some(listener) }
    }

    /// The containers of this role that were made for a run, up to now.
    pub fn count(&self, run: &str, role: &str) -> usize {
        self.by_run(role).get(run).copied().unwrap_or(0)
    }

    /// The number of containers of this role that were made up to now, by run.
    pub fn by_run(&self, role: &str) -> HashMap<String, usize> {
        self.fence();
        let mut counts = HashMap::new();
        for found in self.seen.lock().unwrap().iter() {
            if let (Some(run), true) =
                (found.get("benchlet.run"), found.get("benchlet.role").is_some_and(|known| known == role))
            {
                *counts.entry(run.clone()).or_default() += 1;
            }
        }
        counts
    }

    /// Makes a container and waits for its event, after which every earlier event has come.
    fn fence(&self) {
        let mark = uuid::Uuid::new_v4().to_string();
        let labels = HashMap::from([
            ("benchlet.instance".to_owned(), self.instance.clone()),
            ("benchlet.fence".to_owned(), mark.clone()),
        ]);
        let body = ContainerCreateBody {
            image: Some(image()),
            cmd: Some(vec!["true".into()]),
            labels: Some(labels),
            ..Default::default()
        };
        let created = ask(|docker| async move {
            docker.create_container(None::<CreateContainerOptions>, body).await.unwrap()
        });
        remove(&created.id);
        let deadline = Instant::now() + Duration::from_secs(60);
        let came = || {
            let seen = self.seen.lock().unwrap();
            seen.iter().any(|found| found.get("benchlet.fence") == Some(&mark))
        };
        while !came() {
            assert!(Instant::now() < deadline, "the daemon tells no events");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Creations {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // Nobody listens where the daemon ended the stream.
            let _ = stop.send(());
        }
        if let Some(listener) = self.listener.take() {
            drop(listener.join());
        }
    }
}
