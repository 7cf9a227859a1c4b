//! Conversations against a real llama-server: what its prefix cache does turn by turn, long contexts, and
//! prompts that benchlet renders by the model's own template.

use std::fs;

use serde_json::Value;

use crate::daemon;
use crate::load_bench::{condition, condition_message, only_case};
use crate::workbench::{Workbench, long_model, tiny_model};

/// Saves a Conversation with the managed service `talker`, whose command has this behind it.
fn save(bench: &Workbench, name: &str, model: &str, more: &[&str], spec: &str) {
    let words = ["llama-server", "-m", "/models/tiny.gguf", "-t", "1", "-np", "1", "--port", "8080"];
    let words: Vec<String> = words.iter().chain(more).map(|word| format!("'{word}'")).collect();
    let service = format!(
        "    image: {}\n    command: [{}]\n    volumes: ['{}:/models/tiny.gguf:ro']\n",
        daemon::image(),
        words.join(", "),
        model
    );
    bench.add_service(name, &service);
    let text = format!(
        "apiVersion: benchlet/v1\nkind: Conversation\nspec:\n  target: {{ service: {name}, lifecycle: Managed }}\n{spec}"
    );
    fs::write(bench.request_path(&format!("{name}.yaml")), text).unwrap();
}

/// A field of each turn of the only case's conversation.
fn by_turn(case: &Value, field: &str) -> Vec<f64> {
    let turns = case["conversation"]["turns"].as_array().unwrap();
    turns.iter().map(|turn| turn[field].as_f64().unwrap_or_else(|| panic!("{field} in {case:#}"))).collect()
}

#[test]
fn cached_tokens_rise_turn_by_turn_and_fall_when_a_document_goes() {
    let Some(mut bench) = Workbench::open() else { return };
    bench.serve();
    let note = "the opening hours of the museum are long and change with the season ".repeat(6);
    let spec = format!(
        "  output: {{ maxTokens: 8, ignoreEos: true }}
  conversations:
    inline:
    - name: museum
      system: you are a guide
      documents: {{ hours: {note} }}
      turns:
      - {{ user: hello there }}
      - {{ user: when does it open, put: hours }}
      - {{ user: and on sundays }}
      - {{ user: what else is near, take: hours }}
      - {{ user: thank you }}
"
    );
    save(&bench, "museum", &tiny_model(), &["-c", "4096", "--metrics"], &spec);
    let document = bench.until_phase("museum", "Completed");
    let case = only_case(&document);
    assert_eq!((&case["requests"]["ok"], &case["simulated"]), (&5.into(), &false.into()), "{case:#}");
    let (prompt, cached) = (by_turn(case, "prompt_tokens"), by_turn(case, "cached_tokens"));
    // A prompt is never wholly cached: the last token is always computed.
    assert!(cached[0] < prompt[0] / 2.0, "the first turn is cold: {cached:?} of {prompt:?}");
    assert!(cached[1] > cached[0] && cached[2] > cached[1], "{cached:?} of {prompt:?}");
    assert!(cached[3] < cached[2], "with the document goes what followed it: {cached:?} of {prompt:?}");
    assert!(prompt[3] < prompt[2] && cached[4] > cached[3], "{cached:?} of {prompt:?}");
    let hits = &case["conversation"]["cache_hits"];
    let percent =
        |who: &str| hits[format!("{who}_percent")].as_f64().unwrap_or_else(|| panic!("{who}: {hits}"));
    assert!((percent("usage") - percent("engine")).abs() < 0.01, "{hits}");
    assert!((percent("metrics") - percent("usage")).abs() < 5.0, "{hits}");
    assert_eq!(condition(&document, "Complete"), ("True", "AllHeld"));
    assert_eq!(bench.containers(), []);
    bench.until_no_process_is_left();
}

