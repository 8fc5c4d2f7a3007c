//! Files that several endpoints have: rotating one must not take away what another endpoint has written.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use super::{LogFile, Rotation, Target};
use crate::endpoint::EndpointId;

/// An endpoint with a file, and how many came before it.
#[derive(Clone, Copy)]
struct Known<'a> {
    order: usize,
    id: &'a EndpointId,
    rotate: Option<Rotation>,
}

/// Files that stand beside each other.
#[derive(Default)]
struct Files<'a> {
    count: usize,
    /// By place, the first of each rotation.
    at: HashMap<Vec<u8>, Vec<Known<'a>>>,
    /// By the place whose rotation would keep its old files there: the first.
    behind: HashMap<Vec<u8>, Known<'a>>,
}

const OTHERWISE: &str = "is another endpoint's, with another `rotate`";
const KEPT: &str = "is where an endpoint with `rotate` keeps what another has written";

impl<'a> Files<'a> {
    /// Whom a file cannot stand beside, of several the first, and why.
    fn disturbed_by(&self, place: &[u8], rotate: Option<Rotation>) -> Option<(&'a EndpointId, &'static str)> {
        let first = |place: &[u8], matches: &dyn Fn(&Known<'a>) -> bool| {
            self.at.get(place).and_then(|known| known.iter().copied().find(matches))
        };
        let otherwise = first(place, &|known| known.rotate != rotate).map(|known| (known, OTHERWISE));
        let over = rotated(place).and_then(|from| first(from, &|known| known.rotate.is_some()));
        let under = self.behind.get(place).copied().filter(|_| rotate.is_some());
        let found = [otherwise, over.map(|known| (known, KEPT)), under.map(|known| (known, KEPT))];
        let found = found.into_iter().flatten().min_by_key(|(known, _)| known.order);
        found.map(|(known, why)| (known.id, why))
    }

    fn add(&mut self, id: &'a EndpointId, place: Vec<u8>, rotate: Option<Rotation>) {
        let known = Known { order: self.count, id, rotate };
        self.count += 1;
        if let Some(from) = rotated(&place) {
            self.behind.entry(from.to_vec()).or_insert(known);
        }
        let there = self.at.entry(place).or_default();
        if there.iter().all(|other| other.rotate != rotate) {
            there.push(known);
        }
    }
}

/// The place whose rotation would keep an old file here: it has the name without the number.
fn rotated(place: &[u8]) -> Option<&[u8]> {
    let dot = place.iter().rposition(|byte| *byte == b'.')?;
    let (from, number) = place.split_at_checked(dot)?;
    number.iter().skip(1).all(u8::is_ascii_digit).then_some(from)
}

/// Where a file is, written in one way.
fn place(file: &LogFile, root: Option<&Path>) -> Vec<u8> {
    let place = root.unwrap_or(Path::new("")).join(file.path.as_path());
    place.components().collect::<PathBuf>().into_os_string().into_encoded_bytes()
}

