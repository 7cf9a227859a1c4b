//! `benchlet measure` on a plan of two prompts, and what it leaves behind.

use benchlet::request::load_test::{Api, CachePolicy, Content, Message, Output, Prompt};
use benchlet::run::measure_plan::{
    CaseAmount, CaseLoad, CasePlan, Dialect, Endpoint, KeySource, MEASURE_VERSION, MeasurePlan, PLAN_FILE,
    PromptPlan, RECORDS_FILE, REFUSAL_FILE, TargetPlan,
};
use benchlet::run::reason::Refusal;
use benchlet::run::request_record::{Line, Record, TargetFacts};

use crate::cli_state::Place;
use crate::strict_dialects::MODEL;

/// Requests of a case, beside one that warms up.
pub const REQUESTS: u32 = 4;
/// Tokens that the plan and its second prompt ask for.
pub const TOKENS: [u64; 2] = [5, 3];
/// Words of the two prompts with their salts.
pub const WORDS: [u64; 2] = [4, 5];

pub fn target(dialect: &Dialect, api: Api, url: &str, key: Option<KeySource>) -> TargetPlan {
    TargetPlan {
        name: format!("{} {api:?}", dialect.as_str()),
        dialect: dialect.clone(),
        api,
        endpoint: Endpoint::Url(url.to_owned()),
        key,
        simulated: false,
        container: None,
    }
}

/// A case for each target: two workers, two prompts in turn.
pub fn plan(targets: Vec<TargetPlan>, stream: bool) -> MeasurePlan {
    let prompt = |content, max_tokens| Prompt { content, max_tokens, temperature: None };
    let message = |role: &str, content: &str| Message { role: role.to_owned(), content: content.to_owned() };
    let messages = vec![message("system", "be brief"), message("user", "hello there")];
    let cases = (0..targets.len()).map(|target| CasePlan {
        case: target as u32 + 1,
        repeat: 1,
        target,
        model: Some(MODEL.to_owned()),
        load: CaseLoad::Closed { concurrency: 2 },
        amount: CaseAmount::Requests(REQUESTS),
        ramp_up_ms: 0,
        input_tokens: None,
    });
    MeasurePlan {
        version: MEASURE_VERSION,
        cases: cases.collect(),
        targets,
        prompts: PromptPlan::Inline(vec![
            prompt(Content::Text("one \"two\" thrée".to_owned()), None),
            prompt(Content::Messages(messages), Some(TOKENS[1] as u32)),
        ]),
        output: Output { max_tokens: TOKENS[0] as u32, temperature: 0.5, ignore_eos: true },
        stream,
        warmup: 1,
        request_timeout_ms: 30_000,
        pause_ms: 0,
        cache: CachePolicy::Salt,
        samples: 1,
        seed: 1,
        salt: 2,
        threads: Some(1),
        sample_every_ms: 60_000,
        collectors: Vec::new(),
    }
}

/// What `benchlet measure` left behind.
pub struct Measured {
    pub place: Place,
    pub code: i32,
    /// On stdout and stderr.
    pub said: String,
    pub lines: Vec<Line>,
}

pub fn measure(plan: &MeasurePlan, environment: &[(&str, &str)]) -> Measured {
    let place = Place::new();
    place.write(&format!("task/{PLAN_FILE}"), &serde_json::to_string(plan).unwrap());
    let mut command = place.command(&["measure", "--folder", "task"]);
    let output = command.envs(environment.iter().copied()).output().unwrap();
    let records = std::fs::read_to_string(place.path().join("task").join(RECORDS_FILE)).unwrap_or_default();
    Measured {
        code: output.status.code().expect("an exit code"),
        said: [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat(),
        lines: records.lines().map(|line| serde_json::from_str(line).expect(line)).collect(),
        place,
    }
}

impl Measured {
    pub fn records(&self) -> Vec<&Record> {
        self.lines
            .iter()
            .filter_map(|line| if let Line::Request(record) = line { Some(record) } else { None })
            .collect()
    }

    pub fn facts(&self) -> Vec<&TargetFacts> {
        self.lines
            .iter()
            .filter_map(|line| if let Line::Target(facts) = line { Some(facts) } else { None })
            .collect()
    }

    pub fn refusal(&self) -> Option<Refusal> {
        let text = std::fs::read(self.place.path().join("task").join(REFUSAL_FILE)).ok()?;
        Some(serde_json::from_slice(&text).unwrap())
    }
}
