//! The controller dies, at any moment at all, and the next one ends what it began: nothing is started
//! twice, nothing is lost, nothing is left.

use std::os::unix::process::ExitStatusExt as _;

use benchlet::run::phase::Phase;
use serde_json::Value;

use crate::daemon::{self, Creations};
use crate::workbench::Workbench;

const QUICK: &str = "{ service: tiny, params: { -p: 8, -n: 4, -r: 2, -t: 1 } }";

/// Long enough to be killed in, and complete only when nothing of it was lost.
const SLOW: &str = "{ service: tiny, params: { -p: [8, 16], -n: 0, -r: 2, -t: 1, --delay: 2 } }";

#[test]
fn a_container_that_outlives_the_controller_is_adopted() {
    let Some(mut bench) = Workbench::open() else { return };
    let creations = Creations::watch(&bench.instance);
    bench.save_long_ago("kept", SLOW);
    bench.serve();
    let before = bench.until_measuring();
    bench.kill();
    bench.serve();
    // It is followed again before it ends.
    bench.until_status("kept", "Measuring", |status| status["phase"] == "Running");
    let still: Vec<String> = bench.containers().into_iter().map(|found| found.id).collect();
    assert!(still.is_empty() || still == [before], "{still:?}");
    check_complete(&mut bench, "kept", &creations);
}

#[test]
fn a_container_that_ends_while_the_controller_is_away_is_collected() {
    let Some(mut bench) = Workbench::open() else { return };
    let creations = Creations::watch(&bench.instance);
    bench.save_long_ago("kept", SLOW);
    bench.serve();
    let container = bench.until_measuring();
    bench.kill();
    bench.until("the container ends by itself", |_| (!daemon::is_running(&container)).then_some(()));
    bench.serve();
    check_complete(&mut bench, "kept", &creations);
}

#[test]
fn a_controller_that_is_asked_to_stop_leaves_its_container_to_the_next() {
    let Some(mut bench) = Workbench::open() else { return };
    let creations = Creations::watch(&bench.instance);
    bench.save_long_ago("kept", SLOW);
    bench.serve();
    let container = bench.until_measuring();
    assert!(bench.stop().success());
    assert!(daemon::is_running(&container));
    assert_eq!(bench.status("kept").unwrap()["status"]["phase"], "Running");
    bench.serve();
    check_complete(&mut bench, "kept", &creations);
}

fn check_complete(bench: &mut Workbench, name: &str, creations: &Creations) {
    let document = bench.until_phase(name, "Completed");
    let cases = document["status"]["results"]["cases"].as_array().unwrap();
    let counts: Vec<&Value> = cases.iter().map(|case| &case["samples"]).collect();
    assert_eq!(counts, [2, 2]);
    let runs = bench.runs(name);
    assert_eq!(runs.len(), 1);
    assert_eq!((runs[0].attempt, runs[0].faults), (0, 0));
    assert_eq!(creations.count(&runs[0].id.to_string(), "bench"), 1);
    assert_eq!(bench.containers(), []);
}

/// One life after another, each killed one point later than the last, until one is not.
struct Sweep {
    bench: Workbench,
    creations: Creations,
    crashed: usize,
    names: Vec<String>,
}

impl Sweep {
    /// An installation where one undisturbed run has found the tool and the model's hash.
    fn begin() -> Option<Self> {
        let mut bench = Workbench::open()?;
        let creations = Creations::watch(&bench.instance);
        bench.serve();
        bench.save("undisturbed", QUICK);
        bench.until_phase("undisturbed", "Completed");
        bench.stop();
        Some(Self { bench, creations, crashed: 0, names: Vec::new() })
    }

    /// Serves until the crash point, then without one, until the request's only run has ended.
    /// False where the run ended before the point was reached.
    fn crash_once(&mut self, name: &str, point: usize) -> bool {
        self.names.push(name.to_owned());
        self.bench.serve_with(&[("BENCHLET_CRASH_AT", &point.to_string())]);
        // The status may come up to a second later, the table says it at once.
        let ended =
            |bench: &Workbench| bench.runs(name).first().is_some_and(|run| run.state.phase().is_terminal());
        let death = self.bench.until(&format!("{name} crashes or ends"), |bench| match bench.has_ended() {
            Some(death) => Some(Some(death)),
            None => ended(bench).then_some(None),
        });
        let death = death.unwrap_or_else(|| self.bench.stop());
        let crashed = death.signal() == Some(9);
        assert!(crashed || death.success(), "{name}: {death}\n{}", self.bench.log());
        if crashed {
            self.crashed += 1;
            self.bench.serve();
            self.bench.until_runs_ended(name, 1);
            self.bench.stop();
        }
        crashed
    }

