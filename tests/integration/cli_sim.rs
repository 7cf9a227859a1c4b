//! `benchlet sim llama-bench`: what it prints is read like the real tool's output.

use benchlet::run::case;
use benchlet::run::llama_bench_row::parse_rows;
use benchlet::run::progress::LaunchProgress;

use crate::cli_state::Place;

fn sim(place: &Place, line: &[&str], environment: &[(&str, &str)]) -> std::process::Output {
    let mut command = place.command(&[&["sim", "llama-bench"], line].concat());
    command.env("BENCHLET_SIM_SLEEP_MS", "0").envs(environment.iter().copied()).output().unwrap()
}

#[test]
fn its_rows_are_read_and_its_launches_pooled() {
    let place = Place::new();
    let line = ["-m", "simulated", "-o", "jsonl", "-p", "512", "-n", "128", "-r", "3", "-b", "512,1024"];
    let launches: Vec<_> = (0..2)
        .map(|_| {
            let output = sim(&place, &line, &[]);
            assert_eq!(output.status.code(), Some(0));
            parse_rows(&output.stdout).rows
        })
        .collect();
    let cases = case::pool(&launches);
    let keys: Vec<String> = cases.iter().map(case::Case::key).collect();
    assert_eq!(keys, ["pp512 n_batch=512", "tg128 n_batch=512", "pp512 n_batch=1024", "tg128 n_batch=1024"]);
    assert!(cases.iter().all(|case| case.count() == 6));
    assert_eq!(launches[0][0].raw["simulated"], true);
    assert_eq!(launches[0][0].build_commit(), Some("simulated"));
    assert_eq!(launches[0][0].samples_ns, launches[1][0].samples_ns, "the same parameters, the same figures");
}

#[test]
fn its_progress_is_that_of_the_real_tool() {
    let place = Place::new();
    let output = sim(&place, &["-p", "32", "-n", "16", "-d", "32", "-r", "2", "--progress"], &[]);
    let own = String::from_utf8(output.stderr).unwrap();
    let root = env!("CARGO_MANIFEST_DIR");
    let real =
        std::fs::read_to_string(format!("{root}/tests/fixtures/llama-cpp/bench/progress-d.stderr")).unwrap();
    // Whether a depth was cached depends on more than the repetition there.
    let lines = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with("llama-bench: "));
        lines.map(|line| line.replace(" (cached)", "")).collect()
    };
    assert_eq!(lines(&own), lines(&real));
    assert_ne!(LaunchProgress::of_stderr(own.as_bytes()), LaunchProgress::default());
}

#[test]
fn mistakes_end_like_the_real_ones() {
    let place = Place::new();
    for case in [
        "bad-flag",
        "val-p-abc",
        "val-p-neg",
        "val-p-space",
        "fa-bare-last",
        "nkvo-on",
        "val-r-abc",
        "positional",
        "long-eq",
    ] {
        let fixture = format!("{}/tests/fixtures/llama-cpp/bench/{case}", env!("CARGO_MANIFEST_DIR"));
        let read = |ending: &str| std::fs::read_to_string(format!("{fixture}.{ending}")).unwrap();
        // `.cmd` has lost its quotes.
        let line = read("cmd").replace("32, 64", "32,_64");
        let words: Vec<String> = line
            .split_whitespace()
            .skip(1)
            .map(|word| word.replace("json", "jsonl").replace("jsonll", "jsonl").replace('_', " "))
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = sim(&place, &words, &[]);
        assert_eq!(output.status.code(), Some(1), "{case}");
        let errors = |text: &str| -> Vec<String> {
            text.lines().filter(|line| line.starts_with("error: ")).map(str::to_owned).collect()
        };
        assert_eq!(errors(&String::from_utf8(output.stderr).unwrap()), errors(&read("stderr")), "{case}");
        assert!(output.stdout.starts_with(b"usage: "), "{case}");
    }
}

#[test]
fn tests_can_make_it_fail_and_flood() {
    let place = Place::new();
    let output = sim(&place, &["-p", "32", "-n", "16", "-r", "1"], &[("BENCHLET_SIM_EXIT", "1:137")]);
    assert_eq!(output.status.code(), Some(137));
    assert_eq!(parse_rows(&output.stdout).rows.len(), 1);
    let output = sim(&place, &["-p", "0", "-n", "0"], &[("BENCHLET_SIM_OUTPUT_BYTES", "100000")]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 100_000));
}
