//! Guesses which known name a misspelt one was meant to be.

/// Longer names are no misspelling of ours.
const LONGEST: usize = 32;

/// The known name closest to `name`, if one is close: at most a third of its letters differ.
pub(crate) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    if name.len() > LONGEST {
        return None;
    }
    let near = known.iter().map(|candidate| (distance(name, candidate), *candidate));
    let (distance, candidate) = near.min_by_key(|(distance, _)| *distance)?;
    (distance * 3 <= candidate.len().max(3)).then_some(candidate)
}

/// The edit distance of Levenshtein, in bytes.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(to.bytes()) {
            let best = (diagonal + usize::from(a != b)).min(left + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, best);
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_edits() {
        for (from, to, edits) in
            [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("abc", "abc", 0), ("a", "", 1)]
        {
            assert_eq!(distance(from, to), edits, "{from} {to}");
        }
    }

    #[test]
    fn only_a_close_name_is_guessed() {
        let known = ["timeout", "topics", "retry", "url"];
        assert_eq!(nearest("timeuot", &known), Some("timeout"));
        assert_eq!(nearest("topic", &known), Some("topics"));
        assert_eq!(nearest("uri", &known), Some("url"));
        assert_eq!(nearest("breaker", &known), None);
        assert_eq!(nearest("x", &[]), None);
    }
}
