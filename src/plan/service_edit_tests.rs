use super::*;

const DOCK: &str = include_str!("../../tests/fixtures/services/llm-dock/docker-compose.yml");

fn set(spellings: &[&str], value: &str) -> FlagChange {
    FlagChange {
        spellings: spellings.iter().map(|name| (*name).into()).collect(),
        opposites: vec![],
        target: Target::Set((!value.is_empty()).then(|| value.into())),
    }
}

fn absent(spellings: &[&str]) -> FlagChange {
    FlagChange { target: Target::Absent, ..set(spellings, "") }
}

fn batch(value: &str) -> FlagChange {
    set(&["-b", "--batch-size"], value)
}

fn edited(source: &str, change: FlagChange) -> String {
    edit_compose(source, "s", &[change]).unwrap().new_text
}

fn refused(source: &str, change: FlagChange) -> String {
    edit_compose(source, "s", &[change]).unwrap_err().to_string()
}

#[test]
fn an_llm_dock_block_keeps_every_other_byte() {
    let wanted = [batch("4096"), set(&["-t"], "8"), absent(&["-nkvo", "--no-kv-offload"])];
    let edit = edit_compose(DOCK, "llamacpp-qwen3", &wanted).unwrap();
    let expected = DOCK.replacen("--batch-size 512", "--batch-size 4096", 1).replacen(
        "      --no-kv-offload\n",
        "      -t 8\n",
        1,
    );
    assert_eq!(edit.new_text, expected);
    let names: Vec<_> = edit.changes.iter().map(|change| change.flag.as_str()).collect();
    assert_eq!(names, ["--batch-size", "-t", "--no-kv-offload"]);
}

#[test]
fn a_folded_block_is_edited_likewise() {
    let edit =
        edit_compose(DOCK, "vllm-phi3", &[set(&["--max-model-len"], "8192"), set(&["--x"], "")]).unwrap();
    let last = "      --gpu-memory-utilization 0.85\n";
    let expected = DOCK.replacen("4096\n", "8192\n", 1).replacen(last, &format!("{last}      --x\n"), 1);
    assert_eq!(edit.new_text, expected);
}

#[test]
fn a_flow_list_keeps_its_quotes_and_spacing() {
    let source = "services:\n  s:\n    command: [server, '-b', '512' , \"-fa\", \"on\"] # flags\n";
    assert_eq!(edited(source, batch("1024")), source.replace("512", "1024"));
    assert_eq!(edited(source, set(&["-fa"], "off")), source.replace("on\"", "off\""));
    assert_eq!(edited(source, set(&["-t"], "8")), source.replace("\"on\"]", "\"on\" , \"-t\", \"8\"]"));
    assert_eq!(edited(source, absent(&["-b"])), source.replace("'-b', '512' , ", ""));
    assert_eq!(edited(source, absent(&["-fa"])), source.replace(" , \"-fa\", \"on\"", ""));
}

#[test]
fn a_flow_list_over_lines_keeps_its_comments() {
    let source = "services:\n  s:\n    command: [\n      server,\n      -c, \"4096\", # context\n      -b, \"512\", # batch\n    ]\n";
    assert_eq!(edited(source, absent(&["-c"])), source.replace("-c, \"4096\", # context\n      ", ""));
    let without = edited(source, absent(&["-b"]));
    assert!(without.contains("\"4096\", # context\n"), "{without}");
    let with = edited(source, set(&["-t"], "8"));
    assert!(with.contains("# context\n") && with.contains("# batch\n"), "{with}");
}

#[test]
fn a_block_list_keeps_comments_and_indentation() {
    let source = "services:\r\n  s:\r\n    command:\r\n    -   server\r\n    # the batch\r\n    -   -b\r\n    -   \"512\"   # tuned\r\n    -   --metrics # end\r\n    image: x\r\n";
    assert_eq!(edited(source, batch("64")), source.replace("512", "64"));
    assert_eq!(
        edited(source, set(&["-t"], "8")),
        source.replace("# end\r\n", "# end\r\n    -   -t\r\n    -   \"8\"\r\n")
    );
    assert_eq!(
        edited(source, absent(&["--batch-size", "-b"])),
        source.replace("    -   -b\r\n    -   \"512\"   # tuned\r\n", "")
    );
}

#[test]
fn a_block_list_at_the_end_of_a_file_without_newline_stays_without() {
    let source = "services:\n  s:\n    command:\n      - server\n      - --metrics";
    assert_eq!(edited(source, batch("8")), format!("{source}\n      - -b\n      - \"8\""));
    assert_eq!(edited(source, absent(&["--metrics"])), "services:\n  s:\n    command:\n      - server");
}

