use super::*;
use crate::plan::load_cases::tests::load_test;
use crate::plan::load_steps::freeze;
use crate::plan::service::{ModelReference, Port, ServerFlag, ServiceKind};
use crate::run::measure_plan::PLAN_FILE;
use crate::run::measure_plan::{CaseLoad, Dialect, Endpoint, Framing, TargetPlan};
use crate::run::plan::ImageFacts;
use crate::run::plan::{Plan, Prepared, Step};
use crate::run::step::{ContainerSpec, DeviceMapping, GpuRequest, GpuSelection};

const KEY: &str = "sk-secret-of-the-service";

fn gpus(which: GpuSelection) -> ContainerSpec {
    let request = GpuRequest { driver: "nvidia".to_owned(), which, capabilities: vec!["gpu".to_owned()] };
    ContainerSpec { image: "image:tag".to_owned(), gpus: Some(request), ..ContainerSpec::default() }
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// A llama.cpp service with a key, on one GPU.
fn chat() -> Service {
    let flag = |name: &str, value: &str| ServerFlag { name: name.to_owned(), value: Some(value.to_owned()) };
    let env = [("HF_TOKEN", "hf-of-the-hub"), ("CUDA_VISIBLE_DEVICES", "0"), ("MASTER", KEY)];
    Service {
        name: "chat".to_owned(),
        kind: ServiceKind::LlamaCpp,
        container: gpus(GpuSelection::Ids(vec!["0".to_owned()])),
        env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        command: words(&format!("llama-server -m /models/a.gguf --port 5000 --api-key {KEY}")),
        ports: vec![Port { host: 9001, container: 1 }, Port { host: 9002, container: 5000 }],
        model: ModelReference::File("/models/a.gguf".to_owned()),
        flags: vec![flag("--port", "5000")],
        secrets: vec![KEY.to_owned(), "hf-of-the-hub".to_owned()],
        api_key: Some(KEY.to_owned()),
        ..Service::default()
    }
}

/// A vLLM service without a key, on two GPUs.
fn vllm() -> Service {
    Service {
        name: "big".to_owned(),
        kind: ServiceKind::Vllm,
        container: gpus(GpuSelection::Count(2)),
        command: words("vllm serve qwen"),
        ports: vec![Port { host: 9003, container: 8000 }],
        ..Service::default()
    }
}

fn stopped(service: Service) -> FoundService {
    FoundService { service, running: Vec::new(), model: None }
}

fn running(service: Service) -> FoundService {
    let running = vec![format!("container-of-{}", service.name)];
    FoundService { service, running, model: None }
}

fn around(services: Vec<FoundService>) -> Surroundings {
    let engine = CustomEngine {
        name: String::new(),
        port: Some(7000),
        health: "/health".to_owned(),
        generate: "/generate".to_owned(),
        payload: "{}".to_owned(),
        framing: Framing::Json,
        text: "/text".to_owned(),
        tokens_in: None,
        tokens_out: None,
        tokens_cached: None,
        finish_reason: None,
        metrics: None,
        headers: BTreeMap::new(),
    };
    Surroundings {
        run: Uuid::from_u128(7),
        request: "a".to_owned(),
        instance: "i".to_owned(),
        docker: Ok(()),
        services: services.into_iter().map(|found| (found.service.name.clone(), Ok(found))).collect(),
        engines: BTreeMap::from([("triton".to_owned(), engine)]),
        keys: BTreeMap::new(),
        collectors: Vec::new(),
        prompts: Ok(None),
        conversations: Ok(Vec::new()),
        template: Ok(None),
        tokenizer: Ok(None),
        program: "benchlet".to_owned(),
        measurer: words("benchlet measure"),
        timeout_ms: 600_000,
        preparing_ms: 60_000,
    }
}

/// The spec with these targets and two cases each.
fn spec(targets: &str, more: &str) -> LoadTest {
    load_test(&format!(
        "targets: [{targets}]\nload: {{ concurrency: [1, 2], requests: 5 }}\norder: AsWritten\n{more}"
    ))
}

fn resolved(targets: &str, more: &str, around: &Surroundings) -> Blueprint {
    resolve(&spec(targets, more), around).unwrap()
}

fn refused(targets: &str, more: &str, around: &Surroundings) -> Refusal {
    resolve(&spec(targets, more), around).unwrap_err()
}

fn load(blueprint: &Blueprint) -> &LoadBlueprint {
    blueprint.load.as_ref().unwrap()
}

fn only_target(blueprint: &Blueprint) -> &TargetPlan {
    let [target] = load(blueprint).measure.targets.as_slice() else { panic!("not one target") };
    target
}

fn url(text: &str) -> Endpoint {
    Endpoint::Url(text.to_owned())
}

fn started(folder: &str) -> Endpoint {
    Endpoint::Started { folder: folder.to_owned() }
}

fn frozen(blueprint: &Blueprint) -> Plan {
    let image = |n: u32| ImageFacts { id: format!("sha256:{n}"), digest: None };
    let prepared = Prepared { images: (1..=4).map(image).collect(), machine: true, ..Prepared::default() };
    freeze(blueprint, load(blueprint), &prepared)
}

fn step_words(plan: &Plan) -> Vec<String> {
    let word = |step: &Step| match step {
        Step::StopService { containers } => format!("stop {}", containers.join(" ")),
        Step::StartService { containers } => format!("restore {}", containers.join(" ")),
        Step::StartEngine { engine } => format!("start {}", engine.service.as_deref().unwrap_or("simulated")),
        Step::Load { plan, .. } => {
            let names: Vec<&str> = plan.targets.iter().map(|target| target.name.as_str()).collect();
            format!("load {}", names.join(" "))
        }
        Step::StopEngine { step } => format!("end {step}"),
        Step::Bench { .. } => "bench".to_owned(),
    };
    plan.steps.iter().map(word).collect()
}

#[test]
fn a_url_is_spoken_to_as_openai_unless_the_engine_is_named() {
    let bare = resolved("{ url: 'http://host:1234/v2' }", "", &around(vec![]));
    let target = only_target(&bare);
    assert_eq!((&target.dialect, &target.endpoint), (&Dialect::OpenAi, &url("http://host:1234/v2")));
    assert_eq!((target.name.as_str(), target.simulated), ("openai host:1234/v2", false));
    let named = "{ url: 'http://host:1234', engine: vllm, name: mine }";
    let named = resolved(named, "", &around(vec![]));
    assert_eq!((only_target(&named).name.as_str(), &only_target(&named).dialect), ("mine", &Dialect::Vllm));
    assert_eq!((bare.claims.as_slice(), bare.simulated), (&["cpu".to_owned()][..], false));
    assert_eq!(load(&bare).engines, []);
}

#[test]
fn the_simulated_engine_at_a_url_is_marked_as_made_up() {
    let blueprint = resolved("{ url: 'http://localhost:1', engine: simulated }", "", &around(vec![]));
    assert!(only_target(&blueprint).simulated && blueprint.simulated);
    let beside = "{ url: 'http://localhost:1', engine: simulated }, { url: 'http://localhost:2' }";
    let both = resolved(beside, "", &around(vec![]));
    assert!(!both.simulated, "one of the two is real");
    assert_eq!(
        load(&both).measure.targets.iter().map(|target| target.simulated).collect::<Vec<_>>(),
        [true, false]
    );
}

#[test]
fn an_engine_alone_is_looked_for_at_its_usual_port() {
    for (engine, port) in
        [("llama.cpp", 8080), ("ollama", 11434), ("vllm", 8000), ("openai", 8000), ("triton", 7000)]
    {
        let blueprint = resolved(&format!("{{ engine: {engine} }}"), "", &around(vec![]));
        assert_eq!(only_target(&blueprint).endpoint, url(&format!("http://localhost:{port}")), "{engine}");
        assert_eq!(only_target(&blueprint).dialect.as_str(), engine);
    }
    let mut portless = around(vec![]);
    portless.engines.get_mut("triton").unwrap().port = None;
    let refusal = refused("{ engine: triton }", "", &portless);
    assert_eq!(refusal.reason, Reason::EngineUnknown);
    assert_eq!(refusal.hint.as_deref(), Some("give it a url, as url: http://localhost:8080"));
}

#[test]
fn an_engine_that_nobody_describes_is_refused_with_what_was_perhaps_meant() {
    let near = refused("{ engine: tritn, url: 'http://localhost:1' }", "", &around(vec![]));
    assert_eq!(near.reason, Reason::EngineUnknown);
    assert!(near.message.starts_with("there is no engine tritn"), "{}", near.message);
    assert_eq!(near.hint.as_deref(), Some("did you mean \"triton\"?"));
    let far = refused("{ engine: sglang }", "", &around(vec![])).hint.unwrap();
    assert!(far.contains("llama.cpp") && far.contains("triton") && far.contains("[engines.sglang]"), "{far}");
}

#[test]
fn a_service_that_runs_is_reached_at_the_port_that_publishes_its_own() {
    let blueprint = resolved("{ service: chat }", "", &around(vec![running(chat())]));
    let target = only_target(&blueprint);
    assert_eq!((&target.dialect, &target.endpoint), (&Dialect::LlamaCpp, &url("http://localhost:9002")));
    assert_eq!((target.name.as_str(), target.container.as_deref()), ("chat", Some("container-of-chat")));
    assert_eq!(load(&blueprint).engines, []);
    assert_eq!(blueprint.claims, ["cpu", "gpu:0"]);
    assert_eq!(blueprint.model, "/models/a.gguf");

    let unpublished = Service { ports: Vec::new(), ..chat() };
    let refusal = refused("{ service: chat }", "", &around(vec![running(unpublished)]));
    assert_eq!(refusal.reason, Reason::ServiceUnusable);
    assert!(refusal.hint.unwrap().contains("`ports`"));
}

#[test]
fn a_key_goes_to_the_plan_as_the_place_where_it_is_and_never_itself() {
    let target = "{ service: chat }";
    let blueprint = resolved(target, "", &around(vec![running(chat())]));
    assert_eq!(only_target(&blueprint).key, Some(KeySource::Service("chat".to_owned())));
    let managed = resolved("{ service: chat, lifecycle: Managed }", "", &around(vec![stopped(chat())]));
    for blueprint in [&blueprint, &managed] {
        let whole =
            serde_json::to_string(blueprint).unwrap() + &serde_json::to_string(&frozen(blueprint)).unwrap();
        for secret in [KEY, "hf-of-the-hub"] {
            assert!(!whole.contains(secret), "{whole}");
        }
    }
    let open = resolved("{ service: big }", "", &around(vec![running(vllm())]));
    assert_eq!(only_target(&open).key, None);

    let source = KeySource::Env("MY_KEY".to_owned());
    let mut keyed = around(vec![]);
    keyed.keys.insert("http://host:1".to_owned(), source.clone());
    keyed.keys.insert("http://localhost:8000".to_owned(), source.clone());
    assert_eq!(only_target(&resolved("{ url: 'http://host:1' }", "", &keyed)).key, Some(source.clone()));
    assert_eq!(only_target(&resolved("{ engine: vllm }", "", &keyed)).key, Some(source));
    assert_eq!(only_target(&resolved("{ url: 'http://host:2' }", "", &keyed)).key, None);
}

#[test]
fn an_engines_environment_holds_no_secret_and_says_what_it_lacks() {
    let mut service = chat();
    service.env.insert("EXTRA".to_owned(), format!("--api-key={KEY} --verbose"));
    let blueprint = resolved("{ service: chat, lifecycle: Managed }", "", &around(vec![stopped(service)]));
    let names: Vec<&String> = load(&blueprint).engines[0].task.env.keys().collect();
    assert_eq!(names, ["CUDA_VISIBLE_DEVICES"]);
    let told: Vec<&str> = blueprint.warnings.iter().map(String::as_str).collect();
    assert_eq!(
        told,
        [
            "the variable EXTRA of the service chat holds a key and is left out",
            "the variable MASTER of the service chat holds a key and is left out"
        ]
    );
}

#[test]
fn a_short_key_takes_no_variable_away_that_holds_it_by_chance() {
    let env = [("PORTS", "12345"), ("PIN", "1234")];
    let service = Service {
        env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        secrets: vec!["1234".to_owned()],
        ..vllm()
    };
    let blueprint = resolved("{ service: big, lifecycle: Managed }", "", &around(vec![stopped(service)]));
    let names: Vec<&String> = load(&blueprint).engines[0].task.env.keys().collect();
    assert_eq!(names, ["PORTS"]);
}

#[test]
fn a_managed_service_is_started_with_its_own_words_and_waited_for() {
    let more = "engineStartTimeout: 90s\n";
    let targets = "{ service: chat, lifecycle: Managed, params: { -c: 1024 } }";
    let blueprint = resolved(targets, more, &around(vec![stopped(chat())]));
    assert_eq!((&only_target(&blueprint).endpoint, &only_target(&blueprint).key), (&started(""), &None));
    let [engine] = load(&blueprint).engines.as_slice() else { panic!("not one engine") };
    assert_eq!((engine.target, engine.service.as_deref(), engine.start_ms), (0, Some("chat"), 90_000));
    assert_eq!((engine.executor, engine.task.id.role), (ExecutorKind::Docker, Role::Engine));
    assert_eq!(engine.task.deadline_ms, 690_000, "as long as the run and its own start together");
    assert_eq!(
        engine.task.argv.join(" "),
        "llama-server -m /models/a.gguf --port 5000 --host 0.0.0.0 -c 1024"
    );
    let container = engine.task.container.as_ref().unwrap();
    assert_eq!((container.image.as_str(), container.serving.as_ref().unwrap().port), ("image:tag", 5000));
    assert_eq!(blueprint.executor, ExecutorKind::Process, "measuring itself runs beside the controller");
}

#[test]
fn what_a_managed_service_does_that_runs_already_is_for_conflict_to_say() {
    let target = "{ service: chat, lifecycle: Managed }";
    let with = |conflict: &str| {
        resolve(&spec(target, &format!("conflict: {conflict}\n")), &around(vec![running(chat())]))
    };

    let failed = with("Fail").unwrap_err();
    assert_eq!(failed.reason, Reason::ServiceRunning);
    assert_eq!(failed.hint.as_deref(), Some("stop it, or set spec.conflict to Stop, Share or UseRunning"));

    let stops = with("Stop").unwrap();
    assert_eq!(
        (stops.stop.as_slice(), load(&stops).engines.len()),
        (&["container-of-chat".to_owned()][..], 1)
    );
    assert_eq!(
        step_words(&frozen(&stops)),
        ["stop container-of-chat", "start chat", "load chat", "end 1", "restore container-of-chat"]
    );

    let shares = with("Share").unwrap();
    assert_eq!((shares.stop.len(), load(&shares).engines.len()), (0, 1));
    assert!(shares.warnings.iter().any(|warning| warning.contains("shares its devices")));

    let uses = with("UseRunning").unwrap();
    assert_eq!((uses.stop.len(), load(&uses).engines.len()), (0, 0));
    let target = only_target(&uses);
    assert_eq!(
        (&target.endpoint, target.container.as_deref()),
        (&url("http://localhost:9002"), Some("container-of-chat"))
    );
    assert_eq!(target.key, Some(KeySource::Service("chat".to_owned())));
    assert!(uses.warnings.iter().any(|warning| warning.contains("measured as it runs")));

    for conflict in ["Fail", "Stop", "Share", "UseRunning"] {
        let blueprint = resolved(
            "{ service: chat, lifecycle: Managed }",
            &format!("conflict: {conflict}\n"),
            &around(vec![stopped(chat())]),
        );
        assert_eq!((blueprint.stop.len(), load(&blueprint).engines.len()), (0, 1), "{conflict}");
    }
}

#[test]
fn a_service_that_two_targets_start_is_stopped_once() {
    let targets =
        "{ service: chat, lifecycle: Managed }, { service: chat, lifecycle: Managed, preset: SingleUser }";
    let blueprint = resolved(targets, "conflict: Stop\n", &around(vec![running(chat())]));
    assert_eq!(blueprint.stop, ["container-of-chat"]);
    assert_eq!((load(&blueprint).engines.len(), blueprint.service.as_str()), (2, "chat"));
}

#[test]
fn a_service_is_not_stopped_for_the_run_that_measures_it_as_it_runs() {
    let targets = "{ service: chat }, { service: chat, lifecycle: Managed, preset: SingleUser }";
    let refusal = refused(targets, "conflict: Stop\n", &around(vec![running(chat())]));
    assert_eq!(refusal.reason, Reason::ServiceRunning);
    assert_eq!(
        refusal.message,
        "chat is to be measured as it runs, and its service to be stopped for the run"
    );
    let other = "{ service: big }, { service: chat, lifecycle: Managed }";
    let blueprint = resolved(other, "conflict: Stop\n", &around(vec![running(chat()), running(vllm())]));
    assert_eq!(blueprint.stop, ["container-of-chat"]);
}

#[test]
fn without_docker_or_an_image_nothing_can_be_started_and_the_reason_is_said() {
    let target = "{ service: chat, lifecycle: Managed }";
    let away = Surroundings { docker: Err("no socket".to_owned()), ..around(vec![stopped(chat())]) };
    let refusal = refused(target, "", &away);
    assert_eq!(refusal.reason, Reason::NoExecutor);
    assert!(refusal.message.ends_with("Docker cannot be used: no socket"), "{}", refusal.message);
    let process = refused(target, "executor: process\n", &around(vec![stopped(chat())]));
    assert_eq!(process.reason, Reason::NoExecutor);
    assert!(process.hint.unwrap().contains("spec.executor to auto"));
    let built = Service { container: ContainerSpec::default(), ..chat() };
    assert!(refused(target, "", &around(vec![stopped(built)])).message.contains("names no image"));
    let elsewhere =
        resolved("{ service: chat }", "", &Surroundings { services: away.services.clone(), ..away });
    assert_eq!(only_target(&elsewhere).endpoint, url("http://localhost:9002"), "what runs needs no Docker");
}

#[test]
fn the_simulated_engine_is_started_as_benchlet_itself() {
    let blueprint =
        resolved("{ engine: simulated, simulated: { dialect: vllm, ttft: 5ms } }", "", &around(vec![]));
    let target = only_target(&blueprint);
    assert_eq!(
        (target.name.as_str(), &target.dialect, target.simulated),
        ("simulated", &Dialect::Vllm, true)
    );
    assert!(blueprint.simulated);
    let [engine] = load(&blueprint).engines.as_slice() else { panic!("not one engine") };
    assert_eq!(
        (engine.executor, engine.service.as_ref(), &engine.task.container),
        (ExecutorKind::Process, None, &None)
    );
    let (simulation, before) = engine.task.argv.split_last().unwrap();
    assert_eq!(before.join(" "), "benchlet sim serve --listen 127.0.0.1:0 --simulation");
    let told: crate::request::load_test::Simulation = serde_json::from_str(simulation).unwrap();
    assert_eq!((told.dialect.as_str(), told.ttft_ms), ("vllm", 5.0));
}

#[test]
fn a_service_that_is_the_stand_in_is_marked_as_made_up_however_it_is_measured() {
    let sim = || Service { name: "sim".to_owned(), kind: ServiceKind::Simulated, ..vllm() };
    let cases = [
        ("{ service: sim }", "", running(sim())),
        ("{ service: sim, lifecycle: Managed }", "", stopped(sim())),
        ("{ service: sim, lifecycle: Managed }", "conflict: UseRunning\n", running(sim())),
    ];
    for (target, more, found) in cases {
        let blueprint = resolved(target, more, &around(vec![found]));
        assert!(only_target(&blueprint).simulated && blueprint.simulated, "{target} {more}");
    }
}

#[test]
fn what_serves_in_an_unknown_service_has_to_be_said() {
    let other = || running(Service { kind: ServiceKind::Other, ..vllm() });
    let refusal = refused("{ service: big }", "", &around(vec![other()]));
    assert_eq!(
        (refusal.reason, refusal.hint.as_deref()),
        (Reason::EngineUnknown, Some("name it in the target: engine: openai"))
    );
    let named = resolved("{ service: big, engine: openai }", "", &around(vec![other()]));
    assert_eq!(only_target(&named).dialect, Dialect::OpenAi);
}

#[test]
fn an_unknown_service_and_unusable_prompts_pass_their_refusals_on() {
    let unknown =
        Refusal::new(Reason::ServiceUnknown, "there is no service cat").hint("did you mean \"chat\"?");
    let mut without = around(vec![]);
    without.services.insert("cat".to_owned(), Err(unknown.clone()));
    for lifecycle in ["Running", "Managed"] {
        let target = format!("{{ service: cat, lifecycle: {lifecycle} }}");
        assert_eq!(refused(&target, "", &without), unknown);
    }
    let unusable = Refusal::new(Reason::PromptsUnusable, "the file of prompts p.jsonl is not there");
    let without = Surroundings { prompts: Err(unusable.clone()), ..around(vec![]) };
    assert_eq!(refused("{ engine: vllm }", "prompts: { file: p.jsonl }\n", &without), unusable);
}

#[test]
fn tokens_are_counted_by_the_runs_own_copy_of_the_tokenizer() {
    let spec = "tokenizer: t.json\n";
    let found = PathBuf::from("/requests/t.json");
    let around = Surroundings { tokenizer: Ok(Some(found.clone())), ..around(vec![]) };
    let blueprint = resolved("{ engine: vllm }", spec, &around);
    assert_eq!(load(&blueprint).measure.tokenizer.as_deref(), Some(TOKENIZER_COPY));
    assert_eq!(load(&blueprint).tokenizer, Some(found));
    let unusable = Refusal::new(Reason::TokenizerUnusable, "the tokenizer t.json is not there");
    let without = Surroundings { tokenizer: Err(unusable.clone()), ..around };
    assert_eq!(refused("{ engine: vllm }", spec, &without), unusable);
}

#[test]
fn prompts_of_a_file_are_measured_from_the_runs_own_copy() {
    let found = PathBuf::from("/prompts/p.jsonl");
    let around = Surroundings { prompts: Ok(Some(found.clone())), ..around(vec![]) };
    let blueprint = resolved("{ engine: vllm }", "prompts: { file: p.jsonl }\n", &around);
    assert_eq!(load(&blueprint).measure.prompts, PromptPlan::File(PROMPTS_COPY.to_owned()));
    assert_eq!(load(&blueprint).prompts, Some(found));
}

#[test]
fn every_target_gets_a_name_of_its_own() {
    let targets = "{ url: 'http://h:1' }, { url: 'http://h:1', model: other }, { url: 'http://h:1', name: 'openai h:1 #2' }, \
                   { engine: simulated }, { engine: simulated }";
    let blueprint = resolved(targets, "", &around(vec![]));
    let names: Vec<&str> =
        load(&blueprint).measure.targets.iter().map(|target| target.name.as_str()).collect();
    assert_eq!(names, ["openai h:1", "openai h:1 #2", "openai h:1 #2 #2", "simulated", "simulated #2"]);
}

#[test]
fn the_run_claims_the_processor_and_every_gpu_of_its_services_once() {
    let targets =
        "{ service: chat, lifecycle: Managed }, { service: big }, { service: chat, lifecycle: Managed }";
    let blueprint = resolved(targets, "", &around(vec![stopped(chat()), running(vllm())]));
    assert_eq!(blueprint.claims, ["cpu", "gpu:0", "gpu:1"]);
    let all = Service { container: gpus(GpuSelection::All), ..vllm() };
    assert_eq!(resolved("{ service: big }", "", &around(vec![running(all)])).claims, ["cpu", "gpu:all"]);
    let kfd = DeviceMapping {
        host: "/dev/kfd".to_owned(),
        container: "/dev/kfd".to_owned(),
        permissions: "rwm".to_owned(),
    };
    let amd = ContainerSpec { devices: vec![kfd], ..ContainerSpec::default() };
    let amd = Service { container: amd, ..vllm() };
    assert_eq!(resolved("{ service: big }", "", &around(vec![running(amd)])).claims, ["cpu", "gpu:all"]);
}

#[test]
fn the_servers_of_a_test_are_named_in_a_few_words_each_once() {
    let targets = "{ url: 'http://h:1' }, { engine: ollama }, { engine: triton }, { service: chat }, { engine: simulated }, \
                   { service: chat, lifecycle: Managed }";
    assert_eq!(
        service_words(&spec(targets, "")),
        "http://h:1, http://localhost:11434, triton, chat, simulated"
    );
}

#[test]
fn each_run_is_salted_by_its_own_id_and_seeded_by_its_request() {
    let of = |run: u128| {
        let around = Surroundings { run: Uuid::from_u128(run), ..around(vec![]) };
        let blueprint = resolved("{ engine: vllm }", "seed: 5\n", &around);
        let measure = &load(&blueprint).measure;
        (measure.salt, measure.seed)
    };
    assert_eq!(of(7), of(7));
    assert_ne!(of(7).0, of(8).0);
    assert_eq!((of(7).1, of(8).1), (5, 5));
}

#[test]
fn servers_that_run_are_one_step_and_each_engine_has_its_own_three() {
    let targets = "{ service: chat, lifecycle: Managed }, { url: 'http://h:1' }, { engine: simulated }, { service: big }";
    let blueprint = resolved(targets, "conflict: Stop\n", &around(vec![running(chat()), running(vllm())]));
    let plan = frozen(&blueprint);
    assert_eq!(
        step_words(&plan),
        [
            "stop container-of-chat",
            "load openai h:1 big",
            "start chat",
            "load chat",
            "end 2",
            "start simulated",
            "load simulated",
            "end 5",
            "restore container-of-chat"
        ]
    );
    let Step::StartEngine { engine } = &plan.steps[2] else { panic!("no engine") };
    assert_eq!(engine.task.id.step, 2);
    let Step::Load { plan: measured, .. } = &plan.steps[3] else { panic!("no load") };
    assert_eq!(measured.targets[0].endpoint, started("2-engine"), "beside its own folder");
    let Step::Load { plan: measured, .. } = &plan.steps[1] else { panic!("no load") };
    assert_eq!(measured.targets[0].endpoint, url("http://h:1"));
}

#[test]
fn cases_keep_their_numbers_while_their_targets_are_counted_anew_in_each_step() {
    let targets = "{ engine: simulated }, { url: 'http://h:1' }, { url: 'http://h:2' }";
    let plan = frozen(&resolved(targets, "", &around(vec![])));
    let of = |step: &Step| match step {
        Step::Load { plan, .. } => plan
            .cases
            .iter()
            .map(|case| {
                let CaseLoad::Closed { concurrency } = case.load else { panic!("an open load") };
                (case.case, case.target, concurrency)
            })
            .collect::<Vec<_>>(),
        _ => Vec::new(),
    };
    assert_eq!(of(&plan.steps[0]), [(3, 0, 1), (4, 0, 2), (5, 1, 1), (6, 1, 2)]);
    assert_eq!(of(&plan.steps[2]), [(1, 0, 1), (2, 0, 2)]);
}

#[test]
fn a_measuring_task_finds_its_part_of_the_plan_in_its_folder() {
    let plan = frozen(&resolved("{ engine: simulated }, { url: 'http://h:1' }", "", &around(vec![])));
    for step in &plan.steps {
        if let Step::Load { task, plan } = step {
            let read: MeasurePlan = serde_json::from_str(&task.inputs[PLAN_FILE]).unwrap();
            assert_eq!(&read, plan.as_ref());
            assert_eq!((task.argv.join(" ").as_str(), task.id.role), ("benchlet measure", Role::Load));
        }
    }
}

#[test]
fn images_are_pinned_by_their_ids_in_the_order_of_the_engines_in_containers() {
    let targets =
        "{ service: chat, lifecycle: Managed }, { engine: simulated }, { service: big, lifecycle: Managed }";
    let plan = frozen(&resolved(targets, "", &around(vec![stopped(chat()), stopped(vllm())])));
    let images: Vec<Option<&str>> = plan
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::StartEngine { engine } => {
                Some(engine.task.container.as_ref().map(|container| container.image.as_str()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(images, [Some("sha256:1"), None, Some("sha256:2")]);
    let lines: Vec<&str> = plan.command.lines().collect();
    assert_eq!(lines.len(), 3, "a line an engine: {lines:?}");
    assert!(
        lines[0].contains("image:tag") && lines[1].starts_with("benchlet sim serve"),
        "as people type it"
    );
}
