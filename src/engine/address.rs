//! Where a server is: scheme, host, port and a path before every path. Parses and prints; connects
//! nothing.

use std::fmt;

use url::Url;

/// A server's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub tls: bool,
    /// A name or an address; IPv6 without its brackets.
    pub host: String,
    pub port: u16,
    /// Before every path; empty or beginning with a slash, without one at its end.
    pub prefix: String,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AddressError {
    #[error("\"{text}\" is no URL: {reason}")]
    NoUrl { text: String, reason: String },
    #[error("\"{text}\" is not reached by HTTP: its scheme is {scheme}, and only http and https are spoken")]
    Scheme { text: String, scheme: String },
}

impl Address {
    /// # Errors
    /// What is no URL, and what is no HTTP.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (server, url) = Self::of_url(text)?;
        Ok(Self { prefix: url.path().trim_end_matches('/').to_owned(), ..server })
    }

    /// The server alone, and what to ask it for: the path as it is, with its query.
    ///
    /// # Errors
    /// What is no URL, and what is no HTTP.
    pub fn with_path(text: &str) -> Result<(Self, String), AddressError> {
        let (server, url) = Self::of_url(text)?;
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        Ok((server, format!("{}{query}", url.path())))
    }

    fn of_url(text: &str) -> Result<(Self, Url), AddressError> {
        let no_url = |reason: &str| AddressError::NoUrl { text: text.to_owned(), reason: reason.to_owned() };
        let url = Url::parse(text).map_err(|error| no_url(&error.to_string()))?;
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            other => {
                return Err(AddressError::Scheme { text: text.to_owned(), scheme: other.to_owned() });
            }
        };
        let host = url.host_str().ok_or_else(|| no_url("it names no host"))?;
        let port = url.port_or_known_default().ok_or_else(|| no_url("it names no port"))?;
        let host = host.trim_matches(['[', ']']).to_owned();
        Ok((Self { tls, host, port, prefix: String::new() }, url))
    }

    /// The `Host` header.
    pub fn host_header(&self) -> String {
        let host = self.bracketed();
        let usual = if self.tls { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }

    fn bracketed(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.host_header(), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_prints_as_it_was_meant() {
        for (text, host, port, shown) in [
            ("http://localhost:8080", "localhost", 8080, "http://localhost:8080"),
            ("http://localhost:8080/", "localhost", 8080, "http://localhost:8080"),
            ("https://api.example.com/v2/", "api.example.com", 443, "https://api.example.com/v2"),
            ("http://[::1]:9000", "::1", 9000, "http://[::1]:9000"),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!((address.host.as_str(), address.port), (host, port));
            assert_eq!(address.to_string(), shown);
        }
    }

    #[test]
    fn a_page_keeps_its_query_and_its_last_slash() {
        for (text, path) in [
            ("http://h:9400/metrics", "/metrics"),
            ("http://h:9400", "/"),
            ("http://h:9400/probe/?target=a%20b&module=gpu", "/probe/?target=a%20b&module=gpu"),
        ] {
            let (address, found) = Address::with_path(text).unwrap();
            assert_eq!((address.to_string().as_str(), found.as_str()), ("http://h:9400", path));
        }
    }

    #[test]
    fn what_is_no_http_is_refused_by_its_scheme() {
        let said = Address::parse("ftp://x/").unwrap_err().to_string();
        assert!(said.contains("its scheme is ftp"), "{said}");
        assert!(Address::parse("localhost:8080").is_err());
    }
}
