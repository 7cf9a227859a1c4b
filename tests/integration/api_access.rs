//! Who may ask over HTTP, from where, how often, and what the server does with callers that keep to nothing.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::api_client::Client;
use crate::cli_state::Place;
use crate::workbench::Workbench;

fn serving() -> (Workbench, Client) {
    let mut bench = Workbench::without_docker();
    bench.serve();
    let client = Client::of(&mut bench);
    (bench, client)
}

/// Every endpoint as the document has it: method, path, whether anybody may call it.
pub fn endpoints(client: &Client) -> Vec<(String, String, bool)> {
    let document = client.get("/api/openapi.json").json();
    let mut list = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let open = operation["security"].as_array().unwrap().is_empty();
            list.push((method.to_uppercase(), path.clone(), open));
        }
    }
    assert!(list.len() > 15, "{list:?}");
    list
}

#[test]
fn without_the_token_every_endpoint_says_401() {
    let (_bench, client) = serving();
    for (method, path, open) in endpoints(&client) {
        let path = path.replace("{id}", "0123").replace("{name}", "a");
        for authorization in [None, Some("Bearer wrong"), Some("Basic YTpi"), Some("Bearer "), Some("x")] {
            let headers: Vec<_> = authorization.map(|value| ("authorization", value)).into_iter().collect();
            let answer = client.send(&method, &path, &headers, b"");
            if open {
                assert_ne!(answer.status, 404, "{method} {path}");
                continue;
            }
            // After twenty wrong ones the address has to wait.
            assert!([401, 429].contains(&answer.status), "{method} {path} {authorization:?}: {answer:?}");
            answer.code();
            if authorization.is_none() {
                assert_eq!(answer.status, 401, "{method} {path}");
                assert!(answer.header("www-authenticate").is_some_and(|scheme| scheme.starts_with("Bearer")));
            }
        }
    }
}

#[test]
fn who_guesses_tokens_has_to_wait_and_others_do_not_notice_by_their_logins() {
    let (_bench, client) = serving();
    let cookie = login(&client);
    let guess = || client.send("GET", "/api/services", &[("authorization", "Bearer guess")], b"");
    let refused = (0..40).map(|_| guess()).find(|answer| answer.status == 429).expect("an end of guessing");
    assert_eq!(refused.code(), "too_many_requests");
    assert!(refused.header("retry-after").is_some_and(|seconds| seconds.parse::<u64>().unwrap() >= 1));
    assert_eq!(client.send("GET", "/api/services", &[("cookie", &cookie)], b"").status, 200);
}

#[test]
fn too_many_calls_are_told_when_to_come_again() {
    let mut bench = Workbench::without_docker();
    bench.set("BENCHLET_API_CALLS_PER_SECOND", "3");
    bench.serve();
    let client = Client::of(&mut bench);
    let refused = (0..200).map(|_| client.get("/healthz")).find(|answer| answer.status == 429);
    let refused = refused.expect("an end of patience");
    assert_eq!(refused.code(), "too_many_requests");
    assert_eq!(refused.header("retry-after"), Some("1"));
}

