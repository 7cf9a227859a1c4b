//! What a GGUF file says of chats: its template and the tokens that begin and end a text. Reads the metadata
//! at the file's front, passes over what it does not need, and believes no length that it says.
//!
//! The format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

/// Largest metadata that is looked through, in bytes. A vocabulary of 256,000 tokens has some 20 MiB.
const MOST_METADATA: u64 = 256 << 20;
const MOST_ENTRIES: u64 = 1 << 16;
const MOST_KEY: u64 = 1 << 16;
const MOST_TOKEN: u64 = 1 << 16;
/// Arrays within arrays; the format's writers make none.
const MOST_DEPTH: u32 = 4;

#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it does not begin as GGUF does")]
    NotGguf,
    #[error("it is GGUF of version {0}; versions 2 and 3 are read")]
    Version(u32),
    #[error("its metadata ends too early")]
    Cut,
    #[error("its metadata is no GGUF: {0}")]
    Malformed(&'static str),
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GgufChat {
    pub template: Option<String>,
    pub bos_token: Option<String>,
    pub eos_token: Option<String>,
    /// Whether the tokenizer puts the first before a text, where the file says.
    pub adds_bos: Option<bool>,
}

/// Reads the metadata of a file of so many bytes. `most_template` bounds the template.
///
/// # Errors
/// The disk's own, and what is no GGUF.
pub fn read(file: impl Read + Seek, length: u64, most_template: u64) -> Result<GgufChat, GgufError> {
    let mut reader = Reader { input: BufReader::new(file), at: 0, end: length.min(MOST_METADATA) };
    if &reader.bytes::<4>().map_err(|_| GgufError::NotGguf)? != b"GGUF" {
        return Err(GgufError::NotGguf);
    }
    let version = reader.u32()?;
    if !(2..=3).contains(&version) {
        return Err(GgufError::Version(version));
    }
    let _tensors = reader.u64()?;
    let entries = reader.u64()?;
    if entries > MOST_ENTRIES {
        return Err(GgufError::Malformed("it has too many entries"));
    }
    let mut found = GgufChat::default();
    let (mut tokens, mut bos, mut eos) = (None, None, None);
    for _ in 0..entries {
        let key = reader.text(MOST_KEY)?;
        let kind = Kind::from_number(reader.u32()?)?;
        match (key.as_str(), kind) {
            ("tokenizer.chat_template", Kind::Text) => found.template = Some(reader.text(most_template)?),
            ("tokenizer.ggml.add_bos_token", Kind::Bool) => {
                found.adds_bos = Some(reader.bytes::<1>()? != [0]);
            }
            ("tokenizer.ggml.bos_token_id", Kind::U32) => bos = Some(reader.u32()?),
            ("tokenizer.ggml.eos_token_id", Kind::U32) => eos = Some(reader.u32()?),
            ("tokenizer.ggml.tokens", Kind::Array) => {
                tokens = Some(reader.at);
                reader.skip_value(kind, 0)?;
            }
            (_, kind) => reader.skip_value(kind, 0)?,
        }
    }
    if let Some(at) = tokens {
        found.bos_token = bos.map(|id| reader.token(at, id)).transpose()?;
        found.eos_token = eos.map(|id| reader.token(at, id)).transpose()?;
    }
    Ok(found)
}

/// The types of values.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Bool,
    U32,
    /// Any other of so many bytes.
    Fixed(u64),
    Text,
    Array,
}

impl Kind {
    fn from_number(number: u32) -> Result<Self, GgufError> {
        Ok(match number {
            0 | 1 => Self::Fixed(1),
            2 | 3 => Self::Fixed(2),
            4 => Self::U32,
            5 | 6 => Self::Fixed(4),
            7 => Self::Bool,
            8 => Self::Text,
            9 => Self::Array,
            10..=12 => Self::Fixed(8),
            _ => return Err(GgufError::Malformed("a value has an unknown type")),
        })
    }

