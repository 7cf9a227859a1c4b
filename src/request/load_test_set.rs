//! `--set NAME=VALUE` on the command line: fields of a load test or a conversation changed for one run.

use super::conversation::{ContextSize, Conversations};
use super::conversation_decode::{one_prefix_cache, twice};
use super::conversation_schema::{MOST_CONTEXT, MOST_CONVERSATIONS};
use super::diagnostic::did_you_mean;
use super::load_test::{Amount, Arrivals, LoadShape, LoadTest, Prompts};
use super::load_test_load::{concurrency, requests, temperature, tokens};
use super::load_test_size::{MOST_ENTRIES, MOST_REPEATS, MOST_WARMUPS};
use super::load_test_targets::name as model_name;
use super::quantities;

#[derive(Clone, Copy)]
enum Settable {
    Concurrency,
    Rate,
    Requests,
    Duration,
    RampUp,
    MaxTokens,
    Temperature,
    Warmup,
    RequestTimeout,
    Model,
    InputTokens,
    Repeats,
    Seed,
    Samples,
    PrefixCache,
    ContextSize,
    Names,
    IncludeTags,
    ExcludeTags,
    MaxConversations,
    ThinkTime,
}

/// Which kind has a field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Load,
    Talk,
    Both,
}

impl Settable {
    /// How requests arrive conversations have no say in, and which of them are held nobody else.
    fn whose(self) -> Whose {
        match self {
            Self::Concurrency
            | Self::Rate
            | Self::Requests
            | Self::Duration
            | Self::RampUp
            | Self::InputTokens
            | Self::Samples => Whose::Load,
            Self::PrefixCache
            | Self::ContextSize
            | Self::Names
            | Self::IncludeTags
            | Self::ExcludeTags
            | Self::MaxConversations
            | Self::ThinkTime => Whose::Talk,
            Self::MaxTokens
            | Self::Temperature
            | Self::Warmup
            | Self::RequestTimeout
            | Self::Model
            | Self::Repeats
            | Self::Seed => Whose::Both,
        }
    }
}

/// Each with its short name and where it stands in a request.
const SETTABLE: &[(&str, &[&str], Settable)] = &[
    ("concurrency", &["load.concurrency"], Settable::Concurrency),
    ("rate", &["load.rate"], Settable::Rate),
    ("requests", &["load.requests"], Settable::Requests),
    ("duration", &["load.duration"], Settable::Duration),
    ("rampUp", &["load.rampUp"], Settable::RampUp),
    ("maxTokens", &["output.maxTokens"], Settable::MaxTokens),
    ("temperature", &["output.temperature"], Settable::Temperature),
    ("warmup", &["warmup.requests"], Settable::Warmup),
    ("requestTimeout", &[], Settable::RequestTimeout),
    ("model", &["target.model", "targets.model"], Settable::Model),
    ("inputTokens", &["prompts.synthetic.inputTokens", "synthetic.inputTokens"], Settable::InputTokens),
    ("repeats", &[], Settable::Repeats),
    ("seed", &[], Settable::Seed),
    ("samples", &[], Settable::Samples),
    ("prefixCache", &[], Settable::PrefixCache),
    ("contextSize", &[], Settable::ContextSize),
    ("names", &[], Settable::Names),
    ("includeTags", &[], Settable::IncludeTags),
    ("excludeTags", &[], Settable::ExcludeTags),
    ("maxConversations", &[], Settable::MaxConversations),
    ("thinkTime", &[], Settable::ThinkTime),
];

