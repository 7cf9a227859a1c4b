//! Jinja as Python's `transformers` sets it up for chat templates: its blocks and blanks, its methods, its own
//! functions, filters and tags. Knows no messages and renders nothing.

use jiff::civil::DateTime;
use jiff::fmt::strtime;
use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, Value};

use super::python_json;

/// Jinja as `transformers` sets it up, without any way to another template.
pub(super) fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |words: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, words.clone()).with_source(Raised(words)))
    });
    // None is not, in Python.
    environment.add_test("iterable", |value: Value| !value.is_none() && value.try_iter().is_ok());
    for name in ["length", "count"] {
        // Nothing has no length, in Python; what is not defined has none of its items.
        environment.add_filter(name, |value: Value| -> Result<usize, Error> {
            if value.is_undefined() { Ok(0) } else { minijinja::filters::length(&value) }
        });
    }
    environment.add_filter("tojson", |value: Value, options: Kwargs| -> Result<Value, Error> {
        let indent = options.get::<Option<usize>>("indent")?;
        for known_and_without_effect in ["ensure_ascii", "separators", "sort_keys"] {
            options.get::<Option<Value>>(known_and_without_effect)?;
        }
        options.assert_all_used()?;
        let odd = |error: serde_json::Error| Error::new(ErrorKind::BadSerialization, error.to_string());
        python_json::dumps(&value, indent).map(Value::from).map_err(odd)
    });
    environment
}

/// `strftime_now(format)` of `transformers`.
pub(super) fn strftime(now: Option<DateTime>) -> impl Fn(String) -> Result<String, Error> {
    let failed = |words: String| Error::new(ErrorKind::InvalidOperation, words);
    move |format| {
        let Some(now) = now else {
            return Err(failed("it asks for the time, and there is none for it here".to_owned()));
        };
        strtime::format(format.as_bytes(), now).map_err(|error| failed(format!("strftime_now: {error}")))
    }
}

/// Marks the words of `raise_exception` among other errors.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Raised(pub String);

/// `{% generation %}` and its end mark what a model is trained to say and change no text; here they become
/// tags that do nothing. Lines stay where they are.
pub(super) fn without_generation_tags(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at + 2);
        out.push_str(before);
        rest = tag;
        let inner = tag.split("%}").next().unwrap_or_default();
        let word = inner.trim_start_matches(['-', '+']).trim_end_matches(['-', '+']).trim();
        let instead = match word {
            "generation" => "if true",
            "endgeneration" => "endif",
            _ => continue,
        };
        out.push_str(&inner.replacen(word, instead, 1));
        rest = &tag[inner.len()..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generation_tags_do_nothing_and_everything_else_stays() {
        for (text, expected) in [
            ("{% generation %}a{%- endgeneration -%}", "{% if true %}a{%- endif -%}"),
            ("a\n{%-  generation\n-%}b{%endgeneration%}", "a\n{%-  if true\n-%}b{%endif%}"),
            (
                "{% if generation %}{% set x = 'endgeneration' %}",
                "{% if generation %}{% set x = 'endgeneration' %}",
            ),
            ("{{ 1 }}{% generation", "{{ 1 }}{% if true"),
            ("{%", "{%"),
            ("", ""),
        ] {
            assert_eq!(without_generation_tags(text), expected, "{text}");
        }
    }
}
