//! Token counts for answers that told none, best first: by the server's own `/tokenize`, else by a
//! tokenizer here. Keeps such answers while their case runs and counts once it has ended, so that counting
//! disturbs no measurement. Never takes chunks for tokens: what cannot be counted stays uncounted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::local_tokenizer::LocalTokenizer;
use super::stop::Stop;
use crate::engine::answer::KeptText;
use crate::engine::wire::{SALT_LENGTH, Wire, prompt_text};
use crate::request::load_test::{Api, Content};
use crate::run::request_record::{CountedTokens, Record, TokenSource};

/// Most bytes of answers that wait for the end of their case.
const MOST_KEPT: usize = 64 << 20;
/// Questions to a server at the same time.
const AT_ONCE: usize = 8;
/// Longest time that a server is asked about a case.
const ASKING: Duration = Duration::from_secs(60);

/// The answers of a case that told no tokens.
pub struct Untold {
    /// The server tells tokens after all: then nothing more is kept.
    tells: AtomicBool,
    kept: Mutex<Kept>,
}

struct Kept {
    answers: Vec<Answered>,
    room: usize,
    /// Answers for which there was no room.
    left_out: u64,
}

/// One answer and what it answers.
struct Answered {
    n: u64,
    /// In the case's prompts.
    prompt: usize,
    salt: [u8; SALT_LENGTH],
    text: String,
}

impl Default for Untold {
    fn default() -> Self {
        Self::with_room(MOST_KEPT)
    }
}

impl Untold {
    fn with_room(room: usize) -> Self {
        let kept = Kept { answers: Vec::new(), room, left_out: 0 };
        Self { tells: AtomicBool::new(false), kept: Mutex::new(kept) }
    }

    /// Whether the next answer is to be kept whole.
    pub fn is_wanted(&self) -> bool {
        !self.tells.load(Ordering::Relaxed)
    }

    /// Takes the text of an answer that has to be counted and gives the record with its `sample` of it.
    /// `kept` is how much of the text the record has; `prompt` and `salt` are what was asked.
    pub fn take(
        &self,
        mut record: Record,
        kept: KeptText,
        sample: KeptText,
        prompt: usize,
        salt: [u8; SALT_LENGTH],
    ) -> Record {
        if record.tokens_out.is_some() {
            self.tells.store(true, Ordering::Relaxed);
        }
        if kept != KeptText::Whole {
            return record;
        }
        let whole = record.text.take();
        if sample != KeptText::Nothing {
            record.text.clone_from(&whole);
            record.text.iter_mut().for_each(|text| sample.cut(text));
        }
        if record.tokens_out.is_some() || record.error.is_some() {
            return record;
        }
        let text = whole.unwrap_or_default();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // One that was longer than what is kept of an answer cannot be counted.
        if text.len() > kept.room || text.chars().count() as u64 != record.chars {
            kept.left_out += 1;
        } else {
            kept.room -= text.len();
            kept.answers.push(Answered { n: record.n, prompt, salt, text });
        }
        record
    }
}

/// Who counts the answers of a case.
pub struct Ladder<'a> {
    /// In the plan's cases.
    pub index: usize,
    pub wire: &'a Wire,
    pub model: Option<&'a str>,
    /// The case's prompts.
    pub prompts: &'a [Content],
    /// Each began with its salt.
    pub salted: bool,
    pub local: Option<&'a LocalTokenizer>,
    pub stop: &'a Stop,
}