#[test]
fn the_token_is_shown_once_and_kept_for_its_owner() {
    let (mut bench, client) = serving();
    let mode = std::fs::metadata(bench.path("state/token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(bench.log().matches(&client.token).count(), 1, "{}", bench.log());
    bench.stop();
    assert!(!bench.path("state/api.json").exists(), "a server that is gone is not told of");
    bench.serve();
    let again = Client::of(&mut bench);
    assert_eq!(again.token, client.token);
    assert_eq!(again.get("/api/services").status, 200);
    assert_eq!(bench.log().matches(&client.token).count(), 1);
    let written = bench.everything_written();
    let leaks: Vec<_> = written
        .iter()
        .filter(|(path, bytes)| {
            let named = path.ends_with("state/token") || path.ends_with("log");
            !named && bytes.windows(client.token.len()).any(|part| part == client.token.as_bytes())
        })
        .map(|(path, _)| path)
        .collect();
    assert!(leaks.is_empty(), "{leaks:?}");
}

#[test]
fn a_page_that_was_led_here_by_another_name_is_refused() {
    let (_bench, client) = serving();
    let bearer = format!("Bearer {}", client.token);
    let ask =
        |host: &str| client.send("GET", "/api/services", &[("host", host), ("authorization", &bearer)], b"");
    for host in ["localhost", "localhost:1234", "127.0.0.1:80", "[::1]:7077", client.address.as_str()] {
        assert_eq!(ask(host).status, 200, "{host}");
    }
    for host in ["evil.example", "127.0.0.1.evil.example:7077", "localhost.evil.example", ""] {
        let answer = ask(host);
        assert_eq!((answer.status, answer.code().as_str()), (403, "unknown_host"), "{host}");
    }
    assert_eq!(client.send("GET", "/healthz", &[("host", "evil.example")], b"").status, 403);
}

fn login(client: &Client) -> String {
    let body = json!({ "token": client.token }).to_string();
    let answer = client.send("POST", "/api/login", &[("content-type", "application/json")], body.as_bytes());
    assert_eq!(answer.status, 204, "{answer:?}");
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.contains("; HttpOnly") && cookie.contains("; SameSite=Strict"), "{cookie}");
    assert!(!cookie.contains(&client.token), "the cookie is not the token");
    cookie.split(';').next().unwrap().to_owned()
}

#[test]
fn a_login_reads_everything_and_changes_things_from_its_own_page_alone() {
    let (_bench, client) = serving();
    let wrong = client.send(
        "POST",
        "/api/login",
        &[("content-type", "application/json")],
        json!({ "token": "wrong" }).to_string().as_bytes(),
    );
    assert_eq!(wrong.status, 401);
    let cookie = login(&client);
    assert_eq!(client.send("GET", "/api/benchmarks", &[("cookie", &cookie)], b"").status, 200);
    let stream = client.send("GET", "/api/events", &[("cookie", &cookie)], b"");
    assert!(stream.is_stream(), "{stream:?}");
    let own = format!("http://{}", client.address);
    let other = format!("http://{}0", client.address);
    for (headers, status) in [
        (vec![], 403),
        (vec![("origin", "http://evil.example")], 403),
        (vec![("origin", other.as_str())], 403),
        (vec![("origin", "null")], 403),
        (vec![("sec-fetch-site", "cross-site")], 403),
        (vec![("sec-fetch-site", "same-origin")], 404),
        (vec![("origin", own.as_str())], 404),
    ] {
        let headers = [vec![("cookie", cookie.as_str())], headers].concat();
        let answer = client.send("DELETE", "/api/benchmarks/0123", &headers, b"");
        assert_eq!(answer.status, status, "{headers:?}: {answer:?}");
    }
    let forged = client.send("GET", "/api/benchmarks", &[("cookie", "benchlet_session=x")], b"");
    assert_eq!(forged.status, 401);
    let out = client.send("POST", "/api/logout", &[("cookie", &cookie)], b"");
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
}

#[test]
fn planning_is_opened_to_everybody_by_its_setting_and_nothing_else_is() {
    let mut bench = Workbench::without_docker();
    bench.set("BENCHLET_API_AUTH_V1", "false");
    bench.serve();
    let client = Client::of(&mut bench);
    assert_eq!(client.get_openly("/v1/benchmarks/models").status, 200);
    assert_eq!(client.get_openly("/api/benchmarks").status, 401);
    assert_eq!(client.get_openly("/metrics").status, 401);
}

#[test]
fn an_answer_is_neither_kept_nor_framed_nor_guessed_at() {
    let (_bench, client) = serving();
    for answer in [client.get("/api/benchmarks"), client.get_openly("/api/benchmarks"), client.get("/none")] {
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
        assert_eq!(answer.header("access-control-allow-origin"), None);
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
}

#[test]
fn input_of_every_kind_gets_an_answer_of_one_shape() {
    let (_bench, client) = serving();
    let bearer = format!("Bearer {}", client.token);
    let post = |kind: &str, body: &[u8]| {
        let headers = [("authorization", bearer.as_str()), ("content-type", kind)];
        client.send("POST", "/api/benchmarks", &headers, body)
    };
    let json = "application/json";
    let deep = "[".repeat(50_000);
    let large = format!("{{\"service_name\":\"{}\"}}", "x".repeat(200_000));
    for (kind, body, status) in [
        (json, &b""[..], 400),
        (json, b"{", 400),
        (json, b"null", 400),
        (json, b"\xff\xfe", 400),
        (json, b"{\"service_name\":\"\xff\"}", 400),
        (json, b"{\"service_name\":1}", 400),
        (json, b"{\"service_name\":\"a\",\"service_name\":\"b\"}", 400),
        (json, deep.as_bytes(), 400),
        (json, large.as_bytes(), 413),
        ("application/json; charset=utf-8", b"{}", 400),
        ("text/plain", b"{}", 415),
        ("application/x-www-form-urlencoded", b"service_name=simulated", 415),
        ("multipart/form-data; boundary=x", b"--x--", 415),
    ] {
        let answer = post(kind, body);
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]);
        assert_eq!(answer.status, status, "{kind} {shown}: {answer:?}");
        answer.code();
    }
    for (method, path, status) in [
        ("GET", "/api/benchmarks/%00", 404),
        ("GET", "/api/benchmarks/%ff", 400),
        ("GET", "/api/benchmarks/..%2f..%2fetc%2fpasswd", 404),
        ("GET", "/api/benchmarks/ffffffff-ffff-ffff-ffff-ffffffffffff", 404),
        ("GET", "/api/requests/nothing", 404),
        ("GET", "/api/services/nothing/defaults", 404),
        ("GET", "/api/services/chat/defaults", 400),
        ("POST", "/api/requests/nothing/rerun", 404),
        ("POST", "/api/requests/nothing/cancel", 404),
        ("GET", "/api/nothing", 404),
        ("GET", "/none", 404),
        ("PATCH", "/api/benchmarks", 405),
        ("TRACE", "/api/benchmarks", 405),
        ("PUT", "/healthz", 405),
        ("GET", "/v1/benchmarks/models/some/org:model", 404),
        ("GET", "/v1/benchmarks/estimate?model=a&num_requests=1", 404),
        ("GET", "/v1/benchmarks/estimate?model=a&num_requests=0", 400),
        ("GET", "/v1/benchmarks/estimate?model=a&num_requests=-1", 400),
        ("GET", "/v1/benchmarks/estimate?model=a&num_requests=many", 400),
        ("GET", "/v1/benchmarks/estimate?num_requests=1", 400),
        ("GET", "/v1/benchmarks/compare", 400),
        ("GET", "/v1/benchmarks/compare?num_requests=1&per_hour=-1", 400),
        ("GET", "/v1/benchmarks/compare?num_requests=1&per_hour=1&per_million_tokens=1", 400),
    ] {
        let answer = client.call(method, path, None);
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        answer.code();
    }
}

