//! The usual chunk of an OpenAI stream, read in one pass over its bytes. Knows less than the parser on
//! purpose: whatever is not of the usual form is left to the parser, and what is read here is what the
//! parser would have said. Parsing every chunk in full was most of what a token cost the client.

use std::borrow::Cow;

use super::piece::Piece;
use crate::run::request_record::TokenSource;

/// Values that nobody reads may be nested so deep.
const DEPTH: u8 = 8;
/// Numbers of so many digits are within 64 bits.
const DIGITS: usize = 18;

/// The chunk's piece, or `None` where the parser has to look: at errors, timings, tools, escapes, several
/// choices, and at all that is no JSON.
pub fn piece(data: &[u8]) -> Option<Piece<'_>> {
    let mut cursor = Cursor { data, at: 0 };
    let mut piece = Piece::default();
    let (mut choices, mut usage, mut object, mut error) =
        (Once::new(), Once::new(), Once::new(), Once::new());
    cursor.fields(|cursor, name| match name {
        b"choices" => choices.mark().and_then(|()| cursor.choices(&mut piece)),
        b"usage" => usage.mark().and_then(|()| cursor.usage(&mut piece)),
        b"object" => {
            object.mark()?;
            let kind = cursor.text()?;
            (kind != b"error" && kind.is_ascii()).then_some(())
        }
        b"error" => error.mark().and_then(|()| cursor.null()),
        b"timings" | b"message" => None,
        _ => cursor.skip(DEPTH),
    })?;
    cursor.is_at_end().then_some(piece)
}

/// The parser refuses a field that comes twice, so it is asked.
struct Once(bool);

impl Once {
    fn new() -> Self {
        Self(false)
    }

    fn mark(&mut self) -> Option<()> {
        (!std::mem::replace(&mut self.0, true)).then_some(())
    }
}

/// A place in the chunk. Every reader gives `None` where the chunk is not as it expects.
struct Cursor<'d> {
    data: &'d [u8],
    at: usize,
}

impl<'d> Cursor<'d> {
    fn choices(&mut self, piece: &mut Piece<'d>) -> Option<()> {
        if self.null().is_some() {
            return Some(());
        }
        self.byte(b'[')?;
        if self.peek()? == b']' {
            return self.byte(b']');
        }
        let (mut delta, mut text, mut reason) = (Once::new(), Once::new(), Once::new());
        let mut whole_text = None;
        self.fields(|cursor, name| match name {
            b"delta" => delta.mark().and_then(|()| cursor.delta(piece)),
            b"text" => {
                text.mark()?;
                whole_text = cursor.text_or_null()?;
                Some(())
            }
            b"finish_reason" => {
                reason.mark()?;
                piece.finish_reason = cursor.text_or_null()?;
                Some(())
            }
            b"message" => None,
            _ => cursor.skip(DEPTH),
        })?;
        if whole_text.is_some() {
            piece.content = whole_text;
        }
        self.byte(b']')
    }

    fn delta(&mut self, piece: &mut Piece<'d>) -> Option<()> {
        if self.null().is_some() {
            return Some(());
        }
        let (mut content, mut long, mut short, mut tools) =
            (Once::new(), Once::new(), Once::new(), Once::new());
        let mut short_reasoning = None;
        self.fields(|cursor, name| match name {
            b"content" => {
                content.mark()?;
                piece.content = cursor.text_or_null()?;
                Some(())
            }
            b"reasoning_content" => {
                long.mark()?;
                piece.reasoning = cursor.text_or_null()?;
                Some(())
            }
            b"reasoning" => {
                short.mark()?;
                short_reasoning = cursor.text_or_null()?;
                Some(())
            }
            b"tool_calls" => tools.mark().and_then(|()| cursor.null()),
            _ => cursor.skip(DEPTH),
        })?;
        if piece.reasoning.is_none() {
            piece.reasoning = short_reasoning;
        }
        Some(())
    }

