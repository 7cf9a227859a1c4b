//! Chat templates that benchlet brings along, each as short as the format allows. None of them writes the
//! token that begins a prompt: servers put it there themselves.

use crate::run::template_source::TemplateSource;

/// A chat format that many models share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Builtin {
    /// Qwen, Yi, Hermes and many others.
    ChatMl,
    /// Llama 3 and its successors up to 3.3.
    Llama3,
    Phi3,
    /// Gemma to 3; a system message is put before the user's that follows it.
    Gemma,
    /// Mistral 7B Instruct v0.3 and Mixtral (the v3 tokenizer); a system message as in Gemma.
    Mistral,
}

impl Builtin {
    /// As requests spell them.
    pub const NAMES: &'static [(&'static str, Self)] = &[
        ("chatml", Self::ChatMl),
        ("llama3", Self::Llama3),
        ("phi3", Self::Phi3),
        ("gemma", Self::Gemma),
        ("mistral", Self::Mistral),
    ];

    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(spelling, _)| *spelling == name).map(|(_, builtin)| *builtin)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::ChatMl => "chatml",
            Self::Llama3 => "llama3",
            Self::Phi3 => "phi3",
            Self::Gemma => "gemma",
            Self::Mistral => "mistral",
        }
    }

    /// As a template, which refers to no special tokens.
    pub fn source(self) -> TemplateSource {
        TemplateSource::of(self.text())
    }

    /// Its Jinja.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::ChatMl => CHAT_ML,
            Self::Llama3 => LLAMA_3,
            Self::Phi3 => PHI_3,
            Self::Gemma => GEMMA,
            Self::Mistral => MISTRAL,
        }
    }
}

// Models of these formats know a developer's word as a system's.

const CHAT_ML: &str = "\
{%- for message in messages -%}
    {%- set role = 'system' if message.role == 'developer' else message.role -%}
    {{- '<|im_start|>' ~ role ~ '\n' ~ message.content ~ '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}";

const LLAMA_3: &str = "\
{%- for message in messages -%}
    {%- set role = 'system' if message.role == 'developer' else message.role -%}
    {{- '<|start_header_id|>' ~ role ~ '<|end_header_id|>\n\n' ~ message.content.strip() ~ '<|eot_id|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' -}}{%- endif -%}";

const PHI_3: &str = "\
{%- for message in messages -%}
    {%- set role = 'system' if message.role == 'developer' else message.role -%}
    {{- '<|' ~ role ~ '|>\n' ~ message.content ~ '<|end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>\n' -}}{%- endif -%}";

const GEMMA: &str = "\
{%- set held = namespace(system='') -%}
{%- for message in messages -%}
    {%- if message.role in ['system', 'developer'] -%}
        {%- set held.system = held.system ~ message.content.strip() ~ '\n\n' -%}
    {%- elif message.role == 'assistant' -%}
        {{- '<start_of_turn>model\n' ~ message.content.strip() ~ '<end_of_turn>\n' -}}
    {%- else -%}
        {{- '<start_of_turn>user\n' ~ held.system ~ message.content.strip() ~ '<end_of_turn>\n' -}}
        {%- set held.system = '' -%}
    {%- endif -%}
{%- endfor -%}
{%- if held.system -%}
    {{- raise_exception('the format has no system role, and no user message follows the system message') -}}
{%- endif -%}
{%- if add_generation_prompt -%}{{- '<start_of_turn>model\n' -}}{%- endif -%}";

const MISTRAL: &str = "\
{%- set held = namespace(system='') -%}
{%- for message in messages -%}
    {%- if message.role in ['system', 'developer'] -%}
        {%- set held.system = held.system ~ message.content ~ '\n\n' -%}
    {%- elif message.role == 'assistant' -%}
        {{- ' ' ~ message.content ~ '</s>' -}}
    {%- else -%}
        {{- '[INST] ' ~ held.system ~ message.content ~ '[/INST]' -}}
        {%- set held.system = '' -%}
    {%- endif -%}
{%- endfor -%}
{%- if held.system -%}
    {{- raise_exception('the format has no system role, and no user message follows the system message') -}}
{%- endif -%}";
