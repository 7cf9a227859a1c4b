use super::*;

fn message(role: &str, content: &str) -> Message {
    Message { role: role.to_owned(), content: content.to_owned() }
}

/// Blanks around a text tell who strips it.
fn talk() -> [Message; 4] {
    [
        message("system", "be brief"),
        message("user", " hello there "),
        message("assistant", "yes"),
        message("user", "and now?"),
    ]
}

fn builtin(builtin: Builtin, messages: &[Message]) -> String {
    ChatTemplate::builtin(builtin).unwrap().render(messages).unwrap()
}

fn render(text: &str) -> Result<String, TemplateError> {
    ChatTemplate::new(TemplateSource::of(text))?.render(&talk())
}

#[test]
fn chatml_marks_each_message() {
    assert_eq!(
        builtin(Builtin::ChatMl, &talk()),
        "<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user\n hello there <|im_end|>\n\
         <|im_start|>assistant\nyes<|im_end|>\n<|im_start|>user\nand now?<|im_end|>\n<|im_start|>assistant\n"
    );
}

#[test]
fn llama_3_names_the_speaker_in_a_header() {
    assert_eq!(
        builtin(Builtin::Llama3, &talk()),
        "<|start_header_id|>system<|end_header_id|>\n\nbe brief<|eot_id|>\
         <|start_header_id|>user<|end_header_id|>\n\nhello there<|eot_id|>\
         <|start_header_id|>assistant<|end_header_id|>\n\nyes<|eot_id|>\
         <|start_header_id|>user<|end_header_id|>\n\nand now?<|eot_id|>\
         <|start_header_id|>assistant<|end_header_id|>\n\n"
    );
}

#[test]
fn phi_3_has_a_token_for_each_speaker() {
    assert_eq!(
        builtin(Builtin::Phi3, &talk()),
        "<|system|>\nbe brief<|end|>\n<|user|>\n hello there <|end|>\n<|assistant|>\nyes<|end|>\n\
         <|user|>\nand now?<|end|>\n<|assistant|>\n"
    );
}

#[test]
fn gemma_puts_a_system_message_before_the_users() {
    assert_eq!(
        builtin(Builtin::Gemma, &talk()),
        "<start_of_turn>user\nbe brief\n\nhello there<end_of_turn>\n<start_of_turn>model\nyes<end_of_turn>\n\
         <start_of_turn>user\nand now?<end_of_turn>\n<start_of_turn>model\n"
    );
}

#[test]
fn mistral_puts_a_system_message_into_the_instruction() {
    assert_eq!(
        builtin(Builtin::Mistral, &talk()),
        "[INST] be brief\n\n hello there [/INST] yes</s>[INST] and now?[/INST]"
    );
}

#[test]
fn a_developer_speaks_as_the_system_does() {
    let said = |role| [message(role, "be brief"), message("user", "hi")];
    for (name, known) in Builtin::NAMES {
        assert_eq!(builtin(*known, &said("developer")), builtin(*known, &said("system")), "{name}");
    }
}

#[test]
fn a_format_without_a_system_role_loses_no_system_message() {
    for known in [Builtin::Gemma, Builtin::Mistral] {
        let alone = ChatTemplate::builtin(known).unwrap().render(&talk()[..1]);
        assert!(matches!(&alone, Err(TemplateError::Refused(words)) if words.contains("no user message")));
        let twice = [message("system", "be brief"), message("system", "be kind"), message("user", "hi")];
        assert!(builtin(known, &twice).contains("be brief\n\nbe kind\n\nhi"));
    }
}

#[test]
fn builtin_templates_are_found_by_their_names() {
    for (name, known) in Builtin::NAMES {
        assert_eq!((Builtin::from_name(name), known.as_str()), (Some(*known), *name));
    }
    assert_eq!(Builtin::from_name("ChatML"), None);
}

#[test]
fn a_template_has_what_python_gives_it() {
    let text = "{% set ns = namespace(n=0) %}
{% for m in messages %}
    {% if loop.first %}{% continue %}{% endif %}
    {% set ns.n = ns.n + 1 %}
    {%- if m.get('tool_calls') is none and m['content'].strip().startswith('h') %}
{{ m.role.title() }}:{{ m.content.split(' ')[1].upper() }};
    {%- endif %}
{% endfor %}
{{ ns.n }} {{ {'a': [1, 'é<']} | tojson }} {{ none is iterable }} {{ gone | length }} {{ unknown is defined }} {{ messages[-1].content[:3] }}";
    assert_eq!(render(text).unwrap(), "User:HELLO;3 {\"a\": [1, \"é<\"]} False 0 False and");
}

#[test]
fn blocks_leave_neither_their_indent_nor_their_line_end() {
    assert_eq!(render("a\n    {% if true %}\nb\n    {% endif %}\nc\n").unwrap(), "a\nb\nc");
}

#[test]
fn the_token_that_begins_a_prompt_is_left_to_the_server_unless_it_adds_none() {
    let source = TemplateSource {
        text: "{{ bos_token }}{{ messages[0].content }}{{ bos_token }}{{ eos_token }}".to_owned(),
        bos_token: Some("<s>".to_owned()),
        eos_token: Some("</s>".to_owned()),
        begin: Begin::ByServer,
    };
    let render = |source| ChatTemplate::new(source).unwrap().render(&talk()).unwrap();
    assert_eq!(render(source.clone()), "be brief<s></s>");
    assert_eq!(render(TemplateSource { begin: Begin::Kept, ..source.clone() }), "<s>be brief<s></s>");
    assert_eq!(render(TemplateSource { bos_token: None, eos_token: None, ..source }), "be brief");
}

