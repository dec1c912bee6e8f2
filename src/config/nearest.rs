//! The known word that a wrong word was probably meant to be.

/// The candidate most like `word`, unless none is like it. Equally near ones: the first.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = candidates.into_iter().map(|candidate| (distance(word, candidate), candidate));
    let (distance, candidate) = scored.min_by_key(|(distance, _)| *distance)?;
    let near_enough = distance <= (candidate.chars().count() / 3).max(1);
    (near_enough || extends(word, candidate)).then_some(candidate)
}

fn distance(word: &str, candidate: &str) -> usize {
    strsim::osa_distance(&word.to_lowercase(), &candidate.to_lowercase())
}

/// `secret_key` for `secret_key_file`, or the other way round.
fn extends(word: &str, candidate: &str) -> bool {
    word.len() >= 3 && (candidate.starts_with(word) || word.starts_with(candidate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_named_and_a_far_one_is_not() {
        let known = ["timezone", "source", "store", "secret_key_file"];
        for (word, meant) in [
            ("timezne", Some("timezone")),
            ("Timezone", Some("timezone")),
            ("tiemzone", Some("timezone")),
            ("sorce", Some("source")),
            ("sore", Some("store")),
            ("secret_key", Some("secret_key_file")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
    }
}
