//! Streams of events and output over HTTP: complete, taken up again where they broke off, many at once, and no
//! burden where nobody reads.

use serde_json::{Value, json};

use crate::api_client::{Client, Event};
use crate::workbench::Workbench;

fn serving() -> (Workbench, Client) {
    let mut bench = Workbench::without_docker();
    bench.serve();
    let client = Client::of(&mut bench);
    (bench, client)
}

fn start(client: &Client, params: Value) -> Value {
    let answer = client.post("/api/benchmarks", &json!({ "service_name": "simulated", "params": params }));
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.json()
}

fn quick() -> Value {
    json!({ "-p": "16", "-n": "4", "-r": "1" })
}

fn has_reason(reason: &str) -> impl Fn(&Event) -> bool {
    move |event| event.kind == "event" && event.json()["reason"] == reason
}

#[test]
fn events_come_as_they_happen_with_the_states_that_they_lead_to() {
    let (_bench, client) = serving();
    let mut events = client.events("/api/events", None);
    let started = start(&client, quick());
    let created = events.until(has_reason("RunCreated"));
    assert_eq!(created.json()["run"], started["id"]);
    assert_eq!(created.json()["request"], started["request"]);
    events.until(has_reason("Completed"));
    let status = events.until(|event| event.kind == "status" && event.json()["phase"] == "Completed");
    assert_eq!(status.json()["name"], started["request"]);
    assert_eq!(status.id, "", "a state has no number");
}

#[test]
fn a_stream_that_broke_off_is_taken_up_without_a_gap_and_without_anything_twice() {
    let (mut bench, client) = serving();
    let mut events = client.events("/api/events", None);
    let started = start(&client, quick());
    let seen = events.until(has_reason("RunCreated"));
    drop(events);
    bench.until_phase(&format!("api/{}", started["request"].as_str().unwrap()), "Completed");
    let mut again = client.events("/api/events", Some(&seen.id));
    let mut numbers = Vec::new();
    loop {
        let event = again.next().unwrap();
        if event.kind == "event" {
            numbers.push(event.id.parse::<i64>().unwrap());
        }
        if has_reason("Completed")(&event) {
            break;
        }
    }
    let first: i64 = seen.id.parse().unwrap();
    let expected: Vec<i64> = (first + 1..=*numbers.last().unwrap()).collect();
    assert_eq!(numbers, expected);
    // A number of the future is none of ours: what happens from now on comes, and nothing old.
    let mut ahead = client.events("/api/events", Some("999999"));
    let next = start(&client, quick());
    assert_eq!(ahead.until(|event| event.kind == "event").json()["request"], next["request"]);
    for wrong in ["x", "-1", "1.5"] {
        let bearer = format!("Bearer {}", client.token);
        let headers = [("authorization", bearer.as_str()), ("last-event-id", wrong)];
        assert_eq!(client.send("GET", "/api/events", &headers, b"").status, 400, "{wrong}");
    }
}

#[test]
fn one_requests_events_are_those_of_no_other() {
    let (mut bench, client) = serving();
    let first = start(&client, quick());
    let name = first["request"].as_str().unwrap();
    bench.until_phase(&format!("api/{name}"), "Completed");
    let mut all = client.events("/api/events?since=0", None);
    let mut of_one = client.events(&format!("/api/events?since=0&request={name}"), None);
    assert!(all.until(has_reason("Completed")).json()["request"] == name);
    for event in std::iter::from_fn(|| of_one.next()) {
        assert_eq!(event.json()["request"], name);
        if has_reason("Completed")(&event) {
            break;
        }
    }
}

