//! The Docker daemon that does not answer for a while, played by a socket between it and the
//! controller. What runs goes on; nobody calls it dead.

use std::fs;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use benchlet::run::phase::Phase;

use crate::daemon::Creations;
use crate::workbench::Workbench;

/// A socket that leads to the daemon's while it is on.
struct Detour {
    socket: PathBuf,
    line: Option<Line>,
}

/// One time of being on.
struct Line {
    over: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<UnixStream>>>,
    acceptor: std::thread::JoinHandle<()>,
}

impl Detour {
    fn new(socket: PathBuf) -> Self {
        let mut detour = Self { socket, line: None };
        detour.turn_on();
        detour
    }

    fn address(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    fn turn_on(&mut self) {
        let listener = UnixListener::bind(&self.socket).unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let open: Arc<Mutex<Vec<UnixStream>>> = Arc::default();
        let (stop, list) = (Arc::clone(&over), Arc::clone(&open));
        let acceptor = std::thread::spawn(move || {
            for client in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(client) = client {
                    // A daemon that is really away shows as a closed connection too.
                    drop(connect_through(client, &list));
                }
            }
        });
        self.line = Some(Line { over, open, acceptor });
    }

    /// Cuts every connection and takes the socket away.
    fn turn_off(&mut self) {
        let Some(line) = self.line.take() else { return };
        line.over.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which looks at `over` then.
        drop(UnixStream::connect(&self.socket));
        line.acceptor.join().unwrap();
        fs::remove_file(&self.socket).unwrap();
        for stream in line.open.lock().unwrap().drain(..) {
            // One that is closed already is as good.
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

impl Drop for Detour {
    fn drop(&mut self) {
        self.turn_off();
    }
}

fn daemon_socket() -> PathBuf {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    host.strip_prefix("unix://").map_or_else(|| PathBuf::from("/var/run/docker.sock"), PathBuf::from)
}

fn connect_through(client: UnixStream, open: &Mutex<Vec<UnixStream>>) -> io::Result<()> {
    let daemon = UnixStream::connect(daemon_socket())?;
    for (mut from, mut to) in
        [(client.try_clone()?, daemon.try_clone()?), (daemon.try_clone()?, client.try_clone()?)]
    {
        std::thread::spawn(move || {
            // Ends when either side closes.
            drop(io::copy(&mut from, &mut to));
            drop(to.shutdown(Shutdown::Write));
        });
    }
    open.lock().unwrap().extend([client, daemon]);
    Ok(())
}

fn behind_a_detour() -> Option<(Workbench, Detour)> {
    let mut bench = Workbench::open()?;
    let detour = Detour::new(Path::new(&bench.path("detour.sock")).to_owned());
    bench.set("DOCKER_HOST", &detour.address());
    Some((bench, detour))
}

#[test]
fn a_daemon_away_for_some_seconds_is_no_dead_run() {
    let Some((mut bench, mut detour)) = behind_a_detour() else { return };
    let creations = Creations::watch(&bench.instance);
    bench.serve();
    bench.save("patient", "{ service: tiny, params: { -p: [8, 16], -n: 0, -r: 2, -t: 1, --delay: 2 } }");
    let container = bench.until_measuring();
    bench.until_phase("patient", "Running");
    detour.turn_off();
    let document = bench.until_reason("patient", "ExecutorUnreachable");
    assert_eq!(document["status"]["phase"], "Running");
    // It ends while nobody can see it.
    bench.until("the container ends", |_| (!crate::daemon::is_running(&container)).then_some(()));
    assert_eq!(bench.runs("patient")[0].state.phase(), Phase::Running);
    detour.turn_on();
    let document = bench.until_phase("patient", "Completed");
    let cases = document["status"]["results"]["cases"].as_array().unwrap();
    assert!(cases.iter().all(|case| case["samples"] == 2) && cases.len() == 2, "{document}");
    let runs = bench.runs("patient");
    assert_eq!((runs.len(), runs[0].attempt, runs[0].faults), (1, 0, 0));
    assert_eq!(creations.count(&runs[0].id.to_string(), "bench"), 1);
    assert_eq!(bench.containers(), []);
}

#[test]
fn a_daemon_that_is_back_before_the_end_is_followed_to_it() {
    let Some((mut bench, mut detour)) = behind_a_detour() else { return };
    bench.serve();
    bench.save("patient", "{ service: tiny, params: { -p: [8, 16], -n: 0, -r: 2, -t: 1, --delay: 300 } }");
    bench.until_measuring();
    detour.turn_off();
    bench.until_reason("patient", "ExecutorUnreachable");
    detour.turn_on();
    bench.until_reason("patient", "Measuring");
    // And it can still be ended.
    bench.save(
        "patient",
        "{ service: tiny, state: Cancelled, params: { -p: [8, 16], -n: 0, -r: 2, -t: 1, --delay: 300 } }",
    );
    bench.until_phase("patient", "Cancelled");
    assert_eq!(bench.containers(), []);
}

#[test]
fn a_cancel_while_the_daemon_is_away_takes_hold_when_it_is_back() {
    let Some((mut bench, mut detour)) = behind_a_detour() else { return };
    bench.serve();
    bench.save("ended", "{ service: tiny, params: { -p: 8, -n: 0, -r: 1, -t: 1, --delay: 300 } }");
    bench.until_measuring();
    detour.turn_off();
    bench.until_reason("ended", "ExecutorUnreachable");
    bench.save(
        "ended",
        "{ service: tiny, state: Cancelled, params: { -p: 8, -n: 0, -r: 1, -t: 1, --delay: 300 } }",
    );
    bench.until_status("ended", "the edit was seen", |status| status["observedGeneration"] == 2);
    assert_eq!(bench.runs("ended")[0].state.phase(), Phase::Running);
    detour.turn_on();
    bench.until_phase("ended", "Cancelled");
    assert_eq!(bench.containers(), []);
}
