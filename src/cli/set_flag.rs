//! `--set -b=4096`, `--set concurrency=1,5`: one of llama-bench's flags, or a field of a load test, on the
//! command line.

use crate::request::flags::{Param, is_flag_name, reserved, unfit_value};

/// Reads `-b=4096`, for a bare flag `--no-warmup`, for a load test `concurrency=1,5`. Whether the request
/// has such a field is its own kind's to say.
///
/// # Errors
/// What is wrong with it, for clap's own message.
pub fn parse(text: &str) -> Result<Param, String> {
    let (flag, value) = text.split_once('=').unwrap_or((text, ""));
    if !flag.starts_with('-') && text.contains('=') {
        // A field of a load test.
        let known = |c: char| c.is_ascii_alphanumeric() || c == '.';
        if flag.is_empty() || !flag.chars().all(known) {
            return Err(format!("\"{flag}\" is no field; write --set concurrency=1,5"));
        }
    } else if !is_flag_name(flag) {
        return Err(format!(
            "\"{flag}\" is not a flag; write --set -b=4096, or --set concurrency=1,5 for a load test"
        ));
    }
    if let Some(reason) = reserved(flag) {
        return Err(format!("the flag {flag} is reserved: {reason}"));
    }
    if let Some(message) = unfit_value(flag, value) {
        return Err(message);
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
        assert_eq!(param("load.concurrency=1,5"), Ok(("load.concurrency".to_owned(), "1,5".to_owned())));
        assert!(param("b").unwrap_err().contains("not a flag"));
        assert!(param("a b=1").unwrap_err().contains("is no field"));
        assert!(param("-m=x").unwrap_err().contains("reserved"));
        assert!(param("-b=1\n2").unwrap_err().contains("line break"));
    }
}
