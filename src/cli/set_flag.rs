//! `--set -b=4096`: one of llama-bench's flags on the command line.

use crate::request::flags::{LONGEST_VALUE, Param, is_flag_name, reserved};

/// Reads `-b=4096` or, for a bare flag, `--no-warmup`.
///
/// # Errors
/// What is wrong with it, for clap's own message.
pub fn parse(text: &str) -> Result<Param, String> {
    let (flag, value) = text.split_once('=').unwrap_or((text, ""));
    if !is_flag_name(flag) {
        return Err(format!("\"{flag}\" is not a flag; write --set -b=4096"));
    }
    if let Some(reason) = reserved(flag) {
        return Err(format!("the flag {flag} is reserved: {reason}"));
    }
    if value.chars().count() > LONGEST_VALUE {
        return Err(format!("the value of {flag} is longer than {LONGEST_VALUE} characters"));
    }
    if value.contains(['\0', '\n', '\r']) {
        return Err(format!("the value of {flag} has a line break or a NUL in it"));
    }
    Ok(Param { flag: flag.to_owned(), value: value.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_taken_with_and_without_a_value() {
        let param = |text: &str| parse(text).map(|param| (param.flag, param.value));
        assert_eq!(param("-b=512,1024"), Ok(("-b".to_owned(), "512,1024".to_owned())));
        assert_eq!(param("--no-warmup"), Ok(("--no-warmup".to_owned(), String::new())));
        assert_eq!(param("-ot=a=b"), Ok(("-ot".to_owned(), "a=b".to_owned())));
        assert!(param("b=1").unwrap_err().contains("not a flag"));
        assert!(param("-m=x").unwrap_err().contains("reserved"));
        assert!(param("-b=1\n2").unwrap_err().contains("line break"));
    }
}
