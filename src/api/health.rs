//! Whether it lives, and whether it is ready. Says nothing else, because anybody may ask.

use axum::extract::State;
use axum::routing::get;
use serde_json::{Value, json};

use super::access::Access;
use super::error::ApiError;
use super::operation::{Operation, schema};
use super::state::{Api, Stored};

pub fn operations() -> Vec<Operation> {
    let said = || schema::object(&[("status", schema::text())]);
    vec![
        Operation::new("get", "/healthz", "meta", "Whether the process answers", get(alive))
            .access(Access::Open)
            .json(200, "It does", said()),
        Operation::new("get", "/readyz", "meta", "Whether requests are carried out", get(ready))
            .access(Access::Open)
            .json(200, "Every request was looked at, and the store answers", said()),
    ]
}

async fn alive() -> axum::Json<Value> {
    axum::Json(json!({ "status": "ok" }))
}

async fn ready(State(api): State<Api>) -> Result<axum::Json<Value>, ApiError> {
    api.ask(|store| -> Stored<()> { store.read(|connection| Ok(connection.execute_batch("SELECT 1")?)) })
        .await?;
    let meter = &api.context.meter;
    if !meter.is_started() {
        return Err(ApiError::unavailable("starting", "the requests have not all been looked at yet"));
    }
    if meter.is_degraded() {
        return Err(ApiError::unavailable("degraded", "the watched directory cannot be trusted at present"));
    }
    Ok(axum::Json(json!({ "status": "ready" })))
}
