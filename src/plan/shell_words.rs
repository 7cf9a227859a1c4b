//! Splits a command text into words by the rules that Docker Compose uses, and quotes words for such
//! a text. Each word keeps its place. Expands nothing and runs nothing.

use std::ops::Range;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    pub text: String,
    /// From the word's first character to behind its last, quotes included.
    pub span: Range<usize>,
    /// The quote that it begins with.
    pub quote: Option<char>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Words {
    pub words: Vec<Word>,
    /// An unquoted `;`, `&`, `|`, `<` or `>`: Compose silently ignores the text from there on.
    pub cut: Option<(char, usize)>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    #[error("the quote {quote} is never closed")]
    OpenQuote { quote: char, at: usize },
    #[error("the text ends with a backslash that escapes nothing")]
    OpenEscape { at: usize },
    #[error("an unquoted {found} is not possible in a command; put the argument in quotes")]
    Bracket { found: char, at: usize },
}

impl WordsError {
    pub fn at(&self) -> usize {
        match self {
            Self::OpenQuote { at, .. } | Self::OpenEscape { at } | Self::Bracket { at, .. } => *at,
        }
    }
}

/// Splits a text; spans are its byte ranges.
pub fn split(text: &str) -> Result<Words, WordsError> {
    split_located(text.char_indices().map(|(at, ch)| (at..at + ch.len_utf8(), ch)))
}

/// Splits characters that know their places in some source.
pub fn split_located(chars: impl IntoIterator<Item = (Range<usize>, char)>) -> Result<Words, WordsError> {
    let mut result = Words::default();
    let mut word: Option<Word> = None;
    let mut open: Option<(char, usize)> = None;
    let mut escape: Option<usize> = None;
    for (place, ch) in chars {
        if escape.take().is_some() {
            let literal = match ch {
                't' => '\t',
                'n' => '\n',
                other => other,
            };
            grow(&mut word, &place).text.push(literal);
            continue;
        }
        match (ch, open) {
            ('\\', None | Some(('"', _))) => {
                escape = Some(place.start);
                grow(&mut word, &place);
            }
            ('"' | '\'' | '`', None) => {
                open = Some((ch, place.start));
                let starts = word.is_none();
                let word = grow(&mut word, &place);
                if starts {
                    word.quote = Some(ch);
                }
                if ch == '`' {
                    word.text.push(ch);
                }
            }
            (quote, Some((opened, _))) if quote == opened => {
                open = None;
                let word = grow(&mut word, &place);
                if ch == '`' {
                    word.text.push(ch);
                }
            }
            (' ' | '\t' | '\r' | '\n', None) => result.words.extend(word.take()),
            ('(' | ')', None) => return Err(WordsError::Bracket { found: ch, at: place.start }),
            (';' | '&' | '|' | '<' | '>', None) => {
                result.cut = Some((ch, place.start));
                break;
            }
            (other, _) => grow(&mut word, &place).text.push(other),
        }
    }
    if let Some((quote, at)) = open {
        return Err(WordsError::OpenQuote { quote, at });
    }
    if let Some(at) = escape {
        return Err(WordsError::OpenEscape { at });
    }
    result.words.extend(word);
    Ok(result)
}

fn grow<'w>(word: &'w mut Option<Word>, place: &Range<usize>) -> &'w mut Word {
    let word = word.get_or_insert_with(|| Word { text: String::new(), span: place.clone(), quote: None });
    word.span.end = place.end;
    word
}

/// The word such that splitting gives it back: as it is where it can be, else in quotes, of the
/// preferred kind where both would do.
pub fn quoted(word: &str, preferred: Option<char>) -> String {
    let plain = |ch: char| ch.is_alphanumeric() || "-_./=:,+@%^~[]{}*?!#$".contains(ch);
    if preferred.is_none() && !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    if !word.contains('\'') && preferred != Some('"') {
        return format!("'{word}'");
    }
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        split(text).unwrap().words.into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn whitespace_and_line_ends_separate() {
        assert_eq!(
            texts("llama-server\n  -b 512\r\n\t--fa on\n"),
            ["llama-server", "-b", "512", "--fa", "on"]
        );
    }

    #[test]
    fn quotes_join_and_may_be_empty() {
        assert_eq!(texts(r#"a "b c"d '' "x\"y" 'p\q' e\ f"#), ["a", "b cd", "", "x\"y", r"p\q", "e f"]);
    }

    #[test]
    fn a_word_knows_its_place_and_quote() {
        let words = split(r#"-a "b c" d"#).unwrap().words;
        assert_eq!((words[1].span.clone(), words[1].quote), (3..8, Some('"')));
        assert_eq!(words[2].span, 9..10);
    }

    #[test]
    fn an_operator_cuts_the_command_as_compose_does() {
        let words = split("-ot a=CPU;b=CPU -b 1").unwrap();
        assert_eq!(words.words.last().unwrap().text, "a=CPU");
        assert_eq!(words.cut, Some((';', 9)));
        assert_eq!(texts("'a;b'"), ["a;b"]);
    }

    #[test]
    fn what_cannot_be_split_says_why() {
        assert!(matches!(split("a 'b"), Err(WordsError::OpenQuote { at: 2, .. })));
        assert!(matches!(split("a \\"), Err(WordsError::OpenEscape { .. })));
        assert!(matches!(split("a (b)"), Err(WordsError::Bracket { .. })));
    }

    proptest::proptest! {
        #[test]
        fn a_quoted_word_comes_back(word in "[ -~äö]{0,12}", quote in 0..3usize) {
            let preferred = [None, Some('"'), Some('\'')][quote];
            let text = quoted(&word, preferred);
            proptest::prop_assert_eq!(texts(&text), [word]);
        }
    }
}
