//! When a file makes room for a new one, and how the old ones are called.

use std::io;

/// How many of the next pieces, of these lengths, go into a file of `length` bytes that is not to grow longer than `max_bytes`.
/// None of them means that it has to make room first; an empty file takes one, however long.
pub(super) fn fitting(length: u64, pieces: impl IntoIterator<Item = usize>, max_bytes: Option<u64>) -> usize {
    let mut grown = length;
    let fits = |piece: &usize| {
        let empty = grown == 0;
        grown = grown.saturating_add(u64::try_from(*piece).unwrap_or(u64::MAX));
        empty || max_bytes.is_none_or(|most| grown <= most)
    };
    pieces.into_iter().take_while(fits).count()
}

/// What the `age`th old file is called; 0 is the file itself.
pub(super) fn name(file: &str, age: u32) -> String {
    if age == 0 { file.to_owned() } else { format!("{file}.{age}") }
}

/// The moves, from age to age and in this order, by which the file itself becomes the first of its old ones, of which `keep` stay.
/// Only as many grow older as must: what a crash left of an earlier round is used up first.
///
/// # Errors
/// When `taken` cannot tell whether there is a file of an age.
pub(super) fn moves(keep: u32, taken: impl Fn(u32) -> io::Result<bool>) -> io::Result<Vec<(u32, u32)>> {
    let mut free = 1;
    while free < keep && taken(free)? {
        free += 1;
    }
    Ok((0..free).rev().map(|age| (age, age + 1)).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn names_count_up() {
        assert_eq!((name("a.jsonl", 0), name("a.jsonl", 12)), ("a.jsonl".to_owned(), "a.jsonl.12".to_owned()));
    }

    proptest! {
        #[test]
        fn files_stay_within_their_length_unless_one_line_is_longer(
            pieces in vec(1..50_usize, 1..40),
            most in 1..60_u64,
        ) {
            let (mut files, mut rest) = (vec![0_u64], pieces.as_slice());
            while !rest.is_empty() {
                let length = files.last_mut().unwrap();
                match fitting(*length, rest.iter().copied(), Some(most)) {
                    0 => {
                        prop_assert!(*length > 0, "an empty file makes no room");
                        files.push(0);
                    }
                    count => {
                        let (now, later) = rest.split_at(count);
                        *length += now.iter().sum::<usize>() as u64;
                        prop_assert!(*length <= most || now.len() == 1);
                        rest = later;
                    }
                }
            }
            prop_assert_eq!(files.iter().sum::<u64>(), pieces.iter().sum::<usize>() as u64);
        }

        #[test]
        fn without_a_bound_everything_fits(length in any::<u64>(), pieces in vec(any::<usize>(), 0..9)) {
            prop_assert_eq!(fitting(length, pieces.iter().copied(), None), pieces.len());
        }

        #[test]
        fn the_newest_stay_in_order_and_only_the_oldest_falls_off(
            keep in 1..6_u32,
            old in prop::collection::btree_set(1..6_u32, 0..6),
        ) {
            let mut files: BTreeMap<u32, u32> = old.iter().map(|age| (*age, *age)).collect();
            files.insert(0, 0);
            for (from, to) in moves(keep, |age| Ok(old.contains(&age))).unwrap() {
                let file = files.remove(&from).expect("only what is there is moved");
                files.insert(to, file);
            }
            prop_assert!(!files.contains_key(&0));
            prop_assert_eq!(files[&1], 0);
            prop_assert!(files.values().is_sorted(), "{:?}", files);
            let room = (1..=keep).any(|age| !old.contains(&age));
            prop_assert_eq!(files.len(), old.len() + usize::from(room));
        }
    }
}