    fn usage(&mut self, piece: &mut Piece<'d>) -> Option<()> {
        if self.null().is_some() {
            return Some(());
        }
        let (mut prompt, mut completion, mut details) = (Once::new(), Once::new(), Once::new());
        self.fields(|cursor, name| match name {
            b"prompt_tokens" => {
                prompt.mark()?;
                piece.tokens_in = cursor.count_or_null()?;
                Some(())
            }
            b"completion_tokens" => {
                completion.mark()?;
                piece.tokens_out = cursor.count_or_null()?;
                Some(())
            }
            b"prompt_tokens_details" => details.mark().and_then(|()| cursor.prompt_details(piece)),
            _ => cursor.skip(DEPTH),
        })?;
        piece.source = Some(TokenSource::Usage);
        Some(())
    }

    fn prompt_details(&mut self, piece: &mut Piece<'d>) -> Option<()> {
        if self.null().is_some() {
            return Some(());
        }
        let mut cached = Once::new();
        self.fields(|cursor, name| match name {
            b"cached_tokens" => {
                cached.mark()?;
                piece.tokens_cached = cursor.count_or_null()?;
                Some(())
            }
            _ => cursor.skip(DEPTH),
        })
    }

    /// An object: `field` reads the value of each name.
    fn fields(&mut self, mut field: impl FnMut(&mut Self, &'d [u8]) -> Option<()>) -> Option<()> {
        self.byte(b'{')?;
        if self.peek()? == b'}' {
            return self.byte(b'}');
        }
        loop {
            let name = self.text()?;
            if !name.is_ascii() {
                return None;
            }
            self.byte(b':')?;
            field(self, name)?;
            match self.token()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// A text without escapes, between its quotes.
    fn text(&mut self) -> Option<&'d [u8]> {
        self.byte(b'"')?;
        let rest = self.data.get(self.at..)?;
        let length = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..b' '))?;
        self.at += length;
        self.byte(b'"')?;
        rest.get(..length)
    }

