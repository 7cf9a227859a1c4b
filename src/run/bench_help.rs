//! What a build of llama-bench takes, read from its own `--help`: which flags there are and which of
//! them want a value. Only warns; a flag is passed on as asked, and llama-bench has the last word.

use serde::{Deserialize, Serialize};

use crate::request::diagnostic::did_you_mean;

/// One line of the options.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelpFlag {
    /// `-fa`, `--flash-attn`: at least one.
    pub spellings: Vec<String>,
    pub takes_value: bool,
    /// What stands for the value in the help, without its brackets: `on|off|auto`, `n`.
    pub placeholder: Option<String>,
    /// The values that the help lists, where it lists them. A build may take more (`-fa 1`).
    pub choices: Vec<String>,
}

/// The options of one build.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BenchHelp {
    /// In the order printed; empty where the text was no help.
    pub flags: Vec<HelpFlag>,
    /// The build takes `--progress`.
    pub knows_progress: bool,
}

impl BenchHelp {
    /// Reads the text of `llama-bench --help`, which is also what a bad flag makes it print. Lines
    /// that name no flag are skipped; text that is no help yields no flags.
    pub fn parse(help: &str) -> Self {
        let flags: Vec<HelpFlag> = help.lines().filter_map(parse_flag).collect();
        let knows_progress = flags.iter().any(|flag| flag.spellings.iter().any(|s| s == "--progress"));
        Self { flags, knows_progress }
    }

    /// The flag of that spelling. llama-bench takes `_` for `-` in long flags.
    pub fn find(&self, flag: &str) -> Option<&HelpFlag> {
        let asked = if flag.starts_with("--") { flag.replace('_', "-") } else { flag.to_owned() };
        self.flags.iter().find(|known| known.spellings.contains(&asked))
    }

    /// `did you mean "--n-prompt"?`, where a flag of this build is close.
    pub fn suggestion(&self, flag: &str) -> Option<String> {
        let spellings = self.flags.iter().flat_map(|known| &known.spellings).map(String::as_str);
        let double = flag.starts_with("--");
        did_you_mean(flag, spellings.filter(|spelling| spelling.starts_with("--") == double))
    }

    /// Warnings for flags with their values, an empty value being a bare flag. Empty where nothing
    /// stands out, and where no help could be read.
    pub fn check(&self, params: &[(String, String)]) -> Vec<String> {
        if self.flags.is_empty() {
            return Vec::new();
        }
        params.iter().filter_map(|(flag, value)| self.warning(flag, value)).collect()
    }

    fn warning(&self, flag: &str, value: &str) -> Option<String> {
        let Some(known) = self.find(flag) else {
            let hint = self.suggestion(flag).map(|hint| format!(": {hint}")).unwrap_or_default();
            return Some(format!("this build's llama-bench lists no flag {flag}{hint}"));
        };
        match (known.takes_value, value.is_empty()) {
            (true, true) => Some(match known.placeholder_text() {
                Some(wanted) => format!(
                    "{flag} is passed without a value, and this build's llama-bench wants one: {wanted}"
                ),
                None => {
                    format!("{flag} is passed without a value, and this build's llama-bench wants one")
                }
            }),
            (false, false) => Some(format!(
                "{flag} takes no value in this build's llama-bench, which will refuse \"{value}\"; \
                 leave the value empty"
            )),
            (true, false) | (false, true) => None,
        }
    }
}

impl HelpFlag {
    /// `on, off or auto`, or the help's own placeholder.
    fn placeholder_text(&self) -> Option<String> {
        match self.choices.split_last() {
            Some((last, [])) => Some(last.clone()),
            Some((last, others)) => Some(format!("{} or {last}", others.join(", "))),
            None => self.placeholder.as_ref().map(|name| format!("<{name}>")),
        }
    }
}

/// `  -fa, --flash-attn <on|off|auto>   (default: auto)`: spellings, then perhaps a value.
fn parse_flag(line: &str) -> Option<HelpFlag> {
    // Continued descriptions are indented further than flags.
    let indent = line.len() - line.trim_start().len();
    if !(1..=4).contains(&indent) {
        return None;
    }
    let mut rest = line.trim_start();
    let mut spellings = Vec::new();
    while is_flag(rest) {
        let end = rest.find([',', ' ', '\t']).unwrap_or(rest.len());
        spellings.push(rest[..end].to_owned());
        let after = &rest[end..];
        // One blank or a comma leads to the next spelling or the value, a gap to the description.
        if after.starts_with("  ") {
            rest = "";
            break;
        }
        rest = after.trim_start_matches([',', ' ']);
    }
    if spellings.is_empty() {
        return None;
    }
    let placeholder = rest.strip_prefix('<').and_then(|value| value.split_once('>')).map(|(name, _)| name);
    let choices = placeholder.filter(|name| name.contains('|')).map(|name| name.split('|'));
    Some(HelpFlag {
        spellings,
        takes_value: placeholder.is_some(),
        choices: choices.map(|all| all.map(str::to_owned).collect()).unwrap_or_default(),
        placeholder: placeholder.map(str::to_owned),
    })
}