impl LoadTest {
    /// Sets one field from text; lists have commas. The name may have its path before it
    /// (`load.concurrency`). A model is set for every target. A rate takes the place of a
    /// concurrency and the other way round, as do requests and duration.
    ///
    /// # Errors
    /// What is wrong, in a sentence; the test is then as it was. Whether the run's time-out still
    /// fits is [`LoadTest::check_timeout`]'s to say.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let of_talk = self.conversations().is_some();
        let field = find(name, of_talk)?;
        match (field.whose(), of_talk) {
            (Whose::Load, true) => {
                return Err(format!("{name} is none of a conversation's, which one user has, turn by turn"));
            }
            (Whose::Talk, false) => return Err(format!("{name} is a conversation's, and this is none")),
            (Whose::Load | Whose::Both, false) | (Whose::Talk | Whose::Both, true) => {}
        }
        let mut changed = self.clone();
        changed.apply(field, value).map_err(|right| format!("{name} cannot be \"{value}\" ({right})"))?;
        changed.check_size().map_err(|misfit| format!("{} ({})", misfit.message, misfit.hint))?;
        *self = changed;
        Ok(())
    }

    fn apply(&mut self, field: Settable, value: &str) -> Result<(), String> {
        match field {
            Settable::Concurrency => {
                self.load.shape = LoadShape::Closed { concurrency: list(value, concurrency)? };
            }
            Settable::Rate => {
                let arrivals = match &self.load.shape {
                    LoadShape::Open { arrivals, .. } => *arrivals,
                    LoadShape::Closed { .. } => Arrivals::default(),
                };
                self.load.shape = LoadShape::Open { rates: list(value, quantities::rate)?, arrivals };
            }
            Settable::Requests => self.load.amount = Amount::Requests(list(value, requests)?),
            Settable::Duration => self.load.amount = Amount::DurationMs(quantities::time(value)?),
            Settable::RampUp => self.load.ramp_up_ms = quantities::time_or_zero(value)?,
            Settable::MaxTokens => self.output.max_tokens = tokens(value)?,
            Settable::Temperature => self.output.temperature = temperature(value)?,
            Settable::Warmup => self.warmup = quantities::whole(value, 0, MOST_WARMUPS)?,
            Settable::RequestTimeout => self.request_timeout_ms = quantities::time(value)?,
            Settable::Model => {
                let models = list(value, model_name)?;
                for target in &mut self.targets {
                    target.models.clone_from(&models);
                }
            }
            Settable::InputTokens => match &mut self.prompts {
                Prompts::Synthetic(synthetic) => synthetic.input_tokens = list(value, tokens)?,
                Prompts::Builtin | Prompts::Inline(_) | Prompts::File(_) | Prompts::Conversations(_) => {
                    return Err("the request's prompts are not synthetic".to_owned());
                }
            },
            Settable::Repeats => self.repeats = quantities::whole(value, 1, MOST_REPEATS)?,
            Settable::Seed => self.seed = u64::from(quantities::whole(value, 0, u32::MAX)?),
            Settable::Samples => self.samples = quantities::whole(value, 0, 100)?,
            Settable::PrefixCache
            | Settable::ContextSize
            | Settable::Names
            | Settable::IncludeTags
            | Settable::ExcludeTags
            | Settable::MaxConversations
            | Settable::ThinkTime => match &mut self.prompts {
                Prompts::Conversations(how) => how.set(field, value)?,
                Prompts::Builtin | Prompts::Inline(_) | Prompts::File(_) | Prompts::Synthetic(_) => {
                    return Err("the request holds no conversations".to_owned());
                }
            },
        }
        Ok(())
    }
}

impl Conversations {
    /// An empty list chooses by nothing.
    fn set(&mut self, field: Settable, value: &str) -> Result<(), String> {
        let words = || if value.is_empty() { Ok(Vec::new()) } else { list(value, model_name) };
        match field {
            Settable::PrefixCache => {
                let all = list(value, one_prefix_cache)?;
                if let Some(twice) = twice(&all) {
                    return Err(format!("it has {} twice, and each makes one case", twice.as_str()));
                }
                self.prefix_cache = all;
            }
            Settable::ContextSize if value == "Auto" => self.context_size = ContextSize::Auto,
            Settable::ContextSize => {
                let tokens = quantities::context_tokens(value, MOST_CONTEXT)
                    .map_err(|right| format!("Auto, or {right}"))?;
                self.context_size = ContextSize::Tokens(u64::from(tokens));
            }
            Settable::Names => self.names = words()?,
            Settable::IncludeTags => self.include_tags = words()?,
            Settable::ExcludeTags => self.exclude_tags = words()?,
            Settable::MaxConversations => {
                self.max_conversations = Some(quantities::whole(value, 1, MOST_CONVERSATIONS as u32)?);
            }
            Settable::ThinkTime => self.think_time_ms = quantities::time_or_zero(value)?,
            // The load test's own, which it sets itself.
            Settable::Concurrency
            | Settable::Rate
            | Settable::Requests
            | Settable::Duration
            | Settable::RampUp
            | Settable::MaxTokens
            | Settable::Temperature
            | Settable::Warmup
            | Settable::RequestTimeout
            | Settable::Model
            | Settable::InputTokens
            | Settable::Repeats
            | Settable::Seed
            | Settable::Samples => {}
        }
        match self.include_tags.iter().find(|tag| self.exclude_tags.contains(tag)) {
            Some(tag) => Err(format!("{tag} would be in includeTags and in excludeTags")),
            None => Ok(()),
        }
    }
}

