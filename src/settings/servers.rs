//! The tables about servers: custom engines, API keys with the hosts that they may go to, collectors.
//! Owns what is a valid entry. Reads no key.

use std::collections::BTreeMap;

use serde::Deserialize;
use url::Url;

use super::Settings;
use crate::request::load_test::Engine;
use crate::run::measure_plan::{CollectorPlan, CustomEngine, Framing, KeySource};

/// An API key: where it is, and the only places that it is sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// `host` or `host:port`, in lower case; an IPv6 address in brackets.
    pub hosts: Vec<String>,
    pub source: KeySource,
}

impl Settings {
    /// Where the key for a host is; an entry with the port goes before one without. IPv6 addresses
    /// may have their brackets or not.
    pub fn key_for(&self, host: &str, port: u16) -> Option<KeySource> {
        let host = with_brackets(&host.to_lowercase());
        let find =
            |wanted: &str| self.keys.values().find(|key| key.hosts.iter().any(|known| known == wanted));
        find(&format!("{host}:{port}")).or_else(|| find(&host)).map(|key| key.source.clone())
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileKey {
    hosts: Vec<String>,
    env: Option<String>,
    file: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileCollector {
    url: String,
    metrics: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileEngine {
    port: Option<u16>,
    health: String,
    generate: String,
    payload: String,
    framing: Framing,
    text: String,
    tokens_in: Option<String>,
    tokens_out: Option<String>,
    tokens_cached: Option<String>,
    finish_reason: Option<String>,
    metrics: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

/// # Errors
/// The first entry that is not usable, in a sentence.
pub(super) fn keys(file: BTreeMap<String, FileKey>) -> Result<BTreeMap<String, Key>, String> {
    let mut keys: BTreeMap<String, Key> = BTreeMap::new();
    for (name, key) in file {
        let source = match (key.env, key.file) {
            (Some(env), None) if !env.is_empty() => KeySource::Env(env),
            (None, Some(file)) if !file.is_empty() => KeySource::File(file),
            _ => {
                return Err(format!(
                    "[keys.{name}] needs exactly one of env (a variable's name) and file (a path)"
                ));
            }
        };
        if key.hosts.is_empty() {
            return Err(format!("[keys.{name}] needs hosts, the only places that the key is sent to"));
        }
        let mut hosts = Vec::new();
        for written in key.hosts {
            let host = host(&written).ok_or_else(|| {
                format!(
                    "[keys.{name}] has the host \"{written}\"; write api.example.com, or 127.0.0.1:8000 for \
                     one port alone"
                )
            })?;
            if let Some((other, _)) = keys.iter().find(|(_, other)| other.hosts.contains(&host)) {
                return Err(format!("[keys.{name}] and [keys.{other}] both name the host {host}"));
            }
            hosts.push(host);
        }
        keys.insert(name, Key { hosts, source });
    }
    Ok(keys)
}

/// `host` or `host:port` in lower case; `None` where it is neither.
fn host(written: &str) -> Option<String> {
    let lower = with_brackets(&written.to_lowercase());
    let url = Url::parse(&format!("http://{lower}/")).ok()?;
    let name = url.host_str()?;
    let rest = lower.strip_prefix(name)?;
    let good = rest.is_empty()
        || rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    good.then_some(lower)
}

fn with_brackets(host: &str) -> String {
    if host.parse::<std::net::Ipv6Addr>().is_ok() { format!("[{host}]") } else { host.to_owned() }
}

/// # Errors
/// The first entry that is not usable, in a sentence.
pub(super) fn collectors(
    file: BTreeMap<String, FileCollector>,
) -> Result<BTreeMap<String, CollectorPlan>, String> {
    let mut collectors = BTreeMap::new();
    for (name, collector) in file {
        check_name("collectors", &name)?;
        let url = Url::parse(&collector.url).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.is_empty())
        });
        let Some(url) = url else {
            return Err(format!("[collectors.{name}] needs a url such as http://127.0.0.1:9400/metrics"));
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(format!("the url of [collectors.{name}] holds a user name or password"));
        }
        if collector.metrics.is_empty() {
            return Err(format!("[collectors.{name}] names no metrics"));
        }
        for metric in &collector.metrics {
            let good = metric.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | ':'))
                && metric.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':'));
            if !good {
                return Err(format!(
                    "[collectors.{name}] has \"{metric}\", which is no metric's name; labels are left out"
                ));
            }
        }
        let plan = CollectorPlan { name: name.clone(), url: collector.url, metrics: collector.metrics };
        collectors.insert(name, plan);
    }
    Ok(collectors)
}

