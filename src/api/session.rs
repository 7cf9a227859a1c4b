//! Logins of the page: the token once, then a cookie that scripts cannot read. A stream of events sends no
//! header, so it needs one.

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::routing::post;
use serde::Deserialize;
use serde_json::json;

use super::access::{Access, COOKIE, Peer, try_token};
use super::error::ApiError;
use super::extract::Body;
use super::operation::{Content, Operation, schema};
use super::state::Api;

/// A week, in seconds.
const LIFETIME: u32 = 7 * 24 * 3600;

pub fn operations() -> Vec<Operation> {
    let body = json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["token"],
        "properties": { "token": schema::text() },
    });
    vec![
        Operation::new("post", "/api/login", "session", "Gives a cookie for the token", post(login))
            .access(Access::Open)
            .body(body, true)
            .answer(204, "The cookie is set", Content::Nothing)
            .refuses(413, "The body is too large.")
            .refuses(415, "The body is no JSON."),
        Operation::new("post", "/api/logout", "session", "Takes the cookie back", post(logout))
            .access(Access::Open)
            .answer(204, "The cookie is gone", Content::Nothing),
    ]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    token: String,
}

async fn login(
    State(api): State<Api>,
    Extension(Peer(from)): Extension<Peer>,
    Body(login): Body<Login>,
) -> Result<(StatusCode, HeaderMap), ApiError> {
    try_token(&api, login.token.trim(), from)?;
    let cookie = cookie(api.token.session(), LIFETIME);
    Ok((StatusCode::NO_CONTENT, HeaderMap::from_iter([(header::SET_COOKIE, cookie)])))
}

async fn logout() -> (StatusCode, HeaderMap) {
    (StatusCode::NO_CONTENT, HeaderMap::from_iter([(header::SET_COOKIE, cookie("", 0))]))
}

fn cookie(value: &str, seconds: u32) -> HeaderValue {
    let text = format!("{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict");
    // The value is base64, which any header takes.
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}
