//! The fields of every kind, in one table each: decoding takes its known names from here and the
//! editors' JSON Schema is generated from here, so that the two cannot part.

use serde_json::{Map, Value, json};

use super::conversation_schema::{CONVERSATION, FILE};
use super::load_test_schema::LOAD_TEST;
use super::model_schema::MODEL;
use super::thresholds::Subject;

/// One field of a map.
#[derive(Debug)]
pub struct Field {
    pub name: &'static str,
    pub doc: &'static str,
    pub shape: Shape,
    pub required: bool,
}

/// What a field may hold, as the schema tells an editor.
#[derive(Debug)]
pub enum Shape {
    Text,
    Boolean,
    Integer {
        least: u32,
        most: u32,
    },
    Number {
        least: f64,
        most: f64,
    },
    Duration,
    /// `5%`.
    Percent,
    /// `5/s`, or a number a second.
    Rate,
    OneOf(&'static [&'static str]),
    /// A text that is usually one of these.
    TextOr(&'static [&'static str]),
    List(&'static Shape),
    /// One, or a list of 1 to so many that makes a matrix.
    OneOrMore(&'static Shape, usize),
    AnyOf(&'static [Shape]),
    Map(&'static [Field]),
    /// llama-bench's flags.
    Flags,
    /// An inference server's flags, with or without their hyphens.
    ServerFlags,
    /// Upper bounds of latencies by name.
    Objectives,
    /// Texts by name, or maps of these fields.
    Documents(&'static [Field]),
    /// Limits by figure, each of these fields.
    Thresholds(&'static [Field]),
    /// `20%`, `±15%`.
    Limit,
    /// A case's number or its columns.
    Case,
    /// A number of bytes.
    Bytes,
    /// SHA-256 in hexadecimal.
    Sha256,
    /// SHA-256 by the name of a file.
    Hashes,
    Any,
}

pub(super) const fn field(name: &'static str, shape: Shape, doc: &'static str) -> Field {
    Field { name, doc, shape, required: false }
}

pub(super) const fn required(name: &'static str, shape: Shape, doc: &'static str) -> Field {
    Field { name, doc, shape, required: true }
}

pub const API_VERSION: &str = "benchlet/v1";
/// Kinds that this version carries out.
pub const KINDS: &[&str] =
    &["LlamaBench", "LoadTest", "Conversation", "Apply", "Model", "Baseline", "Comparison"];
/// Kinds that the format reserves for later versions.
pub const KINDS_TO_COME: &[&str] = &["Tune", "Schedule"];

// What every kind that measures has.
pub(super) const SUSPEND: Field =
    field("suspend", Shape::Boolean, "Start no new run; a running one is left alone.");
pub(super) const STATE: Field =
    field("state", Shape::OneOf(&["Cancelled"]), "Cancelled ends the run and keeps what it measured.");
pub(super) const RERUN: Field =
    field("rerun", Shape::Text, "Any new token runs the unchanged request once more.");
pub(super) const ON_CHANGE: Field = field(
    "onChange",
    Shape::OneOf(&["Queue", "Replace", "Ignore"]),
    "What an edit does to a run in progress.",
);
pub(super) const ON_DELETE: Field = field(
    "onDelete",
    Shape::OneOf(&["Finish", "Cancel"]),
    "What removing the file does to a run in progress.",
);
pub(super) const BACKOFF_LIMIT: Field = field(
    "backoffLimit",
    Shape::Integer { least: 0, most: 10 },
    "How often a failed run is tried again (0).",
);
pub(super) const GATE: Field =
    field("gate", Shape::Map(GATE_FIELDS), "Hold every completed run against a baseline.");
pub(super) const REPORT_FIELD: Field =
    field("report", Shape::Map(REPORT), "Reports to write when a run ends.");

pub const DOCUMENT: &[Field] = &[
    required("apiVersion", Shape::OneOf(&[API_VERSION]), "Version of this format."),
    required("kind", Shape::OneOf(KINDS), "What the request asks for."),
    field("metadata", Shape::Map(METADATA), "Identity of the request."),
    required("spec", Shape::Any, "What is to be true."),
];

pub const METADATA: &[Field] = &[
    field("name", Shape::Text, "Unique below the watched root; the file's stem where it is left out."),
    field("labels", Shape::Any, "Free words for people; benchlet does not read them."),
    field("annotations", Shape::Any, "Free words for people; benchlet does not read them."),
];

pub const LLAMA_BENCH: &[Field] = &[
    required("service", Shape::Text, "A llama.cpp service of the compose file or of services.json."),
    field(
        "params",
        Shape::Flags,
        "llama-bench's flags. A list is joined with commas and makes a matrix; null or empty is a bare flag.",
    ),
    field(
        "paramsFrom",
        Shape::TextOr(&["Service", "LastRun"]),
        "Where parameters come from that `params` does not name: Service, LastRun, or the id of a run.",
    ),
    field(
        "launches",
        Shape::Integer { least: 1, most: 100 },
        "How often llama-bench is launched; the samples are pooled.",
    ),
    field(
        "preset",
        Shape::OneOf(&["Quick", "Thorough"]),
        "Quick: 2 repetitions. Thorough: 5 launches of 5 repetitions.",
    ),
    field("gpus", Shape::List(&Shape::Text), "A subset of the service's own GPUs, by index or UUID."),
    field(
        "conflict",
        Shape::OneOf(&["Share", "Fail", "Stop"]),
        "If the service itself runs on the same devices: measure beside it, fail, or stop it for the run.",
    ),
    field("executor", Shape::OneOf(&["auto", "docker", "process"]), "Where llama-bench runs."),
    field("imagePullPolicy", Shape::OneOf(&["IfNotPresent", "Always", "Never"]), "When the image is pulled."),
    field("apply", Shape::Map(INLINE_APPLY), "Put the result into the service when the run has ended."),
    SUSPEND,
    STATE,
    RERUN,
    ON_CHANGE,
    ON_DELETE,
    field("timeout", Shape::Duration, "Longest time to run, all launches together (10m)."),
    BACKOFF_LIMIT,
    GATE,
    REPORT_FIELD,
];

pub const REPORT: &[Field] = &[
    field(
        "formats",
        Shape::OneOrMore(&Shape::OneOf(&["md", "html", "csv", "json", "system"]), 5),
        "Markdown, a page, a row a case, everything as JSON, or the machine alone as JSON (md).",
    ),
    field(
        "dir",
        Shape::Text,
        "Where NAME-RUN.md and the others go: a directory in the setting write_dirs, else below reports/ of the state directory.",
    ),
];

pub const INLINE_APPLY: &[Field] = &[
    field(
        "when",
        Shape::OneOf(&["Succeeded", "Improved"]),
        "Succeeded: after every completed run. Improved: after those that are proven better than a baseline.",
    ),
    field("metric", Shape::Text, "Picks the winning cell of a matrix: pp_avg_ts or tg_avg_ts."),
    field("case", Shape::Case, "Picks a cell of a matrix by its number or its columns."),
    field("against", Shape::Text, "Of Improved: the baseline to improve on."),
    field("minGain", Shape::Percent, "Of Improved: the least gain of `metric` (3%)."),
    field("dryRun", Shape::Boolean, "Only put the difference into the status."),
    field("restart", Shape::Boolean, "Recreate the service's container afterwards."),
];

pub const APPLY: &[Field] = &[
    field("from", Shape::Map(APPLY_FROM), "A request whose run is applied."),
    field("run", Shape::Text, "The id of the run to apply."),
    field("case", Shape::Case, "Picks a cell of a matrix by its number or its columns."),
    field("metric", Shape::Text, "Picks the winning cell of a matrix: pp_avg_ts or tg_avg_ts."),
    field("dryRun", Shape::Boolean, "Only put the difference into the status."),
    field("restart", Shape::Boolean, "Recreate the service's container afterwards."),
    field("suspend", Shape::Boolean, "Apply nothing."),
    field("state", Shape::OneOf(&["Cancelled"]), "Cancelled applies nothing."),
    field("rerun", Shape::Text, "Any new token applies once more."),
    field("timeout", Shape::Duration, "Longest time for the restart to become healthy (10m)."),
    field(
        "onDelete",
        Shape::OneOf(&["Finish", "Cancel"]),
        "What removing the file does to an apply in progress.",
    ),
];

pub const APPLY_FROM: &[Field] = &[
    required("request", Shape::Text, "Name of the request."),
    field("run", Shape::OneOf(&["Latest", "Best"]), "Its newest completed run, or the best by `metric`."),
    field("metric", Shape::Text, "pp_avg_ts or tg_avg_ts; also picks the winning cell of a matrix."),
];

const THRESHOLDS: Field = field(
    "thresholds",
    Shape::Thresholds(THRESHOLD),
    "By figure: p95_latency, p50_latency, throughput, error_rate, pp_avg_ts, tg_avg_ts, ttft_p95, … Others keep their defaults.",
);
const MARGIN: Field =
    field("margin", Shape::Percent, "A change for the worse that is none for the evidence (5%).");
const VARIES: Field = field(
    "varies",
    Shape::OneOrMore(&Shape::Text, 50),
    "Facts that may differ: image, n_threads, -t, or a group: hardware, engine, model, flags, workload; cases.",
);
const STRICT: Field =
    field("strict", Shape::Boolean, "Warnings and what the evidence leaves open count as failures.");

pub const GATE_FIELDS: &[Field] =
    &[required("baseline", Shape::Text, "The baseline's name."), THRESHOLDS, MARGIN, VARIES, STRICT];

pub const THRESHOLD: &[Field] = &[
    field("fail", Shape::Limit, "A change for the worse beyond this fails; ±20% in either direction."),
    field("warn", Shape::Limit, "A change beyond this warns."),
];

pub const RUN_SOURCE: &[Field] = &[
    field("request", Shape::Text, "Name of the request."),
    field("run", Shape::TextOr(&["Latest"]), "Its newest completed run (Latest), or a run's id."),
];

pub const COMPARED_WITH: &[Field] = &[
    field("name", Shape::Text, "A baseline's name."),
    field("request", Shape::Text, "Name of the request."),
    field("run", Shape::TextOr(&["Latest"]), "Its newest completed run (Latest), or a run's id."),
];

pub const BASELINE: &[Field] = &[
    required("name", Shape::Text, "The baseline's name: main, v1.4, before-upgrade."),
    required("from", Shape::Map(RUN_SOURCE), "The run to pin; Latest is resolved once a generation."),
    field("for", Shape::OneOf(&["Request", "Service"]), "Whose runs are compared with it (Request)."),
    field("suspend", Shape::Boolean, "Pin nothing."),
    field("state", Shape::OneOf(&["Cancelled"]), "Cancelled pins nothing."),
    field("rerun", Shape::Text, "Any new token pins the newest run again."),
    ON_DELETE,
];

pub const COMPARISON: &[Field] = &[
    required("baseline", Shape::Map(COMPARED_WITH), "What is compared with."),
    required("candidate", Shape::Map(RUN_SOURCE), "What is judged: each newly completed run once."),
    THRESHOLDS,
    MARGIN,
    VARIES,
    STRICT,
    field("suspend", Shape::Boolean, "Judge nothing."),
    field("state", Shape::OneOf(&["Cancelled"]), "Cancelled judges nothing."),
    field("rerun", Shape::Text, "Any new token judges the newest run again."),
    ON_DELETE,
];

/// The fields of a kind's `spec`.
pub fn spec_fields(kind: &str) -> Option<&'static [Field]> {
    match kind {
        "LlamaBench" => Some(LLAMA_BENCH),
        "LoadTest" => Some(LOAD_TEST),
        "Conversation" => Some(CONVERSATION),
        "Apply" => Some(APPLY),
        "Model" => Some(MODEL),
        "Baseline" => Some(BASELINE),
        "Comparison" => Some(COMPARISON),
        _ => None,
    }
}

/// The JSON Schema (draft 2020-12) of one kind's documents.
pub fn kind_schema(kind: &str) -> Option<Value> {
    let spec = map_schema(spec_fields(kind)?);
    let mut schema = map_schema(DOCUMENT);
    schema["properties"]["kind"] = json!({ "const": kind, "description": "What the request asks for." });
    schema["properties"]["spec"] = spec;
    schema["title"] = json!(format!("benchlet {kind}"));
    Some(with_header(schema))
}

/// The JSON Schema of a file of conversations.
pub fn conversations_schema() -> Value {
    let mut schema = map_schema(FILE);
    schema["title"] = json!("benchlet conversations");
    with_header(schema)
}

/// The JSON Schema of any request, for `# yaml-language-server: $schema=`.
pub fn request_schema() -> Value {
    let any: Vec<Value> = KINDS
        .iter()
        .filter_map(|kind| kind_schema(kind))
        .map(|mut schema| {
            if let Some(map) = schema.as_object_mut() {
                map.remove("$schema");
            }
            schema
        })
        .collect();
    with_header(json!({ "title": "benchlet request", "oneOf": any }))
}

fn with_header(schema: Value) -> Value {
    let mut whole = Map::new();
    whole.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    if let Value::Object(fields) = schema {
        whole.extend(fields);
    }
    Value::Object(whole)
}

fn map_schema(fields: &[Field]) -> Value {
    let mut properties = Map::new();
    for field in fields {
        let mut shape = shape_schema(&field.shape);
        shape["description"] = json!(field.doc);
        properties.insert(field.name.to_owned(), shape);
    }
    let required: Vec<_> = fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn shape_schema(shape: &Shape) -> Value {
    let scalar = json!(["string", "number", "boolean", "null"]);
    match shape {
        Shape::Text => json!({ "type": ["string", "number"] }),
        Shape::Boolean => json!({ "type": "boolean" }),
        Shape::Integer { least, most } => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Shape::Duration => {
            json!({ "type": "string", "pattern": "^[0-9]", "examples": ["90s", "10m", "1h30m"] })
        }
        Shape::Number { least, most } => json!({ "type": "number", "minimum": least, "maximum": most }),
        Shape::Percent => {
            json!({ "type": "string", "pattern": "^[0-9.]+ *%$", "examples": ["1%", "20%"] })
        }
        Shape::Rate => json!({ "type": ["number", "string"], "examples": ["5/s", "0.5/s", "90/min"] }),
        Shape::OneOf(choices) => json!({ "enum": choices }),
        Shape::TextOr(choices) => json!({ "type": "string", "examples": choices }),
        Shape::List(of) => json!({ "type": "array", "items": shape_schema(of) }),
        Shape::OneOrMore(of, most) => {
            let one = shape_schema(of);
            json!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1, "maxItems": most }] })
        }
        Shape::AnyOf(shapes) => {
            json!({ "anyOf": shapes.iter().map(shape_schema).collect::<Vec<_>>() })
        }
        Shape::Map(fields) => map_schema(fields),
        Shape::Flags => json!({
            "type": "object",
            "maxProperties": super::flags::MOST_FLAGS,
            "propertyNames": { "pattern": "^--?[A-Za-z][A-Za-z0-9_-]*$" },
            "additionalProperties": { "oneOf": [
                { "type": scalar },
                { "type": "array", "items": { "type": ["string", "number", "boolean"] } },
            ] },
        }),
        Shape::ServerFlags => json!({
            "type": "object",
            "maxProperties": super::flags::MOST_FLAGS,
            "propertyNames": { "pattern": "^-{0,2}[A-Za-z][A-Za-z0-9_-]*$" },
            "additionalProperties": { "type": scalar },
        }),
        Shape::Objectives => json!({
            "type": "object",
            "propertyNames": { "enum": super::load_test_decode::objective_names().collect::<Vec<_>>() },
            "additionalProperties": shape_schema(&Shape::Duration),
        }),
        Shape::Documents(fields) => json!({
            "type": "object",
            "additionalProperties": { "anyOf": [{ "type": "string" }, map_schema(fields)] },
        }),
        Shape::Thresholds(fields) => json!({
            "type": "object",
            "propertyNames": { "enum": Subject::all().map(|subject| subject.to_string()).collect::<Vec<_>>() },
            "additionalProperties": map_schema(fields),
        }),
        Shape::Limit => {
            json!({ "type": "string", "pattern": "^(±|[+]-)?[0-9.]+ *%$", "examples": ["20%", "±15%"] })
        }
        Shape::Case => json!({ "type": ["integer", "object"] }),
        Shape::Bytes => json!({ "type": "integer", "minimum": 1 }),
        Shape::Sha256 => json!({ "type": "string", "pattern": "^(sha256:)?[0-9A-Fa-f]{64}$" }),
        Shape::Hashes => json!({ "type": "object", "additionalProperties": shape_schema(&Shape::Sha256) }),
        Shape::Any => json!({}),
    }
}
