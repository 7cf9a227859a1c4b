//! Values as they are written into a request, so that reading gives them back.

/// A value as YAML reads it back: plain where that is safe, else in double quotes.
pub fn quoted(value: &str) -> String {
    let mut characters = value.chars();
    let begins_well =
        characters.next().is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '_'))
            || value.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,+*=;@".contains(c);
    let words_of_yaml = ["null", "Null", "NULL"];
    if begins_well && value.chars().all(plain) && !words_of_yaml.contains(&value) {
        return value.to_owned();
    }
    // A JSON text is a YAML one.
    serde_json::Value::from(value).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::tree;

    #[test]
    fn every_value_is_read_back_as_it_was() {
        for value in [
            "512",
            "on",
            "-1",
            "512,1024",
            "a b",
            "x: y",
            "#",
            "null",
            "1e3",
            "\"q\"",
            "é",
            "-x",
            "blk.*=CPU",
            "[a",
        ] {
            let text = format!("k: {}\n", quoted(value));
            let stream = tree::parse(&text);
            let root = stream.documents[0].root.as_ref().unwrap();
            assert_eq!(root.get("k").unwrap().text(), Some(value), "{text}");
        }
    }
}