#[test]
fn a_one_line_text_is_edited_in_place() {
    for (open, close) in [("", ""), ("\"", "\""), ("'", "'")] {
        let source = format!("services:\n  s:\n    command: {open}server -b 512 -c 4096{close}  # why\n");
        assert_eq!(edited(&source, batch("64")), source.replace("512", "64"));
        assert_eq!(edited(&source, absent(&["-b"])), source.replace("-b 512 ", ""));
        assert_eq!(edited(&source, absent(&["-c"])), source.replace(" -c 4096", ""));
        assert_eq!(edited(&source, set(&["-nkvo"], "")), source.replace("4096", "4096 -nkvo"));
        let spaced = edited(&source, set(&["-ot"], "a b;c'd\"e$f"));
        let flags = flags_in_compose(&spaced, "s").unwrap();
        assert_eq!(flags[2], ("-ot".into(), Some("a b;c'd\"e$f".into())));
    }
}

#[test]
fn bare_becomes_valued_and_back_in_every_form() {
    for source in [
        "services:\n  s:\n    command: [server, \"-fa\", \"-c\", \"1\"]\n",
        "services:\n  s:\n    command:\n      - server\n      - \"-fa\"\n      - \"-c\"\n      - \"1\"\n",
        "services:\n  s:\n    command: |\n      server\n      -fa\n      -c 1\n",
    ] {
        let valued = edited(source, set(&["-fa"], "on"));
        assert_eq!(flags_in_compose(&valued, "s").unwrap()[0], ("-fa".into(), Some("on".into())));
        assert_eq!(edited(&valued, set(&["-fa"], "")), source);
    }
}

#[test]
fn the_opposite_goes_where_a_switch_is_set() {
    let source = "services:\n  s:\n    command: server --repack -c 1\n";
    let change = FlagChange { opposites: vec!["--repack".into()], ..set(&["--no-repack"], "") };
    assert_eq!(edited(source, change), "services:\n  s:\n    command: server -c 1 --no-repack\n");
}

#[test]
fn an_equals_sign_is_kept() {
    let source = "services:\n  s:\n    command: [serve, m, --max-model-len=4096]\n";
    assert_eq!(edited(source, set(&["--max-model-len"], "1")), source.replace("4096", "1"));
}

#[test]
fn what_is_so_already_changes_nothing() {
    let source = "services:\n  s:\n    command: server --batch-size 512\n";
    let edit = edit_compose(source, "s", &[batch("512"), absent(&["-t"])]).unwrap();
    assert_eq!((edit.new_text.as_str(), edit.changes.len()), (source, 0));
}

#[test]
fn a_command_from_elsewhere_is_refused_and_the_place_named() {
    let merge = "x-base: &base\n  command: [server, -b, \"1\"]\nservices:\n  s:\n    <<: *base\n";
    assert!(refused(merge, batch("2")).contains("comes from line 2"), "{}", refused(merge, batch("2")));
    let alias = "x-c: &c [server]\nservices:\n  s:\n    command: *c\n";
    assert!(refused(alias, batch("2")).contains("comes from line 1"));
    let extends = "services:\n  base:\n    command: server\n  s:\n    extends: base\n";
    assert!(refused(extends, batch("2")).contains("\"base\" (extends)"));
}

#[test]
fn a_command_that_others_share_is_refused() {
    let merge = "services:\n  s: &s\n    command: server\n  other:\n    <<: *s\n";
    assert!(refused(merge, batch("2")).contains("also that of \"other\""));
    let extends = "services:\n  s:\n    command: server\n  other:\n    extends: {service: s}\n";
    assert!(refused(extends, batch("2")).contains("also that of \"other\""));
    let own = "services:\n  s: &s\n    command: server\n  other:\n    <<: *s\n    command: x\n";
    assert!(edited(own, batch("2")).contains("server -b 2\n"));
}

