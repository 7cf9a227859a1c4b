//! `benchlet validate`, `new`, `init`, `schema`, `plan`, `completion`, `services`: the verbs that need no run.

use std::path::Path;

use serde_json::Value;

use crate::cli_state::Place;

const BAD: &str = "\
apiVersion: benchlet/v1
kind: LlamaBench
metadata: { name: bad }
spec:
  sevice: a
  timeout: 10
  params: { -m: x, -b: 512,1024 }
---
apiVersion: benchlet/v1
kind: Tune
metadata: { name: later }
spec: {}
";

const GOOD: &str = "apiVersion: benchlet/v1\nkind: LlamaBench\nspec: { service: simulated }\n";

#[test]
fn validate_shows_every_problem_with_its_source_line_and_a_mark() {
    let place = Place::new();
    place.write("bad.yaml", BAD);
    let said = place.say(&["validate", "bad.yaml"]);
    assert_eq!((said.code, said.err.as_str()), (1, ""));
    let first = "\
error: unknown field \"sevice\" in spec
 --> bad.yaml:5:3
  |
5 |   sevice: a
  |   ^^^^^^
  |
  = help: did you mean \"service\"?
";
    assert!(said.out.starts_with(first), "{}", said.out);
    for place in ["bad.yaml:6:12", "bad.yaml:7:13", "bad.yaml:7:28", "bad.yaml:10:7"] {
        assert!(said.out.contains(place), "{place}: {}", said.out);
    }
    assert!(said.out.ends_with("0 valid requests in 1 file, 6 errors\n"), "{}", said.out);
}

#[test]
fn validate_prints_json_with_line_column_text_and_hint() {
    let place = Place::new();
    place.write("bad.yaml", BAD);
    let said = place.say(&["validate", "bad.yaml", "--output", "json"]);
    assert_eq!(said.code, 1);
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(report["valid"], false);
    assert_eq!(report["problems"].as_array().unwrap().len(), 6);
    let expected = serde_json::json!({
        "file": "bad.yaml", "severity": "error", "line": 5, "column": 3, "text": "sevice",
        "message": "unknown field \"sevice\" in spec", "hint": "did you mean \"service\"?"
    });
    assert_eq!(report["problems"][0], expected);
}

#[test]
fn validate_prints_annotations_that_nothing_in_a_name_can_break() {
    let place = Place::new();
    place.write("a,b:c%.yaml", "apiVersion: benchlet/v1\nkind: Lama\nmetadata: { name: a }\nspec: {}\n");
    let said = place.say(&["validate", ".", "--output", "github"]);
    assert_eq!(said.code, 1);
    assert_eq!(
        said.out.lines().next().unwrap(),
        "::error file=a%2Cb%3Ac%25.yaml,line=2,col=7::unknown kind \"Lama\" (one of LlamaBench, LoadTest, Conversation, Apply, Model, Baseline, Comparison)"
    );
    assert!(said.out.lines().all(|line| line.starts_with("::error file=a%2Cb%3Ac%25.yaml")), "{}", said.out);
}

#[test]
fn a_name_in_two_files_is_a_problem_at_the_second_one() {
    let place = Place::new();
    place.write("requests/a.yaml", GOOD);
    place.write("requests/b.yaml", &GOOD.replace("spec:", "metadata: { name: a }\nspec:"));
    let said = place.say(&["validate", "requests", "requests/a.yaml"]);
    assert_eq!(said.code, 1);
    assert!(said.out.contains("the name \"a\" is taken by requests/a.yaml:1"), "{}", said.out);
    assert!(said.out.contains("requests/b.yaml:3:19"), "{}", said.out);
}

#[test]
fn a_service_that_no_compose_file_has_is_a_warning_unless_offline() {
    let place = Place::new();
    place.write("docker-compose.yml", "services:\n  qwen3:\n    image: ghcr.io/ggml-org/llama.cpp:server\n");
    place.write("a.yaml", &GOOD.replace("simulated", "qwen4"));
    let said = place.say(&["validate", "a.yaml"]);
    assert_eq!(said.code, 0, "{}", said.out);
    assert!(
        said.out.starts_with("warning: there is no service \"qwen4\" (did you mean \"qwen3\"?)"),
        "{}",
        said.out
    );
    let said = place.say(&["validate", "a.yaml", "--offline"]);
    assert_eq!((said.code, said.out.as_str()), (0, "1 valid request in 1 file\n"));
}

