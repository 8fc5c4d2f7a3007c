//! Lists, page by page.

use std::fmt::Display;

use serde::Serialize;

use super::{cursor::Cursors, problem::Problem};
use crate::error::StoreError;

/// One page of a list.
#[derive(Debug, Serialize)]
pub(super) struct List<T> {
    pub(super) items: Vec<T>,
    /// Where the next page starts; `None` at the end.
    pub(super) next: Option<String>,
}

/// Items read at a time, and the bytes after which a page ends before its limit: a list of what is large must not fill the
/// memory.
const STEP: usize = 32;
const PAGE_BYTES: usize = 16 << 20;

impl<T> List<T> {
    /// Reads on until there is one item too many, or enough bytes. `read` answers what comes after an item, at most so many.
    pub(super) async fn read<P: Display>(
        cursors: &Cursors<'_>,
        limit: usize,
        mut read: impl AsyncFnMut(Option<&T>, usize) -> Result<Vec<T>, StoreError>,
        weight: impl Fn(&T) -> usize,
        position: impl Fn(&T) -> P,
    ) -> Result<Self, Problem> {
        let (mut items, mut bytes): (Vec<T>, usize) = (Vec::new(), 0);
        loop {
            let wanted = STEP.min(limit + 1 - items.len());
            let step = read(items.last(), wanted).await?;
            let end = step.len() < wanted;
            bytes += step.iter().map(&weight).sum::<usize>();
            items.extend(step);
            if end || items.len() > limit {
                return Self::of(cursors, items, limit, position);
            }
            if bytes > PAGE_BYTES {
                let next = items.last().map(|last| cursors.seal(position(last))).transpose()?;
                return Ok(Self { items, next });
            }
        }
    }

    /// The first `limit` of `items`, which may hold one more to tell that there is another page.
    pub(super) fn of<P: Display>(
        cursors: &Cursors<'_>,
        mut items: Vec<T>,
        limit: usize,
        position: impl Fn(&T) -> P,
    ) -> Result<Self, Problem> {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|last| cursors.seal(position(last))).transpose()?;
        Ok(Self { items, next })
    }

    pub(super) fn map<U>(self, show: impl FnMut(T) -> U) -> List<U> {
        List { items: self.items.into_iter().map(show).collect(), next: self.next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::cursor;

    /// The pages of a list of 0 to 99, each item of so many bytes.
    async fn pages(limit: usize, weight: usize) -> Vec<Vec<usize>> {
        let (mut pages, mut past) = (Vec::new(), None);
        let key = cursor::tests::key();
        let cursors = Cursors::of(&key, None, "/v1/events");
        loop {
            let read = async |last: Option<&usize>, most: usize| {
                let first = last.copied().or(past).map_or(0, |last| last + 1);
                Ok::<Vec<usize>, StoreError>((first..100).take(most).collect())
            };
            let List { items, next } = List::read(&cursors, limit, read, |_| weight, |item| *item).await.ok().unwrap();
            past = items.last().copied();
            pages.push(items);
            match next {
                Some(next) => assert_eq!(cursors.open(&next), past),
                None => return pages,
            }
        }
    }

    fn sizes(limit: usize, weight: usize) -> Vec<usize> {
        let pages = actix_rt::System::new().block_on(pages(limit, weight));
        assert!(pages.iter().flatten().copied().eq(0..100), "each item once, in order");
        pages.iter().map(Vec::len).collect()
    }

    #[test]
    fn a_page_ends_at_its_limit_or_after_enough_bytes() {
        assert_eq!(sizes(250, 1), [100]);
        assert_eq!(sizes(100, 1), [100]);
        assert_eq!(sizes(40, 1), [40, 40, 20]);
        assert_eq!(sizes(250, PAGE_BYTES), [32, 32, 32, 4]);
        assert_eq!(sizes(1, PAGE_BYTES), [1; 100]);
    }
}
