//! One answer from its first byte to its end, as the record of its request. Sans-IO: bytes and times
//! come in, the record comes out, however the bytes were split. Every piece of one read has that read's
//! time.

use serde::de::IgnoredAny;

use super::frames::{Framed, Splitter};
use super::http::{HttpError, ResponseReader};
use super::piece::{Piece, error_words};
use super::wire::{Prepared, Wire};
use crate::run::measure_plan::Framing;
use crate::run::request_record::{ErrorKind, Record, RequestError, TokenSource};

/// Largest answer, in bytes.
const MOST_BODY: u64 = 256 << 20;
/// So much of an error's body is kept for its words.
const ERROR_BODY: usize = 4 << 10;
/// Longest message of an error, in characters.
const MESSAGE: usize = 300;
/// So much of an answer's beginning is shown where it has nothing else, in bytes.
const OPENING: usize = 120;

/// How much of an answer's text its record has, from its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptText {
    Nothing,
    /// For people.
    Sample,
    /// To count its tokens.
    Whole,
    /// To go on from, without its reasoning.
    Content,
}

impl KeptText {
    /// Most bytes. Nobody asks for so long an answer as the last.
    fn most(self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Sample => 32 << 10,
            Self::Whole => 1 << 20,
            Self::Content => 16 << 20,
        }
    }

    /// Takes the text's rest away.
    pub fn cut(self, text: &mut String) {
        text.truncate(text.floor_char_boundary(self.most().min(text.len())));
    }
}

/// Reads the answer to one request.
pub struct Answer<'w> {
    wire: &'w Wire,
    reader: ResponseReader,
    splitter: Splitter,
    error_body: Vec<u8>,
    bytes: u64,
    told: Told,
}

/// What the pieces have said so far.
struct Told {
    record: Record,
    streamed: bool,
    kept: KeptText,
    last_chunk_us: u64,
    /// Tokens up to the last chunk with text. Those that showed nothing count for the next one that does.
    tokens_shown: u64,
    /// Every chunk with text so far came with a count.
    counted: bool,
    ended: bool,
    /// A piece was the beginning of JSON.
    half_piece: bool,
    /// The body's beginning, until a piece comes.
    opening: Vec<u8>,
}

impl<'w> Answer<'w> {
    /// `record` has what is known before the answer; times of the answer are after its `sent_us`.
    pub fn new(wire: &'w Wire, prepared: &Prepared, record: Record, kept: KeptText) -> Self {
        Self {
            wire,
            reader: ResponseReader::default(),
            splitter: Splitter::new(prepared.framing),
            error_body: Vec::new(),
            bytes: 0,
            told: Told {
                record,
                streamed: prepared.framing != Framing::Json,
                kept,
                last_chunk_us: 0,
                tokens_shown: 0,
                counted: true,
                ended: false,
                half_piece: false,
                opening: Vec::new(),
            },
        }
    }

    /// Takes in what one read gave, `at_us` after the request was sent. True once the answer is whole.
    ///
    /// # Errors
    /// Why the answer is none.
    pub fn feed(&mut self, bytes: &[u8], at_us: u64) -> Result<bool, RequestError> {
        self.told.record.first_byte_us.get_or_insert(at_us);
        self.bytes += bytes.len() as u64;
        if self.bytes > MOST_BODY {
            let words = format!("the answer is larger than {} MiB", MOST_BODY >> 20);
            return Err(fault(ErrorKind::BadPayload, &words));
        }
        let Self { wire, reader, splitter, error_body, told, .. } = self;
        let was_known = reader.head().is_some();
        let mut outcome = Ok(());
        if was_known && reader.head().is_some_and(|head| is_good(head.status)) {
            // The way of nearly every read: nothing is copied.
            reader.feed(bytes, |body| {
                if outcome.is_ok() {
                    outcome = take(wire, splitter, told, body, at_us);
                }
            })
        } else {
            let mut body = Vec::new();
            let fed = reader.feed(bytes, |part| body.extend_from_slice(part));
            if let Some(head) = reader.head() {
                told.record.status = Some(head.status);
                if is_good(head.status) {
                    if !body.is_empty() {
                        outcome = take(wire, splitter, told, &body, at_us);
                    }
                } else {
                    body.truncate(ERROR_BODY.saturating_sub(error_body.len()));
                    error_body.extend_from_slice(&body);
                }
            }
            fed
        }
        .map_err(of_http)?;
        outcome?;
        if self.reader.is_done() {
            return self.whole(at_us).map(|()| true);
        }
        Ok(false)
    }