    /// Bytes of a value, where all of the kind have as many.
    fn size(self) -> Option<u64> {
        match self {
            Self::Bool => Some(1),
            Self::U32 => Some(4),
            Self::Fixed(size) => Some(size),
            Self::Text | Self::Array => None,
        }
    }
}

struct Reader<R> {
    input: BufReader<R>,
    at: u64,
    /// Nothing is read from here on.
    end: u64,
}

impl<R: Read + Seek> Reader<R> {
    fn take(&mut self, count: u64) -> Result<(), GgufError> {
        let at = self.at.checked_add(count).filter(|at| *at <= self.end).ok_or(GgufError::Cut)?;
        self.at = at;
        Ok(())
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        self.take(N as u64)?;
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, GgufError> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, GgufError> {
        self.bytes().map(u64::from_le_bytes)
    }

    fn text(&mut self, most: u64) -> Result<String, GgufError> {
        let length = self.u64()?;
        if length > most {
            return Err(GgufError::Malformed("a text is too long"));
        }
        self.take(length)?;
        // It is in the file, so that no more is allocated than there is.
        let mut bytes = Vec::new();
        (&mut self.input).take(length).read_to_end(&mut bytes)?;
        String::from_utf8(bytes).map_err(|_| GgufError::Malformed("a text is no UTF-8"))
    }

    fn skip(&mut self, count: u64) -> Result<(), GgufError> {
        self.take(count)?;
        let offset = i64::try_from(count).map_err(|_| GgufError::Cut)?;
        Ok(self.input.seek_relative(offset)?)
    }

    fn skip_value(&mut self, kind: Kind, depth: u32) -> Result<(), GgufError> {
        match kind {
            Kind::Bool | Kind::U32 | Kind::Fixed(_) => self.skip(kind.size().unwrap_or_default()),
            Kind::Text => {
                let length = self.u64()?;
                self.skip(length)
            }
            Kind::Array => {
                let (of, count) = (Kind::from_number(self.u32()?)?, self.u64()?);
                if let Some(size) = of.size() {
                    return self.skip(count.checked_mul(size).ok_or(GgufError::Cut)?);
                }
                if depth == MOST_DEPTH {
                    return Err(GgufError::Malformed("its arrays are too deep"));
                }
                // Each takes bytes of the file, so that no count goes on for ever.
                (0..count).try_for_each(|_| self.skip_value(of, depth + 1))
            }
        }
    }

    /// The text of a token of the array that begins at `at`.
    fn token(&mut self, at: u64, id: u32) -> Result<String, GgufError> {
        self.input.seek(SeekFrom::Start(at))?;
        self.at = at;
        let (of, count) = (Kind::from_number(self.u32()?)?, self.u64()?);
        if of != Kind::Text || u64::from(id) >= count {
            return Err(GgufError::Malformed("a special token is none of the vocabulary"));
        }
        (0..id).try_for_each(|_| self.skip_value(Kind::Text, 0))?;
        self.text(MOST_TOKEN)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Cursor;

    use super::*;

    fn text(text: &str) -> Vec<u8> {
        [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
    }

    pub fn entry(key: &str, kind: u32, value: &[u8]) -> Vec<u8> {
        [text(key).as_slice(), &kind.to_le_bytes(), value].concat()
    }

    pub fn file(entries: &[Vec<u8>]) -> Vec<u8> {
        let head = [b"GGUF".as_slice(), &3u32.to_le_bytes(), &0u64.to_le_bytes()].concat();
        [head, (entries.len() as u64).to_le_bytes().to_vec(), entries.concat()].concat()
    }

    fn tokens(list: &[&str]) -> Vec<u8> {
        let mut value = [&8u32.to_le_bytes()[..], &(list.len() as u64).to_le_bytes()].concat();
        value.extend(list.iter().flat_map(|token| text(token)));
        entry("tokenizer.ggml.tokens", 9, &value)
    }

    /// A whole file with values of every kind around what is looked for.
    pub fn whole(template: &str) -> Vec<u8> {
        let nested =
            [&9u32.to_le_bytes()[..], &1u64.to_le_bytes(), &4u32.to_le_bytes(), &2u64.to_le_bytes(), &[0; 8]]
                .concat();
        file(&[
            entry("general.architecture", 8, &text("llama")),
            entry("a", 0, &[1]),
            entry("b", 3, &[1, 2]),
            entry("c", 6, &[1; 4]),
            entry("d", 12, &[1; 8]),
            entry("tokenizer.ggml.bos_token_id", 4, &1u32.to_le_bytes()),
            tokens(&["<unk>", "<s>", "</s>", "a"]),
            entry("nested", 9, &nested),
            entry("tokenizer.ggml.eos_token_id", 4, &2u32.to_le_bytes()),
            entry("tokenizer.ggml.add_bos_token", 7, &[0]),
            entry("tokenizer.chat_template", 8, &text(template)),
        ])
    }

    fn read_bytes(bytes: &[u8]) -> Result<GgufChat, GgufError> {
        read(Cursor::new(bytes), bytes.len() as u64, 1 << 20)
    }

    #[test]
    fn the_template_and_its_tokens_are_found_among_everything_else() {
        let found = read_bytes(&whole("{{ bos_token }}")).unwrap();
        let text = |text: &str| Some(text.to_owned());
        let (template, bos_token, eos_token) = (text("{{ bos_token }}"), text("<s>"), text("</s>"));
        assert_eq!(found, GgufChat { template, bos_token, eos_token, adds_bos: Some(false) });
        assert_eq!(read_bytes(&file(&[])).unwrap(), GgufChat::default());
    }

    #[test]
    fn a_file_that_is_cut_anywhere_is_refused() {
        let bytes = whole("{{ messages }}");
        for end in 0..bytes.len() {
            assert!(read_bytes(&bytes[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn no_byte_of_a_damaged_file_breaks_the_reader() {
        let bytes = whole("{{ messages }}");
        for at in 0..bytes.len() {
            for value in [0, 1, 9, 0x7f, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                // Whatever comes of it, it comes.
                drop(read_bytes(&damaged));
            }
        }
    }

    #[test]
    fn lengths_that_lie_cost_nothing() {
        let endless = u64::MAX.to_le_bytes();
        let array = |of: u32| [&of.to_le_bytes()[..], &endless].concat();
        let mut deep = Vec::new();
        (0..100).for_each(|_| deep.extend([&9u32.to_le_bytes()[..], &1u64.to_le_bytes()].concat()));
        for hostile in [
            entry("text", 8, &endless),
            entry("tokenizer.chat_template", 8, &endless),
            entry("numbers", 9, &array(12)),
            entry("texts", 9, &array(8)),
            entry("arrays", 9, &array(9)),
            entry("deep", 9, &deep),
            entry("unknown", 99, &[0; 64]),
            entry(&"k".repeat(1 << 17), 0, &[0]),
            [&endless[..], &[0; 64]].concat(),
        ] {
            let error = read_bytes(&file(&[hostile])).unwrap_err();
            assert!(matches!(error, GgufError::Cut | GgufError::Malformed(_)), "{error}");
        }
        let many = [b"GGUF".as_slice(), &3u32.to_le_bytes(), &[0; 8], &endless].concat();
        assert!(matches!(read_bytes(&many), Err(GgufError::Malformed(_))));
        let other = [b"GGUF".as_slice(), &3u32.to_be_bytes(), &[0; 16]].concat();
        assert!(matches!(read_bytes(&other), Err(GgufError::Version(0x0300_0000))));
        assert!(matches!(read_bytes(b"GG"), Err(GgufError::NotGguf)));
    }

    #[test]
    fn a_special_token_outside_the_vocabulary_is_refused() {
        let id = entry("tokenizer.ggml.eos_token_id", 4, &3u32.to_le_bytes());
        let error = read_bytes(&file(&[id, tokens(&["a", "b"])])).unwrap_err();
        assert!(matches!(error, GgufError::Malformed(words) if words.contains("special token")));
    }
}