#[test]
fn a_template_whose_tokens_are_unknown_says_which_it_misses() {
    let text = "{% if bos_token %}{{ bos_token }}{% endif %}{{ eos_token }}";
    let eos_token = Some("</s>".to_owned());
    let missing = |source| ChatTemplate::new(source).unwrap().missing_tokens();
    assert_eq!(missing(TemplateSource::of(text)), ["bos_token", "eos_token"]);
    assert_eq!(missing(TemplateSource { eos_token, ..TemplateSource::of(text) }), ["bos_token"]);
    assert_eq!(missing(TemplateSource::of("{{ messages }}")), <[&str; 0]>::default());
}

#[test]
fn the_time_is_told_only_where_it_was_given() {
    let template = ChatTemplate::new(TemplateSource::of("a\n{{ strftime_now('%d %b %Y') }}")).unwrap();
    let error = template.render(&talk()).unwrap_err();
    assert!(
        matches!(&error, TemplateError::Failed { line: 2, words } if words.contains("asks for the time"))
    );
    let now = jiff::civil::date(2026, 1, 2).at(3, 4, 5, 0);
    assert_eq!(template.with_now(now).render(&talk()).unwrap(), "a\n02 Jan 2026");
}

#[test]
fn each_host_tells_a_template_what_its_server_would() {
    let text =
        "{{ tools is defined }} {{ tools is none }} {{ enable_thinking }} {{ date_string }} {{ datetime }}";
    let template = ChatTemplate::new(TemplateSource::of(text)).unwrap();
    let render = |template: ChatTemplate| template.render(&talk()).unwrap();
    let now = jiff::civil::date(2026, 1, 2).at(3, 4, 5, 0);
    assert_eq!(render(template.clone()), "False False True  ", "without a day");
    assert_eq!(render(template.clone().with_now(now)), "False False True 02 Jan 2026 Jan 02 2026");
    assert_eq!(render(template.with_now(now).with_host(Host::Transformers)), "True True   ");
}

#[test]
fn what_only_training_needs_changes_no_text() {
    let text =
        "{% for m in messages[2:] %}\n{% generation %}\n{{ m.content }}\n{% endgeneration %}\n{% endfor %}";
    assert_eq!(render(text).unwrap(), "yes\nand now?\n");
}

#[test]
fn what_a_template_refuses_is_told_in_its_own_words() {
    let text = "{% macro check(m) %}\n{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}\
                {% endif %}\n{% endmacro %}\n{{ check(messages[0]) }}";
    assert_eq!(render(text), Err(TemplateError::Refused("System role not supported".to_owned())));
}

#[test]
fn a_syntax_error_names_its_line() {
    for (text, at) in [("a\n{% if %}", 2), ("\n\n{{ x", 3), ("a\n{% for m in messages %}\n", 2)] {
        let error = ChatTemplate::new(TemplateSource::of(text)).unwrap_err();
        assert!(matches!(&error, TemplateError::Syntax { line, .. } if *line == at), "{text:?}: {error}");
        assert!(error.to_string().starts_with(&format!("line {at} of the chat template")), "{error}");
    }
}

#[test]
fn a_failure_names_its_line() {
    let error = render("{{ messages[0].content }}\n{{ messages.nothing.more }}").unwrap_err();
    assert!(matches!(error, TemplateError::Failed { line: 2, .. }), "{error}");
}

#[test]
fn a_template_reaches_no_other_one() {
    for text in ["{% include '/etc/passwd' %}", "{% extends 'x' %}", "{% import 'x.jinja' as c %}"] {
        let error = render(text).unwrap_err();
        assert!(
            matches!(&error, TemplateError::Failed { line: 1, words } if words.contains("not found")),
            "{error}"
        );
    }
    // There is one template, which may call itself until that is too deep.
    for text in ["{% include 'chat' %}", "{% extends 'chat' %}", "{% import 'chat' as c %}"] {
        assert!(matches!(render(text), Err(TemplateError::Failed { .. } | TemplateError::Endless)), "{text}");
    }
}

#[test]
fn a_template_that_does_not_end_is_ended() {
    let loops = "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}";
    assert_eq!(render(loops), Err(TemplateError::Endless));
    let calls = render("{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}").unwrap_err();
    assert!(matches!(calls, TemplateError::Failed { .. }), "{calls}");
}

#[test]
fn a_template_that_writes_without_bounds_is_ended() {
    let text = "{% set much = 'x' * 1000000 %}{% for a in range(1000) %}{{ much }}{% endfor %}";
    assert_eq!(render(text), Err(TemplateError::TooMuch));
}

#[test]
fn a_template_that_is_too_long_or_too_deep_is_not_parsed() {
    let long = "x".repeat(MOST_SOURCE + 1);
    assert_eq!(render(&long), Err(TemplateError::TooLong(MOST_SOURCE + 1)));
    let deep = "{% if true %}".repeat(10_000);
    assert!(matches!(render(&deep), Err(TemplateError::Syntax { .. })));
    let nested = format!("{{{{ {}1{} }}}}", "(".repeat(10_000), ")".repeat(10_000));
    assert!(matches!(render(&nested), Err(TemplateError::Syntax { .. })));
}