    /// The connection has ended, `at_us` after the request was sent.
    ///
    /// # Errors
    /// The answer was not whole.
    pub fn closed(&mut self, at_us: u64) -> Result<(), RequestError> {
        let ends_with_connection = self.reader.ends_with_connection();
        self.reader.end().map_err(of_http)?;
        self.whole(at_us).map_err(|error| {
            let is_cut = error.kind == ErrorKind::BadPayload && ends_with_connection && self.told.half_piece;
            if is_cut {
                fault(ErrorKind::CutStream, "the connection ended within a piece of the answer")
            } else {
                error
            }
        })
    }

    fn whole(&mut self, at_us: u64) -> Result<(), RequestError> {
        if let Some(refused) = self.refused() {
            return Err(refused);
        }
        let Self { wire, splitter, told, .. } = self;
        let mut outcome = Ok(());
        splitter.end(|framed| {
            if outcome.is_ok() {
                outcome = told.framed(wire, framed, at_us);
            }
        });
        outcome?;
        self.told.check_end(self.wire)?;
        if !self.told.streamed {
            self.told.record.last_token_us = Some(at_us);
        }
        Ok(())
    }

    /// What the server said where its status is no success, whole or not.
    pub fn refused(&self) -> Option<RequestError> {
        let head = self.reader.head().filter(|head| !is_good(head.status))?;
        Some(of_status(head.status, head.location.as_deref(), &self.error_body))
    }

    /// Whether the server has said anything.
    pub fn has_begun(&self) -> bool {
        self.bytes > 0
    }

    /// Whether the connection may carry another request.
    pub fn can_reuse(&self) -> bool {
        self.reader.can_reuse()
    }

    /// The record of a request that has ended `end_us` after it was sent.
    pub fn into_record(self, end_us: u64, error: Option<RequestError>) -> Record {
        let mut record = self.told.record;
        record.end_us = end_us;
        record.error = error;
        if !self.told.counted {
            record.chunk_tokens = Vec::new();
        }
        if record.tokens_out.is_none() && !record.chunks.is_empty() {
            record.token_source = Some(TokenSource::Chunks);
        }
        record
    }

    /// Whether a token has come.
    pub fn has_token(&self) -> bool {
        self.told.record.first_token_us.is_some()
    }
}

fn take(
    wire: &Wire,
    splitter: &mut Splitter,
    told: &mut Told,
    body: &[u8],
    at_us: u64,
) -> Result<(), RequestError> {
    if told.streamed && told.record.first_chunk_us.is_none() {
        let room = OPENING.saturating_sub(told.opening.len());
        told.opening.extend_from_slice(&body[..body.len().min(room)]);
    }
    let mut outcome = Ok(());
    splitter
        .feed(body, |framed| {
            if outcome.is_ok() {
                outcome = told.framed(wire, framed, at_us);
            }
        })
        .map_err(|error| fault(ErrorKind::BadPayload, &error.to_string()))?;
    outcome
}

impl Told {
    fn framed(&mut self, wire: &Wire, framed: Framed<'_>, at_us: u64) -> Result<(), RequestError> {
        let data = match framed {
            Framed::Data(data) => data,
            Framed::Error(data) => {
                let words = match serde_json::from_slice(data) {
                    Ok(value) => error_words(&value),
                    Err(_) => String::from_utf8_lossy(data).into_owned(),
                };
                return Err(fault(ErrorKind::ServerError, &words));
            }
        };
        if self.streamed {
            self.record.first_chunk_us.get_or_insert(at_us);
        }
        let piece = match wire.piece(data) {
            Ok(piece) => piece,
            Err(error) => {
                let json: Result<IgnoredAny, _> = serde_json::from_slice(data);
                self.half_piece = json.is_err_and(|error| error.is_eof());
                return Err(fault(ErrorKind::BadPayload, &error.0));
            }
        };
        if let Some(words) = &piece.error {
            return Err(fault(ErrorKind::ServerError, words));
        }
        self.piece(&piece, at_us);
        Ok(())
    }

    /// An answer that neither says why it ended nor says anything else is no success.
    fn check_end(&self, wire: &Wire) -> Result<(), RequestError> {
        if self.ended || self.record.finish_reason.is_some() {
            return Ok(());
        }
        if self.streamed && self.record.first_chunk_us.is_none() {
            let words = self
                .is_no_stream()
                .unwrap_or_else(|| "the answer was to be streamed, and no piece of a stream came".to_owned());
            return Err(fault(ErrorKind::BadPayload, &words));
        }
        if self.streamed && wire.tells_the_end() {
            let words = "the stream ended without saying why: neither a finish reason nor its end mark came";
            return Err(fault(ErrorKind::CutStream, words));
        }
        if self.record.chars == 0 && self.record.tokens_out.is_none() {
            let words = format!("nothing in the answer is a text of {}", wire.dialect.as_str());
            return Err(fault(ErrorKind::BadPayload, &words));
        }
        Ok(())
    }

