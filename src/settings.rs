//! Settings: flag over environment over file over default. Owns their names, defaults and the
//! search for the file; knows nothing of what they are used for.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::run::measure_plan::{CollectorPlan, CustomEngine};

mod servers;

pub use servers::Key;

#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("the settings file {path} cannot be read: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the settings file {path} is not valid: {message}")]
    Parse { path: PathBuf, message: String },
}

/// Everything that can be set, resolved. Relative paths are relative to the working directory.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The watched root.
    pub requests: PathBuf,
    /// Database, spool, backups.
    pub state: PathBuf,
    pub compose: Vec<PathBuf>,
    pub services: Vec<PathBuf>,
    /// Where status files go; `None`: beside their requests.
    pub status_dir: Option<PathBuf>,
    /// Model files, laid out as the hub's own tools lay theirs out.
    pub models: PathBuf,
    /// Tries in a row without headway before a download fails.
    pub download_tries: u32,
    /// The catalogue of models to choose from; `None`: the one that is built in.
    pub model_catalogue: Option<PathBuf>,
    /// One lock a device, shared by every controller of the machine.
    pub lock_dir: PathBuf,
    /// Seconds between two complete listings of the root.
    pub relist_seconds: u64,
    /// llama-bench for the process executor; `None`: from the `PATH`.
    pub llama_bench: Option<PathBuf>,
    /// Longest time to pull, hash and probe before a run, in seconds.
    pub preparing_timeout_seconds: u64,
    /// Directories beside the root from which requests may have files read.
    pub read_dirs: Vec<PathBuf>,
    /// Directories beside the state's own to which requests may have files written.
    pub write_dirs: Vec<PathBuf>,
    /// Servers that speak JSON in a way of their own, by the name that requests use.
    pub engines: BTreeMap<String, CustomEngine>,
    /// API keys by name: where they are and where they may go. [`Settings::key_for`] picks one.
    pub keys: BTreeMap<String, Key>,
    /// Prometheus endpoints whose metrics join the series of a load test, by name.
    pub collectors: BTreeMap<String, CollectorPlan>,
    pub api: Api,
    /// The file that was read, for people.
    pub file: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    pub enabled: bool,
    pub listen: String,
    /// Names beside the listening address under which clients may reach it, as behind a proxy.
    pub hosts: Vec<String>,
    /// The file with the token; `None`: `token` in the state directory.
    pub token_file: Option<PathBuf>,
    /// Whether `/v1`, which only reads, asks for the token too.
    pub auth_v1: bool,
    /// Where requests that come over the API are saved, below the watched root.
    pub save_to: PathBuf,
    /// Calls a second from one address, over a longer time.
    pub calls_per_second: u32,
}

/// What the command line may set.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    pub config: Option<PathBuf>,
    pub requests: Option<PathBuf>,
    pub state: Option<PathBuf>,
    pub compose: Vec<PathBuf>,
    pub services: Vec<PathBuf>,
    pub status_dir: Option<PathBuf>,
    pub listen: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    requests: Option<PathBuf>,
    state: Option<PathBuf>,
    compose: Option<Vec<PathBuf>>,
    services: Option<Vec<PathBuf>>,
    status_dir: Option<String>,
    models: Option<String>,
    download_tries: Option<u64>,
    model_catalogue: Option<String>,
    lock_dir: Option<PathBuf>,
    relist_seconds: Option<u64>,
    llama_bench: Option<PathBuf>,
    preparing_timeout_seconds: Option<u64>,
    read_dirs: Option<Vec<PathBuf>>,
    write_dirs: Option<Vec<PathBuf>>,
    #[serde(default)]
    engines: BTreeMap<String, servers::FileEngine>,
    #[serde(default)]
    keys: BTreeMap<String, servers::FileKey>,
    #[serde(default)]
    collectors: BTreeMap<String, servers::FileCollector>,
    #[serde(default)]
    api: FileApi,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileApi {
    enabled: Option<bool>,
    listen: Option<String>,
    hosts: Option<Vec<String>>,
    token_file: Option<String>,
    auth_v1: Option<bool>,
    save_to: Option<PathBuf>,
    calls_per_second: Option<u64>,
}

