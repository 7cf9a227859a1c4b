//! A streamed body into its pieces: server-sent events, or a JSON value a line. Sans-IO. Events may
//! share a read and may be split anywhere, inside a character too; a piece is handed on whole.

use memchr::memchr;

use crate::run::measure_plan::Framing;

/// Longest piece, in bytes. What is longer is no token.
const MOST_PIECE: usize = 16 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a piece of the answer is larger than {MOST_PIECE} bytes")]
pub struct TooLarge;

/// A piece as it was framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framed<'b> {
    /// The data of an event, or a line.
    Data(&'b [u8]),
    /// What a server wrote behind `error:`, which some send in the middle of a stream.
    Error(&'b [u8]),
}

/// Splits one body.
#[derive(Debug)]
pub struct Splitter {
    framing: Framing,
    /// A line that has not come whole.
    line: Vec<u8>,
    /// The data lines of an event that has not ended.
    event: Vec<u8>,
    has_event: bool,
}

impl Splitter {
    pub fn new(framing: Framing) -> Self {
        Self { framing, line: Vec::new(), event: Vec::new(), has_event: false }
    }

    /// Takes bytes in and hands on each piece that they complete.
    ///
    /// # Errors
    /// A piece without end.
    pub fn feed(&mut self, bytes: &[u8], mut piece: impl FnMut(Framed<'_>)) -> Result<(), TooLarge> {
        if self.framing == Framing::Json {
            self.line.extend_from_slice(bytes);
            return within(self.line.len());
        }
        let mut rest = bytes;
        while let Some(at) = memchr(b'\n', rest) {
            let (line, after) = (&rest[..at], &rest[at + 1..]);
            if self.line.is_empty() {
                self.take_line(line, after, &mut piece);
            } else {
                let mut whole = std::mem::take(&mut self.line);
                whole.extend_from_slice(line);
                self.take_line(&whole, after, &mut piece);
                whole.clear();
                self.line = whole;
            }
            rest = after;
        }
        self.line.extend_from_slice(rest);
        within(self.line.len() + self.event.len())
    }

    /// The body has ended: what is left without its last line's end is a piece as well.
    pub fn end(&mut self, mut piece: impl FnMut(Framed<'_>)) {
        let line = std::mem::take(&mut self.line);
        match self.framing {
            Framing::Json => {
                if !line.is_empty() {
                    piece(Framed::Data(&line));
                }
            }
            Framing::Ndjson => self.take_line(&line, &[], &mut piece),
            Framing::Sse => {
                if !line.is_empty() {
                    self.take_line(&line, &[], &mut piece);
                }
                self.dispatch(&mut piece);
            }
        }
    }

    fn take_line(&mut self, line: &[u8], after: &[u8], piece: &mut impl FnMut(Framed<'_>)) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if self.framing == Framing::Ndjson {
            if !line.iter().all(u8::is_ascii_whitespace) {
                piece(Framed::Data(line));
            }
            return;
        }
        if line.is_empty() {
            self.dispatch(piece);
        } else if let Some(data) = line.strip_prefix(b"data:") {
            let data = data.strip_prefix(b" ").unwrap_or(data);
            let alone = !self.has_event && (after.starts_with(b"\n") || after.starts_with(b"\r\n"));
            if alone && !data.is_empty() {
                // The common case, an event of one line that has come whole, without a copy.
                piece(Framed::Data(data));
                return;
            }
            if self.has_event {
                self.event.push(b'\n');
            }
            self.event.extend_from_slice(data);
            self.has_event = true;
        } else if let Some(error) = line.strip_prefix(b"error:") {
            piece(Framed::Error(error.strip_prefix(b" ").unwrap_or(error)));
        }
        // Comments, names and ids of events carry no answer.
    }

    fn dispatch(&mut self, piece: &mut impl FnMut(Framed<'_>)) {
        // An event without data says nothing; some servers send one to keep a connection open.
        if self.has_event && !self.event.is_empty() {
            piece(Framed::Data(&self.event));
        }
        self.event.clear();
        self.has_event = false;
    }
}

fn within(length: usize) -> Result<(), TooLarge> {
    if length > MOST_PIECE { Err(TooLarge) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(framing: Framing, parts: &[&[u8]]) -> Vec<String> {
        let mut splitter = Splitter::new(framing);
        let mut found = Vec::new();
        let mut keep = |framed: Framed<'_>| {
            found.push(match framed {
                Framed::Data(data) => String::from_utf8_lossy(data).into_owned(),
                Framed::Error(data) => format!("error {}", String::from_utf8_lossy(data)),
            });
        };
        for part in parts {
            splitter.feed(part, &mut keep).unwrap();
        }
        splitter.end(&mut keep);
        found
    }

    #[test]
    fn events_are_the_same_wherever_they_are_split() {
        let text = "data: {\"a\":\"né\"}\n\n: ping\n\nevent: x\ndata: one\ndata: two\n\ndata:[DONE]\r\n\r\nerror: {}\n\n";
        let expected = ["{\"a\":\"né\"}", "one\ntwo", "[DONE]", "error {}"];
        for at in 0..text.len() {
            let (front, back) = text.as_bytes().split_at(at);
            assert_eq!(pieces(Framing::Sse, &[front, back]), expected, "split at {at}");
        }
        let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(pieces(Framing::Sse, &single), expected);
    }

    #[test]
    fn an_event_without_data_is_no_piece() {
        assert_eq!(pieces(Framing::Sse, &[b"data:\n\ndata: \n\ndata: 1\n\n"]), ["1"]);
        assert_eq!(pieces(Framing::Sse, &[b"data:\n", b"\ndata: 1\n\n"]), ["1"]);
    }

    #[test]
    fn several_events_of_one_read_are_several_pieces() {
        assert_eq!(pieces(Framing::Sse, &[b"data: 1\n\ndata: 2\n\ndata: 3"]), ["1", "2", "3"]);
    }

    #[test]
    fn lines_are_pieces_and_the_last_needs_no_end() {
        assert_eq!(
            pieces(Framing::Ndjson, &[b"{\"a\":", b"1}\n\n{\"b\":2}\r\n{\"c\":3}"]),
            ["{\"a\":1}", "{\"b\":2}", "{\"c\":3}"]
        );
    }

    #[test]
    fn a_single_value_is_one_piece_at_the_end() {
        assert_eq!(pieces(Framing::Json, &[b"{\n", b"}"]), ["{\n}"]);
    }
}
