//! Comparisons of the real llama.cpp with itself: the same thing twice is no regression, and a service that got a
//! fraction of a CPU is one.

use serde_json::{Value, json};

use crate::daemon;
use crate::workbench::Workbench;

const RUNS: usize = 5;
/// Long enough that a quota of the kernel is felt.
const PARAMS: &str = "params: { -p: 64, -n: 0, -r: 2, -t: 1, --no-warmup: }";

#[test]
fn the_real_thing_twice_is_no_regression_and_a_tenth_of_a_cpu_is_one() {
    let Some(bench) = Workbench::open() else { return };
    let slow =
        std::env::var("BENCHLET_TEST_MODEL_SLOW").expect("BENCHLET_TEST_MODEL_SLOW; `tests/run` sets it");
    bench.add_service(
        "starved",
        &format!(
            "    image: {}\n    command: [llama-server, -m, /models/slow.gguf]\n    cpus: 0.1\n    \
             volumes: ['{slow}:/models/slow.gguf:ro']\n",
            daemon::image()
        ),
    );
    bench.save("first", &format!("{{ service: slow, {PARAMS} }}"));
    bench.save("second", &format!("{{ service: slow, {PARAMS} }}"));
    bench.save("starved", &format!("{{ service: starved, {PARAMS} }}"));
    // In turns, so that whatever else the machine does falls on all of them alike.
    for _ in 0..RUNS {
        for name in ["first", "second", "starved"] {
            let path = bench.request_path(&format!("{name}.yaml")).display().to_string();
            bench.say(&["run", &path]).good();
        }
    }
    let compare = |candidate: &str, more: &[&str]| -> (i32, Value) {
        let runs = RUNS.to_string();
        let line = ["compare", "first", candidate, "--runs", &runs, "-o", "json"];
        let said = bench.say(&[&line, more].concat());
        (said.code, serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}")))
    };
    // The margin is wide because the machine of a test is anything but quiet.
    let (_, same) = compare("second", &["--margin", "50%"]);
    assert_ne!(same["evidence"], "Regression", "{same:#}");
    assert_ne!(same["evidence"], "NotComparable", "{same:#}");
    assert_eq!(same["comparability"]["differences"], json!([]));

    let (code, refused) = compare("starved", &[]);
    assert_eq!((code, &refused["evidence"]), (3, &json!("NotComparable")));
    let differs = &refused["comparability"]["differences"];
    assert_eq!(differs[0]["fact"], "container_limits", "{differs:#}");
    assert_eq!((&differs[0]["baseline"], &differs[0]["candidate"]), (&json!("none"), &json!("0.1 CPUs")));

    let (code, found) = compare("starved", &["--varies", "container_limits"]);
    assert_eq!(
        (code, &found["policy"], &found["evidence"]),
        (1, &json!("Fail"), &json!("Regression")),
        "{found:#}"
    );
    let row = &found["rows"][0];
    assert_eq!((&row["method"], &row["n"]), (&json!("exactRankTest"), &json!([RUNS, RUNS])));
}

#[test]
fn what_is_not_proven_better_is_not_applied_and_the_status_says_why() {
    let Some(bench) = Workbench::open() else { return };
    let params = "params: { -p: 16, -n: 0, -r: 1, -t: 1, -b: 64 }";
    bench.save("first", &format!("{{ service: tiny, {params} }}"));
    let tuned = "apply: { when: Improved, metric: pp_avg_ts, against: main, minGain: 1% }";
    bench.save("tuned", &format!("{{ service: tiny, {params}, {tuned} }}"));
    let run = |name: &str| {
        let path = bench.request_path(&format!("{name}.yaml")).display().to_string();
        bench.say(&["run", &path]).good();
        bench.status(name).unwrap()
    };
    let compose = || std::fs::read_to_string(bench.path("docker-compose.yml")).unwrap();
    let before = compose();
    let without = run("tuned");
    assert_eq!(without["status"]["applied"]["reason"], "NoBaseline", "{without:#}");
    run("first");
    bench.say(&["baseline", "set", "main", "--from", "first", "--for", "tuned"]).good();
    // One launch each proves nothing, whatever its figure is.
    let status = run("tuned");
    let applied = &status["status"]["applied"];
    assert_eq!(
        (&applied["state"], &applied["reason"]),
        (&json!("Failed"), &json!("NotImproved")),
        "{status:#}"
    );
    assert!(applied["message"].as_str().unwrap().contains("pp_avg_ts of pp16"), "{applied:#}");
    assert_eq!(status["status"]["phase"], "Completed");
    assert_eq!(compose(), before);
}
