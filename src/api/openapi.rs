//! The OpenAPI document, made of the same table as the router. Owns what all endpoints have in common.

use axum::routing::get;
use serde_json::{Map, Value, json};

use super::access::Access;
use super::operation::{Answer, Content, Operation, Parameter, Place, schema};
use super::router;

/// Refusals that any endpoint may give.
const COMMON: [(u16, &str); 7] = [
    (400, "What was asked is wrong; the message says what would be right."),
    (401, "No token, or a wrong one."),
    (403, "An unknown Host, or a change from a page of another site."),
    (408, "The body came too slowly."),
    (429, "Too many calls; Retry-After says when to come again."),
    (500, "It could not be done; the log says why."),
    (503, "Not now; Retry-After says when to come again."),
];

pub fn operations() -> Vec<Operation> {
    let summary = "This document";
    vec![Operation::new("get", "/api/openapi.json", "meta", summary, get(answer)).json(
        200,
        "The document",
        schema::of("object"),
    )]
}

async fn answer() -> axum::Json<Value> {
    axum::Json(document())
}

/// The whole document.
pub fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for operation in router::operations() {
        let item = paths.entry(operation.path).or_insert_with(|| json!({}));
        item[operation.method] = of(&operation);
    }
    let error = schema::object(&[(
        "error",
        schema::object(&[("code", schema::text()), ("message", schema::text())]),
    )]);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "benchlet",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Benchmarks of LLM services: started, watched, compared and applied over HTTP.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": { "Error": error },
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "session": { "type": "apiKey", "in": "cookie", "name": super::access::COOKIE },
            },
        },
    })
}

fn of(operation: &Operation) -> Value {
    let mut responses: Map<String, Value> = Map::new();
    for answer in &operation.answers {
        responses.insert(answer.status.to_string(), response(answer));
    }
    for (status, description) in COMMON {
        let error = Content::Json(json!({ "$ref": "#/components/schemas/Error" }));
        let answer = Answer { status, description, content: error };
        responses.entry(status.to_string()).or_insert_with(|| response(&answer));
    }
    let security = match operation.access {
        Access::Open => json!([]),
        Access::Token => json!([{ "token": [] }, { "session": [] }]),
        Access::Planning => json!([{ "token": [] }, { "session": [] }, {}]),
    };
    let mut value = json!({
        "summary": operation.summary,
        "operationId": id_of(operation),
        "tags": [operation.tag],
        "security": security,
        "parameters": operation.parameters.iter().map(parameter).collect::<Vec<_>>(),
        "responses": responses,
    });
    if let Some((schema, required)) = &operation.body {
        value["requestBody"] =
            json!({ "required": required, "content": { "application/json": { "schema": schema } } });
    }
    value
}

fn id_of(operation: &Operation) -> String {
    let words = operation.path.split(['/', '{', '}', '.']).filter(|word| !word.is_empty());
    [operation.method].into_iter().chain(words).collect::<Vec<_>>().join("_")
}

fn parameter(parameter: &Parameter) -> Value {
    let place = match parameter.place {
        Place::Path => "path",
        Place::Query => "query",
        Place::Header => "header",
    };
    json!({
        "name": parameter.name,
        "in": place,
        "required": parameter.required,
        "description": parameter.description,
        "schema": parameter.schema,
    })
}

fn response(answer: &Answer) -> Value {
    let content = match &answer.content {
        Content::Json(schema) => json!({ "application/json": { "schema": schema } }),
        Content::Events => json!({ "text/event-stream": { "schema": schema::text() } }),
        Content::Texts(kinds) => {
            let kinds = kinds.iter().map(|(kind, schema)| ((*kind).to_owned(), json!({ "schema": schema })));
            Value::Object(kinds.collect())
        }
        Content::Metrics => json!({ "application/openmetrics-text": { "schema": schema::text() } }),
        Content::Nothing => return json!({ "description": answer.description }),
    };
    json!({ "description": answer.description, "content": content })
}
