//! Images of a Docker daemon: whether one is there, and bringing one. The credentials are those that
//! `docker login` wrote in plain; credential helpers are not run.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bollard::auth::DockerCredentials;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptions;
use futures_util::StreamExt;
use tokio::time::timeout;

use super::docker_connection::{ASK_LIMIT, ask, failure};
use super::{DockerExecutor, ExecutorError};

/// How long a pull may be silent: a registry that stalls, or a layer of many gigabytes on a slow disk.
const SILENCE_LIMIT: Duration = Duration::from_secs(600);

/// An image that the daemon has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    pub id: String,
    /// `name@sha256:…` by which registries know it; empty for one that was only built or loaded.
    pub repo_digests: Vec<String>,
    /// Bytes.
    pub size: u64,
    pub labels: BTreeMap<String, String>,
}

/// How far a pull is. Totals grow while the daemon learns of layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PullProgress {
    pub layers_done: usize,
    pub layers: usize,
    pub bytes_done: u64,
    pub bytes: u64,
}

impl DockerExecutor {
    /// The image of that name, tag or digest; `None` where the daemon has none.
    pub async fn image(&self, reference: &str) -> Result<Option<ImageInfo>, ExecutorError> {
        let what = format!("inspecting the image {reference}");
        match ask(&what, ASK_LIMIT, self.docker.inspect_image(reference)).await? {
            Ok(image) => Ok(Some(ImageInfo {
                id: image.id.unwrap_or_default(),
                repo_digests: image.repo_digests.unwrap_or_default(),
                size: image.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
                labels: image
                    .config
                    .and_then(|config| config.labels)
                    .unwrap_or_default()
                    .into_iter()
                    .collect(),
            })),
            Err(refusal) if refusal.status == 404 => Ok(None),
            Err(refusal) => Err(refusal.into_error(&what)),
        }
    }

    /// Pulls the image, telling `progress` whenever the daemon does. Dropping the call ends the pull.
    pub async fn pull(
        &self,
        reference: &str,
        progress: impl Fn(PullProgress) + Send,
    ) -> Result<(), ExecutorError> {
        let what = format!("pulling {reference}");
        self.ping().await?;
        let (name, tag) = split_reference(reference);
        let options = CreateImageOptions {
            from_image: Some(name.to_owned()),
            tag: Some(tag.to_owned()),
            ..Default::default()
        };
        let credentials = stored_credentials(registry(name));
        let mut pull = self.docker.create_image(Some(options), None, credentials);
        let mut layers = Layers::default();
        loop {
            let Ok(news) = timeout(SILENCE_LIMIT, pull.next()).await else {
                return Err(ExecutorError::Unreachable(format!(
                    "{what}: the daemon said nothing for {} s",
                    SILENCE_LIMIT.as_secs()
                )));
            };
            match news {
                Some(Ok(news)) => {
                    if let Some(words) = news.error_detail.as_ref().and_then(|detail| detail.message.as_ref())
                    {
                        return Err(ExecutorError::Refused(format!("{what}: the daemon says: {words}")));
                    }
                    layers.hear(&news);
                    progress(layers.progress());
                }
                Some(Err(error)) => return Err(failure(&what, error)),
                None => return Ok(()),
            }
        }
    }
}

/// What the daemon said of each layer so far.
#[derive(Default)]
struct Layers(HashMap<String, Layer>);

#[derive(Default)]
struct Layer {
    bytes_done: u64,
    bytes: u64,
    done: bool,
}

impl Layers {
    fn hear(&mut self, news: &CreateImageInfo) {
        let (Some(id), Some(status)) = (&news.id, &news.status) else { return };
        let is_layer = ["Pulling fs layer", "Waiting", "Downloading", "Verifying", "Download complete"]
            .iter()
            .chain(&["Extracting", "Pull complete", "Already exists"])
            .any(|known| status.starts_with(known));
        if !is_layer {
            return;
        }
        let layer = self.0.entry(id.clone()).or_default();
        let bytes = |count: Option<i64>| count.and_then(|count| u64::try_from(count).ok());
        // Extraction counts again from zero; what went over the network is what takes the time.
        if status == "Downloading"
            && let Some(detail) = &news.progress_detail
        {
            layer.bytes_done = bytes(detail.current).unwrap_or(layer.bytes_done);
            layer.bytes = bytes(detail.total).unwrap_or(layer.bytes);
        }
        match status.as_str() {
            "Download complete" | "Extracting" => layer.bytes_done = layer.bytes,
            "Pull complete" | "Already exists" => {
                layer.bytes_done = layer.bytes;
                layer.done = true;
            }
            _ => {}
        }
    }

