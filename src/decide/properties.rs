//! What holds for the decision whatever happens, tried on random histories of a simulated world. The
//! invariants themselves are in `simulation::invariants`; they are asserted at every order.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::simulation::Sim;
use super::simulation::events::{Event, event, fates};

/// Longer than all deadlines, retries and queues of a history together can take.
const LONG_MS: u64 = 45 * 60 * 1000;

fn play(fates: Vec<u8>, events: &[Event]) -> Sim {
    let mut sim = Sim::new(fates);
    for event in events {
        sim.happen(event);
    }
    sim
}

/// The same histories every time; `PROPTEST_RNG_SEED` and `PROPTEST_CASES` look for others.
fn config() -> ProptestConfig {
    let asked = ProptestConfig::default();
    let rng_seed = match asked.rng_seed {
        RngSeed::Random => RngSeed::Fixed(1),
        RngSeed::Fixed(seed) => RngSeed::Fixed(seed),
    };
    ProptestConfig { rng_seed, cases: asked.cases.max(600), ..asked }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happened_every_run_ends_and_the_world_comes_to_rest(
        fates in fates(),
        events in proptest::collection::vec(event(), 1..40),
    ) {
        let mut sim = play(fates, &events);
        sim.calm_down();
        sim.run_for(LONG_MS);
        sim.check_rest();
    }
}
