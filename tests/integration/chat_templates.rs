//! Our rendering of chat templates against that of a real llama-server for the same messages, and who puts
//! the token that begins a prompt there.

use std::path::Path;
use std::time::Duration;

use benchlet::collect::chat_template_file;
use benchlet::engine::address::Address;
use benchlet::engine::wire::Wire;
use benchlet::plan::chat_template::{Begin, Builtin, ChatTemplate, TemplateSource};
use benchlet::request::load_test::{Api, Content, Message};
use benchlet::run::measure_plan::Dialect;
use serde_json::{Value, json};

use crate::daemon::{self, serve_service};
use crate::polling::until;
use crate::workbench::tiny_model;

/// A llama-server on the tiny model, which goes when this does.
struct LlamaServer {
    id: String,
    wire: Wire,
    runtime: tokio::runtime::Runtime,
}

impl LlamaServer {
    /// `None` where this run of the tests does without Docker.
    fn start(more: &[&str]) -> Option<Self> {
        if daemon::is_left_out() {
            return None;
        }
        let project = format!("test-{}", uuid::Uuid::new_v4().simple());
        let mut command =
            vec!["llama-server", "-m", "/models/tiny.gguf", "-t", "1", "--host", "0.0.0.0", "--port", "8080"];
        command.extend(more);
        let (id, port) = serve_service(&project, "templates", &command, &tiny_model());
        let wire = Wire {
            dialect: Dialect::LlamaCpp,
            api: Api::Chat,
            address: Address::parse(&format!("http://127.0.0.1:{port}")).unwrap(),
            key: None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let server = Self { id, wire, runtime };
        let healthy = || async { server.wire.health(Duration::from_secs(1)).await.ok() };
        server.runtime.block_on(until("the server is ready", healthy));
        Some(server)
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.runtime.block_on(self.wire.ask_json("POST", path, Some(body))).unwrap()
    }

    fn render(&self, messages: &[Message]) -> String {
        let answer = self.post("/apply-template", &json!({ "messages": messages }));
        answer["prompt"].as_str().unwrap().to_owned()
    }
}

impl Drop for LlamaServer {
    fn drop(&mut self) {
        daemon::remove(&self.id);
    }
}

/// Conversations of one, two and four messages; blanks around texts tell who strips them.
fn talks() -> Vec<Vec<Message>> {
    let message = |(role, content): (&str, &str)| Message { role: role.into(), content: content.into() };
    let talk = |list: &[(&str, &str)]| list.iter().copied().map(message).collect();
    vec![
        talk(&[("user", " Grüße, \"you\"\n<b>& all</b> ")]),
        talk(&[("system", "be brief"), ("user", "hello")]),
        talk(&[
            ("system", "be brief"),
            ("user", " hello there "),
            ("assistant", "yes"),
            ("user", "and\n\nnow? "),
        ]),
    ]
}

fn assert_same(server: &LlamaServer, template: &ChatTemplate) {
    for talk in talks() {
        assert_eq!(template.render(&talk).unwrap(), server.render(&talk), "{talk:?}");
    }
}

/// The server knows the formats by these names, without Jinja: with it, it takes the name for a template.
fn assert_renders_as_the_servers(builtin: Builtin, name: &str) {
    let Some(server) = LlamaServer::start(&["--no-jinja", "--chat-template", name]) else { return };
    assert_same(&server, &ChatTemplate::builtin(builtin).unwrap());
}

#[test]
fn chatml_is_what_the_server_renders() {
    assert_renders_as_the_servers(Builtin::ChatMl, "chatml");
}

#[test]
fn llama_3_is_what_the_server_renders() {
    assert_renders_as_the_servers(Builtin::Llama3, "llama3");
}

#[test]
fn phi_3_is_what_the_server_renders() {
    assert_renders_as_the_servers(Builtin::Phi3, "phi3");
}

#[test]
fn gemma_is_what_the_server_renders() {
    assert_renders_as_the_servers(Builtin::Gemma, "gemma");
}

#[test]
fn mistral_is_what_the_server_renders() {
    assert_renders_as_the_servers(Builtin::Mistral, "mistral-v3");
}

#[test]
fn the_models_own_template_is_rendered_as_its_server_does() {
    let Some(server) = LlamaServer::start(&[]) else { return };
    let source = chat_template_file::read(Path::new(&tiny_model())).unwrap();
    let tokens = (source.bos_token.as_deref(), source.eos_token.as_deref());
    assert_eq!(tokens, (Some("<s>"), Some("</s>")));
    assert_same(&server, &ChatTemplate::new(source).unwrap());
}

#[test]
fn an_answers_tokens_are_counted_by_the_server_and_a_prompts_with_its_template() {
    let Some(server) = LlamaServer::start(&[]) else { return };
    let count = |text: &str| server.runtime.block_on(server.wire.count_answer(None, text)).unwrap();
    assert_eq!((count("the and of"), count("")), (3, 0), "none is put before it");
    let prompt = Content::Messages(talks()[2].clone());
    let asked = json!({ "content": server.render(&talks()[2]), "add_special": true, "parse_special": true });
    let tokens = server.post("/tokenize", &asked)["tokens"].as_array().unwrap().len() as u64;
    let counted = server.runtime.block_on(server.wire.count_prompt(None, &prompt, ""));
    assert_eq!(counted, Some(tokens));
    let answer = server.post("/v1/chat/completions", &json!({ "messages": talks()[2], "max_tokens": 1 }));
    assert_eq!(answer["usage"]["prompt_tokens"], tokens, "as its usage says");
}

/// As models have it: blocks on lines of their own, Python's methods, a namespace, special tokens, tags for
/// training alone, tools that are not there.
const AS_MODELS_HAVE_IT: &str = "{{ bos_token }}
{%- set ns = namespace(system='') %}
{%- for message in messages %}
    {%- if message['role'] == 'system' %}
        {%- set ns.system = message['content'].strip() + '\\n' %}
    {%- endif %}
{%- endfor %}
{% for message in messages if message.role != 'system' %}
    {% if loop.first %}
{{ ns.system }}
    {% endif %}
    {% generation %}
<{{ message.role.upper() }}> {{ message.content | trim }}{{ eos_token }}
    {% endgeneration %}
    {% if not loop.last %}
 * {{ loop.index0 }}
    {% endif %}
{% endfor %}
{% if tools is iterable and tools | length > 0 %}
{{ tools | tojson }}
{% endif %}
{% if add_generation_prompt %}
{{ '<ASSISTANT>' + ' ' }}
{%- endif %}
";

#[test]
fn a_file_of_jinja_is_rendered_as_the_server_does_and_the_begin_token_is_the_servers() {
    let Some(server) = LlamaServer::start(&["--chat-template", AS_MODELS_HAVE_IT]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.jinja");
    std::fs::write(&file, AS_MODELS_HAVE_IT).unwrap();
    let (bos_token, eos_token) = (Some("<s>".to_owned()), Some("</s>".to_owned()));
    let source = TemplateSource { bos_token, eos_token, ..chat_template_file::read(&file).unwrap() };
    assert_same(&server, &ChatTemplate::new(source.clone()).unwrap());

    let tokens = |prompt: &str| {
        let asked = json!({ "content": prompt, "add_special": true, "parse_special": true });
        server.post("/tokenize", &asked)["tokens"].as_array().unwrap().clone()
    };
    let evaluated = |prompt: &str| {
        server.post("/completion", &json!({ "prompt": prompt, "n_predict": 1 }))["tokens_evaluated"].clone()
    };
    let render = |begin| {
        let template = ChatTemplate::new(TemplateSource { begin, ..source.clone() }).unwrap();
        template.render(&talks()[2]).unwrap()
    };
    let (without, with) = (render(Begin::ByServer), render(Begin::Kept));
    assert_eq!(with, format!("<s>{without}"));
    let once = tokens(&without);
    assert_eq!(once[0], 1, "the server has put it there");
    assert_eq!(tokens(&with).len(), once.len() + 1, "a second one");
    assert_eq!(evaluated(&without), once.len());
}
