//! Conversations through the controller, against the simulated engine: what is held, what is not, and what
//! people are told of it.

use std::fs;
use std::process::Command;

use benchlet::run::measure_plan::PLAN_FILE;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::load_bench::{Words, condition, condition_message, failed, only_case};
use crate::workbench::Workbench;

impl Workbench {
    /// Saves `requests/NAME.yaml` with this spec of a Conversation.
    fn save_talk(&self, name: &str, spec: &str) {
        let text = format!("apiVersion: benchlet/v1\nkind: Conversation\nspec: {spec}\n");
        fs::write(self.request_path(&format!("{name}.yaml")), text).unwrap();
    }
}

/// A target that answers at once.
const QUICK: &str = "target: { engine: simulated, simulated: { dialect: llama.cpp, ttft: 1ms, itl: 0s } }";

/// Three turns; the second one puts a document in, the third takes it out.
const OWN: &str = "{ name: own, maxTokens: 6, system: you are a guide to old boxes and answer every question in as few words as you can, documents: { note: the box has the number 4471 }, \
    turns: [{ user: hello }, { user: which number?, put: note }, { user: and now?, take: note }] }";

fn cases(document: &Value) -> &Vec<Value> {
    document["status"]["results"]["cases"].as_array().unwrap()
}

fn without_files(line: &[&str]) -> Words {
    Words::of(Command::new(env!("CARGO_BIN_EXE_benchlet")).args(line).output().unwrap())
}

#[test]
fn each_turn_is_a_request_whose_context_has_all_turns_before_it() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    bench.save_talk("talk", &format!("{{ {QUICK}, conversations: {{ inline: [{OWN}] }} }}"));
    let document = bench.until_phase("talk", "Completed");
    for (kind, reason) in
        [("Succeeded", "Completed"), ("Complete", "AllHeld"), ("Valid", "Trustworthy"), ("Accepted", "Valid")]
    {
        assert_eq!(condition(&document, kind), ("True", reason), "{kind}");
    }
    let case = only_case(&document);
    assert_eq!((&case["requests"]["ok"], &case["simulated"]), (&3.into(), &true.into()), "{case:#}");
    let held = &case["conversation"];
    let tokens = |turn: usize, field: &str| held["turns"][turn][field].as_f64().unwrap();
    assert!(tokens(1, "prompt_tokens") > tokens(0, "prompt_tokens") + 6.0, "an answer and a document more");
    assert!(tokens(2, "prompt_tokens") < tokens(1, "prompt_tokens") + 20.0);
    assert_eq!(tokens(0, "cached_tokens"), 0.0, "no earlier run's cache is found");
    assert!(tokens(1, "cached_tokens") > 0.0, "the first turn is");
    assert!(tokens(2, "cached_tokens") < tokens(1, "prompt_tokens"), "what followed the document is lost");
    assert_eq!(held["turns"][1]["documents"], serde_json::json!(["note"]));
    assert_eq!(held["turns"][2]["documents"], serde_json::json!([]));
    // What the server says is what it counts.
    let percent = |who: &str| held["cache_hits"][format!("{who}_percent")].as_f64().unwrap();
    assert!((percent("usage") - percent("engine")).abs() < 1e-3 && percent("metrics") > 0.0, "{held:#}");
    let records = bench.records(&bench.runs("talk")[0], 1);
    assert_eq!(records.iter().filter(|record| record.warmup).count(), 1);
    assert!(records.iter().filter(|record| !record.warmup).all(|record| record.text.is_some()));
    let kind: String = bench
        .database()
        .query_row("SELECT benchmark_type FROM benchmark_results", [], |row| row.get(0))
        .unwrap();
    assert_eq!(kind, "conversation");
    bench.until_no_process_is_left();
}

