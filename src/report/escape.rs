//! Foreign text (a model's answers, a tool's words, users' names) made harmless in each format. Every
//! renderer passes its texts through here; nothing else knows what is special where.

use std::borrow::Cow;

/// Control characters and those that turn the direction of text around, written out; line ends and tabs
/// stay.
pub fn visible(text: &str) -> Cow<'_, str> {
    written_out(text, |c| is_harmful(c) && c != '\n' && c != '\t')
}

/// Control characters, and those that turn the direction of text around.
pub fn is_harmful(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text with these characters as a programmer would write them.
pub fn written_out(text: &str, harmful: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&harmful) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if harmful(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// Text of an element or of an attribute in double quotes.
pub fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in visible(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

/// One line of Markdown, in a paragraph, a heading or a table's cell.
pub fn markdown(text: &str) -> String {
    let text = visible(text);
    let mut out = String::with_capacity(text.len() + 16);
    let mut start = true;
    for (at, c) in text.char_indices() {
        match c {
            '\n' | '\t' => out.push(' '),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '`' | '*' | '[' | ']' | '|' | '~' | '$' => out.extend(['\\', c]),
            // Inside of a word it emphasises nothing, and names of figures have many.
            '_' if !inside_word(&text, at) => out.push_str("\\_"),
            '#' | '+' | '-' | '=' if start => out.extend(['\\', c]),
            // `1.` at the start of a line makes a list.
            '.' | ')' if !out.is_empty() && out.bytes().all(|byte| byte.is_ascii_digit()) => {
                let rest = &text[at + 1..];
                if rest.is_empty() || rest.starts_with([' ', '\t', '\n']) {
                    out.push('\\')
                }
                out.push(c);
            }
            _ => out.push(c),
        }
        start &= c.is_whitespace();
    }
    out
}

fn inside_word(text: &str, at: usize) -> bool {
    let before = text[..at].chars().next_back().is_some_and(char::is_alphanumeric);
    before && text[at + 1..].chars().next().is_some_and(char::is_alphanumeric)
}

/// A block of Markdown that shows the text as it is: a fence longer than any within.
pub fn markdown_block(text: &str) -> String {
    let text = visible(text);
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let end = if text.ends_with('\n') { "" } else { "\n" };
    format!("{fence}text\n{text}{end}{fence}\n")
}

/// JSON text as it is, but for characters that a terminal must not get and JSON would let through.
pub fn json(text: &str) -> Cow<'_, str> {
    let harmful = |c: char| c != '\n' && is_harmful(c);
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if harmful(c) { out.push_str(&format!("\\u{:04x}", u32::from(c))) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// A cell of CSV by RFC 4180. What a spreadsheet would take for a formula gets an apostrophe before it;
/// plain numbers stay as they are.
pub fn csv(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_plain_number(text);
    let shown = visible(text);
    let mark = if formula { "'" } else { "" };
    if shown.contains([',', '"', '\n']) || shown.starts_with(' ') || shown.ends_with(' ') {
        return format!("\"{mark}{}\"", shown.replace('"', "\"\""));
    }
    format!("{mark}{shown}")
}

fn is_plain_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E'))
        && text.parse::<f64>().is_ok_and(f64::is_finite)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_markup_of_a_models_text_reaches_the_page() {
        let nasty = "<script>alert('x')</script> & \"onload=\"\u{1b}[2J\u{202e}";
        assert_eq!(
            html(nasty),
            "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;onload=&quot;\\u{1b}[2J\\u{202e}"
        );
    }

    #[test]
    fn a_cell_of_markdown_stays_a_cell() {
        assert_eq!(
            markdown("a|b\nc `d` *e* _f_ [x](y) <img> ttft_p95"),
            "a\\|b c \\`d\\` \\*e\\* \\_f\\_ \\[x\\](y) &lt;img&gt; ttft_p95"
        );
        assert_eq!(markdown("\\|"), "\\\\\\|", "an escape of the text's own escapes nothing");
    }

    #[test]
    fn text_at_the_start_of_a_line_makes_no_heading_and_no_list() {
        assert_eq!(markdown("# big"), "\\# big");
        assert_eq!(markdown("- item"), "\\- item");
        assert_eq!(markdown("1. item"), "1\\. item");
        assert_eq!(markdown("1.5 tok/s"), "1.5 tok/s");
    }

    #[test]
    fn a_block_is_fenced_by_more_backticks_than_it_has() {
        let block = markdown_block("x\n````\n# out\n");
        assert_eq!(block, "`````text\nx\n````\n# out\n`````\n");
        assert_eq!(markdown_block("a"), "```text\na\n```\n");
    }

    #[test]
    fn a_spreadsheet_finds_no_formula_and_numbers_stay_numbers() {
        for formula in ["=1+1", "+cmd", "-b 512", "@SUM(A1)", "\tx", "--flash"] {
            assert!(csv(formula).trim_start_matches('"').starts_with('\''), "{formula}");
        }
        assert_eq!(csv("\r=x"), "'\\r=x");
        for number in ["-1.5", "+3", "-2e-7", "0"] {
            assert_eq!(csv(number), number);
        }
        assert_eq!(csv("-1+1"), "'-1+1");
        assert_eq!(csv("-"), "'-");
    }

    #[test]
    fn json_keeps_its_meaning_and_steers_no_terminal() {
        let text = serde_json::to_string_pretty(&["a\u{7f}\u{202e}b\u{1b}\n"]).unwrap();
        let shown = json(&text);
        assert!(!shown.chars().any(|c| c != '\n' && is_harmful(c)), "{shown}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&shown).unwrap(), ["a\u{7f}\u{202e}b\u{1b}\n"]);
    }

    #[test]
    fn quotes_commas_and_lines_are_quoted_as_rfc_4180_has_it() {
        assert_eq!(csv("a,b"), "\"a,b\"");
        assert_eq!(csv("say \"x\"\nnow"), "\"say \"\"x\"\"\nnow\"");
        assert_eq!(csv("=\"a\""), "\"'=\"\"a\"\"\"");
        assert_eq!(csv("plain"), "plain");
    }
}