/// # Errors
/// The first entry that is not usable, in a sentence.
pub(super) fn engines(file: BTreeMap<String, FileEngine>) -> Result<BTreeMap<String, CustomEngine>, String> {
    let mut engines = BTreeMap::new();
    for (name, engine) in file {
        check_name("engines", &name)?;
        if Engine::NAMES.contains(&name.as_str()) {
            return Err(format!("[engines.{name}] has the name of an engine that benchlet knows"));
        }
        check_engine(&engine).map_err(|message| format!("[engines.{name}] {message}"))?;
        let custom = CustomEngine {
            name: name.clone(),
            port: engine.port,
            health: engine.health,
            generate: engine.generate,
            payload: engine.payload,
            framing: engine.framing,
            text: engine.text,
            tokens_in: engine.tokens_in,
            tokens_out: engine.tokens_out,
            tokens_cached: engine.tokens_cached,
            finish_reason: engine.finish_reason,
            metrics: engine.metrics,
            headers: engine.headers,
        };
        engines.insert(name, custom);
    }
    Ok(engines)
}

fn check_name(table: &str, name: &str) -> Result<(), String> {
    let good =
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if good {
        Ok(())
    } else {
        Err(format!("[{table}.\"{name}\"]: a name has letters, digits, -, _ and . only"))
    }
}

fn check_engine(engine: &FileEngine) -> Result<(), String> {
    if engine.port == Some(0) {
        return Err("has port 0".to_owned());
    }
    let paths = [
        ("health", Some(&engine.health)),
        ("generate", Some(&engine.generate)),
        ("metrics", engine.metrics.as_ref()),
    ];
    for (field, path) in paths {
        if path.is_some_and(|path| !path.starts_with('/') || path.contains(char::is_whitespace)) {
            return Err(format!("needs a path that begins with / in {field}"));
        }
    }
    let pointers = [
        ("text", Some(&engine.text)),
        ("tokens_in", engine.tokens_in.as_ref()),
        ("tokens_out", engine.tokens_out.as_ref()),
        ("tokens_cached", engine.tokens_cached.as_ref()),
        ("finish_reason", engine.finish_reason.as_ref()),
    ];
    for (field, pointer) in pointers {
        if pointer.is_some_and(|pointer| !pointer.is_empty() && !pointer.starts_with('/')) {
            return Err(format!("needs a JSON pointer such as /choices/0/text in {field}"));
        }
    }
    for (header, value) in &engine.headers {
        let lower = header.to_lowercase();
        if matches!(lower.as_str(), "authorization" | "proxy-authorization" | "cookie")
            || lower.contains("api-key")
        {
            return Err(format!(
                "has the header {header}; keys are declared in [keys.NAME], with their hosts"
            ));
        }
        if matches!(lower.as_str(), "host" | "content-length" | "transfer-encoding" | "connection") {
            return Err(format!("has the header {header}, which benchlet sets itself"));
        }
        let good =
            !header.is_empty() && header.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        if !good || value.contains(|c: char| c.is_control()) {
            return Err(format!("has the header \"{header}\", whose name or value is none"));
        }
    }
    check_payload(&engine.payload)
}