#[test]
fn the_same_conversation_with_its_cache_kept_changed_and_defeated_tells_what_the_cache_saved() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    let target =
        "target: { engine: simulated, simulated: { dialect: llama.cpp, ttft: 1ms, prefill: 1ms, itl: 0s } }";
    let spec = format!(
        "{{ {target}, conversations: {{ inline: [{OWN}] }}, prefixCache: [Kept, Changed, Defeated], repeats: 2 }}"
    );
    bench.save_talk("experiment", &spec);
    let document = bench.until_phase("experiment", "Completed");
    let held: Vec<&Value> = cases(&document).iter().map(|case| &case["conversation"]).collect();
    let names: Vec<&str> = held.iter().map(|held| held["prefix_cache"].as_str().unwrap()).collect();
    assert_eq!(names, ["Kept", "Changed", "Defeated"]);
    let hits = |at: usize| held[at]["cache_hits"]["usage_percent"].as_f64().unwrap();
    assert!(hits(0) > hits(1) && hits(2) == 0.0, "{} {} {}", hits(0), hits(1), hits(2));
    for at in [0, 1] {
        let saved = &held[at]["saved"];
        assert_eq!((&saved["held_kept"], &saved["held_defeated"]), (&2.into(), &2.into()));
        let bound = |at: usize| saved["seconds"]["interval"][at].as_f64().unwrap();
        let value = saved["seconds"]["value"].as_f64().unwrap();
        assert!(bound(0) <= value && value <= bound(1), "{saved}");
    }
    assert!(held[2]["saved"].is_null());
    // A prompt token costs a millisecond there, and many were in the cache.
    let saved = |at: usize| held[at]["saved"]["seconds"]["value"].as_f64().unwrap();
    assert!(saved(0) > 0.02 && saved(0) > saved(1), "{} {}", saved(0), saved(1));
    assert_eq!(held[0]["turns"][0]["ok"], 2);
    let said = bench.say(&["describe", "experiment"]).good();
    for part in ["the cache saved", "TURN", "note", "by /metrics", "one user, turn by turn, 2 times"] {
        assert!(said.out.contains(part), "{part:?} in {}", said.out);
    }
    for format in ["md", "html", "csv", "json"] {
        let said = bench.say(&["report", "experiment", "--format", format]).good();
        assert!(said.out.contains("Defeated") && said.out.contains("own"), "{format}");
    }
    let turns = bench.say(&["report", "experiment", "--format", "csv", "--rows", "requests"]).good();
    // A header, three turns twice in three cases, and the warm-up.
    assert_eq!(turns.out.lines().count(), 1 + 3 * 2 * 3 + 1, "{}", turns.out);
}

#[test]
fn what_does_not_fit_is_not_started_and_the_status_says_which_and_why() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    let names = "names: [qa-first-bread, long-context-8k]";
    bench
        .save_talk("some", &format!("{{ {QUICK}, {names}, contextSize: 2000, output: {{ maxTokens: 8 }} }}"));
    let document = bench.until_phase("some", "Completed");
    assert_eq!(condition(&document, "Complete"), ("False", "ContextTooSmall"));
    let message = condition_message(&document, "Complete");
    assert!(message.contains("long-context-8k was not started: it needs up to"), "{message}");
    assert!(message.contains("the context has 2000"), "{message}");
    assert_eq!(condition(&document, "Valid").0, "True");
    let skipped = &cases(&document)[1];
    assert_eq!(skipped["requests"]["total"], 0);
    assert_eq!(skipped["conversation"]["skipped"]["context_window"], 2000);
    let said = bench.say(&["describe", "some"]).good();
    assert!(said.out.contains("not started"), "{}", said.out);

    bench.save_talk("none", &format!("{{ {QUICK}, names: long-context-8k, contextSize: 2000 }}"));
    let document = bench.until_phase("none", "Failed");
    let words = ["no conversation fits", "2000 tokens", "long-context-8k"];
    failed(&document, "ContextTooSmall", &words, &["larger context"]);
    bench.until_no_process_is_left();
}

#[test]
fn the_first_conversations_that_fit_are_held_up_to_the_number_that_was_asked_for() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    let chosen = "names: [long-context-8k, qa-first-bread, qa-largest-planet], maxConversations: 1";
    bench
        .save_talk("one", &format!("{{ {QUICK}, {chosen}, contextSize: 2000, output: {{ maxTokens: 8 }} }}"));
    let document = bench.until_phase("one", "Completed");
    let held: Vec<(&str, bool)> = cases(&document)
        .iter()
        .map(|case| &case["conversation"])
        .map(|held| (held["name"].as_str().unwrap(), held["skipped"].is_null()))
        .collect();
    assert_eq!(held, [("long-context-8k", false), ("qa-first-bread", true)]);
}