    /// The end state is that of an undisturbed run.
    fn check(&self, name: &str, phase: Phase) {
        let runs = self.bench.runs(name);
        let log = || self.bench.log();
        assert_eq!(runs.len(), 1, "{name}\n{}", log());
        let run = &runs[0];
        assert_eq!(run.state.phase(), phase, "{name}: {:?}\n{}", run.state, log());
        assert_eq!((run.attempt, run.faults, run.failures), (0, 0, 0), "{name}\n{}", log());
        assert_eq!(self.bench.containers(), [], "{name}\n{}", log());
    }

    /// Each run had exactly one container, and what the tables say the status files come to say.
    fn check_all(&mut self, phase: Phase) {
        let made = self.creations.by_run("bench");
        self.bench.serve();
        for name in std::mem::take(&mut self.names) {
            self.bench.until_phase(&name, phase.as_str());
            let run = self.bench.runs(&name)[0].id.to_string();
            assert_eq!(made.get(&run), Some(&1), "containers of {name}\n{}", self.bench.log());
        }
    }

    fn check_samples(&self, name: &str) {
        let database = self.bench.database();
        let mut statement = database
            .prepare("SELECT case_json FROM cases c JOIN runs r ON r.id = c.run_id WHERE request_name = ?1")
            .unwrap();
        let cases = statement.query_map([name], |row| row.get::<_, String>(0)).unwrap();
        let counts: Vec<Vec<usize>> = cases
            .map(|case| {
                let case: Value = serde_json::from_str(&case.unwrap()).unwrap();
                let launches = case["samples_ts"].as_array().unwrap();
                launches.iter().map(|launch| launch.as_array().unwrap().len()).collect()
            })
            .collect();
        assert_eq!(counts, [[2], [2]], "two cases of one launch: {name}");
    }
}

/// Shares the points of a sweep out among a few installations at a time; gives the number of crashes.
fn share(threads: usize, phase: Phase, sweep: impl Fn(&mut Sweep, usize) -> bool + Sync) -> usize {
    std::thread::scope(|scope| {
        let sweep = &sweep;
        let workers: Vec<_> = (1..=threads)
            .map(|first| {
                scope.spawn(move || {
                    let mut own = Sweep::begin().unwrap();
                    let mut point = first;
                    while sweep(&mut own, point) {
                        point += threads;
                    }
                    own.check_all(phase);
                    own.crashed
                })
            })
            .collect();
        let ended: Vec<_> = workers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        ended
            .into_iter()
            .map(|crashes| crashes.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .sum()
    })
}

/// With its service running beside it, which is stopped for the run and started after it: all that a
/// run without one does, and more.
#[test]
fn a_crash_at_any_point_of_a_run_changes_nothing_of_its_end_and_leaves_its_service_running() {
    if daemon::is_left_out() {
        return;
    }
    let crashes = share(3, Phase::Completed, |sweep, point| {
        let name = format!("crash-{point}");
        let project = sweep.bench.project();
        let services = daemon::labelled("com.docker.compose.project", &project);
        let service = match services.first() {
            Some(found) => found.id.clone(),
            None => daemon::start_service(&project, "tiny"),
        };
        sweep.bench.save_long_ago(
            &name,
            "{ service: tiny, conflict: Stop, params: { -p: 8, -n: 4, -r: 2, -t: 1 } }",
        );
        let crashed = sweep.crash_once(&name, point);
        sweep.check(&name, Phase::Completed);
        sweep.check_samples(&name);
        assert!(daemon::is_running(&service), "the service of {name} is down\n{}", sweep.bench.log());
        assert!(sweep.bench.log().contains("StopService"), "it was never stopped");
        crashed
    });
    // Every order of a run has a point before and one after it.
    assert!(crashes >= 40, "only {crashes} points");
}

#[test]
fn a_crash_at_any_point_of_a_cancel_leaves_nothing_running() {
    if daemon::is_left_out() {
        return;
    }
    let crashes = share(2, Phase::Cancelled, |sweep, point| {
        let name = format!("cancel-{point}");
        let spec = |state: &str| {
            format!("{{ service: tiny, {state} params: {{ -p: 8, -n: 0, -r: 1, -t: 1, --delay: 300 }} }}")
        };
        sweep.bench.save_long_ago(&name, &spec(""));
        sweep.bench.serve();
        sweep.bench.until_measuring();
        sweep.bench.kill();
        sweep.bench.save_long_ago(&name, &spec("state: Cancelled,"));
        let crashed = sweep.crash_once(&name, point);
        sweep.check(&name, Phase::Cancelled);
        crashed
    });
    assert!(crashes >= 10, "only {crashes} points");
}