/// Resolves the settings. `environment` looks a variable up, so that tests need not share one.
///
/// # Errors
/// A settings file that was asked for or found and cannot be read or understood.
pub fn load(
    overrides: &Overrides,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Settings, SettingsError> {
    let env = |name: &str| environment(&format!("BENCHLET_{name}")).filter(|value| !value.is_empty());
    let asked = overrides.config.clone().or_else(|| env("CONFIG").map(PathBuf::from));
    let found = asked.or_else(|| {
        ["benchlet.toml", "config/benchlet.toml"].iter().map(PathBuf::from).find(|path| path.is_file())
    });
    let file = match &found {
        None => File::default(),
        Some(path) => read_file(path)?,
    };
    let path = |flag: &Option<PathBuf>, name: &str, file: Option<PathBuf>, default: &str| {
        flag.clone()
            .or_else(|| env(name).map(PathBuf::from))
            .or(file)
            .unwrap_or_else(|| PathBuf::from(default))
    };
    let paths = |flag: &[PathBuf], name: &str, file: Option<Vec<PathBuf>>, default: &[&str]| {
        if !flag.is_empty() {
            return flag.to_vec();
        }
        match env(name) {
            Some(value) => value.split(',').map(PathBuf::from).collect(),
            None => file.unwrap_or_else(|| default.iter().map(PathBuf::from).collect()),
        }
    };
    let invalid = |message: String| SettingsError::Parse { path: found.clone().unwrap_or_default(), message };
    let engines = servers::engines(file.engines).map_err(invalid)?;
    let keys = servers::keys(file.keys).map_err(invalid)?;
    let collectors = servers::collectors(file.collectors).map_err(invalid)?;
    let home = environment("HOME").unwrap_or_else(|| "/root".to_owned());
    let status_dir = overrides
        .status_dir
        .clone()
        .or_else(|| env("STATUS_DIR").or(file.status_dir).filter(|dir| !dir.is_empty()).map(PathBuf::from));
    let models = env("MODELS").or(file.models).unwrap_or_else(|| "~/.cache/models".to_owned());
    let number = |name: &str, file: Option<u64>, default: u64| {
        env(name).and_then(|value| value.parse().ok()).or(file).unwrap_or(default)
    };
    let catalogue = env("MODEL_CATALOGUE").or(file.model_catalogue).filter(|path| !path.is_empty());
    Ok(Settings {
        requests: path(&overrides.requests, "REQUESTS", file.requests, "requests"),
        state: path(&overrides.state, "STATE", file.state, ".benchlet"),
        compose: paths(&overrides.compose, "COMPOSE", file.compose, &["docker-compose.yml"]),
        services: paths(&overrides.services, "SERVICES", file.services, &[]),
        status_dir,
        models: PathBuf::from(
            models.strip_prefix("~/").map_or(models.clone(), |rest| format!("{home}/{rest}")),
        ),
        download_tries: u32::try_from(number("DOWNLOAD_TRIES", file.download_tries, 8)).unwrap_or(8).max(1),
        model_catalogue: catalogue.map(PathBuf::from),
        lock_dir: path(&None, "LOCK_DIR", file.lock_dir, "/run/lock/benchlet"),
        relist_seconds: number("RELIST_SECONDS", file.relist_seconds, 20).max(1),
        llama_bench: env("LLAMA_BENCH").map(PathBuf::from).or(file.llama_bench),
        preparing_timeout_seconds: number("PREPARING_TIMEOUT_SECONDS", file.preparing_timeout_seconds, 3600)
            .max(1),
        read_dirs: paths(&[], "READ_DIRS", file.read_dirs, &[]),
        write_dirs: paths(&[], "WRITE_DIRS", file.write_dirs, &[]),
        engines,
        keys,
        collectors,
        api: api(file.api, overrides.listen.clone(), env).map_err(invalid)?,
        file: found,
    })
}

fn api(file: FileApi, listen: Option<String>, env: impl Fn(&str) -> Option<String>) -> Result<Api, String> {
    let switch = |name: &str, file: Option<bool>| match env(name).as_deref() {
        None => Ok(file.unwrap_or(true)),
        Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(other) => Err(format!("BENCHLET_{name} is true or false, not \"{other}\"")),
    };
    let save_to = env("API_SAVE_TO").map(PathBuf::from).or(file.save_to).unwrap_or_else(|| "api".into());
    let plain = |part: Component<'_>| match part {
        Component::Normal(name) => !name.as_encoded_bytes().starts_with(b"."),
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => false,
    };
    if save_to.as_os_str().is_empty() || !save_to.components().all(plain) {
        return Err(format!(
            "api.save_to is a directory below the watched one, such as \"api\", not \"{}\"",
            save_to.display()
        ));
    }
    let hosts = match env("API_HOSTS") {
        Some(value) => value.split(',').map(|host| host.trim().to_owned()).collect(),
        None => file.hosts.unwrap_or_default(),
    };
    let token_file = env("API_TOKEN_FILE").or(file.token_file).filter(|path| !path.is_empty());
    let calls = env("API_CALLS_PER_SECOND").and_then(|value| value.parse().ok()).or(file.calls_per_second);
    Ok(Api {
        enabled: switch("API_ENABLED", file.enabled)?,
        listen: listen
            .or_else(|| env("LISTEN"))
            .or(file.listen)
            .unwrap_or_else(|| "127.0.0.1:7077".to_owned()),
        hosts,
        token_file: token_file.map(PathBuf::from),
        auth_v1: switch("API_AUTH_V1", file.auth_v1)?,
        save_to,
        calls_per_second: u32::try_from(calls.unwrap_or(50)).unwrap_or(50).max(1),
    })
}

