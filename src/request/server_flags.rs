//! `params:` of a managed target: which flags of an inference server are a request's to set, and how
//! they are spelled. What a server makes of them is its own affair.

use super::fields::Problems;
use super::flags::{MOST_FLAGS, Param, is_flag_name, unfit_value};
use super::tree::{Node, Value};

const ANOTHER_MODEL: &str =
    "the model comes from the service; a request cannot make the server load another one";
const OWN_ADDRESS: &str = "benchlet gives a managed server an address of its own";
const KEYS: &str = "keys come from the settings and never from a request";
const ELSEWHERE: &str = "a request cannot make a server reach or listen elsewhere";
const OTHER_FILES: &str = "a request cannot name files or code for a server to load, or files to write";
const NO_SERVER: &str = "it prints and exits, so nothing would be measured";

/// Flags of llama-server, vLLM and their like that are not a request's to set.
const RESERVED: &[(&str, &[&str])] = &[
    (
        ANOTHER_MODEL,
        &[
            "--model",
            "-m",
            "--model-url",
            "-mu",
            "--model-tag",
            "--model-draft",
            "-md",
            "--spec-draft-model",
            "--model-vocoder",
            "-mv",
            "--models-dir",
            "--models-preset",
            "--docker-repo",
            "-dr",
            "--lora",
            "--lora-scaled",
            "--lora-modules",
            "--control-vector",
            "--control-vector-scaled",
            "--mmproj",
            "-mm",
            "-mmu",
            "--speculative-config",
            "-sc",
            "--revision",
            "--code-revision",
            "--tokenizer",
            "--tokenizer-revision",
            "--offline",
        ],
    ),
    (OWN_ADDRESS, &["--host", "--port", "--uds", "--root-path", "--api-prefix"]),
    (KEYS, &["--api-key", "--api-key-file"]),
    (
        ELSEWHERE,
        &[
            "--rpc",
            "-rpc",
            "--otlp-traces-endpoint",
            "--kv-transfer-config",
            "--kv-events-config",
            "--ec-transfer-config",
            "--master-addr",
            "--master-port",
            "--nnodes",
            "--node-rank",
            "--data-parallel-address",
            "-dpa",
            "--data-parallel-rpc-port",
            "-dpp",
            "--headless",
            "--allowed-media-domains",
        ],
    ),
    (
        OTHER_FILES,
        &[
            "--trust-remote-code",
            "--middleware",
            "--logits-processors",
            "--worker-cls",
            "--worker-extension-cls",
            "--scheduler-cls",
            "--tool-parser-plugin",
            "--reasoning-parser-plugin",
            "--io-processor-plugin",
            "--config",
            "--download-dir",
            "--allowed-local-media-path",
            "--path",
            "--media-path",
            "--tools",
            "--slot-save-path",
            "--log-file",
            "--chat-template-file",
            "--grammar-file",
            "--json-schema-file",
            "--file",
            "-f",
        ],
    ),
    (NO_SERVER, &["--help", "-h", "--usage", "--version", "--list-devices", "-cl", "--cache-list"]),
];

/// Beginnings and ends of whole families of such flags.
const RESERVED_BEGINNINGS: &[(&str, &[&str])] = &[
    (ANOTHER_MODEL, &["--hf", "-hf", "--fim-qwen", "--lora-init"]),
    (OWN_ADDRESS, &["--ssl"]),
    (NO_SERVER, &["--completion-bash"]),
];
const RESERVED_ENDINGS: &[(&str, &[&str])] = &[(ANOTHER_MODEL, &["-url", "-default"])];

/// Why a flag, spelled as [`spelled`] gives it, is not a request's to set; `None` where it is.
pub fn reserved(flag: &str) -> Option<&'static str> {
    let is_long = flag.starts_with("--");
    let exact = RESERVED.iter().find(|(_, flags)| {
        // Argument parsers also take a beginning that is not ambiguous for the whole.
        flags.iter().any(|known| *known == flag || (is_long && known.starts_with(flag)))
    });
    let begins =
        || RESERVED_BEGINNINGS.iter().find(|(_, parts)| parts.iter().any(|part| flag.starts_with(part)));
    let ends = || RESERVED_ENDINGS.iter().find(|(_, parts)| parts.iter().any(|part| flag.ends_with(part)));
    exact.or_else(begins).or_else(ends).map(|(reason, _)| *reason)
}

