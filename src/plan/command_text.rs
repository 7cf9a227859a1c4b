//! A `command` as it stands in a compose file: its arguments with the place of each in the source,
//! whatever YAML form it is written in. Reads only; `command_splice` edits.

use std::ops::Range;

use crate::request::tree::{Node, Style, Value};

use super::shell_words::{Words, split, split_located};

/// How a command is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `[a, "b"]`
    FlowList,
    /// One `- item` a line.
    BlockList,
    /// One text, split into words.
    Text(Style),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// As the program gets it, but for variables, which are kept as written; `$$` is `$` here.
    pub text: String,
    pub span: Range<usize>,
    /// How a list's item is written, or the whole text.
    pub style: Style,
    /// In a text: the quote that the word begins with.
    pub quote: Option<char>,
    /// It contains `$NAME` or `${…}`, so that its value is decided elsewhere.
    pub has_variable: bool,
    /// It stands elsewhere and is referred to by an alias.
    pub via_alias: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandText {
    pub form: Form,
    pub span: Range<usize>,
    pub arguments: Vec<Argument>,
}

/// Why a command cannot be taken apart: a reason that ends a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandTextError {
    #[error("it is {0}, neither a list nor a text")]
    Kind(&'static str),
    #[error("its item {0} is no text")]
    Item(usize),
    #[error("{0}")]
    Words(#[from] super::shell_words::WordsError),
    #[error("Compose ignores everything from the unquoted {0} on")]
    Cut(char),
    #[error("its escapes are too intricate to find the places of its words")]
    Escapes,
}

/// Reads the node of a `command` or `entrypoint`.
///
/// # Errors
/// Where it is neither list nor text, or its words cannot be told apart for certain.
pub fn read(source: &str, node: &Node) -> Result<CommandText, CommandTextError> {
    match &node.value {
        Value::List(items) => {
            let flow = source.get(node.span.clone()).is_some_and(|text| text.starts_with('['));
            let arguments = items.iter().enumerate().map(|(at, item)| list_item(at, item));
            Ok(CommandText {
                form: if flow { Form::FlowList } else { Form::BlockList },
                span: node.span.clone(),
                arguments: arguments.collect::<Result<_, _>>()?,
            })
        }
        Value::Scalar(scalar) => {
            let written = source.get(node.span.clone()).ok_or(CommandTextError::Escapes)?;
            let words = split_located(decoded(written, scalar.style, node.span.start)?)?;
            if let Some((found, _)) = words.cut {
                return Err(CommandTextError::Cut(found));
            }
            // The places come from a reading of our own; it counts only if YAML's gives the same words.
            if !same_words(&words, &split(&scalar.text)?) {
                return Err(CommandTextError::Escapes);
            }
            let arguments = words.words.into_iter().map(|word| Argument {
                has_variable: has_variable(&word.text),
                text: word.text.replace("$$", "$"),
                span: word.span,
                style: scalar.style,
                quote: word.quote,
                via_alias: false,
            });
            Ok(CommandText {
                form: Form::Text(scalar.style),
                span: node.span.clone(),
                arguments: arguments.collect(),
            })
        }
        Value::Null | Value::Map(_) => Err(CommandTextError::Kind(node.kind_name())),
    }
}

fn same_words(ours: &Words, yamls: &Words) -> bool {
    let texts = |words: &Words| words.words.iter().map(|word| word.text.clone()).collect::<Vec<_>>();
    texts(ours) == texts(yamls)
}

fn list_item(at: usize, item: &Node) -> Result<Argument, CommandTextError> {
    let (text, style) = match &item.value {
        Value::Scalar(scalar) => (scalar.text.as_str(), scalar.style),
        Value::Null | Value::List(_) | Value::Map(_) => return Err(CommandTextError::Item(at + 1)),
    };
    Ok(Argument {
        text: text.replace("$$", "$"),
        span: item.span.clone(),
        style,
        quote: None,
        has_variable: has_variable(text),
        via_alias: item.via_alias,
    })
}

/// Whether Compose would replace something in the text.
fn has_variable(text: &str) -> bool {
    let unescaped = text.replace("$$", "");
    unescaped.match_indices('$').any(|(at, _)| {
        unescaped[at + 1..].starts_with(|next: char| next == '{' || next == '_' || next.is_ascii_alphabetic())
    })
}

/// The characters of a scalar with their places. Line folding is left out: to words, a line end and a
/// space are the same.
fn decoded(
    written: &str,
    style: Style,
    offset: usize,
) -> Result<Vec<(Range<usize>, char)>, CommandTextError> {
    let inner = match style {
        Style::Plain | Style::Literal | Style::Folded => 0..written.len(),
        Style::SingleQuoted | Style::DoubleQuoted if written.len() >= 2 => 1..written.len() - 1,
        Style::SingleQuoted | Style::DoubleQuoted => return Err(CommandTextError::Escapes),
    };
    let start = offset + inner.start;
    let mut chars = written[inner].char_indices().peekable();
    let mut result = Vec::new();
    while let Some((at, ch)) = chars.next() {
        let from = start + at;
        let next = chars.peek().map(|(_, next)| *next);
        let (width, decoded) = match (style, ch, next) {
            (Style::SingleQuoted, '\'', Some('\'')) => (2, '\''),
            (Style::DoubleQuoted, '\\', Some(escaped @ ('"' | '\\' | '/' | ' '))) => (2, escaped),
            (Style::DoubleQuoted, '\\', Some('n')) => (2, '\n'),
            (Style::DoubleQuoted, '\\', Some('t')) => (2, '\t'),
            (Style::DoubleQuoted, '\\', _) => return Err(CommandTextError::Escapes),
            (_, ch, _) => (1, ch),
        };
        if width == 2 {
            chars.next();
            result.push((from..from + 2, decoded));
        } else {
            result.push((from..from + ch.len_utf8(), decoded));
        }
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(yaml: &str) -> Vec<(String, String)> {
        let root = crate::request::tree::parse(yaml).documents.remove(0).root.unwrap();
        let read = read(yaml, root.get("command").unwrap()).unwrap();
        read.arguments.into_iter().map(|word| (word.text, yaml[word.span].to_owned())).collect()
    }

    #[test]
    fn every_form_gives_the_same_arguments_in_their_places() {
        for yaml in [
            "command: [server, \"-b\", '512']\n",
            "command:\n  - server\n  - -b # batch\n  - \"512\"\n",
            "command: server -b 512\n",
            "command: \"server -b '512'\"\n",
            "command: 'server -b ''512'''\n",
            "command: |\n  server\n  -b 512\n",
            "command: >-\r\n  server\r\n  -b 512\r\n",
            "command: server\n  -b\n  512 # three lines\n",
        ] {
            let seen = arguments(yaml);
            let texts: Vec<_> = seen.iter().map(|(text, _)| text.as_str()).collect();
            assert_eq!(texts, ["server", "-b", "512"], "{yaml}");
            assert!(seen[2].1.contains("512"), "{yaml}");
        }
    }

    #[test]
    fn an_escaped_quote_in_a_quoted_text_keeps_its_place() {
        let seen = arguments("command: \"server --alias \\\"a b\\\"\"\n");
        assert_eq!(seen[2], ("a b".to_owned(), "\\\"a b\\\"".to_owned()));
    }

    #[test]
    fn a_variable_is_told_from_an_escaped_dollar() {
        assert!(has_variable("${BATCH:-512}") && has_variable("a$B"));
        assert!(!has_variable("$$HOME") && !has_variable("cost$"));
    }
}
