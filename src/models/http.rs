//! HTTP to hubs and file servers: redirects followed by hand, so that the hub's token goes nowhere else
//! and HTTPS never becomes HTTP. Proxies are those of the environment.

use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, StatusCode};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use url::Url;

use super::access::HubAccess;
use super::error::ModelError;
use crate::request::model_source::without_query;

/// Most redirects of one request.
const MOST_REDIRECTS: usize = 10;
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// Longest silence of a server in the middle of an answer.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// Whether a redirect to another host is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// Content comes from wherever the hub sends it.
    Anywhere,
    /// What the hub itself says of a file stands in its own answer, perhaps after a renaming.
    OwnHost,
}

pub struct Http {
    client: Client,
    access: HubAccess,
}

/// What a request came to, where no answer did.
#[derive(Debug)]
pub enum Trouble {
    /// It may be better the next time.
    Passing {
        words: String,
        /// What the server asks to wait.
        wait: Option<Duration>,
        /// The server was there.
        reached: bool,
    },
    Final(ModelError),
}

impl Http {
    /// # Errors
    /// The client cannot be set up on this machine.
    pub fn new(access: HubAccess) -> Result<Self, ModelError> {
        let client = Client::builder()
            .tls_backend_preconfigured(tls())
            .redirect(Policy::none())
            .connect_timeout(CONNECT_LIMIT)
            .read_timeout(SILENCE_LIMIT)
            .user_agent(concat!("benchlet/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| ModelError::Unreachable {
                what: "the network".into(),
                words: in_words(&error),
            })?;
        Ok(Self { client, access })
    }

    pub fn access(&self) -> &HubAccess {
        &self.access
    }

    /// Asks, and gives an answer that is no redirect, or none that is followed.
    ///
    /// # Errors
    /// No answer, a refusal, or a redirect to where nothing is fetched from.
    pub async fn ask(
        &self,
        method: Method,
        url: &Url,
        headers: &HeaderMap,
        follow: Follow,
    ) -> Result<Response, Trouble> {
        let mut at = url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let mut request = self.client.request(method.clone(), at.clone()).headers(headers.clone());
            // Sizes and ranges are those of the file and of nothing that was made of it.
            request = request.header(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            if let Some(token) = self.access.token_for(&at) {
                request = request.bearer_auth(token);
            }
            let answer = request.send().await.map_err(|error| Trouble::Passing {
                words: in_words(&error),
                wait: None,
                reached: false,
            })?;
            if !is_redirect(answer.status()) {
                return self.judged(url, answer);
            }
            let to = target(&at, &answer)?;
            let told = answer.headers().contains_key("x-linked-etag");
            if follow == Follow::OwnHost && (told || to.origin() != at.origin()) {
                return Ok(answer);
            }
            at = to;
        }
        Err(redirect(url, &at, "and that after ten redirects"))
    }

    /// An answer that says something of the file; others are troubles.
    fn judged(&self, url: &Url, answer: Response) -> Result<Response, Trouble> {
        let (status, what) = (answer.status(), shown(url));
        let code = status.as_u16();
        if status.is_success() || status == StatusCode::RANGE_NOT_SATISFIABLE {
            return Ok(answer);
        }
        let on_hub = self.access.is_hub(url);
        Err(match code {
            404 | 410 => Trouble::Final(ModelError::NotFound { what, status: code, on_hub }),
            401 | 403 => {
                let with_token = self.access.token_for(url).is_some();
                Trouble::Final(ModelError::NoAccess { what, status: code, on_hub, with_token })
            }
            408 | 425 | 429 | 500..=599 => {
                let wait = header(&answer, "retry-after").and_then(|text| text.parse().ok());
                let words = format!("HTTP {code}");
                Trouble::Passing { words, wait: wait.map(Duration::from_secs), reached: true }
            }
            _ => {
                let said = header(&answer, "x-error-message").map(|text| format!(": {}", short(&text)));
                Trouble::Final(ModelError::Refused { what, status: code, words: said.unwrap_or_default() })
            }
        })
    }
}

/// Trusts whom this machine trusts. Without anybody to trust, plain HTTP still works.
fn tls() -> ClientConfig {
    // Fails where it was set before, which is as good.
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    let mut roots = RootCertStore::empty();
    for certificate in rustls_native_certs::load_native_certs().certs {
        // One that cannot be read is one less to trust.
        let _ = roots.add(certificate);
    }
    ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn target(from: &Url, answer: &Response) -> Result<Url, Trouble> {
    let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let to = location.and_then(|text| from.join(text).ok());
    let Some(to) = to else {
        let why = "it is redirected to nowhere".to_owned();
        return Err(Trouble::Final(ModelError::Answer { what: shown(from), why }));
    };
    match forbidden(from, &to) {
        None => Ok(to),
        Some(why) => Err(redirect(from, &to, why)),
    }
}

/// Why nothing is fetched from where an answer redirects to.
fn forbidden(from: &Url, to: &Url) -> Option<&'static str> {
    match (from.scheme(), to.scheme()) {
        ("https", "http") => Some("where anybody in between could change it"),
        (_, "http" | "https") => None,
        _ => Some("which is no HTTP"),
    }
}

fn redirect(from: &Url, to: &Url, why: &'static str) -> Trouble {
    Trouble::Final(ModelError::Redirect { what: shown(from), to: shown(to), why })
}

/// A URL as people may see it.
pub fn shown(url: &Url) -> String {
    without_query(url.as_str()).to_owned()
}

/// A header's text.
pub fn header(answer: &Response, name: &'static str) -> Option<String> {
    let value = answer.headers().get(HeaderName::from_static(name))?;
    value.to_str().ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// An error with what is behind it, without the URL, whose query may be a signature.
pub fn in_words(error: &reqwest::Error) -> String {
    let mut words = String::new();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let text = cause.to_string();
        if !words.contains(&text) {
            words = if words.is_empty() { text } else { format!("{words}: {text}") };
        }
        source = cause.source();
    }
    if words.is_empty() { "the connection failed".to_owned() } else { short(&words) }
}

fn short(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_never_becomes_http_and_nothing_becomes_another_scheme() {
        let url = |text: &str| Url::parse(text).unwrap();
        for (from, to, allowed) in [
            ("https://hub/a", "https://cdn/b", true),
            ("http://hub/a", "https://cdn/b", true),
            ("http://hub/a", "http://cdn/b", true),
            ("https://hub/a", "http://hub/a", false),
            ("http://hub/a", "ftp://hub/a", false),
            ("https://hub/a", "file:///etc/passwd", false),
        ] {
            assert_eq!(forbidden(&url(from), &url(to)).is_none(), allowed, "{from} {to}");
        }
    }

    #[test]
    fn a_url_is_shown_without_what_may_open_it() {
        let url = Url::parse("https://cdn/m.gguf?X-Signature=secret#x").unwrap();
        assert_eq!(shown(&url), "https://cdn/m.gguf");
    }
}