    /// The words for a body without any piece that is none of a stream either: a page of a proxy, or one
    /// answer in JSON by a server that does not stream.
    fn is_no_stream(&self) -> Option<String> {
        let opening = self.opening.trim_ascii();
        let is_event =
            [":", "event:", "id:", "retry:"].iter().any(|field| opening.starts_with(field.as_bytes()));
        (self.record.first_chunk_us.is_none() && !opening.is_empty() && !is_event).then(|| {
            let shown = String::from_utf8_lossy(opening);
            format!("the answer is no stream of tokens: it begins with {shown:?}")
        })
    }

    fn piece(&mut self, piece: &Piece<'_>, at_us: u64) {
        let has_text = piece.has_text();
        if has_text {
            for text in piece.texts() {
                self.record.chars += text.chars().count() as u64;
                match self.kept {
                    KeptText::Nothing | KeptText::Content => {}
                    KeptText::Sample | KeptText::Whole => self.keep_text(text),
                }
            }
            if let (KeptText::Content, Some(text)) = (self.kept, &piece.content) {
                self.keep_text(text);
            }
            if self.streamed {
                self.chunk(piece, at_us);
            }
        }
        if let Some(tokens) = piece.tokens_out {
            // What the answer itself counts at its end goes over an engine's own counters.
            if self.record.token_source.is_none_or(|known| piece.source.is_some_and(|source| source <= known))
            {
                self.record.tokens_out = Some(tokens);
                self.record.token_source = piece.source;
            }
        }
        if piece.tokens_in.is_some() {
            self.record.tokens_in = piece.tokens_in;
        }
        if piece.tokens_cached.is_some() {
            self.record.tokens_cached = piece.tokens_cached;
        }
        if piece.server.is_some() {
            self.record.server = piece.server;
        }
        if let Some(reason) = &piece.finish_reason {
            self.record.finish_reason = Some(reason.clone().into_owned());
        }
        self.ended |= piece.last;
    }

    fn keep_text(&mut self, text: &str) {
        let kept = self.record.text.get_or_insert_default();
        let room = self.kept.most().saturating_sub(kept.len());
        kept.push_str(&text[..text.floor_char_boundary(room.min(text.len()))]);
    }

    fn chunk(&mut self, piece: &Piece<'_>, at_us: u64) {
        self.record.first_token_us.get_or_insert(at_us);
        let is_output = [&piece.content, &piece.tool].into_iter().flatten().any(|text| !text.is_empty());
        if is_output {
            self.record.first_output_us.get_or_insert(at_us);
        }
        self.record.last_token_us = Some(at_us);
        let after = at_us - self.last_chunk_us.min(at_us);
        self.record.chunks.push(u32::try_from(after).unwrap_or(u32::MAX));
        self.last_chunk_us = at_us;
        match piece.tokens_out {
            Some(tokens) => {
                let new = tokens.saturating_sub(self.tokens_shown);
                self.tokens_shown = tokens;
                self.record.chunk_tokens.push(u16::try_from(new).unwrap_or(u16::MAX));
            }
            None => self.counted = false,
        }
    }
}

fn is_good(status: u16) -> bool {
    (200..300).contains(&status)
}

/// An error of a request, its message within bounds.
pub fn fault(kind: ErrorKind, message: &str) -> RequestError {
    RequestError { kind, message: message.chars().take(MESSAGE).collect() }
}

fn of_http(error: HttpError) -> RequestError {
    let kind = match error {
        HttpError::Cut => ErrorKind::CutStream,
        HttpError::NotHttp(_) | HttpError::HeadTooLarge | HttpError::BadChunk => ErrorKind::BadPayload,
    };
    fault(kind, &error.to_string())
}

fn of_status(status: u16, location: Option<&str>, body: &[u8]) -> RequestError {
    let said = match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(value) => error_words(&value),
        Err(_) => String::from_utf8_lossy(body).trim().to_owned(),
    };
    let words = match location {
        Some(to) if (300..400).contains(&status) => {
            format!("HTTP {status}: a redirect to {to}, and redirects are not followed")
        }
        Some(_) | None if said.is_empty() => format!("HTTP {status}"),
        Some(_) | None => format!("HTTP {status}: {said}"),
    };
    fault(ErrorKind::HttpStatus, &words)
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
#[cfg(test)]
#[path = "answer_trouble_tests.rs"]
mod trouble_tests;