/// A flag in the one spelling that servers share: `max_model_len` → `--max-model-len`, `c` → `-c`.
/// What begins with one hyphen stays as it is.
pub fn spelled(name: &str) -> String {
    if let Some(long) = name.strip_prefix("--") {
        return format!("--{}", long.replace('_', "-"));
    }
    if name.starts_with('-') {
        return name.to_owned();
    }
    if name.chars().count() == 1 { format!("-{name}") } else { format!("--{}", name.replace('_', "-")) }
}

/// Decodes a map of flag to value; nothing is a bare flag. `path` is how messages call the map.
pub fn decode(node: &Node, path: &str, problems: &Problems) -> Vec<Param> {
    let Some(entries) = node.entries() else {
        problems.error_with_hint(
            node,
            format!("{path} has to be a map of flags, not {}", node.kind_name()),
            "for example max_model_len: 4096",
        );
        return Vec::new();
    };
    if entries.len() > MOST_FLAGS {
        problems.error(node, format!("{path} has {} flags; at most {MOST_FLAGS} are taken", entries.len()));
    }
    let mut params: Vec<Param> = Vec::new();
    for entry in entries {
        let Some(name) = entry.key.text() else {
            problems.error(&entry.key, "a flag has to be a plain word such as max_model_len");
            continue;
        };
        let flag = spelled(name);
        if !is_flag_name(&flag) {
            problems.error_with_hint(
                &entry.key,
                format!("\"{name}\" is not a flag"),
                "a letter, then letters, digits, - or _, with or without hyphens before it",
            );
            continue;
        }
        if let Some(reason) = reserved(&flag) {
            problems.error_with_hint(&entry.key, format!("the flag {flag} is reserved"), reason);
            continue;
        }
        if params.iter().any(|known| known.flag == flag) {
            problems.error(&entry.key, format!("{path} has {flag} twice, whatever its spelling"));
            continue;
        }
        if let Some(value) = value(&flag, &entry.value, problems) {
            params.push(Param { flag, value });
        }
    }
    params
}

fn value(flag: &str, node: &Node, problems: &Problems) -> Option<String> {
    let text = match &node.value {
        Value::Null => return Some(String::new()),
        Value::Scalar(scalar) => scalar.text.clone(),
        Value::List(_) | Value::Map(_) => {
            problems.error_with_hint(
                node,
                format!("{flag} has to be a single value, not {}", node.kind_name()),
                "to measure several values, write a target for each",
            );
            return None;
        }
    };
    let looks_like_flag = text
        .strip_prefix('-')
        .is_some_and(|rest| rest.starts_with('-') || rest.starts_with(|c: char| c.is_ascii_alphabetic()));
    if looks_like_flag {
        // Behind a bare flag it would be read as one, past the list above.
        problems.error_with_hint(
            node,
            format!("the value of {flag} looks like a flag"),
            "give it an entry of its own",
        );
        return None;
    }
    if let Some(message) = unfit_value(flag, &text) {
        problems.error(node, message);
        return None;
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_may_be_spelled_with_hyphens_or_underscores() {
        for (written, expected) in [
            ("max_model_len", "--max-model-len"),
            ("--max_model_len", "--max-model-len"),
            ("--ctx-size", "--ctx-size"),
            ("c", "-c"),
            ("-np", "-np"),
        ] {
            assert_eq!(spelled(written), expected);
        }
    }

    #[test]
    fn flags_that_load_reach_or_run_something_else_are_reserved() {
        for name in [
            "model",
            "m",
            "-hfr",
            "hf_repo",
            "--hf-token",
            "port",
            "host",
            "api_key",
            "--api-key-file",
            "trust_remote_code",
            "--trust-remote",
            "mmproj_url",
            "speculative_config",
            "--gpt-oss-20b-default",
            "ssl_keyfile",
            "--rpc",
            "config",
        ] {
            assert!(reserved(&spelled(name)).is_some(), "{name}");
        }
    }

    #[test]
    fn flags_that_tune_a_server_are_not_reserved() {
        for name in [
            "max_model_len",
            "gpu_memory_utilization",
            "max_num_seqs",
            "max_num_batched_tokens",
            "enforce_eager",
            "enable_prefix_caching",
            "no_enable_prefix_caching",
            "tensor_parallel_size",
            "kv_cache_dtype",
            "tokenizer_mode",
            "--ctx-size",
            "-c",
            "-np",
            "--parallel",
            "-ngl",
            "--flash-attn",
            "--cache-type-k",
            "--batch-size",
            "--ubatch-size",
            "--threads",
            "--metrics",
        ] {
            assert_eq!(reserved(&spelled(name)), None, "{name}");
        }
    }
}
