//! Every refusal of the API: a status, a code for programs, a sentence for people, always in one shape. Owns
//! which failure is which status. Must not let out what is nobody's business, as paths of the database.

use std::borrow::Cow;

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
    pub code: Cow<'static, str>,
    pub message: String,
    /// When to come again, in seconds.
    pub retry_after: Option<u64>,
}

impl ApiError {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into(), retry_after: None }
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    /// What was asked cannot be done, for a reason that has a name.
    pub fn invalid(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
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
        let reason = refusal.reason;
        let any = |reasons: &[Reason]| reasons.contains(&reason);
        let status = if any(&[Reason::InternalError]) {
            return Self::internal(&message);
        } else if any(&[Reason::ServiceUnknown, Reason::RunUnknown]) {
            StatusCode::NOT_FOUND
        } else if any(&[Reason::ApplyConflict]) {
            StatusCode::CONFLICT
        } else if any(&[Reason::ApplyFailed, Reason::ApplyUnverified]) {
            StatusCode::INTERNAL_SERVER_ERROR
        } else {
            StatusCode::BAD_REQUEST
        };
        Self { code: snake_case(reason.as_str()).into(), ..Self::new(status, "", message) }
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

/// `ServiceUnknown` as codes are spelled: `service_unknown`.
fn snake_case(name: &str) -> String {
    let mut code = String::with_capacity(name.len() + 4);
    for (at, c) in name.char_indices() {
        if c.is_ascii_uppercase() && at > 0 {
            code.push('_');
        }
        code.push(c.to_ascii_lowercase());
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_by_its_status_whose_fault_it_is() {
        for (reason, status, code) in [
            (Reason::ServiceUnknown, 404, "service_unknown"),
            (Reason::RunNotCompleted, 400, "run_not_completed"),
            (Reason::CaseNeeded, 400, "case_needed"),
            (Reason::ApplyConflict, 409, "apply_conflict"),
            (Reason::ApplyFailed, 500, "apply_failed"),
        ] {
            let error = ApiError::from(Refusal::new(reason, "why").hint("what to do"));
            assert_eq!((error.status.as_u16(), &*error.code), (status, code));
            assert_eq!(error.message, "why (what to do)");
        }
    }

    #[test]
    fn what_breaks_inside_is_not_told_outside() {
        let error = ApiError::from(StoreError::NotCommitted("disk I/O error at /secret/place".to_owned()));
        assert_eq!(error.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!error.message.contains("secret"));
    }
}