#[test]
fn a_long_context_is_filled_to_nearly_its_end_by_the_servers_own_count() {
    let Some(mut bench) = Workbench::open() else { return };
    bench.serve();
    let generated = |name: &str, tokens: u32| {
        format!(
            "    - name: {name}
      documents: {{ archive: {{ generate: {{ tokens: {tokens}, needle: the box has the number 4471, depth: 40 }} }} }}
      turns: [{{ user: which number, put: archive }}, {{ user: are you sure }}]
"
        )
    };
    let both = [generated("fitting", 7_500), generated("too-long", 9_000)].concat();
    let spec = format!(
        "  output: {{ maxTokens: 8, ignoreEos: true }}\n  warmup: {{ requests: 0 }}\n  conversations:\n    inline:\n{both}"
    );
    save(&bench, "archive", &long_model(), &["-c", "8192"], &spec);
    let document = bench.until_phase("archive", "Completed");
    let cases = document["status"]["results"]["cases"].as_array().unwrap();
    let fitting = &cases[0];
    assert_eq!(fitting["requests"]["ok"], 2, "{fitting:#}");
    let peak = fitting["conversation"]["context"]["peak_tokens"].as_f64().unwrap();
    assert!((7_300.0..8_192.0).contains(&peak), "{peak}");
    let cached = by_turn(fitting, "cached_tokens");
    assert!(cached[1] > 7_000.0, "the second turn computes its own words alone: {cached:?}");
    let skipped = &cases[1]["conversation"]["skipped"];
    assert_eq!((&skipped["context_window"], &skipped["counted"]), (&8_192.into(), &true.into()), "{skipped}");
    assert_eq!(condition(&document, "Complete"), ("False", "ContextTooSmall"));
}

#[test]
fn a_prompt_rendered_here_by_the_models_own_template_has_as_many_tokens_as_the_servers() {
    let Some(mut bench) = Workbench::open() else { return };
    bench.serve();
    // Without a salt, whose tokens would differ.
    let own = "  output: { maxTokens: 6, ignoreEos: true }
  cache: Keep
  conversations: { inline: [{ name: short, system: be brief, turns: [{ user: hello }, { user: and now }] }] }
";
    save(&bench, "by-server", &tiny_model(), &["-c", "2048"], own);
    save(&bench, "by-model", &tiny_model(), &["-c", "2048"], &format!("{own}  template: Model\n"));
    let by_server = bench.until_phase("by-server", "Completed");
    let by_model = bench.until_phase("by-model", "Completed");
    let tokens = |document: &Value| by_turn(only_case(document), "prompt_tokens");
    assert_eq!(tokens(&by_server)[0], tokens(&by_model)[0]);
    assert_eq!(only_case(&by_model)["requests"]["ok"], 2);
}

#[test]
fn an_answer_without_what_was_expected_is_told_and_strict_fails_for_it() {
    let Some(bench) = Workbench::open() else { return };
    let own = "  output: { maxTokens: 6 }
  validity: { brokenAnswers: 100% }
  conversations:
    inline:
    - name: asked
      turns:
      - { user: hello, expect: { matches: '.' } }
      - { user: and now, expect: { contains: what no tiny model says } }
";
    save(&bench, "expecting", &tiny_model(), &["-c", "2048"], own);
    let said = bench.say(&["run", "requests/expecting.yaml", "--strict"]);
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    let row = said.out.lines().find(|line| line.contains("asked Kept")).expect("its row");
    assert!(row.contains("2/2") && row.trim_end().ends_with("1/2"), "{row}");
    let said = bench.say(&["run", "requests/expecting.yaml"]).good();
    assert!(said.out.contains("1/2"), "{}", said.out);
    let document = bench.status("expecting").expect("its status");
    assert_eq!(condition(&document, "ExpectationsMet"), ("False", "ExpectationsMissed"));
    let message = condition_message(&document, "ExpectationsMet");
    assert!(
        message.contains("1 of 2") && message.contains("asked Kept expecting/tiny.gguf at turn 2"),
        "{message}"
    );
}
