//! What this run of the tests does without, as `BENCHLET_TEST_WITHOUT` says: a list with commas, which
//! `tests/run` fills where a machine lacks something. What is not in it is needed; its absence is a failure.

#[derive(Clone, Copy)]
pub enum Need {
    Docker,
    Browser,
}

/// Says so to whoever reads the test's output, because the test that asks this then ends.
pub fn is_left_out(need: Need) -> bool {
    let name = match need {
        Need::Docker => "docker",
        Need::Browser => "browser",
    };
    let without = std::env::var("BENCHLET_TEST_WITHOUT").unwrap_or_default();
    let left_out = without.split(',').any(|what| what == name);
    if left_out {
        eprintln!("not run: BENCHLET_TEST_WITHOUT={without}");
    }
    left_out
}
