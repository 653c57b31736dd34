//! Suggestions for mistyped words.

/// The known word with the smallest edit distance, if that is at most two and at most a third of the word's length.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let close = |name: &&str| distance(word, name) <= (name.len() / 3).min(2);
    known.iter().copied().filter(close).min_by_key(|name| distance(word, name))
}

/// Edit distance; words that differ much in length are not compared, so that a long word costs nothing.
fn distance(word: &str, known: &str) -> usize {
    if word.len().abs_diff(known.len()) > 2 { usize::MAX } else { strsim::levenshtein(word, known) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistyped_words_are_recognised() {
        let known = ["errors", "forward", "log", "ready", "reload"];
        for (word, wanted) in [
            ("error", Some("errors")),
            ("forwrad", Some("forward")),
            ("relaod", Some("reload")),
            ("log", Some("log")),
            ("lag", Some("log")),
            ("nomad", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, &known), wanted, "{word}");
        }
    }
}
