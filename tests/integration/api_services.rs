//! What `/api/services` says of each service beside its definition: whether its container runs, and what became of
//! it last. The Docker daemon is played, so that it can list what a test wants and fall silent.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::api_client::Client;
use crate::workbench::Workbench;

/// What the played daemon says of containers that are not benchlet's.
enum Says {
    Containers(Value),
    /// It takes the question and never answers.
    Nothing,
}

/// A daemon that has no container of benchlet's.
struct PlayedDaemon {
    address: String,
    says: Arc<Mutex<Says>>,
}

impl PlayedDaemon {
    fn new(says: Says) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("tcp://{}", listener.local_addr().unwrap());
        let says = Arc::new(Mutex::new(says));
        let told = Arc::clone(&says);
        // Lives as long as the tests do.
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming().flatten() {
                silent.extend(answer(stream, &told.lock().unwrap()));
            }
        });
        Self { address, says }
    }

    fn now_says(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }
}

/// The connection, where it is left without an answer.
fn answer(mut stream: TcpStream, says: &Says) -> Option<TcpStream> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head);
    let asked = head.lines().next().unwrap_or_default();
    let body = if asked.contains("/version") {
        json!({ "ApiVersion": "1.43", "Version": "24.0.0" }).to_string()
    } else if asked.contains("/containers/json") && !asked.contains("filters=") {
        match says {
            Says::Containers(list) => list.to_string(),
            Says::Nothing => return Some(stream),
        }
    } else if asked.contains("/_ping") {
        "OK".to_owned()
    } else {
        "[]".to_owned()
    };
    let length = body.len();
    // The controller may have left.
    drop(write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    ));
    None
}

fn of(listed: &Value, name: &str) -> Value {
    let mut services = listed["services"].as_array().unwrap().iter();
    services.find(|service| service["name"] == name).unwrap().clone()
}

#[test]
fn a_service_runs_is_stopped_or_is_absent_and_a_silent_daemon_leaves_it_unknown() {
    let mut bench = Workbench::without_docker();
    let container = |service: &str, state: &str| {
        json!({
            "Id": service,
            "Names": [format!("/{service}-1")],
            "Labels": {
                "com.docker.compose.project": bench.project(),
                "com.docker.compose.service": service,
                "com.docker.compose.oneoff": "False",
            },
            "State": state,
        })
    };
    let daemon = PlayedDaemon::new(Says::Containers(json!([
        container("tiny", "running"),
        container("slow", "exited")
    ])));
    bench.set("DOCKER_HOST", &daemon.address);
    bench.serve();
    let client = Client::of(&mut bench);
    let states = || {
        let answer = client.get("/api/services");
        assert_eq!(answer.status, 200, "{answer:?}");
        let listed = answer.json();
        ["tiny", "slow", "chat", "simulated"].map(|name| of(&listed, name)["state"].clone())
    };
    assert_eq!(states(), [json!("running"), json!("stopped"), json!("absent"), Value::Null]);
    daemon.now_says(Says::Nothing);
    assert_eq!(states(), [Value::Null, Value::Null, Value::Null, Value::Null]);
}

#[test]
fn the_newest_run_and_the_newest_figures_stand_beside_each_service() {
    let mut bench = Workbench::without_docker();
    bench.save_long_ago("quick", "{ service: simulated, params: { -p: 16, -n: 4, -r: 1 } }");
    bench.serve();
    let client = Client::of(&mut bench);
    bench.until_phase("quick", "Completed");
    let run = client.get(&format!("/api/benchmarks/{}", bench.runs("quick")[0].id)).json();
    let service = of(&client.get("/api/services").json(), "simulated");
    assert_eq!(
        service["newest"],
        json!({ "id": run["id"], "kind": "LlamaBench", "status": "completed", "created_at": run["created_at"] })
    );
    let latest = &service["latest"];
    for figure in
        ["id", "completed_at", "pp_avg_ts", "pp_stddev_ts", "tg_avg_ts", "tg_stddev_ts", "simulated"]
    {
        assert_eq!(latest[figure], run[figure], "{figure}");
    }
    assert!(latest["tg_avg_ts"].as_f64().is_some_and(|rate| rate > 0.0), "{latest}");

    // A run that failed is the newest, and leaves the figures of the one before.
    bench.save("wrong", "{ service: simulated, params: { -p: 16, -n: 4, -r: 1, --no-such-flag: 1 } }");
    bench.until_runs_ended("wrong", 1);
    let service = of(&client.get("/api/services").json(), "simulated");
    assert_eq!(service["newest"]["id"], bench.runs("wrong")[0].id.to_string());
    assert_eq!(service["newest"]["status"], "failed", "{service}");
    assert_eq!(service["latest"]["id"], run["id"]);
    let tiny = of(&client.get("/api/services").json(), "tiny");
    assert_eq!(
        (&tiny["newest"], &tiny["latest"], &tiny["state"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
}
