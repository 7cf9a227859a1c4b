//! Who may ask: the token in a header, or a login's cookie from a page of this server. Also what every call
//! has to be: sent to a name of this server, and not too often. Owns the cookie.

use std::net::IpAddr;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::error::ApiError;
use super::hosts::{host_of, is_same_origin};
use super::state::Api;

pub const COOKIE: &str = "benchlet_session";

/// Who may call an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Open,
    /// Whoever has the token or a login.
    Token,
    /// The same, unless the settings open it: it only reads figures.
    Planning,
}

/// Where a call comes from.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// Looks at every call before anything else does, and marks every answer.
pub async fn gate(State(api): State<Api>, request: Request, next: Next) -> Response {
    let mut response = match admit(&api, &request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn admit(api: &Api, request: &Request) -> Result<(), ApiError> {
    let host = host_of(request.headers()).unwrap_or_default();
    if !api.hosts.know(host) {
        return Err(ApiError::forbidden(
            "unknown_host",
            "this server is not known under the name in the Host header; add it to api.hosts",
        ));
    }
    let counted = api.with_rate(|rate| rate.call(peer(request), Instant::now()));
    counted.map_err(|seconds| too_many(seconds, "too many calls from this address"))
}

fn peer(request: &Request) -> IpAddr {
    // Every connection has one; a call without it is nobody's.
    request.extensions().get::<Peer>().map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0)
}

fn too_many(seconds: u64, message: &str) -> ApiError {
    let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message);
    ApiError { retry_after: Some(seconds), ..error }
}

/// Lets a call of an endpoint pass, or not.
pub async fn guard(State((api, access)): State<(Api, Access)>, request: Request, next: Next) -> Response {
    let needed = match access {
        Access::Open => false,
        Access::Token => true,
        Access::Planning => api.context.settings.api.auth_v1,
    };
    let allowed =
        if needed { check(&api, request.method(), request.headers(), peer(&request)) } else { Ok(()) };
    match allowed {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn check(api: &Api, method: &Method, headers: &HeaderMap, from: IpAddr) -> Result<(), ApiError> {
    if let Some(given) = bearer(headers) {
        return try_token(api, given, from);
    }
    if !cookies(headers).any(|session| api.token.is_session(session)) {
        return Err(unauthorized("no token was given: Authorization: Bearer TOKEN"));
    }
    let changes = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    if changes && !is_same_origin(headers) {
        return Err(ApiError::forbidden(
            "foreign_origin",
            "a login changes things only from a page of this server",
        ));
    }
    Ok(())
}

/// Looks at a token, unless its address was wrong too often.
///
/// # Errors
/// It is not the token.
pub fn try_token(api: &Api, given: &str, from: IpAddr) -> Result<(), ApiError> {
    let now = Instant::now();
    api.with_rate(|rate| rate.may_try(from, now))
        .map_err(|seconds| too_many(seconds, "too many wrong tokens from this address"))?;
    if api.token.is(given) {
        return Ok(());
    }
    api.with_rate(|rate| rate.note_wrong(from, now));
    Err(unauthorized("the token is wrong"))
}

fn unauthorized(message: &str) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?;
    // One that is no text is a wrong token and not none.
    let text = value.to_str().unwrap_or_default();
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    Some(if scheme.eq_ignore_ascii_case("bearer") { rest.trim() } else { "" })
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let all = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value)
}
