//! One endpoint: its handler and what the document says of it, side by side, so that the two cannot part.

use axum::routing::MethodRouter;
use serde_json::{Value, json};

use super::access::Access;
use super::state::Api;

pub struct Operation {
    pub method: &'static str,
    /// As the document has it; `{name}` at the end of a planning path takes slashes too.
    pub path: &'static str,
    pub access: Access,
    pub tag: &'static str,
    pub summary: &'static str,
    pub parameters: Vec<Parameter>,
    /// The schema of the JSON body; whether there has to be one.
    pub body: Option<(Value, bool)>,
    pub answers: Vec<Answer>,
    pub handler: MethodRouter<Api>,
}

pub struct Parameter {
    pub name: &'static str,
    pub place: Place,
    pub description: &'static str,
    pub schema: Value,
    pub required: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Path,
    Query,
    Header,
}

pub struct Answer {
    pub status: u16,
    pub description: &'static str,
    pub content: Content,
}

pub enum Content {
    Json(Value),
    /// A stream of server-sent events.
    Events,
    /// Texts of these media types, whichever was asked for, each with its schema.
    Texts(Vec<(&'static str, Value)>),
    /// What Prometheus reads.
    Metrics,
    Nothing,
}

impl Operation {
    pub fn new(
        method: &'static str,
        path: &'static str,
        tag: &'static str,
        summary: &'static str,
        handler: MethodRouter<Api>,
    ) -> Self {
        Self {
            method,
            path,
            access: Access::Token,
            tag,
            summary,
            parameters: Vec::new(),
            body: None,
            answers: Vec::new(),
            handler,
        }
    }

    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    #[must_use]
    pub fn path_parameter(self, name: &'static str, description: &'static str) -> Self {
        self.parameter(name, Place::Path, description, json!({ "type": "string" }), true)
    }

    #[must_use]
    pub fn query(self, name: &'static str, description: &'static str, schema: Value) -> Self {
        self.parameter(name, Place::Query, description, schema, false)
    }

    #[must_use]
    pub fn required_query(self, name: &'static str, description: &'static str, schema: Value) -> Self {
        self.parameter(name, Place::Query, description, schema, true)
    }

    #[must_use]
    pub fn header(self, name: &'static str, description: &'static str) -> Self {
        self.parameter(name, Place::Header, description, json!({ "type": "string" }), false)
    }

    fn parameter(
        mut self,
        name: &'static str,
        place: Place,
        description: &'static str,
        schema: Value,
        required: bool,
    ) -> Self {
        self.parameters.push(Parameter { name, place, description, schema, required });
        self
    }

    #[must_use]
    pub fn body(mut self, schema: Value, required: bool) -> Self {
        self.body = Some((schema, required));
        self
    }

    #[must_use]
    pub fn json(self, status: u16, description: &'static str, schema: Value) -> Self {
        self.answer(status, description, Content::Json(schema))
    }

    #[must_use]
    pub fn answer(mut self, status: u16, description: &'static str, content: Content) -> Self {
        self.answers.push(Answer { status, description, content });
        self
    }

    /// A refusal beside those that every endpoint has.
    #[must_use]
    pub fn refuses(self, status: u16, description: &'static str) -> Self {
        let schema = json!({ "$ref": "#/components/schemas/Error" });
        self.answer(status, description, Content::Json(schema))
    }
}

/// Schemas in few words.
pub mod schema {
    use serde_json::{Map, Value, json};

    pub fn text() -> Value {
        json!({ "type": "string" })
    }

    pub fn maybe(kind: &str) -> Value {
        json!({ "type": [kind, "null"] })
    }

    pub fn of(kind: &str) -> Value {
        json!({ "type": kind })
    }

    pub fn list(items: &Value) -> Value {
        json!({ "type": "array", "items": items })
    }

    /// An object that has all of these fields, and perhaps more.
    pub fn object(fields: &[(&str, Value)]) -> Value {
        let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
        let properties: Map<String, Value> =
            fields.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
        json!({ "type": "object", "required": names, "properties": properties })
    }

    /// The same, or null.
    pub fn object_or_null(fields: &[(&str, Value)]) -> Value {
        let mut schema = object(fields);
        schema["type"] = json!(["object", "null"]);
        schema
    }

    pub fn texts_by_name() -> Value {
        json!({ "type": "object", "additionalProperties": { "type": "string" } })
    }
}