#[test]
fn a_flag_that_is_decided_elsewhere_is_refused() {
    let variable = "services:\n  s:\n    command: server -b ${BATCH:-512}\n";
    assert!(refused(variable, batch("2")).contains("${BATCH:-512} is decided by a variable"));
    let environment = "services:\n  s:\n    command: server\n    environment:\n      - LLAMA_ARG_BATCH=5\n";
    assert!(refused(environment, batch("2")).contains("(line 5) cannot be changed: LLAMA_ARG_BATCH"));
    let shell = "services:\n  s:\n    command: [sh, -c, \"server -b 1\"]\n";
    assert!(refused(shell, batch("2")).contains("shell"));
    let none = "services:\n  s:\n    image: x\n";
    assert!(refused(none, batch("2")).contains("no command"));
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    struct Stack {
        before: String,
        after: String,
        command: String,
        flags: Vec<(String, Option<String>)>,
    }

    const NAMES: [&str; 7] = ["-b", "--ubatch-size", "-fa", "--metrics", "-c", "-ngl", "--cache-type-k"];

    fn value() -> impl Strategy<Value = Option<String>> {
        prop_oneof![
            Just(None),
            "[0-9]{1,4}".prop_map(Some),
            "(on|off|q8_0|-1)".prop_map(Some),
            "[a-z][a-z =;'#:,]{0,5}[a-z]".prop_map(Some),
        ]
    }

    fn stack() -> impl Strategy<Value = Stack> {
        let flags = proptest::sample::subsequence(NAMES.to_vec(), 0..NAMES.len())
            .prop_flat_map(|names| (Just(names.clone()), proptest::collection::vec(value(), names.len())));
        (flags, 0..9usize, any::<bool>()).prop_map(|((names, values), form, crlf)| {
            let flags: Vec<_> = names.iter().map(|name| (*name).to_owned()).zip(values).collect();
            let newline = |text: String| if crlf { text.replace('\n', "\r\n") } else { text };
            Stack {
                before: newline("# top: it's\nservices:\n  other:\n    command: server -b 1\n  s:\n".into()),
                command: newline(written(&flags, form)),
                after: newline("    image: \"x\"   # image\n\n# end\nvolumes: {}\n".into()),
                flags,
            }
        })
    }

    fn written(flags: &[(String, Option<String>)], form: usize) -> String {
        use crate::plan::shell_words::quoted;
        let mut words = vec!["server".to_owned()];
        let mut lines = vec!["server".to_owned()];
        for (name, value) in flags {
            words.extend([Some(name.clone()), value.clone()].into_iter().flatten());
            let value = value.as_ref().map(|value| format!(" {}", quoted(value, None)));
            lines.push(format!("{name}{}", value.unwrap_or_default()));
        }
        let double = |word: &String| format!("\"{word}\"");
        let single = |word: &String| format!("'{}'", word.replace('\'', "''"));
        let block = |header: &str| {
            lines.iter().fold(format!("    command: {header}\n"), |all, line| all + "      " + line + "\n")
        };
        let list = |quote: &dyn Fn(&String) -> String| {
            words.iter().fold("    command:\n".to_owned(), |all, word| all + "      - " + &quote(word) + "\n")
        };
        let all = |quote: &dyn Fn(&String) -> String| words.iter().map(quote).collect::<Vec<_>>();
        match form {
            0 => format!("    command: [{}]\n", all(&double).join(", ")),
            1 => format!("    command: [ {} ] # end\n", all(&single).join(" ,")),
            2 => format!("    command: [\n      {},\n    ]\n", all(&double).join(",\n      ")),
            3 => list(&double),
            4 => list(&single),
            5 => block("|"),
            6 => block(">-"),
            7 => format!("    command: \"{}\" # end\n", lines.join(" ").replace('"', "\\\"")),
            _ => format!("    command: '{}'\n", lines.join(" ").replace('\'', "''")),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn an_edit_leaves_the_rest_alone_and_reads_back_as_wanted(
            stack in stack(),
            wanted in proptest::collection::vec((0..NAMES.len(), proptest::option::of(value())), 1..4),
        ) {
            let source = [stack.before.as_str(), &stack.command, &stack.after].concat();
            prop_assert_eq!(&flags_in_compose(&source, "s").unwrap(), &stack.flags);
            let mut expected = stack.flags.clone();
            let mut changes = Vec::new();
            for (name, target) in wanted {
                let name = NAMES[name];
                let at = expected.iter().position(|(known, _)| known == name);
                match (&target, at) {
                    (Some(value), Some(at)) => expected[at].1.clone_from(value),
                    (Some(value), None) => expected.push((name.to_owned(), value.clone())),
                    (None, Some(at)) => drop(expected.remove(at)),
                    (None, None) => {}
                }
                let target = target.map_or(Target::Absent, Target::Set);
                changes.push(FlagChange { spellings: vec![name.into()], opposites: vec![], target });
            }
            let edit = edit_compose(&source, "s", &changes).unwrap();
            prop_assert!(edit.new_text.starts_with(&stack.before));
            prop_assert!(edit.new_text.ends_with(&stack.after));
            prop_assert_eq!(flags_in_compose(&edit.new_text, "s").unwrap(), expected);
            prop_assert_eq!(edit.new_text.contains('\r'), source.contains('\r'));
            prop_assert_eq!(
                edit.new_text.matches('\r').count(),
                if source.contains('\r') { edit.new_text.matches('\n').count() } else { 0 }
            );
            let again = edit_compose(&edit.new_text, "s", &changes[changes.len() - 1..]).unwrap();
            prop_assert_eq!(again.changes.len(), 0);
        }
    }
}
