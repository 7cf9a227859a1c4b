//! `POST /api/benchmarks`: a run of llama-bench on a service. What is asked for becomes the text of a request,
//! goes through the same validation as any file, and is saved as one.

use std::fmt;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::routing::post;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use uuid::Uuid;

use super::error::ApiError;
use super::extract::Body;
use super::operation::{Operation, schema};
use super::state::Api;
use crate::controller::submit::{self, Asked, SubmitError};
use crate::controller::surroundings::find_service;
use crate::plan::service::{Service, ServiceKind};
use crate::request::diagnostic::Diagnostic;
use crate::request::flags::{MOST_FLAGS, Param};
use crate::request::llama_bench::LlamaBench;
use crate::request::schema::API_VERSION;
use crate::request::tree;
use crate::request::valid::{self, Spec, ValidRequest};

pub fn operations() -> Vec<Operation> {
    let body = json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["service_name"],
        "properties": {
            "service_name": { "type": "string", "description": "As /api/services lists it" },
            "params": {
                "type": "object",
                "description": "Flag to text, an empty text for a bare flag. Absent: the service's own flags",
                "additionalProperties": { "type": "string", "maxLength": 1024 },
                "maxProperties": MOST_FLAGS,
            },
        },
    });
    let answer = schema::object(&[
        ("id", schema::text()),
        ("service_name", schema::text()),
        ("status", schema::text()),
        ("message", schema::text()),
        ("request", schema::text()),
        ("file", schema::text()),
    ]);
    vec![
        Operation::new(
            "post",
            "/api/benchmarks",
            "benchmarks",
            "Measures a service with llama-bench, and saves that as a request",
            post(start),
        )
        .body(body, true)
        .json(202, "The run waits for its turn", answer)
        .refuses(404, "There is no such service.")
        .refuses(409, "The service has a run that has not ended.")
        .refuses(413, "The body is too large.")
        .refuses(415, "The body is no JSON."),
    ]
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Start {
    service_name: String,
    params: Option<Params>,
}

/// Flags in the order that they were written, none of them twice.
#[derive(Debug)]
pub struct Params(pub Vec<Param>);

impl<'de> Deserialize<'de> for Params {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Flags;
        impl<'de> Visitor<'de> for Flags {
            type Value = Params;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of flags with texts, such as {\"-p\": \"512\", \"-nkvo\": \"\"}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Params, A::Error> {
                let mut params: Vec<Param> = Vec::new();
                while let Some((flag, value)) = map.next_entry::<String, Value>()? {
                    let Value::String(value) = value else {
                        return Err(A::Error::custom(format!(
                            "the value of {flag:.40} has to be a text: \"512\"; several are \"512,1024\", \
                             none is \"\""
                        )));
                    };
                    if params.iter().any(|known| known.flag == flag) {
                        return Err(A::Error::custom(format!("params has {flag:.40} twice")));
                    }
                    params.push(Param { flag, value });
                    if params.len() > MOST_FLAGS {
                        return Err(A::Error::custom(format!("params has at most {MOST_FLAGS} flags")));
                    }
                }
                Ok(Params(params))
            }
        }
        deserializer.deserialize_map(Flags)
    }
}

