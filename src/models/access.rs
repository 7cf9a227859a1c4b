//! Which hub is asked, and with whose token: from the environment, as the hub's own tools read it. The
//! token goes to the hub alone and is shown nowhere.

use std::fmt;
use std::path::Path;

use url::{Origin, Url};

use super::error::ModelError;

const USUAL_HUB: &str = "https://huggingface.co";
/// Longest token that is read from a file, in bytes.
const LONGEST_TOKEN: usize = 4096;

/// The hub and what opens it.
#[derive(Debug, Clone)]
pub struct HubAccess {
    endpoint: Url,
    token: Option<Token>,
}

#[derive(Clone)]
struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl HubAccess {
    /// `HF_ENDPOINT`, and `HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN` or the file that the hub's login leaves.
    ///
    /// # Errors
    /// An endpoint that is no HTTP address.
    pub fn from_environment(environment: impl Fn(&str) -> Option<String>) -> Result<Self, ModelError> {
        let env =
            |name: &str| environment(name).map(|value| value.trim().to_owned()).filter(|v| !v.is_empty());
        let text = env("HF_ENDPOINT").unwrap_or_else(|| USUAL_HUB.to_owned());
        let endpoint = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let endpoint = endpoint.filter(|url| url.username().is_empty() && url.password().is_none());
        let endpoint = endpoint.ok_or(ModelError::Endpoint)?;
        let named = env("HF_TOKEN").or_else(|| env("HUGGING_FACE_HUB_TOKEN"));
        let token = named.or_else(|| {
            let cache = || {
                let cache =
                    env("XDG_CACHE_HOME").or_else(|| env("HOME").map(|home| format!("{home}/.cache")))?;
                Some(format!("{cache}/huggingface"))
            };
            let file =
                env("HF_TOKEN_PATH").or_else(|| Some(format!("{}/token", env("HF_HOME").or_else(cache)?)))?;
            token_file(Path::new(&file))
        });
        Ok(Self { endpoint, token: token.map(Token) })
    }

    pub fn endpoint(&self) -> &Url {
        &self.endpoint
    }

    /// Whether a URL is the hub's own: the same scheme, host and port.
    pub fn is_hub(&self, url: &Url) -> bool {
        let own: Origin = self.endpoint.origin();
        url.origin() == own
    }

    /// The token, where the URL is the hub's own.
    pub fn token_for(&self, url: &Url) -> Option<&str> {
        self.token.as_ref().filter(|_| self.is_hub(url)).map(|token| token.0.as_str())
    }
}

fn token_file(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let token = text.trim();
    (!token.is_empty() && token.len() <= LONGEST_TOKEN).then(|| token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(values: &[(&str, &str)]) -> HubAccess {
        HubAccess::from_environment(|name| {
            values.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
        .unwrap()
    }

    #[test]
    fn the_token_goes_to_the_hub_and_to_nobody_else() {
        let access = access(&[("HF_ENDPOINT", "https://hub.example"), ("HF_TOKEN", "secret")]);
        let token = |url: &str| access.token_for(&Url::parse(url).unwrap());
        assert_eq!(token("https://hub.example/o/r/resolve/main/f"), Some("secret"));
        for other in [
            "https://cdn.hub.example/x",
            "http://hub.example/x",
            "https://hub.example:444/x",
            "https://hub.example.evil/x",
        ] {
            assert_eq!(token(other), None, "{other}");
        }
        assert!(!format!("{access:?}").contains("secret"));
    }

    #[test]
    fn the_file_of_the_hubs_login_is_read_where_no_variable_names_a_token() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("token"), "from-file\n").unwrap();
        let folder = home.path().to_str().unwrap();
        let url = Url::parse("https://huggingface.co/x").unwrap();
        assert_eq!(access(&[("HF_HOME", folder)]).token_for(&url), Some("from-file"));
        let both = access(&[("HF_HOME", folder), ("HUGGING_FACE_HUB_TOKEN", "named")]);
        assert_eq!(both.token_for(&url), Some("named"));
        assert_eq!(access(&[("HOME", folder)]).token_for(&url), None);
    }
}
