//! Every refusal of the API: a status, a code for programs, a sentence for people, always in one shape. Owns
//! which failure is which status. Must not let out what is nobody's business, as paths of the database.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::report::planning::PlanningError;
use crate::run::reason::{Reason, Refusal};
use crate::store::StoreError;

/// Longest sentence that is answered, in characters; what is wrong may quote what was asked.
const LONGEST: usize = 2_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
    /// When to come again, in seconds.
    pub retry_after: Option<u64>,
}

impl ApiError {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None }
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    pub fn forbidden(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }

    pub fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::warn!(%error, "a call could not be answered");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "it could not be done; the log says why")
    }

    pub fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        Self { retry_after: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message) }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let message: String = self.message.chars().take(LONGEST).collect();
        let body = axum::Json(json!({ "error": { "code": self.code, "message": message } }));
        let mut response = (self.status, body).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer realm=\"benchlet\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(why) => Self::conflict("refused", why),
            StoreError::Open { .. }
            | StoreError::Version { .. }
            | StoreError::Sql(_)
            | StoreError::Decode { .. }
            | StoreError::NotCommitted(_)
            | StoreError::Closed => Self::internal(&error),
        }
    }
}

/// What a run or service cannot do for a reason of its own.
impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let message = match refusal.hint {
            Some(hint) => format!("{} ({hint})", refusal.message),
            None => refusal.message,
        };
        let (status, code) = match refusal.reason {
            Reason::ServiceUnknown => (StatusCode::NOT_FOUND, "service_unknown"),
            Reason::RunUnknown => (StatusCode::NOT_FOUND, "not_found"),
            Reason::ServiceNotLlamaCpp => (StatusCode::BAD_REQUEST, "not_llama_cpp"),
            Reason::ApplyConflict => (StatusCode::CONFLICT, "apply_conflict"),
            Reason::InternalError => return Self::internal(&message),
            other => (StatusCode::BAD_REQUEST, other.as_str()),
        };
        Self::new(status, code, message)
    }
}

impl From<PlanningError> for ApiError {
    fn from(error: PlanningError) -> Self {
        match error {
            PlanningError::Store(error) => error.into(),
            PlanningError::NoModel { .. }
            | PlanningError::OnlySimulated { .. }
            | PlanningError::Unanswered { .. }
            | PlanningError::NoLoadTest { .. } => Self::not_found(error.to_string()),
        }
    }
}
