//! For tests: which names of a table's fields an example does not show.

use super::schema::{Field, Shape};

/// The names in these tables, at any depth, that `example` writes nowhere as a key and that are not known to
/// stand elsewhere.
pub fn not_shown(tables: &[&'static [Field]], example: &str, elsewhere: &[&str]) -> Vec<&'static str> {
    let mut found = Vec::new();
    tables.iter().for_each(|fields| names(fields, &mut found));
    found.retain(|name| !elsewhere.contains(name) && !example.contains(&format!("{name}:")));
    found
}

fn names(fields: &'static [Field], found: &mut Vec<&'static str>) {
    for field in fields {
        found.push(field.name);
        of_shape(&field.shape, found);
    }
}

fn of_shape(shape: &'static Shape, found: &mut Vec<&'static str>) {
    match shape {
        Shape::Map(fields) | Shape::Documents(fields) | Shape::Thresholds(fields) => names(fields, found),
        Shape::List(inner) | Shape::OneOrMore(inner, _) => of_shape(inner, found),
        Shape::AnyOf(shapes) => shapes.iter().for_each(|inner| of_shape(inner, found)),
        Shape::Text
        | Shape::Boolean
        | Shape::Integer { .. }
        | Shape::Number { .. }
        | Shape::Duration
        | Shape::Percent
        | Shape::Rate
        | Shape::OneOf(_)
        | Shape::TextOr(_)
        | Shape::Flags
        | Shape::ServerFlags
        | Shape::Objectives
        | Shape::Limit
        | Shape::Bytes
        | Shape::Sha256
        | Shape::Hashes
        | Shape::Case
        | Shape::Any => {}
    }
}