const LOAD: &str = "apiVersion: benchlet/v1\nkind: LoadTest\nspec:\n  target: { engine: simulated }\n";
const TALK: &str = "apiVersion: benchlet/v1\nkind: Conversation\nspec:\n  target: { engine: simulated }\n";

#[test]
fn validate_looks_into_the_files_that_a_request_names_at_the_field_that_names_them() {
    let place = Place::new();
    let load =
        |name: &str, more: &str| place.write(&format!("requests/{name}.yaml"), &format!("{LOAD}{more}"));
    let talk =
        |name: &str, more: &str| place.write(&format!("requests/{name}.yaml"), &format!("{TALK}{more}"));
    load("sub/good", "  prompts: { file: good.jsonl }\n");
    place.write("requests/sub/good.jsonl", "{\"prompt\": \"hello\"}\n");
    let said = place.say(&["validate", "requests"]);
    assert_eq!((said.code, said.out.as_str()), (0, "1 valid request in 1 file\n"), "{}", said.out);
    // The same below the root, which may be named by another path, and from a directory of its own.
    assert_eq!(place.say(&["validate", "requests/sub/good.yaml"]).code, 0);
    assert_eq!(place.say(&["validate", "--requests", "elsewhere", "requests/sub/good.yaml"]).code, 0);

    place.write("outside.jsonl", "{\"prompt\": \"hello\"}\n");
    place.write("requests/bad.jsonl", "{\"prompt\": 1}\n");
    place.write("requests/deaf.jinja", "Answer me.");
    place.write("requests/mine.yaml", "conversations:\n- { name: own, turns: [{ user: hello }] }\n");
    load("gone", "  prompts: { file: gone.jsonl }\n");
    load("outside", "  prompts: { file: ../outside.jsonl }\n");
    load("bad", "  prompts: { file: bad.jsonl }\n  tokenizer: bad.jsonl\n");
    talk("talk", "  conversations: { file: mine.yaml }\n  names: [own, other]\n");
    talk("deaf", "  conversations: { file: mine.yaml }\n  template: { file: deaf.jinja }\n");
    let said = place.say(&["validate", "requests", "--output", "github"]);
    assert_eq!(said.code, 1);
    for words in [
        "file=requests/gone.yaml,line=5,col=20::the file of prompts gone.jsonl is not there",
        "file=requests/outside.yaml,line=5,col=20::the file of prompts ../outside.jsonl lies outside the watched root",
        "file=requests/bad.yaml,line=5,col=20::",
        "file=requests/bad.yaml,line=6,col=14::",
        "file=requests/talk.yaml,line=5,col=26::there is no conversation other",
        "file=requests/deaf.yaml,line=6,col=21::the template deaf.jinja leaves out what the user says",
    ] {
        assert!(said.out.contains(words), "{words} in\n{}", said.out);
    }
    assert_eq!(said.out.lines().count(), 6, "{}", said.out);
    // Where a request on standard input will be saved nobody knows.
    let text = format!("{LOAD}  prompts: {{ file: gone.jsonl }}\n");
    assert_eq!(place.say_with_input(&["validate", "-"], &text).code, 0);
}

#[test]
fn a_good_file_of_conversations_is_called_that() {
    let place = Place::new();
    place.write("mine.yaml", "conversations:\n- { name: own, turns: [{ user: hello }] }\n");
    let said = place.say(&["validate", "mine.yaml"]);
    assert_eq!((said.code, said.out.as_str()), (0, "1 conversations file in 1 file\n"));
    place.write("talk.yaml", &format!("{TALK}  conversations: {{ file: mine.yaml }}\n"));
    let said = place.say(&["validate", "."]);
    assert_eq!(said.out, "1 valid request and 1 conversations file in 2 files\n");
    let report: Value =
        serde_json::from_str(&place.say(&["validate", "mine.yaml", "--output", "json"]).out).unwrap();
    assert_eq!(report["conversations"], serde_json::json!(["mine.yaml"]));
    place.write("mine.yaml", "conversations:\n- { name: own }\n");
    let said = place.say(&["validate", "mine.yaml"]);
    assert!(said.code == 1 && said.out.ends_with("0 valid requests in 1 file, 1 error\n"), "{}", said.out);
}

