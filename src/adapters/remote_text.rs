//! Error messages of the libraries below us, which quote what another machine sent.

use std::error::Error;

use crate::domain::text::ForeignText;

/// Why, in one line: the error and what it came from, without the address and what it asks for.
pub(super) fn cause(error: &reqwest::Error) -> ForeignText {
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
    ForeignText::new(causes.join(": "))
}

/// Why bytes of another machine are not the JSON that they should be. The library quotes those bytes, at any length.
pub(super) fn not_json(error: &serde_json::Error) -> ForeignText {
    ForeignText::new(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::text::FOREIGN_LIMIT;

    #[test]
    fn what_a_malformed_answer_says_is_not_quoted_at_length() {
        let answer = format!("\"\\u001b[2J\\u202e{}\"", "9".repeat(1 << 20));
        let error = serde_json::from_str::<u64>(&answer).unwrap_err();
        assert!(error.to_string().len() > 1 << 20);
        let told = not_json(&error);
        assert!(told.len() <= FOREIGN_LIMIT && told.contains("invalid type"), "{told}");
        assert!(!told.contains(['\u{1b}', '\u{202e}']), "{told}");
    }
}
