//! Under which names the server may be spoken to. A browser that was led here by another name (DNS
//! rebinding) sends that name, and is refused. Knows nothing of tokens.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, header};

#[derive(Debug, Clone)]
pub struct Hosts {
    names: Vec<String>,
    /// Listening on every address, it is reached by numbers that are not known here. A number is no name,
    /// so nobody can lead it elsewhere.
    any_number: bool,
}

impl Hosts {
    pub fn new(listen: &str, bound: SocketAddr, more: &[String]) -> Self {
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "[::1]".to_owned()];
        names.extend([without_port(listen), without_port(&bound.to_string())].map(str::to_lowercase));
        names.extend(more.iter().map(|name| without_port(name).to_lowercase()));
        names.retain(|name| !name.is_empty());
        Self { names, any_number: bound.ip().is_unspecified() }
    }

    /// Whether a `Host` header names this server. The port may be another one: a tunnel changes it.
    pub fn know(&self, host: &str) -> bool {
        let name = without_port(host).to_lowercase();
        let number = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        self.names.contains(&name) || (self.any_number && number)
    }
}

/// The host that a call was sent to.
pub fn host_of(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST)?.to_str().ok()
}

/// Whether a browser says that the call comes from a page of this server.
pub fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    match (text(header::ORIGIN), host_of(headers)) {
        (Some(origin), Some(host)) => {
            let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            rest.is_some_and(|rest| rest.eq_ignore_ascii_case(host))
        }
        (Some(_), None) => false,
        (None, _) => headers.get("sec-fetch-site").is_some_and(|site| site == "same-origin"),
    }
}

fn without_port(host: &str) -> &str {
    if let Some(end) = host.find(']') {
        return &host[..=end];
    }
    match host.split_once(':') {
        Some((name, rest)) if !rest.contains(':') => name,
        Some(_) | None => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(listen: &str, bound: &str) -> Hosts {
        Hosts::new(listen, bound.parse().unwrap(), &["bench.example:8443".to_owned()])
    }

    #[test]
    fn only_the_names_of_this_server_are_known() {
        let hosts = hosts("127.0.0.1:7077", "127.0.0.1:7077");
        for name in
            ["localhost:7077", "LOCALHOST", "127.0.0.1:7077", "[::1]:7077", "localhost:8000", "Bench.Example"]
        {
            assert!(hosts.know(name), "{name}");
        }
        for name in
            ["evil.example:7077", "localhost.evil.example", "192.168.1.2", "", "127.0.0.1.evil.example"]
        {
            assert!(!hosts.know(name), "{name}");
        }
    }

    #[test]
    fn on_every_address_numbers_are_known_and_foreign_names_are_not() {
        let hosts = hosts("0.0.0.0:7077", "0.0.0.0:7077");
        assert!(hosts.know("192.168.1.2:7077") && hosts.know("[fe80::1]:7077"));
        assert!(!hosts.know("evil.example:7077"));
    }

    #[test]
    fn a_page_of_another_site_is_told_by_its_origin() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
        };
        let host = ("host", "localhost:7077");
        assert!(is_same_origin(&headers(&[host, ("origin", "http://localhost:7077")])));
        assert!(is_same_origin(&headers(&[host, ("sec-fetch-site", "same-origin")])));
        for pairs in [
            &[host][..],
            &[host, ("origin", "http://localhost:9000")],
            &[host, ("origin", "null")],
            &[host, ("origin", "http://evil.example"), ("sec-fetch-site", "same-origin")],
            &[host, ("sec-fetch-site", "cross-site")],
        ] {
            assert!(!is_same_origin(&headers(pairs)), "{pairs:?}");
        }
    }
}
