//! The matrix of a load test: targets × models × prompt lengths × load × amount, each cell so often as
//! asked, in the order in which they are measured.

use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;

use crate::request::conversation::{Conversation, Conversations};
use crate::request::load_test::{Amount, CaseOrder, LoadShape, LoadTest, Prompts, Target};
use crate::run::measure_plan::{CaseAmount, CaseConversation, CaseLoad, CasePlan};

/// The cells in the order of the request, one repeat after the other, each repeat shuffled by the seed
/// unless the order is to be as written: what drifts over a run then drifts over no list of the matrix.
/// `conversations` are those that the request chose.
pub fn cases(spec: &LoadTest, conversations: &[Conversation]) -> Vec<CasePlan> {
    let cells = match spec.conversations() {
        Some(how) => conversation_cells(spec, how, conversations),
        None => cells(spec),
    };
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
        Prompts::Builtin | Prompts::Inline(_) | Prompts::File(_) | Prompts::Conversations(_) => vec![None],
    };
    let mut cells = Vec::new();
    for (target, of_target) in spec.targets.iter().enumerate() {
        for model in &models(of_target) {
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
                            conversation: None,
                        });
                    }
                }
            }
        }
    }
    cells
}

fn conversation_cells(spec: &LoadTest, how: &Conversations, conversations: &[Conversation]) -> Vec<CasePlan> {
    let mut cells = Vec::new();
    for (target, of_target) in spec.targets.iter().enumerate() {
        for model in &models(of_target) {
            for (index, conversation) in conversations.iter().enumerate() {
                for cache in &how.prefix_cache {
                    cells.push(CasePlan {
                        case: u32::try_from(cells.len() + 1).unwrap_or(u32::MAX),
                        repeat: 1,
                        target,
                        model: model.clone(),
                        load: CaseLoad::Closed { concurrency: 1 },
                        amount: CaseAmount::Requests(
                            u32::try_from(conversation.turns.len()).unwrap_or(u32::MAX),
                        ),
                        ramp_up_ms: 0,
                        input_tokens: None,
                        conversation: Some(CaseConversation { index, cache: *cache }),
                    });
                }
            }
        }
    }
    cells
}

