//! Whether a running server's arguments have the flags that an apply set. Compares texts; looks at no
//! container.

use super::server_flags::{flags_of, shell_script};
use super::service_edit::{FlagChange, Target};
use super::shell_words;

/// What is not as wanted, a phrase a flag; empty where the arguments have it all. `arguments` are the
/// program and its arguments as they run, perhaps behind a launcher or in a shell's script.
pub fn unmet(arguments: &[String], wanted: &[FlagChange]) -> Vec<String> {
    let arguments = server_arguments(arguments);
    let flags = flags_of(&arguments);
    let mut phrases = Vec::new();
    for change in wanted {
        if let Some(flag) = flags.iter().rfind(|flag| change.opposes(&flag.name)) {
            phrases.push(format!("{} is still there", flag.name));
        }
        let name = change.spellings.first().map_or("", String::as_str);
        match (&change.target, flags.iter().rfind(|flag| change.names(&flag.name))) {
            (Target::Absent, None) => {}
            (Target::Absent, Some(flag)) => phrases.push(format!("{} is still there", flag.name)),
            (Target::Set(_), None) => phrases.push(format!("{name} is missing")),
            (Target::Set(value), Some(flag)) => {
                let (value, found) = (value.as_deref().unwrap_or(""), flag.value().unwrap_or(""));
                if value != found {
                    phrases.push(format!("{} is \"{found}\" and not \"{value}\"", flag.name));
                }
            }
        }
    }
    phrases
}

/// The server's own arguments: what a launcher such as numactl takes is none of its flags.
fn server_arguments(arguments: &[String]) -> Vec<String> {
    let words = match shell_script(arguments).map(shell_words::split) {
        Some(Ok(words)) => words.words.into_iter().map(|word| word.text).collect(),
        Some(Err(_)) | None => arguments.to_vec(),
    };
    let server = words.iter().rposition(|word| word.rsplit('/').next() == Some("llama-server"));
    words.into_iter().skip(server.map_or(0, |at| at + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::flag_map::to_server;

    fn phrases(arguments: &[&str], wanted: &[(&str, &str)]) -> Vec<String> {
        let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        let wanted: Vec<FlagChange> = wanted
            .iter()
            .filter_map(|(flag, value)| FlagChange::from_translation(&to_server(flag, value)))
            .collect();
        unmet(&arguments, &wanted)
    }

    #[test]
    fn every_spelling_counts_and_of_two_the_last() {
        let arguments = ["llama-server", "--batch-size", "512", "-b", "1024", "--flash-attn=on", "-nkvo"];
        let wanted = [("-b", "1024"), ("-fa", "on"), ("-nkvo", "1"), ("-embd", "0")];
        assert_eq!(phrases(&arguments, &wanted), Vec::<String>::new());
    }

    #[test]
    fn another_value_a_missing_flag_and_one_too_many_are_named() {
        let arguments = ["llama-server", "-b", "512", "--no-repack", "-nkvo"];
        let wanted = [("-b", "1024"), ("--repack", "1"), ("-nkvo", "0"), ("-t", "4")];
        assert_eq!(
            phrases(&arguments, &wanted),
            [
                "-b is \"512\" and not \"1024\"",
                "--no-repack is still there",
                "--repack is missing",
                "-nkvo is still there",
                "-t is missing"
            ]
        );
    }

    #[test]
    fn a_launchers_and_a_shells_arguments_are_seen_through() {
        assert!(phrases(&["numactl", "-C", "0-3", "llama-server", "-b", "1"], &[("-b", "1")]).is_empty());
        let script = ["sh", "-c", "exec llama-server -m /m/a.gguf -b 64"];
        assert_eq!(phrases(&script, &[("-b", "64")]), Vec::<String>::new());
        assert_eq!(phrases(&script, &[("-b", "65")]).len(), 1);
    }
}