    fn progress(&self) -> PullProgress {
        self.0.values().fold(PullProgress::default(), |sum, layer| PullProgress {
            layers_done: sum.layers_done + usize::from(layer.done),
            layers: sum.layers + 1,
            bytes_done: sum.bytes_done + layer.bytes_done,
            bytes: sum.bytes + layer.bytes,
        })
    }
}

/// The repository, and the tag or digest: without one, the daemon would bring every tag.
fn split_reference(reference: &str) -> (&str, &str) {
    if let Some((name, digest)) = reference.split_once('@') {
        return (split_reference(name).0, digest);
    }
    match reference.rsplit_once(':') {
        // A colon before a slash belongs to a registry's port.
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        Some(_) | None => (reference, "latest"),
    }
}

/// The key under which `docker login` keeps a registry.
fn registry(name: &str) -> &str {
    match name.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        Some(_) | None => "https://index.docker.io/v1/",
    }
}

fn stored_credentials(registry: &str) -> Option<DockerCredentials> {
    let folder = std::env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker")))?;
    let config = std::fs::read_to_string(folder.join("config.json")).ok()?;
    credentials_in(&config, registry)
}

fn credentials_in(config: &str, registry: &str) -> Option<DockerCredentials> {
    let config: serde_json::Value = serde_json::from_str(config).ok()?;
    let encoded = config.get("auths")?.get(registry)?.get("auth")?.as_str()?;
    let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (username, password) = decoded.split_once(':')?;
    Some(DockerCredentials {
        username: Some(username.to_owned()),
        password: Some(password.to_owned()),
        serveraddress: Some(registry.to_owned()),
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::ProgressDetail;

    #[test]
    fn a_reference_falls_into_repository_and_tag_or_digest() {
        assert_eq!(
            split_reference("ghcr.io/ggml-org/llama.cpp:full"),
            ("ghcr.io/ggml-org/llama.cpp", "full")
        );
        assert_eq!(split_reference("localhost:5000/a/b"), ("localhost:5000/a/b", "latest"));
        assert_eq!(split_reference("a:1@sha256:0f"), ("a", "sha256:0f"));
    }

    #[test]
    fn credentials_are_those_of_the_registry_and_helpers_give_none() {
        assert_eq!(registry("ghcr.io/x/y"), "ghcr.io");
        assert_eq!(registry("library/debian"), "https://index.docker.io/v1/");
        let config = r#"{"auths":{"ghcr.io":{"auth":"bWU6c2VjcmV0"},"helped.io":{}},"credsStore":"x"}"#;
        let found = credentials_in(config, "ghcr.io").unwrap();
        assert_eq!((found.username.as_deref(), found.password.as_deref()), (Some("me"), Some("secret")));
        assert!(credentials_in(config, "helped.io").is_none());
    }

    #[test]
    fn progress_counts_layers_and_what_was_downloaded() {
        let news = |id: &str, status: &str, current, total| CreateImageInfo {
            id: Some(id.into()),
            status: Some(status.into()),
            progress_detail: Some(ProgressDetail { current, total }),
            ..Default::default()
        };
        let mut layers = Layers::default();
        layers.hear(&news("latest", "Pulling from library/x", None, None));
        layers.hear(&news("a", "Already exists", None, None));
        layers.hear(&news("b", "Downloading", Some(30), Some(100)));
        assert_eq!(layers.progress(), PullProgress { layers_done: 1, layers: 2, bytes_done: 30, bytes: 100 });
        layers.hear(&news("b", "Extracting", Some(5), Some(100)));
        layers.hear(&news("b", "Pull complete", None, None));
        assert_eq!(
            layers.progress(),
            PullProgress { layers_done: 2, layers: 2, bytes_done: 100, bytes: 100 }
        );
    }
}
