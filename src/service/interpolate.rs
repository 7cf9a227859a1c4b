//! Variables in compose files and `.env` files, as Compose replaces them. Pure: the environment is an
//! argument.

/// How deep defaults may hold variables with defaults.
const MAX_DEPTH: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interpolated {
    pub text: String,
    /// Variables that were neither set nor had a default, and so became nothing.
    pub unset: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InterpolateError {
    #[error("the variable {name} must be set{}", reason_suffix(reason))]
    Required { name: String, reason: String },
    /// Without its text, which may be a part of a password.
    #[error("a dollar sign here begins no variable; write $$ where one is meant")]
    Malformed,
    #[error("variables are nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

fn reason_suffix(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

/// Replaces `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME-default}`, `${NAME:?error}`,
/// `${NAME?error}`, `${NAME:+other}`, `${NAME+other}` and `$$`.
///
/// # Errors
/// For a required variable that is not set and for text that only looks like a variable.
pub fn interpolate(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Interpolated, InterpolateError> {
    let mut result = Interpolated::default();
    replace(text, lookup, &mut result, 0)?;
    Ok(result)
}

fn replace(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    into: &mut Interpolated,
    depth: usize,
) -> Result<(), InterpolateError> {
    if depth > MAX_DEPTH {
        return Err(InterpolateError::TooDeep);
    }
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        into.text.push_str(&rest[..at]);
        let behind = &rest[at + 1..];
        if let Some(after) = behind.strip_prefix('$') {
            into.text.push('$');
            rest = after;
        } else if let Some(inner) = behind.strip_prefix('{') {
            let end = closing_brace(inner).ok_or(InterpolateError::Malformed)?;
            braced(&inner[..end], lookup, into, depth)?;
            rest = &inner[end + 1..];
        } else {
            let length = name_length(behind);
            if length == 0 {
                return Err(InterpolateError::Malformed);
            }
            let (name, after) = behind.split_at(length);
            plain(name, lookup, into);
            rest = after;
        }
    }
    into.text.push_str(rest);
    Ok(())
}

fn plain(name: &str, lookup: &dyn Fn(&str) -> Option<String>, into: &mut Interpolated) {
    match lookup(name) {
        Some(value) => into.text.push_str(&value),
        None => into.unset.push(name.to_owned()),
    }
}

fn braced(
    inner: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    into: &mut Interpolated,
    depth: usize,
) -> Result<(), InterpolateError> {
    let (name, operation) = inner.split_at(name_length(inner));
    if name.is_empty() {
        return Err(InterpolateError::Malformed);
    }
    let value = lookup(name);
    let (operation, value_or_empty) = match operation.strip_prefix(':') {
        Some(operation) => (operation, value.clone().filter(|value| !value.is_empty())),
        None => (operation, value.clone()),
    };
    let mut chars = operation.chars();
    match (chars.next(), value_or_empty) {
        (None, _) if inner == name => plain(name, lookup, into),
        (Some('-' | '?'), Some(value)) => into.text.push_str(&value),
        (Some('-'), None) | (Some('+'), Some(_)) => replace(chars.as_str(), lookup, into, depth + 1)?,
        (Some('+'), None) => {}
        (Some('?'), None) => {
            let mut reason = Interpolated::default();
            replace(chars.as_str(), lookup, &mut reason, depth + 1)?;
            return Err(InterpolateError::Required { name: name.to_owned(), reason: reason.text });
        }
        _ => return Err(InterpolateError::Malformed),
    }
    Ok(())
}

fn name_length(text: &str) -> usize {
    let name = |(at, byte): (usize, u8)| {
        byte == b'_' || byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit())
    };
    text.bytes().enumerate().take_while(|next| name(*next)).count()
}

/// The brace that closes an expression, past the ones of expressions within it.
fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut previous = ' ';
    for (at, ch) in text.char_indices() {
        match ch {
            '{' if previous == '$' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
        previous = ch;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "SET" => Some("value".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    fn text(text: &str) -> String {
        interpolate(text, &lookup).unwrap().text
    }

    #[test]
    fn every_form_is_replaced_as_compose_does() {
        assert_eq!(text("a $SET-${SET}/b"), "a value-value/b");
        assert_eq!(text("${EMPTY:-d} ${EMPTY-d} ${NO-d} ${NO:-d}"), "d  d d");
        assert_eq!(text("${SET:+x} ${EMPTY:+x} ${EMPTY+x} ${NO+x}"), "x  x ");
        assert_eq!(text("${SET:?must} ${EMPTY?must}"), "value ");
        assert_eq!(text("$$SET $$$SET"), "$SET $value");
    }

    #[test]
    fn defaults_may_hold_variables() {
        assert_eq!(text("${NO:-${ALSO_NO:-/home/${SET}}}/x"), "/home/value/x");
    }

    #[test]
    fn a_required_variable_says_its_reason() {
        let error = interpolate("${NO:?set it to ${SET}}", &lookup).unwrap_err();
        assert_eq!(error.to_string(), "the variable NO must be set: set it to value");
    }

    #[test]
    fn an_unset_variable_becomes_nothing_and_is_named() {
        let result = interpolate("a${NO}b", &lookup).unwrap();
        assert_eq!((result.text.as_str(), result.unset), ("ab", vec!["NO".to_owned()]));
    }

    #[test]
    fn what_is_no_variable_is_an_error() {
        for wrong in ["cost $5", "${", "${SET", "${}", "${SET!}", "$"] {
            assert!(matches!(interpolate(wrong, &lookup), Err(InterpolateError::Malformed)), "{wrong}");
        }
    }
}