#[test]
fn a_conversation_ends_before_a_turn_that_the_context_has_no_room_for() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    // By the length of the texts all of it fits; the engine, which cannot be asked before, counts each word.
    let long = "a ".repeat(120);
    let own = format!(
        "{{ name: filling, maxTokens: 40, turns: [{{ user: {long} }}, {{ user: {long} }}, {{ user: {long} }}] }}"
    );
    let target = "target: { engine: simulated, simulated: { dialect: openai, ttft: 1ms, itl: 0s } }";
    bench.save_talk(
        "full",
        &format!("{{ {target}, conversations: {{ inline: [{own}] }}, contextSize: 390 }}"),
    );
    let document = bench.until_phase("full", "Completed");
    let case = only_case(&document);
    let early = &case["conversation"]["early"]["contextFull"];
    assert_eq!(case["conversation"]["skipped"], Value::Null, "{case:#}");
    let turn = early["turn"].as_u64().unwrap_or_else(|| panic!("{case:#}"));
    assert_eq!(case["requests"]["total"].as_u64(), Some(turn - 1));
    assert_eq!(condition(&document, "Complete"), ("False", "ContextFull"));
    let message = condition_message(&document, "Complete");
    assert!(message.contains(&format!("ended before turn {turn}")), "{message}");
}

#[test]
fn a_fresh_engine_for_each_conversation_is_started_and_taken_away_each_time() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    let names = "names: [qa-first-bread, qa-largest-planet], repeats: 2, isolation: PerConversation";
    bench.save_talk("alone", &format!("{{ {QUICK}, {names}, output: {{ maxTokens: 4 }} }}"));
    let document = bench.until_phase("alone", "Completed");
    let run = &bench.runs("alone")[0];
    let engines = fs::read_dir(bench.spool(run)).unwrap().flatten();
    let engines = engines.filter(|folder| folder.file_name().to_string_lossy().ends_with("-engine"));
    assert_eq!(engines.count(), 4, "two conversations, twice");
    for case in cases(&document) {
        assert_eq!(case["requests"]["ok"], 12, "both repeats count: {case:#}");
        assert_eq!(case["conversation"]["turns"][0]["ok"], 2);
        let warm = bench.records(run, case["case"].as_u64().unwrap() as u32);
        assert_eq!(warm.iter().filter(|record| record.warmup).count(), 2, "each engine is warmed up");
    }
    bench.until_no_process_is_left();
}

#[test]
fn a_fresh_engine_can_be_had_only_where_it_is_started_for_the_run() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    bench.save_talk("wrong", "{ target: { url: 'http://localhost:9' }, isolation: PerConversation }");
    let document = bench.until_status("wrong", "its problems", |status| status["phase"] == "Invalid");
    let problems = document["status"]["problems"].to_string();
    assert!(problems.contains("PerConversation needs engines that are started for the run"), "{document:#}");
}

#[test]
fn a_file_of_conversations_is_held_and_its_mistakes_are_told_with_their_places() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    fs::write(bench.request_path("mine.conversations"), format!("conversations:\n- {OWN}\n")).unwrap();
    bench.save_talk("mine", &format!("{{ {QUICK}, conversations: {{ file: mine.conversations }} }}"));
    let document = bench.until_phase("mine", "Completed");
    assert_eq!(only_case(&document)["conversation"]["name"], "own");
    let run = &bench.runs("mine")[0];
    let plan = fs::read_to_string(bench.spool(run).join("0-1-load").join(PLAN_FILE)).unwrap();
    assert!(plan.contains("which number?"), "frozen into the plan, so that a later edit changes no run");

    let bad = "conversations:\n- name: own\n  turns:\n  - { user: a, put: nots }\n  - { usr: b }\n";
    fs::write(bench.request_path("bad.conversations"), bad).unwrap();
    bench.save_talk("bad", &format!("{{ {QUICK}, conversations: {{ file: bad.conversations }} }}"));
    let document = bench.until_phase("bad", "Failed");
    let words = ["bad.conversations:4:", "nots", "5:5", "unknown field \"usr\""];
    failed(&document, "ConversationsUnusable", &words, &[]);
    bench.save_talk("gone", &format!("{{ {QUICK}, conversations: {{ file: gone.conversations }} }}"));
    let document = bench.until_phase("gone", "Failed");
    failed(&document, "ConversationsUnusable", &["gone.conversations", "is not there"], &["relative"]);
}

#[test]
fn a_template_that_cannot_be_used_fails_the_run_before_anything_is_said() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    for (name, template, words) in [
        ("no-system", "{{ raise_exception('System role not supported') }}", "System role not supported"),
        ("deaf", "Answer me.", "leaves out what the user says"),
        ("broken", "{% for message in messages %}", "is no Jinja"),
    ] {
        fs::write(bench.request_path(&format!("{name}.jinja")), template).unwrap();
        let file = format!("template: {{ file: {name}.jinja }}");
        bench.save_talk(name, &format!("{{ {QUICK}, conversations: {{ inline: [{OWN}] }}, {file} }}"));
        let document = bench.until_phase(name, "Failed");
        failed(&document, "TemplateUnusable", &[words, &format!("{name}.jinja")], &[]);
    }
    fs::write(
        bench.request_path("tokens.jinja"),
        "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}",
    )
    .unwrap();
    let file = "template: { file: tokens.jinja }";
    bench.save_talk("tokens", &format!("{{ {QUICK}, conversations: {{ inline: [{OWN}] }}, {file} }}"));
    let document = bench.until_phase("tokens", "Completed");
    assert!(document["status"]["warnings"].to_string().contains("writes bos_token"), "{document:#}");
}

