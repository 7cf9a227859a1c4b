//! The page's files as the server gives them out, without a browser.

use crate::api_client::Client;
use crate::workbench::Workbench;

fn serving() -> (Workbench, Client) {
    let mut bench = Workbench::without_docker();
    bench.serve();
    let client = Client::of(&mut bench);
    (bench, client)
}

#[test]
fn everybody_may_have_the_page_and_it_may_load_from_this_server_alone() {
    let (_bench, client) = serving();
    for path in
        ["/", "/login", "/services/a", "/runs/0123abcd", "/requests/a%2Fb", "/models", "/compare?baseline=x"]
    {
        let answer = client.get_openly(path);
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some("text/html; charset=utf-8")),
            "{path}"
        );
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
    }
    let script = client.get_openly("/assets/main.js");
    assert_eq!((script.status, script.header("content-type")), (200, Some("text/javascript; charset=utf-8")));
    assert_eq!(client.get_openly("/assets/mod.rs").status, 404);
    assert_eq!(client.get_openly("/assets/..%2Fmod.rs").status, 404);
}

#[test]
fn a_file_that_has_not_changed_is_not_sent_again() {
    let (_bench, client) = serving();
    let first = client.get_openly("/assets/page.css");
    let tag = first.header("etag").unwrap();
    let host = client.address.clone();
    let again = client.send("GET", "/assets/page.css", &[("host", &host), ("if-none-match", tag)], b"");
    assert_eq!((again.status, again.text.as_str()), (304, ""));
    let other = client.send("GET", "/assets/page.css", &[("host", &host), ("if-none-match", "\"old\"")], b"");
    assert_eq!((other.status, other.text), (200, first.text));
}

#[test]
fn an_address_that_is_not_there_is_a_page_for_people_and_an_error_for_programs() {
    let (_bench, client) = serving();
    let host = client.address.clone();
    let page = client.send("GET", "/nowhere", &[("host", &host), ("accept", "text/html,*/*;q=0.8")], b"");
    assert_eq!((page.status, page.header("content-type")), (404, Some("text/html; charset=utf-8")));
    assert!(page.header("content-security-policy").is_some());
    let error = client.get_openly("/nowhere");
    assert_eq!((error.status, error.code().as_str()), (404, "not_found"));
    let elsewhere = client.send("GET", "/", &[("host", "evil.example:80")], b"");
    assert_eq!(elsewhere.code(), "unknown_host");
}
