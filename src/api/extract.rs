//! What a call brings along: its JSON and its query, each bounded and refused in the API's own words.

use std::ops::RangeInclusive;
use std::time::Duration;

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;

use super::error::ApiError;

/// Largest body: fifty flags of a kilobyte, and some.
pub const LARGEST_BODY: usize = 96 << 10;
/// A body that takes longer is given up.
const BODY_TIME: Duration = Duration::from_secs(10);

/// A JSON body.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let json = is_json(&request);
        let bytes = read(request).await?;
        if !json {
            return Err(not_json());
        }
        parse(&bytes).map(Self)
    }
}

/// A JSON body, or nothing at all.
pub struct MaybeBody<T>(pub T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for MaybeBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let json = is_json(&request);
        let bytes = read(request).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        if !json {
            return Err(not_json());
        }
        parse(&bytes).map(Self)
    }
}

async fn read(request: Request) -> Result<Bytes, ApiError> {
    match tokio::time::timeout(BODY_TIME, to_bytes(request.into_body(), LARGEST_BODY)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_too_large(&error) => Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            format!("a body has at most {LARGEST_BODY} bytes"),
        )),
        Ok(Err(_)) => Err(ApiError::bad_request("the body broke off")),
        Err(_) => {
            Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "too_slow", "the body took longer than 10 s"))
        }
    }
}

fn is_too_large(error: &axum::Error) -> bool {
    let source = std::error::Error::source(error);
    source.is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
}

fn is_json(request: &Request) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.map(|kind| kind.split(';').next().unwrap_or_default().trim().to_lowercase());
    kind.is_some_and(|kind| kind == "application/json")
}

fn not_json() -> ApiError {
    ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "not_json",
        "the body has to be JSON, with Content-Type: application/json",
    )
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(bytes)
        .map_err(|error| ApiError::bad_request(format!("the body is wrong: {error}")))
}

/// The query string.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        axum::extract::Query::<T>::try_from_uri(&parts.uri).map(|query| Self(query.0)).map_err(|error| {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            ApiError::bad_request(format!("the query is wrong: {}", source.unwrap_or(error.to_string())))
        })
    }
}

/// A parameter of the path.
pub struct Named<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|path| Self(path.0)).map_err(|error| ApiError::bad_request(error.body_text()))
    }
}

/// `limit` of a list: clamped to what is answered at once, so that no number is wrong.
///
/// # Errors
/// It is no whole number.
pub fn limit(text: Option<&str>, default: u32) -> Result<u32, ApiError> {
    limit_within(text, default, 1..=100)
}

/// The same with bounds of its own.
///
/// # Errors
/// It is no whole number.
pub fn limit_within(text: Option<&str>, default: u32, bounds: RangeInclusive<u32>) -> Result<u32, ApiError> {
    let Some(text) = text else { return Ok(default) };
    let number = whole("limit", text)?;
    let number = number.clamp(i128::from(*bounds.start()), i128::from(*bounds.end()));
    Ok(u32::try_from(number).unwrap_or(default))
}

/// `offset` of a list.
///
/// # Errors
/// It is no whole number from 0.
pub fn offset(text: Option<&str>) -> Result<u32, ApiError> {
    let Some(text) = text else { return Ok(0) };
    u32::try_from(whole("offset", text)?)
        .map_err(|_| ApiError::bad_request("offset is a whole number from 0 to 4294967295"))
}

fn whole(name: &str, text: &str) -> Result<i128, ApiError> {
    text.parse().map_err(|_| ApiError::bad_request(format!("{name} is a whole number, not \"{text:.40}\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_clamped_and_what_is_no_number_is_refused() {
        let of = |text| limit(Some(text), 20);
        assert_eq!(limit(None, 20), Ok(20));
        assert_eq!(
            ["0", "-3", "7", "100", "101", "99999999999999"].map(|text| of(text).unwrap()),
            [1, 1, 7, 100, 100, 100]
        );
        for text in ["", "x", "1.5", "1e3", " 1"] {
            assert_eq!(of(text).unwrap_err().status, StatusCode::BAD_REQUEST, "{text}");
        }
        assert_eq!(
            ["1", "500", "9999"].map(|text| limit_within(Some(text), 20, 2..=1000).unwrap()),
            [2, 500, 1000]
        );
        assert!(offset(Some("-1")).is_err() && offset(Some("4294967296")).is_err());
    }
}
