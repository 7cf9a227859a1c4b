//! The matrix of a load test: targets × models × prompt lengths × load × amount, each cell so often as
//! asked, in the order in which they are measured.

use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;

use crate::request::load_test::{Amount, CaseOrder, LoadShape, LoadTest, Prompts};
use crate::run::measure_plan::{CaseAmount, CaseLoad, CasePlan};

/// The cells in the order of the request, one repeat after the other, each repeat shuffled by the seed
/// unless the order is to be as written: what drifts over a run then drifts over no list of the matrix.
pub fn cases(spec: &LoadTest) -> Vec<CasePlan> {
    let cells = cells(spec);
    let mut random = ChaCha8Rng::seed_from_u64(spec.seed);
    let mut all = Vec::with_capacity(cells.len() * spec.repeats as usize);
    for repeat in 1..=spec.repeats {
        let mut pass: Vec<CasePlan> = cells.iter().map(|cell| CasePlan { repeat, ..cell.clone() }).collect();
        match spec.order {
            CaseOrder::Shuffled => pass.shuffle(&mut random),
            CaseOrder::AsWritten => {}
        }
        all.extend(pass);
    }
    all
}

fn cells(spec: &LoadTest) -> Vec<CasePlan> {
    let loads: Vec<CaseLoad> = match &spec.load.shape {
        LoadShape::Closed { concurrency } => {
            concurrency.iter().map(|concurrency| CaseLoad::Closed { concurrency: *concurrency }).collect()
        }
        LoadShape::Open { rates, arrivals } => {
            rates.iter().map(|rate| CaseLoad::Open { rate: *rate, arrivals: *arrivals }).collect()
        }
    };
    let amounts: Vec<CaseAmount> = match &spec.load.amount {
        Amount::Requests(list) => list.iter().map(|requests| CaseAmount::Requests(*requests)).collect(),
        Amount::DurationMs(ms) => vec![CaseAmount::DurationMs(*ms)],
    };
    let lengths: Vec<Option<u32>> = match &spec.prompts {
        Prompts::Synthetic(synthetic) => synthetic.input_tokens.iter().copied().map(Some).collect(),
        Prompts::Builtin | Prompts::Inline(_) | Prompts::File(_) => vec![None],
    };
    let mut cells = Vec::new();
    for (target, of_target) in spec.targets.iter().enumerate() {
        let models: Vec<Option<String>> = if of_target.models.is_empty() {
            vec![None]
        } else {
            of_target.models.iter().cloned().map(Some).collect()
        };
        for model in &models {
            for input_tokens in &lengths {
                for load in &loads {
                    for amount in &amounts {
                        cells.push(CasePlan {
                            case: u32::try_from(cells.len() + 1).unwrap_or(u32::MAX),
                            repeat: 1,
                            target,
                            model: model.clone(),
                            load: *load,
                            amount: *amount,
                            ramp_up_ms: spec.load.ramp_up_ms,
                            input_tokens: *input_tokens,
                        });
                    }
                }
            }
        }
    }
    cells
}
