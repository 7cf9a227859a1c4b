//! The fields of `kind: Model`.

use super::model::MOST_PATTERNS;
use super::schema::{
    BACKOFF_LIMIT, Field, ON_CHANGE, ON_DELETE, RERUN, STATE, SUSPEND, Shape, field, required,
};

pub const MODEL: &[Field] = &[
    required(
        "source",
        Shape::Text,
        "hf://owner/repo[@revision]/file, hf://owner/repo[@revision], https://…, or a path beneath the watched root, the setting read_dirs or models.",
    ),
    field("sha256", Shape::Sha256, "SHA-256 that the file has to have."),
    field("size", Shape::Bytes, "Size that the file has to have, in bytes."),
    field(
        "include",
        Shape::OneOrMore(&Shape::Text, MOST_PATTERNS),
        "Which files of a repository are taken, as *.safetensors; all of them when left out.",
    ),
    field(
        "files",
        Shape::Hashes,
        "Files that the repository has to have, with their SHA-256; they are taken whatever include says.",
    ),
    SUSPEND,
    STATE,
    RERUN,
    ON_CHANGE,
    ON_DELETE,
    field("timeout", Shape::Duration, "Longest time to download and check, waiting for others apart (24h)."),
    BACKOFF_LIMIT,
];