#[test]
fn a_context_is_named_as_people_do() {
    let place = Place::new();
    let listed = |size: &str| place.say(&["conversations", "list", "--context-size", size]);
    let whole = listed("8192");
    assert_eq!((listed("8k").out, listed("8K").out), (whole.out.clone(), whole.out));
    let said = listed("much");
    assert!(said.code == 2 && said.err.contains("as 8192 or 8k"), "{}", said.err);
}

#[test]
fn control_characters_of_a_file_do_not_reach_the_terminal() {
    let place = Place::new();
    place.write(
        "a.yaml",
        "apiVersion: benchlet/v1\nkind: \"x\\e[31m\"\nspec: {}\n# \u{9b}31m\nmore: \u{202e}x\n",
    );
    for format in ["text", "json", "github"] {
        let said = place.say(&["validate", "a.yaml", "--output", format]);
        let harmful = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!said.out.contains(harmful), "{format}: {:?}", said.out);
    }
}

#[test]
fn what_new_prints_is_valid() {
    let place = Place::new();
    for line in [
        &["new", "LlamaBench", "--service", "simulated"][..],
        &["new", "LlamaBench", "--service", "simulated", "--set", "-b=512,1024", "--set", "--no-warmup"][..],
        &["new", "LlamaBench", "--service", "simulated", "--set=-ot=a: b#c", "--name", "x.y"][..],
        &["new", "Model", "--source", "qwen2.5-3b"][..],
        &["new", "Model", "--source", "hf://o/r@v1", "--include", "*.json", "--name", "r"][..],
        &["new", "Apply", "--request", "simulated"][..],
        &["new", "Apply", "--request", "simulated", "--run", "Best", "--metric", "tg_avg_ts"][..],
    ] {
        let new = place.say(line);
        assert_eq!(new.code, 0, "{}", new.err);
        let checked = place.say_with_input(&["validate", "-"], &new.out);
        assert_eq!((checked.code, checked.out.as_str()), (0, "1 valid request in 1 file\n"), "{}", new.out);
    }
}

#[test]
fn new_refuses_what_would_not_be_valid() {
    let place = Place::new();
    let bad_name = place.say(&["new", "LlamaBench", "--service", "simulated", "--name", "-x/y"]);
    assert_eq!(bad_name.code, 2);
    let reserved = place.say(&["new", "LlamaBench", "--service", "simulated", "--set", "-m=x"]);
    assert_eq!(reserved.code, 2);
    assert!(reserved.err.contains("the model comes from the service"), "{}", reserved.err);
    assert_eq!(place.say(&["new", "LlamaBench", "--service", "nosuch"]).code, 4);
    assert_eq!(place.say(&["new", "LlamaBench", "--service", "simulated", "--from", "abc"]).code, 4);
    assert_eq!(place.say(&["new", "Apply", "--request", "a", "--run", "Best"]).code, 2);
    assert_eq!(place.say(&["new", "LoadTest"]).code, 2);
}