#[test]
fn an_engine_that_dies_between_two_conversations_fails_the_run() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    let slow = "target: { engine: simulated, simulated: { ttft: 5ms, itl: 5ms } }";
    let names = "names: [qa-first-bread, qa-largest-planet, qa-lisbon-weekend], order: AsWritten";
    bench.save_talk("dies", &format!("{{ {slow}, {names}, output: {{ maxTokens: 20 }} }}"));
    bench.until_requests("dies", 2);
    let engine = bench.process_with(" sim serve").expect("its engine");
    kill_process(Pid::from_raw(engine as i32).unwrap(), Signal::KILL).unwrap();
    let document = bench.until_phase("dies", "Failed");
    assert_eq!(condition(&document, "Succeeded"), ("False", "EngineFailed"));
    assert_eq!(condition(&document, "Complete").0, "False");
    bench.until_no_process_is_left();
}

#[test]
fn a_cancelled_conversation_keeps_the_turns_that_it_had() {
    let mut bench = Workbench::without_docker();
    bench.serve();
    let slow = "target: { engine: simulated, simulated: { ttft: 5ms, itl: 5ms } }";
    bench.save_talk(
        "long",
        &format!("{{ {slow}, names: long-home-energy-monitor, output: {{ maxTokens: 20 }} }}"),
    );
    bench.until_requests("long", 2);
    bench.say(&["cancel", "long"]).good();
    let document = bench.until_status("long", "its end with its figures", |status| {
        status["phase"] == "Cancelled" && status["results"]["cases"].is_array()
    });
    assert!(only_case(&document)["requests"]["ok"].as_u64().unwrap() >= 2);
    assert_eq!(condition(&document, "Valid"), ("False", "CutShort"));
    assert_eq!(condition(&document, "Complete"), ("False", "CutShort"));
    bench.until_no_process_is_left();
}

#[test]
fn run_prints_a_row_a_conversation_and_set_changes_what_conversations_have() {
    let bench = Workbench::without_docker();
    bench.save_talk("here", &format!("{{ {QUICK}, conversations: {{ inline: [{OWN}] }} }}"));
    let said = bench.say(&["run", "requests/here.yaml", "--set", "repeats=2", "--set", "maxTokens=3"]).good();
    let line = said.out.lines().find(|line| line.contains("own Kept")).expect("a row");
    let cells: Vec<&str> = line.split_whitespace().collect();
    assert!(cells.starts_with(&["here", "Completed", "1", "own", "Kept"]), "{line}");
    assert!(cells.contains(&"6/6"), "three turns twice: {line}");
    let records = bench.records(&bench.runs("here")[0], 1);
    assert!(records.iter().filter(|record| !record.warmup).all(|record| record.max_tokens == 3));
    let said = bench.say(&["run", "requests/here.yaml", "--set", "concurrency=4"]);
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(said.err.contains("none of a conversation's"), "{}", said.err);
}

#[test]
fn the_library_can_be_listed_and_shown_without_any_installation() {
    let said = without_files(&["conversations", "list", "--context-size", "4096"]).good();
    let line =
        |name: &str| said.out.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}"));
    assert!(line("qa-first-bread").contains(" yes ") && line("long-context-8k").contains(" no "));
    let said = without_files(&["conversations", "list", "--include-tags", "rag", "-o", "json"]).good();
    let items: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(items["items"].as_array().unwrap().len(), 2);
    assert!(items["items"][0]["expectedTokens"].as_u64().unwrap() > 1_000);
    let said = without_files(&["conversations", "show", "rag-employee-handbook"]).good();
    assert!(said.out.contains("puts in handbook") && said.out.contains("takes out handbook"), "{}", said.out);
    let said = without_files(&["conversations", "show", "rag-employee-handbok"]);
    assert_eq!(said.code, 4);
    assert!(said.err.contains("rag-employee-handbook"), "{}", said.err);
    let said = without_files(&["conversations", "list", "--file", "/nowhere/mine.yaml"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("/nowhere/mine.yaml"), "{}", said.err);
}
