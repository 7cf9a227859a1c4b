//! `benchlet measure` and servers that want a key, or are not ready to be measured.

use std::path::Path;

use benchlet::request::load_test::Api;
use benchlet::run::measure_plan::{Dialect, KeySource};
use benchlet::run::reason::Reason;
use benchlet::run::request_record::ErrorKind;
use serde_json::json;

use crate::cli_state::Place;
use crate::measure_dialects::{REQUESTS, plan};
use crate::measuring::{measure, measure_with, target};
use crate::strict_dialects as strict;
use crate::strict_server::{Asked, Reply, StrictServer};

const KEY: &str = "sk-never-to-be-seen-4711";

/// Every file below a folder, read.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![(path.display().to_string(), std::fs::read(&path).unwrap())]
            }
        })
        .collect()
}

#[test]
fn a_key_opens_the_server_and_is_written_nowhere() {
    let elsewhere = Place::new();
    elsewhere.write("key", &format!("{KEY}\n"));
    let file = elsewhere.path().join("key").display().to_string();
    let sources = [KeySource::Env("OUR_TEST_KEY".to_owned()), KeySource::File(file)];
    let servers = [
        (Dialect::OpenAi, strict::openai as fn(&Asked, Option<&str>) -> Reply),
        (Dialect::Vllm, strict::vllm),
        (Dialect::LlamaCpp, strict::llama_cpp),
    ];
    for (dialect, answer) in servers {
        let server = StrictServer::start(move |asked| answer(asked, Some(KEY)));
        for source in &sources {
            let targets = vec![target(&dialect, Api::Chat, &server.url(), Some(source.clone()))];
            let measured = measure_with(&plan(targets, true), &[("OUR_TEST_KEY", KEY)]);
            assert_eq!(measured.code, Some(0), "{}", measured.said());
            assert_eq!(measured.records().len(), REQUESTS as usize + 1);
            assert!(measured.records().iter().all(|record| record.error.is_none()));
            assert!(!measured.said().contains(KEY));
            for (path, bytes) in files(measured.place()) {
                assert!(memchr::memmem::find(&bytes, KEY.as_bytes()).is_none(), "{path} has the key");
            }
        }
    }
}

#[test]
fn a_wrong_key_is_an_error_of_each_request_with_the_servers_words() {
    for (dialect, answer, words) in [
        (Dialect::Vllm, strict::vllm as fn(&Asked, Option<&str>) -> Reply, "HTTP 401: Unauthorized"),
        (Dialect::LlamaCpp, strict::llama_cpp, "HTTP 401: Invalid API Key"),
    ] {
        let server = StrictServer::start(move |asked| answer(asked, Some(KEY)));
        for key in [Some(KeySource::Env("OUR_TEST_KEY".to_owned())), None] {
            let targets = vec![target(&dialect, Api::Chat, &server.url(), key)];
            let measured = measure_with(&plan(targets, true), &[("OUR_TEST_KEY", "sk-another")]);
            assert_eq!((measured.code, measured.refusal()), (Some(0), None), "{}", measured.said());
            assert_eq!(measured.records().len(), REQUESTS as usize + 1);
            for record in measured.records() {
                let error = record.error.as_ref().expect("an error");
                assert_eq!((error.kind, record.status), (ErrorKind::HttpStatus, Some(401)));
                assert_eq!(error.message, words);
            }
        }
    }
}

/// OpenAI's own list of models is behind the key, so that nothing has to be sent to know.
#[test]
fn a_wrong_key_for_openai_ends_it_before_the_first_request() {
    let server = StrictServer::start(|asked| strict::openai(asked, Some(KEY)));
    let key = Some(KeySource::Env("OUR_TEST_KEY".to_owned()));
    let targets = vec![target(&Dialect::OpenAi, Api::Chat, &server.url(), key)];
    let measured = measure_with(&plan(targets, true), &[("OUR_TEST_KEY", "sk-another")]);
    assert_eq!(measured.code, Some(1));
    let refusal = measured.refusal().expect("a refusal");
    assert_eq!(refusal.reason, Reason::EngineUnreachable);
    assert!(refusal.message.contains("HTTP 401"), "{}", refusal.message);
    assert!(refusal.hint.as_ref().expect("a hint").contains("[keys]"), "{refusal:?}");
    assert!(!refusal.message.contains("sk-another"), "{}", refusal.message);
}

#[test]
fn a_key_that_is_not_there_is_missed_by_its_name() {
    for (source, named) in [
        (KeySource::Env("OUR_ABSENT_KEY".to_owned()), "OUR_ABSENT_KEY"),
        (KeySource::File("/nowhere/key".to_owned()), "/nowhere/key"),
    ] {
        let targets = vec![target(&Dialect::OpenAi, Api::Chat, "http://127.0.0.1:9", Some(source))];
        let measured = measure(&plan(targets, true));
        let refusal = measured.refusal().expect("a refusal");
        assert_eq!((measured.code, refusal.reason), (Some(1), Reason::KeyMissing));
        assert!(refusal.message.contains(named), "{}", refusal.message);
    }
}

#[test]
fn a_server_that_is_not_ready_is_measured_by_no_request() {
    let loading = |_: &Asked| {
        let inner = json!({ "message": "Loading model", "type": "unavailable_error", "code": 503 });
        Reply::json(503, &json!({ "error": inner }))
    };
    let server = StrictServer::start(loading);
    let targets = vec![target(&Dialect::LlamaCpp, Api::Chat, &server.url(), None)];
    let measured = measure(&plan(targets, true));
    assert_eq!(measured.code, Some(1));
    let refusal = measured.refusal().expect("a refusal");
    assert_eq!(refusal.reason, Reason::EngineUnreachable);
    for word in ["llama.cpp Chat", &server.url(), "HTTP 503", "Loading model"] {
        assert!(refusal.message.contains(word), "{}", refusal.message);
    }
    assert!(refusal.hint.is_some());
    assert!(measured.said().contains("EngineUnreachable"), "{}", measured.said());
    let lines: Vec<String> = server.seen().into_iter().map(|seen| seen.line).collect();
    assert_eq!(lines, ["GET /health"]);
    assert!(measured.records().is_empty());
}

#[test]
fn nobody_listening_is_told_with_the_address() {
    // Bound for as long as it is asked, so that no other test gets the port, and never listening.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let free = socket.local_addr().unwrap();
    for dialect in [Dialect::OpenAi, Dialect::Vllm, Dialect::Ollama, Dialect::LlamaCpp] {
        let targets = vec![target(&dialect, Api::Chat, &format!("http://{free}"), None)];
        let measured = measure(&plan(targets, true));
        let refusal = measured.refusal().expect("a refusal");
        assert_eq!((measured.code, refusal.reason), (Some(1), Reason::EngineUnreachable));
        assert!(refusal.message.contains(&free.to_string()), "{}", refusal.message);
        assert!(refusal.message.contains("refused"), "{}", refusal.message);
    }
}