#[test]
fn callers_that_keep_to_nothing_keep_nobody_else_waiting() {
    let (mut bench, client) = serving();
    let connect = || TcpStream::connect(&client.address).unwrap();
    let halves = [
        "",
        "GET /api/bench",
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: ",
        "POST /api/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n{",
    ];
    let slow: Vec<TcpStream> = (0..120)
        .map(|n| {
            let mut stream = connect();
            stream.write_all(halves[n % halves.len()].as_bytes()).unwrap();
            stream
        })
        .collect();
    for noise in [&b"\x16\x03\x01\x02\x00\x01\x00\x01"[..], b"\r\n\r\n", b"GET\r\n\r\n", &[0xff; 4096]] {
        let mut stream = connect();
        // The server may have hung up before all of it was written.
        drop(stream.write_all(noise));
        drop(stream.shutdown(std::net::Shutdown::Write));
        let mut said = Vec::new();
        drop(stream.read_to_end(&mut said));
        let said = String::from_utf8_lossy(&said);
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 400"), "{said}");
    }
    let long = "x".repeat(600_000);
    let mut stream = connect();
    drop(write!(stream, "GET / HTTP/1.1\r\nHost: localhost\r\nX: {long}\r\n\r\n"));
    assert_eq!(client.get("/api/services").status, 200);
    let asked = json!({ "service_name": "simulated", "params": { "-p": "16", "-n": "4", "-r": "1" } });
    let started: Value = client.post("/api/benchmarks", &asked).json();
    bench.until_phase(&format!("api/{}", started["request"].as_str().unwrap()), "Completed");
    assert!(bench.stop().success(), "the end does not wait for them");
    drop(slow);
}

#[test]
fn a_port_that_is_taken_is_an_error_that_says_what_to_do() {
    let (_bench, client) = serving();
    let place = Place::new();
    place.write("requests/.keep", "");
    let said = place.say(&["serve", "--listen", &client.address]);
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(said.err.contains("cannot listen on") && said.err.contains("--listen"), "{}", said.err);
    let said = place.say(&["serve", "--listen", "nonsense"]);
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(said.err.contains("HOST:PORT"), "{}", said.err);
}

#[test]
fn turned_off_it_listens_nowhere() {
    let mut bench = Workbench::without_docker();
    bench.set("BENCHLET_API_ENABLED", "false");
    bench.serve();
    bench.until_caught_up();
    assert!(!bench.path("state/token").exists() && !bench.path("state/api.json").exists());
}