fn is_flag(text: &str) -> bool {
    text.starts_with('-')
        && text.trim_start_matches('-').starts_with(|letter: char| letter.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEWER: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/llama-cpp/llama-bench-help.txt"));
    const OLDER: &str = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/llama-cpp/llama-bench-help-0.5.0.txt"
    ));

    fn warnings(params: &[(&str, &str)]) -> Vec<String> {
        let params: Vec<(String, String)> =
            params.iter().map(|(flag, value)| ((*flag).to_owned(), (*value).to_owned())).collect();
        BenchHelp::parse(NEWER).check(&params)
    }

    #[test]
    fn every_flag_of_both_builds_is_read() {
        for help in [NEWER, OLDER] {
            let parsed = BenchHelp::parse(help);
            let lines = help.lines().filter(|line| line.starts_with("  -")).count();
            assert_eq!(parsed.flags.len(), lines);
            assert!(parsed.knows_progress);
        }
    }

    #[test]
    fn spellings_values_and_choices_are_told_apart() {
        let help = BenchHelp::parse(NEWER);
        let fa = help.find("-fa").unwrap();
        assert_eq!(fa.spellings, ["-fa", "--flash-attn"]);
        assert_eq!(fa.choices, ["on", "off", "auto"]);
        assert_eq!(help.find("--hf-repo").unwrap().spellings, ["-hf", "-hfr", "--hf-repo"]);
        assert_eq!(help.find("-ot").unwrap().spellings, ["-ot", "--override-tensor"]);
        assert!(help.find("-ot").unwrap().takes_value);
        assert_eq!(help.find("--prio").unwrap().choices, ["-1", "0", "1", "2", "3"]);
        assert!(help.find("--poll").unwrap().choices.is_empty());
        assert!(help.find("--delay").unwrap().takes_value);
        assert_eq!(help.find("--load-mode").unwrap().choices.len(), 6);
    }

    #[test]
    fn bare_flags_take_no_value() {
        let help = BenchHelp::parse(NEWER);
        for flag in
            ["-h", "--help", "--version", "--list-devices", "-v", "--progress", "--no-warmup", "--offline"]
        {
            assert!(!help.find(flag).unwrap().takes_value, "{flag}");
        }
    }

    #[test]
    fn an_underscore_in_a_long_flag_is_the_same_flag() {
        assert!(BenchHelp::parse(NEWER).find("--n_prompt").is_some());
    }

    #[test]
    fn a_good_line_of_flags_has_no_warning() {
        assert!(
            warnings(&[("-p", "512"), ("-b", "512,1024"), ("-fa", "on"), ("--no-warmup", "")]).is_empty()
        );
    }

    #[test]
    fn an_unknown_flag_is_named_with_what_may_be_meant() {
        let said = warnings(&[("--n-promt", "512"), ("--zzzzzzzz", "")]);
        assert_eq!(said[0], "this build's llama-bench lists no flag --n-promt: did you mean \"--n-prompt\"?");
        assert_eq!(said[1], "this build's llama-bench lists no flag --zzzzzzzz");
    }

    #[test]
    fn a_bare_flag_that_wants_a_value_is_told_its_choices() {
        let said = warnings(&[("-fa", ""), ("-b", "")]);
        assert!(said[0].ends_with("wants one: on, off or auto"), "{}", said[0]);
        assert!(said[1].ends_with("wants one: <n>"), "{}", said[1]);
    }

    #[test]
    fn a_value_on_a_bare_flag_is_named() {
        assert!(warnings(&[("--no-warmup", "1")])[0].starts_with("--no-warmup takes no value"));
    }

    #[test]
    fn text_that_is_no_help_warns_of_nothing() {
        let help = BenchHelp::parse("exec: llama-bench: not found\n");
        assert!(help.flags.is_empty() && !help.knows_progress);
        assert!(help.check(&[("--nosuchflag".to_owned(), String::new())]).is_empty());
    }
}