#[test]
fn init_writes_a_tree_that_is_valid_and_overwrites_nothing() {
    let place = Place::new();
    place.write("mine/requests/apply.yaml", "mine");
    place.write("mine/.gitignore", "target\n.benchlet/");
    let first = place.say(&["init", "mine"]);
    assert_eq!(first.code, 0, "{}", first.err);
    assert!(first.out.contains("wrote mine/requests/llama-bench.yaml\n"), "{}", first.out);
    assert!(first.out.contains("left  mine/requests/apply.yaml (it was there)\n"), "{}", first.out);
    let read = |name: &str| std::fs::read_to_string(place.path().join("mine").join(name)).unwrap();
    assert_eq!(read("requests/apply.yaml"), "mine");
    assert_eq!(read(".gitignore"), "target\n.benchlet/\n*.status.yaml\n");

    let before = read("config/benchlet.toml");
    let second = place.say(&["init", "mine"]);
    assert_eq!(second.code, 0);
    assert!(second.out.lines().all(|line| line.starts_with("left  ")), "{}", second.out);
    assert_eq!(read("config/benchlet.toml"), before);

    let fresh = place.say(&["init", "fresh"]);
    assert_eq!(fresh.code, 0);
    let checked = place.say(&["validate", "fresh/requests", "--config", "fresh/config/benchlet.toml"]);
    assert_eq!((checked.code, checked.out.as_str()), (0, "9 valid requests in 9 files\n"));
}

