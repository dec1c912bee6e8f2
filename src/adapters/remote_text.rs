//! Text that another machine sent, made fit for one line of ours: a log, a terminal, an entry that stays for years.

use std::error::Error;

/// How much of a stranger's text goes into one of our messages, in characters.
const TEXT_LIMIT: usize = 300;

/// A stranger's text as one line that can do no harm: control and direction characters become spaces, runs of space
/// become one, and what is too long is cut.
pub(super) fn clean(text: &str) -> String {
    let harmless = |c: char| if is_harmful(c) { ' ' } else { c };
    let line = text.chars().map(harmless).collect::<String>();
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(TEXT_LIMIT) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

/// Control characters, and the invisible ones that reorder or hide text on a terminal.
fn is_harmful(c: char) -> bool {
    let invisible =
        matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    c.is_control() || invisible
}

/// Why, in one line: the error and what it came from, without the address and what it asks for.
pub(super) fn cause(error: &reqwest::Error) -> String {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(error) = next {
        causes.push(error.to_string());
        next = error.source();
    }
    if causes.is_empty() {
        causes.push(if error.is_timeout() { "it took too long" } else { "the connection failed" }.to_owned());
    }
    causes.dedup();
    clean(&causes.join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_text_becomes_one_short_harmless_line() {
        assert_eq!(clean("a\r\n\tb\u{1b}[31m\u{0}c \u{202e}d\u{2028}e\u{85}f"), "a b [31m c d e f");
        let long = clean(&"界".repeat(1000));
        assert_eq!(long.chars().count(), TEXT_LIMIT + 1);
        assert!(long.ends_with('…'));
    }
}
