//! Where the flags of a server stand among its arguments. Decides what is a flag and what a value,
//! and nothing else.

/// A flag and its value, by their positions among the arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagAt {
    pub name: String,
    pub at: usize,
    pub value: ValueAt,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueAt {
    Bare,
    /// The argument behind the flag.
    Next(String),
    /// `--flag=value`, in one argument.
    Joined(String),
}

impl FlagAt {
    pub fn value(&self) -> Option<&str> {
        match &self.value {
            ValueAt::Bare => None,
            ValueAt::Next(value) | ValueAt::Joined(value) => Some(value),
        }
    }

    /// The last argument that belongs to it.
    pub fn last(&self) -> usize {
        match self.value {
            ValueAt::Bare | ValueAt::Joined(_) => self.at,
            ValueAt::Next(_) => self.at + 1,
        }
    }
}

/// Whether an argument is a flag: `-` or `--` and a letter. A negative number is a value.
pub fn is_flag(argument: &str) -> bool {
    let name = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'));
    name.is_some_and(|name| name.starts_with(|first: char| first.is_ascii_alphabetic()))
}

/// Every flag of an argument list in its order. Program, subcommand and other arguments that follow
/// no flag are left out.
pub fn flags_of<S: AsRef<str>>(arguments: &[S]) -> Vec<FlagAt> {
    let mut flags = Vec::new();
    let mut at = 0;
    while let Some(argument) = arguments.get(at).map(AsRef::as_ref) {
        if is_flag(argument) {
            let joined = argument.starts_with("--").then(|| argument.split_once('=')).flatten();
            let next = arguments.get(at + 1).map(AsRef::as_ref).filter(|next| !is_flag(next));
            let (name, value) = match (joined, next) {
                (Some((name, value)), _) => (name, ValueAt::Joined(value.to_owned())),
                (None, Some(next)) => (argument, ValueAt::Next(next.to_owned())),
                (None, None) => (argument, ValueAt::Bare),
            };
            let flag = FlagAt { name: name.to_owned(), at, value };
            at = flag.last();
            flags.push(flag);
        }
        at += 1;
    }
    flags
}

/// The script of `sh -c SCRIPT`, where a command runs through a shell.
pub fn shell_script<S: AsRef<str>>(arguments: &[S]) -> Option<&str> {
    let program = arguments.first()?.as_ref().rsplit('/').next()?;
    let mut rest = arguments[1..].iter().map(AsRef::as_ref);
    let dash_c = |flag: &&str| flag.starts_with('-') && flag.ends_with('c') && !flag.starts_with("--");
    if !matches!(program, "sh" | "bash" | "dash" | "ash" | "zsh") {
        return None;
    }
    rest.find(dash_c).and_then(|_| rest.next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_number_is_a_value_and_a_flag_is_none() {
        let flags = flags_of(&["llama-server", "-ngl", "-1", "--metrics", "--port=8000", "-b", "512"]);
        let seen: Vec<_> = flags.iter().map(|flag| (flag.name.as_str(), flag.value())).collect();
        assert_eq!(
            seen,
            [("-ngl", Some("-1")), ("--metrics", None), ("--port", Some("8000")), ("-b", Some("512"))]
        );
    }

    #[test]
    fn a_shells_script_is_recognised() {
        assert_eq!(shell_script(&["/bin/sh", "-ec", "llama-server -b 1"]), Some("llama-server -b 1"));
        assert_eq!(shell_script(&["llama-server", "-c", "4096"]), None);
    }
}