#[test]
fn the_settings_file_of_init_names_every_setting() {
    let place = Place::new();
    assert_eq!(place.say(&["init", "."]).code, 0);
    let said = place.say(&["services"]);
    assert_eq!(said.code, 0, "{}", said.err);
    place.write("config/benchlet.toml", "request = \"x\"\n");
    let said = place.say(&["services"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("unknown field `request`"), "{}", said.err);
}

#[test]
fn the_schema_takes_every_request_that_validation_takes() {
    let place = Place::new();
    let schema = place.say(&["schema"]);
    assert_eq!(schema.code, 0);
    let validator = jsonschema::validator_for(&serde_json::from_str(&schema.out).unwrap()).unwrap();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut checked = 0;
    for sample in [
        "requests/quickstart/simulated.yaml",
        "requests/quickstart/load-test.yaml",
        "requests/llama-bench.yaml",
        "requests/load-test.yaml",
        "requests/apply.yaml",
        "requests/model.yaml",
        "requests/baseline.yaml",
        "requests/comparison.yaml",
        "examples/compose/requests/tiny.yaml",
        "examples/compose/requests/qwen3.yaml",
        "examples/compose/requests/tiny-load.yaml",
        "examples/custom-engine/requests/example.yaml",
        "examples/compose/requests/tiny-batch-sizes.yaml",
        "examples/llm-dock/requests/qwen3-baseline.yaml",
        "examples/llm-dock/requests/qwen3-batch-sizes.yaml",
    ] {
        let text = std::fs::read_to_string(root.join(sample)).unwrap();
        let value: Value = serde_yaml::from_str(&text).unwrap();
        let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{sample}: {errors:?}");
        let said = place.say_with_input(&["validate", "-"], &text);
        assert_eq!(said.code, 0, "{sample}: {}", said.out);
        checked += 1;
    }
    assert_eq!(checked, 15);
    let bad: Value = serde_yaml::from_str(BAD.split("---").next().unwrap()).unwrap();
    assert!(!validator.is_valid(&bad));
}

#[test]
fn the_schema_in_the_tree_is_the_one_that_is_printed() {
    let place = Place::new();
    let said = place.say(&["schema"]);
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/schema/request.json");
    assert_eq!(
        std::fs::read_to_string(kept).unwrap_or_default(),
        said.out,
        "benchlet schema > config/schema/request.json"
    );
    let one = place.say(&["schema", "apply"]);
    assert!(one.out.contains("\"title\": \"benchlet Apply\""), "{}", one.out);
    assert_eq!(place.say(&["schema", "Aply"]).code, 2);
}

#[test]
fn plan_shows_command_and_cases_and_starts_nothing() {
    let place = Place::new();
    place.write(
        "a.yaml",
        &GOOD.replace(
            "service: simulated",
            "service: simulated, launches: 3, params: { -p: 512, -b: [512, 1024] }",
        ),
    );
    let said = place.say(&["plan", "a.yaml"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        said.out.contains("/benchlet sim llama-bench -m simulated -o jsonl -p 512 -b 512,1024\n"),
        "{}",
        said.out
    );
    assert!(said.out.contains("Cases (4 a launch):\n"), "{}", said.out);
    assert!(said.out.contains("  4      tg128   n_batch=1024\n"), "{}", said.out);
    let data: Value = serde_json::from_str(&place.say(&["plan", "a.yaml", "-o", "json"]).out).unwrap();
    assert_eq!(
        (&data["launches"], &data["caseCount"], &data["simulated"]),
        (&3.into(), &4.into(), &true.into())
    );
    assert!(!place.state().exists());
}

#[test]
fn plan_says_what_keeps_a_request_from_running() {
    let place = Place::new();
    place.write("bad.yaml", BAD);
    assert_eq!(place.say(&["plan", "bad.yaml"]).code, 1);
    place.write("a.yaml", &GOOD.replace("simulated", "nosuch"));
    assert_eq!(place.say(&["plan", "a.yaml"]).code, 4);
    assert_eq!(place.say(&["plan", "none.yaml"]).code, 4);
    place.write("two.yaml", &format!("{GOOD}---\n{}", GOOD.replace("spec:", "metadata: { name: b }\nspec:")));
    let said = place.say(&["plan", "two.yaml"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("choose one with --name"), "{}", said.err);
    assert_eq!(place.say(&["plan", "two.yaml", "--name", "b"]).code, 0);
}

#[test]
fn completion_scripts_are_there_for_every_shell() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let said = place.say(&["completion", shell]);
        assert_eq!(said.code, 0);
        assert!(said.out.contains("benchlet") && said.out.len() > 1000, "{shell}");
    }
    assert_eq!(place.say(&["completion", "tcsh"]).code, 2);
}

#[test]
fn services_are_listed_without_their_secrets() {
    let place = Place::new();
    place.write(
        "docker-compose.yml",
        "services:\n  chat:\n    image: ghcr.io/ggml-org/llama.cpp:server\n    command: -m /m/a.gguf --api-key s3cret -b 512\n",
    );
    let said = place.say(&["services", "-o", "wide"]);
    assert_eq!(said.code, 0);
    let line = said.out.lines().nth(1).unwrap();
    assert!(
        line.starts_with("chat        llama.cpp   ghcr.io/ggml-org/llama.cpp:server   /m/a.gguf"),
        "{line}"
    );
    for format in ["wide", "json", "yaml"] {
        assert!(!place.say(&["services", "-o", format]).out.contains("s3cret"));
    }
    assert_eq!(place.say(&["services", "-o", "name"]).out, "chat\nsimulated\n");
}

#[test]
fn wrong_usage_is_code_2_and_what_is_missing_4() {
    let place = Place::new();
    for line in [
        &[][..],
        &["nosuchverb"][..],
        &["validate"][..],
        &["validate", "a.yaml", "--output", "xml"][..],
        &["plan"][..],
        &["get", "-o", "xml"][..],
        &["describe"][..],
        &["logs"][..],
        &["logs", "a", "--stdout", "--stderr"][..],
        &["wait", "a", "--for=Whatever"][..],
        &["wait", "a", "--timeout", "10"][..],
        &["rerun", "a", "--set", "b"][..],
        &["delete"][..],
        &["history", "--phase", "Whatever"][..],
        &["history", "--limit", "0"][..],
        &["services", "--config", "nosuch.toml"][..],
    ] {
        let said = place.say(line);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{line:?}: {}", said.err);
        assert!(!said.err.is_empty(), "{line:?}");
    }
    for line in [
        &["validate", "nosuch.yaml"][..],
        &["get", "nosuch"][..],
        &["describe", "nosuch"][..],
        &["logs", "nosuch"][..],
        &["wait", "nosuch"][..],
        &["rerun", "nosuch"][..],
        &["cancel", "nosuch"][..],
        &["history", "nosuch"][..],
        &["delete", "run", "abc"][..],
    ] {
        let said = place.say(line);
        assert_eq!(said.code, 4, "{line:?}: {}", said.err);
        assert!(
            said.err.starts_with("error: ") && said.err.contains("\nhint: ") || line[0] == "validate",
            "{}",
            said.err
        );
    }
}