async fn start(
    State(api): State<Api>,
    Body(asked): Body<Start>,
) -> Result<(StatusCode, HeaderMap, axum::Json<Value>), ApiError> {
    let service = find_service(&api.context.settings, &asked.service_name).await?;
    measurable(&service)?;
    let run = api.context.random();
    let params = asked.params.map(|params| params.0);
    let text = text_of(&name_of(&service.name, run), &service.name, params.as_deref());
    let request = check(&text, params.as_deref())?;
    let name = request.name.clone();
    let asked = Asked { request, text, service: service.name.clone(), run };
    let context = api.context.clone();
    // A client that leaves must not leave half of it done.
    let started = tokio::spawn(async move { submit::start(&context, asked).await }).await;
    let path = started.map_err(|error| ApiError::internal(&error))??;
    let answer = json!({
        "id": run,
        "service_name": service.name,
        "status": "pending",
        "message": format!("the run waits for its turn; its request is {name}"),
        "request": name,
        "file": path,
    });
    let mut headers = HeaderMap::new();
    if let Ok(place) = HeaderValue::from_str(&format!("/api/benchmarks/{run}")) {
        headers.insert(header::LOCATION, place);
    }
    Ok((StatusCode::ACCEPTED, headers, axum::Json(answer)))
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        match &error {
            SubmitError::Busy(_) => Self::conflict("already_running", error.to_string()),
            SubmitError::Store(_) => Self::internal(&error),
            SubmitError::Degraded => Self::unavailable("degraded", error.to_string()),
            SubmitError::File(_) | SubmitError::Taken(_) | SubmitError::Outside(_) => {
                tracing::warn!(%error, "a request that came over the API was not saved");
                let (status, code) = (StatusCode::INTERNAL_SERVER_ERROR, "not_saved");
                Self::new(status, code, format!("{error}; nothing runs"))
            }
        }
    }
}

/// Whether llama-bench can measure the service at all.
///
/// # Errors
/// It is of another kind.
pub fn measurable(service: &Service) -> Result<(), ApiError> {
    match service.kind {
        ServiceKind::LlamaCpp | ServiceKind::Simulated => Ok(()),
        ServiceKind::Vllm | ServiceKind::Ollama | ServiceKind::Other => Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "service_not_llama_cpp",
            format!("the service {} is not a llama.cpp service ({})", service.name, service.kind.as_str()),
        )),
    }
}

/// The service and the beginning of the run's id: who sees the one finds the other.
pub fn name_of(service: &str, run: Uuid) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let word: String = service.chars().map(plain).take(100).collect();
    let word = word.trim_start_matches(['-', '_', '.']);
    let word = if word.is_empty() { "run" } else { word };
    format!("{word}-{}", &run.simple().to_string()[..8])
}

fn text_of(name: &str, service: &str, params: Option<&[Param]>) -> String {
    let quoted = |text: &str| Value::from(text).to_string();
    let mut text = format!(
        "# Asked for over the API.\napiVersion: {API_VERSION}\nkind: LlamaBench\nmetadata:\n  name: {}\nspec:\n  \
         service: {}\n",
        quoted(name),
        quoted(service)
    );
    match params {
        None => {}
        Some([]) => text.push_str("  params: {}\n"),
        Some(params) => {
            text.push_str("  params:\n");
            for param in params {
                let value = if param.value.is_empty() { String::new() } else { quoted(&param.value) };
                text.push_str(&format!("    {}: {value}\n", quoted(&param.flag)));
            }
        }
    }
    text
}

/// Flags that come without a file.
///
/// # Errors
/// What is wrong with them.
pub fn check_params(params: &[Param]) -> Result<(), ApiError> {
    if params.is_empty() {
        return Ok(());
    }
    check(&text_of("check", "check", Some(params)), Some(params)).map(drop)
}

/// The spec of a run that was asked for, and its time limit in milliseconds.
///
/// # Errors
/// What is wrong with the parameters.
pub fn spec_of(service: &str, params: Option<&[Param]>) -> Result<(LlamaBench, u64), ApiError> {
    let request = check(&text_of("check", service, params), params)?;
    match request.spec {
        Spec::LlamaBench(spec) => Ok((spec, request.control.timeout_ms)),
        Spec::LoadTest(_)
        | Spec::Apply(_)
        | Spec::Model(_)
        | Spec::Baseline(_)
        | Spec::Comparison(_)
        | Spec::Imported(_) => Err(unreadable()),
    }
}