    /// The outer `None` as everywhere; the inner one for null.
    fn text_or_null(&mut self) -> Option<Option<Cow<'d, str>>> {
        if self.null().is_some() {
            return Some(None);
        }
        let text = std::str::from_utf8(self.text()?).ok()?;
        Some(Some(Cow::Borrowed(text)))
    }

    fn count_or_null(&mut self) -> Option<Option<u64>> {
        if self.null().is_some() {
            return Some(None);
        }
        self.peek()?;
        let digits = self.digits()?;
        if digits.len() > DIGITS || matches!(self.data.get(self.at), Some(b'.' | b'e' | b'E')) {
            return None;
        }
        Some(Some(digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))))
    }

    /// Digits as a number begins with: no zero before others.
    fn digits(&mut self) -> Option<&'d [u8]> {
        let rest = self.data.get(self.at..)?;
        let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if length == 0 || (length > 1 && rest[0] == b'0') {
            return None;
        }
        self.at += length;
        Some(&rest[..length])
    }

    /// Any value that nobody reads.
    fn skip(&mut self, depth: u8) -> Option<()> {
        let deeper = depth.checked_sub(1)?;
        match self.peek()? {
            b'"' => self.text().map(|_| ()),
            b'{' => self.fields(|cursor, _| cursor.skip(deeper)),
            b'[' => {
                self.byte(b'[')?;
                if self.peek()? == b']' {
                    return self.byte(b']');
                }
                loop {
                    self.skip(deeper)?;
                    match self.token()? {
                        b',' => {}
                        b']' => return Some(()),
                        _ => return None,
                    }
                }
            }
            b'n' => self.null(),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            _ => self.number(),
        }
    }

    /// Without an exponent, which few write.
    fn number(&mut self) -> Option<()> {
        if self.data.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        self.digits()?;
        if self.data.get(self.at) == Some(&b'.') {
            let rest = self.data.get(self.at + 1..)?;
            let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            self.at += 1 + length;
            if length == 0 {
                return None;
            }
        }
        (!matches!(self.data.get(self.at), Some(b'e' | b'E'))).then_some(())
    }

    fn null(&mut self) -> Option<()> {
        self.word(b"null")
    }

    /// Takes the word if it is what comes next, else nothing.
    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.peek()?;
        self.data.get(self.at..)?.starts_with(word).then(|| self.at += word.len())
    }

    fn byte(&mut self, byte: u8) -> Option<()> {
        (self.token()? == byte).then_some(())
    }

    /// The next byte that is no space, taken.
    fn token(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// The next byte that is no space.
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.data.get(self.at)?;
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    fn is_at_end(&mut self) -> bool {
        self.peek().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::openai::parsed;

    /// Chunks as servers write them.
    const USUAL: [&str; 8] = [
        r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1732522345,"model":"qwen","system_fingerprint":"fp","choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}]}"#,
        r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"q","choices":[{"index":0,"delta":{"role":"assistant","content":"","reasoning_content":null},"logprobs":null,"finish_reason":null}],"prompt_token_ids":null}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"é"},"logprobs":null,"finish_reason":"length","stop_reason":null,"token_ids":[1,2]}],"usage":{"prompt_tokens":7,"total_tokens":9,"completion_tokens":2}}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":128,"prompt_tokens_details":{"cached_tokens":3,"audio_tokens":0}}}"#,
        r#"{"object":"text_completion","choices":[{"index":0,"text":"word","logprobs":{"tokens":["a"],"top":[{"a":-0.5}]},"finish_reason":null}],"usage":null,"error":null}"#,
        r#"{"choices":[{"delta":{"reasoning_content":"so","reasoning":"thus","tool_calls":null},"index":0,"finish_reason":null}]}"#,
        r#"{ "choices": [ { "index": 0, "delta": { "reasoning": "thus", "flag": true, "other": false } } ] }"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":null,"completion_tokens":0,"prompt_tokens_details":null}}"#,
    ];

    /// Chunks that are the parser's.
    const UNUSUAL: [&str; 14] = [
        r#"{"choices":[{"delta":{"content":"a\nb"}}]}"#,
        r#"{"choices":[{"delta":{"content":"a"}},{"delta":{"content":"b"}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"f","arguments":""}}]}}]}"#,
        r#"{"choices":[{"message":{"content":"a"}}]}"#,
        r#"{"choices":[],"timings":{"predicted_n":1}}"#,
        r#"{"error":{"message":"no"}}"#,
        r#"{"object":"error","message":"no"}"#,
        r#"{"choices":[],"choices":[]}"#,
        r#"{"choices":[],"usage":{"completion_tokens":1e2}}"#,
        r#"{"choices":[],"usage":{"completion_tokens":12345678901234567890}}"#,
        r#"{"choices":[],"x":01}"#,
        r#"{"choices":[]} x"#,
        r#"[]"#,
        "",
    ];

    #[test]
    fn usual_chunks_need_no_parser() {
        for chunk in USUAL {
            assert_eq!(piece(chunk.as_bytes()), Some(parsed(chunk.as_bytes()).unwrap()), "{chunk}");
        }
    }

    #[test]
    fn what_is_unusual_is_left_to_the_parser() {
        for chunk in UNUSUAL {
            assert_eq!(piece(chunk.as_bytes()), None, "{chunk}");
        }
    }

    #[test]
    fn nothing_is_read_that_the_parser_would_read_otherwise() {
        let replacements = *b"\"\\{}[]:,09.-en \x01\xc3";
        for chunk in USUAL.iter().chain(&UNUSUAL) {
            let chunk = chunk.as_bytes();
            for at in 0..chunk.len() {
                agrees(&chunk[..at]);
                agrees(&[&chunk[..at], &chunk[at + 1..]].concat());
                for byte in replacements {
                    agrees(&[&chunk[..at], &[byte], &chunk[at + 1..]].concat());
                    agrees(&[&chunk[..at], &[byte], &chunk[at..]].concat());
                }
            }
        }
    }

    fn agrees(chunk: &[u8]) {
        if let Some(piece) = piece(chunk) {
            assert_eq!(Ok(piece), parsed(chunk), "{}", String::from_utf8_lossy(chunk));
        }
    }
}
