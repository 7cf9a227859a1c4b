//! The table of endpoints, and from it the router and the document. Owns which path leads where, and nothing
//! of what happens there.

use axum::Router;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};

use super::access::{gate, guard};
use super::error::ApiError;
use super::operation::Operation;
use super::state::Api;
use super::{
    apply, baselines, comparisons, events, health, logs, metrics, openapi, planning, reports, request_source,
    requests, runs, services, session, start, trends, web,
};

/// Every endpoint.
pub fn operations() -> Vec<Operation> {
    [
        runs::operations(),
        start::operations(),
        apply::operations(),
        reports::operations(),
        logs::operations(),
        services::operations(),
        comparisons::operations(),
        trends::operations(),
        baselines::operations(),
        requests::operations(),
        request_source::operations(),
        events::operations(),
        planning::operations(),
        session::operations(),
        metrics::operations(),
        health::operations(),
        openapi::operations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The service that answers.
pub(super) fn router(api: &Api) -> Router {
    let mut router = Router::new();
    for operation in operations() {
        let layer = from_fn_with_state((api.clone(), operation.access), guard);
        router = router.route(&route_of(operation.path), operation.handler.layer(layer));
    }
    router
        .merge(web::routes())
        .fallback(nothing_there)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(api.clone(), gate))
        .with_state(api.clone())
}

/// A model's name holds slashes, also where a client does not encode them.
fn route_of(path: &str) -> String {
    match path.strip_suffix("/models/{name}") {
        Some(before) => format!("{before}/models/{{*name}}"),
        None => path.to_owned(),
    }
}

async fn nothing_there(headers: HeaderMap) -> Response {
    if web::is_for_people(&headers) {
        return web::lost(headers).await;
    }
    ApiError::not_found("there is no such endpoint; /api/openapi.json lists them").into_response()
}

async fn no_such_method(method: Method) -> ApiError {
    let message = format!("{method} is not for this endpoint");
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}