/// Which of `new` cannot stand beside what comes before them, or beside `old`: their places, and why. Relative paths lie below
/// `root`.
pub fn disturbing<'a>(
    old: &[(&'a EndpointId, &'a Target)],
    new: &[(&'a EndpointId, &'a Target)],
    root: Option<&Path>,
) -> Vec<(usize, String)> {
    let (mut files, mut found) = (Files::default(), Vec::new());
    for (id, file) in old.iter().filter_map(|(id, target)| Some((id, target.file()?))) {
        files.add(id, place(file, root), file.rotate);
    }
    for (index, (id, target)) in new.iter().enumerate() {
        let Some(file) = target.file() else { continue };
        let place = place(file, root);
        match files.disturbed_by(&place, file.rotate) {
            Some((other, why)) => found.push((index, format!("{why}: see {other}"))),
            None => files.add(id, place, file.rotate),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(path: &str, keep: Option<u32>) -> LogFile {
        LogFile { path: path.parse().unwrap(), rotate: keep.map(|keep| Rotation { max_bytes: 4096, keep }) }
    }

    /// Why one file cannot stand beside the other.
    fn disturbs(one: &LogFile, other: &LogFile, root: Option<&Path>) -> Option<&'static str> {
        let place = |file: &LogFile| match root {
            Some(root) => root.join(file.path.as_str()),
            None => PathBuf::from(file.path.as_str()),
        };
        let (own, others) = (place(one), place(other));
        if own == others {
            return (one.rotate != other.rotate).then_some(OTHERWISE);
        }
        let is_kept = |file: &LogFile, place: &Path, name: &Path| {
            let number = name.as_os_str().as_encoded_bytes().strip_prefix(place.as_os_str().as_encoded_bytes());
            let number = number.and_then(|rest| rest.strip_prefix(b"."));
            file.rotate.is_some() && number.is_some_and(|digits| digits.iter().all(u8::is_ascii_digit))
        };
        (is_kept(other, &others, &own) || is_kept(one, &own, &others)).then_some(KEPT)
    }

    /// The same as [`disturbing`], each beside each.
    fn one_by_one(
        old: &[(&EndpointId, &Target)],
        new: &[(&EndpointId, &Target)],
        root: Option<&Path>,
    ) -> Vec<(usize, String)> {
        let (mut known, mut found) = (old.to_vec(), Vec::new());
        for (index, one) in new.iter().enumerate() {
            let mut others = known.iter();
            let why = others.find_map(|other| Some((other.0, disturbs(one.1.file()?, other.1.file()?, root)?)));
            match why {
                Some((other, why)) => found.push((index, format!("{why}: see {other}"))),
                None => known.push(*one),
            }
        }
        found
    }

    #[test]
    fn files_that_several_endpoints_have_are_rotated_in_one_way_and_never_over_each_other() {
        let (id, root) = ("e".parse().unwrap(), Some(Path::new("/logs")));
        let disturbs = |one: LogFile, other: LogFile| {
            let (one, other) = (Target::File(one), Target::File(other));
            !disturbing(&[(&id, &other)], &[(&id, &one)], root).is_empty()
        };
        assert!(!disturbs(file("a", Some(5)), file("a", Some(5))) && !disturbs(file("a", None), file("/logs/a", None)));
        assert!(
            disturbs(file("a", Some(5)), file("/logs/a", Some(1))) && disturbs(file("a", Some(5)), file("a", None))
        );
        assert!(
            disturbs(file("a.1", None), file("a", Some(1))) && disturbs(file("a", Some(1)), file("/logs/a.12", None))
        );
        assert!(!disturbs(file("a.1", None), file("a", None)) && !disturbs(file("a.x", None), file("a", Some(1))));
    }

    fn target() -> impl Strategy<Value = Target> {
        let path = prop::sample::select(vec![
            "a", "a.", "a.1", "a.1.2", "a.12", "a.x", "..1", ".1", "b/a", "b/a.1", "/r/a", "/r/a.1", "/r", "/r.1",
        ]);
        let file = (path, prop::option::of(0..2_u32)).prop_map(|(path, keep)| Target::File(file(path, keep)));
        prop_oneof![9 => file, 1 => Just(Target::Http("https://a.b/".parse().unwrap()))]
    }

    proptest! {
        #[test]
        fn what_disturbs_is_what_is_found_by_looking_at_each_beside_each(
            targets in prop::collection::vec(target(), 0..12), old in 0..12_usize, rooted: bool,
        ) {
            let ids: Vec<EndpointId> = (0..targets.len()).map(|n| format!("e{n}").parse().unwrap()).collect();
            let all: Vec<_> = ids.iter().zip(&targets).collect();
            let (old, new) = all.split_at(old.min(all.len()));
            let root = rooted.then_some(Path::new("/r"));
            prop_assert_eq!(disturbing(old, new, root), one_by_one(old, new, root));
        }
    }
}