impl Ladder<'_> {
    /// Counts all answers of a case that has ended and gives each count to `keep`. Returns how many stayed
    /// uncounted. A stop ends it early.
    pub async fn count(&self, untold: &Untold, mut keep: impl FnMut(CountedTokens)) -> u64 {
        let (answers, left_out) = {
            let mut kept = untold.kept.lock().unwrap_or_else(PoisonError::into_inner);
            (std::mem::take(&mut kept.answers), kept.left_out)
        };
        let asked = if self.wire.has_tokenize() { self.by_server(&answers, &mut keep).await } else { 0 };
        let mut uncounted = left_out;
        for answer in &answers[asked..] {
            let counted = if self.stop.is_stopped() { None } else { self.by_tokenizer(answer) };
            match counted {
                Some(counted) => keep(counted),
                None => uncounted += 1,
            }
        }
        uncounted
    }

    /// Asks the server, one group of answers after the other, until it does not know. Gives how many it has
    /// counted, from the first.
    async fn by_server(&self, answers: &[Answered], keep: &mut impl FnMut(CountedTokens)) -> usize {
        let began = Instant::now();
        let mut counted = 0;
        for group in answers.chunks(AT_ONCE) {
            let asking = join_all(group.iter().map(|answer| self.ask(answer)));
            let Some(told) = self.stop.unless_stopped(asking).await else { return counted };
            for tokens in told {
                let Some(tokens) = tokens else { return counted };
                keep(tokens);
                counted += 1;
            }
            if began.elapsed() > ASKING {
                break;
            }
        }
        counted
    }

    async fn ask(&self, answer: &Answered) -> Option<CountedTokens> {
        let tokens_out = self.wire.count_answer(self.model, &answer.text).await?;
        let tokens_in = match self.prompts.get(answer.prompt) {
            Some(prompt) => self.wire.count_prompt(self.model, prompt, &self.salt(answer)).await,
            None => None,
        };
        Some(self.counted(answer, tokens_in, tokens_out, TokenSource::Tokenize))
    }

    /// The prompt of a chat has the tokens of what its messages say: the template around them is the
    /// server's own.
    fn by_tokenizer(&self, answer: &Answered) -> Option<CountedTokens> {
        let local = self.local?;
        let tokens_out = local.count(&answer.text, false)?;
        let tokens_in =
            self.prompts.get(answer.prompt).and_then(|prompt| self.prompt_tokens(local, prompt, answer));
        Some(self.counted(answer, tokens_in, tokens_out, TokenSource::Tokenizer))
    }

    fn prompt_tokens(&self, local: &LocalTokenizer, prompt: &Content, answer: &Answered) -> Option<u64> {
        let salt = self.salt(answer);
        match (self.wire.api, prompt) {
            (Api::Completions, Content::Text(_) | Content::Messages(_)) => {
                local.count(&prompt_text(prompt, &salt), true)
            }
            (Api::Chat, Content::Text(text)) => local.count(&format!("{salt}{text}"), false),
            (Api::Chat, Content::Messages(messages)) => {
                let salts = std::iter::once(salt.as_str()).chain(std::iter::repeat(""));
                let texts =
                    messages.iter().zip(salts).map(|(message, salt)| format!("{salt}{}", message.content));
                texts.map(|text| local.count(&text, false)).sum()
            }
        }
    }

    fn salt(&self, answer: &Answered) -> String {
        if self.salted { String::from_utf8_lossy(&answer.salt).into_owned() } else { String::new() }
    }

    fn counted(
        &self,
        answer: &Answered,
        tokens_in: Option<u64>,
        tokens_out: u64,
        source: TokenSource,
    ) -> CountedTokens {
        CountedTokens { index: self.index, n: answer.n, tokens_in, tokens_out, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::address::Address;
    use crate::engine::wire::salt;
    use crate::load::local_tokenizer::tests::words;
    use crate::request::load_test::Message;
    use crate::run::measure_plan::Dialect;
    use crate::run::request_record::{ErrorKind, RequestError};

    fn answer(n: u64, text: &str) -> Record {
        let chars = text.chars().count() as u64;
        Record { n, text: Some(text.to_owned()), chars, ..Record::default() }
    }

    fn take(untold: &Untold, record: Record) -> Record {
        untold.take(record, KeptText::Whole, KeptText::Nothing, 0, salt(0))
    }

    /// What a tokenizer that counts words makes of the answers; nobody is asked.
    fn counted(api: Api, prompt: Content, salted: bool, untold: &Untold) -> (Vec<CountedTokens>, u64) {
        let local = LocalTokenizer::parse(words().to_string().as_bytes()).unwrap();
        let address = Address::parse("http://127.0.0.1:1").unwrap();
        let wire = Wire { dialect: Dialect::OpenAi, api, address, key: None };
        let (prompts, stop) = ([prompt], Stop::default());
        let (wire, local, prompts, stop) = (&wire, Some(&local), &prompts, &stop);
        let ladder = Ladder { index: 4, wire, model: None, prompts, salted, local, stop };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut all = Vec::new();
        let uncounted = runtime.block_on(ladder.count(untold, |counted| all.push(counted)));
        (all, uncounted)
    }

    fn hello() -> Content {
        Content::Text("hello you".to_owned())
    }

    #[test]
    fn answers_beyond_the_room_stay_uncounted_and_are_told() {
        let untold = Untold::with_room(9);
        for (n, text) in [(0, "one two"), (1, "three"), (2, "é")] {
            take(&untold, answer(n, text));
        }
        let (all, uncounted) = counted(Api::Chat, hello(), false, &untold);
        let found: Vec<_> = all.iter().map(|one| (one.index, one.n, one.tokens_in, one.tokens_out)).collect();
        assert_eq!(found, [(4, 0, Some(2), 2), (4, 2, Some(2), 1)]);
        assert!(all.iter().all(|one| one.source == TokenSource::Tokenizer));
        assert_eq!(uncounted, 1);
    }

    #[test]
    fn an_answer_that_was_not_kept_whole_is_not_counted() {
        let untold = Untold::default();
        take(&untold, Record { chars: 100, ..answer(0, "one") });
        assert_eq!(counted(Api::Chat, hello(), false, &untold), (Vec::new(), 1));
    }

    #[test]
    fn nothing_is_kept_of_failures_and_of_a_server_that_tells() {
        let untold = Untold::default();
        let error = Some(RequestError { kind: ErrorKind::CutStream, message: String::new() });
        let record = take(&untold, Record { error, ..answer(0, "one") });
        assert_eq!(record.text, None, "no sample was asked for");
        assert!(untold.is_wanted());
        take(&untold, Record { tokens_out: Some(1), ..answer(1, "one") });
        assert!(!untold.is_wanted());
        assert_eq!(counted(Api::Chat, hello(), false, &untold), (Vec::new(), 0));
    }

    #[test]
    fn a_sample_is_as_long_as_any_sample() {
        let long = "é".repeat(40_000);
        let untold = Untold::default();
        let record = untold.take(answer(0, &long), KeptText::Whole, KeptText::Sample, 0, salt(0));
        assert_eq!(record.text.map(|text| text.len()), Some(32 << 10));
        let short = untold.take(answer(1, "hi"), KeptText::Sample, KeptText::Sample, 0, salt(0));
        assert_eq!(short.text.as_deref(), Some("hi"));
    }

    #[test]
    fn a_prompt_is_counted_with_its_salt_and_as_its_api_sends_it() {
        let message = |content: &str| Message { role: "user".to_owned(), content: content.to_owned() };
        let talk = || Content::Messages(vec![message("hello you"), message("well?")]);
        // The salt has a word between two brackets.
        for (api, prompt, salted, expected) in [
            (Api::Chat, hello(), false, 2),
            (Api::Chat, hello(), true, 5),
            (Api::Chat, talk(), true, 7),
            (Api::Completions, hello(), false, 3),
            (Api::Completions, talk(), true, 8),
        ] {
            let untold = Untold::default();
            take(&untold, answer(0, ""));
            let (all, _) = counted(api, prompt, salted, &untold);
            assert_eq!((all[0].tokens_in, all[0].tokens_out), (Some(expected), 0), "{api:?} {salted}");
        }
    }
}