/// None stands for the model that the server names first.
fn models(target: &Target) -> Vec<Option<String>> {
    if target.models.is_empty() { vec![None] } else { target.models.iter().cloned().map(Some).collect() }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::request::load_test::Arrivals;
    use crate::request::tree;
    use crate::request::valid::{Spec, validate};

    /// A spec as somebody writes it.
    pub fn load_test(spec: &str) -> LoadTest {
        let indented: String = spec.lines().map(|line| format!("  {line}\n")).collect();
        let text = format!("apiVersion: benchlet/v1\nkind: LoadTest\nspec:\n{indented}");
        let stream = tree::parse(&text);
        let root = stream.documents[0].root.as_ref().unwrap();
        match validate(root, 0, "a").unwrap().spec {
            Spec::LoadTest(test) => *test,
            Spec::LlamaBench(_)
            | Spec::Apply(_)
            | Spec::Model(_)
            | Spec::Baseline(_)
            | Spec::Comparison(_)
            | Spec::Imported(_) => panic!("another kind"),
        }
    }

    const ONE: &str = "targets: [{ url: 'http://localhost:8080', model: m }]\n";

    /// Case and repeat in the order in which they are measured.
    fn order(spec: &str) -> Vec<(u32, u32)> {
        cases(&load_test(&format!("{ONE}{spec}")), &[]).iter().map(|case| (case.case, case.repeat)).collect()
    }

    fn concurrencies(cases: &[CasePlan]) -> Vec<Option<u32>> {
        let of = |case: &CasePlan| match case.load {
            CaseLoad::Closed { concurrency } => Some(concurrency),
            CaseLoad::Open { .. } => None,
        };
        cases.iter().map(of).collect()
    }

    #[test]
    fn every_list_multiplies_the_matrix_and_the_last_one_turns_fastest() {
        let spec = load_test(
            "targets: [{ url: 'http://localhost:1', model: [a, b] }, { url: 'http://localhost:2' }]
prompts: { synthetic: { inputTokens: [16, 32] } }
load: { concurrency: [1, 4], requests: [10, 20], rampUp: 2s }
order: AsWritten
",
        );
        let all = cases(&spec, &[]);
        assert_eq!(all.len(), 3 * 2 * 2 * 2);
        let told = |case: &CasePlan| {
            (case.target, case.model.clone(), case.input_tokens, case.load, case.amount, case.ramp_up_ms)
        };
        let cell = |target, model: Option<&str>, tokens, concurrency, requests| {
            let load = CaseLoad::Closed { concurrency };
            (target, model.map(str::to_owned), Some(tokens), load, CaseAmount::Requests(requests), 2_000)
        };
        assert_eq!(told(&all[0]), cell(0, Some("a"), 16, 1, 10));
        assert_eq!(told(&all[1]), cell(0, Some("a"), 16, 1, 20));
        assert_eq!(told(&all[2]), cell(0, Some("a"), 16, 4, 10));
        assert_eq!(told(&all[4]), cell(0, Some("a"), 32, 1, 10));
        assert_eq!(told(&all[8]), cell(0, Some("b"), 16, 1, 10));
        assert_eq!(told(&all[16]), cell(1, None, 16, 1, 10));
        assert_eq!(all.iter().map(|case| case.case).collect::<Vec<_>>(), (1..=24).collect::<Vec<_>>());
    }

    #[test]
    fn rates_and_a_duration_make_cases_as_concurrencies_and_requests_do() {
        let spec =
            format!("{ONE}load: {{ rate: [2, 5], arrivals: Constant, duration: 30s }}\norder: AsWritten\n");
        let seen: Vec<_> =
            cases(&load_test(&spec), &[]).iter().map(|case| (case.load, case.amount)).collect();
        let at =
            |rate| (CaseLoad::Open { rate, arrivals: Arrivals::Constant }, CaseAmount::DurationMs(30_000));
        assert_eq!(seen, [at(2.0), at(5.0)]);
    }

    #[test]
    fn repeats_are_interleaved_so_that_no_case_has_all_of_them_in_a_row() {
        let spec = "load: { concurrency: [1, 2, 4], requests: 10 }\nrepeats: 2\norder: AsWritten\n";
        assert_eq!(order(spec), [(1, 1), (2, 1), (3, 1), (1, 2), (2, 2), (3, 2)]);
    }

    #[test]
    fn a_shuffled_order_is_the_same_for_a_seed_and_another_for_another_one() {
        let spec = |seed| {
            let list: Vec<String> = (1..=12).map(|n| n.to_string()).collect();
            format!(
                "load: {{ concurrency: [{}], requests: 10 }}\nrepeats: 2\nseed: {seed}\n",
                list.join(", ")
            )
        };
        let shuffled = order(&spec(1));
        assert_eq!(shuffled, order(&spec(1)));
        assert_ne!(shuffled, order(&spec(2)));
        let (first, second) = shuffled.split_at(12);
        for (repeat, pass) in [(1, first), (2, second)] {
            assert!(pass.iter().all(|(_, of)| *of == repeat), "a repeat ends before the next begins");
            let mut numbers: Vec<u32> = pass.iter().map(|(case, _)| *case).collect();
            assert!(!numbers.is_sorted());
            numbers.sort_unstable();
            assert_eq!(numbers, (1..=12).collect::<Vec<_>>(), "every case once");
        }
        let cases_of = |pass: &[(u32, u32)]| pass.iter().map(|(case, _)| *case).collect::<Vec<_>>();
        assert_ne!(cases_of(first), cases_of(second), "each repeat has an order of its own");
    }

    #[test]
    fn a_case_keeps_its_number_wherever_it_is_measured() {
        let lists = "load: { concurrency: [1, 2, 4, 8], requests: 10 }\n";
        let mut shuffled = cases(&load_test(&format!("{ONE}{lists}seed: 3\n")), &[]);
        let written = cases(&load_test(&format!("{ONE}{lists}order: AsWritten\n")), &[]);
        assert_eq!(concurrencies(&written), [Some(1), Some(2), Some(4), Some(8)]);
        shuffled.sort_by_key(|case| case.case);
        assert_eq!(concurrencies(&shuffled), concurrencies(&written));
    }
}