fn find(name: &str, of_talk: bool) -> Result<Settable, String> {
    let bare = name.strip_prefix("spec.").unwrap_or(name);
    let found = SETTABLE.iter().find(|(short, paths, _)| *short == bare || paths.contains(&bare));
    found.map(|(.., field)| *field).ok_or_else(|| {
        let others = if of_talk { Whose::Load } else { Whose::Talk };
        let own = SETTABLE.iter().filter(|(.., field)| field.whose() != others);
        let names = own.map(|(short, ..)| *short);
        let last = bare.rsplit('.').next().unwrap_or(bare);
        let hint = did_you_mean(last, names.clone())
            .unwrap_or_else(|| format!("one of {}", names.collect::<Vec<_>>().join(", ")));
        let what = if of_talk { "conversation" } else { "load test" };
        format!("a {what} has no \"{name}\" to set ({hint})")
    })
}

fn list<T>(value: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    let parts: Vec<_> = value.split(',').collect();
    if parts.len() > MOST_ENTRIES {
        return Err(format!("at most {MOST_ENTRIES} values"));
    }
    parts.into_iter().map(|part| parse(part.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::conversation::PrefixCache;
    use crate::request::fields::{Fields, Problems};
    use crate::request::{conversation_decode, load_test_decode, schema, tree};

    fn decoded(kind: &str, spec: &str, decode: impl Fn(&Fields<'_>) -> Option<LoadTest>) -> LoadTest {
        let stream = tree::parse(spec);
        let problems = Problems::default();
        let table = schema::spec_fields(kind).unwrap();
        let root = stream.documents[0].root.as_ref().unwrap();
        decode(&Fields::new(root, "spec", table, &problems).unwrap()).unwrap()
    }

    fn test(spec: &str) -> LoadTest {
        decoded("LoadTest", spec, |fields| load_test_decode::decode(fields, 3_600_000))
    }

    fn talk(spec: &str) -> LoadTest {
        decoded("Conversation", spec, conversation_decode::decode)
    }

    const PLAIN: &str = "target: { engine: vllm }";

    #[test]
    fn every_name_can_be_set_with_and_without_its_path() {
        let mut spec = test("targets: [{ engine: vllm }, { engine: ollama }]\nprompts: { synthetic: {} }");
        for (name, value) in [
            ("load.concurrency", "1,5,10"),
            ("requests", "50, 60"),
            ("rampUp", "2s"),
            ("output.maxTokens", "64"),
            ("spec.output.temperature", "0"),
            ("warmup", "0"),
            ("requestTimeout", "5s"),
            ("model", "a,b/c"),
            ("prompts.synthetic.inputTokens", "128,256"),
            ("repeats", "2"),
            ("seed", "7"),
            ("samples", "0"),
        ] {
            assert_eq!(spec.set(name, value), Ok(()), "{name}");
        }
        assert_eq!(spec.load.shape, LoadShape::Closed { concurrency: vec![1, 5, 10] });
        assert_eq!(spec.load.amount, Amount::Requests(vec![50, 60]));
        assert_eq!((spec.load.ramp_up_ms, spec.output.max_tokens, spec.output.temperature), (2000, 64, 0.0));
        assert_eq!((spec.warmup, spec.request_timeout_ms, spec.repeats), (0, 5000, 2));
        assert_eq!((spec.seed, spec.samples), (7, 0));
        assert!(spec.targets.iter().all(|target| target.models == ["a", "b/c"]));
        let Prompts::Synthetic(synthetic) = &spec.prompts else { panic!("other prompts") };
        assert_eq!(synthetic.input_tokens, [128, 256]);
        assert_eq!(spec.cases(), 2 * 2 * 3 * 2 * 2 * 2);
    }

    #[test]
    fn a_rate_takes_the_place_of_a_concurrency_and_a_duration_that_of_requests() {
        let mut spec = test(PLAIN);
        spec.set("rate", "5/s,0.5").unwrap();
        spec.set("duration", "30s").unwrap();
        assert_eq!(spec.load.shape, LoadShape::Open { rates: vec![5.0, 0.5], arrivals: Arrivals::Poisson });
        assert_eq!(spec.load.amount, Amount::DurationMs(30_000));
        spec.set("concurrency", "4").unwrap();
        assert_eq!(spec.load.shape, LoadShape::Closed { concurrency: vec![4] });
    }

    #[test]
    fn what_cannot_be_set_is_said_and_changes_nothing() {
        let mut spec = test("target: { engine: vllm }\nload: { duration: 10s }");
        let before = spec.clone();
        for (name, value, expected) in [
            (
                "load.concurency",
                "1",
                "a load test has no \"load.concurency\" to set (did you mean \"concurrency\"?)",
            ),
            ("requests", "0", "requests cannot be \"0\" (a whole number from 1 to 10000000)"),
            ("concurrency", "1,,2", "concurrency cannot be \"1,,2\" (a whole number from 1 to 100000)"),
            ("duration", "30", "duration cannot be \"30\" (give it a unit: 30s or 30ms)"),
            ("inputTokens", "5", "inputTokens cannot be \"5\" (the request's prompts are not synthetic)"),
        ] {
            assert_eq!(spec.set(name, value), Err(expected.to_owned()));
        }
        assert!(spec.set("rampUp", "10s").unwrap_err().contains("leaves nothing of the duration of 10s"));
        assert!(spec.set("engine", "x").unwrap_err().contains("one of concurrency, rate"));
        assert_eq!(spec, before);
    }

    #[test]
    fn what_a_conversation_has_is_set_and_is_no_load_tests() {
        let mut spec = talk("target: { engine: simulated }");
        for (name, value) in [
            ("prefixCache", "Kept,Defeated"),
            ("contextSize", "8k"),
            ("names", "a,b"),
            ("spec.includeTags", "rag"),
            ("excludeTags", "long"),
            ("maxConversations", "2"),
            ("thinkTime", "1s"),
        ] {
            assert_eq!(spec.set(name, value), Ok(()), "{name}");
        }
        let how = spec.conversations().unwrap();
        assert_eq!(how.prefix_cache, [PrefixCache::Kept, PrefixCache::Defeated]);
        assert_eq!((how.context_size, how.think_time_ms), (ContextSize::Tokens(8192), 1000));
        assert_eq!((how.names.len(), how.include_tags.len(), how.exclude_tags.len()), (2, 1, 1));
        assert_eq!(how.max_conversations, Some(2));
        spec.set("names", "").unwrap();
        spec.set("contextSize", "Auto").unwrap();
        let before = spec.clone();
        for (name, value, expected) in [
            ("prefixCache", "Keept", "one of Kept, Changed, Defeated"),
            ("prefixCache", "Kept,Kept", "has Kept twice"),
            ("contextSize", "big", "Auto, or a number of tokens from 1 to"),
            ("excludeTags", "rag", "in includeTags and in excludeTags"),
            ("concurrency", "4", "none of a conversation's"),
            ("thinktime", "4", "did you mean \"thinkTime\"?"),
        ] {
            let said = spec.set(name, value).unwrap_err();
            assert!(said.contains(expected), "{name}={value}: {said}");
        }
        assert_eq!(spec, before);
        let said = test("target: { engine: vllm }").set("prefixCache", "Kept").unwrap_err();
        assert_eq!(said, "prefixCache is a conversation's, and this is none");
    }

    #[test]
    fn too_many_cases_cannot_be_set() {
        let mut spec = test("target: { engine: vllm }\nrepeats: 1000");
        let error = spec.set("concurrency", "1,2,3,4,5,6,7,8,9,10,11").unwrap_err();
        assert!(error.contains("11000 cases"), "{error}");
        assert_eq!(spec.cases(), 1000);
    }
}