/// The text as any file's: what cannot be read back as it was asked for is refused.
fn check(text: &str, params: Option<&[Param]>) -> Result<ValidRequest, ApiError> {
    let refused = |problems: &[Diagnostic]| {
        let words: Vec<String> = problems
            .iter()
            .map(|problem| match &problem.hint {
                Some(hint) => format!("{} ({hint})", problem.message),
                None => problem.message.clone(),
            })
            .collect();
        ApiError::new(StatusCode::BAD_REQUEST, "invalid_parameters", words.join("; "))
    };
    let stream = tree::parse(text);
    let root = match stream.documents.first().map(|document| &document.root) {
        Some(Ok(root)) if stream.documents.len() == 1 => root,
        Some(Err(problem)) => return Err(refused(std::slice::from_ref(problem))),
        Some(Ok(_)) | None => return Err(unreadable()),
    };
    let request = valid::validate(root, 0, "api").map_err(|problems| refused(&problems))?;
    match &request.spec {
        Spec::LlamaBench(spec) if spec.params.as_deref() == params => Ok(request),
        Spec::LlamaBench(_)
        | Spec::LoadTest(_)
        | Spec::Apply(_)
        | Spec::Model(_)
        | Spec::Baseline(_)
        | Spec::Comparison(_)
        | Spec::Imported(_) => Err(unreadable()),
    }
}

fn unreadable() -> ApiError {
    ApiError::bad_request("the parameters hold characters that a request file cannot")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn param(flag: &str, value: &str) -> Param {
        Param { flag: flag.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn what_is_asked_for_is_what_the_file_says() {
        let params =
            [param("-p", "512"), param("-fa", "on"), param("--no-warmup", ""), param("-b", "0512,1e3")];
        let name = name_of("llamacpp-qwen3:30b/q8", Uuid::nil());
        assert_eq!(name, "llamacpp-qwen3-30b-q8-00000000");
        let request = check(&text_of(&name, "a: b", Some(&params)), Some(&params)).unwrap();
        assert_eq!(request.name, name);
        assert!(check(&text_of("a", "s", None), None).is_ok());
        assert!(check(&text_of("a", "s", Some(&[])), Some(&[])).is_ok());
    }

    #[test]
    fn flags_are_held_to_the_rules_of_request_files() {
        for (flag, value, words) in [
            ("-m", "x", "reserved"),
            ("p", "1", "did you mean \"-p\""),
            ("-p", "a\nb", "-p"),
            ("-p", &"x".repeat(1_025), "-p"),
            ("--x y", "1", "not a flag"),
        ] {
            let params = [param(flag, value)];
            let error = check(&text_of("a", "s", Some(&params)), Some(&params)).unwrap_err();
            assert_eq!(error.status, StatusCode::BAD_REQUEST);
            assert!(error.message.contains(words), "{flag}: {}", error.message);
        }
    }

    #[test]
    fn params_of_another_shape_are_refused_with_what_would_be_right() {
        let read = |text: &str| serde_json::from_str::<Start>(text).map(drop).unwrap_err().to_string();
        for (text, words) in [
            (r#"{"service_name":"a","params":{"-p":512}}"#, "has to be a text"),
            (r#"{"service_name":"a","params":{"-p":["1"]}}"#, "\"512,1024\""),
            (r#"{"service_name":"a","params":{"-p":"1","-p":"2"}}"#, "twice"),
            (r#"{"service_name":"a","params":[]}"#, "object of flags"),
            (r#"{"service":"a"}"#, "unknown field `service`"),
            ("{}", "missing field `service_name`"),
        ] {
            assert!(read(text).contains(words), "{text}: {}", read(text));
        }
    }

    proptest! {
        /// Nothing that a client sends becomes another document, another field or another flag.
        #[test]
        fn a_text_of_any_characters_is_kept_or_refused(service in ".*", flag in ".*", value in ".*") {
            let params = [param(&flag, &value)];
            if let Ok(request) = check(&text_of("a", &service, Some(&params)), Some(&params)) {
                let Spec::LlamaBench(spec) = request.spec else { panic!("another kind") };
                prop_assert_eq!(spec.service, service);
                prop_assert_eq!(spec.params.as_deref(), Some(&params[..]));
            }
        }
    }
}
