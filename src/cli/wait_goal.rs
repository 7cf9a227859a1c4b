//! What `benchlet wait --for` takes: how something ended, or a condition with its status. Parses, and judges what
//! conditions say; who waits, and how long, is `wait`'s.

use uuid::Uuid;

use crate::request::diagnostic::did_you_mean;
use crate::store::conditions::{ConditionRow, NamedCondition};

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    Succeeded,
    Failed,
    /// As whatever.
    Ended,
    /// The request is valid and known to the controller.
    Accepted,
    Condition {
        kind: String,
        status: &'static str,
    },
}

const STATUSES: [&str; 3] = ["True", "False", "Unknown"];
/// What may stand alone. Anything else has to say that it is a condition: mostly it is a slip of the pen.
const KNOWN: &[&str] = &[
    "Succeeded",
    "Completed",
    "Failed",
    "Ended",
    "Accepted",
    "Valid",
    "SLOMet",
    "ExpectationsMet",
    "Complete",
    "GatePassed",
    "Applied",
];

impl Goal {
    /// Reads `Succeeded`, `Valid`, `Valid=False`, and `condition=Valid=False` as kubectl has it.
    ///
    /// # Errors
    /// What is wrong with it, for clap's own message.
    pub fn parse(text: &str) -> Result<Self, String> {
        let said = text.strip_prefix("condition=");
        let words = said.unwrap_or(text);
        let (kind, status) = match words.split_once('=') {
            Some((kind, status)) => (kind, Some(status)),
            None => (words, None),
        };
        if kind.is_empty() || !kind.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err("write Succeeded, Failed, Ended, or a condition as Valid or Valid=False".to_owned());
        }
        if said.is_none() && !KNOWN.iter().any(|known| known.eq_ignore_ascii_case(kind)) {
            let meant = did_you_mean(kind, KNOWN.iter().copied())
                .unwrap_or_else(|| format!("it is one of {}.", KNOWN.join(", ")));
            return Err(format!("{meant} For another condition write condition={kind}"));
        }
        let status = match status {
            None => None,
            Some(given) => {
                let known = STATUSES.into_iter().find(|known| known.eq_ignore_ascii_case(given));
                Some(known.ok_or_else(|| format!("a condition is True, False or Unknown, not \"{given}\""))?)
            }
        };
        Ok(match (kind.to_ascii_lowercase().as_str(), status.unwrap_or(STATUSES[0])) {
            ("succeeded" | "completed", "True") => Self::Succeeded,
            ("failed", "True") => Self::Failed,
            ("ended", "True") => Self::Ended,
            ("accepted", "True") => Self::Accepted,
            (_, status) => Self::Condition { kind: kind.to_owned(), status },
        })
    }
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Succeeded => f.write_str("Succeeded"),
            Self::Failed => f.write_str("Failed"),
            Self::Ended => f.write_str("Ended"),
            Self::Accepted => f.write_str("Accepted"),
            Self::Condition { kind, status } => write!(f, "{kind}={status}"),
        }
    }
}

/// What the conditions of a request that is at its end say of one of them.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// It is so.
    Reached(&'a NamedCondition),
    /// It has another status, and keeps it.
    Otherwise(&'a NamedCondition),
    /// There is none of that type; the words say which there are.
    Missing(String),
    /// The end was not noted yet, so that all may yet come.
    NotNoted,
}

/// Asks for a condition of the run, or of a request that has none.
pub fn ask<'a>(all: &'a [NamedCondition], run: Option<Uuid>, kind: &str, status: &str) -> Answer<'a> {
    let of_it = |named: &&NamedCondition| named.kind == "Accepted" || named.condition.run == run;
    let found = all.iter().filter(of_it).find(|named| named.kind.eq_ignore_ascii_case(kind));
    if let Some(found) = found.filter(|found| found.condition.status == status) {
        return Answer::Reached(found);
    }
    // They are written together, so with the end there is what else was to be said of it.
    let is_end = |named: &NamedCondition| {
        ["Succeeded", "Applied"].contains(&named.kind.as_str()) && named.condition.status != "Unknown"
    };
    if !all.iter().filter(of_it).any(is_end) {
        return Answer::NotNoted;
    }
    match found {
        Some(found) => Answer::Otherwise(found),
        None => {
            let names: Vec<&str> = all.iter().filter(of_it).map(|named| named.kind.as_str()).collect();
            let meant = did_you_mean(kind, names.iter().copied());
            let meant = meant.map(|meant| format!("; {meant}")).unwrap_or_default();
            Answer::Missing(format!("it has {}{meant}", names.join(", ")))
        }
    }
}

/// `Valid=False (ClientLate: the client was late)`
pub fn in_words(NamedCondition { kind, condition }: &NamedCondition) -> String {
    let ConditionRow { status, reason, message, .. } = condition;
    match message.as_str() {
        "" => format!("{kind}={status} ({reason})"),
        message => format!("{kind}={status} ({reason}: {message})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(kind: &str, status: &str, run: Option<Uuid>) -> NamedCondition {
        let condition = ConditionRow {
            status: status.to_owned(),
            reason: "Why".to_owned(),
            message: String::new(),
            problems: Vec::new(),
            run,
            changed_at: String::new(),
        };
        NamedCondition { kind: kind.to_owned(), condition }
    }

    #[test]
    fn a_goal_is_an_end_or_a_condition_in_our_words_or_kubectls() {
        let condition = |kind: &str, status| Ok(Goal::Condition { kind: kind.to_owned(), status });
        for (text, goal) in [
            ("succeeded", Ok(Goal::Succeeded)),
            ("Completed", Ok(Goal::Succeeded)),
            ("condition=Accepted", Ok(Goal::Accepted)),
            ("Valid", condition("Valid", "True")),
            ("SLOMet=false", condition("SLOMet", "False")),
            ("condition=Valid=Unknown", condition("Valid", "Unknown")),
            ("Accepted=False", condition("Accepted", "False")),
            ("condition=OfLaterTimes", condition("OfLaterTimes", "True")),
        ] {
            assert_eq!(Goal::parse(text), goal, "{text}");
        }
        let slip = Goal::parse("Vlaid").unwrap_err();
        assert_eq!(slip, "did you mean \"Valid\"? For another condition write condition=Vlaid");
        for wrong in ["", "Whatever", "=True", "Valid=", "Valid=maybe", "jsonpath={.status}"] {
            assert!(Goal::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_what_was_said_of_the_run_counts_and_its_end_says_what_comes_no_more() {
        let (run, earlier) = (Some(Uuid::from_u128(2)), Some(Uuid::from_u128(1)));
        let stale = [
            named("Accepted", "True", None),
            named("Succeeded", "True", earlier),
            named("Valid", "True", earlier),
        ];
        assert_eq!(ask(&stale, run, "Valid", "True"), Answer::NotNoted);
        let open = [named("Succeeded", "Unknown", run)];
        assert_eq!(ask(&open, run, "Valid", "True"), Answer::NotNoted);
        let ended =
            [named("Accepted", "True", None), named("Succeeded", "True", run), named("Valid", "False", run)];
        assert_eq!(ask(&ended, run, "valid", "False"), Answer::Reached(&ended[2]));
        assert_eq!(ask(&ended, run, "Valid", "True"), Answer::Otherwise(&ended[2]));
        let missing = "it has Accepted, Succeeded, Valid; did you mean \"Valid\"?";
        assert_eq!(ask(&ended, run, "Vaild", "True"), Answer::Missing(missing.to_owned()));
    }
}
