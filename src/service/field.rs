//! One service's fields in a compose file: `<<` and `extends` resolved, variables replaced, and what
//! is wrong collected. Knows how values are read, not what they mean.

use std::sync::Arc;

use crate::request::diagnostic::{Diagnostic, Place};
use crate::request::tree::{Entry, Node, Value};

use super::Environment;
use super::interpolate::interpolate;

/// Reads values and collects their problems.
pub struct Reader<'e> {
    pub environment: &'e Environment,
    pub problems: Vec<Diagnostic>,
}

impl<'e> Reader<'e> {
    pub fn new(environment: &'e Environment) -> Self {
        Self { environment, problems: Vec::new() }
    }

    pub fn error(&mut self, node: &Node, message: impl Into<String>) {
        self.problems.push(Diagnostic::error(Place::at(node.span.clone()), message));
    }

    pub fn warning(&mut self, node: &Node, message: impl Into<String>) {
        self.problems.push(Diagnostic::warning(Place::at(node.span.clone()), message));
    }

    /// A scalar's text with its variables replaced; `None` for nothing, and with a problem for lists
    /// and maps.
    pub fn text(&mut self, node: &Node) -> Option<String> {
        let written = match &node.value {
            Value::Null => return None,
            Value::Scalar(scalar) => &scalar.text,
            Value::List(_) | Value::Map(_) => {
                self.error(node, format!("a text is needed here, and this is {}", node.kind_name()));
                return None;
            }
        };
        match interpolate(written, &|name| self.environment.get(name).cloned()) {
            Ok(done) => {
                for name in done.unset {
                    self.warning(node, format!("the variable {name} is not set, so it is empty"));
                }
                Some(done.text)
            }
            Err(error) => {
                self.error(node, error.to_string());
                None
            }
        }
    }

    pub fn text_of(&mut self, map: &Node, key: &str) -> Option<String> {
        let node = find(&map.merged(), key)?;
        self.text(&node)
    }

    /// A list's texts; a single text counts as a list of one.
    pub fn texts(&mut self, node: &Node) -> Vec<String> {
        match &node.value {
            Value::List(items) => items.iter().filter_map(|item| self.text(item)).collect(),
            Value::Scalar(_) => self.text(node).into_iter().collect(),
            Value::Null => Vec::new(),
            Value::Map(_) => {
                self.error(node, "a list is needed here, and this is a map");
                Vec::new()
            }
        }
    }

    /// `true` and `false` in YAML's spellings.
    pub fn truth(&mut self, node: &Node) -> bool {
        match self.text(node).map(|text| text.to_ascii_lowercase()).as_deref() {
            Some("true" | "yes" | "on" | "y" | "1") => true,
            Some("false" | "no" | "off" | "n" | "0") | None => false,
            Some(other) => {
                self.error(node, format!("\"{other}\" is neither true nor false"));
                false
            }
        }
    }

    /// A number, with a problem where it is none.
    pub fn number<T: std::str::FromStr>(&mut self, node: &Node) -> Option<T> {
        let text = self.text(node)?;
        let number = text.trim().parse().ok();
        if number.is_none() {
            self.error(node, format!("\"{text}\" is not a number that is possible here"));
        }
        number
    }

    /// Bytes: `8gb`, `512m`, `1073741824`; units are multiples of 1,024.
    pub fn bytes(&mut self, node: &Node) -> Option<i64> {
        let text = self.text(node)?;
        let bytes = bytes_of(&text);
        if bytes.is_none() {
            self.error(node, format!("\"{text}\" is not a size; write 512m or 8g"));
        }
        bytes
    }
}

fn bytes_of(text: &str) -> Option<i64> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.find(|ch: char| !ch.is_ascii_digit() && ch != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim() {
        "" | "b" => 1_f64,
        "k" | "kb" | "kib" => 1024_f64,
        "m" | "mb" | "mib" => 1024_f64.powi(2),
        "g" | "gb" | "gib" => 1024_f64.powi(3),
        "t" | "tb" | "tib" => 1024_f64.powi(4),
        _ => return None,
    };
    number.parse::<f64>().ok().map(|number| (number * factor) as i64)
}

/// A service's definition: its base's entries first, its own last.
pub struct Fields {
    pub layers: Vec<Vec<Entry>>,
}

impl Fields {
    /// What counts for a field that is replaced as a whole.
    pub fn get(&self, key: &str) -> Option<Arc<Node>> {
        self.layers.iter().rev().find_map(|layer| find(layer, key)).filter(|node| !node.is_null())
    }

    /// What counts for a value within maps that are merged: the last layer's that has it.
    pub fn at(&self, path: &[&str]) -> Option<Arc<Node>> {
        self.layers.iter().rev().find_map(|layer| within(layer, path)).filter(|node| !node.is_null())
    }

    /// Every layer's value of a list within maps, to be added up.
    pub fn all_at(&self, path: &[&str]) -> Vec<Arc<Node>> {
        self.layers.iter().filter_map(|layer| within(layer, path)).filter(|node| !node.is_null()).collect()
    }

    /// Every layer's value of a field that is added up.
    pub fn all(&self, key: &str) -> Vec<Arc<Node>> {
        self.layers.iter().filter_map(|layer| find(layer, key)).filter(|node| !node.is_null()).collect()
    }
}

fn within(entries: &[Entry], path: &[&str]) -> Option<Arc<Node>> {
    let (first, rest) = path.split_first()?;
    let next = find(entries, first)?;
    if rest.is_empty() { Some(next) } else { within(&next.merged(), rest) }
}

pub fn find(entries: &[Entry], key: &str) -> Option<Arc<Node>> {
    entries.iter().find(|entry| entry.key.text() == Some(key)).map(|entry| Arc::clone(&entry.value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_binary_units() {
        assert_eq!(bytes_of("8gb"), Some(8 << 30));
        assert_eq!(bytes_of("1.5G"), Some(3 << 29));
        assert_eq!(bytes_of("64m"), Some(64 << 20));
        assert_eq!(bytes_of("1024"), Some(1024));
        assert_eq!(bytes_of("lots"), None);
    }
}