fn read_file(path: &Path) -> Result<File, SettingsError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
    toml::from_str(&text)
        .map_err(|error| SettingsError::Parse { path: path.to_owned(), message: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_wins_over_the_environment_and_that_over_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("b.toml");
        std::fs::write(&config, "requests = \"from-file\"\nstate = \"from-file\"\nmodels = \"~/m\"\n")
            .unwrap();
        let overrides =
            Overrides { config: Some(config), requests: Some("from-flag".into()), ..Overrides::default() };
        let settings = load(&overrides, |name| match name {
            "BENCHLET_REQUESTS" | "BENCHLET_STATUS_DIR" => Some("from-env".to_owned()),
            "HOME" => Some("/home/u".to_owned()),
            _ => None,
        })
        .unwrap();
        assert_eq!(settings.requests, Path::new("from-flag"));
        assert_eq!(settings.status_dir.as_deref(), Some(Path::new("from-env")));
        assert_eq!(settings.state, Path::new("from-file"));
        assert_eq!(settings.models, Path::new("/home/u/m"));
        assert_eq!(settings.api.listen, "127.0.0.1:7077");
    }

    #[test]
    fn an_unknown_setting_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("b.toml");
        std::fs::write(&config, "request = \"x\"\n").unwrap();
        let error = load(&Overrides { config: Some(config), ..Overrides::default() }, |_| None).unwrap_err();
        assert!(error.to_string().contains("unknown field `request`"), "{error}");
    }

    /// Every example of the settings file, as somebody has it who takes the hashes away.
    #[test]
    fn the_examples_of_the_settings_file_can_be_used_as_they_stand() {
        let text = include_str!("../config/benchlet.toml");
        let mut inside = false;
        let lines: Vec<&str> = text
            .lines()
            .map(|line| {
                let bare = line.strip_prefix("# ").unwrap_or(line);
                inside = (inside || bare.starts_with('[')) && line.starts_with('#');
                if inside { bare } else { line }
            })
            .collect();
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("b.toml");
        std::fs::write(&config, lines.join("\n")).unwrap();
        let settings = load(&Overrides { config: Some(config), ..Overrides::default() }, |_| None).unwrap();
        assert!(!settings.engines.is_empty() && !settings.keys.is_empty() && !settings.collectors.is_empty());
    }

    #[test]
    fn the_api_saves_nowhere_but_below_the_watched_directory() {
        let set = |value: &'static str| {
            load(&Overrides::default(), move |name| {
                (name == "BENCHLET_API_SAVE_TO").then(|| value.to_owned())
            })
        };
        assert_eq!(set("from/the-api").unwrap().api.save_to, Path::new("from/the-api"));
        for value in ["/etc", "../x", "a/../../x", ".hidden", "./x"] {
            assert!(set(value).unwrap_err().to_string().contains("below the watched one"), "{value}");
        }
    }

    #[test]
    fn nothing_needs_to_be_set_for_load_tests() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("b.toml");
        std::fs::write(&config, "").unwrap();
        let settings = load(&Overrides { config: Some(config), ..Overrides::default() }, |name| {
            (name == "BENCHLET_READ_DIRS").then(|| "a,b".to_owned())
        })
        .unwrap();
        assert!(settings.engines.is_empty() && settings.keys.is_empty() && settings.collectors.is_empty());
        assert_eq!(settings.read_dirs, [Path::new("a"), Path::new("b")]);
    }
}