/// The template has to be JSON once its placeholders have values.
fn check_payload(payload: &str) -> Result<(), String> {
    const PLACEHOLDERS: [&str; 6] = ["prompt", "messages", "model", "max_tokens", "temperature", "stream"];
    let mut filled = String::new();
    let mut rest = payload;
    let mut prompts = 0;
    while let Some((before, behind)) = rest.split_once("{{") {
        let Some((name, after)) = behind.split_once("}}") else {
            return Err("has a {{ without }} in payload".to_owned());
        };
        if !PLACEHOLDERS.contains(&name) {
            return Err(format!(
                "has {{{{{name}}}}} in payload; there are {}",
                PLACEHOLDERS.map(|known| format!("{{{{{known}}}}}")).join(", ")
            ));
        }
        prompts += usize::from(matches!(name, "prompt" | "messages"));
        filled.push_str(before);
        // Right in place of a value and, where somebody put it between quotes, within a text.
        filled.push('0');
        rest = after;
    }
    filled.push_str(rest);
    // The salt that keeps prompts out of caches goes before one text.
    match prompts {
        0 => return Err("has neither {{prompt}} nor {{messages}} in payload".to_owned()),
        1 => {}
        _ => {
            return Err("has more than one of {{prompt}} and {{messages}} in payload; one of them".to_owned());
        }
    }
    serde_json::from_str::<serde_json::Value>(&filled)
        .map(|_| ())
        .map_err(|error| format!("has a payload that is no JSON with values in place: {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::{Overrides, SettingsError, load};
    use super::*;

    fn settings(text: &str) -> Result<Settings, SettingsError> {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("b.toml");
        std::fs::write(&config, text).unwrap();
        load(&Overrides { config: Some(config), ..Overrides::default() }, |_| None)
    }

    fn refusal(text: &str) -> String {
        settings(text).unwrap_err().to_string()
    }

    #[test]
    fn a_key_goes_to_its_hosts_and_nowhere_else() {
        let settings = settings(
            "[keys.a]\nhosts = [\"API.example.com\", \"127.0.0.1:8000\", \"[::1]:9000\"]\nenv = \"A_KEY\"\n\
             [keys.b]\nhosts = [\"127.0.0.1\"]\nfile = \"b.key\"\n",
        )
        .unwrap();
        let a = Some(KeySource::Env("A_KEY".to_owned()));
        let b = Some(KeySource::File("b.key".to_owned()));
        assert_eq!(settings.key_for("api.example.com", 443), a);
        assert_eq!(settings.key_for("Api.Example.com", 8443), a);
        assert_eq!(settings.key_for("127.0.0.1", 8000), a);
        assert_eq!(settings.key_for("127.0.0.1", 8001), b);
        assert_eq!(settings.key_for("::1", 9000), a);
        assert_eq!(settings.key_for("[::1]", 9000), a);
        assert_eq!(settings.key_for("::1", 9001), None);
        assert_eq!(settings.key_for("example.com", 443), None);
        assert_eq!(settings.key_for("api.example.com.evil.org", 443), None);
    }

    #[test]
    fn a_key_without_a_source_or_a_host_is_refused() {
        for (text, expected) in [
            ("hosts = [\"a\"]", "exactly one of env"),
            ("hosts = [\"a\"]\nenv = \"E\"\nfile = \"f\"", "exactly one of env"),
            ("hosts = []\nenv = \"E\"", "needs hosts"),
            ("hosts = [\"https://a\"]\nenv = \"E\"", "has the host \"https://a\""),
            ("hosts = [\"a/b\"]\nenv = \"E\"", "has the host"),
            ("hosts = [\"a:0\"]\nenv = \"E\"", "has the host"),
            ("hosts = [\"*\"]\nenv = \"E\"\nkey = \"sk\"", "unknown field `key`"),
        ] {
            let message = refusal(&format!("[keys.k]\n{text}\n"));
            assert!(message.contains(expected), "{text}: {message}");
        }
        let twice = "[keys.a]\nhosts=[\"h\"]\nenv=\"E\"\n[keys.b]\nhosts=[\"H\"]\nenv=\"F\"\n";
        assert!(refusal(twice).contains("[keys.b] and [keys.a] both name the host h"));
    }

    const ENGINE: &str = "[engines.mine]\nport = 9000\nhealth = \"/up\"\ngenerate = \"/gen\"\n\
                          payload = '{\"q\": {{prompt}}, \"m\": \"{{model}}\"}'\nframing = \"ndjson\"\n\
                          text = \"/text\"\n";

    #[test]
    fn a_custom_engine_is_read_with_its_name() {
        let text = format!("{ENGINE}tokens_out = \"/n\"\nheaders = {{ X-Team = \"a\" }}\n");
        let settings = settings(&text).unwrap();
        let engine = &settings.engines["mine"];
        assert_eq!(
            (engine.name.as_str(), engine.port, engine.framing),
            ("mine", Some(9000), Framing::Ndjson)
        );
        assert_eq!(engine.tokens_out.as_deref(), Some("/n"));
        assert_eq!(engine.headers["X-Team"], "a");
    }

    #[test]
    fn what_is_wrong_with_a_custom_engine_is_said() {
        for (from, to, expected) in [
            ("[engines.mine]", "[engines.vllm]", "the name of an engine that benchlet knows"),
            ("{{prompt}}", "{{promt}}", "{{promt}} in payload; there are {{prompt}}"),
            ("{{prompt}}", "1", "neither {{prompt}} nor {{messages}}"),
            ("{{model}}", "{{messages}}", "more than one of {{prompt}} and {{messages}}"),
            ("\"m\":", "\"m\"", "no JSON"),
            ("\"/gen\"", "\"gen\"", "begins with / in generate"),
            ("\"/text\"", "\"text\"", "JSON pointer"),
            ("\"ndjson\"", "\"lines\"", "unknown variant"),
            ("port", "prot", "unknown field `prot`"),
            (
                "text =",
                "headers = { Authorization = \"Bearer x\" }\ntext =",
                "keys are declared in [keys.NAME]",
            ),
        ] {
            let message = refusal(&ENGINE.replacen(from, to, 1));
            assert!(message.contains(expected), "{to}: {message}");
        }
    }

    #[test]
    fn a_collector_needs_an_address_and_names_of_metrics() {
        let good = "[collectors.dcgm]\nurl = \"http://127.0.0.1:9400/metrics\"\nmetrics = [\"A_b:c\"]\n";
        let settings = settings(good).unwrap();
        assert_eq!(settings.collectors["dcgm"].name, "dcgm");
        for (from, to, expected) in [
            ("http://", "ftp://", "needs a url"),
            ("http://", "http://u:p@", "holds a user name"),
            ("[\"A_b:c\"]", "[]", "names no metrics"),
            ("A_b:c", "a{gpu=0}", "is no metric's name"),
        ] {
            let message = refusal(&good.replacen(from, to, 1));
            assert!(message.contains(expected), "{to}: {message}");
        }
    }

    #[test]
    fn a_problem_names_the_file() {
        assert!(refusal("[keys.k]\nhosts = []\nenv = \"E\"\n").contains("b.toml"));
    }
}
