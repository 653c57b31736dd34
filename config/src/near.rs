//! Which known word a mistyped one was meant to be.

/// The known word that is at most two slips away, or a third of its length if that is less.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let close = |name: &&str| slips(word, name) <= (name.len() / 3).min(2);
    known.iter().copied().filter(close).min_by_key(|name| slips(word, name))
}

/// Levenshtein's distance, of words so short that the work is bounded by what a human types.
fn slips(one: &str, other: &str) -> usize {
    if one.len().abs_diff(other.len()) > 2 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.bytes().enumerate() {
            let kept = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = kept.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood() {
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