#[test]
fn a_runs_output_comes_while_it_runs_and_ends_with_it() {
    let (_bench, client) = serving();
    let started = start(&client, json!({ "-p": "16", "-n": "4", "-r": "3" }));
    let path = format!("/api/benchmarks/{}/logs", started["id"].as_str().unwrap());
    let events: Vec<Event> = client.events(&path, None).rest();
    let last = events.last().unwrap();
    assert_eq!((last.kind.as_str(), &last.json()["status"]), ("end", &json!("completed")));
    let text = |stream: &str| -> String {
        let logs = events.iter().filter(|event| event.kind == "log").map(Event::json);
        logs.filter(|log| log["stream"] == stream)
            .map(|log| log["text"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(text("stdout").lines().count(), 2, "a row a test: {events:?}");
    let run = client.get(&format!("/api/benchmarks/{}", started["id"].as_str().unwrap())).json();
    let rows: Vec<Value> = serde_json::from_str(run["raw_output"].as_str().unwrap()).unwrap();
    let told: Vec<Value> = text("stdout").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows, told);

    // From any place on, the rest of each stream comes and nothing else.
    let logs: Vec<Value> = events.iter().filter(|event| event.kind == "log").map(Event::json).collect();
    let places: Vec<&str> =
        events.iter().filter(|event| event.kind == "log").map(|event| event.id.as_str()).collect();
    for (at, place) in places.iter().enumerate() {
        let rest = client.events(&path, Some(place)).rest();
        let rest: Vec<Value> = rest.iter().filter(|event| event.kind == "log").map(Event::json).collect();
        for stream in ["stderr", "stdout"] {
            let of = |logs: &[Value]| -> String {
                let logs = logs.iter().filter(|log| log["stream"] == stream);
                logs.map(|log| log["text"].as_str().unwrap()).collect()
            };
            assert_eq!(of(&rest), of(&logs[at + 1..]), "{stream} from {place}");
        }
    }
    let bearer = format!("Bearer {}", client.token);
    let again = |id: &str| {
        client.send("GET", &path, &[("authorization", bearer.as_str()), ("last-event-id", id)], b"").status
    };
    assert_eq!(again(&last.id), 204, "a browser stops to call");
    assert_eq!(again("nonsense"), 400);
}

#[test]
fn the_output_of_a_run_that_waits_begins_when_the_run_does() {
    let (mut bench, client) = serving();
    bench.save("first", "{ service: simulated, params: { -p: 16, -n: 2000, -r: 1000 } }");
    bench.until_phase("first", "Running");
    bench.save("second", "{ service: simulated, params: { -p: 16, -n: 4, -r: 1 } }");
    bench.until_phase("second", "Pending");
    let waiting = bench.until("the second run", |bench| bench.runs("second").first().map(|run| run.id));
    let mut logs = client.events(&format!("/api/benchmarks/{waiting}/logs"), None);
    assert_eq!(logs.until(|event| event.kind == "status").json()["status"], "pending");
    assert_eq!(client.post("/api/requests/first/cancel", &json!({})).status, 202);
    logs.until(|event| event.kind == "log");
    assert_eq!(logs.rest().last().unwrap().json()["status"], "completed");
}

#[test]
fn two_hundred_listeners_hear_everything_and_hold_nobody_up() {
    let (mut bench, client) = serving();
    let mut listeners: Vec<_> = (0..200).map(|_| client.events("/api/events", None)).collect();
    let started = start(&client, quick());
    for events in &mut listeners {
        let created = events.until(has_reason("RunCreated"));
        assert_eq!(created.json()["run"], started["id"]);
    }
    // Nobody of them reads on, and the run comes to its end all the same.
    bench.until_phase(&format!("api/{}", started["request"].as_str().unwrap()), "Completed");
    for events in &mut listeners {
        events.until(has_reason("Completed"));
    }
    assert!(bench.stop().success());
    // Their streams end with the server.
    drop(listeners);
}

#[test]
fn two_hundred_followers_of_one_run_get_all_of_its_output() {
    let (_bench, client) = serving();
    let started = start(&client, json!({ "-p": "16", "-n": "4", "-r": "3" }));
    let path = format!("/api/benchmarks/{}/logs", started["id"].as_str().unwrap());
    let followers: Vec<_> = (0..200).map(|_| client.events(&path, None)).collect();
    let texts: Vec<String> = followers
        .into_iter()
        .map(|events| {
            let logs = events.rest().into_iter().filter(|event| event.kind == "log");
            logs.filter(|event| event.json()["stream"] == "stdout")
                .map(|event| event.json()["text"].as_str().unwrap().to_owned())
                .collect()
        })
        .collect();
    assert!(texts.iter().all(|text| *text == texts[0] && text.lines().count() == 2), "{texts:?}");
}
